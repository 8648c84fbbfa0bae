"""Densities with respect to Haar measure: normalisers, Jacobians, integrals that are known."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch

from torsor.groups import (
    GL,
    SE,
    SL,
    SO,
    Affine,
    Conformal,
    DirectProduct,
    E,
    GLPlus,
    Lorentz,
    NonCompactError,
    O,
    Projective2D,
    SAffine,
    Scaling,
    Sim,
    Symmetric,
    Translation,
    embed,
)
from torsor.groups._bases import traceless_diagonals
from torsor.groups.linalg import polar_log
from torsor.groups.measure import (
    AffineProposal,
    BoostProposal,
    GroupSample,
    HaarBall,
    LogNormalSPD,
    PolarProposal,
    ProjectiveProposal,
    RiemannianGaussianSPD,
    ScaleProposal,
    UniformCompact,
    Window,
    ess,
    integrate,
    tail_index,
)

f64 = torch.float64


# --------------------------------------------------------------------------------------------------------- normalisers
Z = [  # (n, sigma, traceless, Z): quadrature
    (2, 0.5, False, math.sqrt(2) * math.pi**2 * 0.25 * math.exp(0.25) * math.erf(0.5)),
    (2, 1.0, False, math.sqrt(2) * math.pi**2 * math.e * math.erf(1)),
    (2, 1.0, True, math.pi**1.5 * math.e * math.erf(1)),
    (3, 0.2, False, 0.0175552916),
    (3, 0.5, False, 7.40592803),
    (3, 1.0, False, 4141.2504),
    (3, 0.2, True, 0.0350177403),
    (3, 0.5, True, 5.90907563),
    (3, 1.0, True, 1652.11988),
]


@pytest.mark.parametrize(("n", "sigma", "traceless", "value"), Z)
def test_normaliser_of_the_riemannian_gaussian(n, sigma, traceless, value):
    found = math.exp(RiemannianGaussianSPD(sigma, traceless).log_normaliser(n))
    assert found == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_normaliser_for_small_sigma(n):
    """That of a normal law, times 1 + E[sum (y_i - y_j)^2]/6."""
    sigma = 1e-3
    flat = n * (n + 1) / 4 * math.log(2 * math.pi * sigma**2)
    curved = sigma**2 * (n * n * (n + 1) / 2 - n) / 6
    assert RiemannianGaussianSPD(sigma).log_normaliser(n) == pytest.approx(flat + curved, abs=1e-9)


@pytest.mark.parametrize(("n", "sigma"), [(2, 0.5), (2, 1.0), (3, 0.5), (3, 1.0), (4, 0.5)])
@pytest.mark.parametrize("traceless", [False, True])
def test_samples_of_the_riemannian_gaussian_give_its_normaliser_back(n, sigma, traceless, generator):
    """With a normal density as a test function: E[N/p] = 1, so 1/Z comes out within its standard error."""
    law, flat = RiemannianGaussianSPD(sigma, traceless), LogNormalSPD(sigma, traceless)
    Y = law.draw(n, 20_000, generator=generator, dtype=f64)
    ratio = (flat.log_prob(Y) - law.log_prob(Y)).exp()
    assert ratio.std() / math.sqrt(len(ratio)) < 0.025
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / math.sqrt(len(ratio)))
    trace = Y.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (trace.abs().max() < 1e-12) == traceless


def test_mean_square_of_the_riemannian_gaussian(generator):
    """E |Y|^2 = sigma^3 d log Z / d sigma."""
    for n, sigma in ((2, 0.8), (3, 0.7)):
        slope = (
            RiemannianGaussianSPD(sigma + 1e-4).log_normaliser(n)
            - RiemannianGaussianSPD(sigma - 1e-4).log_normaliser(n)
        ) / 2e-4
        square = RiemannianGaussianSPD(sigma).draw(n, 40_000, generator=generator, dtype=f64).square().sum((-2, -1))
        assert float(square.mean()) == pytest.approx(sigma**3 * slope, rel=5 / math.sqrt(40_000))


def test_radius_in_a_ball_of_haar_measure(generator):
    Y = HaarBall(1.0).draw(2, 100_000, generator=generator, dtype=f64)
    r = torch.linalg.matrix_norm(Y)
    assert float(r.mean()) == pytest.approx(0.6874011100, abs=5 * float(r.std()) / math.sqrt(len(r)))
    assert r.max() <= 1
    assert float((-HaarBall(1.0).log_prob(Y[:1])).exp()) == pytest.approx(3.701372806, rel=1e-9)
    cdf = lambda r: (np.cosh(math.sqrt(2) * r) - 1) / (math.cosh(math.sqrt(2)) - 1)
    assert scipy.stats.kstest(r, cdf).pvalue > 1e-3
    assert HaarBall(0.5).log_prob(Y[r > 0.51]).isneginf().all()


def test_share_of_ball_elements_without_a_logarithm(generator):
    """Given singular values e^t, e^-t, the trace is 2 cosh(t) cos(angle): no real log with probability gd(t)/pi."""
    angle = 2 * math.pi * torch.rand(200_000, generator=generator, dtype=f64)
    for t, share in ((0.2, 0.06324), (1.0, 0.27558), (2.0, 0.41436)):
        stretch = torch.diag(torch.tensor([t, -t], dtype=f64).exp())
        g = stretch @ SO(2).exp(angle[:, None])
        missing = SL(2).log(g, on_failure="nan").isnan().any(-1)
        deviation = math.sqrt(share * (1 - share) / len(angle))
        assert float(missing.double().mean()) == pytest.approx(share, abs=3 * deviation + 5e-6)
        trace = g.diagonal(dim1=-2, dim2=-1).sum(-1)
        assert torch.equal(missing, trace <= -2) or (missing != (trace <= -2)).sum() <= 1
    for T, share in ((0.5, 0.10518), (1.0, 0.20427), (2.0, 0.35810)):
        law = PolarProposal(HaarBall(math.sqrt(2) * T), UniformCompact(SO(2)))
        g = law.draw(100_000, generator=generator, dtype=f64)
        missing = SL(2).log(g, on_failure="nan").isnan().any(-1).double().mean()
        assert float(missing) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 100_000))


# ----------------------------------------------------------------------------------------------------------- integrals
def test_integral_over_sl2_and_its_invariance(generator):
    law = PolarProposal(RiemannianGaussianSPD(0.6, traceless=True), UniformCompact(SO(2)))
    f = lambda g: (-g.square().sum((-2, -1))).exp()
    g0 = SL(2).exp(torch.tensor([0.3, -0.2, 0.4], dtype=f64))
    sample = law.sample(60_000, generator=generator, dtype=f64)
    for moved in (sample.g, g0 @ sample.g, sample.g @ g0):
        value, error = integrate(lambda _, g=moved: f(g), sample)
        assert abs(value - math.pi / 2 * math.exp(-2)) <= 4 * error
        assert error < 0.02 * value


@pytest.mark.parametrize(
    ("n", "s", "value"), [(2, 2, math.pi / math.sqrt(2)), (2, 4, 4.4428829382), (3, 3, 8.7467091638)]
)
def test_integral_over_gl_plus(n, s, value, generator):
    law = PolarProposal(RiemannianGaussianSPD({2: 1.2, 3: 1.0}.get(s, 0.8)), UniformCompact(SO(n)))
    f = lambda g: (-0.5 * g.square().sum((-2, -1))).exp() * torch.linalg.det(g) ** s
    found, error = integrate(f, law.sample(60_000, generator=generator, dtype=f64))
    assert abs(found - value) <= 4 * error
    assert error < 0.05 * value


def test_too_narrow_a_proposal_is_noticed(generator):
    law = PolarProposal(RiemannianGaussianSPD(0.12, traceless=True), UniformCompact(SO(2)))
    sample = law.sample(20_000, generator=generator, dtype=f64)
    with pytest.warns(UserWarning, match="too narrow"):
        integrate(lambda g: (-g.square().sum((-2, -1))).exp(), sample)
    assert ess(sample) < 0.1 * 20_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        integrate(lambda g: g[:, 0, 0], UniformCompact(SO(2)).sample(1000, generator=generator))


def test_effective_sample_sizes_of_log_normal_proposals(generator):
    """Share (E w)^2/E w^2, w = prod sinhc, against the Riemannian Gaussian: quadrature."""
    for n, sigma, share in ((2, 0.5, 0.9709), (2, 1.0, 0.6009), (3, 0.2, 0.9959), (3, 0.5, 0.8380)):
        Y = LogNormalSPD(sigma).draw(n, 100_000, generator=generator, dtype=f64)
        log_weight = RiemannianGaussianSPD(sigma).log_prob(Y) - LogNormalSPD(sigma).log_prob(Y)
        found = ess(GroupSample(Y, Y, log_weight)) / 100_000
        assert found == pytest.approx(share, abs=0.03)


def test_tail_index_of_known_laws(generator):
    u = torch.rand(20_000, generator=generator, dtype=f64)
    for k in (0.2, 0.5, 1.0):
        assert tail_index(u**-k) == pytest.approx(k, abs=0.12)
    assert tail_index(torch.ones(1000)) == -math.inf


def test_self_normalised_integrals_are_means(generator):
    sample = Window(SO(3), 0.8).sample(4000, generator=generator, dtype=f64)
    value, _ = integrate(lambda R: torch.ones(4000, 2, dtype=f64), sample, self_normalised=True)
    torch.testing.assert_close(value, torch.ones(2, dtype=f64))
    value, error = integrate(lambda R: R, sample)
    assert value.shape == error.shape == (3, 3)


# ----------------------------------------------------------------------------------------------------------- proposals
PROPOSALS = [
    PolarProposal(LogNormalSPD(0.2), Window(SO(2), 0.6)),
    PolarProposal(RiemannianGaussianSPD(0.3), UniformCompact(O(3))),
    PolarProposal(HaarBall(0.7), Window(SO(2), 1.0)),
    AffineProposal(Window(SO(3), 0.5), 2.0, SE(3)),
    AffineProposal(UniformCompact(O(2)), 0.3, E(2)),
    *[
        group.default_proposal(translation_scale=1.5, spd_width=0.2)
        for group in (
            SO(3),
            SE(2),
            Translation(2),
            Scaling(3),
            Sim(2),
            Sim(3, reflections=True),
            GL(2),
            GLPlus(1),
            GLPlus(2),
            GLPlus(3),
            SL(2),
            SL(3),
            Affine(2),
            SAffine(3),
            Conformal(2),
            Lorentz(1, 1),
            Lorentz(1, 3),
            Lorentz(1, 3, component="full"),
            Projective2D(),
            embed(SE(2), (0, 2), 3),
            DirectProduct(Affine(2), SO(3)),
        )
    ],
]


@pytest.mark.parametrize("law", PROPOSALS, ids=lambda law: f"{law.group}: {law.describe()}")
def test_proposals_draw_elements_of_their_group_with_finite_density(law, generator):
    sample = law.sample(50, generator=generator, dtype=f64)
    group = law.group
    assert group.contains(sample.g).all()
    assert group.contains(group.compose(sample.g, sample.g_inv), atol=1e-9).all()
    assert sample.log_weight.shape == (50,)
    assert sample.log_weight.isfinite().all()
    torch.testing.assert_close(law.log_prob(sample.g), -sample.log_weight - math.log(50))
    assert law.support
    assert "\n" not in law.describe()
    assert group.batch_shape(group.sample(2, 3, proposal=law)) == (2, 3)
    if law.cube is not None:
        u = torch.rand(50, law.cube, generator=generator, dtype=f64)
        assert group.contains(law.from_cube(u)).all()
        assert law.log_prob(law.from_cube(u)).isfinite().all()


NESTED = [  # a law q inside a wider law p: E_p[q/p] = 1 tests both densities, up to a common measure
    (
        PolarProposal(LogNormalSPD(0.2), Window(SO(2), 0.6)),
        PolarProposal(RiemannianGaussianSPD(0.3), Window(SO(2), 0.9)),
    ),
    (AffineProposal(Window(SO(3), 0.5), 0.7), AffineProposal(Window(SO(3), 0.8), 1.0)),
    (ScaleProposal(Conformal(2), 0.2), ScaleProposal(Conformal(2), 0.3)),
    (BoostProposal(Lorentz(1, 3), 0.4), BoostProposal(Lorentz(1, 3), 0.5)),
    (
        AffineProposal(PolarProposal(LogNormalSPD(0.2), Window(SO(2), 0.6)), 0.7),
        AffineProposal(PolarProposal(LogNormalSPD(0.25), Window(SO(2), 0.7)), 1.0),
    ),
    (  # the same measure in two charts of SL(3), constant included
        PolarProposal(LogNormalSPD(0.12, traceless=True), Window(SO(3), 0.3)),
        ProjectiveProposal(PolarProposal(LogNormalSPD(0.2), Window(SO(2), 0.4)), 0.25, 0.24),
    ),
]


@pytest.mark.parametrize(("inner", "outer"), NESTED, ids=lambda law: law.describe())
def test_densities_are_normalised(inner, outer, generator):
    g = outer.draw(50_000, generator=generator, dtype=f64)
    ratio = (inner.log_prob(g) - outer.log_prob(g)).exp()
    assert abs(float(ratio.mean()) - 1) <= 5 * float(ratio.std()) / math.sqrt(len(ratio))
    assert ratio.std() < 5


@pytest.mark.parametrize("group", [SO(3), Affine(2), GLPlus(2), Lorentz(1, 3), Projective2D()], ids=str)
def test_elements_are_drawn_precisely_whatever_the_precision_around(group):
    draw = lambda dtype: group.sample(8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    expected = draw(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(draw(None), expected)
        law = group.default_proposal()
        assert law.sample(4).g.dtype == torch.float32
    assert torch.equal(draw(torch.bfloat16), expected.bfloat16())
    half = law.sample(4, dtype=torch.float16)
    assert [x.dtype for x in half] == [torch.float16] * 3


def test_lattices_have_a_random_offset_of_their_own(generator):
    law = Window(SO(2), 0.5)
    offsets = []
    for _ in range(200):
        angle = SO(2).log(law.sample(5, generator, "lattice", dtype=f64).g)[:, 0].sort().values
        torch.testing.assert_close(angle.diff(), torch.full((4,), 0.2, dtype=f64))
        offsets.append(float(angle[0]) + 0.5)
    assert 0.09 < sum(offsets) / 200 < 0.11
    assert min(offsets) < 0.01 < 0.19 < max(offsets)


def test_standard_errors_of_self_normalised_integrals_are_those_that_are_seen(generator):
    law = Window(SO(2), 0.6)
    f = lambda g: g[..., 0, 0].square()
    found = [integrate(f, law.sample(400, generator, dtype=f64), self_normalised=True) for _ in range(100)]
    values, errors = (torch.tensor([float(x) for x in column]) for column in zip(*found, strict=True))
    assert 0.8 < float(values.std() / errors.mean()) < 1.25


SHIFTED = [
    (PolarProposal(LogNormalSPD(0.3), UniformCompact(SO(2))), [0.2, 0.1, -0.2, 0.1]),
    (BoostProposal(Lorentz(1, 3), 0.5), [0, 0, 0.5, 0.2, 0, 0.1]),
    (Affine(2).default_proposal(), [0.1, 0.2, -0.1, 0.2, 0.3, 0.2]),
    (Sim(2).default_proposal(), [0.4, 0.2, 0.3, 0.2]),
    (Projective2D().default_proposal(), [0.1, 0.05, 0.1, -0.1, 0.0, 0.1, 0.02, 0.02]),
]


@pytest.mark.parametrize(("law", "v"), SHIFTED, ids=lambda x: x.describe() if hasattr(x, "describe") else "")
def test_densities_belong_to_left_haar_measure(law, v, generator):
    """E[p(h g)/p(g)] = 1 for every h if the reference measure is left-invariant."""
    shift = law.group.exp(torch.tensor(v, dtype=f64))
    g = law.draw(50_000, generator=generator, dtype=f64)
    ratio = (law.log_prob(shift @ g) - law.log_prob(g)).exp()
    assert abs(float(ratio.mean()) - 1) <= 5 * float(ratio.std()) / math.sqrt(len(ratio))
    assert ratio.std() < 10


def test_sobol_points_beat_random_ones_on_gl_plus(generator):
    law = PolarProposal(LogNormalSPD(0.4), Window(SO(2), math.pi))
    f = lambda g: (-polar_log(g)[0].square().sum((-2, -1)) / 0.18).exp()
    spread = {}
    for method in ("iid", "rqmc"):
        values = []
        for _ in range(30):
            sample = law.sample(128, generator=generator, method=method, dtype=f64)
            values.append((sample.log_weight.exp() * f(sample.g)).sum())
        spread[method] = torch.stack(values).std()
    assert spread["rqmc"] < spread["iid"] / 5


@pytest.mark.parametrize("spd", [LogNormalSPD, RiemannianGaussianSPD, HaarBall], ids=lambda s: s.__name__)
def test_samples_can_be_differentiated_in_their_width(spd):
    u = torch.rand(20, 3, dtype=f64)
    draw = lambda width: spd(width).from_cube(u[:, : spd(0.5).cube(2)], 2)
    width = torch.tensor(0.6, dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(draw, width)


def test_radii_of_wide_and_narrow_riemannian_gaussians():
    u = torch.linspace(0, 0.9999, 50, dtype=f64)
    from torsor.groups.measure._spd import _radius_quantile

    for sigma in (0.05, 0.3, 1.0, 3.0):
        r = _radius_quantile(u, sigma)
        assert (r.diff() > 0).all()
        grid = torch.linspace(0, float(r[-1]), 20_001, dtype=f64)
        density = torch.sinh(math.sqrt(2) * grid) * torch.exp(-grid.square() / (2 * sigma**2))
        total = math.exp(RiemannianGaussianSPD(sigma, traceless=True).log_normaliser(2)) / (math.sqrt(2) * math.pi)
        share = torch.trapezoid(density, grid) / total
        assert float(share) == pytest.approx(float(u[-1]), abs=1e-5)


def test_traceless_bases_are_orthonormal():
    for n in (1, 2, 3, 5):
        B = traceless_diagonals(n, f64, None).flatten(1)
        torch.testing.assert_close(B @ B.mT, torch.eye(n - 1, dtype=f64))


def test_laws_refuse_widths_that_are_not_positive(plain):
    for width in (0.0, -1.0, math.nan, math.inf):
        for law in (LogNormalSPD, RiemannianGaussianSPD, HaarBall):
            with pytest.raises(ValueError, match="must be a positive number"):
                law(width)
        with pytest.raises(ValueError, match="scale of AffineProposal must be a positive number"):
            AffineProposal(UniformCompact(SO(2)), width)
        with pytest.raises(ValueError, match="must be a positive number"):
            SE(3).default_proposal(translation_scale=width)


def test_proposals_refuse_what_does_not_fit(plain):
    with pytest.raises(TypeError, match=r"compact of PolarProposal must be a proposal on SO\(n\) or O\(n\)"):
        PolarProposal(LogNormalSPD(0.2), UniformCompact(Symmetric(3)))
    with pytest.raises(TypeError, match="spd of PolarProposal must be a law"):
        PolarProposal(0.2, UniformCompact(SO(2)))
    with pytest.raises(ValueError, match="is a law for n = 2"):
        PolarProposal(HaarBall(1.0), UniformCompact(SO(3)))
    with pytest.raises(ValueError, match="must be an affine group on R\\^2"):
        AffineProposal(UniformCompact(SO(2)), 1.0, SE(3))
    with pytest.raises(ValueError, match="must be a law on GLPlus"):
        ProjectiveProposal(UniformCompact(SO(2)))
    with pytest.raises(TypeError, match="must be a Lorentz group"):
        BoostProposal(SO(3))
    with pytest.raises(TypeError, match="must be Scaling"):
        ScaleProposal(SO(3))
    with pytest.raises(NonCompactError):
        UniformCompact(Scaling(2))

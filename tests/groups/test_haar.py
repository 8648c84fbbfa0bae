"""Haar measure and windows: moments, distribution functions, invariance."""

import math

import pytest
import scipy.stats
import torch

from torsor.groups import SE, SO, SU, Cyclic, DirectProduct, O, Symmetric, Translation, U, embed, join
from torsor.groups.measure import UniformCompact, Window

f64 = torch.float64
N = 20_000
COMPACT = [SO(2), SO(3), SO(4), SO(5), O(2), O(3), O(4), U(2), SU(2), SU(3)]
BY_GENERATORS = join(embed(SO(2), (0, 1), 3), embed(SO(2), (1, 2), 3))


def fifth(values):
    """Five standard errors of a mean."""
    return 5 * float(values.std(0).max()) / math.sqrt(len(values))


@pytest.mark.parametrize("group", COMPACT, ids=str)
def test_matrix_entries_are_orthogonal_functions(group, generator):
    """Schur: E g_ij conj(g_kl) = delta_ik delta_jl / n, E g = 0, for irreducible g."""
    g = group.sample(N, generator=generator, dtype=f64)
    flat = g.flatten(1)
    assert flat.mean(0).abs().max() <= 6 / math.sqrt(N)
    if group == SO(2):  # irreducible over the reals only
        return
    second = (flat.mT @ flat.conj() / N).real * group.n
    assert (second - torch.eye(group.n**2, dtype=f64)).abs().max() <= 6 * group.n / math.sqrt(N)


@pytest.mark.parametrize("group", [SO(3), SO(4), SO(5), O(3), U(2), SU(3)], ids=str)
def test_traces_of_irreducible_representations_have_mean_0_and_mean_square_1(group, generator):
    trace = group.sample(N, generator=generator, dtype=f64).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert abs(trace.mean()) <= fifth(trace.real)
    square = trace.abs().square()
    assert abs(square.mean() - 1) <= fifth(square)


@pytest.mark.parametrize("group", [SO(3), SO(4), O(3), SU(2)], ids=str)
def test_haar_measure_is_invariant_from_both_sides(group, generator):
    g = group.sample(N, generator=generator, dtype=f64)
    h = group.sample(1, generator=generator, dtype=f64)
    f = lambda g: g[:, 0, 0].real ** 2 * g[:, 1, 1].real + g[:, 0, 1].real ** 3
    other = group.sample(N, generator=generator, dtype=f64)
    for moved in (group.compose(h, other), group.compose(other, h), group.inverse(other)):
        assert scipy.stats.ks_2samp(f(g), f(moved)).pvalue > 1e-3


@pytest.mark.parametrize(("group", "n"), [(SO(3), N), (BY_GENERATORS, 4000)], ids=str)
def test_angles_of_random_rotations(group, n, generator):
    angle = SO(3).distance_from_identity(group.sample(n, generator=generator, dtype=f64))
    assert abs(angle.mean() - (math.pi / 2 + 2 / math.pi)) <= fifth(angle)
    far = (angle > math.pi / 2).to(f64)
    assert abs(far.mean() - (0.5 + 1 / math.pi)) <= fifth(far)
    assert scipy.stats.kstest(angle, lambda a: (a - torch.sin(torch.as_tensor(a)).numpy()) / math.pi).pvalue > 1e-3


def test_angles_of_random_turns_are_uniform(generator):
    angle = SO(2).log(SO(2).sample(N, generator=generator, dtype=f64))[:, 0]
    assert scipy.stats.kstest(angle, scipy.stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3


def test_half_of_a_random_orthogonal_matrix_reflects(generator):
    for n in (2, 3, 4):
        parity = O(n).parity(O(n).sample(N, generator=generator))
        assert parity.mean().abs() <= 5 / math.sqrt(N)


def test_eigenangles_of_random_unitaries_repel(generator):
    angles = torch.linalg.eigvals(U(2).sample(N, generator=generator, dtype=f64)).angle()
    gap = (angles[:, 0] - angles[:, 1]).remainder(2 * math.pi)
    cdf = lambda x: (x - torch.sin(torch.as_tensor(x)).numpy()) / (2 * math.pi)  # density (1 - cos)/(2 pi)
    assert scipy.stats.kstest(gap, cdf).pvalue > 1e-3


@pytest.mark.parametrize("largest", [0.1, 0.6, 2.0, math.pi])
@pytest.mark.parametrize("n", [2, 3])
def test_windows(n, largest, generator):
    law = Window(SO(n), largest)
    sample = law.sample(N, generator=generator, dtype=f64)
    angle = SO(n).distance_from_identity(sample.g)
    assert angle.max() <= largest + 1e-12
    cdf = (
        (lambda a: a / largest)
        if n == 2
        else lambda a: (a - torch.sin(torch.as_tensor(a)).numpy()) / (largest - math.sin(largest))
    )
    assert scipy.stats.kstest(angle, cdf).pvalue > 1e-3
    share = largest / math.pi if n == 2 else (largest - math.sin(largest)) / math.pi
    torch.testing.assert_close(sample.log_weight.exp().sum(), torch.tensor(share, dtype=f64))
    assert law.log_prob(SO(n).exp(torch.full((SO(n).dim,), largest, dtype=f64))).isneginf() or largest > 3 or n == 2


def test_windows_refuse_what_they_cannot_do(plain):
    with pytest.raises(ValueError, match=r"must be SO\(2\) or SO\(3\)"):
        Window(SO(4), 0.3)
    for angle in (0.0, -1.0, 4.0, math.nan):
        with pytest.raises(ValueError, match=r"must lie in \(0, pi\]"):
            Window(SO(2), angle)


@pytest.mark.parametrize("n", [2, 3])
def test_sobol_points_reach_both_components_of_o_n(n, generator):
    g = UniformCompact(O(n)).sample(4096, generator=generator, method="rqmc", dtype=f64).g
    assert abs(O(n).parity(g).mean()) < 1e-2
    flat = g.flatten(1)
    assert (flat.mT @ flat / 4096 * n - torch.eye(n * n, dtype=f64)).abs().max() < 5e-2


@pytest.mark.parametrize("method", ["iid", "rqmc", "lattice"])
def test_methods_of_drawing_are_unbiased_and_sobol_is_better(method, generator):
    if method == "lattice":
        law, f = UniformCompact(SO(2)), lambda g: (1 + g[:, 0, 0]) ** 2
    else:
        law, f = UniformCompact(SO(3)), lambda g: (1 + g[:, 0, 0]) ** 2 - 1 / 3 + 0.5
    errors = []
    for _ in range(60):
        sample = law.sample(64, generator=generator, method=method, dtype=f64)
        assert sample.log_weight.exp().sum() == pytest.approx(1)
        errors.append(f(sample.g).mean() - 1.5)
    errors = torch.stack(errors)
    assert abs(errors.mean()) <= 5 * errors.std() / math.sqrt(60) + 1e-12
    spread = {"iid": (0.05, 0.3), "rqmc": (0.0, 0.05), "lattice": (0.0, 1e-12)}[method]
    assert spread[0] <= errors.std() <= spread[1]


def test_methods_that_a_law_does_not_have(plain):
    for law, method in ((UniformCompact(SO(4)), "rqmc"), (UniformCompact(SO(3)), "lattice")):
        with pytest.raises(ValueError, match=f"method '{method}' needs a transform of"):
            law.sample(4, method=method)
    with pytest.raises(ValueError, match='must be "iid", "rqmc" or "lattice"'):
        UniformCompact(SO(2)).sample(4, method="grid")
    with pytest.raises(ValueError, match="n of Proposal.sample must be a whole number"):
        UniformCompact(SO(2)).sample(0)


def test_lattice_has_one_common_offset_and_no_double_end():
    angle = SO(2).log(UniformCompact(SO(2)).sample(8, method="lattice", dtype=f64).g)[:, 0].sort().values
    torch.testing.assert_close(angle.diff(), torch.full((7,), math.pi / 4, dtype=f64))


def test_samples_live_where_they_are_asked_to():
    for group in (SO(3), Symmetric(4), Cyclic(3), DirectProduct(SO(2), Symmetric(2)), SE(2), Translation(2)):
        g = group.sample(2, 3, generator=torch.Generator().manual_seed(0), dtype=f64, device="cpu")
        assert group.batch_shape(g) == (2, 3)
    assert SO(3).sample(2).dtype == torch.float32
    assert U(2).sample(2, dtype=f64).dtype == torch.complex128
    assert Symmetric(3).sample(2, dtype=f64).dtype == torch.int64
    torch.set_default_dtype(f64)
    assert SE(3).sample().dtype == f64


def test_translation_scale_reaches_every_factor(generator):
    for group in (SE(3), E3 := embed(SE(2), (0, 2), 3)):
        law = group.default_proposal(translation_scale=7.0)
        t = group.translation(group.sample(4000, proposal=law, generator=generator))
        axes = [0, 1, 2] if group != E3 else [0, 2]
        assert t[:, axes].std() == pytest.approx(7.0, rel=0.05)
        assert "7^2" in law.describe()
    law = DirectProduct(SO(2), Translation(3)).default_proposal(translation_scale=0.5, spd_width=0.1)
    _, shift = law.draw(4000, generator=generator)
    assert Translation(3).translation(shift).std() == pytest.approx(0.5, rel=0.05)

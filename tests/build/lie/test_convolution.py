"""Lifting and group correlations: closed forms, exactness on quarter turns, the law of the estimator."""

import copy
import math

import pytest
import torch
from torch import nn

from torsor.actions import Image, pixel_grid
from torsor.build.lie import (
    AffineNetSmall,
    AffineResNet,
    GroupConv2d,
    GroupConv3d,
    GroupFeature,
    InvariantNet,
    LiftingConv2d,
    LiftingConv3d,
    SamplePlan,
)
from torsor.groups import SL, SO, Affine, Cyclic, Dihedral, GLPlus, Trivial
from torsor.groups.linalg import polar_log
from torsor.groups.measure import GroupSample, LogNormalSPD, PolarProposal, UniformCompact, Window

f64 = torch.float64


def one(A: torch.Tensor) -> GroupSample:
    return GroupSample(A[None], A.inverse()[None], torch.zeros(1, dtype=A.dtype))


def gaussian_image(size: int, covariance: torch.Tensor, centre=(0.0, 0.0)) -> torch.Tensor:
    p = pixel_grid((size, size), torch.zeros((), dtype=covariance.dtype)) - torch.tensor(centre, dtype=covariance.dtype)
    return torch.exp(-0.5 * torch.einsum("hwi,ij,hwj->hw", p, covariance.inverse(), p))[None, None]


def lifted_gaussian(x, A, covariance, rho):
    """The lifting correlation of a Gaussian image with a Gaussian kernel, in closed form."""
    M = covariance + rho**2 * A @ A.mT
    amplitude = 2 * math.pi * rho**2 * (covariance.det() / torch.linalg.det(M)).sqrt()
    return amplitude * torch.exp(-0.5 * torch.einsum("i,...ij,j->...", x, M.inverse(), x))


@pytest.mark.parametrize(("dtype", "tolerance"), [(f64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_lifting_a_gaussian_is_the_closed_form(dtype, tolerance):
    S, rho = torch.diag(torch.tensor([25.0, 9.0], dtype=dtype)), 2.0
    A = torch.diag(torch.tensor([1.4, 0.8], dtype=dtype))
    lift = LiftingConv2d(
        GLPlus(2), 1, 1, kernel=lambda u: torch.exp(-u.square().sum(-1) / (2 * rho**2)), kernel_size=33
    )
    F = lift(gaussian_image(81, S), one(A)).values[0, 0, 0]
    found = float(F[40 - 2, 40 + 3])
    assert found == pytest.approx(14.1906622, abs=2e-5)
    exact = float(lifted_gaussian(torch.tensor([3.0, -2.0], dtype=dtype), A, S, rho))
    assert abs(found - exact) <= tolerance * exact


S9, RHO, TAU, X9 = torch.diag(torch.tensor([1.0, 0.25], dtype=f64)), 0.5, 0.3, torch.tensor([0.2, -0.1], dtype=f64)


def spatial_part(B):
    """The spatial integral of a group correlation with a Gaussian kernel at A = 1, of the lifted Gaussian at `B`."""
    M = S9 + RHO**2 * B @ B.mT
    outer = M + RHO**2 * torch.eye(2, dtype=f64)
    amplitude = 2 * math.pi * RHO**2 * (S9.det() / torch.linalg.det(M)).sqrt()
    spread = 2 * math.pi * RHO**2 * (torch.linalg.det(M) / torch.linalg.det(outer)).sqrt()
    return amplitude * spread * torch.exp(-0.5 * torch.einsum("i,nij,j->n", X9, outer.inverse(), X9))


def group_kernel(h):
    return torch.exp(-polar_log(h)[0].square().sum((-2, -1)) / (2 * TAU**2))


def estimate(sample):
    weight = sample.log_weight.exp() / torch.linalg.det(sample.g)
    return float((weight * group_kernel(sample.g) * spatial_part(sample.g)).sum())


def proposal(group):
    law = LogNormalSPD(0.4, traceless=group == SL(2))
    return PolarProposal(law, UniformCompact(SO(2)))


@pytest.mark.parametrize(("group", "exact"), [(SL(2), 0.6620508765), (GLPlus(2), 0.5640543640)], ids=str)
def test_the_monte_carlo_sum_tends_to_the_closed_form(group, exact):
    generator = torch.Generator().manual_seed(0)
    law = proposal(group)
    errors = {
        (method, n): torch.tensor(
            [estimate(law.sample(n, generator, method, dtype=f64)) / exact - 1 for _ in range(100)], dtype=f64
        )
        for method in ("iid", "rqmc")
        for n in (32, 128, 512)
    }
    rms = {key: float(e.square().mean().sqrt()) for key, e in errors.items()}
    slope = math.log(rms["iid", 512] / rms["iid", 32]) / math.log(16)
    assert slope == pytest.approx(-0.5, abs=0.1)
    assert rms["rqmc", 128] <= rms["iid", 128] / 5
    for (_, n), e in errors.items():
        assert abs(float(e.mean())) <= 4 * float(e.std()) / 10 + 1e-6, n


def test_the_layer_computes_that_sum():
    pixels = 4.0  # per unit of length
    generator = torch.Generator().manual_seed(1)
    narrow = PolarProposal(LogNormalSPD(0.2), UniformCompact(SO(2)))
    sample = narrow.sample(6, generator, dtype=f64)

    def blob(u):
        return torch.exp(-u.square().sum(-1) / (2 * (RHO * pixels) ** 2))

    lift = LiftingConv2d(narrow, 1, 1, kernel=blob, kernel_size=41, padding="valid")
    convolve = GroupConv2d(
        1, 1, kernel=lambda u, h: blob(u) * group_kernel(h), kernel_size=41, padding="valid",
        self_normalised=False, group_window=None,
    )  # fmt: skip
    image = gaussian_image(81, S9 * pixels**2, centre=tuple((-pixels * X9).tolist()))
    feature = lift(image, sample)
    identity = one(torch.eye(2, dtype=f64))
    found = float(convolve(feature, identity).values) / pixels**4
    assert found == pytest.approx(estimate(sample), rel=1e-5)


@pytest.mark.parametrize("kernel", ["basis", "siren"])
@pytest.mark.parametrize("separable", [True, False])
def test_quarter_turns_commute_with_both_layers(kernel, separable):
    torch.manual_seed(0)
    lift = LiftingConv2d(Cyclic(4), 2, 6, kernel=kernel, bias=True)
    convolve = GroupConv2d(6, 5, kernel=kernel, separable=separable, group_window=None, angle_window=1.0)
    x = torch.randn(2, 2, 17, 17)
    moved = convolve(lift(torch.rot90(x, -1, (-2, -1)))).values
    expected = torch.rot90(convolve(lift(x)).values, -1, (-2, -1)).roll(1, 2)
    assert (moved - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert (moved - moved.roll(1, 2)).abs().max() > 0.1 * expected.abs().max()


def test_reflections_commute_too():
    torch.manual_seed(0)
    group = Dihedral(4)
    lift, convolve = LiftingConv2d(group, 1, 4), GroupConv2d(4, 3, group_window=None)
    x = torch.randn(1, 1, 15, 15)
    out = convolve(lift(x)).values
    for k, g in enumerate(group.elements()):
        moved = convolve(lift(Image(mode="nearest")(group, g[None], x))).values
        place = group.multiplication_table()[k]  # g_k g_i, where F(x, g_i) goes
        expected = torch.empty_like(out)
        for i, j in enumerate(place.tolist()):
            expected[:, :, j] = Image(mode="nearest")(group, g[None], out[:, :, i])
        assert (moved - expected).abs().max() <= 1e-5 * out.abs().max()


def test_an_affine_warp_moves_a_lifted_feature_to_other_elements():
    """F(x, A) of the moved image is F(B^-1 x, B^-1 A): with the determinant, and not without."""
    S, rho = torch.diag(torch.tensor([25.0, 9.0], dtype=f64)), 2.0
    B = torch.tensor([[1.2, 0.3], [-0.1, 0.9]], dtype=f64)
    A = torch.tensor([[0.9, 0.2], [0.1, 1.2]], dtype=f64)
    lift = LiftingConv2d(
        GLPlus(2), 1, 1, kernel=lambda u: torch.exp(-u.square().sum(-1) / (2 * rho**2)), kernel_size=33
    )
    there = float(lift(gaussian_image(81, B @ S @ B.mT), one(B @ A)).values[0, 0, 0, 40, 40])
    here = float(lift(gaussian_image(81, S), one(A)).values[0, 0, 0, 40, 40])
    assert there == pytest.approx(here, rel=1e-9)


def test_weights_are_those_of_haar_measure_and_the_determinant_that_of_the_input():
    torch.manual_seed(0)
    law = PolarProposal(LogNormalSPD(0.3), Window(SO(2), 0.5))
    sample, output = law.sample(5), law.sample(3)
    values = torch.randn(2, 4, 5, 9, 9)
    convolve = GroupConv2d(4, 3, self_normalised=False, max_stretch=3.0)
    whole = convolve(GroupFeature(values, sample), output).values
    parts = 0
    for j in range(5):
        alone = GroupSample(sample.g[j : j + 1], sample.g_inv[j : j + 1], sample.log_weight[j : j + 1])
        parts = parts + convolve(GroupFeature(values[:, :, j : j + 1], alone), output).values
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)
    heavier = sample._replace(log_weight=sample.log_weight + math.log(2))
    torch.testing.assert_close(convolve(GroupFeature(values, heavier), output).values, 2 * whole)
    even = GroupConv2d(4, 3, self_normalised=False, weighting="none", max_stretch=3.0)
    even.load_state_dict(convolve.state_dict())
    torch.testing.assert_close(
        even(GroupFeature(values, heavier), output).values, even(GroupFeature(values, sample), output).values
    )


def test_self_normalised_sums_do_not_feel_the_number_of_elements():
    torch.manual_seed(0)
    values = torch.ones(1, 1, 1, 9, 9)
    law = Window(SO(2), 0.3)
    convolve = GroupConv2d(1, 1, group_window=None, angle_window=0.2)
    outputs = []
    for n in (4, 4000):
        sample = law.sample(n, method="lattice")
        outputs.append(convolve(GroupFeature(values.expand(1, 1, n, 9, 9), sample), one(torch.eye(2))).values)
    torch.testing.assert_close(*outputs, rtol=0.1, atol=0.01)


def test_relative_elements_give_the_same_where_they_meet_the_known_ones():
    torch.manual_seed(0)
    lift = LiftingConv2d(Cyclic(4), 1, 4)
    feature = lift(torch.randn(1, 1, 11, 11))
    direct = GroupConv2d(4, 3, group_window=None)
    relative = GroupConv2d(4, 3, group_window=None, relative=Cyclic(4), interpolation=0.05)
    relative.load_state_dict(direct.state_dict(), strict=False)
    torch.testing.assert_close(relative(feature).values, direct(feature).values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("kernel", ["basis", "siren"])
def test_a_kernel_with_an_atom_starts_with_each_element_alone_and_learns_to_mix(kernel, separable):
    torch.manual_seed(0)
    feature = LiftingConv2d(Cyclic(4), 1, 3)(torch.randn(2, 1, 15, 15))
    convolve = GroupConv2d(3, 3, group_window=None, atom=True, kernel=kernel, separable=separable)
    other = feature.map(lambda x: torch.cat([x[:, :, :1], torch.randn_like(x[:, :, 1:])], 2))
    first, changed = convolve(feature).values, convolve(other).values
    torch.testing.assert_close(first[:, :, 0], changed[:, :, 0])
    assert first[:, :, 0].abs().max() > 0.1
    first.square().sum().backward()
    smooth = convolve.mixing if separable else convolve.kernel
    assert any(p.grad.abs().max() > 0 for p in smooth.parameters())
    with torch.no_grad():
        for parameter in smooth.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert (convolve(feature).values - convolve(other).values)[:, :, 0].abs().max() > 0.1


@pytest.mark.parametrize("separable", [True, False])
def test_a_kernel_with_an_atom_is_equivariant(separable):
    torch.manual_seed(0)
    x = torch.randn(2, 1, 17, 17)
    lift = LiftingConv2d(Cyclic(4), 1, 3)
    convolve = GroupConv2d(3, 2, group_window=None, atom=True, separable=separable)
    with torch.no_grad():
        (convolve.mixing if separable else convolve.kernel).linear.weight.normal_()
    out = convolve(lift(x)).values
    moved = convolve(lift(torch.rot90(x, -1, (-2, -1)))).values
    assert (moved - torch.rot90(out, -1, (-2, -1)).roll(1, 2)).abs().max() <= 1e-5 * out.abs().max()


def test_an_atom_counts_as_much_as_haar_measure_says():
    """One element of determinant 3: the sum over space alone, divided by it."""
    torch.manual_seed(0)
    g = torch.diag(torch.tensor([3.0, 1.0]))
    convolve = GroupConv2d(1, 1, rank=1, atom=True, support_radius=2.0, max_stretch=3.0)
    flat = torch.ones(1, 1, 1, 31, 31)
    at = lambda g: convolve(GroupFeature(flat, one(g))).values[0, 0, 0, 15, 15]
    assert float((at(g) / at(torch.eye(2))).detach()) == pytest.approx(
        1.0, rel=2e-2
    )  # a kernel three times as wide, a third each


def test_relative_elements_are_interpolated_between_the_known_ones():
    """A feature that is a smooth function of the angle alone is known at 64 angles, and asked for at others."""
    angles = torch.arange(64, dtype=torch.float64)[:, None] * (2 * math.pi / 64)
    g = SO(2).exp(angles)
    known = GroupSample(g, g.mT.contiguous(), torch.full((64,), -math.log(64), dtype=f64))
    values = angles.cos().reshape(1, 1, 64, 1, 1).expand(1, 1, 64, 9, 9)
    convolve = GroupConv2d(1, 1, group_window=None, relative=SamplePlan(Window(SO(2), 0.01), 4), padding="same",
                           interpolation=0.08).double()  # fmt: skip
    at = one(SO(2).exp(torch.tensor([0.3], dtype=f64)))
    nowhere = one(SO(2).exp(torch.tensor([2.4], dtype=f64)))
    ratio = convolve(GroupFeature(values, known), nowhere).values / convolve(GroupFeature(values, known), at).values
    flat = torch.ones_like(values)
    even = convolve(GroupFeature(flat, known), nowhere).values / convolve(GroupFeature(flat, known), at).values
    found = float((ratio / even)[0, 0, 0, 4, 4].detach())
    assert found == pytest.approx(math.cos(2.4) / math.cos(0.3), rel=0.02)


def test_volumes_turn_by_quarters_too():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 9, 9, 9)
    angle = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turns = torch.stack([torch.matrix_power(angle, k) for k in range(4)])
    sample = GroupSample(turns, turns.mT.contiguous(), torch.full((4,), -math.log(4)))
    lift = LiftingConv3d(SO(3), 1, 2, support_radius=1.5, max_stretch=1.0)
    convolve = GroupConv3d(2, 2, group_window=None, support_radius=1.5, max_stretch=1.0)
    out = convolve(lift(x, sample)).values
    moved = convolve(lift(torch.rot90(x, -1, (-2, -1)), sample)).values
    assert (moved - torch.rot90(out, -1, (-2, -1)).roll(1, 2)).abs().max() <= 1e-5 * out.abs().max()


def test_plans_redraw_in_training_and_keep_still_in_evaluation():
    plan = SamplePlan(Window(SO(2), 0.5), 6)
    first, second = plan(), plan()
    assert (first.g - second.g).abs().max() > 1e-3
    plan.eval()
    assert torch.equal(plan().g, plan().g)
    copy = SamplePlan(Window(SO(2), 0.5), 6).eval()
    copy.load_state_dict(plan.state_dict())
    assert torch.equal(copy().g, plan().g)
    always = SamplePlan(Window(SO(2), 0.5), 6, resample="always").eval()
    again = [always(torch.Generator().manual_seed(1)).g for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(always().g, again[0])
    assert plan.float().g.dtype == f64
    assert torch.equal(SamplePlan(SO(2), 3, with_identity=True)().g[0], torch.eye(2))
    assert len(SamplePlan(Trivial(2))().g) == 1
    more = SamplePlan(Window(SO(2), 0.5), 3, n_eval=16, method="lattice")
    assert len(more().g) == 3
    assert len(more.eval()().g) == 16
    torch.testing.assert_close(more().log_weight.exp().sum(), torch.tensor(0.5 / math.pi))


def test_gradients_reach_every_parameter_and_are_finite_at_the_identity():
    torch.manual_seed(0)
    for kernel in ("basis", "siren"):
        for separable in (True, False):
            lift, convolve = (
                LiftingConv2d(Trivial(2), 1, 2, kernel=kernel),
                GroupConv2d(2, 2, kernel=kernel, separable=separable),
            )
            convolve(lift(torch.randn(1, 1, 8, 8))).values.square().sum().backward()
            for layer in (lift, convolve):
                for name, p in layer.named_parameters():
                    assert p.grad is not None, name
                    assert p.grad.isfinite().all(), name


def test_bad_input_is_told_at_the_door(plain):
    with pytest.raises(ValueError, match=r"elements of a plan must be matrices of R\^2, without translations"):
        LiftingConv2d(Affine(2), 1, 1)
    with pytest.raises(ValueError, match="kernel_size must be a number of pixels, odd"):
        LiftingConv2d(Cyclic(4), 1, 1, kernel_size=4)
    with pytest.raises(ValueError, match='kernel must be "basis", "siren" or a function'):
        LiftingConv2d(Cyclic(4), 1, 1, kernel="gauss")
    with pytest.raises(ValueError, match="out_channels must be at least 1; got 0"):
        LiftingConv2d(Cyclic(4), 1, 0)
    with pytest.raises(ValueError, match="support_radius must be positive"):
        LiftingConv2d(Cyclic(4), 1, 1, support_radius=-1.0)
    lift = LiftingConv2d(Cyclic(4), 1, 1)
    with pytest.raises(ValueError, match=r"x must be \(batch, 1, height, width\); got \(1, 2, 9, 9\)"):
        lift(torch.zeros(1, 2, 9, 9))
    with pytest.raises(ValueError, match=r"an image of \(9, 9\) pixels is smaller than the kernel of 11"):
        LiftingConv2d(Cyclic(4), 1, 1, kernel_size=11, padding="valid")(torch.zeros(1, 1, 9, 9))
    with pytest.raises(ValueError, match=r"an element stretches by 3: a kernel of radius 2 then reaches 6 pixels"):
        lift(torch.zeros(1, 1, 9, 9), one(3 * torch.eye(2)))
    with pytest.warns(UserWarning, match="an element stretches by 3"):
        LiftingConv2d(Cyclic(4), 1, 1, clip="warn")(torch.zeros(1, 1, 9, 9), one(3 * torch.eye(2)))
    with pytest.raises(ValueError, match=r"values must be \(batch, 1, elements, \*pixels\), 5 axes"):
        GroupConv2d(1, 1)(GroupFeature(torch.zeros(1, 1, 9, 9), one(torch.eye(2))))
    with pytest.raises(ValueError, match="n must be at least 1"):
        SamplePlan(SO(2), 0)
    with pytest.raises(ValueError, match="n_eval must be at least 1"):
        SamplePlan(SO(2), 4, n_eval=0)
    with pytest.raises(ValueError, match="n_eval is for resample"):
        SamplePlan(SO(2), 4, n_eval=8, resample="never")
    with pytest.raises(ValueError, match="atom needs a kernel that is no function, and no plan"):
        GroupConv2d(1, 1, atom=True, plan=Cyclic(4))
    with pytest.raises(ValueError, match="known at the elements of the input only"):
        GroupConv2d(1, 1, atom=True)(lift(torch.zeros(1, 1, 9, 9)), one(torch.eye(2)))
    with pytest.raises(TypeError, match="x must be floating point; got torch.int64"):
        lift(torch.zeros(1, 1, 9, 9, dtype=torch.int64))
    with pytest.raises(TypeError, match="feature must be a GroupFeature"):
        GroupConv2d(1, 1)(torch.zeros(1, 1, 9, 9))
    with pytest.raises(ValueError, match="values are known at 3 elements, and the sample has 1"):
        GroupConv2d(1, 1)(GroupFeature(torch.zeros(1, 1, 3, 9, 9), one(torch.eye(2))))
    for options in ({"max_stretch": math.inf}, {"kernel_size": 3.0}, {"padding": True}, {"stride": True}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            LiftingConv2d(Cyclic(4), 1, 1, **options)
    with pytest.raises(ValueError, match='weighting must be "haar" or "none"'):
        GroupConv2d(1, 1, weighting="left")
    with pytest.raises(ValueError, match="group_window must be positive"):
        GroupConv2d(1, 1, group_window=0.0)
    assert LiftingConv2d(Cyclic(4), 1, 1)(torch.zeros(0, 1, 9, 9)).values.shape == (0, 1, 4, 9, 9)


NETWORKS = {
    "small": lambda: AffineNetSmall(SamplePlan(Window(SO(2), 0.5), 3, n_eval=6), 1, 3, channels=(4, 4)),
    "siren": lambda: AffineNetSmall(Cyclic(4), 1, 3, channels=(4, 4), kernel="siren"),
    "full": lambda: AffineNetSmall(Cyclic(4), 1, 3, channels=(4, 4), separable=False),
    "resnet": lambda: AffineResNet(SamplePlan(Window(SO(2), 0.5), 3), 1, 3, channels=4),
    "invariants": lambda: InvariantNet(1, 3, channels=(4, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_under_autocast_in_half_precision_and_under_vmap(name, plain):
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    x = torch.rand(2, 1, 21, 21)
    expected = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(x).float(), expected, atol=0.1, rtol=0.1)
    singly = torch.func.vmap(lambda image: net(image[None])[0])(x)
    torch.testing.assert_close(singly, expected, atol=1e-4, rtol=1e-4)
    half = copy.deepcopy(net).bfloat16()(x.bfloat16())
    torch.testing.assert_close(half.float(), expected, atol=0.15, rtol=0.15)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", ["small", pytest.param("siren", marks=SLOW), pytest.param("resnet", marks=SLOW)])
def test_networks_compile_as_one_graph(name, plain):
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    x = torch.rand(2, 1, 21, 21)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), atol=1e-5, rtol=1e-4)


def test_widths_of_laws_are_learned_and_evaluation_follows(plain):
    width = nn.Parameter(torch.tensor(0.3))
    plan = SamplePlan(PolarProposal(LogNormalSPD(width), Window(SO(2), 0.5)), 3)
    copy.deepcopy(plan)
    plan(torch.Generator().manual_seed(0)).g.square().sum().backward()
    assert width.grad.abs() > 0
    with torch.no_grad():
        width.fill_(1e-6)
    plan.refresh()
    stretch = torch.linalg.matrix_norm(plan.eval()().g, 2)
    torch.testing.assert_close(stretch, torch.ones(3), atol=1e-4, rtol=0)

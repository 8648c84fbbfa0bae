"""The parts of group convolutions, each against its definition."""

import math

import pytest
import torch
from torch import nn

from torsor.build.lie import (
    AffineNetSmall,
    AffineResNet,
    GroupConv2d,
    GroupFeature,
    GroupNorm,
    InvariantNet,
    LiftingConv2d,
    OrbitPool,
    SamplePlan,
)
from torsor.build.lie._kernels import GroupBasis, GroupWindow, LogBasis, Siren
from torsor.groups import SO, Cyclic, Trivial
from torsor.groups.measure import GroupSample, LogNormalSPD, PolarProposal, Window

f64 = torch.float64
STRETCHED = PolarProposal(LogNormalSPD(0.3), Window(SO(2), 0.6))


def test_windows_are_gaussians_of_their_width():
    stretch = torch.diag(torch.tensor([math.exp(0.2), 1.0], dtype=f64))
    turn = SO(2).exp(torch.tensor([0.01], dtype=f64))
    assert float(GroupWindow(0.2)(stretch)) == pytest.approx(math.exp(-0.5))
    assert float(GroupWindow(None, 0.01)(turn)) == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert float(GroupWindow(0.2, 0.01)(stretch @ turn)) == pytest.approx(math.exp(-1), rel=1e-4)


def test_bases_are_of_one_size_inside_their_window_and_logarithms_are_missing_where_there_are_none():
    g = torch.diag(torch.tensor([math.exp(0.2), 1.0], dtype=f64)) @ SO(2).exp(torch.tensor([0.3], dtype=f64))
    values = GroupBasis(2, 0.2, 0.3)(g)
    assert float(values[0]) == 1
    assert values.shape == (12,)
    assert float(values.abs().max()) == pytest.approx(1, rel=0.02)  # Y / width, sine / angle and their product
    no_logarithm = torch.diag(torch.tensor([-2.0, -0.5], dtype=f64))
    found = LogBasis(2)(torch.stack([no_logarithm, g]))
    assert not found[0].any()
    assert float(found[1, 0]) == 1


def test_sine_networks_start_as_published():
    net = Siren(4, 8, fan=16.0, hidden=50, layers=2, omega=10.0)
    largest = [float(layer.weight.detach().abs().max()) for layer in (*net.layers, net.last)]
    bounds = [1 / 4, math.sqrt(6 / 50) / 10, math.sqrt(6 / 50) / 4]
    assert all(0.9 * bound < size <= bound for size, bound in zip(largest, bounds, strict=True))


def test_the_identity_of_a_plan_has_the_weight_of_its_density():
    plan = SamplePlan(STRETCHED, 5, with_identity=True)
    sample = plan()
    expected = -STRETCHED.log_prob(torch.eye(2)) - math.log(5)
    torch.testing.assert_close(sample.g[0], torch.eye(2))
    torch.testing.assert_close(sample.log_weight[0], expected)


def test_plans_take_as_many_elements_as_were_saved():
    saved = SamplePlan(STRETCHED, 3, n_eval=9)
    plan = SamplePlan(STRETCHED, 3)
    plan.load_state_dict(saved.state_dict())
    assert torch.equal(plan.eval()().g, saved.eval()().g)
    assert plan.n_eval == 9


def test_normalisation_is_over_channels_together():
    x = torch.randn(2, 3, 4, 5, 5) + torch.arange(3.0).reshape(3, 1, 1, 1)
    values = GroupNorm(3)(GroupFeature(x, Cyclic(4).elements())).values
    torch.testing.assert_close(values.mean((1, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.var((1, 2, 3, 4), correction=0), torch.ones(2), atol=1e-3, rtol=0)
    assert (values.mean((2, 3, 4))[:, 2] - values.mean((2, 3, 4))[:, 0] > 0.5).all()


def test_means_over_orbits_have_the_weights_of_the_sample():
    torch.manual_seed(0)
    x, plan = torch.rand(2, 1, 15, 15), SamplePlan(STRETCHED, 4).eval()
    square = lambda z: z.flatten(1).square()
    found = OrbitPool(square, plan, reduce="mean")(x)
    share = plan().log_weight.softmax(0)
    singly = [OrbitPool(square, plan)(x, GroupSample(*(part[i : i + 1] for part in plan()))) for i in range(4)]
    torch.testing.assert_close(found, sum(s * y for s, y in zip(share, singly, strict=True)))


@pytest.mark.parametrize("stretch", [1.49, 1.51])
def test_kernels_may_reach_one_pixel_beyond_their_window(stretch):
    lift = LiftingConv2d(Trivial(2), 1, 1, support_radius=2.0, max_stretch=1.0)  # a window of 5 pixels
    g = stretch * torch.eye(2)[None]
    sample = GroupSample(g, g.inverse(), torch.zeros(1))
    if stretch < 1.5:
        lift(torch.zeros(1, 1, 9, 9), sample)
    else:
        with pytest.raises(ValueError, match="an element stretches"):
            lift(torch.zeros(1, 1, 9, 9), sample)


def test_relative_elements_have_the_weights_of_their_law():
    torch.manual_seed(0)
    plan = SamplePlan(STRETCHED, 6, resample="never")
    feature = LiftingConv2d(plan, 1, 2, clip="ignore")(torch.rand(1, 1, 15, 15))
    near = SamplePlan(STRETCHED, 6, resample="never")
    weighted = GroupConv2d(2, 2, relative=near, clip="ignore")
    even = GroupConv2d(2, 2, relative=near, clip="ignore", weighting="none")
    even.load_state_dict(weighted.state_dict())
    assert (weighted(feature).values - even(feature).values).abs().max() > 1e-4


def test_networks_use_all_of_their_layers_and_the_extremes_of_their_channels():
    torch.manual_seed(0)
    net = AffineResNet(SamplePlan(Cyclic(4)), 1, 3, channels=4)
    net(torch.rand(2, 1, 21, 21)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
    invariants, x = InvariantNet(1, 3, channels=(4,)), torch.rand(2, 1, 21, 21)
    last = invariants.layers[0](x)
    torch.testing.assert_close(invariants.features(x), torch.cat([last.amax((2, 3)), last.amin((2, 3))], 1))


def test_networks_cut_off_kernels_with_a_warning_and_can_be_told_to_refuse(plain):
    g = torch.diag(torch.tensor([2.0, 1.0]))[None]
    sample, x = GroupSample(g, g.inverse(), torch.zeros(1)), torch.rand(1, 1, 21, 21)
    plan = SamplePlan(STRETCHED, 2)
    with pytest.warns(UserWarning, match="an element stretches by 2"):
        AffineNetSmall(plan, 1, 2, channels=(2, 2))(x, sample)
    with pytest.raises(ValueError, match="an element stretches by 2"):
        AffineNetSmall(plan, 1, 2, channels=(2, 2), clip="raise")(x, sample)
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        AffineNetSmall(plan, 1, 2, hidden=0)
    with pytest.raises(ValueError, match="out_features must be at least 1"):
        AffineNetSmall(plan, 1, 0)
    assert isinstance(AffineNetSmall(plan, 1, 2, clip="ignore"), nn.Module)

"""Correlations on point clouds: exactly equivariant where the group comes whole."""

import math

import pytest
import torch

from torsor.build.lie import GroupFeature, PointGroupConv, PointLifting, SamplePlan
from torsor.groups import SO, Cyclic, Dihedral, GLPlus
from torsor.groups.measure import GroupSample

f64 = torch.float64


@pytest.mark.parametrize("group", [Cyclic(6), Dihedral(3)], ids=str)
def test_finite_groups_and_translations_are_exact(group):
    torch.manual_seed(0)
    lift = PointLifting(group, 2, 4, radius=2.0).double()
    convolve = PointGroupConv(4, 3, n=2, radius=2.0, group_window=None, angle_window=0.7).double()
    x, f = torch.randn(2, 12, 2, dtype=f64), torch.randn(2, 12, 2, dtype=f64)
    out = convolve(x, lift(x, f)).values
    assert out.std() > 1e-3
    for k, g in enumerate(group.elements(f64)):
        moved = x @ g.mT + 3.0
        there = convolve(moved, lift(moved, f)).values
        place = group.multiplication_table()[k]
        torch.testing.assert_close(there[:, :, place], out, atol=1e-12, rtol=1e-10)


def test_linear_maps_move_the_feature_to_other_elements():
    torch.manual_seed(0)
    A, B = GLPlus(3).sample(5, dtype=f64), GLPlus(3).sample(dtype=f64)
    x, f = torch.randn(1, 10, 3, dtype=f64), torch.randn(1, 10, 1, dtype=f64)
    lift = PointLifting(SamplePlan(GLPlus(3), 5), 1, 4, radius=2.0).double()
    convolve = PointGroupConv(4, 2, n=3, radius=2.0).double()
    weight = torch.full((5,), -math.log(5), dtype=f64)
    here = convolve(x, lift(x, f, sample=GroupSample(A, A.inverse(), weight)))
    there = convolve(x @ B.mT, lift(x @ B.mT, f, sample=GroupSample(B @ A, (B @ A).inverse(), weight)))
    torch.testing.assert_close(here.values, there.values, atol=1e-10, rtol=1e-8)


def test_padding_changes_nothing_and_the_order_of_points_is_kept():
    torch.manual_seed(0)
    x, f = torch.randn(2, 9, 3), torch.randn(2, 9, 2)
    lift, convolve = PointLifting(SamplePlan(SO(3), 4), 2, 3, radius=2.0).eval(), PointGroupConv(3, 2, n=3, radius=2.0)
    out = convolve(x, lift(x, f)).values
    order = torch.randperm(9)
    torch.testing.assert_close(convolve(x[:, order], lift(x[:, order], f[:, order])).values, out[..., order])
    padded = torch.cat([x, torch.full((2, 3, 3), 7.0)], 1), torch.cat([f, torch.ones(2, 3, 2)], 1)
    mask = (torch.arange(12) < 9).expand(2, 12)
    torch.testing.assert_close(convolve(padded[0], lift(*padded, mask), mask).values[..., :9], out)


def test_bad_clouds_are_told(plain):
    lift = PointLifting(SamplePlan(SO(3), 4), 2, 3, radius=2.0)
    with pytest.raises(ValueError, match=r"points must be \(2, 9, 3\); got \(2, 9, 2\)"):
        lift(torch.zeros(2, 9, 2), torch.zeros(2, 9, 2))
    with pytest.raises(ValueError, match="radius must be positive"):
        PointLifting(SO(3), 2, 3, radius=0.0)
    feature = GroupFeature(torch.zeros(2, 2, 4, 9), SamplePlan(SO(3), 4)())
    with pytest.raises(ValueError, match=r"values must be \(batch, 3, elements, points\)"):
        PointGroupConv(3, 2, n=3, radius=1.0)(torch.zeros(2, 9, 3), feature)

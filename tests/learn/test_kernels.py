"""Convolutions with kernels of several taps: representations of their taps, penalties, projection, curvature."""

import pytest
import torch

from torsor import learn
from torsor.actions import Grid, Image, Regular, Scalar, V
from torsor.data import Samples
from torsor.groups import SO, Cyclic, Dihedral, O

CASES = [(Cyclic(4), 2 * Scalar() + V, V + Regular()), (Dihedral(4), Scalar(), Regular()), (Cyclic(2), V, 2 * Scalar())]


def attached(group, rep_in, rep_out, k):
    net = torch.nn.Sequential(torch.nn.Conv2d(rep_in.dim(group), rep_out.dim(group), k)).double()
    learn.attach(net, "0", rep_in, rep_out, [group])
    return net


def moved(rep, group, g, x):
    turned = Image()(group, g, x)
    return rep(group, g, turned.movedim(-3, -1)).movedim(-1, -3)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(("group", "rep_in", "rep_out"), CASES, ids=str)
def test_without_penalty_the_convolution_commutes_with_turned_images(group, rep_in, rep_out, k):
    net = attached(group, rep_in, rep_out, k)
    x = torch.randn(1, rep_in.dim(group), 6, 6, dtype=torch.float64)

    def error():
        found = [
            net(moved(rep_in, group, g.expand(1, 2, 2), x)) - moved(rep_out, group, g.expand(1, 2, 2), net(x))
            for g in group.elements(torch.float64)
        ]
        return float(torch.stack(found).detach().abs().max())

    assert error() > 0.01
    bound = learn.project_towards(net, group, 1.0)
    assert error() < 1e-13
    assert bound.after < 1e-13
    assert float(learn.PERegularizer(net, strengths=learn.Fixed(1.0))().detach()) < 1e-28


def test_the_bound_holds_for_kernels():
    group = Cyclic(4)
    net = attached(group, Scalar(), 3 * Scalar(), 3)
    x = torch.rand(50, 1, 5, 5, dtype=torch.float64) * 2 - 1  # every pixel in the ball
    bound = learn.project_towards(net, group, 0.5)
    for g in group.elements(torch.float64):
        h = g.expand(50, 2, 2)
        left = net(moved(Scalar(), group, h, x)) - moved(3 * Scalar(), group, h, net(x))
        assert float(left.detach().norm(dim=1).max()) <= bound.after
    assert bound.after < 0.6 * bound.before


def test_a_channels_last_weight_is_moved_too():
    net = attached(Cyclic(4), 2 * Scalar(), 3 * Scalar(), 3).to(memory_format=torch.channels_last)
    learn.project_towards(net, Cyclic(4), 1.0)
    assert float(net[0].reps.residuals(net[0].weight.detach().flatten(1)).sum()) < 1e-28


def test_the_grid_is_a_representation():
    group = Dihedral(4)
    g = group.elements(torch.float64)
    pairs = Grid(3).matrix(group, group.compose(g[:, None], g).flatten(0, 1)).unflatten(0, (8, 8))
    assert torch.equal(pairs, Grid(3).matrix(group, g)[:, None] @ Grid(3).matrix(group, g))


def test_the_curvature_of_a_kernel_is_that_of_its_patches():
    net = torch.nn.Conv2d(2, 3, 3).double()
    x = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    A, G = learn.curvature(net, [Samples(x, x.new_zeros(5, 3, 1, 1))]).factors[""]
    assert torch.allclose(A, x.flatten(1).T @ x.flatten(1) / 5)
    assert torch.allclose(G, 5 * torch.eye(3).double())


def test_strengths_move_for_kernels():
    net = attached(Cyclic(4), Scalar(), 2 * Scalar(), 3)
    per = learn.PERegularizer(net, strengths=learn.EvidenceRule(warmup=0.0, every=1))
    x = torch.randn(20, 1, 4, 4, dtype=torch.float64)
    data = Samples(x, x.unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2)).expand(20, 2, 2, 2).contiguous())
    before = float(per.strengths)
    learn.fit(net, data, learn.regularised(learn.mse, per), epochs=3, batch_size=20, precision="64-true")
    assert float(per.strengths) != before


@pytest.mark.parametrize(
    ("kernel", "group", "match"),
    [(3, SO(2), "onto themselves"), (3, Cyclic(3), "onto themselves"), ((3, 1), Cyclic(4), "square kernel"),
     (3, O(3), "act on R\\^2")],
    ids=str,
)  # fmt: skip
def test_kernels_that_a_group_does_not_map_onto_themselves_are_refused(kernel, group, match):
    with pytest.raises(ValueError, match=match):
        learn.attach(torch.nn.Conv2d(1, 1, kernel), "", Scalar(), Scalar(), [group])

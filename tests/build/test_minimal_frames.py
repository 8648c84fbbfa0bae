"""Frames from the first independent points: as few elements as the stabiliser allows, exact on every set."""

import pytest
import torch
from torch import nn

from tests.build.clouds import DEGENERATE, Backbone, degenerate, error, symmetry
from torsor import SE, SO, Batch, E, Mask, O, Point, PseudoScalar, Scalar, Sim, Symmetry, Vector
from torsor.build import FrameAveraging
from torsor.build.frames import MinimalFrame

f64 = torch.float64


class Ordered(nn.Module):
    """A network that looks at every point in its place, with outputs of every kind."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * n, 3 * n)
        self.net = Backbone("svpt")

    def forward(self, x):
        return self.net(self.mix(x.flatten(1)).unflatten(1, x.shape[1:]))


@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3), Sim(3)], ids=str)
def test_one_element_and_exact_where_the_points_span_space(group):
    action = Point() if group.is_affine else Vector()
    x = torch.randn(30, 6, 3, dtype=f64)
    model = FrameAveraging(Ordered(6).double(), Symmetry(group, {"x": action}, symmetry(group).output), MinimalFrame())
    frames = model.frames(x=x)
    assert frames.weights.shape == (30, 1)
    assert bool(group.contains(frames.elements, atol=1e-9).all())
    assert not frames.ambiguous.any()
    assert max(error(model, model.symmetry, {"x": x}).values()) < 1e-11


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
@pytest.mark.parametrize("name", DEGENERATE)
def test_exact_on_cubes_squares_lines_and_coincident_points(group, name):
    x = degenerate(name).unsqueeze(0)
    model = FrameAveraging(Ordered(x.shape[1]).double(), symmetry(group), MinimalFrame())
    assert max(error(model, model.symmetry, {"x": x}).values()) < 1e-12
    rank = {"square": 2, "line": 1, "coincident": 0}.get(name, 3)
    frames = model.frames(x=x)
    assert frames.rank.tolist() == [rank]
    free = 3 - rank - (group == SE(3))
    assert frames.weights.shape[1] == 2 ** max(free, 0)


def test_the_order_of_the_points_decides():
    x = torch.randn(10, 5, 3, dtype=f64)
    model = FrameAveraging(Backbone("s").double(), symmetry(E(3), "s"), MinimalFrame())
    assert (model(x=x)["s"] - model(x=x.flip(1))["s"]).abs().max() > 1e-3


def test_padding_and_ragged_layouts_give_the_same_frames():
    x = torch.randn(4, 6, 3, dtype=f64)
    padded = torch.cat([torch.full((4, 2, 3), torch.nan, dtype=f64), x], 1)
    mask = (torch.arange(8) >= 2).expand(4, 8)
    ragged, batch = x.flatten(0, 1), torch.arange(4).repeat_interleave(6)
    for group in (E(3), SE(3)):
        dense = MinimalFrame()(Symmetry(group, Point(), Scalar()), x)
        masked = MinimalFrame()(Symmetry(group, (Point(), Mask()), Scalar()), (padded, mask))
        rows = MinimalFrame()(Symmetry(group, (Point(), Batch()), Scalar(per="sample")), (ragged, batch))
        for other in (masked, rows):
            assert (other.elements - dense.elements).abs().max() < 1e-12


def test_gradients_are_those_of_the_function():
    sym = Symmetry(SE(3), Point(), PseudoScalar())
    model = FrameAveraging(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1)).double(), sym, MinimalFrame()
    )
    assert torch.autograd.gradcheck(model, (torch.randn(3, 4, 3, dtype=f64, requires_grad=True),))


def test_points_that_are_nearly_dependent_are_marked(plain):
    x = torch.tensor(
        [[[1.0, 0, 0], [-1.0, 2e-5, 0], [0, -2e-5, 0]], [[1.0, 0, 0], [0, 1.0, 0], [-1.0, -1.0, 0]]], dtype=f64
    )
    assert MinimalFrame()(Symmetry(E(3), Point(), Scalar()), x).ambiguous.tolist() == [True, False]
    assert len(MinimalFrame()(Symmetry(E(3), Point(), Scalar()), x[:0])) == 0
    with pytest.raises(TypeError, match="field must be the name of an input"):
        MinimalFrame(field=("x",))  # pyright: ignore
    with pytest.raises(ValueError, match="tol must be between 0 and 1"):
        MinimalFrame(tol=0.0)

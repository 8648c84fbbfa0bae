"""Points that leave axes open while other inputs show them: two particles with velocities, lines, single points."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from tests.build.clouds import degenerate
from torsor import SE, SO, Batch, E, Line, Mask, Nodes, O, Point, Scalar, Symmetric, Symmetry, Tensor, Vector, audit
from torsor.build import FAGNN, FrameAveraging
from torsor.build.frames import FrameSet, LearnedFrame, MinimalFrame, PCAFrame, RobustFrame, SortFrame, VectorHead

f64 = torch.float64
FRAMES = {
    "default": None,
    "skew": PCAFrame(signs="skew"),
    "soft": PCAFrame(signs="soft"),
    "robust": RobustFrame(),
    "minimal": MinimalFrame(),
}


class Moving(nn.Module):
    """A network without symmetry on positions and velocities, point by point and pair by pair."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6 * n, 16), nn.Tanh(), nn.Linear(16, 3 * n)).double()

    def forward(self, x, v):
        return self.net(torch.cat([x, v], -1).flatten(1)).unflatten(1, x.shape[1:])


def largest_error(model, sym, inputs):
    with torch.no_grad():
        g = sym.sample(inputs)
        return float((model(**sym.act(g, inputs)) - sym.act_output(g, model(**inputs), inputs)).abs().max())


def few_points(n):
    return torch.randn(20, n, 3, dtype=f64)


SCENES = {
    "one point": few_points(1),
    "two points": few_points(2),
    "a line": torch.randn(20, 1, 3, dtype=f64) * torch.randn(20, 6, 1, dtype=f64),
    "coincident": torch.randn(20, 1, 3, dtype=f64).expand(20, 4, 3),
    "plane": few_points(3),
}


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("scene", SCENES)
def test_velocities_are_moved_exactly_where_points_leave_axes_open(group, frame, scene):
    x = SCENES[scene]
    sym = Symmetry(group, {"x": Point(), "v": Vector()}, Point())
    model = FrameAveraging(Moving(x.shape[1]), sym, FRAMES[frame])
    inputs = {"x": x, "v": torch.randn_like(x)}
    assert largest_error(model, sym, inputs) < 1e-9
    assert not model.frames(**inputs).ambiguous.any()


def test_velocities_along_the_line_leave_the_other_axes_open_and_harmless():
    x = SCENES["two points"]
    v = (x[:, :1] - x[:, 1:]) * torch.randn(20, 2, 1, dtype=f64)
    sym = Symmetry(E(3), {"x": Point(), "v": Vector()}, Point())
    model = FrameAveraging(Moving(2), sym)
    frames = model.frames(x=x, v=v)
    assert frames.rank.tolist() == [1] * 20
    assert not frames.ambiguous.any()
    assert largest_error(model, sym, {"x": x, "v": v}) < 1e-12


def test_open_axes_that_other_inputs_show_are_marked():
    x, v = SCENES["two points"], torch.randn(20, 2, 3, dtype=f64)
    both = Symmetry(E(3), {"x": Point(), "v": Vector()}, Scalar())
    assert PCAFrame(on_degenerate="ignore")(both, {"x": x, "v": v}).ambiguous.all()
    stress = Symmetry(E(3), {"x": Point(), "s": Tensor(2)}, Scalar())
    for frame in (PCAFrame(), RobustFrame(), MinimalFrame()):
        with pytest.warns(UserWarning, match="20 of 20 samples") if isinstance(frame, PCAFrame) else nullcontext():
            assert frame(stress, {"x": x, "s": torch.randn(20, 3, 3, dtype=f64)}).ambiguous.all()
    axes = Symmetry(E(3), {"x": Point(), "l": Line()}, Scalar())
    assert RobustFrame()(axes, {"x": x, "l": v}).ambiguous.all()


def test_velocities_that_are_isotropic_across_the_line_are_ambiguous(plain):
    x = torch.tensor([[[0.0, 0, 0], [0, 0, 1]]], dtype=f64)
    v = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]], dtype=f64)
    sym = Symmetry(E(3), {"x": Point(), "v": Vector()}, Scalar())
    with pytest.raises(RuntimeError, match="repeated eigenvalues"):
        PCAFrame(on_degenerate="raise")(sym, {"x": x, "v": v})


@pytest.mark.parametrize("signs", ["skew", "soft"])
@pytest.mark.parametrize("group", [E(3), SE(3), O(3), SO(3)], ids=str)
def test_third_moments_of_rounding_decide_nothing_in_the_plane(signs, group):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, 3, dtype=f64, generator=generator)
    x[..., 2] = 0
    x = x @ SO(3).sample(300, generator=generator, dtype=f64).mT
    action = Point() if group.is_affine else Vector()
    sym = Symmetry(group, {"x": action, "v": Vector()}, action)
    net = Moving(4)
    model = FrameAveraging(net, sym, PCAFrame(signs=signs, on_degenerate="ignore"))
    assert largest_error(model, sym, {"x": x, "v": torch.randn_like(x)}) < 1e-7


def test_two_particles_in_fagnn(plain):
    torch.manual_seed(0)
    model = FAGNN().double()
    sym = Symmetry(E(3), {"positions": Point(), "velocities": Vector(), "charges": Scalar()}, Point())
    x, v, q = torch.randn(10, 2, 3, dtype=f64), torch.randn(10, 2, 3, dtype=f64), torch.ones(10, 2, 1, dtype=f64)
    assert largest_error(model, sym, {"positions": x, "velocities": v, "charges": q}) < 1e-10
    with pytest.raises(ValueError, match="velocities and charges must be"):
        model(x, v, q[..., 0].unsqueeze(-1).expand(10, 2, 2))


def test_heads_of_learned_frames_take_named_inputs():
    x, v = torch.randn(6, 7, 3, dtype=f64), torch.randn(6, 7, 3, dtype=f64)
    sym = Symmetry(SE(3), {"x": Point(), "v": Vector()}, Point())
    for head in (VectorHead(3), VectorHead(3, field="x")):
        model = FrameAveraging(Moving(7), sym, LearnedFrame(head.double()))
        assert largest_error(model, sym, {"x": x, "v": v}) < 1e-9


def test_the_report_sees_what_is_marked():
    x = degenerate("line").unsqueeze(0)
    sym = Symmetry(E(3), {"x": Point(), "s": Tensor(2)}, Scalar())
    inputs = {"x": x, "s": torch.randn(1, 5, 3, 3, dtype=f64)}
    report = audit.frame_report(sym, inputs, PCAFrame(on_degenerate="ignore"))
    assert int(report.ambiguous.sum()) == 1


def test_points_without_weight_that_leave_the_line_are_seen():
    x, w = torch.randn(20, 5, 3, dtype=f64), torch.zeros(20, 5, 1, dtype=f64)
    w[:, :2] = 1
    sym = Symmetry(E(3), {"x": Point(), "w": Scalar()}, Point())
    net = nn.Sequential(nn.Flatten(), nn.Linear(15, 15), nn.Tanh(), nn.Unflatten(1, (5, 3))).double()
    for frame in (PCAFrame(weights="w"), RobustFrame(weights="w"), PCAFrame(weights="w", signs="skew")):
        model = FrameAveraging(lambda x, w: net(x), sym, frame)
        assert largest_error(model, sym, {"x": x, "w": w}) < 1e-10


def test_lines_on_lines_are_the_line_or_nothing():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    sym = Symmetry(E(3), {"x": Point()}, Line())
    for x in (SCENES["a line"], SCENES["coincident"]):
        model = FrameAveraging(lambda x: net(x), sym)
        with torch.no_grad():
            g = sym.sample({"x": x})
            here, there = model(x=x), model(**sym.act(g, {"x": x}))
        moved = sym.act_output(g, here, {"x": x})
        projector = [y.unsqueeze(-1) * y.unsqueeze(-2) for y in (moved, there)]
        assert (projector[0] - projector[1]).abs().max() < 1e-9
    assert there.abs().max() == 0  # coincident points have no line


def test_heads_of_learned_frames_see_masks_and_refuse_ragged_points(plain):
    x = torch.randn(6, 7, 3, dtype=f64)
    mask = torch.arange(7).expand(6, 7) < 5
    sym = Symmetry(E(3), {"x": Point(), "mask": Mask()}, Point())
    frame = LearnedFrame(VectorHead(3).double())
    found = frame(sym, {"x": x.masked_fill(~mask.unsqueeze(-1), torch.nan), "mask": mask})
    alone = frame(Symmetry(E(3), {"x": Point()}, Point()), {"x": x[:, :5]})
    torch.testing.assert_close(found.elements, alone.elements)
    with pytest.raises(ValueError, match=r"VectorHead takes points \(B, n, d\); got shape \(42, 3\)"):
        frame(
            Symmetry(E(3), {"x": Point(), "b": Batch()}, Scalar(per="sample")),
            {"x": x.flatten(0, 1), "b": torch.arange(6).repeat_interleave(7)},
        )


def test_drawn_elements_follow_the_weights():
    elements = torch.eye(4, dtype=f64).expand(2000, 2, 4, 4).clone()
    elements[:, 1, 0, 3] = 1.0
    weights = torch.tensor([0.9, 0.1], dtype=f64).expand(2000, 2)
    one = torch.ones(2000)
    frames = FrameSet(E(3), elements, weights, one, one.long(), one.bool().logical_not())
    drawn = frames.sample(1, torch.Generator().manual_seed(0)).elements[:, 0, 0, 3]
    assert float(drawn.mean()) == pytest.approx(0.1, abs=0.02)


def test_each_field_counts_by_its_trace():
    x, v = torch.randn(8, 5, 3, dtype=f64), torch.randn(8, 5, 3, dtype=f64)
    sym = Symmetry(O(3), {"x": Vector(), "v": Vector()}, Scalar())
    frame = PCAFrame(fields=("x", "v"))
    torch.testing.assert_close(frame(sym, {"x": x, "v": v}).gap, frame(sym, {"x": x, "v": 1e4 * v}).gap)


def test_padded_nodes_are_sorted_last():
    x = torch.tensor([[[-5.0], [3.0], [1.0]]], dtype=f64)
    mask = torch.tensor([[False, True, True]])
    sym = Symmetry(Symmetric(3), (Nodes(-2), Mask()), Scalar())
    frames = SortFrame()(sym, (x, mask))
    seen = frames.canonicalize(x, Nodes(-2))[0, 0, :, 0]
    assert seen.tolist() == [1.0, 3.0, -5.0]

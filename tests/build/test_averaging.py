"""The wrapper: calls of the network, chunks, samples, given frames, and bad input at the door."""

import math
import re

import pytest
import torch
from torch import nn

from tests.build.clouds import (
    FRAMES,
    Backbone,
    degenerate,
    degenerate_batch,
    error,
    symmetry,
)
from torsor import (
    SO,
    Affine,
    Cyclic,
    E,
    GLPlus,
    O,
    Point,
    Scalar,
    Symmetry,
    Vector,
)
from torsor.build import FrameAveraging
from torsor.build.frames import AllElements, PCAFrame, RobustFrame, default_frame
from torsor.groups import Sp


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return x.sum(1).pow(3)


def test_all_frames_go_through_the_network_in_one_call():
    net = Counting()
    FrameAveraging(net, Symmetry(E(3), Point(), Vector()))(torch.randn(4, 5, 3))
    assert net.seen == [(32, 5, 3)]


def test_stochastic_frames_are_used_in_training_only():
    net = Counting()
    model = FrameAveraging(net, Symmetry(E(3), Point(), Vector()), samples=2)
    x = torch.randn(4, 5, 3)
    assert model.train().exact is False
    model(x)
    assert model.eval().exact is True
    model(x)
    assert net.seen == [(8, 5, 3), (32, 5, 3)]


def test_samples_are_drawn_with_the_weights():
    x = degenerate("cube").unsqueeze(0) + torch.randn(1, 8, 3, dtype=torch.float64) * 0.05
    frames = RobustFrame(delta=0.5)(Symmetry(E(3), Point(), Point()), x)
    k = 20000
    drawn = frames.sample(k, generator=torch.Generator().manual_seed(0))
    assert drawn.weights.shape == (1, k)
    torch.testing.assert_close(drawn.weights.sum(1), torch.ones(1, dtype=torch.float64))
    counts = torch.stack([(drawn.elements[0] == e).all(-1).all(-1).sum() for e in frames.elements[0]]).double()
    expected = k * frames.weights[0]
    used = expected > 0
    statistic = ((counts - expected).square() / expected)[used].sum()
    assert counts[~used].sum() == 0
    degrees = int(used.sum()) - 1
    assert abs(statistic - degrees) < 5 * math.sqrt(2 * degrees)


@torch.no_grad()
def test_the_weighted_mean_of_single_frames_is_the_average():
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    sym = symmetry(E(3), "v")
    model = FrameAveraging(Backbone("v").double(), sym, RobustFrame())
    frames = model.frames(x=x)
    one_by_one = torch.zeros(3, 3, dtype=torch.float64)
    for k in range(frames.weights.shape[1]):
        z = frames.canonicalize(x, Point())[:, k]
        y = frames.columns(k, k + 1).restore(model.net(z)["v"].unsqueeze(1), Vector(), reduce=False)[:, 0]
        one_by_one += frames.weights[:, k : k + 1] * y
    torch.testing.assert_close(model(x)["v"], one_by_one, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(frames.restore(frames.canonicalize(x, Point()), Point()), x, rtol=0, atol=1e-12)


def test_chunks_and_given_frames_change_nothing():
    x = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    sym = symmetry(E(3), "svpt")
    net = Backbone("svpt").double()
    whole = FrameAveraging(net, sym)
    expected = whole(x)
    gradient = torch.autograd.grad(sum(y.sum() for y in expected.values()), x)[0]
    for options in ({"chunk": 1}, {"chunk": 3}, {"chunk": 2, "recompute": True}):
        out = FrameAveraging(net, sym, **options)(x)
        for kind in "svpt":
            torch.testing.assert_close(out[kind], expected[kind], rtol=1e-12, atol=1e-13)
        again = torch.autograd.grad(sum(y.sum() for y in out.values()), x)[0]
        torch.testing.assert_close(again, gradient, rtol=1e-10, atol=1e-12)
    given = whole(x, frames=whole.frames(x))
    torch.testing.assert_close(given["v"], expected["v"])


@torch.no_grad()
def test_maximum_over_frames_is_invariant():
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    sym = symmetry(E(3), "s")
    for reduce in ("max", "logsumexp"):
        model = FrameAveraging(Backbone("s").double(), sym, RobustFrame(), reduce=reduce)
        assert error(model, sym, {"x": x})["s"] < 1e-12


@torch.no_grad()
def test_velocities_can_lift_the_degeneracy():
    x = degenerate_batch("cube")
    u = torch.randn(4, 8, 3, dtype=torch.float64)
    sym = Symmetry(E(3), {"x": Point(), "u": Vector()}, {"v": Vector()})
    net = Backbone("v", d=3).double()
    model = FrameAveraging(lambda x, u: {"v": net(x + 0.1 * u)["v"]}, sym, FRAMES["fields"])
    assert not model.frames(x=x, u=u).ambiguous.any()
    assert error(model, sym, {"x": x, "u": u})["v"] < 1e-12


@torch.no_grad()
def test_masses_weigh_the_centre_and_the_axes():
    x, m = torch.randn(4, 6, 3, dtype=torch.float64), torch.rand(4, 6, 1, dtype=torch.float64) + 0.1
    sym = Symmetry(E(3), {"x": Point(), "m": Scalar()}, {"v": Vector()})
    net = Backbone("v").double()
    model = FrameAveraging(lambda x, m: {"v": net(x)["v"]}, sym, PCAFrame(weights="m"))
    torch.testing.assert_close(model.frames(x=x, m=m).t[:, 0], (x * m).sum(1) / m.sum(1))
    assert error(model, sym, {"x": x, "m": m})["v"] < 1e-12


def test_batch_norm_in_training_keeps_full_averages_exact():
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()
    backbone = lambda x: net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)
    sym = Symmetry(E(3), Point(), Vector())
    model = FrameAveraging(backbone, sym)
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    g = sym.sample(x)
    torch.testing.assert_close(model(*sym.act(g, x)), sym.act_output(g, model(x), (x,)), rtol=1e-10, atol=1e-11)


@torch.no_grad()
def test_one_point_and_empty_batches_are_valid():
    sym = symmetry(E(3), "svpt")
    model = FrameAveraging(Backbone("svpt").double(), sym)
    x = torch.randn(2, 1, 3, dtype=torch.float64)
    assert max(error(model, sym, {"x": x}).values()) < 1e-12
    empty = model(torch.zeros(0, 5, 3, dtype=torch.float64))
    assert empty["t"].shape == (0, 3, 3)


def test_parameters_of_the_network_are_the_parameters_of_the_average():
    net = Backbone()
    model = FrameAveraging(net, symmetry(E(3)))
    assert set(map(id, model.parameters())) == set(map(id, net.parameters()))
    model.load_state_dict(model.state_dict())


def test_groups_without_a_frame_name_those_that_have_one(plain):
    with pytest.raises(TypeError, match=r"no frame is known for Sp\(4\); O, SO, E, SE, Sim, GL, GLPlus, SL, Affine"):
        FrameAveraging(nn.Identity(), Symmetry(Sp(4), Vector(), Vector()))
    with pytest.raises(TypeError, match="has no affine frame; GL, GLPlus, SL, SAffine, and Affine"):
        FrameAveraging(nn.Identity(), Symmetry(Affine(3, SO(3)), Point(), Point()))
    with pytest.raises(TypeError, match="no frame of principal axes; O, SO, E, SE and Sim have one"):
        PCAFrame()(Symmetry(GLPlus(3), Vector(), Vector()), (torch.zeros(1, 4, 3),))
    with pytest.raises(TypeError, match="is not finite"):
        AllElements()(Symmetry(O(3), Vector(), Vector()), (torch.zeros(1, 4, 3),))
    assert isinstance(default_frame(Cyclic(4)), AllElements)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"reduce": "median"}, 'reduce must be "mean", "max" or "logsumexp"'),
        ({"reduce": "max"}, "is for outputs that do not move"),
        ({"recompute": True}, "say how many frames at a time"),
    ],
)
def test_bad_options_are_refused(plain, options, message):
    with pytest.raises(ValueError, match=message):
        FrameAveraging(nn.Identity(), Symmetry(E(3), Point(), Point()), **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, Symmetry(E(3), Point(), Point())), "net must be a module or another callable; got None"),
        ((nn.Identity(), E(3)), "symmetry must be a torsor.Symmetry"),
        ((nn.Identity(), Symmetry(E(3), Point(), Point()), "pca"), "frame must be a frame such as PCAFrame()"),
        ((nn.Identity(), Symmetry(E(3), Point(), Point()), PCAFrame), "frame must be a frame such as PCAFrame()"),
    ],
)
def test_arguments_of_another_kind_are_refused(plain, arguments, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        FrameAveraging(*arguments)
    with pytest.raises(TypeError, match="samples must be an integer"):
        FrameAveraging(nn.Identity(), Symmetry(E(3), Point(), Point()), samples=1.5)


@pytest.mark.parametrize(
    ("net", "error_type", "message"),
    [
        (lambda x: x[:3], ValueError, "output must have 32 rows, one for each sample of the inputs"),
        (lambda x: x[..., :2], ValueError, "output: the last axis must have the 3 coordinates"),
        (lambda x: (x, x), TypeError, "output must be a tensor; got tuple"),
        (lambda x: x.long(), TypeError, "output must be floating point"),
        (lambda x: 3, TypeError, "output must be a tensor; got int"),
    ],
)
def test_networks_that_return_something_else_are_named(plain, net, error_type, message):
    with pytest.raises(error_type, match=message):
        FrameAveraging(net, Symmetry(E(3), Point(), Point()))(torch.randn(4, 5, 3))


def test_bad_inputs_are_refused_at_the_door(plain):
    model = FrameAveraging(nn.Identity(), Symmetry(E(3), Point(), Point()))
    x = torch.randn(4, 5, 3)
    for bad, message in [
        (torch.randn(4, 5, 2), "the last axis must have the 3 coordinates"),
        (torch.full((4, 5, 3), torch.inf), "must be finite; sample 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(bad)
    with pytest.raises(TypeError, match="positional inputs; got keyword y"):
        model(x, y=x)
    with pytest.raises(ValueError, match="frames are for 2 samples and the inputs have 4"):
        model(x, frames=model.frames(x[:2]))
    with pytest.raises(TypeError, match="frames must be a FrameSet"):
        model(x, frames=3)
    with pytest.raises(ValueError, match="squares overflow"):
        model(1e200 * x.double())
    named = FrameAveraging(nn.Identity(), symmetry(E(3), "p"))
    with pytest.raises(TypeError, match="both by position and by keyword"):
        named(x, x=x)
    with pytest.raises(ValueError, match="fields must name inputs"):
        PCAFrame(fields=("speed",))(Symmetry(E(3), Point(), Point()), (x,))
    for wrong, message in (
        ({"fields": "x"}, "fields must be a tuple of names"),
        ({"weights": x}, "weights must be the name"),
    ):
        with pytest.raises(TypeError, match=message):
            PCAFrame(**wrong)(Symmetry(E(3), Point(), Point()), (x,))
    weighted = Symmetry(E(3), {"x": Point(), "m": Scalar()}, Point())
    with pytest.raises(ValueError, match="m must not be negative"):
        PCAFrame(weights="m")(weighted, {"x": x, "m": -torch.ones(4, 5, 1)})
    with pytest.raises(ValueError, match="sample 0 has no positive weight"):
        PCAFrame(weights="m")(weighted, {"x": x, "m": torch.zeros(4, 5, 1)})


# the warning is torch's own: its tracer makes an instance of autograd.Function
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_frame_averages_run_inside_compiled_code(plain):
    sym = Symmetry(E(3), Point(), Vector())
    net = nn.Sequential(nn.Flatten(), nn.Linear(15, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    model = FrameAveraging(net, sym, PCAFrame(on_degenerate="ignore"), check_values=False)
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))

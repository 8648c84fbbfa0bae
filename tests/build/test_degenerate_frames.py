"""Points with repeated eigenvalues: what is exact there, what jumps, and what a user may choose."""

import warnings

import pytest
import torch
from torch import nn

from tests.build.clouds import DEGENERATE, Backbone, degenerate, degenerate_batch, error, symmetry
from torsor import (
    SE,
    SO,
    E,
    Irreps,
    Line,
    Point,
    Scalar,
    Symmetry,
    Tensor,
    Vector,
)
from torsor.build import FrameAveraging
from torsor.build.frames import PCAFrame, RobustFrame


@pytest.mark.parametrize("name", DEGENERATE)
def test_exactly_the_repeated_nonzero_eigenvalues_are_ambiguous(name):
    frames = PCAFrame(on_degenerate="ignore")(symmetry(E(3)), {"x": degenerate_batch(name)})
    assert frames.ambiguous.all() == (name not in ("line", "coincident"))
    assert frames.rank.tolist() == [{"line": 1, "coincident": 0, "square": 2}.get(name, 3)] * 4


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
@pytest.mark.parametrize("frame", [RobustFrame(), None], ids=["robust", "default"])
@torch.no_grad()
def test_robust_frames_are_exact_on_every_degenerate_set(name, group, frame):
    x = degenerate_batch(name)
    sym = symmetry(group)
    model = FrameAveraging(Backbone().double(), sym, frame)
    assert max(error(model, sym, {"x": x}).values()) < 1e-12


@torch.no_grad()
def test_principal_axes_alone_fail_on_a_cube():
    x = degenerate_batch("cube")
    sym = symmetry(E(3), "s")
    assert (
        error(FrameAveraging(Backbone("s").double(), sym, PCAFrame(on_degenerate="ignore")), sym, {"x": x})["s"] > 1e-5
    )


@pytest.mark.parametrize("name", ["line", "coincident"])
@pytest.mark.parametrize("group", [E(3), SE(3), E(2), SE(2)], ids=str)
@pytest.mark.parametrize("frame", [PCAFrame(), RobustFrame()], ids=["pca", "robust"])
@torch.no_grad()
def test_null_dimensions_do_not_show_in_tensors_and_lines(name, group, frame):
    d = group.n
    x = degenerate(name)[:, :d]
    turn = SO(d).sample(4, dtype=torch.float64)
    x = x @ turn.mT + torch.randn(4, 1, d, dtype=torch.float64)
    kinds = "svptl"
    sym = symmetry(group, kinds)
    # a backbone with a long axis, so that the leading eigenvector of the projectors is well determined
    model = FrameAveraging(Backbone(kinds, d=d).double(), sym, frame)
    g = sym.sample({"x": x})
    moved = sym.act(g, {"x": x})
    p, q = model(**moved), sym.act_output(g, model(x), {"x": x})
    for kind in "svpt":
        torch.testing.assert_close(p[kind], q[kind], rtol=1e-11, atol=1e-12)
    projectors = Symmetry(group, {"x": Point()}, {"l": Tensor(2)})
    line = FrameAveraging(lambda x: {"l": Line().embed(model.net(x)["l"])}, projectors, frame)
    p, q = line(**moved), projectors.act_output(g, line(x), {"x": x})
    torch.testing.assert_close(p["l"], q["l"], rtol=1e-11, atol=1e-12)


@torch.no_grad()
def test_higher_tensors_and_irreps_are_averaged_over_null_dimensions():
    net = nn.Sequential(nn.Flatten(), nn.Linear(15, 32), nn.Tanh(), nn.Linear(32, 27 + 9 + 7)).double()
    out = {"t": Tensor(3), "i": Irreps("1x4e"), "j": Irreps("1x3o")}

    def backbone(x):
        y = net(x)
        return {"t": y[:, :27].unflatten(-1, (3, 3, 3)), "i": y[:, 27:36], "j": y[:, 36:]}

    for group in (E(3), SE(3)):
        sym = Symmetry(group, Point(), out)
        for name in ("line", "coincident"):
            x = degenerate(name)[[0, 1, 2, 3, -1]] + torch.randn(3, 1, 3, dtype=torch.float64)
            assert max(error(FrameAveraging(backbone, sym), sym, (x,)).values()) < 1e-12, (group, name)


def lipschitz(model, x: torch.Tensor, h: float) -> float:
    """|f(x + h a) - f(x + h b)| / h, the largest over some pairs of directions."""
    generator = torch.Generator().manual_seed(2)
    worst = 0.0
    for _ in range(6):
        a, b = torch.randn(2, *x.shape, generator=generator, dtype=x.dtype)
        worst = max(worst, float((model(x + h * a) - model(x + h * b)).norm() / h))
    return worst


@pytest.mark.parametrize("name", DEGENERATE)
@torch.no_grad()
def test_robust_frames_are_continuous_and_principal_axes_jump_at_a_cube(name):
    x = degenerate(name).unsqueeze(0)
    net = Backbone("v").double()
    backbone = lambda y: torch.cat([net(y)["v"], (y**3).sum(1)], -1)[:, :3] + torch.sin(2 * y).mean(1)
    sym = Symmetry(E(3), Point(), Vector())
    robust = FrameAveraging(backbone, sym, RobustFrame())
    assert lipschitz(robust, x, 1e-7) <= 3 * lipschitz(robust, x, 1e-3)
    if name == "cube":
        scalar = Symmetry(E(3), Point(), Scalar())
        plain = FrameAveraging(lambda y: (y[..., 0] ** 4).sum(1), scalar, PCAFrame(on_degenerate="ignore"))
        assert lipschitz(plain, x, 1e-7) > 100 * lipschitz(plain, x, 1e-3)


def test_what_happens_to_ambiguous_samples_is_a_choice(plain):
    x = torch.cat([degenerate_batch("cube")[:2], torch.randn(1, 8, 3, dtype=torch.float64)])
    sym = symmetry(E(3), "s")
    with pytest.warns(UserWarning, match="2 of 3 samples have repeated eigenvalues"):
        PCAFrame()(sym, {"x": x})
    with pytest.raises(RuntimeError, match=r"samples \[0, 1\] have repeated eigenvalues"):
        PCAFrame(on_degenerate="raise")(sym, {"x": x})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PCAFrame()(sym, {"x": x[2:]})
        sampled = PCAFrame(on_degenerate="sample")(sym, {"x": x})
        robust = PCAFrame(on_degenerate="robust")(sym, {"x": x})
    eye = torch.eye(3, dtype=torch.float64).expand_as(sampled.R)
    torch.testing.assert_close(sampled.R.mT @ sampled.R, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(robust.weights.sum(1), torch.ones(3, dtype=torch.float64))
    assert (robust.weights[2] > 0).sum() == 8


def test_haar_sampling_within_blocks_is_unbiased():
    x = degenerate("cube").expand(4000, 8, 3)
    sym = symmetry(SO(3), "s")
    R = PCAFrame(on_degenerate="sample", signs="none")(Symmetry(SO(3), Point(), Scalar()), x).R[:, 0]
    assert sym is not None
    assert (torch.linalg.det(R) > 0).all()
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert trace.mean().abs() < 0.06  # Haar on SO(3): E tr = 0, E tr^2 = 1
    assert (trace.square().mean() - 1).abs() < 0.08


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=str)
@torch.no_grad()
def test_a_line_far_from_the_origin_has_rank_one(dtype, bar):
    t = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    direction = SO(3).sample(50, dtype=torch.float64)[:, :1]
    x = (t * direction + 10 * torch.randn(50, 1, 3, dtype=torch.float64)).to(dtype)
    sym = symmetry(E(3), "p")
    model = FrameAveraging(Backbone("p").to(dtype), sym, PCAFrame(on_degenerate="raise"))
    assert model.frames(x=x).rank.tolist() == [1] * 50

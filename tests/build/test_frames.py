"""Frames and averages over them, against exact answers."""

import math
import warnings

import pytest
import torch
from torch import nn

from tests.build.clouds import DEGENERATE, HELIX, Backbone, all_signs, degenerate
from torsor import (
    SE,
    SO,
    Batch,
    Cyclic,
    E,
    GLPlus,
    Image,
    Irreps,
    Line,
    Mask,
    Nodes,
    O,
    Point,
    PseudoScalar,
    PseudoVector,
    Scalar,
    Scaling,
    Sim,
    Symmetric,
    Symmetry,
    Tensor,
    Translation,
    Vector,
    _tree,
)
from torsor.build import FrameAveraging, GroupAverage
from torsor.build.frames import AllElements, PCAFrame, ProductFrame, RobustFrame, SortFrame, default_frame

KINDS = {"s": Scalar(), "v": Vector(), "p": Point(), "t": Tensor(2), "l": Line()}
FRAMES = {
    "all": PCAFrame(),
    "skew": PCAFrame(signs="skew"),
    "robust": RobustFrame(),
    "fields": PCAFrame(fields=("x", "u")),
}


def symmetry(group, kinds="svpt", extra=None) -> Symmetry:
    return Symmetry(group, {"x": Point(), **(extra or {})}, {kind: KINDS[kind] for kind in kinds})


def error(model, sym: Symmetry, inputs, rounds: int = 3) -> dict[str, float]:
    """Largest |f(gx) - g f(x)| of each output over some random elements, relative to the terms that are averaged."""
    worst = dict.fromkeys(sym.output_names, 0.0)
    for _ in range(rounds):
        g = sym.sample(inputs)
        moved = sym.act(g, inputs)
        p, q = sym.call(model, moved), sym.act_output(g, sym.call(model, inputs), inputs)
        distances = _tree.leaves(sym.distance(p, q, moved))
        terms = _tree.leaves(sym.call(getattr(model, "net", model), moved))
        for name, distance, term in zip(sym.output_names, distances, terms, strict=True):
            worst[name] = max(worst[name], float(distance.max() / term.abs().max()))
    return worst


@pytest.mark.parametrize("group", [E(3), SE(3), E(2), SE(2)], ids=str)
@pytest.mark.parametrize("n", [4, 5, 20])
@pytest.mark.parametrize("frame", ["all", "skew", "robust"])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"])
@torch.no_grad()
def test_frame_averages_are_exactly_equivariant(group, n, frame, dtype, bar):
    x = torch.randn(6 if frame == "robust" else 24, n, group.n, dtype=dtype)
    sym = symmetry(group)
    gap = PCAFrame(on_degenerate="ignore")(sym, {"x": x}).gap
    x = x[gap > 1e-2]
    model = FrameAveraging(Backbone(d=group.n).to(dtype), sym, FRAMES[frame])
    assert max(error(model, sym, {"x": x}).values()) < bar
    assert max(error(model.net, sym, {"x": x}).values()) > 1e-2


@pytest.mark.parametrize("group", [O(3), SO(3), O(2), SO(2), O(4), SO(4)], ids=str)
@torch.no_grad()
def test_linear_groups_have_frames_of_vectors(group):
    x = torch.randn(8, 6, group.n, dtype=torch.float64)
    sym = Symmetry(group, Vector(), {"v": Vector(), "s": Scalar()})
    net = nn.Sequential(nn.Flatten(), nn.Linear(6 * group.n, 16), nn.Tanh(), nn.Linear(16, group.n + 1)).double()
    model = FrameAveraging(lambda y: {"v": net(y)[:, 1:], "s": net(y)[:, 0]}, sym)
    assert max(error(model, sym, (x,)).values()) < 1e-12


@torch.no_grad()
def test_pseudo_outputs_and_irreps_are_restored_with_their_parity():
    sym = Symmetry(
        E(3),
        Point(),
        {"a": PseudoVector(), "b": PseudoScalar(), "c": Irreps("1x0e+1x1o+1x1e+1x2e+1x2o"), "d": Tensor(1, 1)},
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(15, 32), nn.Tanh(), nn.Linear(32, 30)).double()

    def backbone(x):
        y = net(x)
        return {"a": y[:, :3], "b": y[:, 3], "c": y[:, 4:21], "d": y[:, 21:].unflatten(-1, (3, 3))}

    x = torch.randn(8, 5, 3, dtype=torch.float64)
    model = FrameAveraging(backbone, sym)
    assert max(error(model, sym, (x,)).values()) < 1e-12
    assert min(y.abs().max() for y in model(x).values()) > 1e-3


@torch.no_grad()
def test_translations_scalings_and_similarities_have_frames():
    x = torch.randn(8, 5, 3, dtype=torch.float64)
    for group in (Translation(3), Scaling(3), Sim(3), Sim(3, reflections=True), Sim(2)):
        y = x[..., : group.n]
        sym = symmetry(group, "svp" if group.is_affine else "sv")
        model = FrameAveraging(Backbone(sym_kinds(sym), d=group.n).double(), sym)
        assert max(error(model, sym, {"x": y}).values()) < 1e-12, group
        assert max(error(model.net, sym, {"x": y}).values()) > 1e-3, group


def sym_kinds(sym: Symmetry) -> str:
    return "".join(sym.output)


@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3)], ids=str)
def test_a_symmetric_cross_has_the_closed_form_of_the_paper(group):
    x = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    x = torch.cat([x, -x]).unsqueeze(0)
    sym = Symmetry(group, Point(), Scalar())
    model = FrameAveraging(lambda z: (0.3 * z.sum(-1)).exp().sum(1), sym)
    expected = 2 * (math.cosh(0.9) + math.cosh(0.6) + math.cosh(0.3))
    assert expected == pytest.approx(7.327780235639805, abs=1e-14)
    for _ in range(5):
        moved = sym.act(sym.sample(x), (x,))[0]
        assert float(model(moved)) == pytest.approx(7.327780235639805, abs=1e-12)


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
def test_any_cloud_has_the_closed_form_in_its_own_axes(group):
    x = torch.randn(1, 12, 3, dtype=torch.float64)
    y = (x - x.mean(1))[0]
    axes = torch.linalg.eigh(y.mT @ y)[1].flip(-1)
    axes[:, 2] *= torch.linalg.det(axes).sign()
    model = FrameAveraging(lambda z: (0.3 * z.sum(-1)).exp().sum(1), Symmetry(group, Point(), Scalar()))
    expected = all_signs(y @ axes, 0.3, proper=group == SE(3))
    torch.testing.assert_close(model(x)[0], expected, rtol=1e-12, atol=0)


@torch.no_grad()
def test_averaging_is_a_projection():
    x = torch.randn(6, 7, 3, dtype=torch.float64)
    sym = symmetry(E(3), "svpt")
    once = FrameAveraging(Backbone().double(), sym)
    twice = FrameAveraging(once, sym)
    for a, b in zip(_tree.leaves(twice(x)), _tree.leaves(once(x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    centroid = FrameAveraging(lambda z: z.mean(1), Symmetry(E(3), Point(), Point()))
    torch.testing.assert_close(centroid(x), x.mean(1), rtol=1e-12, atol=1e-14)


def degenerate_batch(name: str, group=None) -> torch.Tensor:
    x = degenerate(name)
    turn = SO(3).sample(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x @ turn.mT + torch.randn(4, 1, 3, dtype=torch.float64)


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


def test_frames_are_differentiable_twice_on_generic_points():
    x = torch.randn(1, 5, 3, dtype=torch.float64, requires_grad=True)
    sym = symmetry(E(3), "sv")
    for frame in (PCAFrame(), PCAFrame(signs="skew"), RobustFrame()):
        model = FrameAveraging(Backbone("sv").double(), sym, frame, check_values=False)
        f = lambda y, m=model: tuple(m(y).values())
        assert torch.autograd.gradcheck(f, x)
    energy = FrameAveraging(lambda z: (0.3 * z.sum(-1)).exp().sum(1), Symmetry(E(3), Point(), Scalar()))
    assert torch.autograd.gradgradcheck(energy, x)


def test_gradients_on_a_line_equal_central_differences():
    x = degenerate("line")[:4].unsqueeze(0).clone().requires_grad_()
    model = FrameAveraging(Backbone("s").double(), symmetry(E(3), "s"))
    (gradient,) = torch.autograd.grad(model(x)["s"].sum(), x)
    assert torch.isfinite(gradient).all()
    h = 1e-5
    with torch.no_grad():
        for i in range(4):
            for k in range(3):
                e = torch.zeros_like(x)
                e[0, i, k] = h
                slope = (model(x + e)["s"] - model(x - e)["s"]) / (2 * h)
                assert float((slope - gradient[0, i, k]).abs()) < 1e-8


def test_gradients_vanish_on_coincident_points():
    x = torch.ones(1, 4, 3, dtype=torch.float64, requires_grad=True)
    model = FrameAveraging(Backbone("s").double(), symmetry(E(3), "s"))
    (gradient,) = torch.autograd.grad(model(x)["s"].sum(), x)
    assert gradient.abs().max() < 1e-12


def test_energies_give_forces_without_net_force_and_torque():
    x = torch.randn(3, 6, 3, dtype=torch.float64, requires_grad=True)
    model = FrameAveraging(Backbone("s").double(), symmetry(E(3), "s"))
    (force,) = torch.autograd.grad(model(x)["s"].sum(), x)
    assert force.abs().max() > 1e-4
    assert force.sum(1).abs().max() < 1e-12
    assert torch.linalg.cross(x - x.mean(1, keepdim=True), force).sum(1).abs().max() < 1e-12
    detached = FrameAveraging(model.net, symmetry(E(3), "s"), PCAFrame(detach=True))
    (wrong,) = torch.autograd.grad(detached(x)["s"].sum(), x)
    assert wrong.sum(1).abs().max() > 1e-6


def test_rotations_tell_a_helix_from_its_mirror_image():
    mirrored = HELIX * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    x = torch.stack([HELIX, mirrored])
    net = Backbone("s").double()
    same = FrameAveraging(net, symmetry(E(3), "s"))(x)["s"]
    apart = FrameAveraging(net, symmetry(SE(3), "s"))(x)["s"]
    assert (same[0] - same[1]).abs() < 1e-12
    assert (apart[0] - apart[1]).abs() > 1e-6


@torch.no_grad()
def test_dense_masked_and_ragged_scenes_give_equal_results():
    counts = [5, 7, 4]
    clouds = [torch.randn(n, 3, dtype=torch.float64) for n in counts]
    mask = torch.arange(7) < torch.tensor(counts)[:, None]
    padded = torch.zeros(3, 7, 3, dtype=torch.float64)
    padded[mask] = torch.cat(clouds)
    batch = torch.arange(3).repeat_interleave(torch.tensor(counts))
    net = Backbone("svt").double()
    dense, extra = symmetry(E(3), "svt"), {"mask": Mask()}
    per = {kind: type(action)(per="sample") for kind, action in dense.output.items()}
    masked = Symmetry(E(3), {"x": Point(), **extra}, per)
    flat = Symmetry(E(3), {"x": Point(), "batch": Batch()}, per)

    def ragged_net(x, batch):
        size = int(batch[-1]) + 1
        return _tree.map(lambda *y: torch.cat(y), *[net(x[batch == b].unsqueeze(0)) for b in range(size)])

    for frame in (PCAFrame(), PCAFrame(signs="skew"), RobustFrame()):
        one_by_one = [FrameAveraging(net, dense, frame)(x=x.unsqueeze(0)) for x in clouds]
        expected = _tree.map(lambda *y: torch.cat(y), *one_by_one)
        with_mask = FrameAveraging(net, masked, frame)(x=padded, mask=mask)
        without = FrameAveraging(ragged_net, flat, frame)(x=torch.cat(clouds), batch=batch)
        for kind in "svt":
            torch.testing.assert_close(with_mask[kind], expected[kind], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(without[kind], expected[kind], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_products_of_space_and_labels_are_averaged_one_after_the_other():
    n = 5
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * n, 32), nn.Tanh(), nn.Linear(32, 3 * n)).double()
    space = Symmetry(E(3), Point(), Point())
    both = space * Symmetry(Symmetric(n), Nodes(), Nodes())
    x = torch.randn(6, n, 3, dtype=torch.float64)
    model = FrameAveraging(lambda y: y + net(y).unflatten(1, (n, 3)), both)
    assert isinstance(model.frame, ProductFrame)
    assert error(model, both, (x,))["output"] < 1e-12
    assert error(FrameAveraging(model.net, space), space, (x,))["output"] < 1e-12


@torch.no_grad()
def test_sorting_is_the_frame_of_permutations():
    n = 6
    sym = Symmetry(Symmetric(n), (Nodes(-2), Nodes(-1)), Scalar())
    net = nn.Sequential(nn.Linear(3 * n, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    x, y = torch.randint(0, 2, (8, n, 2)).double(), torch.randn(8, n, dtype=torch.float64)
    model = FrameAveraging(lambda a, b: net(torch.cat([a.flatten(1), b], -1))[:, 0], sym, SortFrame())
    assert error(model, sym, (x, y))["output"] < 1e-13


@torch.no_grad()
def test_the_group_average_of_images_is_invariant_under_quarter_turns():
    net = nn.Sequential(nn.Flatten(), nn.Linear(49, 4)).double()
    model = GroupAverage(net, Symmetry(Cyclic(4), Image(), Scalar()))
    x = torch.randn(3, 1, 7, 7, dtype=torch.float64)
    for k in range(4):
        torch.testing.assert_close(model(x.rot90(k, (-2, -1))), model(x), rtol=0, atol=1e-12)
    expected = torch.stack([net(x.rot90(k, (-2, -1))) for k in range(4)]).mean(0)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


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
    with pytest.raises(TypeError, match="no frame is known for .*; O, SO, E, SE, Sim, Translation, Scaling, Symmetric"):
        FrameAveraging(nn.Identity(), Symmetry(GLPlus(3), Vector(), Vector()))
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
    named = FrameAveraging(nn.Identity(), symmetry(E(3), "p"))
    with pytest.raises(TypeError, match="both by position and by keyword"):
        named(x, x=x)
    with pytest.raises(ValueError, match="fields must name inputs"):
        PCAFrame(fields=("speed",))(Symmetry(E(3), Point(), Point()), (x,))
    weighted = Symmetry(E(3), {"x": Point(), "m": Scalar()}, Point())
    with pytest.raises(ValueError, match="m must not be negative"):
        PCAFrame(weights="m")(weighted, {"x": x, "m": -torch.ones(4, 5, 1)})
    with pytest.raises(ValueError, match="sample 0 has no positive weight"):
        PCAFrame(weights="m")(weighted, {"x": x, "m": torch.zeros(4, 5, 1)})


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # torch's own, of autograd.Function
def test_frame_averages_run_inside_compiled_code(plain):
    sym = Symmetry(E(3), Point(), Vector())
    net = nn.Sequential(nn.Flatten(), nn.Linear(15, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    model = FrameAveraging(net, sym, PCAFrame(on_degenerate="ignore"), check_values=False)
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))

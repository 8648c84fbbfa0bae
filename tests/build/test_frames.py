"""Frames and averages over them, against exact answers."""

import math

import pytest
import torch
from torch import nn

from tests.build.clouds import (
    FRAMES,
    HELIX,
    Backbone,
    all_signs,
    degenerate,
    error,
    symmetry,
)
from torsor import (
    SE,
    SO,
    Batch,
    Cyclic,
    E,
    Image,
    Irreps,
    Mask,
    Nodes,
    O,
    Pairs,
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


@pytest.mark.parametrize("first", ["space", "labels"])
@torch.no_grad()
def test_products_are_exact_on_mirror_images_in_either_order(first):
    half = torch.tensor([[1.0, 2, 3], [2, 0.5, 1], [3, -1, -4]], dtype=torch.float64)
    x = torch.cat([half, half * torch.tensor([-1.0, 1, 1], dtype=torch.float64)]).repeat(3, 1, 1)
    charges = torch.arange(6.0, dtype=torch.float64)[:, None].repeat(3, 1, 1)
    net = nn.Sequential(nn.Linear(24, 32), nn.Tanh(), nn.Linear(32, 18)).double()
    space = Symmetry(E(3), (Point(), Scalar()), Point())
    labels = Symmetry(Symmetric(6), (Nodes(), Nodes()), Nodes())
    both = space * labels if first == "space" else labels * space
    model = FrameAveraging(lambda p, q: p + net(torch.cat([p, q], -1).flatten(1)).unflatten(1, (6, 3)), both)
    assert error(model, both, (x, charges))["output"] < 1e-12
    assert error(model, both, (torch.randn(3, 6, 3, dtype=torch.float64), charges))["output"] < 1e-12


@torch.no_grad()
def test_ragged_batches_of_equal_samples_can_be_sorted():
    sym = Symmetry(Symmetric(6), (Nodes(), Batch()), Nodes())
    x = torch.randn(24, 3, dtype=torch.float64), torch.arange(4).repeat_interleave(6)
    model = FrameAveraging(lambda p, b: torch.arange(6.0).double().repeat(len(p) // 6)[:, None] * p, sym)
    assert error(model, sym, x)["output"] < 1e-13
    assert error(model.net, sym, x)["output"] > 0.1


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("n", [6, 3000])
def test_sorting_is_exact_in_low_precision_and_for_many_nodes(dtype, n):
    sym = Symmetry(Symmetric(n), Nodes(-2), Nodes(-2))
    x = torch.rand(3, n, 1).to(dtype)
    moved = sym.act(sym.sample((x,)), (x,))[0]
    first, second = (sym.act(sym.group.inverse(SortFrame()(sym, y).elements[:, 0]), (y,))[0] for y in (x, moved))
    assert torch.equal(first, second)
    assert bool((first.diff(dim=1) >= 0).all())


def test_products_tell_the_doubts_of_each_factor():
    n = 8
    graph = {"x": Point(), "pairs": Scalar()}
    both = Symmetry(E(3), graph, Scalar()) * Symmetry(Symmetric(n), {"x": Nodes(-2), "pairs": Pairs()}, Scalar())
    cloud = torch.randn(n, 3, dtype=torch.float64)
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    twins = cloud.clone()
    twins[1] = twins[0]  # two nodes that the points do not tell apart, and the pairs might
    flat = cube * torch.tensor([1.0, 2.0, 2.001], dtype=torch.float64) + 0.01 * cloud
    x = {"x": torch.stack([cloud, cube, twins, flat]), "pairs": torch.randn(4, n, n, dtype=torch.float64)}
    frames = default_frame(both.group)(both, x)
    assert frames.ambiguous.tolist() == [False, True, True, False]
    alone = PCAFrame(on_degenerate="ignore")(both.factors[0], x)
    assert torch.allclose(frames.gap, alone.gap)
    swapped = both.factors[1] * both.factors[0]
    assert default_frame(swapped.group)(swapped, x).ambiguous.tolist() == [False, True, True, False]


def test_the_least_skewed_axis_takes_the_sign_of_the_determinant():
    x = torch.randn(20, 7, 3, dtype=torch.float64)
    sym = Symmetry(SO(3), Vector(), Vector())
    frames = PCAFrame(signs="skew")(sym, x)
    z = x @ frames.R[:, 0]
    skewness = (z**3).mean(1) / z.square().mean(1) ** 1.5
    assert frames.weights.shape[1] == 1
    negative = skewness < 0
    assert bool(negative.any())
    least = torch.nn.functional.one_hot(skewness.abs().argmin(1), 3).bool()
    assert bool((~negative | least).all())


def test_second_derivatives_forwards_over_backwards_and_per_sample_gradients():
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    a, b = torch.randn(3, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    frame = PCAFrame(on_degenerate="ignore")
    energy = FrameAveraging(
        lambda x: ((x @ a).tanh() @ b).sum(1), Symmetry(E(3), Point(), Scalar()), frame, check_values=False
    )
    hessian = torch.func.hessian(lambda x: energy(x[None]).sum())(x[0]).reshape(15, 15)
    twice = torch.autograd.functional.hessian(lambda x: energy(x[None]).sum(), x[0]).reshape(15, 15)
    assert torch.allclose(hessian, twice, atol=1e-12)
    forces = torch.func.vmap(torch.func.grad(lambda x: energy(x[None]).sum()))(x)
    together = torch.func.grad(lambda x: energy(x).sum())(x)
    assert torch.allclose(forces, together, atol=1e-12)


@pytest.mark.parametrize("output", [Nodes(-2), Pairs(), Scalar()], ids=str)
def test_nodes_with_equal_features_get_equal_outputs(output):
    torch.manual_seed(0)
    n = 4
    size = {"Nodes": (n, 1), "Pairs": (n, n), "Scalar": (1,)}[type(output).__name__] if output != Scalar() else (1,)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n, math.prod(size)), torch.nn.Unflatten(1, size))
    sym = Symmetry(Symmetric(n), Nodes(-2), output)
    model = FrameAveraging(net.double(), sym)
    x = torch.randint(0, 3, (60, n, 1)).double()
    whole = FrameAveraging(net, sym, AllElements())
    g = sym.sample(x)
    torch.testing.assert_close(model(sym.act(g, x)[0]), sym.act_output(g, model(x), x), atol=1e-12, rtol=0)
    assert not model.frames(x).ambiguous.any()
    tied = torch.ones(2, n, 1).double()
    torch.testing.assert_close(model(tied), whole(tied), atol=1e-12, rtol=0)  # all permutations leave it as it is
    assert len(model.frames(x)[3:5]) == 2

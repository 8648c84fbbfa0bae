"""Models on point clouds: exactly symmetric, whatever the order of the points and whatever the padding."""

import pytest
import torch

from torsor import SE, E, Line, Mask, O, Point, Scalar, Symmetry, Vector
from torsor.build import FADGCNN, FAGNN, FALocalPointNet, FAPointNet, FrameAveraging, FrameEquivariantLayer
from torsor.build.backbones import DGCNN, MLP, Flattened
from torsor.build.backbones._nearest import nearest
from torsor.build.points import Patchwise, plane_fit

SCENE = {"positions": Point(), "velocities": Vector(), "charges": Scalar()}


def cloud(n=24, b=3, seed=0):
    x = torch.randn(b, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x * torch.tensor([1.0, 0.7, 0.4], dtype=torch.float64)


def scene(n=5, b=6):
    charges = torch.randint(0, 2, (b, n, 1)).double() * 2 - 1
    return {"positions": cloud(n, b), "velocities": cloud(n, b, 1), "charges": charges}


def patchwise():
    net = FrameAveraging(Flattened(MLP(24, 3), (3,)), Symmetry(O(3), Vector(), Line()))
    return Patchwise(net, 8)


def models(group):
    lines = Symmetry(group, {"points": Point()}, Line())
    small = {"hidden": 16, "neighbours": 6}
    return {
        "pointnet": (FAPointNet(lines, hidden=16), lines),
        "dgcnn": (FADGCNN(lines, layers=2, **small), lines),
        "local": (FALocalPointNet(group, channels=6, **small), lines),
        "gnn": (FAGNN(group, channels=6, layers=3), Symmetry(group, SCENE, Point())),
        "patchwise": (patchwise(), lines),
    }


def inputs_of(name):
    return scene() if name == "gnn" else {"points": cloud()}


@torch.no_grad()
def error(model, symmetry, inputs):
    """The largest distance of f(gx) and g f(x) relative to f, in the space in which values are compared."""
    g = symmetry.sample(inputs)
    out = symmetry.call(model, inputs)
    moved = symmetry.call(model, symmetry.act(g, inputs))
    distance = symmetry.distance(moved, symmetry.act_output(g, out, inputs), inputs)
    return float((distance / symmetry.norm(out, inputs)).max())


NAMES = ("pointnet", "dgcnn", "local", "gnn", "patchwise")


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_models_are_exactly_equivariant_in_float64(name, group):
    model, symmetry = models(group)[name]
    model.double()
    for _ in range(3):
        assert error(model, symmetry, inputs_of(name)) <= 1e-10


@pytest.mark.parametrize("name", ["pointnet", "dgcnn", "local", "gnn"])
def test_models_of_se3_are_not_those_of_e3(name):
    model, symmetry = models(SE(3))[name]
    model.double()
    assert error(model, symmetry, inputs_of(name)) <= 1e-10
    whole = Symmetry(E(3), symmetry.inputs, symmetry.output)
    assert max(error(model, whole, inputs_of(name)) for _ in range(3)) > 1e-4  # a draw may hold no reflection


@torch.no_grad()
def test_lines_are_compared_as_projectors_and_these_move_with_the_points():
    model = models(E(3))["pointnet"][0].double()
    x, shift = cloud(), torch.randn(3, 1, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, 3, dtype=torch.float64))[0]
    before, after = (projectors(model(points)) for points in (x, x @ turn.mT + shift))
    torch.testing.assert_close(after, turn.unsqueeze(1) @ before @ turn.mT.unsqueeze(1), atol=1e-10, rtol=0)
    torch.testing.assert_close(before.diagonal(dim1=-2, dim2=-1).sum(-1), torch.ones(3, 24).double())
    law = models(E(3))["pointnet"][1]
    assert law.distance(model(x), -model(x), {"points": x}).max() <= 1e-10  # the sign is open


def projectors(line):
    return line.unsqueeze(-1) * line.unsqueeze(-2) / line.square().sum(-1)[..., None, None]


@torch.no_grad()
def test_local_frames_are_exact_for_each_neighbourhood_alone():
    model = patchwise().double()
    x = cloud(40, 1)
    near, far = x[:, :20], x[:, 20:] + 100  # two clouds that are not neighbours
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    before, after = model(torch.cat([near, far], 1)), model(torch.cat([near @ turn.T, far], 1))
    turned = turn @ projectors(before[:, :20]) @ turn.T
    torch.testing.assert_close(projectors(after[:, :20]), turned, atol=1e-10, rtol=0)
    torch.testing.assert_close(projectors(after[:, 20:]), projectors(before[:, 20:]), atol=1e-10, rtol=0)


def test_a_plain_network_is_not_equivariant():
    _, symmetry = models(E(3))["dgcnn"]
    assert error(DGCNN(hidden=16, neighbours=6).double(), symmetry, inputs_of("dgcnn")) > 1e-2


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_order_of_the_points_does_not_matter(name):
    model, symmetry = models(E(3))[name]
    model.double()
    inputs = inputs_of(name)
    order = torch.randperm(next(iter(inputs.values())).shape[1])
    out = symmetry.call(model, inputs)
    shuffled = symmetry.call(model, {key: x[:, order] for key, x in inputs.items()})
    distance = symmetry.distance(shuffled, out[:, order], inputs)
    assert distance.max() <= 1e-10


def padded(x, mask):
    return torch.cat([x, torch.full_like(x[:, :4], 7.0)], 1) * mask.unsqueeze(-1) + 7 * ~mask.unsqueeze(-1)


def masked(name, group):
    """The same network with a mask among the inputs of its symmetry."""
    if name not in ("pointnet", "dgcnn"):
        return models(group)[name][0].double()
    lines = Symmetry(group, {"points": Point(), "mask": Mask()}, Line())
    options = {"layers": 2, "neighbours": 6} if name == "dgcnn" else {}
    return {"pointnet": FAPointNet, "dgcnn": FADGCNN}[name](lines, hidden=16, **options).double()


@pytest.mark.parametrize("garbage", [7.0, torch.nan])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_padding_changes_nothing(name, garbage):
    model = masked(name, E(3))
    inputs = inputs_of(name)
    b, n = next(iter(inputs.values())).shape[:2]
    counts = torch.arange(b) % 3 + n - 3  # clouds of several sizes
    mask = torch.arange(n + 4) < counts.unsqueeze(-1)
    padded = {key: torch.nn.functional.pad(x, (0, 0, 0, 4)) for key, x in inputs.items()}
    padded = {key: torch.where(mask.unsqueeze(-1), x, garbage) for key, x in padded.items()}
    out = model(**padded, mask=mask)
    assert (out[~mask] == 0).all()
    law = models(E(3))[name][1]
    for i, count in enumerate(counts):
        alone = {key: x[i : i + 1, :count] for key, x in inputs.items()}
        whole = torch.ones(1, int(count), dtype=torch.bool)
        assert law.distance(out[i : i + 1, :count], model(**alone, mask=whole), alone).max() <= 1e-10


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_padded_models_are_exactly_equivariant_in_float64(name, group):
    model, plain_law = masked(name, group), models(group)[name][1]
    inputs = inputs_of(name)
    b, n = next(iter(inputs.values())).shape[:2]
    mask = torch.arange(n) < (torch.arange(b) % 3 + n - 2).unsqueeze(-1)
    law = Symmetry(group, {**plain_law.inputs, "mask": Mask()}, plain_law.output)
    assert error(model, law, {**inputs, "mask": mask}) <= 1e-10


@torch.no_grad()
def test_fewer_points_than_neighbours_are_filled_up_with_the_point():
    x = cloud(4, 1)
    index = nearest(x, 7)
    assert index.shape == (1, 4, 7)
    assert torch.equal(index[0, :, 0], torch.arange(4))
    assert torch.equal(index[0, :, 4:], torch.arange(4).unsqueeze(-1).expand(4, 3))
    assert patchwise().double()(x).isfinite().all()


def test_neighbours_are_the_nearest_and_never_padding():
    x = cloud(30, 2)
    mask = torch.rand(2, 30) < 0.7
    index = nearest(x, 5, mask)
    for b, i in ((0, 0), (1, 7), (1, 29)):
        distance = (x[b] - x[b, i]).norm(dim=-1).masked_fill(~mask[b], torch.inf)
        distance[i] = -1
        assert torch.equal(index[b, i], distance.argsort()[:5])
    with pytest.raises(ValueError, match="k must be at least 1"):
        nearest(x, 0)


def test_coincident_points_stay_finite_with_gradients():
    x = cloud().requires_grad_()
    for name in ("pointnet", "dgcnn", "local", "patchwise"):
        model, _ = models(E(3))[name]
        out = model.double()(torch.cat([x[:1] * 0 + 1, x[1:]]))
        (grad,) = torch.autograd.grad(out.square().sum() + out.sum(), x)
        assert out.isfinite().all()
        assert grad.isfinite().all()


def test_local_vectors_do_not_feel_shift_or_scale():
    model = models(E(3))["local"][0].double()
    x = cloud()
    with torch.no_grad():
        torch.testing.assert_close(model.local(3 * x + 5), model.local(x), atol=1e-10, rtol=1e-8)


def test_a_hidden_layer_is_framed_anew():
    seen = []

    class Layer(torch.nn.Module):
        def forward(self, h):
            seen.append(h)
            return h[..., :6].pow(3)

    layer = FrameEquivariantLayer(Layer(), O(3))
    h = torch.randn(4, 5, 12, dtype=torch.float64)
    assert layer(h).shape == (4, 5, 6)
    inside = seen[0].reshape(8, 4, 5 * 4, 3)
    second = torch.einsum("kbni,kbnj->kbij", inside, inside)
    diagonal = torch.diag_embed(second.diagonal(dim1=-2, dim2=-1))
    torch.testing.assert_close(second, diagonal, atol=1e-9, rtol=0)  # seen along the axes of its own vectors
    law = Symmetry(O(3), {"h": Vector()}, Vector())

    def flat(h):
        return layer(h.flatten(-2)).unflatten(-1, (-1, 3))

    assert error(flat, law, {"h": h.unflatten(-1, (-1, 3))}) <= 1e-12


@torch.no_grad()
def test_hidden_features_of_the_gnn_are_framed_by_themselves():
    model = FAGNN(channels=4, layers=3).double()
    seen = []

    def keep(_, args, inputs):
        seen.append(inputs["h"])

    for layer in (*model.hidden, model.last):
        layer.averaged.net.register_forward_pre_hook(keep, with_kwargs=True)
    x = scene()
    model(**x)
    for h in seen:  # (8 copies of 6 samples, 5 nodes, 4 vectors, 3): the axes of all vectors of a sample
        second = torch.einsum("bnci,bncj->bij", h, h)
        assert h.shape == (48, 5, 4, 3)
        assert (second - torch.diag_embed(second.diagonal(dim1=-2, dim2=-1))).abs().max() <= 1e-9
    assert len(seen) == 2
    law = Symmetry(O(3), {"h": Vector(), "edges": Scalar(per="edge"), "mask": Mask()}, Vector())
    hidden = {"h": cloud(20, 6).unflatten(1, (5, 4)), "edges": torch.randn(6, 5, 5, 2).double()}

    def flat(h, **pairs):
        return model.hidden[0](h.flatten(-2), **pairs).unflatten(-1, (-1, 3))

    assert error(flat, law, {**hidden, "mask": torch.ones(6, 5, dtype=torch.bool)}) <= 1e-12


def test_the_number_of_nodes_is_not_written_into_the_network():
    model = FAGNN(channels=4)
    for n in (2, 5, 9):
        x = {key: value.float() for key, value in scene(n).items()}
        assert model(**x).shape == (6, n, 3)
        assert model(*x.values()).shape == (6, n, 3)


def test_all_parameters_of_the_gnn_learn():
    model = FAGNN(channels=4).double()
    model(**scene()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_stochastic_frames_are_exact_in_evaluation_only():
    for model, symmetry, inputs in (
        (FAGNN(channels=4, samples=1), Symmetry(E(3), SCENE, Point()), scene()),
        (FALocalPointNet(channels=4, hidden=16, samples=1), models(E(3))["local"][1], inputs_of("local")),
    ):
        model.double().train()
        assert error(model, symmetry, inputs) > 1e-4
        assert error(model.eval(), symmetry, inputs) <= 1e-10


def test_a_plane_has_its_normal_everywhere():
    x = torch.randn(2, 60, 3, dtype=torch.float64)
    normal = torch.tensor([1.0, 2.0, 2.0]).double() / 3
    flat = x - (x @ normal).unsqueeze(-1) * normal
    assert (plane_fit(flat, 8) @ normal).abs().min() > 1 - 1e-12


def test_clouds_are_classified_without_regard_to_their_pose():
    law = Symmetry(E(3), {"points": Point()}, Scalar())
    for make in (FAPointNet, FADGCNN):
        model = make(law, per="sample", out_features=4, hidden=16).double()
        assert model(cloud()).shape == (3, 4)
        assert error(model, law, {"points": cloud()}) <= 1e-10


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: FAGNN(O(3)), TypeError, r"group must be E\(n\) or SE\(n\)"),
        (lambda: FAGNN(layers=1), ValueError, "layers must be at least 2"),
        (lambda: FAGNN(channels=0), ValueError, "channels must be at least 1"),
        (lambda: FALocalPointNet(O(3)), TypeError, "group must be"),
        (lambda: FALocalPointNet(neighbours=0), ValueError, "neighbours must be at least 1"),
        (lambda: DGCNN(pool="sum"), ValueError, 'pool must be "mean" or "max"'),
        (lambda: DGCNN(per="edge"), ValueError, 'per must be "node" or "sample"'),
        (lambda: DGCNN(neighbours=0), ValueError, "neighbours must be at least 1"),
        (lambda: FrameEquivariantLayer(torch.nn.Identity())(torch.zeros(2, 3, 7)), ValueError, "3 c"),
    ],
)
def test_bad_arguments_are_refused(plain, make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def test_a_particle_alone_hears_nothing():
    torch.manual_seed(0)
    model = FAGNN().double()
    x = {"positions": torch.randn(3, 1, 3).double(), "velocities": torch.randn(3, 1, 3).double(),
         "charges": torch.ones(3, 1, 1).double()}  # fmt: skip
    before = model(**x)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "sender" in name or "edge" in name or ".message." in name:
                p.add_(1.0)
    torch.testing.assert_close(model(**x), before)

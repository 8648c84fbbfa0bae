"""The object that every verb takes."""

import pickle
from collections import namedtuple
from dataclasses import dataclass, replace

import pytest
import torch

from torsor import (
    SO,
    Batch,
    Cyclic,
    E,
    Edges,
    GLPlus,
    Image,
    Line,
    Mask,
    Nodes,
    O,
    Pairs,
    Point,
    Scalar,
    Shared,
    Symmetric,
    Symmetry,
    Vector,
    _tree,
)
from torsor.symmetry import Transformation

B, N = 5, 7


@pytest.fixture
def scene() -> dict[str, torch.Tensor]:
    mask = torch.arange(N) < torch.tensor([3, 7, 5, 4, 6])[:, None]
    dtype = torch.float64
    return {
        "positions": torch.randn(B, N, 3, dtype=dtype) * mask[..., None],
        "velocities": torch.randn(B, N, 3, dtype=dtype) * mask[..., None],
        "charges": torch.randn(B, N, 1, dtype=dtype) * mask[..., None],
        "mask": mask,
    }


MASKED = Symmetry(
    E(3),
    {"positions": Point(), "velocities": Vector(), "charges": Scalar(), "mask": Mask()},
    {"positions": Point(), "energy": Scalar(per="sample")},
)
RAGGED = Symmetry(
    E(3),
    {"positions": Point(), "velocities": Vector(), "charges": Scalar(), "batch": Batch(), "edges": Edges()},
    {"positions": Point(), "energy": Scalar(per="sample"), "bond": Vector(per="edge")},
)


def ragged(scene: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    real = scene["mask"].flatten()
    batch = torch.arange(B).repeat_interleave(N)[real]
    i, j = torch.where(batch[:, None] == batch)
    rows = {name: scene[name].flatten(0, 1)[real] for name in ("positions", "velocities", "charges")}
    return {**rows, "batch": batch, "edges": torch.stack([i, j])}


def test_masked_and_ragged_scenes_move_alike(scene):
    g = MASKED.sample(scene)
    masked, flat = MASKED.act(g, scene), RAGGED.act(g, ragged(scene))
    for name in ("positions", "velocities", "charges"):
        torch.testing.assert_close(masked[name].flatten(0, 1)[scene["mask"].flatten()], flat[name], rtol=0, atol=1e-12)


def test_padding_is_zero_before_and_after(scene):
    g = MASKED.sample(scene)
    scene["positions"] = scene["positions"] + 5 * ~scene["mask"][..., None]
    moved = MASKED.act(g, scene)
    assert moved["positions"][~scene["mask"]].abs().max() == 0
    assert moved["mask"] is scene["mask"] or torch.equal(moved["mask"], scene["mask"])


def test_nan_in_the_padding_does_not_spread(scene):
    scene["velocities"][~scene["mask"]] = torch.nan
    moved = MASKED.act(MASKED.sample(scene), scene)
    assert torch.isfinite(moved["velocities"]).all()


def test_outputs_per_edge_and_per_sample_move_with_their_sample(scene):
    flat = ragged(scene)
    g = RAGGED.sample(flat)
    bonds = flat["positions"][flat["edges"][0]] - flat["positions"][flat["edges"][1]]
    out = {"positions": flat["positions"], "energy": torch.randn(B, dtype=torch.float64), "bond": bonds}
    moved = RAGGED.act_output(g, out, flat)
    there = RAGGED.act(g, flat)["positions"]
    torch.testing.assert_close(moved["bond"], there[flat["edges"][0]] - there[flat["edges"][1]])
    torch.testing.assert_close(moved["positions"], there)
    assert torch.equal(moved["energy"], out["energy"])


def test_copies_of_a_ragged_batch_stay_sorted_and_keep_their_edges(scene):
    flat = ragged(scene)
    many = RAGGED.repeat(flat, 3)
    assert RAGGED.batch_size(many) == 3 * B
    assert (many["batch"].diff() >= 0).all()
    assert torch.equal(many["batch"][many["edges"][0]], many["batch"][many["edges"][1]])
    assert torch.equal(many["positions"][len(flat["batch"]) :][: len(flat["batch"])], flat["positions"])


@pytest.mark.parametrize("layout", ["masked", "ragged"])
def test_orbit_is_the_action_on_copies(scene, layout):
    sym, x = (MASKED, scene) if layout == "masked" else (RAGGED, ragged(scene))
    g = sym.group.sample(3 * B, dtype=torch.float64)
    expected = sym.act(g, sym.repeat(x, 3))
    for a, b in zip(_tree.leaves(sym.orbit(g, x, 3)), _tree.leaves(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_an_average_with_one_nonzero_weight_selects_that_copy(scene):
    flat = ragged(scene)
    copies = [
        {
            "positions": torch.randn_like(flat["positions"]),
            "energy": torch.randn(B),
            "bond": torch.randn(len(flat["edges"][0]), 3),
        }
        for _ in range(2)
    ]
    out = _tree.map(lambda *parts: torch.cat(parts), *copies)
    weights = torch.tensor([[0.0, 1.0]]).repeat(B, 1)
    picked = RAGGED.average(out, weights, flat)
    for a, b in zip(_tree.leaves(picked), _tree.leaves(copies[1]), strict=True):
        torch.testing.assert_close(a, b)


def test_a_ragged_batch_of_equal_samples_can_be_permuted():
    sym = Symmetry(Symmetric(3), (Nodes(-2), Batch(), Edges()), Nodes(-2))
    x = torch.arange(12.0).reshape(6, 2)
    batch, edges = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([[0, 1, 4], [1, 2, 5]])
    g = torch.tensor([[2, 0, 1], [1, 0, 2]])
    y, _, relabelled = sym.act(g, (x, batch, edges))
    for a, b in zip(edges.flatten().tolist(), relabelled.flatten().tolist(), strict=True):
        assert torch.equal(y[b], x[a])


def test_products_act_one_after_the_other_and_know_their_factors():
    x = torch.randn(B, N, 3), torch.randn(B, N, N)
    space = Symmetry(E(3), (Point(), Scalar()), Vector())
    labels = Symmetry(Symmetric(N), (Nodes(-2), Pairs()), Nodes(-2))
    both = space * labels
    assert both.factors == (space, labels)
    assert space.factors == (space,)
    g, p = both.sample(x)
    moved = both.act((g, p), x)
    expected = labels.act(p, space.act(g, x))
    for a, b in zip(moved, expected, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(labels.act(p, space.act(g, x))[0], space.act(g, labels.act(p, x))[0])


def test_a_product_that_is_changed_forgets_its_factors():
    both = Symmetry(E(3), Point(), Vector()) * Symmetry(Symmetric(N), Nodes(), Nodes())
    assert len(pickle.loads(pickle.dumps(both)).factors) == 2
    changed = replace(both, output=Scalar())
    assert changed.factors == (changed,)


def test_a_mask_is_permuted_with_its_nodes(scene):
    labels = Symmetry(
        Symmetric(N),
        {"positions": Nodes(), "velocities": Nodes(), "charges": Nodes(), "mask": Mask()},
        {"positions": Nodes(), "energy": Scalar(per="sample")},
    )
    both = MASKED * labels
    moved = both.act(both.sample(scene), scene)
    assert torch.equal(moved["mask"].sum(1), scene["mask"].sum(1))
    assert not torch.equal(moved["mask"], scene["mask"])
    torch.testing.assert_close((moved["velocities"].norm(dim=-1) > 0), moved["mask"])
    back = both.act(both.group.inverse(g := both.sample(scene)), both.act(g, scene))
    torch.testing.assert_close(back["positions"], scene["positions"], rtol=0, atol=1e-12)


def test_any_container_of_actions_will_do():
    Out = namedtuple("Out", ["energy", "forces"])

    @dataclass
    class Head:
        dipole: object
        rest: object

    sym = Symmetry(
        SO(3),
        ({"a": Vector(), "b": [Scalar(), Vector()]}, Shared()),
        (Out(Scalar(), Vector()), Head(Vector(), Scalar())),
    )
    x = ({"a": torch.randn(2, 3), "b": [torch.randn(2, 1), torch.randn(2, 4, 3)]}, torch.tensor(0.5))
    g = sym.sample(x)
    moved = sym.act(g, x)
    torch.testing.assert_close(moved[0]["a"], (g @ x[0]["a"][..., None])[..., 0])
    assert moved[1] is x[1]
    out = (Out(torch.ones(2), torch.randn(2, 3)), Head(torch.randn(2, 3), torch.ones(2)))
    turned = sym.act_output(g, out, x)
    assert isinstance(turned[0], Out)
    assert isinstance(turned[1], Head)
    torch.testing.assert_close(turned[1].dipole, (g @ out[1].dipole[..., None])[..., 0])
    assert sym.output_names == ["output[0].energy", "output[0].forces", "output[1].dipole", "output[1].rest"]


def test_point_outputs_are_measured_from_the_centroid():
    sym = Symmetry(E(3), Point(), Point())
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    far = x + 1e6
    torch.testing.assert_close(sym.norm(far, far), sym.norm(x, x), rtol=1e-6, atol=0)


def test_lines_are_compared_without_their_sense():
    sym = Symmetry(O(3), Vector(), Line())
    y = torch.randn(4, 3, dtype=torch.float64)
    assert sym.distance(y, -y, (y,)).max() < 1e-14


def test_translations_are_drawn_on_the_scale_of_the_points():
    generator = torch.Generator().manual_seed(0)
    sym = Symmetry(E(3), Point(), Point())
    x = 100 * torch.randn(4000, 8, 3, generator=generator)
    shift = sym.group.translation(sym.sample(x, generator=generator))
    assert shift is not None
    radius = (x - x.mean(1, keepdim=True)).square().sum(-1).mean().sqrt()
    assert shift.std() == pytest.approx(float(radius), rel=0.05)


def test_one_seed_gives_one_element():
    sym = Symmetry(E(3), Point(), Point())
    x = torch.randn(4, 5, 3)
    draw = lambda: sym.sample(x, generator=torch.Generator().manual_seed(3))
    assert torch.equal(draw(), draw())
    assert draw().dtype == x.dtype
    assert sym.sample(x.double()).dtype == torch.float64


def test_a_symmetry_is_a_transformation():
    assert isinstance(Symmetry(E(3), Point(), Point()), Transformation)


def test_inputs_are_not_changed(scene):
    before = _tree.map(torch.clone, scene)
    MASKED.act(MASKED.sample(scene), scene)
    for a, b in zip(_tree.leaves(scene), _tree.leaves(before), strict=True):
        assert torch.equal(a, b)


X = torch.zeros(4, 5, 3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((X,), "inputs must be \\(Point, Vector\\); got \\(tensor\\[4, 5, 3\\],\\)"),
        ({"a": X, "b": X}, "inputs must be \\(Point, Vector\\)"),
        ((X, torch.zeros(4, 2)), "inputs\\[1\\]: the last axis must have the 3 coordinates"),
        ((X, torch.zeros(3, 5, 3)), "inputs\\[1\\] must have 4 rows, one per sample; got shape \\(3, 5, 3\\)"),
        ((X, torch.full((4, 5, 3), torch.nan)), "inputs\\[1\\] must be finite; sample 0 holds NaN or infinity"),
        ((X, X / torch.tensor([1, 1, 0, 1])[:, None, None] - torch.inf), "must be finite"),
    ],
)
def test_bad_inputs_are_named(plain, inputs, message):
    with pytest.raises(ValueError, match=message):
        Symmetry(E(3), (Point(), Vector()), Point()).check(inputs, values=True)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((X, "no tensor"), "inputs\\[1\\] must be a tensor; got str"),
        ((X, X.long()), "inputs\\[1\\] must be floating point"),
    ],
)
def test_bad_types_are_named(plain, inputs, message):
    with pytest.raises(TypeError, match=message):
        Symmetry(E(3), (Point(), Vector()), Point()).check(inputs)


def test_bad_layouts_are_named(plain, scene):
    for change, message in [
        ({"mask": torch.zeros(B, N, dtype=torch.bool)}, "mask: sample 0 has no points"),
        ({"mask": torch.ones(B, N - 1, dtype=torch.bool)}, "must be \\(B, 6, ...\\) like the Mask"),
    ]:
        with pytest.raises(ValueError, match=message):
            MASKED.check({**scene, **change}, values=True)
    with pytest.raises(TypeError, match="mask must be bool"):
        MASKED.check({**scene, "mask": torch.ones(B, N)})
    flat = ragged(scene)
    for change, message in [
        ({"batch": flat["batch"].flip(0)}, "ascending"),
        ({"edges": flat["edges"] + 1}, "must index the 25 nodes"),
        ({"charges": flat["charges"][1:]}, "charges must have 25 rows, one per node"),
    ]:
        with pytest.raises(ValueError, match=message):
            RAGGED.check({**flat, **change}, values=True)


def test_batches_that_count_wrongly_are_named(plain):
    sym = Symmetry(E(3), (Point(), Scalar(per="sample"), Batch()), Point())
    rows = torch.zeros(6, 3)
    for energies, batch, message in [
        (2, [0, 0, 1, 1, 2, 2], "names sample 2, and there are 2 rows per sample"),
        (3, [0, 0, 1, 1, 1, 1], "sample 2 has no nodes"),
        (3, [1, 1, 1, 1, 2, 2], "sample 0 has no nodes"),
    ]:
        with pytest.raises(ValueError, match=message):
            sym.check((rows, torch.zeros(energies), torch.tensor(batch)), values=True)
    with pytest.raises(TypeError, match="must be int64 or int32; got torch.uint8"):
        sym.check((rows, torch.zeros(3), torch.tensor([0, 0, 1, 1, 2, 2], dtype=torch.uint8)))


def test_values_without_a_batch_axis_and_complex_points_are_named(plain):
    sym = Symmetry(E(3), Point(), Point())
    with pytest.raises(ValueError, match="the last axis must have the 3 coordinates of E\\(3\\); got shape \\(3,\\)"):
        sym.check(torch.zeros(3))
    with pytest.raises(TypeError, match="must be real"):
        sym.check(torch.zeros(2, 5, 3, dtype=torch.complex64))


def test_nodes_of_ragged_batches_are_counted(plain):
    sym = Symmetry(Symmetric(3), (Nodes(), Batch()), Nodes())
    sym.check((torch.zeros(6, 2), torch.tensor([0, 0, 0, 1, 1, 1])), values=True)
    with pytest.raises(ValueError, match="every sample must have the 3 nodes"):
        sym.check((torch.zeros(5, 2), torch.tensor([0, 0, 0, 1, 1])))


def test_dense_edges_count_the_nodes_of_the_batch(plain):
    sym = Symmetry(E(3), (Point(), Edges()), Point())
    x, edges = torch.zeros(2, 4, 3), torch.tensor([[0, 7], [1, 4]])
    sym.check((x, edges), values=True)
    assert sym.repeat((x, edges), 2)[1].tolist() == [[0, 7, 8, 15], [1, 4, 9, 12]]
    with pytest.raises(ValueError, match="must index the 8 nodes"):
        sym.check((x, edges + 1), values=True)
    with pytest.raises(ValueError, match="edge 1 joins samples 1 and 0"):
        sym.check((x, edges - torch.tensor([[0, 0], [0, 1]])), values=True)


def test_edges_between_ragged_samples_are_refused(plain):
    sym = Symmetry(E(3), (Point(), Batch(), Edges()), Point())
    x, batch = torch.zeros(5, 3), torch.tensor([0, 0, 0, 1, 1])
    sym.check((x, batch, torch.tensor([[0, 3], [2, 4]])), values=True)
    with pytest.raises(ValueError, match="edge 1 joins samples 0 and 1"):
        sym.check((x, batch, torch.tensor([[0, 2], [2, 3]])), values=True)


def test_padding_may_hold_anything(scene):
    dirty = {name: x.masked_fill(~scene["mask"][..., None], torch.nan) for name, x in scene.items() if name != "mask"}
    dirty["mask"] = scene["mask"]
    MASKED.check(dirty, values=True)
    assert torch.equal(MASKED.centroid(dirty), MASKED.centroid(scene))
    g = MASKED.sample(scene)
    for moved, clean in zip(MASKED.act(g, dirty).values(), MASKED.act(g, scene).values(), strict=True):
        assert torch.equal(moved, clean)


@pytest.mark.parametrize(
    ("g", "message"),
    [
        ("g", "g must be a tensor of shape"),
        (None, "g must be a tensor of shape"),
        (torch.eye(3), r"g must be \(..., 4, 4\) for E\(3\); got shape \(3, 3\)"),
        (torch.eye(4).expand(3, 4, 4), r"g must have batch axes \(\), or \(2,\) for 2 samples; got \(3,\)"),
        (torch.eye(4).long(), "g must be a floating-point tensor"),
        ((torch.eye(4),), "g must be a tensor of shape"),
    ],
)
def test_elements_of_another_kind_or_batch_are_refused(plain, g, message):
    sym = Symmetry(E(3), Point(), Point())
    x = torch.zeros(2, 5, 3)
    for act in (lambda: sym.act(g, x), lambda: sym.act_output(g, x, x)):
        with pytest.raises((TypeError, ValueError), match=message):
            act()


def test_a_product_takes_one_element_per_factor(plain):
    sym = Symmetry(E(3), Point(), Point()) * Symmetry(Symmetric(5), Nodes(-2), Nodes(-2))
    x = torch.zeros(2, 5, 3)
    with pytest.raises(TypeError, match="g must be a tuple of 2 elements"):
        sym.act(torch.eye(4), x)
    with pytest.raises(TypeError, match="unsupported operand"):
        sym * 3


def test_outputs_that_do_not_fit_are_named(plain):
    sym = Symmetry(E(3), Point(), {"energy": Scalar(), "forces": Vector()})
    with pytest.raises(ValueError, match="output must be {energy: Scalar, forces: Vector}; got tensor"):
        sym.check_output(X, (X,))
    with pytest.raises(ValueError, match="energy must have 4 rows, one for each sample of the inputs"):
        sym.check_output({"energy": torch.zeros(2), "forces": X}, (X,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Symmetry("E(3)", Point(), Point()), "group must be a torsor.groups.Group"),
        (lambda: Symmetry(E(3), (Point, Vector()), Point()), "write Point\\(\\)"),
        (lambda: Symmetry(E(3), Point(), "vector"), "output must be an action"),
        (lambda: Symmetry(E(3), (), Point()), "one for each argument"),
    ],
)
def test_symmetries_that_mean_nothing_are_refused(plain, make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_factors_of_a_product_must_agree_about_the_function():
    with pytest.raises(ValueError, match="the factors of a product must have the same inputs"):
        Symmetry(E(3), Point(), Point()) * Symmetry(Symmetric(3), (Nodes(), Nodes()), Nodes())


def test_a_group_without_a_law_still_has_one_for_images():
    image = Symmetry(GLPlus(2), Image(), Scalar())
    g = image.sample(torch.randn(3, 1, 8, 8))
    assert (torch.linalg.det(g) > 0).all()


def test_groups_that_exchange_the_axes_of_an_image_need_squares(plain):
    for group, shape, refused in [
        (Cyclic(4), (2, 8, 6), True),
        (Cyclic(4), (2, 8, 8), False),
        (Cyclic(2), (2, 8, 6), False),
        (SO(2), (2, 8, 6), False),
    ]:
        sym = Symmetry(group, Image(), Image())
        if refused:
            with pytest.raises(
                ValueError, match=r"Cyclic\(4\) exchanges axes of the pixel grid, whose sides must be equal"
            ):
                sym.check(torch.zeros(shape))
        else:
            sym.check(torch.zeros(shape))

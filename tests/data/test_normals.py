"""Surfaces with exact normals: on the surface, orthogonal to it, uniform in area; and the reader of real ones."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from torsor import E, Line, Point
from torsor.data import ABCMeshes, normals, sources
from torsor.data._normals import FAMILIES, cloud, solid
from torsor.data._solids import Box, Cone, Cylinder, Ellipsoid, Torus

POINTS = 4000


def drawn(body, n=POINTS):
    return body.sample(np.random.default_rng(1), n)


def gradient(body, x, step=1e-6):
    """Central differences of the implicit function, as unit vectors."""
    found = np.stack([body.implicit(x + step * e) - body.implicit(x - step * e) for e in np.eye(3)], -1)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def uniform(counts, areas):
    """The p-value of counts that should be proportional to areas."""
    areas = np.asarray(areas, float)
    return chisquare(counts, np.sum(counts) * areas / areas.sum()).pvalue


@pytest.mark.parametrize("family", FAMILIES)
def test_normals_are_unit_vectors_orthogonal_to_the_surface(family):
    for seed in range(3):
        body = solid(family, np.random.default_rng(seed))
        x, normal = body.sample(np.random.default_rng(seed), 500)
        assert np.abs(body.implicit(x)).max() < 1e-12
        assert np.abs(np.linalg.norm(normal, axis=-1) - 1).max() < 1e-12
        smooth = np.abs(body.implicit(x + 1e-5 * normal) + body.implicit(x - 1e-5 * normal)) < 1e-8  # not at an edge
        assert smooth.mean() > 0.98
        assert (np.sum(gradient(body, x) * normal, -1)[smooth] > 1 - 1e-6).all()  # outwards


def bins(values, edges):
    return np.histogram(values, edges)[0]


def test_a_box_has_points_on_its_faces_by_area():
    x, normal = drawn(Box(0.5, 1.0, 0.2))
    side = [(normal[:, i] * sign > 0.5).sum() for i in range(3) for sign in (1, -1)]
    assert uniform(side, np.repeat([0.2, 0.1, 0.5], 2)) > 0.01
    top = x[normal[:, 2] > 0.5]
    assert uniform(np.histogram2d(top[:, 0], top[:, 1], 4)[0].ravel(), np.ones(16)) > 0.01


def test_a_cylinder_has_points_on_side_and_caps_by_area():
    x, normal = drawn(Cylinder(0.5, 0.7))
    on_cap = np.abs(normal[:, 2]) > 0.5
    assert uniform([on_cap.sum(), (~on_cap).sum()], [0.5, 1.4]) > 0.01
    assert uniform(bins(np.hypot(*x[on_cap].T[:2]) ** 2, np.linspace(0, 0.25, 9)), np.ones(8)) > 0.01
    assert uniform(bins(x[~on_cap, 2], np.linspace(-0.7, 0.7, 9)), np.ones(8)) > 0.01


def test_a_cone_has_points_on_side_and_base_by_area():
    x, normal = drawn(Cone(0.5, 0.6))
    on_base = normal[:, 2] < -0.5
    assert uniform([on_base.sum(), (~on_base).sum()], [0.5, 1.3]) > 0.01
    below = (0.6 - x[~on_base, 2]) / 1.2
    assert uniform(bins(below**2, np.linspace(0, 1, 9)), np.ones(8)) > 0.01


def test_a_torus_has_more_points_outside_than_inside():
    x, _ = drawn(Torus(0.6, 0.3))
    tube = np.arctan2(x[:, 2], np.hypot(x[:, 0], x[:, 1]) - 0.6)
    edges = np.linspace(-np.pi, np.pi, 13)
    assert uniform(bins(tube, edges), 0.6 * np.diff(edges) + 0.3 * np.diff(np.sin(edges))) > 0.01
    assert uniform(bins(np.arctan2(x[:, 1], x[:, 0]), edges), np.ones(12)) > 0.01


def test_an_ellipsoid_has_points_by_area():
    a, b, c = 0.3, 0.6, 1.0
    body = Ellipsoid(a, b, c)
    x, _ = drawn(body)
    edges = np.linspace(-1, 1, 11)
    z = (edges[:-1, None] + edges[1:, None]) / 2 + np.diff(edges)[:, None] / 2 * (np.arange(200) / 100 - 0.995)
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)[:, None, None]
    flat = np.sqrt(1 - z**2)
    s = np.stack(np.broadcast_arrays(flat * np.cos(angle) / a, flat * np.sin(angle) / b, z / c), -1)
    areas = np.linalg.norm(s, axis=-1).mean((0, 2))
    assert uniform(bins(x[:, 2] / c, edges), areas) > 0.01
    assert body.area == pytest.approx(a * b * c * 2 * np.pi * 2 * areas.mean(), rel=1e-4)


def test_what_the_parts_of_a_table_hide_has_no_points():
    table = solid("table", np.random.default_rng(3))
    (a, b, thick), height = table.parts[0].body.half, table.parts[0].shift[2]
    leg = table.parts[1].body.half[0]
    x, normal = drawn(table)
    up, down = normal[:, 2] > 0.5, normal[:, 2] < -0.5
    feet, on_slab = x[:, 2] < -height + 1e-9, x[:, 2] > height - thick - 1e-9
    side = ~up & ~down
    counts = [up.sum(), (down & on_slab).sum(), (down & feet).sum(), (side & on_slab).sum(), (side & ~on_slab).sum()]
    hidden = 4 * (2 * leg) ** 2
    areas = [4 * a * b, 4 * a * b - hidden, hidden, 8 * thick * (a + b), 4 * 8 * leg * (2 * height - thick)]
    assert sum(counts) == POINTS
    assert uniform(counts, areas) > 0.01


def test_a_mug_is_hollow():
    mug = solid("mug", np.random.default_rng(2))
    (cup, cavity, _) = (part.body for part in mug.parts)
    wall = mug.parts[1].shift[2]
    x, normal = drawn(mug)
    distance = np.hypot(x[:, 0], x[:, 1])
    inside = np.abs(distance - cavity.radius) < 1e-9
    floor = np.abs(x[:, 2] - (wall - cavity.half)) < 1e-9
    rim, bottom = np.abs(x[:, 2] - cup.half) < 1e-9, np.abs(x[:, 2] + cup.half) < 1e-9
    areas = [
        2 * cavity.radius * (2 * cup.half - wall),
        cavity.radius**2,
        cup.radius**2 - cavity.radius**2,
        cup.radius**2,
    ]
    assert uniform([k.sum() for k in (inside, floor, rim, bottom)], areas) > 0.01
    assert (np.sum(x[inside, :2] * normal[inside, :2], -1) < 0).all()


def test_an_l_bar_lacks_a_corner():
    bar = solid("l-bar", np.random.default_rng(4))
    (a, b, c), (cut_a, cut_b, _) = bar.parts[0].body.half, bar.parts[1].body.half
    x0, y0 = bar.parts[1].shift[0] - cut_a, bar.parts[1].shift[1] - cut_b
    x, normal = drawn(bar)
    assert not ((x[:, 0] > x0 + 1e-9) & (x[:, 1] > y0 + 1e-9)).any()
    face = 4 * a * b - (a - x0) * (b - y0)
    counts = [(np.abs(normal[:, i]) > 0.5).sum() for i in range(3)]
    assert uniform(counts, [2 * 2 * b * 2 * c, 2 * 2 * a * 2 * c, 2 * face]) > 0.01


@pytest.fixture
def data(tmp_path):
    return lambda **more: normals(**{"train": 12, "valid": 0, "test": 10, "points": 50, "cache": tmp_path, **more})


def test_the_data_set_is_points_and_lines(data):
    found = data(dtype=torch.float64)
    x, y = found.train.inputs["points"], found.train.targets
    assert x.shape == y.shape == (12, 50, 3)
    assert found.symmetry.group == E(3)
    assert found.symmetry.inputs == {"points": Point()}
    assert found.symmetry.output == Line()
    torch.testing.assert_close(y.norm(dim=-1), torch.ones(12, 50).double())
    assert found.valid is None
    clean = data(noise=0.0, dtype=torch.float64).train.inputs["points"]
    torch.testing.assert_close(clean.mean(1), torch.zeros(12, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(clean.square().sum(-1).mean(1), torch.ones(12).double())
    assert (x - clean).std() == pytest.approx(0.01, rel=0.05)


def test_the_clouds_are_those_of_the_solids_in_turn(data):
    found = data(noise=0.0, dtype=torch.float64)
    for index in (0, 5, 11):
        x, normal, body = cloud("train", index, 50, 0.0)
        np.testing.assert_allclose(x, found.train.inputs["points"][index])
        np.testing.assert_allclose(normal, found.train.targets[index])
        raw, _ = body.sample(np.random.default_rng(0), 10)
        assert np.abs(body.implicit(raw)).max() < 1e-9


def test_the_first_clouds_are_the_same_however_many_there_are(data, tmp_path):
    few = data(train=3)
    many = data(train=12)
    other = data(train=12, cache=tmp_path / "other")
    assert torch.equal(few.train.inputs["points"], many.train.inputs["points"][:3])
    assert torch.equal(many.train.targets, other.train.targets)
    assert not torch.equal(many.train.inputs["points"][:10], many.test.inputs["points"])
    assert not torch.equal(many.train.targets, data(train=12, seed=1).train.targets)


@pytest.mark.parametrize("wrong", [{"train": 0}, {"valid": -1}, {"points": 1}, {"noise": -0.1}, {"seed": -1}])
def test_bad_numbers_are_refused(data, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        data(**wrong)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="one of box, plate"):
        solid("sphere", np.random.default_rng(0))


def write(folder, split, points, lines):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{split}.npz", points=points, normals=lines)


def test_clouds_of_meshes_are_read(tmp_path):
    random = np.random.default_rng(0)
    for split, size in (("train", 4), ("test", 2)):
        write(tmp_path, split, 5 + 3 * random.standard_normal((size, 20, 3)), random.standard_normal((size, 20, 3)))
    found = ABCMeshes(tmp_path, points=16, dtype=torch.float64)
    x = found.train.inputs["points"]
    assert x.shape == (4, 16, 3)
    assert found.valid is None
    torch.testing.assert_close(x.mean(1), torch.zeros(4, 3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(x.square().sum(-1).mean(1), torch.ones(4).double())
    torch.testing.assert_close(found.test.targets.norm(dim=-1), torch.ones(2, 16).double())


def test_missing_meshes_are_asked_for_by_name(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="lacks train.npz, test.npz: set \\$TORSOR_DATA"):
        ABCMeshes(tmp_path)
    monkeypatch.delenv("TORSOR_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="the ABC shapes are not on this machine"):
        ABCMeshes()
    assert not sources()["abc"].present


def test_damaged_meshes_are_refused_by_name(tmp_path):
    good = np.random.default_rng(0).standard_normal((2, 20, 3))
    write(tmp_path, "test", good, good)
    for points, lines, words in (
        (good[:, :10], good[:, :10], "at least 16"),
        (good, good[:1], "must be"),
        (good, np.zeros_like(good), "shape 0"),
    ):
        write(tmp_path, "train", points, lines)
        with pytest.raises(ValueError, match=f"train.npz.*{words}"):
            ABCMeshes(tmp_path, points=16)
    np.savez(tmp_path / "train.npz", points=good)
    with pytest.raises(ValueError, match=r"train.npz lacks the array normals"):
        ABCMeshes(tmp_path, points=16)
    np.savez(tmp_path / "train.npz", points=np.array([{}], dtype=object), normals=good)
    with pytest.raises(ValueError, match="allow_pickle"):
        ABCMeshes(tmp_path, points=16)

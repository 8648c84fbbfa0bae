"""Points on meshes: on their triangles, uniform in area, with the normals of the faces; and on to `ABCMeshes`."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from torsor.data import ABCMeshes, sample_meshes
from torsor.data._meshes import on_triangles, read_obj

CORNERS = np.array([[x, y, z] for x in (0, 3) for y in (0, 2) for z in (0, 1)], float)  # a box of sides 3, 2, 1
FACES = ((1, 3, 7, 5), (2, 6, 8, 4), (1, 5, 6, 2), (3, 4, 8, 7), (1, 2, 4, 3), (5, 7, 8, 6))  # none has a hidden side
AREAS = (6, 6, 3, 3, 2, 2)
OUTWARD = np.array([[0, 0, -1], [0, 0, 1], [0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0]])


def box(path, turn=None, face="f {}//1 {}//2 {}//3 {}//4"):
    """A box as an OBJ file, perhaps turned, with normals, comments and groups that nobody reads."""
    corners = CORNERS if turn is None else CORNERS @ turn.T
    lines = ["# a box", "o box", "vn 1 0 0", *("v {:.17g} {:.17g} {:.17g}".format(*corner) for corner in corners)]
    path.write_text("\n".join([*lines, "g side", *(face.format(*corners) for corners in FACES)]))
    return path


def test_points_of_a_mesh_are_uniform_on_its_faces(tmp_path):
    x, normal = on_triangles(read_obj(box(tmp_path / "box.obj")), 6000, np.random.default_rng(0))
    side = (normal @ OUTWARD.T).argmax(1)
    np.testing.assert_allclose(normal, OUTWARD[side], atol=1e-15)
    along = (x * OUTWARD[side]).sum(1)
    np.testing.assert_allclose(along, np.maximum(OUTWARD, 0)[side] @ [3, 2, 1], atol=1e-14)
    counts = np.bincount(side, minlength=6)
    assert chisquare(counts, 6000 * np.array(AREAS) / 22).pvalue > 0.01
    top = np.histogram2d(*x[side == 1, :2].T, bins=(6, 4), range=((0, 3), (0, 2)))[0].ravel()
    assert chisquare(top).pvalue > 0.01


def test_indices_from_the_end_are_read(tmp_path):
    forwards = read_obj(box(tmp_path / "a.obj"))
    text = box(tmp_path / "b.obj").read_text().replace("f 1//1 3//2 7//3 5//4", "f -8/1/1 -6 -2 -4")
    (tmp_path / "b.obj").write_text(text)
    np.testing.assert_array_equal(read_obj(tmp_path / "b.obj"), forwards)


def test_clouds_of_meshes_are_those_that_abc_meshes_reads(tmp_path):
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
    box(tmp_path / "upright.obj"), box(tmp_path / "turned.obj", turn)
    for split in ("train", "test"):
        sample_meshes(tmp_path.glob("*.obj"), tmp_path / "abc" / f"{split}.npz", 40, seed=len(split))
    data = ABCMeshes(tmp_path / "abc", points=40, dtype=torch.float64)
    assert data.train.inputs["points"].shape == data.test.targets.shape == (2, 40, 3)
    turned, upright = data.train.targets  # in the order of the names
    assert (upright.abs().amax(-1) == 1).all()
    assert ((turned @ torch.from_numpy(turn)).abs().amax(-1) > 1 - 1e-12).all()
    again = sample_meshes(tmp_path.glob("*.obj"), tmp_path / "again.npz", 40, seed=5)
    np.testing.assert_array_equal(np.load(again)["points"], np.load(tmp_path / "abc" / "train.npz")["points"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v 0 0\n", r"line 1: 'v 0 0' is no vertex"),
        ("v 0 0 0\nv 1 0 0\nf 1 2 3\n", r"line 3: .*vertex 3 of 2"),
        ("v 0 0 0\nf 0 1 1\n", "vertex 0 of 1"),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "must have an area"),
        ("v 0 0 nan\nv 1 0 0\nv 2 1 0\nf 1 2 3\n", "must have an area"),
        ("", "must have an area"),
    ],
)
def test_a_damaged_mesh_is_refused_by_name(tmp_path, text, words):
    (tmp_path / "part.obj").write_text(text)
    with pytest.raises(ValueError, match=f"part.obj.*{words}"):
        sample_meshes([tmp_path / "part.obj"], tmp_path / "train.npz")


def test_no_mesh_and_no_point_are_refused(tmp_path):
    with pytest.raises(ValueError, match="meshes must name at least one file"):
        sample_meshes([], tmp_path / "train.npz")
    with pytest.raises(ValueError, match="points must be at least 1; got 0"):
        sample_meshes([box(tmp_path / "box.obj")], tmp_path / "train.npz", 0)

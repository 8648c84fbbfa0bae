"""Points on meshes: from files of triangles to the clouds that `ABCMeshes` reads."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

Array = np.ndarray


def sample_meshes(meshes: Iterable[str | Path], path: str | Path, points: int = 512, *, seed: int = 0) -> Path:
    """Write the clouds of some meshes as `ABCMeshes` reads them: points uniform in area, with their exact normals.

    Arguments:
        meshes: Wavefront OBJ files; polygons are cut into triangles, all but vertices and faces is passed over.
        path: of the `.npz` file to write, such as `$TORSOR_DATA/abc/train.npz`.
        points: on each mesh.
        seed: of the points.

    Returns:
        `path`. The file holds `points` and `normals`, both `(meshes, points, 3)`.

    Raises:
        ValueError: there is no mesh, or a mesh has no area or a face without its vertices; names the file.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "square.obj").write_text("v 0 0 0\\nv 1 0 0\\nv 1 1 0\\nv 0 1 0\\nf 1 2 3 4\\n")
    >>> file = sample_meshes(folder.glob("*.obj"), folder / "train.npz", 8)
    >>> np.load(file)["points"].shape, np.load(file)["normals"][0, 0].tolist()
    ((1, 8, 3), [0.0, 0.0, 1.0])
    """
    files, path = sorted(Path(mesh) for mesh in meshes), Path(path)
    if not files:
        raise ValueError("meshes must name at least one file; got none")
    if points < 1:
        raise ValueError(f"points must be at least 1; got {points}")
    clouds = []
    for index, file in enumerate(files):
        corners = read_obj(file)
        try:
            clouds.append(on_triangles(corners, points, np.random.default_rng([seed, index])))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    x, normal = (np.stack(column) for column in zip(*clouds, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, points=x, normals=normal)
    return path


def read_obj(path: str | Path) -> Array:
    """The triangles `(t, 3, 3)` of a Wavefront OBJ file: each a row of corners.

    Raises:
        ValueError: a line cannot be read; names the file and the line.
    """
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                x, y, z = (float(word) for word in words[:3])
                vertices.append([x, y, z])
            elif kind == "f":
                first, *others = (_index(word, len(vertices)) for word in words)
                faces += [(first, a, b) for a, b in pairwise(others)]
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {line!r} is no vertex or face ({error})") from None
    return np.array(vertices).reshape(-1, 3)[np.array(faces, int).reshape(-1, 3)]


def on_triangles(corners: Array, n: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Points `(n, 3)` on triangles, uniform in area, and the unit normals there.

    Raises:
        ValueError: the triangles have no area.
    """
    origin, one, two = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(one, two)
    twice = np.linalg.norm(normal, axis=-1)
    if not (np.isfinite(twice.sum()) and twice.sum() > 0):
        raise ValueError("the triangles must have an area")
    chosen = random.choice(len(twice), n, p=twice / twice.sum())
    a, b = random.random((2, n, 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)  # the far half of the parallelogram, turned
    return origin[chosen] + a * one[chosen] + b * two[chosen], normal[chosen] / twice[chosen, None]


def _index(word: str, vertices: int) -> int:
    """The vertex of a face, such as `3`, `3//7`, or `-1` for the last one so far."""
    given = int(word.split("/")[0])
    index = given - 1 if given > 0 else vertices + given
    if given == 0 or not 0 <= index < vertices:
        raise ValueError(f"vertex {given} of {vertices}")
    return index

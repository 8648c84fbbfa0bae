"""Normals of surfaces: generated solids whose normals are known exactly, and a reader for the clouds of real ones."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torsor.actions import Line, Point
from torsor.data._cache import Arrays, cache_folder, grown
from torsor.data._samples import Dataset, Samples
from torsor.data._solids import Box, Cone, Cylinder, Ellipsoid, Part, Solid, Torus
from torsor.groups import E
from torsor.symmetry import Symmetry

SYMMETRY = Symmetry(E(3), {"points": Point()}, Line())
SPLITS = ("train", "valid", "test")

_SEED = 2110_03336
_EDITION = 1  # in the names of cached files; changes with whatever changes their content
_UNITS = "lengths in units of the root mean square distance from the centroid; normals are unit vectors, of either sign"


def normals(
    train: int = 200,
    valid: int = 50,
    test: int = 100,
    *,
    points: int = 256,
    noise: float = 0.01,
    seed: int = 0,
    cache: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Points on the surfaces of solids, and the normal of the surface at each.

    Input `points (B, n, 3)`, target `(B, n, 3)`: unit vectors, of which only the line counts; symmetric under E(3). The
    solids come from ten families in turn, `FAMILIES`, with random proportions, upright. Their points are uniform in
    area; clouds are centred and divided by their root mean square radius, then moved by noise. The first samples of a
    split are the same however many are asked for.

    Arguments:
        train, valid, test: numbers of clouds; `valid` may be 0.
        points: in each cloud.
        noise: standard deviation of each coordinate, in units of the root mean square radius.
        seed: of the solids, the points and the noise.
        cache: a folder; by default `$TORSOR_CACHE`, else `torsor` in the user's cache folder.
        dtype: of the tensors; torch's default dtype by default. Made in float64.

    Raises:
        ValueError: a number is too small; names it.

    Source: stands in for the ABC shapes of Puny et al. 2021 (arXiv 2110.03336), section 4.1.

    >>> from torsor.data import normals
    >>> data = normals(train=10, valid=0, test=10, points=32)
    >>> data.train.inputs["points"].shape, data.symmetry.output
    (torch.Size([10, 32, 3]), Line())
    """
    sizes = {"train": train, "valid": valid, "test": test}
    for name, number, least in (*((k, v, k != "valid") for k, v in sizes.items()), ("points", points, 2)):
        if number < least:
            raise ValueError(f"{name} must be at least {int(least)}; got {number}")
    if not 0 <= noise < np.inf or seed < 0:
        raise ValueError(f"noise and seed must not be negative; got noise={noise}, seed={seed}")
    folder = cache_folder() if cache is None else Path(cache)
    splits = {}
    for split, size in sizes.items():
        make = partial(_generated, split, points=points, noise=noise, seed=seed)
        splits[split] = _samples(grown(folder / _file(split, points, noise, seed), size, make), dtype) if size else None
    return Dataset(
        name="normals",
        **splits,
        symmetry=SYMMETRY,
        units=_UNITS,
        source="generated",
        licence="none needed: generated",
        description="Points on the surface of a solid, and the line of the normal at each of them.",
    )


def ABCMeshes(root: str | Path | None = None, points: int = 512, *, dtype: torch.dtype | None = None) -> Dataset:
    """Points on the CAD models of the ABC collection, and the normals there: the data of the paper at full scale.

    Shapes and symmetry as `normals`; clouds are centred and divided by their root mean square radius.

    Arguments:
        root: a folder with `train.npz` and `test.npz`, and perhaps `valid.npz`, each with the arrays `points` and
            `normals (S, N, 3)`, as `sample_meshes` writes them; by default `$TORSOR_DATA/abc`.
        points: the first so many of each cloud are taken.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        FileNotFoundError: a file is missing; says which, and where to put it.
        ValueError: a file lacks an array, or an array has another shape or too few points; names the file.

    Source: Koch et al. 2019 (arXiv 1812.06216), as Puny et al. 2021 (arXiv 2110.03336) use it in section 4.1.

    >>> ABCMeshes("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: /nowhere lacks train.npz, test.npz: ...
    """
    folder = abc_folder() if root is None else Path(root)
    if missing := [name for name in ABC_FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: {HOW_TO_GET_ABC}")
    paths = {split: folder / f"{split}.npz" for split in SPLITS}
    found = {split: _samples(_read(path, points), dtype) if path.is_file() else None for split, path in paths.items()}
    train, test = found["train"], found["test"]
    assert train is not None
    assert test is not None
    return Dataset(
        name="abc",
        train=train,
        valid=found["valid"],
        test=test,
        symmetry=SYMMETRY,
        units=_UNITS,
        source="Koch et al. 2019 (arXiv 1812.06216)",
        licence="that of the single models",
        description="Points on the surface of a CAD model, and the line of the normal at each of them.",
    )


def abc_folder() -> Path:
    """Where the clouds of ABC are expected: `$TORSOR_DATA/abc`.

    Raises:
        FileNotFoundError: `$TORSOR_DATA` is not set; says what to do.
    """
    root = os.environ.get("TORSOR_DATA")
    if not root:
        raise FileNotFoundError(f"the ABC shapes are not on this machine: {HOW_TO_GET_ABC}")
    return Path(root).expanduser() / "abc"


ABC_FILES = ("train.npz", "test.npz")
HOW_TO_GET_ABC = (
    "set $TORSOR_DATA to a folder that holds a folder abc, sample points with their normals from the meshes of the ABC"
    " collection (arXiv 1812.06216) with torsor.data.sample_meshes, and put train.npz, test.npz and perhaps valid.npz"
    " there, each with the arrays points and normals of shape (shapes, points, 3)"
)


def cached_files() -> tuple[str, ...]:
    """The names of the files in the cache that `normals()` makes."""
    return tuple(_file(split, 256, 0.01, 0) for split in SPLITS)


def solid(family: str, random: np.random.Generator) -> Solid:
    """A solid of one of the `FAMILIES` with random proportions, upright along z.

    >>> import numpy as np
    >>> len(solid("table", np.random.default_rng(0)).parts)
    5
    """
    u = random.uniform
    if family == "box":
        return Solid([Part(Box(u(0.3, 1), u(0.3, 1), u(0.3, 1)))])
    if family == "plate":
        return Solid([Part(Box(u(0.5, 1), u(0.5, 1), u(0.03, 0.12)))])
    if family == "cylinder":
        return Solid([Part(Cylinder(u(0.2, 0.6), u(0.3, 1)))])
    if family == "cone":
        return Solid([Part(Cone(u(0.3, 0.8), u(0.3, 0.8)))])
    if family == "torus":
        return Solid([Part(Torus(u(0.5, 0.9), u(0.12, 0.35)))])
    if family == "ellipsoid":
        return Solid([Part(Ellipsoid(u(0.3, 1), u(0.3, 1), u(0.3, 1)))])
    if family == "table":
        a, b, thick, leg, height = u(0.5, 1), u(0.4, 0.9), u(0.04, 0.1), u(0.04, 0.08), u(0.4, 0.9)
        return Solid([Part(Box(a, b, thick), (0, 0, height)), *_legs(a, b, leg, height)])
    if family == "chair":
        a, b, thick, leg, height, back = (
            u(0.35, 0.5),
            u(0.35, 0.5),
            u(0.04, 0.08),
            u(0.03, 0.06),
            u(0.3, 0.5),
            u(0.3, 0.5),
        )
        rest = Part(Box(0.95 * a, thick, back), (0, 0.95 * b - thick, height + back))
        return Solid([Part(Box(a, b, thick), (0, 0, height)), rest, *_legs(a, b, leg, height)])
    if family == "mug":
        radius, half, wall = u(0.3, 0.5), u(0.35, 0.6), u(0.04, 0.08)
        handle = Torus(u(0.4, 0.6) * half, u(0.05, 0.08))
        return Solid(
            [
                Part(Cylinder(radius, half)),
                Part(Cylinder(radius - wall, half), (0, 0, wall), hollow=True),
                Part(handle, (radius, 0, 0), _UPRIGHT),
            ]
        )
    if family == "l-bar":
        a, b, c = u(0.5, 1), u(0.5, 1), u(0.2, 0.6)
        cut = Part(Box(a, b, 2 * c), (u(0.3, 0.8) * a, u(0.3, 0.8) * b, 0), hollow=True)
        return Solid([Part(Box(a, b, c)), cut])
    raise ValueError(f"family must be one of {', '.join(FAMILIES)}; got {family!r}")


FAMILIES = ("box", "plate", "cylinder", "cone", "torus", "ellipsoid", "table", "chair", "mug", "l-bar")
_UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # the axis of the handle is level


def _legs(a: float, b: float, leg: float, height: float) -> list[Part]:
    """Four legs from z = -height to z = height, the middle of what lies on them, inset from its rim."""
    x, y = 0.9 * a - leg, 0.9 * b - leg
    return [Part(Box(leg, leg, height), (i * x, j * y, 0)) for i in (-1, 1) for j in (-1, 1)]


def cloud(split: str, index: int, points: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Solid]:
    """One cloud as the data set has it, `(n, 3)`, its normals, and the solid before it was centred and scaled."""
    random = np.random.default_rng([_SEED, seed, SPLITS.index(split), index])
    shape = solid(FAMILIES[index % len(FAMILIES)], random)
    x, normal = shape.sample(random, points)
    x = _standard(x[None])[0]
    return x + noise * random.standard_normal(x.shape), normal, shape


def _generated(split: str, start: int, stop: int, *, points: int, noise: float, seed: int) -> Arrays:
    made = [cloud(split, index, points, noise, seed)[:2] for index in range(start, stop)]
    x, normal = (np.stack(column) for column in zip(*made, strict=True))
    return {"points": x, "normals": normal}


def _standard(x: np.ndarray) -> np.ndarray:
    """Clouds `(S, n, 3)` centred and divided by their root mean square radius."""
    x = x - x.mean(1, keepdims=True)
    radius = np.sqrt(np.square(x).sum(-1).mean(1))[:, None, None]
    return x / np.where(radius > 0, radius, 1)


def _read(path: Path, points: int) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        if lacking := {"points", "normals"} - set(file.files):
            raise ValueError(f"{path} lacks the array {', '.join(sorted(lacking))}")
        x, normal = file["points"].astype(np.float64), file["normals"].astype(np.float64)
    if x.ndim != 3 or x.shape[-1] != 3 or x.shape != normal.shape or x.shape[1] < points:
        raise ValueError(
            f"{path}: points and normals must be (shapes, at least {points}, 3); got {x.shape} and {normal.shape}"
        )
    x, normal = x[:, :points], normal[:, :points]
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    if not (length > 0).all():
        raise ValueError(
            f"{path}: normals must not be zero or NaN; shape {int(np.argmin((length > 0).all((1, 2))))} has one"
        )
    return {"points": _standard(x), "normals": normal / length}


def _samples(arrays: Arrays, dtype: torch.dtype | None) -> Samples:
    def tensor(x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(dtype or torch.get_default_dtype())

    return Samples({"points": tensor(arrays["points"])}, tensor(arrays["normals"]))


def _file(split: str, points: int, noise: float, seed: int) -> str:
    return f"normals-{points}-{noise:g}-{seed}-{_EDITION}-{split}.npz"

"""Pieces of flights in a local plane: real motion whose symmetry gravity breaks a little."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torsor.actions import V
from torsor.data._samples import Dataset, Samples
from torsor.groups import O, embed
from torsor.symmetry import Symmetry

FILES = ("quickstart.json.gz", "switzerland.json.gz")
PLACE = Path("data/samples/collections")
RADIUS = 6371.0  # of the Earth, km
FOOT = 0.3048e-3  # km
STEP, GAP, POINTS = 5.0, 15.0, 12  # seconds, seconds, points of a window
LEAST_CLIMB, LEAST_LENGTH = 0.1, 1.0  # km


def flights_folder() -> Path | None:
    """Where the files of the wheel `traffic` are; None where it is not installed. Nothing of it is imported."""
    found = importlib.util.find_spec("traffic")
    for root in (found.submodule_search_locations or ()) if found else ():
        folder = Path(root) / PLACE
        if all((folder / name).is_file() for name in FILES):
            return folder
    return None


def flights(folder: str | Path | None = None, *, dtype: torch.dtype | None = None) -> Dataset:
    """Windows of 12 positions, 5 seconds apart, of flights that climb or sink: six of them, and the next six.

    Input and target `(B, 18)`, six positions each, from the mean of the window, in km, east, north and up, divided by
    their common standard deviation. Gravity leaves O(2) about the vertical. The first 60 % of the windows are for
    training, in the order of the files.

    Arguments:
        folder: with the two files; by default that of the installed wheel `traffic`.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        FileNotFoundError: the files are not there; says how to get them.

    Source: ADS-B recordings in the PyPI wheel `traffic` (Olive 2019, doi 10.21105/joss.01518), in place of the Waymo
    recordings of Kim et al. 2023 (arXiv 2306.00356).

    >>> flights("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: /nowhere lacks quickstart.json.gz, switzerland.json.gz: ...
    """
    root = flights_folder() if folder is None else Path(folder)
    if root is None:
        raise FileNotFoundError("the wheel traffic is not installed: pip install --no-deps traffic==2.13")
    if missing := [name for name in FILES if not (root / name).is_file()]:
        raise FileNotFoundError(f"{root} lacks {', '.join(missing)}: they come with the wheel traffic")
    windows = _recorded(root.resolve())
    windows = torch.from_numpy(windows / windows.std()).to(dtype or torch.get_default_dtype())
    x, y = windows[:, : POINTS // 2].flatten(1), windows[:, POINTS // 2 :].flatten(1)
    cut = int(0.6 * len(x))
    return Dataset(
        name="flights",
        train=Samples(x[:cut], y[:cut]),
        valid=None,
        test=Samples(x[cut:], y[cut:]),
        symmetry=Symmetry(embed(O(2), (0, 1), 3), POINTS // 2 * V, POINTS // 2 * V),
        units="standard deviations of a coordinate",
        source="the wheel traffic (Olive 2019, doi 10.21105/joss.01518)",
        licence="MIT (the wheel)",
        description="Six positions of an aircraft, and the next six.",
    )


@functools.lru_cache(maxsize=2)
def _recorded(root: Path) -> np.ndarray:
    """The windows of all files, (n, 12, 3); remembered, because it takes seconds to read them."""
    return np.concatenate([_windows(_records(root / name)) for name in FILES])


def _records(path: Path) -> dict[str, np.ndarray]:
    """The columns of a file: of records, or of columns that are lists or maps from row to value."""
    with gzip.open(path, "rt") as file:
        table: Any = json.load(file)
    names = ("icao24", "callsign", "timestamp", "latitude", "longitude", "altitude")
    if isinstance(table, list):
        columns = {name: [row.get(name) for row in table] for name in names}
    else:
        columns = {name: list(v.values()) if isinstance(v := table[name], dict) else v for name in names}
    words = {name: np.array([str(v) for v in columns[name]]) for name in names[:2]}
    return words | {name: np.array(columns[name], dtype=np.float64) for name in names[2:]}


def _windows(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Centred windows (n, 12, 3) of all flights, in km."""
    numbers = [columns[name] for name in ("timestamp", "latitude", "longitude", "altitude")]
    whole = np.isfinite(np.stack(numbers)).all(0)
    seconds, latitude, longitude, height = (column[whole] for column in numbers)
    flight = np.char.add(np.char.add(columns["icao24"][whole], "/"), columns["callsign"][whole])
    _, first, which = np.unique(flight, return_index=True, return_inverse=True)
    order = np.lexsort((seconds, first[which]))  # flights as they first appear, each by time
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(first[which][order])) + 1) if len(order) else ():
        north, east = np.radians(latitude[rows]), np.radians(longitude[rows])
        east = RADIUS * np.cos(north.mean()) * (east - east.mean())
        north = RADIUS * (north - north.mean())
        found += _pieces(seconds[rows] / 1000, np.stack([east, north, height[rows] * FOOT], 1))
    return np.stack(found) if found else np.zeros((0, POINTS, 3))


def _pieces(seconds: np.ndarray, positions: np.ndarray) -> list[np.ndarray]:
    """Windows one after another, wherever the recording has no gap."""
    ends = [0, *(np.flatnonzero(np.diff(seconds) >= GAP) + 1).tolist(), len(seconds)]
    found = []
    for start, end in itertools.pairwise(ends):
        t, place = np.unique(seconds[start:end], return_index=True)
        if len(t) < 2:
            continue
        grid = np.arange(t[0], t[-1] + 1e-6 * STEP, STEP)  # the last record is a point too
        track = np.stack([np.interp(grid, t, positions[start:end][place, i]) for i in range(3)], 1)
        for first in range(0, len(grid) - POINTS + 1, POINTS):
            window = track[first : first + POINTS]
            climb, length = np.ptp(window[:, 2]), np.linalg.norm(window[-1] - window[0])
            if climb > LEAST_CLIMB and length > LEAST_LENGTH:
                found.append(window - window.mean(0))
    return found

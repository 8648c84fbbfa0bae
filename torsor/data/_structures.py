"""Molecules and crystals from extended XYZ, as arrays of one size."""

from pathlib import Path
from typing import Any

import numpy as np

_PER_ATOM = ("forces", "magmoms", "charges", "energies", "stresses")  # results that ASE keeps for every atom


def read_structures(path: Path) -> dict[str, Any]:
    """The frames of an extended XYZ file as arrays, padded to the largest structure.

    `positions` (B, n, 3), `numbers` and the same as `species` (B, n), `cell` (B, 3, 3), `pbc` (B, 3), `mask` (B, n)
    that is true for atoms; and what every frame has of its own, per atom or per structure, by its name: `energy` (B,),
    `forces` (B, n, 3).

    Raises:
        ImportError: ASE is not there.
        ValueError: the file holds no structure.
    """
    try:
        from ase.io import iread
    except ImportError:
        raise ImportError("structures need ase: pip install 'torsor[molecules]'") from None
    with open(path, encoding="utf-8") as file:  # opened here: ase reads "@" and "*" in a name as signs of its own
        frames = list(iread(file, index=":", format="extxyz"))
    if not frames or not all(len(frame) for frame in frames):
        raise ValueError("it must hold structures with atoms")
    largest = max(map(len, frames))

    def padded(rows: list[Any]) -> Any:
        rows = [np.asarray(row) for row in rows]
        out = np.zeros((len(rows), largest, *rows[0].shape[1:]), rows[0].dtype)
        for whole, row in zip(out, rows, strict=True):
            whole[: len(row)] = row
        return out

    found = {
        "positions": padded([frame.positions for frame in frames]),
        "numbers": padded([frame.numbers for frame in frames]),
        "species": padded([frame.numbers for frame in frames]),
        "cell": np.stack([np.asarray(frame.cell) for frame in frames]),
        "pbc": np.stack([frame.pbc for frame in frames]),
        "mask": padded([np.ones(len(frame), bool) for frame in frames]),
    }
    per_atom, per_frame = map(list, zip(*map(_own, frames), strict=True))
    for name in _shared(per_atom) - set(found):
        found[name] = padded([rows[name] for rows in per_atom])
    for name in _shared(per_frame) - set(found):
        values = [np.asarray(row[name]) for row in per_frame]
        if all(value.dtype.kind in "biuf" and value.shape == values[0].shape for value in values):
            found[name] = np.stack(values)
    return {name: found[name] for name in sorted(found) if found[name].dtype.kind in "biuf"}


def _own(frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a frame has per atom and per structure, with what ASE puts aside as the results of a calculator."""
    per_atom, per_frame = dict(frame.arrays), dict(frame.info)
    for name, value in (frame.calc.results if frame.calc is not None else {}).items():
        (per_atom if name in _PER_ATOM else per_frame)[name] = value
    return per_atom, per_frame


def _shared(frames: list[dict[str, Any]]) -> set[str]:
    return set.intersection(*map(set, frames))

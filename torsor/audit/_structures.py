"""Calculators of energies and forces under everything that must not change them: for crystals, more than a group."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from torsor.audit._compare import LEAST_FLOOR
from torsor.audit._report import Report
from torsor.audit._verdict import Verdict, judge, worst_of
from torsor.audit.targets._ase import properties

_DRAWS = 3
"""Changes of each kind for each structure: some keep a property by chance, as even permutations keep a volume."""

_NOISE = 1e3
"""What is below this many eps of the energy, or of 1 eV, is nothing but rounding."""


@dataclass(frozen=True)
class StructureError:
    """The error of one property under one kind of change.

    Arguments:
        elements: what was changed, such as "supercells".
        output: "energy", "forces" or "stress".
        error: the mean over the structures of `|p' - p| / (|p'| + |p|)`, with `p` moved as it should be.
        largest: the largest of them.
        absolute: the largest difference: eV per atom, eV/Å or eV/Å^3.
        floor: what rounding the positions alone changes, at least 10 eps and at most sqrt(eps): more than that jumps.
        verdict: "exact", "approximate" or "broken".
        structures: how many structures the change makes sense for.
    """

    elements: str
    output: str
    error: float
    largest: float
    absolute: float
    floor: float
    verdict: Verdict
    structures: int


@dataclass(frozen=True, eq=False)
class StructuresReport(Report):
    """What a calculator makes of changes that are none: one entry for each kind of change and property."""

    errors: tuple[StructureError, ...]
    structures: int

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return worst_of([row.verdict for row in self.errors])

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name of the report."""
        return f"Changes of {self.structures} structures that are none: {self.verdict}"

    @property
    def words(self) -> str:  # type: ignore[override]
        """What changes the properties although it should not."""
        bad = [f"{row.elements} ({row.output} {row.error:.2g})" for row in self.errors if row.verdict != "exact"]
        return f"Not kept to rounding: {', '.join(bad)}." if bad else "Everything is kept to rounding."

    def records(self) -> list[dict[str, Any]]:
        """One row for each kind of change and property."""
        return [asdict(row) for row in self.errors]


def structures(
    calculator: Any,
    frames: Sequence[Any],
    *,
    outputs: Sequence[str] = ("energy", "forces"),
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> StructuresReport:
    """What an ASE calculator makes of the same structure, written differently.

    Rotations and reflections (of the cell too), translations, and permutations of identical atoms; for crystals also
    supercells of two cells (the energy per atom and the forces stay), other cells of the same lattice, and atoms that
    are moved by lattice vectors.

    Arguments:
        calculator: an ASE calculator.
        frames: structures, `ase.Atoms`; they are not changed.
        outputs: of "energy", "forces" and "stress" (where all frames are periodic in three directions).
        dtype: the precision in which the calculator computes: float32 for most learned potentials.
        seed: of the random changes.

    Raises:
        ValueError: there are no structures, or one has no atoms.

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> structures(EMT(), [bulk("Cu", cubic=True)]).verdict
    'exact'
    """
    if not len(frames) or not all(len(frame) for frame in frames):
        raise ValueError("frames must hold structures with atoms")
    frames, eps = list(frames), torch.finfo(dtype).eps
    random, names = np.random.default_rng(seed), tuple(outputs)
    bases = [properties(calculator, frame.copy(), names) for frame in frames]
    floors = dict.fromkeys(names, 0.0)
    for frame, base in zip(frames, bases, strict=True):
        rounded = frame.copy()
        rounded.positions *= 1 + eps * random.choice([-1, 1], rounded.positions.shape)
        found = properties(calculator, rounded, names)
        for name in names:
            change = _relative(name, found[name], base[name], base, eps)
            floors[name] = max(floors[name], min(change, eps**0.5))
    rows = []
    for kind, change in _CHANGES.items():
        pairs = []
        for frame, base in zip(frames * _DRAWS, bases * _DRAWS, strict=True):
            changed = change(frame.copy(), random)
            if changed is not None:
                atoms, move = changed
                pairs.append((properties(calculator, atoms, names), {n: move(n, base[n]) for n in names}, base, frame))
        rows += [_row(kind, name, pairs, max(floors[name], LEAST_FLOOR * eps), eps) for name in names if pairs]
    return StructuresReport(tuple(rows), len(frames))


def _row(kind: str, name: str, pairs: list[tuple], floor: float, eps: float) -> StructureError:
    errors = [_relative(name, found[name], moved[name], base, eps) for found, moved, base, _ in pairs]
    absolute = max(
        float(np.abs(found[name] - moved[name]).max()) / (len(frame) if name == "energy" else 1)
        for found, moved, _, frame in pairs
    )
    mean = float(np.mean(errors))
    return StructureError(
        kind, name, mean, max(errors), absolute, floor, judge(mean, floor, resampled=False), len(pairs) // _DRAWS
    )


def _relative(name: str, p: Any, q: Any, base: dict[str, Any], eps: float) -> float:
    """The relative distance of two values; 0 where both are rounding beside the energy."""
    size = float(np.linalg.norm(p) + np.linalg.norm(q))
    if not np.isfinite(size):
        return 1.0
    scale = max(1.0, abs(float(base.get("energy", 0.0))))  # eV, Å: energies of bonds
    return 0.0 if size <= _NOISE * eps * scale else float(np.linalg.norm(p - q)) / size


Change = Callable[[Any, np.random.Generator], tuple[Any, Callable[[str, Any], Any]] | None]


def _same(name: str, value: Any) -> Any:
    return value


def _turned(atoms: Any, random: np.random.Generator, sign: int) -> tuple[Any, Callable[[str, Any], Any]]:
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q = q * (sign * np.sign(np.linalg.det(q)))
    atoms.positions, cell = atoms.positions @ q.T, np.asarray(atoms.cell) @ q.T
    atoms.set_cell(cell)
    return atoms, lambda name, v: v @ q.T if name == "forces" else q @ v @ q.T if name == "stress" else v


def _shifted(atoms: Any, random: np.random.Generator) -> Any:
    atoms.positions += random.normal(size=3)
    return atoms, _same


def _permuted(atoms: Any, random: np.random.Generator) -> Any:
    order = np.arange(len(atoms))
    for number in set(atoms.numbers):
        same = np.flatnonzero(atoms.numbers == number)
        order[same] = random.permutation(same)
    if (order == np.arange(len(atoms))).all():
        order = order[::-1]  # no two atoms are alike, or the draw moved none: then all of them, with their kinds
    return atoms[order], lambda name, v: v[order] if name == "forces" else v


def _repeated(atoms: Any, random: np.random.Generator) -> Any:
    if not atoms.pbc.any():
        return None
    times = np.ones(3, int)
    times[random.choice(np.flatnonzero(atoms.pbc))] = 2

    def move(name: str, v: Any) -> Any:
        return 2 * v if name == "energy" else np.concatenate([v, v]) if name == "forces" else v

    return atoms.repeat(times), move


def _other_cell(atoms: Any, random: np.random.Generator) -> Any:
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) < 2:
        return None
    a, b = random.permutation(periodic)[:2]
    cell = np.array(atoms.cell)
    cell[a] += cell[b]  # determinant 1: the same lattice
    atoms.set_cell(cell)
    return atoms, _same


def _wrapped(atoms: Any, random: np.random.Generator) -> Any:
    if not atoms.pbc.any():
        return None
    atoms.positions += (random.integers(-1, 2, (len(atoms), 3)) * atoms.pbc) @ np.asarray(atoms.cell)
    return atoms, _same


_CHANGES: dict[str, Change] = {
    "rotations": lambda atoms, random: _turned(atoms, random, 1),
    "reflections": lambda atoms, random: _turned(atoms, random, -1),
    "translations": _shifted,
    "permutations": _permuted,
    "supercells": _repeated,
    "other cells": _other_cell,
    "lattice shifts": _wrapped,
}

"""QM9: small organic molecules with fifteen properties, from the wheel `qm9pack`, of which nothing is imported."""

import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from torsor.actions import Mask, Point, Scalar
from torsor.data._cache import Arrays, cache_folder, grown
from torsor.data._samples import Dataset, Samples
from torsor.groups import E
from torsor.symmetry import Symmetry

FILES = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv", "qm9_polarizability.csv")
HOW_TO_GET = "pip install qm9pack"
MOLECULES, LARGEST = 130_831, 29
# Our names, and the columns of the tables.
TARGETS = {
    "rotation_a": "RotA_GHz", "rotation_b": "RotB_GHz", "rotation_c": "RotC_GHz", "dipole": "Dipole_debye",
    "polarizability": "Polarizability_bohr3", "homo": "HOMO_au", "lumo": "LUMO_au", "gap": "HOMO_LUMO_gap_au",
    "r2": "R2_bohr2", "zpve": "ZPVE_au", "u0": "InternalEnergy_0K_au", "u298": "InternalEnergy_298K_au",
    "h298": "Enthalphy_298K_au", "g298": "GibbsFreeEnergy_298K_au", "cv": "Heatcapacity_Cv_cal_mol_K",
}  # fmt: skip
ANISOTROPY = "polarizability_anisotropy"
NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def qm9(
    target: str = "polarizability",
    train: int = 100_000,
    valid: int = 10_000,
    test: int = 10_000,
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Small organic molecules and one of their properties, which no motion and no reflection changes.

    Inputs `positions (B, 29, 3)` in angstrom, `species (B, 29)`, atomic numbers, and `mask (B, 29)`, true for atoms;
    target `(B, 1)` in the unit of the published table: GHz, debye, bohr^3, hartree, bohr^2, cal / (mol K).

    Arguments:
        target: `"dipole"`, `"polarizability"`, `"homo"`, `"lumo"`, `"gap"`, `"r2"`, `"zpve"`, `"u0"`, `"u298"`,
            `"h298"`, `"g298"`, `"cv"`, `"rotation_a"` to `"rotation_c"`, or `"polarizability_anisotropy"` from the
            tensors, of which nothing but invariants is of use: they are given in another frame than the positions.
        train, valid, test: numbers of molecules, 130831 together at most; `valid` may be 0.
        seed: of the order.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        ValueError: an unknown target, or a number that is not positive or too large.
        FileNotFoundError: the wheel is not installed; says how to get it.

    Source: Ramakrishnan et al. 2014 (doi 10.1038/sdata.2014.22).

    >>> qm9("alpha")
    Traceback (most recent call last):
    ValueError: target must be one of ...
    """
    if target not in (*TARGETS, ANISOTROPY):
        raise ValueError(f"target must be one of {', '.join((*TARGETS, ANISOTROPY))}; got {target!r}")
    if train < 1 or valid < 0 or test < 1 or train + valid + test > MOLECULES:
        raise ValueError(
            f"train and test must be at least 1, valid at least 0, and all at most {MOLECULES} together; got"
            f" {train}, {valid}, {test}"
        )
    arrays = grown(cache_folder() / "qm9.npz", MOLECULES, _read)
    order = np.random.default_rng(seed).permutation(MOLECULES)
    kind = dtype or torch.get_default_dtype()

    def samples(rows: np.ndarray) -> Samples:
        species = torch.as_tensor(arrays["species"][rows].astype(np.int64))
        positions = torch.as_tensor(arrays["positions"][rows], dtype=kind)
        targets = torch.as_tensor(arrays[target][rows], dtype=kind).unsqueeze(1)
        return Samples({"positions": positions, "species": species, "mask": species > 0}, targets)

    splits = np.split(order[: train + valid + test], [train, train + valid])
    learned, held, tested = map(samples, splits)
    return Dataset(
        f"qm9-{target}",
        learned,
        held if valid else None,
        tested,
        Symmetry(E(3), {"positions": Point(), "species": Scalar(), "mask": Mask()}, Scalar()),
        units="angstrom; the unit of the published table",
        source="Ramakrishnan et al. 2014 (doi 10.1038/sdata.2014.22), in the PyPI wheel qm9pack",
        licence="MIT",
        description=f"Organic molecules of up to nine heavy atoms, and their {target.replace('_', ' ')}.",
    )


def qm9_folder() -> Path:
    """Where the tables of the wheel `qm9pack` are.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec("qm9pack")
    for root in (found.submodule_search_locations or ()) if found else ():
        if all((Path(root) / "data" / name).is_file() for name in FILES):
            return Path(root) / "data"
    raise FileNotFoundError(f"QM9 is read from the wheel qm9pack, which is not installed: {HOW_TO_GET}")


def _read(start: int, stop: int) -> Arrays:
    folder = qm9_folder()
    positions = np.zeros((MOLECULES, LARGEST, 3))
    species = np.zeros((MOLECULES, LARGEST), np.uint8)
    values = {name: np.zeros(MOLECULES) for name in (*TARGETS, ANISOTROPY)}
    tensors = {row["XYZ_file"]: row for row in _rows(folder / FILES[3])}
    table = (row for name in FILES[:3] for row in _rows(folder / name))
    for number, row in enumerate(table):
        atoms = [NUMBERS[symbol] for symbol in row["Elements"].strip("[]").replace("'", "").split(",")]
        positions[number, : len(atoms)] = _numbers(row["XYZ_Ang"]).reshape(-1, 3)
        species[number, : len(atoms)] = atoms
        for name, column in TARGETS.items():
            values[name][number] = float(row[column])
        values[ANISOTROPY][number] = _anisotropy(tensors[row["XYZ_file"]])
    return {name: rows[start:stop] for name, rows in {"positions": positions, "species": species, **values}.items()}


def _numbers(text: str) -> np.ndarray:
    return np.array(text.replace("[", "").replace("]", "").split(","), dtype=float)  # "1." is no JSON


def _anisotropy(row: dict[str, str]) -> float:
    """`sqrt(3/2) |A - tr(A)/3|` of the tensor, in bohr^3."""
    xx, xy, yy, xz, yz, zz = (float(row[f"A_{name}"]) for name in ("xx", "xy", "yy", "xz", "yz", "zz"))
    squares = ((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) / 2 + 3 * (xy**2 + xz**2 + yz**2)
    return float(squares**0.5)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)

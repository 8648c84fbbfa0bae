"""Molecules with their energies and forces, generated or published."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from torsor.actions import Point, Scalar, Vector
from torsor.data import _bpa
from torsor.data._cache import Arrays
from torsor.data._samples import Dataset, Samples, check_sizes
from torsor.data._structures import read_structures
from torsor.groups import E
from torsor.symmetry import Symmetry

BPA_FILES = ("train_300K.xyz",)
ACAC_FILES = ("train_300K.xyz", "test_MD_300K.xyz")
BPA_ORIGIN = "Kovács et al. 2021 (doi 10.1021/acs.jctc.1c00647)"
ACAC_ORIGIN = "Batatia et al. 2022 (arXiv 2205.06643)"
UNITS = "angstrom; eV; eV / angstrom"
_HOW = "put {files} of BOTNet-datasets in $TORSOR_DATA/{folder}"


def bpa(
    train: int = 300,
    valid: int = 50,
    test: int = 100,
    *,
    labels: Literal["xtb", "pairs", "dft"] = "xtb",
    temperature: float = 300.0,
    seed: int = 0,
    root: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """3BPA, a flexible molecule of 27 atoms: positions to energy and forces, learned at 300 K, tested there or above.

    Inputs `positions (B, 27, 3)` in angstrom and `species (B, 27)`, atomic numbers; targets `energy (B, 1)` in eV, from
    the mean of the training set, and `forces (B, 27, 3)` in eV / angstrom. Generated structures are classical normal
    modes above 50 / cm about the minimum, at the temperature; they are kept in the cache folder.

    Arguments:
        train, valid, test: numbers of structures; `valid` may be 0.
        labels: `"xtb"`, GFN2-xTB by tblite, in a minute; `"pairs"`, Morse potentials between atoms that are close in
            the minimum, which need nothing installed; `"dft"`, the published structures, all at 300 K.
        temperature: of the test set, in K.
        seed: of the generated structures, and of the order of the published ones.
        root: the folder of the published file; by default `$TORSOR_DATA/3bpa`.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        ValueError: unknown labels, a number or temperature that is not positive, more published structures than there
            are, or another temperature of them.
        ImportError: `"xtb"` without tblite, `"dft"` without ASE.
        FileNotFoundError: `"dft"` without the file; says what to put where.

    Source: the molecule and the published labels of Kovács et al. 2021 (doi 10.1021/acs.jctc.1c00647); GFN2-xTB of
        Bannwarth, Ehlert, Grimme 2019 (doi 10.1021/acs.jctc.8b01176).

    >>> data = bpa(4, 0, 2, labels="pairs")
    >>> data.train.inputs["positions"].shape, data.train.targets["energy"].shape
    (torch.Size([4, 27, 3]), torch.Size([4, 1]))
    """
    check_sizes(train, valid, test)
    if labels not in ("xtb", "pairs", "dft"):
        raise ValueError(f'labels must be "xtb", "pairs" or "dft"; got {labels!r}')
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive, in K; got {temperature}")
    if labels == "dft":
        if temperature != 300:
            raise ValueError(f'labels="dft" are known at 300 K only; got temperature={temperature:g}')
        found = _published("3bpa", BPA_FILES[0], root)
        splits = _divided(found, (train, valid, test), seed)
        return _dataset("3bpa", splits, found["numbers"][0], dtype, BPA_ORIGIN, "MIT", "3BPA at 300 K, DFT.")
    splits = [
        _bpa.sampled(labels, split, kelvin, seed, size)
        for split, kelvin, size in (("train", 300, train), ("valid", 300, valid), ("test", temperature, test))
    ]
    how = "GFN2-xTB" if labels == "xtb" else "Morse potentials"
    words = f"Normal modes of 3BPA at 300 K, the test at {temperature:g} K, labelled by {how}."
    return _dataset(f"3bpa-{labels}", splits, _bpa.SPECIES, dtype, BPA_ORIGIN, "none needed: generated", words)


def acac(
    train: int = 450,
    valid: int = 50,
    test: int = 650,
    *,
    seed: int = 0,
    root: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Acetylacetone, 15 atoms, at 300 K by DFT: positions to energy and forces.

    Inputs `positions (B, 15, 3)` in angstrom and `species (B, 15)`, atomic numbers; targets `energy (B, 1)` in eV, from
    the mean of the training set, and `forces (B, 15, 3)` in eV / angstrom. The test set is a trajectory of its own.

    Arguments:
        train, valid: numbers of structures, 500 together; `valid` may be 0.
        test: number of structures, up to 650.
        seed: of the order of the training structures.
        root: the folder of the files; by default `$TORSOR_DATA/acac`.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        ValueError: a number is not positive, or more than there are.
        ImportError: without ASE, which reads the files.
        FileNotFoundError: the files are missing; says what to put where.

    Source: Batatia et al. 2022 (arXiv 2205.06643), PBE-D3 / def2-SVP.

    >>> acac()  # doctest: +SKIP
    Dataset('acac', train=450, valid=50, test=650, regression, E(3))
    """
    check_sizes(train, valid, test)
    found = _published("acac", ACAC_FILES[0], root)
    splits = [*_divided(found, (train, valid), seed), *_divided(_published("acac", ACAC_FILES[1], root), (test,), seed)]
    words = "Acetylacetone at 300 K, DFT."
    return _dataset("acac", splits, found["numbers"][0], dtype, ACAC_ORIGIN, "MIT", words)


def published_folder(name: str) -> Path:
    """The folder of published files below `$TORSOR_DATA`.

    Raises:
        FileNotFoundError: `$TORSOR_DATA` is not set.
    """
    if not (found := os.environ.get("TORSOR_DATA")):
        raise FileNotFoundError(f"$TORSOR_DATA is not set: {how_to_get(name)}, or give root")
    return Path(found).expanduser() / name


def how_to_get(name: str) -> str:
    """What to put where."""
    return _HOW.format(files=" and ".join(ACAC_FILES if name == "acac" else BPA_FILES), folder=name)


def _published(name: str, file: str, root: str | Path | None) -> Arrays:
    place = published_folder(name) if root is None else Path(root)
    if not (place / file).is_file():
        raise FileNotFoundError(f"{place} lacks {file}: {how_to_get(name)}")
    return read_structures(place / file)


def _divided(found: Arrays, sizes: tuple[int, ...], seed: int) -> list[Arrays]:
    have, need = len(found["energy"]), sum(sizes)
    if need > have:
        raise ValueError(f"the published file has {have} structures; got {' + '.join(map(str, sizes))}")
    order = np.random.default_rng(seed).permutation(have)[:need]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [{key: found[key][part] for key in ("positions", "energy", "forces")} for part in parts]


def _dataset(
    name: str, splits: list[Arrays], species: Any, dtype: torch.dtype | None, source: str, licence: str, words: str
) -> Dataset:
    dtype = dtype or torch.get_default_dtype()
    zero = splits[0]["energy"].mean()

    def samples(rows: Arrays) -> Samples:
        inputs = {
            "positions": torch.as_tensor(rows["positions"], dtype=dtype),
            "species": torch.as_tensor(species).repeat(len(rows["energy"]), 1),
        }
        energy = torch.as_tensor(rows["energy"] - zero, dtype=dtype).unsqueeze(1)
        return Samples(inputs, {"energy": energy, "forces": torch.as_tensor(rows["forces"], dtype=dtype)})

    train, valid, test = map(samples, splits)
    law = Symmetry(E(3), {"positions": Point(), "species": Scalar()}, {"energy": Scalar(), "forces": Vector()})
    return Dataset(name, train, valid if len(valid) else None, test, law, "regression", UNITS, source, licence, words)

"""Data sets from a user's own files: arrays, tables, or Python."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import file_digest
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torsor._imports import import_path
from torsor.data import Dataset, Samples, sources
from torsor.data._structures import read_structures
from torsor.study._file import DataSection
from torsor.study._words import nearest, parse_group

if TYPE_CHECKING:
    from torsor.symmetry import Symmetry

Arrays = Mapping[str, Any]

_LARGEST = 2**32
"""Files above this many bytes, unpacked, are refused: 4 GiB."""


def load_dataset(data: DataSection, symmetry: "Symmetry | None", folder: Path, title: str) -> Dataset:
    """The data set that the `[data]` section of a study file describes.

    Arguments:
        data: the section.
        symmetry: that of the study file, which replaces that of the data set.
        folder: where relative paths and the user's modules are.
        title: the name of a data set that has none.

    Raises:
        ValueError: a file or an array that is missing or does not fit; the message names it.
    """
    if data.name is not None:
        dataset = named_dataset(data.name, data.options)
    elif data.callable is not None:
        found = import_path(data.callable, folder)(**data.options)
        if not isinstance(found, Dataset | Samples):
            kind = type(found).__name__
            raise ValueError(f"{data.callable} must return a torsor.data.Dataset or torsor.data.Samples; got {kind}")
        dataset = found if isinstance(found, Dataset) else _divided(found, data, _needed(symmetry, data), title)
    elif data.files is not None:
        train, valid, test = (
            _samples(folder / data.files[split], data, symmetry) for split in ("train", "valid", "test")
        )
        whole = {"name": title, "symmetry": _needed(symmetry, data), "task": data.task}
        dataset = Dataset(**whole, train=train, valid=valid, test=test)
    else:
        dataset = _divided(_samples(folder / str(data.file), data, symmetry), data, _needed(symmetry, data), title)
    return dataset if symmetry is None else replace(dataset, symmetry=symmetry)


def named_dataset(name: str, options: Mapping[str, Any]) -> Dataset:
    """A data set of torsor, with options; a group among them is a text such as "C(4)".

    Raises:
        ValueError: an unknown name or option.
        FileNotFoundError: files are missing; says what to put where.
    """
    known = sources()
    if name not in known:
        raise ValueError(f"unknown data set {name!r}{nearest(name, list(known))}; allowed: {', '.join(known)}")
    parsed = {key: parse_group(x) if key == "group" and isinstance(x, str) else x for key, x in options.items()}
    try:
        return known[name].get(**parsed)
    except TypeError as error:
        raise ValueError(f"data set {name!r}: {error}") from error


def fingerprint(data: DataSection, folder: Path) -> dict[str, str]:
    """The SHA-256 of every file that the data come from: other contents are another configuration.

    Raises:
        ValueError: if a file is missing.
    """
    paths = [data.file] if data.file else list((data.files or {}).values())
    found = {}
    for path in paths:
        try:
            with open(folder / path, "rb") as file:
                found[path] = file_digest(file, "sha256").hexdigest()[:20]
        except OSError as error:
            raise ValueError(f"data file {folder / path}: {error.strerror or error}") from None
    return found


def read_arrays(path: Path) -> Arrays:
    """The arrays of a file by name; nothing in it is executed.

    Raises:
        ValueError: if the file is missing, damaged or of an unknown kind.
    """
    readers = {
        ".npz": _read_npz, ".pt": _read_pt, ".pth": _read_pt, ".safetensors": _read_safetensors, ".csv": _read_csv,
        ".parquet": _read_parquet, ".extxyz": read_structures, ".xyz": read_structures,
    }  # fmt: skip
    if path.suffix not in readers:
        raise ValueError(
            f"data file {path}: the kind must be one of {', '.join(readers)}; got {path.suffix or 'none'!r}"
        )
    if not path.is_file():
        raise ValueError(f"data file {path}: there is no such file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"data file {path} must have at most {_LARGEST} bytes; it has {path.stat().st_size}")
    try:
        return readers[path.suffix](path)
    except ImportError as error:
        raise ValueError(f"data file {path}: {error}") from None
    except Exception as error:
        raise ValueError(f"data file {path} cannot be read: {type(error).__name__}: {error}") from error


def _samples(path: Path, data: DataSection, symmetry: "Symmetry | None") -> Samples:
    arrays = read_arrays(path)
    dtype = getattr(torch, data.dtype)
    names = data.inputs if isinstance(data.inputs, dict) else {name: name for name in data.inputs or ()}
    inputs = {name: _pick(arrays, source, path, dtype) for name, source in names.items()}
    inputs = _arranged(inputs, symmetry)
    if isinstance(data.targets, dict):
        targets: Any = {name: _pick(arrays, source, path, dtype) for name, source in data.targets.items()}
    else:
        targets = _pick(arrays, data.targets, path, dtype)
    if data.task == "classification" and isinstance(targets, Tensor) and targets.is_floating_point():
        targets = targets.long() if bool((targets == targets.round()).all()) else targets
    try:
        return Samples(inputs, targets)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data file {path}: {error}") from None


def _arranged(inputs: dict[str, Tensor], symmetry: "Symmetry | None") -> Any:
    """The inputs in the order, and by the names or positions, in which the symmetry has its actions."""
    actions = None if symmetry is None else symmetry.inputs
    if isinstance(actions, Mapping):
        if set(actions) != set(inputs):
            raise ValueError(f"[data] has the inputs {', '.join(inputs)}, and [symmetry] has {', '.join(actions)}")
        return {name: inputs[name] for name in actions}
    return inputs if actions is None else tuple(inputs.values())


def _pick(arrays: Arrays, source: Any, path: Path, dtype: torch.dtype) -> Tensor:
    """One array, or several columns side by side."""
    names = [source] if isinstance(source, str) else list(source)
    for name in names:
        if name not in arrays:
            known = list(arrays)
            raise ValueError(f"data file {path} has no {name!r}{nearest(name, known)}; it has {', '.join(known)}")
    columns = [_tensor(arrays[name], name, path, dtype) for name in names]
    return columns[0] if isinstance(source, str) else torch.stack(columns, dim=-1)


def _tensor(array: Any, name: str, path: Path, dtype: torch.dtype) -> Tensor:
    if not isinstance(array, Tensor):
        array = np.asarray(array)
        if array.dtype.kind not in "biufc":
            raise ValueError(f"data file {path}: {name!r} must hold numbers; got {array.dtype}")
        array = torch.from_numpy(np.ascontiguousarray(array))
    return array.to(dtype) if array.is_floating_point() else array


def _divided(samples: Samples, data: DataSection, symmetry: "Symmetry", title: str) -> Dataset:
    """Train, validation and test at random, always the same for the same seed."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(data.split_seed))
    first, second = round(data.split[0] * len(order)), round((data.split[0] + data.split[1]) * len(order))
    bounds = ((0, first), (first, second), (second, len(order)))
    if any(stop <= start for start, stop in bounds):
        raise ValueError(f"{len(samples)} samples are too few to split into shares of {data.split}")
    train, valid, test = (samples[order[start:stop]] for start, stop in bounds)
    return Dataset(name=title, symmetry=symmetry, task=data.task, train=train, valid=valid, test=test)


def _needed(symmetry: "Symmetry | None", data: DataSection) -> "Symmetry":
    if symmetry is None:
        raise ValueError(f"data from {data.file or data.callable} need [symmetry]: the group, inputs and output")
    return symmetry


def _read_npz(path: Path) -> Arrays:
    _count_unpacked(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _count_unpacked(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        if sum(entry.file_size for entry in file.infolist()) > _LARGEST:
            raise ValueError(f"it must hold at most {_LARGEST} bytes")


def _read_pt(path: Path) -> Arrays:
    if zipfile.is_zipfile(path):
        _count_unpacked(path)
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:  # whose words advise to load it without weights_only
        raise ValueError(
            "it is a pickle of more than tensors, and unpickling runs whatever its author wrote into it: save a dict of"
            " tensors, or safetensors"
        ) from None
    if not isinstance(found, dict):
        raise TypeError(f"it must hold a dict of tensors; got {type(found).__name__}")
    return found


def _read_safetensors(path: Path) -> Arrays:
    from safetensors.torch import load_file

    return load_file(path)


def _read_csv(path: Path) -> Arrays:
    table = np.genfromtxt(
        path, delimiter=",", names=True, dtype=None, encoding="utf-8", deletechars="", replace_space=" "
    )
    if table.dtype.names is None:
        raise ValueError("its first line must name the columns")
    return {name: np.atleast_1d(table[name]) for name in table.dtype.names}


def _read_parquet(path: Path) -> Arrays:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise ImportError("parquet needs pyarrow: pip install 'torsor[tables]'") from None
    table = parquet.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}

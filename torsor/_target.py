"""What `torsor audit TARGET` names, and the inputs that it is audited on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor.actions import Action, Image, Irreps, Rep, Scalar
from torsor.audit.targets import Target
from torsor.study._comparison import accepts_names
from torsor.study._words import nearest, parse_action, parse_symmetry
from torsor.symmetry import Symmetry

ROWS = 5  # rows of a generated sample, where nothing is said
_SIDE = 16  # pixels of a generated image


@dataclass(frozen=True)
class Slot:
    """An input as the command line gives it, `name=word:shape`, where name and shape may be left out."""

    name: str
    word: str
    shape: tuple[int, ...] | None


def parse_slot(text: str) -> Slot:
    """The parts of `name=word:shape`.

    Raises:
        ValueError: if the shape cannot be read.

    >>> parse_slot("positions=point:5,3"), parse_slot("vector")
    (Slot(name='positions', word='point', shape=(5, 3)), Slot(name='', word='vector', shape=None))
    """
    name, equals, rest = text.rpartition("=")
    word, colon, shape = rest.partition(":")
    if equals and not name.strip():
        raise ValueError(f"--in {text!r}: there is no name before the =")
    try:
        sizes = tuple(int(size) for size in shape.split(",")) if colon else None
    except ValueError:
        raise ValueError(f"--in {text!r}: the shape of one sample must look like 5,3; got {shape!r}") from None
    if sizes is not None and min(sizes) < 1:
        raise ValueError(f"--in {text!r}: the sizes of a shape must be positive; got {shape!r}")
    return Slot(name.strip(), word.strip(), sizes)


def symmetry_of(target: Target, group: str, slots: Sequence[Slot], output: Sequence[str]) -> Symmetry:
    """The symmetry of the command line; inputs by name if the target has parameters of these names, else in order."""
    named = [slot for slot in slots if slot.name]
    if named and len(named) < len(slots):
        raise ValueError("--in: name all inputs or none of them")
    words: Any = {slot.name: slot.word for slot in slots} if named else [slot.word for slot in slots]
    if len(words) < len(slots):
        raise ValueError("--in: two inputs have the same name")
    if named and not _takes(target, list(words)):
        words = list(words.values())
    pairs = [word.rpartition("=") for word in output]
    if any(name for name, _, _ in pairs):
        out: Any = {name: word for name, _, word in pairs}
    else:
        out = output[0] if len(output) == 1 else list(output)
    return parse_symmetry(group, words, out)


def representations_of(texts: Sequence[str]) -> dict[str, Action]:
    """How named layers transform, from words such as `0.linear=irreps(8x0e+4x1o)`.

    Raises:
        ValueError: there is no name, or no such action.

    >>> representations_of(["0.linear=irreps(1x0e+2x1o)"])["0.linear"]
    Irreps('1x0e+2x1o')
    """
    found = {}
    for text in texts:
        name, _, word = text.partition("=")
        if not name.strip() or not word:
            raise ValueError(f"--layer must look like name=action, such as 0.linear=irreps(8x0e+4x1o); got {text!r}")
        found[name.strip()] = parse_action(word)
    return found


def slots_of(symmetry: Symmetry) -> list[Slot]:
    """The inputs of a symmetry as the command line would give them.

    Raises:
        ValueError: an input is a container of actions, which a file of arrays cannot fill.
    """
    actions = symmetry.inputs
    named = actions if isinstance(actions, Mapping) else dict.fromkeys(range(len(actions)))
    entries = actions.values() if isinstance(actions, Mapping) else actions
    if not all(isinstance(action, Action) for action in entries):
        raise ValueError(
            "--symmetry: each input must be one action; a container of actions needs torsor.audit in Python"
        )
    return [Slot(str(name) if isinstance(actions, Mapping) else "", str(a), None) for name, a in zip(named, entries)]


def entries(actions: Any) -> list[Action]:
    """The actions of the inputs of a symmetry, in order."""
    return list(actions.values()) if isinstance(actions, Mapping) else list(actions)


def inputs_for(
    symmetry: Symmetry, slots: Sequence[Slot], dtype: torch.dtype, data: Path | None, samples: int, seed: int = 0
) -> Any:
    """The inputs of the audit: arrays of a file, by the names of the inputs, or standard normal numbers.

    Raises:
        ValueError: if a name is missing in the file, or the shape of an input cannot be guessed.
    """
    actions = symmetry.inputs
    values = entries(actions)
    if data is None:
        generator = torch.Generator().manual_seed(seed)
        shapes = [slot.shape or _shape(action, symmetry, slot) for slot, action in zip(slots, values, strict=True)]
        tensors = [torch.randn(samples, *shape, generator=generator, dtype=dtype) for shape in shapes]
    else:
        tensors = _read(data, slots, samples, dtype)
    return dict(zip(actions, tensors, strict=True)) if isinstance(actions, Mapping) else tuple(tensors)


def dtype_of(target: Target, word: str) -> torch.dtype:
    """The precision of the audit: what the user says, else the target's own.

    Raises:
        ValueError: the word names no precision.
    """
    if not word:
        return target.dtype or torch.get_default_dtype()
    found = getattr(torch, word, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"--dtype must be float32 or float64; got {word!r}")
    return found


def guessed_shapes(slots: Sequence[Slot], values: Sequence[Tensor]) -> str:
    """What to say of inputs whose shapes nobody gave, if there are any."""
    guessed = [
        f"{slot.name or slot.word} {tuple(x.shape[1:])}"
        for slot, x in zip(slots, values, strict=True)
        if slot.shape is None
    ]
    if not guessed:
        return ""
    return f"the shapes of {', '.join(guessed)} are guesses: say them, as in --in positions=point:4,3"


def _read(data: Path, slots: Sequence[Slot], samples: int, dtype: torch.dtype) -> list[Tensor]:
    from torsor.study._sources import read_arrays

    arrays = read_arrays(data)
    padded = data.suffix in (".extxyz", ".xyz") and not np.all(arrays["mask"])
    if padded and not any(slot.name == "mask" for slot in slots):
        raise ValueError(f"data file {data}: its structures differ in size and are padded: add --in mask=mask")
    tensors = []
    for slot in slots:
        if not slot.name:
            raise ValueError("--data needs the names of its arrays: --in positions=point")
        x = torch.as_tensor(_array(arrays, slot.name, data))[:samples]
        tensors.append(x.to(dtype) if x.is_floating_point() else x)
    return tensors


def _array(arrays: Mapping[str, Any], name: str, data: Path) -> Any:
    """An array, or the columns `name_x`, `name_y`, ... of a table side by side."""
    if name in arrays:
        return arrays[name]
    columns = [key for key in arrays if key.startswith((f"{name}_", f"{name}."))]
    if columns:
        return np.stack([np.asarray(arrays[key]) for key in columns], axis=-1)
    raise ValueError(f"data file {data} has no {name!r}{nearest(name, list(arrays))}; it has {', '.join(arrays)}")


def _shape(action: Action, symmetry: Symmetry, slot: Slot) -> tuple[int, ...]:
    """The shape of a sample where nobody says: five rows, or one row `per sample`."""
    group = symmetry.group
    if isinstance(action, Image):
        return (1, *[_SIDE] * group.n)
    rows = () if action.per == "sample" else (ROWS,)
    for shape in ((*rows, group.n), (*rows, group.n, group.n), (ROWS, ROWS)):
        if isinstance(action, Scalar):
            return (*rows, 1)
        if isinstance(action, Irreps) or (isinstance(action, Rep) and action.dim(group) != group.n):
            return (*rows, action.dim(group))
        if action.event_shape_problem(group, shape) is None:
            return shape
    name = f"{slot.name}=" if slot.name else ""
    raise ValueError(
        f"--in {name}{slot.word}: say the shape of one sample, as in {name}{slot.word}:5,3, or give --data"
    )


def _takes(target: Target, names: Sequence[str]) -> bool:
    if not target.inputs:
        return accepts_names(target.function, list(names))
    known = [name for name in names if name in target.inputs or (target.kind == "ase" and name == "species")]
    if known and len(known) < len(names):
        unknown = next(name for name in names if name not in known)
        raise ValueError(f"{target.name} has no input {unknown!r}; it has {', '.join(target.inputs)}")
    return bool(known)

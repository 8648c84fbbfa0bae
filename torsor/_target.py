"""What `torsor audit TARGET` names, and the inputs that it is audited on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, isclass, signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torsor.actions import Action, Image, Irreps, Rep, Scalar
from torsor.study._comparison import accepts_names
from torsor.study._imports import import_path
from torsor.study._words import parse_symmetry
from torsor.symmetry import Symmetry

_ROWS = 5  # rows of a generated sample, where nothing is said
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


def load_target(path: str, slots: Sequence[Slot]) -> Callable[..., Any]:
    """The function or module that an import path names; a class or a function without arguments is called first.

    Raises:
        ValueError: if the path names nothing that can be called on the inputs.
    """
    factory = path.endswith("()")
    found = import_path(path.removesuffix("()"))
    if factory or isclass(found) or (not isinstance(found, nn.Module) and _takes_nothing(found)):
        found = found()
    if not callable(found):
        raise ValueError(f"{path!r} must name a function, a module or what makes one; got {type(found).__name__}")
    return found


def symmetry_of(target: Callable[..., Any], group: str, slots: Sequence[Slot], output: Sequence[str]) -> Symmetry:
    """The symmetry of the command line; inputs by name if the target has parameters of these names, else in order."""
    named = [slot for slot in slots if slot.name]
    if named and len(named) < len(slots):
        raise ValueError("--in: name all inputs or none of them")
    words: Any = {slot.name: slot.word for slot in slots} if named else [slot.word for slot in slots]
    if len(words) < len(slots):
        raise ValueError("--in: two inputs have the same name")
    if named and not accepts_names(target, list(words)):
        words = list(words.values())
    pairs = [word.rpartition("=") for word in output]
    if any(name for name, _, _ in pairs):
        out: Any = {name: word for name, _, word in pairs}
    else:
        out = output[0] if len(output) == 1 else list(output)
    return parse_symmetry(group, words, out)


def inputs_for(
    symmetry: Symmetry, slots: Sequence[Slot], target: Callable[..., Any], data: Path | None, samples: int, dtype: str
) -> Any:
    """The inputs of the audit: arrays of a file, by the names of the inputs, or standard normal numbers.

    Raises:
        ValueError: if a name is missing in the file, or the shape of an input cannot be guessed.
    """
    kind = _dtype(target, dtype)
    actions = symmetry.inputs
    values = list(actions.values()) if isinstance(actions, Mapping) else list(actions)
    if data is None:
        generator = torch.Generator().manual_seed(0)
        shapes = [slot.shape or _shape(action, symmetry, slot) for slot, action in zip(slots, values, strict=True)]
        tensors = [torch.randn(samples, *shape, generator=generator, dtype=kind) for shape in shapes]
    else:
        tensors = _read(data, slots, samples, kind)
    return dict(zip(actions, tensors, strict=True)) if isinstance(actions, Mapping) else tuple(tensors)


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
    tensors = []
    for slot in slots:
        if not slot.name:
            raise ValueError("--data needs the names of its arrays: --in positions=point")
        if slot.name not in arrays:
            raise ValueError(f"data file {data} has no {slot.name!r}; it has {', '.join(arrays)}")
        x = torch.as_tensor(arrays[slot.name])[:samples]
        tensors.append(x.to(dtype) if x.is_floating_point() else x)
    return tensors


def _shape(action: Action, symmetry: Symmetry, slot: Slot) -> tuple[int, ...]:
    """The shape of a sample where nobody says: five rows, or one row `per sample`."""
    group = symmetry.group
    if isinstance(action, Image):
        return (1, *[_SIDE] * group.n)
    rows = () if action.per == "sample" else (_ROWS,)
    for shape in ((*rows, group.n), (*rows, group.n, group.n), (_ROWS, _ROWS)):
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


def _dtype(target: Callable[..., Any], dtype: str) -> torch.dtype:
    if dtype:
        found = getattr(torch, dtype, None)
        if not isinstance(found, torch.dtype) or not found.is_floating_point:
            raise ValueError(f"--dtype must be float32 or float64; got {dtype!r}")
        return found
    parameters = target.parameters() if isinstance(target, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.get_default_dtype())


def _takes_nothing(function: Any) -> bool:
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return all(p.default is not Parameter.empty for p in parameters if p.kind not in kinds) and not any(
        p.kind in kinds for p in parameters
    )

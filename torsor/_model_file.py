"""What the file of a model says about its inputs and outputs: shapes, where channels are, and a first command."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torsor._target import ROWS, Slot, entries
from torsor.actions import Image
from torsor.audit.targets import Target
from torsor.symmetry import Symmetry

_FREE_SIDE = 64  # pixels of an image for a model that takes any size
_CHANNELS = (1, 3, 4)  # of an image


def with_shapes(slots: Sequence[Slot], symmetry: Symmetry, target: Target) -> list[Slot]:
    """The inputs with the shapes that the file of the model says, where the user says none.

    Sizes that it leaves free are guesses: 64 pixels, else five.
    """
    found = []
    for k, (slot, action) in enumerate(zip(slots, entries(symmetry.inputs), strict=True)):
        known = target.shapes.get(slot.name or (target.inputs[k] if k < len(target.inputs) else ""))
        if slot.shape is None and known:
            free = _FREE_SIDE if isinstance(action, Image) else ROWS
            slot = replace(slot, shape=tuple(free if n is None else n for n in known))
        found.append(slot)
    return found


def channels_first(target: Target, symmetry: Symmetry, slots: Sequence[Slot], values: Any) -> tuple[Target, Any]:
    """A model of images whose file says that their channels are last, as one of images whose channels are first."""
    actions = entries(symmetry.inputs)
    last = [
        isinstance(a, Image) and _channels_are_last(s.shape, a, symmetry) for s, a in zip(slots, actions, strict=True)
    ]
    if not any(last):
        return target, values

    named = {slot.name for slot, flag in zip(slots, last, strict=True) if flag}

    def forward(*args: Any, **kwargs: Any) -> Any:
        moved = [x.movedim(-3, -1) if flag else x for x, flag in zip(args, last, strict=False)]
        return target.function(*moved, **{k: x.movedim(-3, -1) if k in named else x for k, x in kwargs.items()})

    if isinstance(values, Mapping):
        values = {k: x.movedim(-1, -3) if k in named else x for k, x in values.items()}
    else:
        values = tuple(x.movedim(-1, -3) if flag else x for x, flag in zip(values, last, strict=True))
    return replace(target, function=forward), values


def _channels_are_last(shape: tuple[int, ...] | None, action: Image, symmetry: Symmetry) -> bool:
    return symmetry.group.n == 2 and len(shape or ()) == 3 and shape[-1] in _CHANNELS and shape[0] not in _CHANNELS  # type: ignore[index]


def usage(target: Target, single: bool = False) -> str:
    """What the file of a model says about its inputs and outputs, and a first command."""
    words = {name: _likely(target.shapes.get(name)) for name in (*target.inputs, *target.outputs)}
    group = "SO(2)" if "image" in words.values() else "SO(3)"
    out = [f"{name}={words[name] if words[name] == 'vector' else 'scalar'}" for name in target.outputs] or ["scalar"]
    command = ["torsor", "audit", target.name, *["--single"] * single, "--group", group]
    command += [part for name in target.inputs for part in ("--in", f"{name}={words[name]}")]
    command += [part for word in out for part in ("--out", word)]
    takes, gives = (
        ", ".join(f"{n} {_sizes(target.shapes.get(n), single)}" for n in ns) for ns in (target.inputs, target.outputs)
    )
    gives = f" and gives {gives}" if gives else ""
    return f"{target.name} takes {takes}{gives}. Say its symmetry, such as: {shlex.join(command)}"


def _likely(shape: tuple[int | None, ...] | None) -> str:
    if shape and len(shape) == 3 and {shape[0], shape[-1]} & set(_CHANNELS):
        return "image"
    return "vector" if shape and shape[-1] == 3 else "scalar"


def _sizes(shape: tuple[int | None, ...] | None, single: bool) -> str:
    axes = [*["batch"] * (not single), *("any" if n is None else str(n) for n in shape or ())]
    return "" if shape is None else f"({', '.join(axes)})"

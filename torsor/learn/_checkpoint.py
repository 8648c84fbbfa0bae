"""Checkpoints: tensors as safetensors, everything else as JSON, written whole or not at all.

A folder holds `checkpoint.json` and the file of tensors that it names with its checksum. The JSON file is replaced last
and in one step, so that whatever happens on the way, the checkpoint before stays valid.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torsor.data import _durable

_INDEX = "checkpoint.json"
_TENSORS = "tensors-*.safetensors"
_FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint belongs to another training."""


def save(folder: Path, state: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Write a state.

    Arguments:
        folder: made if it is not there.
        state: containers of tensors, numbers, words, booleans and None.
        summary: what stands in plain JSON beside it, for readers and for comparison.

    Raises:
        TypeError: something in the state is none of these; says where.
    """
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    plain = _pack(state, "state", tensors)
    content = to_bytes({key: x.detach().clone(memory_format=torch.contiguous_format) for key, x in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    index = {"format": _FORMAT, **summary, "tensors": f"tensors-{digest[:16]}.safetensors", "sha256": digest}
    head = json.dumps(index, allow_nan=False, indent=1)
    text = f'{head[:-2]},\n "state": {json.dumps(plain, allow_nan=False)}\n}}\n'
    _durable.write(folder / index["tensors"], lambda part: part.write_bytes(content))
    _durable.write(folder / _INDEX, lambda part: part.write_text(text))
    for old in (*folder.glob(_TENSORS), *folder.glob(".*.part")):
        if old.name != index["tensors"]:
            old.unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The state and the summary of a checkpoint; None where there is none, or a damaged one.

    A damaged checkpoint is renamed, never overwritten; a warning says where it is.
    """
    from safetensors.torch import load as from_bytes

    if not (folder / _INDEX).exists():
        return None
    try:
        index = json.loads((folder / _INDEX).read_text())
        if index["format"] != _FORMAT:
            raise ValueError(f"its format is {index['format']!r}, and this version reads {_FORMAT}")
        content = (folder / Path(index["tensors"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != index["sha256"]:
            raise ValueError(f"{index['tensors']} does not have the checksum that {_INDEX} names")
        return _unpack(index.pop("state"), from_bytes(content)), index
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        aside = [_durable.set_aside(path) for path in (folder / _INDEX, *folder.glob(_TENSORS)) if path.exists()]
        warnings.warn(
            f"the checkpoint in {folder} cannot be read ({type(error).__name__}: {error}); it is kept there as"
            f" {', '.join(path.name for path in aside)}, and training starts from the beginning",
            stacklevel=3,
        )
        return None


def _pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON; tensors go to `tensors` and leave their name behind.

    Dicts, tuples, tensors and numbers that JSON lacks are written as `{"kind": content}`.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Tensor):
        while where in tensors:
            where += "~"
        tensors[where] = value
        return {"tensor": where}
    if isinstance(value, Mapping):
        items = [(key, _pack(part, f"{where}.{key}", tensors)) for key, part in value.items()]
        if any(not isinstance(key, str | int) or isinstance(key, bool) for key, _ in items):
            raise TypeError(f"a checkpoint holds dicts with words and integers as keys; {where} has other keys")
        return {"dict": [list(item) for item in items]}
    if isinstance(value, list | tuple):
        parts = [_pack(part, f"{where}[{i}]", tensors) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    raise TypeError(
        f"a checkpoint holds tensors, numbers, words and containers of these; {where} is a {type(value).__name__}"
    )


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(part, tensors) for part in content)
    if kind == "float":
        return float(content)
    if kind == "dict":
        return {key: _unpack(part, tensors) for key, part in content}
    raise ValueError(f"{_INDEX} holds the unknown kind {kind!r}")

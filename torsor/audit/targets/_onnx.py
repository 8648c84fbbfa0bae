"""ONNX files, run by onnxruntime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor.audit.targets._chunks import in_chunks, one_by_one
from torsor.audit.targets._numpy import array, tensor
from torsor.audit.targets._target import Target, checked_file

_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(int16)": "int16", "tensor(int8)": "int8", "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}  # fmt: skip


def onnx_target(path: str | Path, *, single: bool = False) -> Target:
    """An ONNX model as a callable on tensors, with the names of its inputs and outputs.

    Inputs are cast to the types that the graph declares, but real numbers not to whole ones. No gradient, no float64
    copy, no layers. A graph with a fixed batch size is called in batches of that size, one that takes a `single` sample
    once for each. Outputs that are no tensors (such as maps of class names) are left out. Operators that are not ONNX's
    own need libraries, and none is loaded.

    Raises:
        ImportError: onnxruntime is not there.
        ValueError: the file is missing, too large, or no ONNX model that onnxruntime can run.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError("an ONNX model needs onnxruntime: pip install 'torsor[onnx]'") from None
    path = checked_file(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{str(path)!r} is no ONNX model that onnxruntime can run: {error}") from None
    slots, types = {slot.name: slot for slot in session.get_inputs()}, {}
    for name, slot in slots.items():
        if slot.type not in _TYPES:
            raise ValueError(f"{str(path)!r}: input {name!r} must be a tensor of numbers; it is {slot.type}")
        types[name] = np.dtype(_TYPES[slot.type])
    outputs = tuple(out.name for out in session.get_outputs() if out.type in _TYPES)
    if not outputs or not slots:
        raise ValueError(f"{str(path)!r} has no input or no output that is a tensor of numbers")

    def choose(names: tuple[str, ...]) -> Any:
        def run(*args: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
            given = dict(zip(slots, args, strict=False)) | kwargs
            if set(given) != set(slots) or len(args) > len(slots):
                raise TypeError(f"the model takes {', '.join(slots)}; got {len(args)} values and {', '.join(kwargs)}")
            feed = {name: _cast(name, array(x), types[name]) for name, x in given.items()}
            device = next(iter(given.values())).device
            return {n: tensor(y, device) for n, y in zip(names, session.run(list(names), feed), strict=True)}

        return one_by_one(run) if single else in_chunks(run, _batch_size(slots.values()))

    floating = [str(kind) for kind in types.values() if kind.kind == "f"]
    dtype = getattr(torch, floating[0]) if floating else None
    both = [*slots.values(), *(out for out in session.get_outputs() if out.name in outputs)]
    axes = {s.name: s.shape if single else s.shape[1:] for s in both if s.shape}
    shapes = {name: tuple(n if isinstance(n, int) else None for n in sizes) for name, sizes in axes.items()}
    return Target(str(path), "onnx", choose(outputs), tuple(slots), outputs, dtype, choose=choose, shapes=shapes)


def _cast(name: str, x: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind.kind in "iu" and x.dtype.kind == "f" and (x != np.rint(x)).any():
        raise ValueError(f"input {name!r} takes whole numbers ({kind}); got {x[x != np.rint(x)][0]:.3g}")
    return np.ascontiguousarray(x.astype(kind))


def _batch_size(slots: Any) -> int | None:
    """The one size of batch that a graph takes; None where it takes any."""
    sizes = {slot.shape[0] for slot in slots if slot.shape and isinstance(slot.shape[0], int)}
    return sizes.pop() if len(sizes) == 1 else None

"""Constants of the routes: made in float64 once, handed out in any dtype and on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

_MADE: dict[tuple, Any] = {}


@torch.compiler.assume_constant_result
def constants(
    build: Callable[..., tuple[np.ndarray, ...]], *arguments: Any, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """What `build(*arguments)` gives as tensors: real ones in this dtype, complex ones in its partner.

    A compiled graph holds them as constants.
    """
    key = build, arguments, dtype, device
    if key not in _MADE:
        # plain tensors, whatever mode or transform the first call comes from
        with torch.inference_mode(False), torch.no_grad(), temporarily_clear_interpreter_stack():
            _MADE[key] = tuple(_cast(array, dtype, device) for array in build(*arguments))
    return _MADE[key]


def _cast(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if tensor.is_complex():
        dtype = dtype.to_complex()
    elif not tensor.is_floating_point():
        dtype = tensor.dtype
    return tensor.to(device, dtype)

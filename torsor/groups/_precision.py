"""Group elements are never computed in half precision: autocast is switched off inside, half tensors are widened."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
HALF = (torch.float16, torch.bfloat16)


def full_precision(function: F) -> F:
    """Run `function` in float32 or wider, whatever autocast says; half-precision arguments give half-precision results."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not tensors:
            return function(*args, **kwargs)
        kind = tensors[0].device.type
        if tensors[0].dtype in HALF:
            half = tensors[0].dtype
            wide = [a.float() if isinstance(a, Tensor) and a.dtype in HALF else a for a in args]
            return _narrow(inner(*wide, **kwargs), half)
        if torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return inner  # type: ignore[return-value]


def _narrow(result: Any, dtype: torch.dtype) -> Any:
    if isinstance(result, Tensor):
        return result.to(dtype) if result.is_floating_point() else result
    if isinstance(result, tuple):
        parts = [_narrow(r, dtype) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result

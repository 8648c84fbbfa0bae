"""Group elements are never computed in half precision: autocast is switched off inside, half tensors are widened."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
HALF = (torch.float16, torch.bfloat16)


def without_autocast(function: F) -> F:
    """Run `function` in the dtypes of its arguments, whatever autocast says."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        kind = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        if not torch.is_autocast_enabled(kind):
            return function(*args, **kwargs)
        with torch.autocast(kind, enabled=False):
            return function(*args, **kwargs)

    return inner  # type: ignore[return-value]


def full_precision(function: F) -> F:
    """Run `function` in float32 or wider, whatever autocast says; half-precision input gives half-precision results."""
    inside = without_autocast(function)

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        first = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
        if first is None or first.dtype not in HALF:
            return inside(*args, **kwargs)
        wide = {name: _widen(a) for name, a in kwargs.items()}
        return _narrow(inside(*[_widen(a) for a in args], **wide), first.dtype)

    return inner  # type: ignore[return-value]


def drawn_precisely(function: F) -> F:
    """Run a function with keywords `dtype` and `device` in float32 or wider, whatever autocast says of its device."""

    @functools.wraps(function)
    def inner(*args: Any, dtype: torch.dtype | None = None, device: Any = None, **kwargs: Any) -> Any:
        wide = torch.float32 if dtype in HALF else dtype
        with torch.autocast(torch.device("cpu" if device is None else device).type, enabled=False):
            result = function(*args, dtype=wide, device=device, **kwargs)
        return result if wide is dtype else _narrow(result, dtype)  # type: ignore[arg-type]

    return inner  # type: ignore[return-value]


def _widen(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) and argument.dtype in HALF else argument


def _narrow(result: Any, dtype: torch.dtype) -> Any:
    if isinstance(result, Tensor):
        return result.to(dtype) if result.is_floating_point() else result
    if isinstance(result, tuple):
        parts = [_narrow(r, dtype) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result

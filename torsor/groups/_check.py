"""Checks at the door: dimensions, shapes, dtypes. They read metadata only: compile and vmap see nothing of them."""

from __future__ import annotations

import operator

import torch
from torch import Tensor


def check_dimension(value: object, what: str, minimum: int = 1) -> int:
    """A whole number of at least `minimum`, or ValueError."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < minimum:
        raise ValueError(f"{what} must be a whole number of at least {minimum}; got {value!r}")
    return number


def check_matrices(g: object, m: int, group: object, name: str = "g") -> None:
    """A floating or complex tensor of shape (..., m, m), or TypeError / ValueError."""
    if not isinstance(g, Tensor):
        raise TypeError(f"{name} must be a tensor of shape (..., {m}, {m}) for {group}; got {type(g).__name__}")
    if not (g.is_floating_point() or g.is_complex()):
        raise TypeError(f"{name} must be a floating-point tensor for {group}; got {g.dtype}")
    if g.ndim < 2 or g.shape[-1] != m or g.shape[-2] != m:
        raise ValueError(f"{name} must be (..., {m}, {m}) for {group}; got shape {tuple(g.shape)}")


def check_coordinates(v: object, dim: int, group: object, name: str = "v") -> None:
    """A floating tensor of shape (..., dim), or TypeError / ValueError."""
    if not isinstance(v, Tensor):
        raise TypeError(f"{name} must be a tensor of shape (..., {dim}) for {group}; got {type(v).__name__}")
    if not v.is_floating_point():
        raise TypeError(f"{name} must be a real floating-point tensor for {group}; got {v.dtype}")
    if v.ndim < 1 or v.shape[-1] != dim:
        raise ValueError(f"{name} must be (..., {dim}) for {group}; got shape {tuple(v.shape)}")


def check_same_kind(g: Tensor, h: Tensor, names: str = "g and h") -> None:
    """The same dtype and device, or TypeError that names both."""
    if g.dtype != h.dtype:
        raise TypeError(f"{names} must have the same dtype; got {g.dtype} and {h.dtype}")
    if g.device != h.device:
        raise TypeError(f"{names} must be on the same device; got {g.device} and {h.device}")


def real_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The real floating dtype that a caller means: the default one for None, the parts' one for a complex dtype."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype.is_complex:
        return dtype.to_real()
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating-point type; got {dtype}")
    return dtype

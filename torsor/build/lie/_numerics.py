"""Precision and memory: elements are never in half precision, images have their channels last."""

import torch
from jaxtyping import Float
from torch import Tensor


def channels_last(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The same images, channels last in memory; unlike `contiguous(memory_format=...)`, under `vmap` too."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def exactly(x: Tensor) -> torch.autocast:
    """Where elements and kernels are computed: not in the precision of autocast."""
    return torch.autocast(x.device.type, enabled=False)


def check_real(x: Tensor, name: str) -> None:
    """Raises:
    TypeError: not floating point.
    """
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point; got {x.dtype}")


def check_widths(**widths: int) -> None:
    """Raises:
    ValueError: one of them is no whole number of at least 1.
    """
    for name, value in widths.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be at least 1; got {value!r}")

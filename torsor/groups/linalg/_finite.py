"""LAPACK refuses whole batches for one NaN: put the identity in its place, and NaN back into the results."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def make_finite(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(the matrices with those that are not finite replaced by the identity, mask (*batch,) of the finite ones)."""
    ok = (0 * matrix.detach()).sum((-2, -1)) == 0  # 0 times what is not finite is NaN
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return torch.where(ok[..., None, None], matrix, eye), ok


def nan_unless(ok: Tensor, values: Tensor) -> Tensor:
    """`values` where ok, NaN elsewhere; ok has the leading axes of values."""
    return torch.where(ok.reshape((*ok.shape, *[1] * (values.ndim - ok.ndim))), values, math.nan)

"""Invertible matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension, real_dtype
from torsor.groups._matrix import GroupOfMatrices
from torsor.groups._orthogonal import SO


@dataclass(frozen=True, repr=False)
class GLPlus(GroupOfMatrices):
    """The matrices of R^n with positive determinant."""

    n: int
    is_connected = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    @property
    def dim(self) -> int:
        return self.n**2

    def parity(self, g: Tensor) -> Tensor:
        return torch.ones_like(g[..., 0, 0])

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.eye(self.dim, dtype=real_dtype(dtype), device=device).view(self.dim, self.n, self.n)

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        gauss = 0.25 * torch.randn(*shape, self.n, self.n, generator=generator, dtype=dtype, device=device)
        R = SO(self.n).sample(*shape, generator=generator, dtype=dtype, device=device)
        return torch.matrix_exp((gauss + gauss.mT) / 2) @ R

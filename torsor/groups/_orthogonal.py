"""Rotations and reflections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension, real_dtype
from torsor.groups._matrix import GroupOfMatrices


class _Rotations(GroupOfMatrices):
    """What SO(n) and O(n) share: the algebra of skew matrices."""

    is_compact = is_orthogonal = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    @property
    def dim(self) -> int:
        return self.n * (self.n - 1) // 2

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        i, j = torch.triu_indices(self.n, self.n, 1, device=device)
        if self.n == 3:  # rotation vector: e_k turns about axis k
            i, j = i.new_tensor([1, 2, 0]), i.new_tensor([2, 0, 1])
        length = 1.0 if self.n <= 3 else math.sqrt(0.5)
        k = torch.arange(self.dim, device=device)
        basis = torch.zeros(self.dim, self.n, self.n, dtype=real_dtype(dtype), device=device)
        basis[k, j, i], basis[k, i, j] = length, -length
        return basis

    def _orthogonal(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        gauss = torch.randn(*shape, self.n, self.n, generator=generator, dtype=dtype, device=device)
        Q, R = torch.linalg.qr(gauss)
        return Q * torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1, 1)[..., None, :].to(dtype)


@dataclass(frozen=True, repr=False)
class SO(_Rotations):
    """The rotations of R^n."""

    n: int
    is_connected = exp_is_surjective = True

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n <= 2

    @property
    def order(self) -> int | None:
        return 1 if self.n == 1 else None

    def parity(self, g: Tensor) -> Tensor:
        return torch.ones_like(g[..., 0, 0])

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        Q = self._orthogonal(shape, generator, dtype, device)
        return torch.cat([Q[..., :1] * torch.linalg.det(Q)[..., None, None].sign(), Q[..., 1:]], -1)


@dataclass(frozen=True, repr=False)
class O(_Rotations):  # noqa: E742
    """The rotations and reflections of R^n."""

    n: int

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n == 1

    @property
    def order(self) -> int | None:
        return 2 if self.n == 1 else None

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        return self._orthogonal(shape, generator, dtype, device)

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        mirror = torch.eye(self.n, dtype=real_dtype(dtype), device=device)
        mirror[0, 0] = -1
        return mirror[None]

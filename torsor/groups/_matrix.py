"""Groups whose elements are matrices (*batch, m, m)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_matrices, check_same_kind, real_dtype
from torsor.groups._group import Group


class GroupOfMatrices(Group):
    """What groups of matrices share: products, the Lie algebra through a basis, exp by `matrix_exp`."""

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.eye(self.matrix_dim, dtype=real_dtype(dtype), device=device).repeat(*batch, 1, 1)

    def batch_shape(self, g: Tensor) -> tuple[int, ...]:
        return tuple(g.shape[:-2])

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        check_matrices(h, self.matrix_dim, self, "h")
        check_same_kind(g, h)
        return g @ h

    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        return g.mT if self.is_orthogonal else torch.linalg.inv(g)

    def linear(self, g: Tensor) -> Tensor:
        return g[..., : self.n, : self.n]

    def translation(self, g: Tensor) -> Tensor | None:
        return g[..., : self.n, self.n] if self.is_affine else None

    def parity(self, g: Tensor) -> Tensor:
        return torch.linalg.det(self.linear(g)).sign()

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Tensor:
        """The element with this linear part (*batch, n, n) and, for affine groups, this translation (*batch, n)."""
        if translation is not None:
            raise ValueError(f"translation must be None for {self}, which has none; got shape {tuple(translation.shape)}")
        return linear

    def hat(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        return torch.einsum("...k,kij->...ij", v, self.basis(v.dtype, v.device))

    def exp(self, v: Tensor) -> Tensor:
        return torch.matrix_exp(self.hat(v))

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.empty(0, self.matrix_dim, self.matrix_dim, dtype=real_dtype(dtype), device=device)

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        raise NotImplementedError

    def sample(
        self,
        *shape: int,
        proposal: Any = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        return self._draw(shape, generator, real_dtype(dtype), device)

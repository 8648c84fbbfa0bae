"""Linear groups with translations: homogeneous matrices [[A, t], [0, 1]]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension, check_matrices, real_dtype
from torsor.groups._finite import Trivial
from torsor.groups._linear import GLPlus
from torsor.groups._matrix import GroupOfMatrices
from torsor.groups._orthogonal import SO, O


class AffineGroup(GroupOfMatrices):
    """R^n with a linear group H: x -> A x + t with A in H."""

    is_affine = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    @property
    def linear_group(self) -> GroupOfMatrices:
        """The group H of the linear parts."""
        raise NotImplementedError

    @property
    def matrix_dim(self) -> int:
        return self.n + 1

    @property
    def dim(self) -> int:
        return self.linear_group.dim + self.n

    @property
    def is_connected(self) -> bool:  # type: ignore[override]
        return self.linear_group.is_connected

    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        A = self.linear_group.inverse(self.linear(g))
        return self.from_parts(A, -(A @ g[..., : self.n, self.n :])[..., 0])

    def parity(self, g: Tensor) -> Tensor:
        return self.linear_group.parity(self.linear(g))

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Tensor:
        if translation is None:
            translation = torch.zeros_like(linear[..., 0])
        batch = torch.broadcast_shapes(linear.shape[:-2], translation.shape[:-1])
        top = torch.cat([linear.expand(*batch, self.n, self.n), translation[..., None].expand(*batch, self.n, 1)], -1)
        bottom = torch.cat([torch.zeros_like(top[..., :1, :-1]), torch.ones_like(top[..., :1, -1:])], -1)
        return torch.cat([top, bottom], -2)

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        linear = self.linear_group.basis(dtype, device)
        shifts = torch.zeros(self.n, self.n + 1, self.n + 1, dtype=real_dtype(dtype), device=device)
        shifts[:, : self.n, self.n] = torch.eye(self.n, dtype=shifts.dtype, device=device)
        return torch.cat([torch.nn.functional.pad(linear, (0, 1, 0, 1)), shifts])

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.from_parts(self.linear_group.discrete_generators(dtype, device))

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        A = self.linear_group.sample(*shape, generator=generator, dtype=dtype, device=device)
        return self.from_parts(A, torch.randn(*shape, self.n, generator=generator, dtype=dtype, device=device))


@dataclass(frozen=True, repr=False)
class SE(AffineGroup):
    """Rotations and translations of R^n."""

    n: int

    @property
    def linear_group(self) -> GroupOfMatrices:
        return SO(self.n)


@dataclass(frozen=True, repr=False)
class E(AffineGroup):
    """Rotations, reflections and translations of R^n."""

    n: int

    @property
    def linear_group(self) -> GroupOfMatrices:
        return O(self.n)


@dataclass(frozen=True, repr=False)
class Translation(AffineGroup):
    """Translations of R^n."""

    n: int
    is_abelian = exp_is_surjective = True

    @property
    def linear_group(self) -> GroupOfMatrices:
        return Trivial(self.n)


@dataclass(frozen=True, repr=False)
class Affine(AffineGroup):
    """Affine maps of R^n with linear part in `linear` (GLPlus(n) by default)."""

    n: int
    linear_part: GroupOfMatrices | None = None

    @property
    def linear_group(self) -> GroupOfMatrices:
        return GLPlus(self.n) if self.linear_part is None else self.linear_part

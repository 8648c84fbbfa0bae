"""Complex rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._bases import skew_hermitian_basis, traceless_diagonals
from torsor.groups._check import check_dimension, check_matrices, real_dtype
from torsor.groups._haar import random_unitary
from torsor.groups._log import Logarithm
from torsor.groups._matrix import GroupOfMatrices
from torsor.groups._precision import full_precision
from torsor.groups.linalg._compact import log_unitary
from torsor.groups.linalg._finite import make_finite, nan_unless


class Unitary(GroupOfMatrices):
    """What U(n) and SU(n) share. Elements are complex matrices; dtypes that are asked for may be real or complex."""

    n: int
    is_compact = is_connected = exp_is_surjective = True
    is_special = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    def _dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        return real_dtype(dtype).to_complex()

    def _check(self, g: Tensor) -> None:
        check_matrices(g, self.n, self)
        if not g.is_complex():
            raise TypeError(f"g must be a complex tensor for {self}; got {g.dtype}")

    def inverse(self, g: Tensor) -> Tensor:
        self._check(g)
        return g.mH

    @full_precision
    def _log(self, g: Tensor) -> tuple[Tensor, None]:
        self._check(g)
        return Logarithm.apply(g, self), None

    def _log_values(self, g: Tensor) -> Tensor:
        return self.vee(log_unitary(g, special=self.is_special).to(g.dtype))

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        self._check(g)
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        return self._all_close(g.mH @ g, eye, self._atol(g, atol))

    def project(self, g: Tensor) -> Tensor:
        self._check(g)
        g, ok = make_finite(g)
        U, _, Vh = torch.linalg.svd(g)
        return nan_unless(ok, U @ Vh)

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """|log g|_F from the eigenangles: the angle for U(1)."""
        self._check(g)
        g, ok = make_finite(g.detach())
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        angles = 2 * torch.atan2(torch.linalg.svdvals(g - eye), torch.linalg.svdvals(g + eye).flip(-1))
        return nan_unless(ok, torch.linalg.vector_norm(angles, dim=-1))


@dataclass(frozen=True, repr=False)
class U(Unitary):
    """The unitary matrices of C^n. Coordinates: orthonormal for Re tr(X^H Y), diagonals first.

    >>> import torch
    >>> from torsor.groups import U
    >>> U(1).exp(torch.tensor([torch.pi])).real
    tensor([[-1.]])
    """

    n: int

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n**2

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n == 1

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return skew_hermitian_basis(self.n, real_dtype(dtype), device)

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return random_unitary(self.n, shape, generator, dtype, device)


@dataclass(frozen=True, repr=False)
class SU(Unitary):
    """The unitary matrices of C^n with determinant 1. Coordinates: orthonormal for Re tr(X^H Y), diagonals first.

    >>> import torch
    >>> from torsor.groups import SU
    >>> g = SU(2).sample(generator=torch.Generator().manual_seed(0))
    >>> bool(SU(2).contains(g))
    True
    """

    n: int
    is_special = True

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n**2 - 1

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return 1 if self.n == 1 else None

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n == 1

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        dtype = real_dtype(dtype)
        return torch.cat(
            [1j * traceless_diagonals(self.n, dtype, device), skew_hermitian_basis(self.n, dtype, device)[self.n :]]
        )

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        return super().contains(g, atol) & ((torch.linalg.det(g) - 1).abs() <= self._atol(g, atol))

    def project(self, g: Tensor) -> Tensor:
        """The unitary factor, divided by the principal n-th root of its determinant."""
        g = super().project(g)
        phase = torch.linalg.det(g).angle() / self.n
        return g * torch.polar(torch.ones_like(phase), -phase)[..., None, None]

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        g = random_unitary(self.n, shape, generator, dtype, device)
        return torch.cat([g[..., :1] / torch.linalg.det(g)[..., None, None], g[..., 1:]], -1)

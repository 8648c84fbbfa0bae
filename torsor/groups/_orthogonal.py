"""Rotations and reflections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._bases import skew_basis
from torsor.groups._check import check_coordinates, check_dimension, check_matrices, real_dtype
from torsor.groups._haar import random_orthogonal, random_rotation
from torsor.groups._log import Logarithm
from torsor.groups._matrix import GroupOfMatrices, angle_size
from torsor.groups._precision import full_precision
from torsor.groups._rotations import (
    angle_from_rotation,
    cross_matrix,
    rotation_from_vector,
    shift_of_exp_2,
    shift_of_exp_3,
    shift_of_log_2,
    shift_of_log_3,
    turn,
    vector_from_rotation,
)
from torsor.groups.linalg import nearest_rotation, polar
from torsor.groups.linalg._compact import log_rotation


class Orthogonal(GroupOfMatrices):
    """What SO(n) and O(n) share: the algebra of skew matrices."""

    is_compact = is_orthogonal = True
    decompositions = ("polar", "lq", "qr", "kak")

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n * (self.n - 1) // 2

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """n = 2: the angle. n = 3: rotation vectors. Else orthonormal, (E_ji - E_ij)/sqrt(2) for i < j."""
        dtype = real_dtype(dtype)
        if self.n == 2:
            return torch.tensor([[[0, -1], [1, 0]]], dtype=dtype, device=device)
        if self.n == 3:
            return cross_matrix(torch.eye(3, dtype=dtype, device=device))
        return skew_basis(self.n, dtype, device)

    @full_precision
    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        if self.n == 2:
            return turn(v[..., 0].cos(), v[..., 0].sin())
        return rotation_from_vector(v) if self.n == 3 else torch.matrix_exp(self.hat(v))

    @full_precision
    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        check_matrices(g, self.n, self)
        if self.n == 2:
            v, ok = angle_from_rotation(g)[..., None], None
        elif self.n == 3:
            v, ok = vector_from_rotation(g), None
        else:
            v, ok = Logarithm.apply(g, self), None
        if self.is_connected:
            return v, ok
        proper = ~(torch.linalg.det(g) < 0)
        return v, proper if ok is None else ok & proper

    def _log_values(self, g: Tensor) -> Tensor:
        return self.vee(log_rotation(g).to(g.dtype))

    def _exp_shift(self, u: Tensor, v: Tensor) -> Tensor:
        if self.n == 2:
            return shift_of_exp_2(u[..., 0], v)
        return shift_of_exp_3(u, v) if self.n == 3 else super()._exp_shift(u, v)

    def _log_shift(self, u: Tensor, shift: Tensor) -> Tensor:
        if self.n == 2:
            return shift_of_log_2(u[..., 0], shift)
        return shift_of_log_3(u, shift) if self.n == 3 else super()._log_shift(u, shift)

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        check_matrices(g, self.n, self)
        eye = torch.eye(self.n, dtype=g.dtype, device=g.device)
        ok = self._all_close(g.mT @ g, eye, self._atol(g, atol))
        return ok & (torch.linalg.det(g) > 0) if self.is_connected else ok

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """|log g|_F / sqrt(2) from the eigenangles: the rotation angle for n = 2, 3; pi/sqrt(2) for a mirror."""
        check_matrices(g, self.n, self)
        return angle_size(g)

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        if self.order is None:
            return super().elements(dtype, device)
        return torch.tensor([1.0, -1.0][: self.order], dtype=real_dtype(dtype), device=device).view(-1, 1, 1)


@dataclass(frozen=True, repr=False)
class SO(Orthogonal):
    """The rotations of R^n. Coordinates: the angle (n = 2), the rotation vector (n = 3), else Frobenius-orthonormal.

    Arguments:
        n: dimension of the space.

    Raises:
        ValueError: n is not a whole number of at least 1.

    >>> import torch
    >>> from torsor import SO
    >>> R = SO(3).exp(torch.tensor([0.0, 0.0, torch.pi / 2]))
    >>> (R @ torch.tensor([1.0, 0.0, 0.0])).round(decimals=4).abs()
    tensor([0., 1., 0.])
    """

    n: int
    is_connected = exp_is_surjective = True

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n <= 2

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return 1 if self.n == 1 else None

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        check_matrices(g, self.n, self)
        return nearest_rotation(g)

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return random_rotation(self.n, shape, generator, dtype, device)


@dataclass(frozen=True, repr=False)
class O(Orthogonal):  # noqa: E742
    """The rotations and reflections of R^n. The algebra and its coordinates are those of SO(n).

    Arguments:
        n: dimension of the space.

    Raises:
        ValueError: n is not a whole number of at least 1.

    >>> from torsor import O
    >>> O(2).discrete_generators()
    tensor([[[-1.,  0.],
             [ 0.,  1.]]])
    """

    n: int

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n == 1

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return 2 if self.n == 1 else None

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        check_matrices(g, self.n, self)
        return polar(g)[1]

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return random_orthogonal(self.n, shape, generator, dtype, device)

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        mirror = torch.eye(self.n, dtype=real_dtype(dtype), device=device)
        mirror[0, 0] = -1
        return mirror[None]

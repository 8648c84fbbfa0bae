"""Finite groups of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension, check_matrices, real_dtype
from torsor.groups._group import Element, Group, pick
from torsor.groups._haar import integers
from torsor.groups._matrix import GroupOfMatrices, angle_size


class FiniteGroup(Group):
    """What finite groups share; a new one says `order`, `elements` and `index_of`."""

    is_compact = True

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return self.order == 1

    @property
    def is_connected(self) -> bool:  # type: ignore[override]
        return self.order == 1

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Element:
        assert self.order is not None
        return pick(self.elements(dtype, device), integers(self.order, shape, generator, device))


class FiniteMatrices(FiniteGroup, GroupOfMatrices):
    """What finite groups of orthogonal matrices share; a new one says `order` and `elements`."""

    is_orthogonal = True
    decompositions = ("polar",)

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(0, dtype=dtype, device=device)

    def exp(self, v: Tensor) -> Tensor:
        return self.identity(*self.hat(v).shape[:-2], dtype=v.dtype, device=v.device)

    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        check_matrices(g, self.matrix_dim, self)
        return g[..., 0, :0], ~(self.index_of(g) > 0)

    def _exp_shift(self, u: Tensor, v: Tensor) -> Tensor:
        return v

    def _log_shift(self, u: Tensor, shift: Tensor) -> Tensor:
        return shift

    def project(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        return self.elements(g.dtype, g.device)[self.index_of(g)]

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        return self._all_close(g, self.project(g), self._atol(g, atol))

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """|log g|_F / sqrt(2) from the eigenangles: the angle of a rotation, pi/sqrt(2) for a mirror."""
        check_matrices(g, self.matrix_dim, self)
        return angle_size(g)


@dataclass(frozen=True, repr=False)
class Trivial(FiniteMatrices):
    """The group that does nothing to R^n.

    >>> from torsor import Trivial
    >>> Trivial(2).elements()
    tensor([[[1., 0.],
             [0., 1.]]])
    """

    n: int = 1
    order = 1
    is_abelian = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, "n of Trivial(n)"))

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(1, dtype=dtype, device=device)


@dataclass(frozen=True, repr=False)
class Cyclic(FiniteMatrices):
    """The k rotations of the plane by multiples of 2 pi / k, in this order.

    Arguments:
        k: number of rotations.

    Raises:
        ValueError: k is not a whole number of at least 1.

    >>> from torsor import Cyclic
    >>> Cyclic(4).elements()[1]
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """

    k: int
    n = 2
    is_abelian = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_dimension(self.k, "k of Cyclic(k)"))

    @property
    def name(self) -> str:
        return f"Cyclic({self.k})"

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.k

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return _turns(self.k, dtype, device)

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.elements(dtype, device)[[1 % self.k]]


@dataclass(frozen=True, repr=False)
class Dihedral(FiniteMatrices):
    """The 2 k symmetries of a regular k-gon: the rotations of Cyclic(k), then each of them after diag(1, -1).

    Arguments:
        k: number of rotations.

    Raises:
        ValueError: k is not a whole number of at least 1.

    >>> from torsor import Dihedral
    >>> Dihedral(4).order
    8
    """

    k: int
    n = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_dimension(self.k, "k of Dihedral(k)"))

    @property
    def name(self) -> str:
        return f"Dihedral({self.k})"

    @property
    def order(self) -> int:  # type: ignore[override]
        return 2 * self.k

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.k <= 2

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        turns = _turns(self.k, dtype, device)
        return torch.cat([turns, turns * turns.new_tensor([1, -1]) + 0.0])

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.elements(dtype, device)[[1 % self.k, self.k]]


def _turns(k: int, dtype: torch.dtype | None, device: Any) -> Tensor:
    """The rotations by j/k of a circle; quarter turns have the entries 0, 1, -1 exactly."""
    rows = []
    for j in range(k):
        quarters, rest = divmod(4 * j, k)
        cos, sin = math.cos(math.pi / 2 * rest / k), math.sin(math.pi / 2 * rest / k)
        for _ in range(quarters):
            cos, sin = 0.0 - sin, cos
        rows.append([[cos, 0.0 - sin], [sin, cos]])
    return torch.tensor(rows, dtype=torch.float64, device=device).to(real_dtype(dtype))

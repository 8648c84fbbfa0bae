"""Finite groups: matrices and permutations."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension, real_dtype
from torsor.groups._group import Group
from torsor.groups._matrix import GroupOfMatrices


class FiniteMatrices(GroupOfMatrices):
    """What finite groups of matrices share."""

    is_compact = is_orthogonal = True
    dim = 0  # type: ignore[assignment]

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.empty(0, self.matrix_dim, self.matrix_dim, dtype=real_dtype(dtype), device=device)

    def _draw(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any) -> Tensor:
        assert self.order is not None
        index = torch.randint(self.order, shape, generator=generator, device=device)
        return self.elements(dtype, device)[index]


@dataclass(frozen=True, repr=False)
class Trivial(FiniteMatrices):
    """The group that does nothing to R^n."""

    n: int = 1
    is_abelian = is_connected = exp_is_surjective = True
    order = 1  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, "n of Trivial(n)"))

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(1, dtype=dtype, device=device)


def _turns(k: int, dtype: torch.dtype | None, device: Any) -> Tensor:
    angle = torch.arange(k, dtype=torch.float64, device=device) * (2 * math.pi / k)
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(-1, 2, 2).to(real_dtype(dtype))


@dataclass(frozen=True, repr=False)
class Cyclic(FiniteMatrices):
    """The rotations of the plane by multiples of 2 pi / k."""

    k: int
    n = 2
    is_abelian = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_dimension(self.k, "k of Cyclic(k)"))

    @property
    def name(self) -> str:
        return f"Cyclic({self.k})"

    @property
    def order(self) -> int:
        return self.k

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return _turns(self.k, dtype, device)

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.elements(dtype, device)[1 % self.k][None]


@dataclass(frozen=True, repr=False)
class Dihedral(FiniteMatrices):
    """The symmetries of the regular k-gon: Cyclic(k), then the same after the mirror diag(1, -1)."""

    k: int
    n = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_dimension(self.k, "k of Dihedral(k)"))

    @property
    def name(self) -> str:
        return f"Dihedral({self.k})"

    @property
    def order(self) -> int:
        return 2 * self.k

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        turns = _turns(self.k, dtype, device)
        return torch.cat([turns, turns * turns.new_tensor([1, -1])])

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.elements(dtype, device)[[1 % self.k, self.k]]


@dataclass(frozen=True, repr=False)
class Symmetric(Group):
    """The permutations of n things, as index tensors (*batch, n): (g x)[g[i]] = x[i]."""

    n: int
    is_compact = is_orthogonal = True
    dim = 0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, "n of Symmetric(n)"))

    @property
    def order(self) -> int:
        return math.factorial(self.n)

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.arange(self.n, device=device).repeat(*batch, 1)

    def batch_shape(self, g: Tensor) -> tuple[int, ...]:
        return tuple(g.shape[:-1])

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(g.shape, h.shape)
        return g.expand(batch).gather(-1, h.expand(batch))

    def inverse(self, g: Tensor) -> Tensor:
        return g.argsort(-1)

    def linear(self, g: Tensor) -> Tensor:
        raise TypeError(f"{self} permutes things and has no linear part: act on the node axis with the indices")

    def parity(self, g: Tensor) -> Tensor:
        """The sign of each permutation, in the default dtype."""
        i, j = torch.triu_indices(self.n, self.n, 1, device=g.device)
        return 1 - 2 * ((g[..., i] > g[..., j]).sum(-1) % 2).to(torch.get_default_dtype())

    def sample(
        self,
        *shape: int,
        proposal: Any = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        return torch.rand(*shape, self.n, generator=generator, dtype=torch.float64, device=device).argsort(-1)

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.tensor(list(itertools.permutations(range(self.n))), device=device)

"""Permutations."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_dimension, real_dtype
from torsor.groups._finite import FiniteGroup
from torsor.groups._haar import uniform

MOST = 9  # of S_9 the list of elements takes 26 MB, of S_10 it would take 290


@dataclass(frozen=True, repr=False)
class Symmetric(FiniteGroup):
    """The permutations of n things. Elements are whole numbers (*batch, n): g[i] is where thing i goes.

    (g x)[g[i]] = x[i], so `x[inverse(g)]` moves x; compose(g, h)[i] = g[h[i]]; the matrix has a 1 at [g[i], i].

    Arguments:
        n: number of things.

    Raises:
        ValueError: n is not a whole number of at least 1.

    >>> import torch
    >>> from torsor import Symmetric
    >>> S = Symmetric(3)
    >>> g = torch.tensor([1, 2, 0])
    >>> S.inverse(g), S.compose(g, g), S.parity(g)
    (tensor([2, 0, 1]), tensor([2, 0, 1]), tensor(1.))
    """

    n: int
    is_orthogonal = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, "n of Symmetric(n)"))

    @property
    def order(self) -> int:  # type: ignore[override]
        return math.factorial(self.n)

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n <= 2

    def _check(self, g: object, name: str = "g") -> None:
        if not isinstance(g, Tensor) or g.is_floating_point() or g.is_complex() or g.dtype == torch.bool:
            kind = g.dtype if isinstance(g, Tensor) else type(g).__name__
            raise TypeError(f"{name} must be a tensor of indices (..., {self.n}) for {self}; got {kind}")
        if g.ndim < 1 or g.shape[-1] != self.n:
            raise ValueError(f"{name} must be (..., {self.n}) for {self}; got shape {tuple(g.shape)}")

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.arange(self.n, device=device).repeat(*batch, 1)

    def batch_shape(self, g: Tensor) -> tuple[int, ...]:
        self._check(g)
        return tuple(g.shape[:-1])

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        self._check(g)
        self._check(h, "h")
        g, h = torch.broadcast_tensors(g, h)
        return g.gather(-1, h)

    def inverse(self, g: Tensor) -> Tensor:
        self._check(g)
        return g.argsort(-1)

    def linear(self, g: Tensor) -> Tensor:
        raise TypeError(f"{self} permutes things and has no linear part on R^n: act on an axis with the indices")

    def parity(self, g: Tensor) -> Tensor:
        """The sign of each permutation, in the default dtype."""
        self._check(g)
        i, j = torch.triu_indices(self.n, self.n, 1, device=g.device)
        return 1 - 2 * ((g[..., i] > g[..., j]).sum(-1) % 2).to(torch.get_default_dtype())

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The permutation matrices, P[g[i], i] = 1."""
        self._check(g)
        return torch.nn.functional.one_hot(g.long(), self.n).mT.to(real_dtype(dtype))

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        self._check(g)
        return (g.sort(-1).values == torch.arange(self.n, device=g.device)).all(-1)

    def project(self, g: Tensor) -> Tensor:
        """The ranks of any numbers (*batch, n): the permutation nearest to them."""
        return torch.argsort(g, dim=-1, stable=True).argsort(-1)

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """How many things move, in the default dtype."""
        self._check(g)
        return (g != torch.arange(self.n, device=g.device)).sum(-1).to(torch.get_default_dtype())

    # ---------------------------------------------------------------------------------------------------- Lie algebra
    def hat(self, v: Tensor) -> Tensor:
        check_coordinates(v, 0, self)
        return v.new_zeros(*v.shape[:-1], self.n, self.n)

    def vee(self, X: Tensor, check: bool = False) -> Tensor:
        return X[..., 0, :0]

    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, 0, self)
        return self.identity(*v.shape[:-1], device=v.device)

    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        self._check(g)
        still = (g == torch.arange(self.n, device=g.device)).all(-1)
        return torch.zeros(*g.shape[:-1], 0, device=g.device), still

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.zeros(0, self.n, self.n, dtype=real_dtype(dtype), device=device)

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """Indices (k, n): the exchange of the first two, and the turn of all by one."""
        if self.n == 1:
            return self.identity(0, device=device)
        swap, turn = self.identity(2, device=device)
        swap[:2] = swap[:2].flip(0)
        return torch.stack([swap, turn.roll(-1)])

    def adjoint(self, g: Tensor) -> Tensor:
        self._check(g)
        return torch.zeros(*g.shape[:-1], 0, 0, device=g.device)

    def ad(self, v: Tensor) -> Tensor:
        check_coordinates(v, 0, self)
        return v.new_zeros(*v.shape[:-1], 0, 0)

    def log_modular(self, g: Tensor) -> Tensor:
        self._check(g)
        return torch.zeros(g.shape[:-1], device=g.device)

    # --------------------------------------------------------------------------------------------- as a finite group
    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return uniform([*shape, self.n], generator, torch.float64, device).argsort(-1)

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """All permutations in lexicographic order, up to n = 9."""
        if self.n > MOST:
            raise ValueError(f"{self} has {self.order} elements: too many for a list (n is at most {MOST} for this)")
        return torch.tensor(list(itertools.permutations(range(self.n))), device=device).view(-1, self.n)

    def index_of(self, g: Tensor) -> Tensor:
        self._check(g)
        if self.n > 20:
            raise ValueError(f"{self} has {self.order} elements: more than whole numbers of 64 bits can index")
        smaller = (g[..., :, None] > g[..., None, :]).triu(1).sum(-1)  # later things that stand before this one
        places = torch.tensor([math.factorial(self.n - 1 - i) for i in range(self.n)], device=g.device)
        return (smaller * places).sum(-1)

"""Subgroups of finite groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_dimension
from torsor.groups._finite import FiniteGroup
from torsor.groups._group import Element, Group, pick


@dataclass(frozen=True, repr=False)
class Subgroup(FiniteGroup):
    """Some of the elements of a finite group, by their position in `group.elements()`.

    Arguments:
        group: a finite group.
        indices: positions of the elements; 0, the identity, must be among them.

    Raises:
        TypeError: the group is not finite.
        ValueError: the elements are no group.

    >>> from torsor.groups import Cyclic, Subgroup
    >>> Subgroup(Cyclic(6), (0, 2, 4)).order
    3
    """

    group: Group
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.group, Group) or not self.group.is_finite:
            raise TypeError(f"group of Subgroup(group, indices) must be a finite group; got {self.group!r}")
        order = self.group.order
        indices = tuple(sorted({check_dimension(i, "an index of Subgroup(group, indices)", 0) for i in self.indices}))
        object.__setattr__(self, "indices", indices)
        if not indices or indices[0] != 0 or indices[-1] >= order:  # type: ignore[operator]
            raise ValueError(f"indices must lie below {order} and contain 0, the identity; got {indices}")
        if not bool((self.multiplication_table() >= 0).all()):
            raise ValueError(f"indices must be those of a subgroup of {self.group}: {indices} is not closed")

    @property
    def name(self) -> str:
        return f"Subgroup({self.group}, {self.indices})"

    @property
    def n(self) -> int:  # type: ignore[override]
        return self.group.n

    @property
    def matrix_dim(self) -> int:
        return self.group.matrix_dim

    @property
    def order(self) -> int:  # type: ignore[override]
        return len(self.indices)

    @property
    def is_orthogonal(self) -> bool:  # type: ignore[override]
        return self.group.is_orthogonal

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        table = self.multiplication_table()
        return bool((table == table.mT).all())

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        return pick(self.group.elements(dtype, device), torch.tensor(self.indices, device=device))

    def index_of(self, g: Element) -> Tensor:
        """The position of each element in `elements()`; -1 where it is no element."""
        there = self.group.index_of(g)
        inside = torch.tensor(self.indices, device=there.device)
        here = torch.searchsorted(inside, there.contiguous()).clamp(max=len(inside) - 1)
        return torch.where(inside[here] == there, here, -1)

    def contains(self, g: Element, atol: float | None = None) -> Tensor:
        return self.group.contains(g, atol) & (self.index_of(g) >= 0)

    def project(self, g: Element) -> Element:
        """The nearest element of the whole group, where it is one of this one; the identity elsewhere."""
        g = self.group.project(g)
        return pick(self.elements(_dtype(g)), self.index_of(g).clamp(min=0))

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """All elements but the identity."""
        return pick(self.elements(dtype, device), torch.arange(1, len(self.indices), device=device))

    # What does not depend on how many elements there are is the whole group's.
    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        return self.group.identity(*batch, dtype=dtype, device=device)

    def compose(self, g: Element, h: Element) -> Element:
        return self.group.compose(g, h)

    def inverse(self, g: Element) -> Element:
        return self.group.inverse(g)

    def batch_shape(self, g: Element) -> tuple[int, ...]:
        return self.group.batch_shape(g)

    def linear(self, g: Element) -> Tensor:
        return self.group.linear(g)

    def translation(self, g: Element) -> Tensor | None:
        return self.group.translation(g)

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Element:
        return self.group.from_parts(linear, translation)

    def parity(self, g: Element) -> Tensor:
        return self.group.parity(g)

    def matrix(self, g: Element, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)

    def distance_from_identity(self, g: Element) -> Tensor:
        return self.group.distance_from_identity(g)

    def hat(self, v: Tensor) -> Element:
        return self.group.hat(v)

    def vee(self, X: Element, check: bool = False) -> Tensor:
        return self.group.vee(X, check)

    def exp(self, v: Tensor) -> Element:
        return self.group.exp(v)

    def _log(self, g: Element) -> tuple[Tensor, Tensor | None]:
        return self.group._log(g)

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        return self.group.basis(dtype, device)

    def adjoint(self, g: Element) -> Tensor:
        return self.group.adjoint(g)

    def ad(self, v: Tensor) -> Tensor:
        return self.group.ad(v)

    def log_modular(self, g: Element) -> Tensor:
        return self.group.log_modular(g)


def _dtype(g: Element) -> torch.dtype | None:
    while isinstance(g, tuple):
        g = next((part for part in g if isinstance(part, tuple) or part.is_floating_point()), None)
    return None if g is None or not g.is_floating_point() else g.dtype

"""What each generator of a group asks of a linear map between two tensor types.

A map W from a product of representations to another is a tensor with one axis per factor. A generator A of the Lie
algebra asks sum_f (A acting on axis f) W = 0, a discrete generator h asks (h acting on all axes) W = W.

Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torsor.actions._rep import Factors
from torsor.groups import Group


class AmbiguousRank(RuntimeError):
    """The constraints do not say clearly which maps are equivariant."""


@dataclass(frozen=True)
class Constraint:
    """One generator's condition on W: one matrix per axis. `apply` works on columns (unknowns, k)."""

    matrices: tuple[Tensor, ...]

    def apply(self, w: Tensor, transpose: bool = False) -> Tensor:
        raise NotImplementedError

    def bound(self) -> float:
        """An upper bound of the operator norm."""
        raise NotImplementedError

    def _along(self, axis: int, w: Tensor, transpose: bool) -> Tensor:
        sizes = [len(m) for m in self.matrices]
        matrix = self.matrices[axis].mT if transpose else self.matrices[axis]
        return (matrix @ w.reshape(math.prod(sizes[:axis]), sizes[axis], -1)).reshape(w.shape)


class Tangent(Constraint):
    """sum_f M_f W = 0, for a generator of the Lie algebra."""

    def apply(self, w: Tensor, transpose: bool = False) -> Tensor:
        return sum((self._along(f, w, transpose) for f in range(len(self.matrices))), torch.zeros_like(w))

    def bound(self) -> float:
        return math.fsum(float(torch.linalg.matrix_norm(m, 2)) for m in self.matrices)


class Fixed(Constraint):
    """prod_f M_f W - W = 0, for a discrete generator."""

    def apply(self, w: Tensor, transpose: bool = False) -> Tensor:
        moved = w
        for f in range(len(self.matrices)):
            moved = self._along(f, moved, transpose)
        return moved - w

    def bound(self) -> float:
        return 1 + math.prod([float(torch.linalg.matrix_norm(m, 2)) for m in self.matrices], start=1.0)


def constraints(group: Group, out: Factors, source: Factors) -> list[Constraint]:
    """The conditions of all generators of the group."""
    found: list[Constraint] = []
    if group.dim:
        v = torch.eye(group.dim, dtype=torch.float64)
        axes = [f.dmatrix(group, v) for f in out] + [-f.dmatrix(group, v).mT for f in source]
        found += [Tangent(matrices) for matrices in _real(axes, group.dim, group)]
    h = group.discrete_generators(torch.float64)
    inverse = group.inverse(h)
    axes = [f.matrix(group, h) for f in out] + [f.matrix(group, inverse).mT for f in source]
    return found + [Fixed(matrices) for matrices in _real(axes, group.batch_shape(h)[0], group)]


def _real(axes: list[Tensor], count: int, group: Group) -> list[tuple[Tensor, ...]]:
    """The matrices of all axes for each generator, in float64."""
    if any(m.is_complex() for m in axes):
        raise TypeError(f"equivariant maps are solved for real representations; those of {group} are complex")
    return [tuple(m[i].double() for m in axes) for i in range(count)]


def scaled(constraints: list[Constraint], applied: list[Tensor]) -> list[Tensor]:
    """The constraints applied to the same columns, each divided by its size; those that always hold are dropped."""
    active = []
    for constraint, rows in zip(constraints, applied):
        size = float(rows.norm()) / math.sqrt(rows.shape[1])
        if size > 1e-12 * constraint.bound():
            active.append(rows / size)
    return active


def spectral_gap(ascending: Tensor, cut: Tensor, floor: Tensor) -> float:
    """The smallest value above the cut over the largest below it; inf where one side is empty."""
    zero, rest = ascending[ascending <= cut], ascending[ascending > cut]
    if not len(zero) or not len(rest):
        return math.inf
    return float(rest[0] / torch.maximum(zero[-1].abs(), floor))

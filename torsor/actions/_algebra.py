"""Duals, sums, products and factors of representations: what the operators of `Rep` give."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from torsor.actions._action import Element
from torsor.actions._rep import Factors, Rep, Scalar, Vector, permutes
from torsor.groups import DirectProduct, Group


@dataclass(frozen=True, repr=False)
class Dual(Rep):
    """The contragredient of an elementary representation, `rho(g^-1)^T`. Write `rep.dual`."""

    rep: Rep

    def dim(self, group: Group) -> int:
        return self.rep.dim(group)

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        return self.rep.matrix(group, group.inverse(g)).mT

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        return -self.rep.dmatrix(group, v).mT

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        if isinstance(self.rep, Vector) and acts_orthogonally(group):
            return self.rep._copies(group)
        return super()._copies(group)

    @property
    def degree(self) -> int:
        return self.rep.degree

    @property
    def dual(self) -> Rep:
        return replace(self.rep, per=self.per)

    def __repr__(self) -> str:
        return f"{self.rep!r}.dual"


@dataclass(frozen=True, repr=False)
class OfFactor(Rep):
    """A representation of one factor of a product group. Write `rep.of(i)`."""

    rep: Rep
    factor: int

    def _part(self, group: Group) -> Group:
        if not isinstance(group, DirectProduct):
            raise TypeError(f"{self} needs a DirectProduct; got {group}")
        if not 0 <= self.factor < len(group.factors):
            raise ValueError(f"{self} needs a group of at least {self.factor + 1} factors; got {group}")
        return group.factors[self.factor]

    def dim(self, group: Group) -> int:
        return self.rep.dim(self._part(group))

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        return self.rep.matrix(self._part(group), g[self.factor])

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        part = self._part(group)
        start = sum(f.dim for f in group.factors[: self.factor])  # type: ignore[attr-defined]
        return self.rep.dmatrix(part, v[..., start : start + part.dim])

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        return self.rep._move(self._part(group), g[self.factor], rows)

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        copies = self.rep._copies(self._part(group))
        return [(tuple(f.of(self.factor) for f in factors), positions) for factors, positions in copies]

    @property
    def degree(self) -> int:
        return self.rep.degree

    @property
    def is_discrete(self) -> bool:
        return self.rep.is_discrete

    @property
    def dual(self) -> Rep:
        return replace(self, rep=self.rep.dual)

    def __repr__(self) -> str:
        word = f"({self.rep!r})" if isinstance(self.rep, DirectSum | TensorProduct) else repr(self.rep)
        return f"{word}.of({self.factor})"


@dataclass(frozen=True, repr=False)
class DirectSum(Rep):
    """Representations side by side on one axis, as (number of copies, representation). Write `3 * V + V**2`."""

    terms: tuple[tuple[int, Rep], ...] = ()

    def dim(self, group: Group) -> int:
        return sum(count * rep.dim(group) for count, rep in self.terms)

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        blocks = [(count, rep.matrix(group, g)) for count, rep in self.terms]
        return on_the_diagonal(blocks, empty=Scalar().matrix(group, g)[..., :0, :0])

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        blocks = [(count, rep.dmatrix(group, v)) for count, rep in self.terms]
        return on_the_diagonal(blocks, empty=Scalar().dmatrix(group, v)[..., :0, :0])

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        parts, start = [], 0
        for count, rep in self.terms:
            size = rep.dim(group)
            copies = rows[..., start : start + count * size].unflatten(-1, (count, size))
            parts.append(rep._move(group, g, copies.flatten(-3, -2)).unflatten(-2, copies.shape[-3:-1]).flatten(-2))
            start += count * size
        return torch.cat(parts, -1) if parts else rows

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        copies, start = [], 0
        for count, rep in self.terms:
            inner = rep._copies(group)
            for _ in range(count):
                copies += [(factors, positions + start) for factors, positions in inner]
                start += rep.dim(group)
        return copies

    @property
    def degree(self) -> int:
        return max((rep.degree for _, rep in self.terms), default=0)

    @property
    def is_discrete(self) -> bool:
        return all(rep.is_discrete for _, rep in self.terms)

    @property
    def dual(self) -> Rep:
        return replace(self, terms=tuple((count, rep.dual) for count, rep in self.terms))

    def __repr__(self) -> str:
        words = [
            repr(r) if n == 1 else f"{n}*({r!r})" if isinstance(r, DirectSum) else f"{n}*{r!r}" for n, r in self.terms
        ]
        return " + ".join(words) or "0*Scalar()"


@dataclass(frozen=True, repr=False)
class TensorProduct(Rep):
    """The Kronecker product of representations, flattened row-major. Write `V * V.dual`."""

    factors: tuple[Rep, ...]

    def dim(self, group: Group) -> int:
        return math.prod([f.dim(group) for f in self.factors])

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        return functools.reduce(_kron, [f.matrix(group, g) for f in self.factors])

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        def leibniz(a: Tensor, b: Tensor) -> Tensor:
            one_a, one_b = (torch.eye(m.shape[-1], dtype=m.dtype, device=m.device) for m in (a, b))
            return _kron(a, one_b) + _kron(one_a, b)

        return functools.reduce(leibniz, [f.dmatrix(group, v) for f in self.factors])

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        sizes = [f.dim(group) for f in self.factors]
        for i, (factor, size) in enumerate(zip(self.factors, sizes)):
            axes = rows.unflatten(-1, (math.prod(sizes[:i]), size, math.prod(sizes[i + 1 :]))).movedim(-2, -1)
            moved = factor._move(group, g, axes.flatten(-4, -2))
            rows = moved.unflatten(-2, axes.shape[-4:-1]).movedim(-1, -2).flatten(-3)
        return rows

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        copies: list[tuple[Factors, np.ndarray]] = [((), np.arange(1))]
        for factor in self.factors:
            size, inner = factor.dim(group), factor._copies(group)
            copies = [(a + b, (size * i[:, None] + j).reshape(-1)) for a, i in copies for b, j in inner]
        return copies

    @property
    def degree(self) -> int:
        return sum(f.degree for f in self.factors)

    @property
    def is_discrete(self) -> bool:
        return all(f.is_discrete for f in self.factors)

    @property
    def dual(self) -> Rep:
        return replace(self, factors=tuple(f.dual for f in self.factors))

    def __repr__(self) -> str:
        words = []
        for rep, equal in itertools.groupby(self.factors):
            word, count = f"({rep!r})" if isinstance(rep, DirectSum) else repr(rep), len(list(equal))
            words.append(word if count == 1 else f"{word}**{count}")
        return "*".join(words)


@functools.lru_cache(maxsize=256)
def acts_orthogonally(group: Group) -> bool:
    """Whether the linear parts are orthogonal matrices, so that `V.dual` is `V`. Read off the generators."""
    if permutes(group):
        return True
    n = group.n
    algebra = group.basis(torch.float64, "cpu")[..., :n, :n]
    discrete = group.linear(group.discrete_generators(torch.float64, "cpu"))
    eye = torch.eye(n, dtype=torch.float64, device="cpu")
    defect = torch.cat([algebra + algebra.mT, discrete @ discrete.mT - eye])
    return bool((defect.abs() < 1e-12).all())


def plus(a: Rep, b: Rep) -> Rep:
    """`a + b`."""
    return direct_sum([*_terms(a), *_terms(b)], _common_per(a, b))


def multiple(count: int, rep: Rep) -> Rep:
    """`count * rep`: copies side by side."""
    if count < 0:
        raise ValueError(f"a representation can be repeated 0 times or more; got {count}")
    if isinstance(rep, DirectSum) and len(rep.terms) == 1:
        return direct_sum([(count * rep.terms[0][0], rep.terms[0][1])], rep.per)
    return direct_sum([(count, replace(rep, per=None))], rep.per)


def times(a: Rep, b: Rep) -> Rep:
    """`a * b`, the Kronecker product."""
    return tensor_product((*_factors(a), *_factors(b)), _common_per(a, b))


def power(rep: Rep, exponent: int) -> Rep:
    """`rep ** exponent`."""
    if exponent < 0:
        raise ValueError(f"the power of a representation must be 0 or more; got {exponent}")
    return tensor_product(exponent * _factors(rep), rep.per)


def direct_sum(terms: Iterable[tuple[int, Rep]], per: Any = None) -> Rep:
    """The sum in normal form: equal neighbours counted together, nothing repeated 0 times, no sum of one."""
    merged: list[tuple[int, Rep]] = []
    for count, rep in terms:
        if merged and merged[-1][1] == rep:
            merged[-1] = (merged[-1][0] + count, rep)
        elif count:
            merged.append((count, rep))
    if len(merged) == 1 and merged[0][0] == 1:
        return replace(merged[0][1], per=per)
    return DirectSum(tuple(merged), per=per)


def tensor_product(factors: Factors, per: Any = None) -> Rep:
    """The product in normal form: no scalars among the factors, no product of one."""
    factors = tuple(f for f in factors if not isinstance(f, Scalar))
    if len(factors) < 2:
        return replace(factors[0] if factors else Scalar(), per=per)
    return TensorProduct(factors, per=per)


def on_the_diagonal(blocks: list[tuple[int, Tensor]], empty: Tensor) -> Tensor:
    """The block-diagonal matrix with each block repeated so many times; `empty` where there is none."""
    blocks = [(count, block) for count, block in blocks if count * block.shape[-1]]
    sizes, rows, start = [count * block.shape[-1] for count, block in blocks], [], 0
    for size, (count, block) in zip(sizes, blocks):
        copies = _kron(torch.eye(count, dtype=block.dtype, device=block.device), block)
        rows.append(torch.nn.functional.pad(copies, (start, sum(sizes) - start - size)))
        start += size
    return torch.cat(rows, -2) if rows else empty


def _terms(rep: Rep) -> tuple[tuple[int, Rep], ...]:
    return rep.terms if isinstance(rep, DirectSum) else ((1, replace(rep, per=None)),)


def _factors(rep: Rep) -> Factors:
    return rep.factors if isinstance(rep, TensorProduct) else (replace(rep, per=None),)


def _common_per(a: Rep, b: Rep) -> Any:
    if a.per and b.per and a.per != b.per:
        raise ValueError(f"the parts of a representation must belong to the same rows; got per={a.per!r} and {b.per!r}")
    return a.per or b.per


def _kron(a: Tensor, b: Tensor) -> Tensor:
    product = torch.einsum("...ij,...kl->...ikjl", a, b)
    return product.flatten(-4, -3).flatten(-2, -1)

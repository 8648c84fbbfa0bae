"""Linear representations as values: `V`, `V.dual`, `T(p, q)`, sums, multiples, products and powers of them."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from torsor.actions._action import Action, Element, apply_matrices, sum_matrices
from torsor.groups import DirectProduct, Group, Subgroup, Symmetric
from torsor.groups._precision import without_autocast


@dataclass(frozen=True, repr=False)
class Rep(Action):
    """A linear action on one flat last axis: `rho(g h) = rho(g) rho(h)`.

    A representation is a value. Sums stand side by side on the axis, `3 * V + V**2` is three vectors and then a
    flattened matrix (row-major); products are Kronecker products; `.dual` is the contragredient `rho(g^-1)^T`;
    `.of(i)` lets the i-th factor of a product group act. A subclass gives `dim`, `matrix` and `dmatrix`.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 4.

    >>> import torch
    >>> from torsor.groups import SO
    >>> rep = 2 * V + V**2
    >>> rep.dim(SO(3)), rep.matrix(SO(3), SO(3).identity(5)).shape
    (15, torch.Size([5, 15, 15]))
    """

    def dim(self, group: Group) -> int:
        """The length of the axis that the group acts on."""
        raise NotImplementedError(f"{type(self).__name__} has no dim")

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        """rho(g), in the dtype of the element (the default dtype where elements are indices)."""
        raise NotImplementedError(f"{type(self).__name__} has no matrix")

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        """The derivative of `rho(exp(t v))` at t = 0, for coordinates v in the Lie algebra."""
        raise NotImplementedError(f"{type(self).__name__} has no dmatrix")

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        """rho(g) on the last axis of rows (*batch, rows, dim)."""
        if not (rows.is_floating_point() or rows.is_complex()):
            raise TypeError(f"x must be a floating-point tensor for {self}; got {rows.dtype}")
        return rows @ self.matrix(group, g).to(rows.dtype).mT

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        """The tensor types in the sum, each with the positions that it takes on the axis."""
        return [((replace(self, per=None),), np.arange(self.dim(group)))]

    @without_autocast
    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        if problem := self.event_shape_problem(group, tuple(x.shape)):
            raise ValueError(f"x: {problem}; got shape {tuple(x.shape)}")
        batch = len(group.batch_shape(g))
        if x.ndim <= batch:
            raise ValueError(f"x must have the {batch} batch axes of g before its last; got shape {tuple(x.shape)}")
        rows = x.unsqueeze(-2) if x.ndim == batch + 1 else x.flatten(batch, -2)
        moved = self._move(group, g, rows)
        return moved.reshape(*moved.shape[:batch], *x.shape[batch:])

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        dim = self.dim(group)
        if not shape or shape[-1] != dim:
            return f"the last axis must have the {dim} coordinates of {self} under {group}"
        return None

    def canonical(self, group: Group) -> CanonicalOrder:
        """The same representation with equal tensor types side by side: scalars, then rank 1, then rank 2, ...

        >>> from torsor.groups import O
        >>> order = (V + 2 * Scalar() + V.dual).canonical(O(2))
        >>> order.rep, order.permutation.tolist()
        (2*Scalar() + 2*V, [2, 3, 0, 1, 4, 5])
        """
        copies = sorted(self._copies(group), key=lambda copy: (len(copy[0]), repr(copy[0])))
        types: dict[Factors, int] = {}
        for factors, _ in copies:
            types[factors] = types.get(factors, 0) + 1
        positions = np.concatenate([np.empty(0, dtype=np.int64), *(position for _, position in copies)])
        return CanonicalOrder(
            tuple(TensorType(factors, math.prod(f.dim(group) for f in factors), n) for factors, n in types.items()),
            torch.from_numpy(positions),
        )

    @property
    def dual(self) -> Rep:
        """The contragredient representation, `rho(g^-1)^T`."""
        return _algebra().Dual(replace(self, per=None), per=self.per)

    def of(self, factor: int) -> Rep:
        """This representation of one factor of a `DirectProduct`; the other factors do nothing.

        >>> from torsor.groups import SO, DirectProduct, Symmetric
        >>> positions = Perm().of(1) * V.of(0)              # n points in space, flattened from (n, 3)
        >>> positions.dim(DirectProduct(SO(3), Symmetric(4)))
        12
        """
        return _algebra().OfFactor(replace(self, per=None), operator.index(factor), per=self.per)

    def __add__(self, other: Rep) -> Rep:
        return _algebra().plus(self, other) if isinstance(other, Rep) else NotImplemented

    def __radd__(self, other: int) -> Rep:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # so that sum() works

    def __mul__(self, other: Rep | int) -> Rep:
        if isinstance(other, Rep):
            return _algebra().times(self, other)
        return _algebra().multiple(other, self) if isinstance(other, int) else NotImplemented

    def __rmul__(self, other: int) -> Rep:
        return self * other

    def __pow__(self, power: int) -> Rep:
        return _algebra().power(self, power)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.per is None else f'per={self.per!r}'})"


Factors = tuple[Rep, ...]
"""A tensor type: the elementary representations in a product, in order. `()` is the scalar."""


class TensorType(NamedTuple):
    """Equal tensors in a canonical order: their factors, the length of one and the number of copies."""

    factors: Factors
    size: int
    copies: int


class CanonicalOrder(NamedTuple):
    """What `Rep.canonical` gives: `x[..., permutation]` holds the copies of `types[0]`, then of `types[1]`, ..."""

    types: tuple[TensorType, ...]
    permutation: Int[Tensor, " dim"]

    @property
    def rep(self) -> Rep:
        """The representation in canonical order."""
        algebra = _algebra()
        return algebra.direct_sum([(copies, algebra.tensor_product(factors)) for factors, _, copies in self.types])


@dataclass(frozen=True, repr=False)
class Scalar(Rep):
    """A number that no transformation moves; as a slot of a `Symmetry`, any tensor of any dtype."""

    def dim(self, group: Group) -> int:
        return 1

    def matrix(self, group: Group, g: Element) -> Float[Tensor, "*batch 1 1"]:
        part = g
        while isinstance(part, tuple):
            part = part[0]
        dtype = part.dtype if part.is_floating_point() else torch.get_default_dtype()
        return torch.ones(*group.batch_shape(g), 1, 1, dtype=dtype, device=part.device)

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Float[Tensor, "*batch 1 1"]:
        return v.new_zeros(*v.shape[:-1], 1, 1)

    def __call__(self, group: Group, g: Element, x: Any) -> Any:
        return x

    def orbit(self, group: Group, g: Element, x: Tensor) -> Tensor:
        return x.unsqueeze(0).expand(group.batch_shape(g)[0], *x.shape)

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        return rows

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        return [((), np.arange(1))]

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return None

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def dual(self) -> Rep:
        return self

    def of(self, factor: int) -> Rep:
        return self


@dataclass(frozen=True, repr=False)
class Vector(Rep):
    """The defining representation, `x -> A x` with A the linear part: velocities, forces, differences of positions.

    A `Symmetric(n)` acts on R^n by permutation matrices. `V` is this representation as a value.

    >>> import torch
    >>> from torsor.groups import E
    >>> Vector()(E(3), E(3).from_parts(-torch.eye(3), torch.ones(3)), torch.tensor([1.0, 2.0, 3.0]))
    tensor([-1., -2., -3.])
    """

    def dim(self, group: Group) -> int:
        if isinstance(group, DirectProduct):
            raise TypeError(f"{self} is ambiguous under {group}: name the factor that acts, for example {self}.of(0)")
        return group.n

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        self.dim(group)
        return _permutation_matrix(g) if permutes(group) else group.linear(g)

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        n = self.dim(group)
        return v.new_zeros(*v.shape[:-1], n, n) if permutes(group) else group.hat(v)[..., :n, :n]

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        return _permuted(rows, g) if permutes(group) else super()._move(group, g, rows)

    def orbit(self, group: Group, g: Element, x: Tensor) -> Tensor:
        if permutes(group):
            return super().orbit(group, g, x)
        return apply_matrices(self.matrix(group, g), x)

    def orbit_sum(self, group: Group, g: Element, weights: Tensor, x: Tensor) -> Tensor:
        if permutes(group):
            return super().orbit_sum(group, g, weights, x)
        return sum_matrices(self.matrix(group, g), weights, x)

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        return [((V,), np.arange(self.dim(group)))]

    @property
    def degree(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "V" if type(self) is Vector and self.per is None else super().__repr__()


@dataclass(frozen=True, repr=False)
class Perm(Vector):
    """The representation of `Symmetric(n)` and its subgroups on R^n by permutation matrices; no other group has it.

    >>> import torch
    >>> from torsor.groups import Symmetric
    >>> Perm()(Symmetric(3), torch.tensor([1, 2, 0]), torch.tensor([10, 20, 30]))
    tensor([30, 10, 20])
    """

    def dim(self, group: Group) -> int:
        if not permutes(group):
            raise TypeError(f"Perm needs a Symmetric group, or a subgroup of one; got {group}")
        return group.n

    @property
    def degree(self) -> int:
        return 0

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def dual(self) -> Rep:
        return self


@dataclass(frozen=True, repr=False)
class Regular(Rep):
    """The permutation of a finite group's own elements by left multiplication: `rho(g) e_h = e_(g h)`.

    >>> import torch
    >>> from torsor.groups import Cyclic
    >>> Regular()(Cyclic(4), Cyclic(4).elements()[1], torch.tensor([10, 20, 30, 40]))
    tensor([40, 10, 20, 30])
    """

    def dim(self, group: Group) -> int:
        if group.order is None:
            raise TypeError(f"Regular needs a finite group; got {group}")
        return group.order

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        matrix = _permutation_matrix(self._indices(group, g))
        return matrix.to(g.dtype) if isinstance(g, Tensor) and g.is_floating_point() else matrix

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        return v.new_zeros(*v.shape[:-1], self.dim(group), self.dim(group))

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        return _permuted(rows, self._indices(group, g))

    def _indices(self, group: Group, g: Element) -> Tensor:
        self.dim(group)
        index = group.index_of(g)
        return group.multiplication_table().to(index.device)[index]

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def dual(self) -> Rep:
        return self


V = Vector()
"""The defining representation of a group on R^n."""


def T(p: int, q: int = 0) -> Rep:
    """Tensors with p contravariant and q covariant indices, flattened row-major: `V**p * V.dual**q`.

    >>> T(2), T(1, 1), T(0)
    (V**2, V*V.dual, Scalar())
    """
    if p < 0 or q < 0:
        raise ValueError(f"T(p, q) needs p, q >= 0; got p={p}, q={q}")
    return _algebra().tensor_product((*[V] * p, *[V.dual] * q))


def permutes(group: Group) -> bool:
    """Whether the elements are permutations, given as indices."""
    return isinstance(group, Symmetric) or (isinstance(group, Subgroup) and permutes(group.group))


def _permutation_matrix(p: Tensor) -> Tensor:
    """P[p[i], i] = 1, in the default dtype."""
    return (p.unsqueeze(-2) == torch.arange(p.shape[-1], device=p.device)[:, None]).to(torch.get_default_dtype())


def _permuted(rows: Tensor, p: Tensor) -> Tensor:
    """y[..., p[i]] = rows[..., i] on the last axis of rows (*batch, rows, n), for indices p (*batch, n)."""
    return rows.take_along_dim(p.argsort(-1).unsqueeze(-2), -1)


def _algebra() -> Any:
    """The module of sums and products, which needs this one."""
    from torsor.actions import _algebra

    return _algebra

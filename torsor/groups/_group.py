"""What every group can do."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Element = Any
"""A batch of group elements: matrices (*batch, m, m), permutations as indices (*batch, n), or a tuple with one entry
per factor of a product."""


class Group:
    """A group as a value: frozen, hashable, picklable, without parameters, device or state.

    Elements are plain tensors (or tuples of them) with leading batch axes; the group holds the facts and the functions.
    Matrix groups act on points as columns, `g x = g @ x`; affine groups are homogeneous (n + 1) x (n + 1) matrices.
    Lie-algebra elements have coordinates `v` in the basis `basis()`: `hat(v)` is the matrix, `exp(v)` the group element.

    Attributes:
        name: what to print.
        n: dimension of the space that the group acts on (number of points for permutations).
        matrix_dim: size of the matrices that stand for elements.
        dim: dimension of the Lie algebra; 0 for finite groups.
        order: number of elements, or None.
        is_compact, is_finite, is_orthogonal, is_abelian, is_connected, is_unimodular: facts.
        exp_is_surjective: True where exp is known to reach every element.
        is_affine: True where elements are homogeneous matrices with a translation part.
    """

    n: int
    is_compact: bool = False
    is_orthogonal: bool = False
    is_abelian: bool = False
    is_connected: bool = False
    is_unimodular: bool = True
    exp_is_surjective: bool = False
    is_affine: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.n})"

    @property
    def matrix_dim(self) -> int:
        return self.n

    @property
    def dim(self) -> int:
        raise NotImplementedError

    @property
    def order(self) -> int | None:
        return None

    @property
    def is_finite(self) -> bool:
        return self.order is not None

    def __repr__(self) -> str:
        return self.name

    # ---------------------------------------------------------------- elements
    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """The neutral element, repeated over the batch axes."""
        raise NotImplementedError

    def compose(self, g: Element, h: Element) -> Element:
        """The product g h: first h, then g. Batch axes broadcast."""
        raise NotImplementedError

    def inverse(self, g: Element) -> Element:
        """The inverse of each element."""
        raise NotImplementedError

    def batch_shape(self, g: Element) -> tuple[int, ...]:
        """The leading axes of an element."""
        raise NotImplementedError

    def linear(self, g: Element) -> Float[Tensor, "*batch n n"]:
        """The linear part of each element on R^n."""
        raise NotImplementedError

    def translation(self, g: Element) -> Float[Tensor, "*batch n"] | None:
        """The translation part of each element, or None where the group is linear."""
        return None

    def parity(self, g: Element) -> Float[Tensor, "*batch"]:
        """The sign of the determinant of the linear part: -1 where an element reverses orientation."""
        raise NotImplementedError

    def contains(self, g: Element, atol: float | None = None) -> Bool[Tensor, "*batch"]:
        """Whether each candidate is an element, to a tolerance that depends on its dtype. Never reduces the batch."""
        raise NotImplementedError

    def project(self, g: Element) -> Element:
        """The nearest element, or a near one where no closed form is known."""
        raise NotImplementedError

    def distance_from_identity(self, g: Element) -> Float[Tensor, "*batch"]:
        """How far each element is from doing nothing: a number for the axis of a plot, 0 exactly at the identity."""
        raise NotImplementedError

    # ---------------------------------------------------------------- Lie algebra
    def hat(self, v: Float[Tensor, "*batch dim"]) -> Element:
        """The algebra matrix with coordinates v."""
        raise NotImplementedError

    def vee(self, X: Element, check: bool = False) -> Float[Tensor, "*batch dim"]:
        """The coordinates of an algebra matrix; with `check`, NotInGroupError where it is not in the algebra."""
        raise NotImplementedError

    def exp(self, v: Float[Tensor, "*batch dim"]) -> Element:
        """The group element expm(hat(v)). Differentiable everywhere, v = 0 included."""
        raise NotImplementedError

    def log(self, g: Element, on_failure: str = "raise") -> Float[Tensor, "*batch dim"]:
        """Coordinates v with exp(v) = g. LogDomainError where there are none, or NaN there with on_failure="nan"."""
        raise NotImplementedError

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """The basis of the Lie algebra, (dim, m, m)."""
        raise NotImplementedError

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """Elements (k, m, m) that generate the group together with exp of the algebra."""
        raise NotImplementedError

    # ---------------------------------------------------------------- sampling
    def sample(
        self,
        *shape: int,
        proposal: Any = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Element:
        """Random elements with batch axes `shape`: Haar on compact groups, else `proposal` or `default_proposal()`."""
        raise NotImplementedError

    # ---------------------------------------------------------------- finite groups
    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """All elements of a finite group, (order, ...); the identity comes first."""
        raise TypeError(f"{self} is not finite: it has no list of elements")

    def multiplication_table(self) -> Int[Tensor, "order order"]:
        """table[i, j] = index of elements()[i] elements()[j]."""
        raise TypeError(f"{self} is not finite: it has no multiplication table")

    def index_of(self, g: Element) -> Int[Tensor, "*batch"]:
        """The position of each element in `elements()`."""
        raise TypeError(f"{self} is not finite: its elements have no index")

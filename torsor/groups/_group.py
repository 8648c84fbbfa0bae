"""What every group can do."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor.groups._errors import LogDomainError, NonCompactError, NotInGroupError
from torsor.groups._precision import drawn_precisely
from torsor.groups.linalg import phi

Element = Any
"""A batch of group elements: matrices (*batch, m, m), permutations as indices (*batch, n), or a tuple with one entry
per factor of a product."""


class Group:
    """A group as a value: frozen, hashable, picklable, without parameters, device or state.

    Elements are plain tensors (or tuples of them) with leading batch axes; the group holds the facts and the functions.
    Matrix groups act on points as columns, `g x = g @ x`; affine groups are homogeneous (n + 1) x (n + 1) matrices.
    An element of the Lie algebra has coordinates `v` in `basis()`; `hat(v)` is its matrix, `exp(v)` the group element.

    A new group is a frozen dataclass that derives from `Group`, `GroupOfMatrices` or `AffineGroup`, and says what
    differs.

    Attributes:
        name: what to print.
        n: dimension of the space that the group acts on (number of things for permutations).
        matrix_dim: size of the matrices that stand for elements.
        dim: dimension of the Lie algebra; 0 for finite groups.
        order: number of elements, or None.
        is_compact, is_finite, is_orthogonal, is_abelian, is_connected, is_unimodular: facts. False also where a fact
            is not known.
        is_volume_preserving: every linear part has determinant 1 or -1.
        exp_is_surjective: True where exp is known to reach every element.
        is_affine: True where elements are homogeneous matrices with a translation part.
    """

    n: int
    is_compact: bool = False
    is_orthogonal: bool = False
    is_abelian: bool = False
    is_connected: bool = False
    is_unimodular: bool = True
    is_volume_preserving: bool = True
    is_affine: bool = False
    exp_is_surjective: bool = False
    dim: int = 0
    order: int | None = None

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.n})"

    @property
    def matrix_dim(self) -> int:
        return self.n

    @property
    def is_finite(self) -> bool:
        return self.order is not None

    def __repr__(self) -> str:
        return self.name

    # ------------------------------------------------------------------------------------------------------- elements
    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """The neutral element, repeated over the batch axes."""
        raise NotImplementedError

    def compose(self, g: Element, h: Element) -> Element:
        """The product g h: first h, then g. Batch axes broadcast."""
        raise NotImplementedError

    def inverse(self, g: Element) -> Element:
        """The inverse of each element, by a transpose or block formula where the structure allows; NaN if singular."""
        raise NotImplementedError

    def batch_shape(self, g: Element) -> tuple[int, ...]:
        """The leading axes of an element.

        Raises:
            TypeError, ValueError: its type or shape is not that of elements; whether it is one, `validate` says.
        """
        raise NotImplementedError

    def linear(self, g: Element) -> Float[Tensor, "*batch n n"]:
        """The linear part of each element on R^n."""
        raise TypeError(f"{self} has no linear part")

    def translation(self, g: Element) -> Float[Tensor, "*batch n"] | None:
        """The translation part of each element, or None where the group is linear."""
        return None

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Element:
        """The element with this linear part (*batch, n, n) and, for affine groups, this translation (*batch, n)."""
        raise TypeError(f"{self} has no linear and translation parts")

    def parity(self, g: Element) -> Float[Tensor, "*batch"]:
        """The sign of the determinant of the linear part: -1 where an element reverses orientation."""
        raise NotImplementedError

    def matrix(self, g: Element, dtype: torch.dtype | None = None) -> Float[Tensor, "*batch m m"]:
        """Each element as a matrix: itself for groups of matrices, the permutation matrix for indices."""
        raise TypeError(f"{self} has no single matrix per element")

    def contains(self, g: Element, atol: float | None = None) -> Bool[Tensor, "*batch"]:
        """Whether each candidate is an element, to `atol` (1e3 eps of its dtype). Keeps the batch axes; NaN is none."""
        raise NotImplementedError

    def validate(self, g: Element, atol: float | None = None) -> None:
        """Nothing, or NotInGroupError that says how many candidates are no elements and where the first one stands."""
        ok = self.contains(g, atol)
        if not bool(ok.all()):
            raise NotInGroupError(f"{count_bad(ok)} not in {self}")

    def project(self, g: Element) -> Element:
        """The nearest element in the Frobenius norm, or a near one where no closed form is known."""
        raise NotImplementedError

    def distance_from_identity(self, g: Element) -> Float[Tensor, "*batch"]:
        """How far each element is from doing nothing: a number for the axis of a plot, 0 exactly at the identity."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------------- Lie algebra
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
        """Coordinates v with exp(v) = g, rotations by pi at most. Differentiable along the group.

        Arguments:
            g: elements of the group (`validate` checks; NaN gives NaN).
            on_failure: "raise", or "nan" to put NaN where there is no logarithm (the form for vmap and compile).

        Raises:
            LogDomainError: where no real logarithm exists, or only on the cut locus, without a closed form
        """
        if on_failure not in ("raise", "nan"):
            raise ValueError(f'on_failure must be "raise" or "nan"; got {on_failure!r}')
        v, ok = self._log(g)
        if ok is None:
            return v
        if on_failure == "raise" and not bool(ok.all()):
            raise LogDomainError(f"{count_bad(ok)} without a logarithm in {self}: {self._log_advice}")
        return torch.where(ok[..., None], v, math.nan)

    _log_advice = 'take decompose(g, "polar") where the group has it, or on_failure="nan"'

    def _log(self, g: Element) -> tuple[Tensor, Tensor | None]:
        """(coordinates, mask of the elements that have them; None: all)."""
        raise NotImplementedError

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """The basis of the Lie algebra, (dim, m, m)."""
        raise NotImplementedError

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """Elements (k, m, m) that generate the group together with exp of the algebra."""
        raise NotImplementedError

    def bracket(self, v: Float[Tensor, "*#batch dim"], w: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*#batch dim"]:
        """The Lie bracket [v, w] in coordinates."""
        return (self.ad(v) @ w[..., None])[..., 0]

    def adjoint(self, g: Element) -> Float[Tensor, "*batch dim dim"]:
        """Ad(g): the matrix of X -> g X g^-1 in coordinates."""
        raise NotImplementedError

    def ad(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """ad(v): the matrix of w -> [v, w] in coordinates."""
        raise NotImplementedError

    # -------------------------------------------------------------------------------------------------------- measure
    @drawn_precisely
    def sample(
        self,
        *shape: int,
        proposal: Any = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Element:
        """Random elements with batch axes `shape`: Haar on compact groups, else `proposal` or `default_proposal()`.

        Arguments:
            shape: batch axes.
            proposal: a `torsor.groups.measure.Proposal`; "haar" for the normalised Haar measure or an error.
            generator: draws come from it, on its device; torch's default generator otherwise.
            dtype: floating-point type of the elements (indices stay indices).
            device: where the elements go.

        Raises:
            NonCompactError: "haar" on a group that is not compact, or no proposal and no default.
        """
        if isinstance(proposal, str) and proposal != "haar":
            raise ValueError(f'proposal must be a Proposal or "haar"; got {proposal!r}')
        if self.is_compact and (proposal is None or proposal == "haar"):
            return self._haar(tuple(shape), generator, dtype, device)
        if proposal == "haar":
            raise NonCompactError(f"{self} is not compact and has no normalised Haar measure: give sample a Proposal")
        if proposal is None:
            proposal = self.default_proposal()
        elif not callable(getattr(proposal, "draw", None)):
            raise TypeError(f'proposal must be a Proposal or "haar"; got {type(proposal).__name__}')
        elif proposal.group.matrix_dim != self.matrix_dim:
            raise ValueError(f"proposal must draw elements of {self}; got one for {proposal.group}")
        return proposal.draw(*shape, generator=generator, dtype=dtype, device=device)

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        """The law of `sample` without a proposal: Haar on compact factors, N(0, translation_scale^2) translations,
        N(0, 0.25^2) log-scales, a Riemannian Gaussian of width `spd_width` on positive definite factors, N(0, 0.5^2)
        rapidities. Arguments that the group has no use for are ignored.

        Raises:
            NonCompactError: a group that is not compact and has none of these factors.
        """
        if not self.is_compact:
            raise NonCompactError(f"{self} is not compact and has no default proposal: give sample a Proposal")
        from torsor.groups.measure import UniformCompact

        return UniformCompact(self)

    def _haar(
        self, shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any
    ) -> Element:
        raise NotImplementedError

    def log_modular(self, g: Element) -> Float[Tensor, "*batch"]:
        """log of the modular function D(g) = d_left(g h)/d_left(g) = |det Ad(h)|^-1; 0 on unimodular groups.

        With it left Haar measure is D times right Haar measure.
        """
        return -torch.linalg.slogdet(self.adjoint(g))[1]

    def haar_logdensity_exp(self, v: Float[Tensor, "*batch dim"], side: str = "left") -> Float[Tensor, "*batch"]:
        """log density of Haar measure in the chart exp, against Lebesgue measure of the coordinates v.

        |det((1 - e^-ad)/ad)| on the left, |det((e^ad - 1)/ad)| on the right; 0 at v = 0.
        """
        if side not in ("left", "right"):
            raise ValueError(f'side must be "left" or "right"; got {side!r}')
        ad = self.ad(v)
        return torch.linalg.slogdet(phi(-ad if side == "left" else ad))[1]

    # ------------------------------------------------------------------------------------------------- decompositions
    decompositions: tuple[str, ...] = ()

    def decompose(self, g: Element, kind: str = "polar") -> Any:
        """Factors of each element, a NamedTuple; `decompositions` lists the kinds that the group has.

        "polar": g = exp(Y) R, Y symmetric, R orthogonal. "lq": g = L Q, L lower triangular with positive diagonal.
        "qr": g = Q T, T upper triangular with positive diagonal. "kak": g = U diag(e^y) V^T. "levi": g = translation,
        then scale e^s, then what is left.
        """
        raise ValueError(f"{self} has no decompositions")

    def recompose(self, parts: Any) -> Element:
        """The element with these factors: undoes `decompose`."""
        raise ValueError(f"{self} has no decompositions")

    def haar_logdensity(self, parts: Any) -> Float[Tensor, "*batch"]:
        """The log density of Haar measure in the coordinates of the factors that `decompose` gives; of GL, GL+ and SL.

        The exact Jacobian of each decomposition, in the normalisation of `torsor.groups.measure`. Orthogonal factors
        count by their Haar probability. The other coordinates are: "polar", orthonormal ones of Y; "lq" and "qr", the
        logarithms of the diagonal and the entries off it; "kak", y in descending order; "levi", the logarithm of the
        scale and Haar measure of SL. In det 1, those of Y, of the diagonal and of y are orthonormal and without trace.

        Raises:
            TypeError: parts do not come from `decompose`.
            ValueError: another group.

        Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 3.

        >>> import torch
        >>> from torsor.groups import GLPlus
        >>> parts = GLPlus(2).decompose(torch.diag(torch.tensor([2.0, 0.5])), "polar")
        >>> GLPlus(2).haar_logdensity(parts)  # log(sinh(y) / y) at y = log 4
        tensor(0.3020)
        """
        raise ValueError(f"{self} has no Haar density in factors: only GL(n), GLPlus(n) and SL(n) do")

    # -------------------------------------------------------------------------------------------------- finite groups
    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Element:
        """All elements of a finite group, (order, ...); the identity comes first."""
        raise TypeError(f"{self} has no list of elements: it is not finite")

    def multiplication_table(self) -> Int[Tensor, "order order"]:
        """table[i, j] = index of elements()[i] elements()[j]."""
        g = self.elements(torch.float64)
        rows = [self.compose(pick(g, torch.tensor(i)), g) for i in range(self.order or 0)]
        return torch.stack([self.index_of(row) for row in rows])

    def index_of(self, g: Element) -> Int[Tensor, "*batch"]:
        """The position of each element in `elements()`."""
        raise TypeError(f"{self} has no list of elements: it is not finite")


def pick(g: Element, index: Tensor) -> Element:
    """g[index] along the first batch axis, for tensors and tuples alike."""
    return tuple(pick(part, index) for part in g) if isinstance(g, tuple) else g[index]


def count_bad(ok: Tensor) -> str:
    """ "2 of 7 elements (first at batch index (3,)) are": the start of a message about a batch."""
    first = tuple((~ok).nonzero()[0].tolist()) if ok.ndim else ()
    where = f" (first at batch index {first})" if first else ""
    bad = int((~ok).sum())
    return f"{bad} of {ok.numel()} elements{where} {'is' if bad == 1 else 'are'}"

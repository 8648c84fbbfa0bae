"""Direct products: one element per factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates
from torsor.groups._group import Group, pick

Elements = tuple[Any, ...]


@dataclass(frozen=True, repr=False, init=False)
class DirectProduct(Group):
    """Groups that act independently of each other. An element is a tuple, one entry per factor.

    Coordinates of the algebra are those of the factors, one after the other.

    Arguments:
        factors: two groups or more (one is allowed).

    Raises:
        TypeError: a factor is no group.
        ValueError: there is none.

    >>> import torch
    >>> from torsor import DirectProduct, SO, Symmetric
    >>> G = DirectProduct(SO(3), Symmetric(5))
    >>> R, p = G.sample(7, generator=torch.Generator().manual_seed(0))
    >>> G, R.shape, p.shape
    (SO(3) x Symmetric(5), torch.Size([7, 3, 3]), torch.Size([7, 5]))
    """

    factors: tuple[Group, ...]

    def __init__(self, *factors: Group) -> None:
        if not factors:
            raise ValueError("DirectProduct needs at least one factor; got none")
        for i, factor in enumerate(factors):
            if not isinstance(factor, Group):
                raise TypeError(f"factor {i} of DirectProduct must be a Group; got {type(factor).__name__}")
        object.__setattr__(self, "factors", factors)

    @property
    def name(self) -> str:
        return " x ".join(f"({f})" if isinstance(f, DirectProduct) else f.name for f in self.factors)

    @property
    def n(self) -> int:  # type: ignore[override]
        """The sum over the factors."""
        return sum(f.n for f in self.factors)

    @property
    def matrix_dim(self) -> int:
        """The sum over the factors."""
        return sum(f.matrix_dim for f in self.factors)

    @property
    def dim(self) -> int:  # type: ignore[override]
        return sum(f.dim for f in self.factors)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return math.prod(f.order or 1 for f in self.factors) if all(f.is_finite for f in self.factors) else None

    def _all(self, fact: str) -> bool:
        return all(getattr(f, fact) for f in self.factors)

    is_compact = property(lambda self: self._all("is_compact"))  # type: ignore[assignment]
    is_orthogonal = property(lambda self: self._all("is_orthogonal"))  # type: ignore[assignment]
    is_abelian = property(lambda self: self._all("is_abelian"))  # type: ignore[assignment]
    is_connected = property(lambda self: self._all("is_connected"))  # type: ignore[assignment]
    is_unimodular = property(lambda self: self._all("is_unimodular"))  # type: ignore[assignment]
    is_volume_preserving = property(lambda self: self._all("is_volume_preserving"))  # type: ignore[assignment]
    exp_is_surjective = property(lambda self: self._all("exp_is_surjective"))  # type: ignore[assignment]

    def _zip(self, g: Any, name: str = "g") -> list[tuple[Group, Any]]:
        if not isinstance(g, tuple | list):
            raise TypeError(
                f"{name} must be a tuple of {len(self.factors)} elements for {self}; got {type(g).__name__}"
            )
        if len(g) != len(self.factors):
            raise ValueError(f"{name} must have {len(self.factors)} entries for {self}; got {len(g)}")
        return list(zip(self.factors, g, strict=True))

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Elements:
        return tuple(f.identity(*batch, dtype=dtype, device=device) for f in self.factors)

    def batch_shape(self, g: Elements) -> tuple[int, ...]:
        shapes = [f.batch_shape(a) for f, a in self._zip(g)]
        return tuple(torch.broadcast_shapes(*shapes))

    def compose(self, g: Elements, h: Elements) -> Elements:
        return tuple(f.compose(a, b) for (f, a), (_, b) in zip(self._zip(g), self._zip(h, "h"), strict=True))

    def inverse(self, g: Elements) -> Elements:
        return tuple(f.inverse(a) for f, a in self._zip(g))

    def linear(self, g: Elements) -> Tensor:
        raise TypeError(f"{self} has no single linear part: take the one of a factor")

    def translation(self, g: Elements) -> Tensor | None:
        raise TypeError(f"{self} has no single translation part: take the one of a factor")

    def parity(self, g: Elements) -> Tensor:
        """The product of the parities."""
        return math.prod(f.parity(a) for f, a in self._zip(g))  # type: ignore[return-value]

    def contains(self, g: Elements, atol: float | None = None) -> Tensor:
        inside = [f.contains(a, atol) for f, a in self._zip(g)]
        return torch.stack(torch.broadcast_tensors(*inside)).all(0)

    def project(self, g: Elements) -> Elements:
        return tuple(f.project(a) for f, a in self._zip(g))

    def distance_from_identity(self, g: Elements) -> Tensor:
        """The root of the sum of the squares of the factors' distances."""
        return sum(f.distance_from_identity(a).square() for f, a in self._zip(g)).sqrt()  # type: ignore[union-attr]

    # ---------------------------------------------------------------------------------------------------- Lie algebra
    def _split(self, v: Tensor) -> list[tuple[Group, Tensor]]:
        check_coordinates(v, self.dim, self)
        return self._zip(v.split([f.dim for f in self.factors], -1))

    def hat(self, v: Tensor) -> Elements:
        return tuple(f.hat(w) for f, w in self._split(v))

    def vee(self, X: Elements, check: bool = False) -> Tensor:
        return torch.cat([f.vee(a, check) for f, a in self._zip(X, "X")], -1)

    def exp(self, v: Tensor) -> Elements:
        return tuple(f.exp(w) for f, w in self._split(v))

    def _log(self, g: Elements) -> tuple[Tensor, Tensor | None]:
        logs = [f._log(a) for f, a in self._zip(g)]
        dtype = next((v.dtype for v, _ in logs if v.shape[-1]), logs[0][0].dtype)
        masks = [ok for _, ok in logs if ok is not None]
        ok = torch.stack(torch.broadcast_tensors(*masks)).all(0) if masks else None
        return torch.cat([v.to(dtype) for v, _ in logs], -1), ok

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Elements:
        """A tuple, one (dim, m, m) per factor: zero where the coordinate belongs to another factor."""
        dtype = torch.get_default_dtype() if dtype is None else dtype
        return self.hat(torch.eye(self.dim, dtype=dtype, device=device))

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Elements:
        parts = [f.discrete_generators(dtype, device) for f in self.factors]
        counts = [f.batch_shape(h)[0] for f, h in zip(self.factors, parts, strict=True)]
        columns = []
        for i, (f, h) in enumerate(zip(self.factors, parts, strict=True)):
            before = f.identity(sum(counts[:i]), dtype=dtype, device=device)
            after = f.identity(sum(counts[i + 1 :]), dtype=dtype, device=device)
            columns.append(_join(before, h, after))
        return tuple(columns)

    def adjoint(self, g: Elements) -> Tensor:
        blocks = [f.adjoint(a) for f, a in self._zip(g)]
        return _block_diagonal(blocks)

    def ad(self, v: Tensor) -> Tensor:
        return _block_diagonal([f.ad(w) for f, w in self._split(v)])

    # -------------------------------------------------------------------------------------------------------- measure
    def log_modular(self, g: Elements) -> Tensor:
        return sum(f.log_modular(a) for f, a in self._zip(g))  # type: ignore[return-value]

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Elements:
        return tuple(f._haar(shape, generator, dtype, device) for f in self.factors)

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        """The default proposals of the factors, independent of each other."""
        from torsor.groups.measure import ProductProposal

        return ProductProposal(*[f.default_proposal(translation_scale, spd_width) for f in self.factors])

    # -------------------------------------------------------------------------------------------------- finite groups
    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Elements:
        """All tuples, the last factor running fastest."""
        if self.order is None:
            return super().elements(dtype, device)
        orders = [f.order or 1 for f in self.factors]
        index = torch.unravel_index(torch.arange(self.order, device=device), orders)
        return tuple(pick(f.elements(dtype, device), i) for f, i in zip(self.factors, index, strict=True))

    def index_of(self, g: Elements) -> Tensor:
        if self.order is None:
            return super().index_of(g)
        total = torch.zeros((), dtype=torch.long)
        for f, a in self._zip(g):
            index = f.index_of(a)
            total = total.to(index.device) * (f.order or 1) + index
        return total


def _join(*parts: Any) -> Any:
    """Elements one after the other along the first batch axis."""
    if isinstance(parts[0], tuple):
        return tuple(_join(*column) for column in zip(*parts, strict=True))
    return torch.cat(parts)


def _block_diagonal(blocks: list[Tensor]) -> Tensor:
    batch = torch.broadcast_shapes(*[b.shape[:-2] for b in blocks])
    dtype = next((b.dtype for b in blocks if b.shape[-1]), blocks[0].dtype)
    total, rows, column = sum(b.shape[-1] for b in blocks), [], 0
    for b in blocks:
        b = b.to(dtype).expand(*batch, *b.shape[-2:])
        rows.append(torch.nn.functional.pad(b, (column, total - column - b.shape[-1])))
        column += b.shape[-1]
    return torch.cat(rows, -2)

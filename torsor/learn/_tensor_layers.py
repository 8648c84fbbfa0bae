"""What stands between linear layers: gates and products, which commute with every group that acts on the tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions import Rep, Scalar
from torsor.actions._algebra import acts_orthogonally
from torsor.actions._rep import Factors, TensorType
from torsor.groups import Group

WEIGHT = 0.1
"""Of the products beside the linear part."""


def gated(rep: Rep) -> Rep:
    """The representation with one more scalar for each copy that is none, after its own scalars: the gates.

    >>> from torsor.actions import Scalar, V
    >>> from torsor.groups import O
    >>> gated((V + 2 * Scalar() + V**2).canonical(O(3)).rep)
    4*Scalar() + V + V**2
    """
    terms = getattr(rep, "terms", ((1, rep),))
    gates = sum(count for count, r in terms if not isinstance(r, Scalar))
    scalars = sum(count for count, r in terms if isinstance(r, Scalar))
    rest = [count * r for count, r in terms if not isinstance(r, Scalar)]
    return sum(rest, start=(scalars + gates) * Scalar())


class Gate(nn.Module):
    """`sigmoid(s) s` for scalars, `sigmoid(gate) x` for every other tensor; from `gated(rep)` to `rep`.

    Arguments:
        rep: in canonical order.
        group: says which tensors are of one type.
        rpp: add `w ⊙ (sigmoid(x) x)` with free weights, which start at 0.001 and commute with nothing.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7; Weiler et al. 2018 (arXiv 1807.02547).
    """

    def __init__(self, rep: Rep, group: Group, rpp: bool = False) -> None:
        super().__init__()
        self.types = canonical_types(rep, group)
        self.scalars = sum(t.copies for t in self.types if not t.factors)
        self.gates = sum(t.copies for t in self.types if t.factors)
        size = sum(t.copies * t.size for t in self.types)
        repeats = torch.tensor([t.size for t in self.types if t.factors for _ in range(t.copies)], dtype=torch.long)
        self.register_buffer("_gate_of", torch.repeat_interleave(torch.arange(self.gates), repeats), persistent=False)
        self.free = nn.Parameter(torch.full((size,), 1e-3)) if rpp else None

    def forward(self, x: Float[Tensor, "*batch gated"]) -> Float[Tensor, "*batch dim"]:
        s, gates, rest = x.split([self.scalars, self.gates, x.shape[-1] - self.scalars - self.gates], -1)
        out = torch.cat([s.sigmoid() * s, gates.sigmoid()[..., self._gate_of] * rest], -1)  # type: ignore[index]
        if self.free is None:
            return out
        values = torch.cat([s, rest], -1)
        return out + self.free * (values.sigmoid() * values)


class Products(nn.Module):
    """Products of tensors with tensors, with free weights: contractions, and outer products if `outer`.

    `out_b[o] += sum theta[o, i, n] <x_{a+b}[sel_n], x_a[i]>` contracts the last a axes with x_a; outer products are
    `out_{a+b}[o] += sum theta[o, i, n] x_a[i] ⊗ x_b[sel_n]`. The copies `sel` are drawn once.

    Arguments:
        rep: of inputs and outputs, in canonical order.
        group: says which tensors may be contracted: V with V for orthogonal groups, V with its dual for all.
        outer: with outer products; without them there is no product of two vectors unless rank 3 is among the tensors.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7, for contractions.
    """

    def __init__(self, rep: Rep, group: Group, outer: bool = True) -> None:
        super().__init__()
        types = canonical_types(rep, group)
        starts = [sum(t.copies * t.size for t in types[:i]) for i in range(len(types))]
        self.where = {t.factors: (start, t) for t, start in zip(types, starts, strict=True)}
        orthogonal = acts_orthogonally(group)
        self.products: list[tuple[str, Factors, Factors, Factors]] = []
        for large in types:
            for small in types:
                a = len(small.factors)
                head, tail = large.factors[: len(large.factors) - a], large.factors[len(large.factors) - a :]
                fits = a <= len(large.factors) and large.factors and tail == _dual(small.factors, orthogonal)
                if fits and head in self.where:
                    self._add("contract", large, small, head)
                joined = small.factors + large.factors
                if outer and small.factors and large.factors and joined in self.where:
                    self._add("outer", large, small, joined)

    def _add(self, kind: str, large: TensorType, small: TensorType, out: Factors) -> None:
        number, copies = len(self.products), self.where[out][1].copies
        chosen = torch.randperm(large.copies)[: min(large.copies, large.size)].clone()  # a view cannot be saved
        self.register_buffer(f"_sel{number}", chosen)
        theta = torch.randn(copies, small.copies * len(chosen)) / math.sqrt(small.copies * len(chosen))
        self.register_parameter(f"theta{number}", nn.Parameter(theta))
        self.products.append((kind, large.factors, small.factors, out))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        rows = x.reshape(-1, x.shape[-1])
        parts = {f: rows[:, s : s + t.copies * t.size].unflatten(1, (t.copies, t.size)) for f, (s, t) in self._all()}
        sums: dict[Factors, Tensor] = {}
        for number, (kind, large, small, out) in enumerate(self.products):
            many = parts[large].index_select(1, getattr(self, f"_sel{number}"))
            few = parts[small]
            if kind == "contract":
                pairs = torch.einsum("bnhk,bik->binh", many.unflatten(2, (-1, few.shape[2])), few)
            else:
                pairs = torch.einsum("bnk,bih->binhk", many, few).flatten(3)
            added = getattr(self, f"theta{number}") @ pairs.flatten(1, 2)
            sums[out] = sums[out] + added if out in sums else added
        found = [sums.get(f, torch.zeros_like(parts[f])).flatten(1) for f, _ in self._all()]
        return torch.cat(found, 1).reshape(x.shape)

    def _all(self) -> list[tuple[Factors, tuple[int, TensorType]]]:
        return list(self.where.items())


def canonical_types(rep: Rep, group: Group) -> Sequence[TensorType]:
    """The tensor types of a representation that is in canonical order.

    Raises:
        ValueError: it is not.
    """
    order = rep.canonical(group)
    if order.permutation.tolist() != list(range(len(order.permutation))):
        raise ValueError(f"hidden representations must be in canonical order, {order.rep}; got {rep}")
    return order.types


def _dual(factors: Factors, orthogonal: bool) -> Factors:
    return factors if orthogonal else tuple(f.dual for f in factors)

"""Irreducible representations of rotations and reflections, written as e3nn writes them: `Irreps("8x0e+4x1o")`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions._action import Element
from torsor.actions._algebra import acts_orthogonally, on_the_diagonal
from torsor.actions._rep import Factors, Rep, permutes
from torsor.actions._wigner import wigner_generators, wigner_ladder
from torsor.groups import DirectProduct, Group


class Irrep(NamedTuple):
    """One irreducible representation: its degree and its sign under inversion."""

    l: int
    p: int

    @property
    def dim(self) -> int:
        """Its dimension in space, 2 l + 1."""
        return 2 * self.l + 1

    @property
    def is_natural(self) -> bool:
        """Whether p = (-1)^l, as for harmonic polynomials of degree l; else they are multiplied by the determinant."""
        return self.p == (-1) ** self.l

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"


@dataclass(frozen=True, repr=False, init=False)
class Irreps(Rep):
    """A sum of irreducible representations on one axis, in e3nn's syntax, basis and order.

    `l` with parity p = (-1)^l stands for the harmonic polynomials of degree l, any other parity for the same times the
    determinant: `0e` is a scalar, `0o` a pseudo-scalar, `1o` a vector, `1e` a pseudo-vector. In space (SO(3), O(3),
    SE(3), E(3) and their subgroups on R^3) the basis is e3nn's real one with y as polar axis, so `1o` is (x, y, z). In
    the plane `l` is a frequency: dimension 2 with the basis (cos l phi, sin l phi), or 1 for l = 0. Translations do
    nothing.

    Arguments:
        entries: a string such as `"8x0e + 4x1o"`, `Irreps` or an irrep of e3nn or of ours, or pairs (copies, irrep).
        per: see `Action`.

    Raises:
        ValueError: the entries cannot be read.
        TypeError (from its methods): the group does not act on R^2 or R^3 by orthogonal matrices.

    >>> import torch
    >>> from torsor.groups import O
    >>> rep = Irreps("2x0e + 1o + 1x2e")
    >>> rep, rep.dim(O(3)), rep.slices()
    (Irreps('2x0e+1x1o+1x2e'), 10, [slice(0, 2, None), slice(2, 5, None), slice(5, 10, None)])
    >>> rep(O(3), -torch.eye(3), torch.ones(10))
    tensor([ 1.,  1., -1., -1., -1.,  1.,  1.,  1.,  1.,  1.])
    """

    entries: tuple[tuple[int, Irrep], ...]

    def __init__(self, entries: str | Iterable[Any] = (), *, per: Any = None) -> None:
        object.__setattr__(self, "entries", _parse(entries))
        object.__setattr__(self, "per", per)

    def __iter__(self) -> Iterator[tuple[int, Irrep]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def ls(self) -> list[int]:
        """The degree of each irrep, copies counted."""
        return [ir.l for count, ir in self for _ in range(count)]

    @property
    def lmax(self) -> int:
        """The highest degree; 0 where there is none."""
        return max([0, *self.ls])

    def dim(self, group: Group | None = None) -> int:
        """The length of the axis, under the group or, without one, in space."""
        plane = group is not None and self._space(group) == 2
        return sum(count * _size(ir, plane) for count, ir in self)

    def slices(self, group: Group | None = None) -> list[slice]:
        """Where each entry stands on the axis."""
        plane = group is not None and self._space(group) == 2
        ends = itertools.accumulate((count * _size(ir, plane) for count, ir in self), initial=0)
        return [slice(start, end) for start, end in itertools.pairwise(ends)]

    def matrix(self, group: Group, g: Element) -> Float[Tensor, "*batch dim dim"]:
        return on_the_diagonal(self._blocks(group, g), empty=group.linear(g)[..., :0, :0])

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Float[Tensor, "*batch dim dim"]:
        n = self._space(group)
        X = group.hat(v)[..., :n, :n]
        blocks = []
        for count, ir in self:
            if n == 2:
                table = ir.l * np.array([[[0.0, -1.0], [1.0, 0.0]]])[:, : _size(ir, True), : _size(ir, True)]
                rotation = X[..., 1, :1]
            else:
                table = wigner_generators(ir.l)
                rotation = torch.stack([X[..., 2, 1], X[..., 0, 2], X[..., 1, 0]], -1)
            J = torch.as_tensor(table, dtype=X.dtype, device=X.device)
            blocks.append((count, torch.einsum("...k,kij->...ij", rotation, J)))
        return on_the_diagonal(blocks, empty=X[..., :0, :0])

    def _blocks(self, group: Group, g: Element) -> list[tuple[int, Tensor]]:
        """For each entry its number of copies and the matrix of one copy."""
        R = group.linear(g)
        parity = group.parity(g).double()
        highest = max([0, *[ir.l for _, ir in self]])
        D = wigner_ladder(highest, R.double()) if self._space(group) == 3 else _turns(highest, R.double(), parity)
        sign = parity[..., None, None]
        return [(count, (D[ir.l] if ir.is_natural else sign * D[ir.l]).to(R.dtype)) for count, ir in self]

    def _move(self, group: Group, g: Element, rows: Tensor) -> Tensor:
        if not (rows.is_floating_point() or rows.is_complex()):
            raise TypeError(f"x must be a floating-point tensor for {self}; got {rows.dtype}")
        parts = [rows[..., :0]]
        for (count, D), where in zip(self._blocks(group, g), self.slices(group)):
            copies = rows[..., where].unflatten(-1, (count, D.shape[-1]))
            moved = copies.flatten(-3, -2) @ D.to(rows.dtype).mT
            parts.append(moved.unflatten(-2, copies.shape[-3:-1]).flatten(-2))
        return torch.cat(parts, -1)

    def _copies(self, group: Group) -> list[tuple[Factors, np.ndarray]]:
        copies = []
        for (count, ir), where in zip(self, self.slices(group)):
            factors = () if ir == (0, 1) else (Irreps([(1, ir)]),)
            positions = np.arange(where.start, where.stop).reshape(count, -1)
            copies += [(factors, position) for position in positions]
        return copies

    def _space(self, group: Group) -> int:
        """The dimension of the space, 2 or 3, or TypeError."""
        fits = not (isinstance(group, DirectProduct) or permutes(group)) and group.n in (2, 3)
        if not fits or not (torch.compiler.is_compiling() or acts_orthogonally(group)):
            raise TypeError(f"Irreps need a group that acts on R^2 or R^3 by orthogonal matrices; got {group}")
        return group.n

    @property
    def degree(self) -> int:
        return self.lmax

    @property
    def dual(self) -> Rep:
        return self

    def __add__(self, other: Rep) -> Rep:
        if isinstance(other, Irreps) and other.per == self.per:
            return replace(self, entries=self.entries + other.entries)
        return super().__add__(other)

    def __str__(self) -> str:
        return "+".join(f"{count}x{ir}" for count, ir in self)

    def __repr__(self) -> str:
        return f"Irreps('{self}'{'' if self.per is None else f', per={self.per!r}'})"


def _size(ir: Irrep, plane: bool) -> int:
    return min(ir.l + 1, 2) if plane else ir.dim


def _turns(lmax: int, R: Tensor, parity: Tensor) -> list[Tensor]:
    """The matrices on (Re z^l, Im z^l), z = x + i y, for l = 0..lmax: the angle times l, after the mirror if any."""
    cos, sin = R[..., 0, 0], R[..., 1, 0]
    c, s = torch.ones_like(cos), torch.zeros_like(sin)
    turns = [torch.ones_like(R[..., :1, :1])]
    for _ in range(lmax):
        c, s = cos * c - sin * s, sin * c + cos * s
        turns.append(torch.stack([c, -parity * s, s, parity * c], -1).unflatten(-1, (2, 2)))
    return turns


def _parse(entries: Any) -> tuple[tuple[int, Irrep], ...]:
    if isinstance(entries, str):
        entries = [part.strip() for part in entries.split("+")] if entries.strip() else []
    elif hasattr(entries, "l") and hasattr(entries, "p"):
        entries = [(1, entries)]
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: Any) -> tuple[int, Irrep]:
    words = f'an entry of Irreps must read like "8x1o" or be a pair (copies, irrep); got {entry!r}'
    if isinstance(entry, str):
        read = re.fullmatch(r"(?:(\d+)\s*x\s*)?(\d+)([eoy])", entry)
        if read is None:
            raise ValueError(words)
        count, l, letter = read.groups()
        return int(count or 1), Irrep(int(l), {"e": 1, "o": -1, "y": (-1) ** int(l)}[letter])
    try:
        if hasattr(entry, "l") and hasattr(entry, "p"):
            return 1, Irrep(int(entry.l), int(entry.p))
        count, irrep = entry
        l, p = _entry(irrep)[1] if isinstance(irrep, str) else irrep
    except (TypeError, ValueError) as error:
        raise ValueError(words) from error
    if count < 0 or l < 0 or p not in (1, -1):
        raise ValueError(words)
    return int(count), Irrep(int(l), int(p))

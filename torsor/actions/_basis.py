"""All equivariant linear maps between two representations, as an orthonormal basis."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions._kernel import METHODS, equivariant_kernel
from torsor.actions._rep import Rep, TensorType
from torsor.groups import Group
from torsor.groups._precision import full_precision


def equivariant_basis(
    group: Group,
    rep_in: Rep,
    rep_out: Rep,
    *,
    method: Literal["auto", "svd", "eigh", "krylov", "reynolds"] = "auto",
    tol: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> EquivariantBasis:
    """An orthonormal basis of the matrices W with `rep_out(g) W = W rep_in(g)` for every g in the group.

    The representations are sums of copies of tensor types; each pair of types is solved once, in float64, and
    remembered. The rank is certified: it is refused where the spectrum has no clear gap or where a generator finds
    fault with the basis. Several groups at once: `torsor.groups.join`.

    Arguments:
        group: any group with generators (compact for `method="reynolds"`).
        rep_in, rep_out: the representations between which W maps, W (dim_out, dim_in).
        method: `"auto"` takes orbits for signed permutations (exact), the eigenvectors of the stacked constraints up to
            800 unknowns (their singular vectors where that is not clear enough) and conjugate gradients above.
            The others name one solver; `"reynolds"` averages over the group and never looks at the generators.
        tol: what counts as zero, relative to the largest eigenvalue (singular value for `"svd"`); 1e-10 by default.
        dtype: of the basis that is returned; it is on the default device.

    Raises:
        TypeError: an argument is of the wrong kind, a representation does not fit the group, or a non-compact group is
            to be averaged over (`NonCompactError`).
        ValueError: unknown method, tol out of range, a pair of tensor types with more than 20000 unknowns.
        RuntimeError: the rank is ambiguous, or the basis fails its certificate.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 5; Kim et al. 2023 (arXiv 2306.00356).

    >>> import torch
    >>> from torsor.actions._rep import V
    >>> from torsor.groups import SO
    >>> basis = equivariant_basis(SO(2), V, V)
    >>> basis.rank, basis.project(torch.tensor([[1.0, 2.0], [4.0, 5.0]])).round()
    (2, tensor([[ 3., -1.],
            [ 1.,  3.]]))
    """
    if not isinstance(group, Group):
        raise TypeError(f"group must be a Group; got {type(group).__name__}")
    for name, rep in (("rep_in", rep_in), ("rep_out", rep_out)):
        if not isinstance(rep, Rep):
            raise TypeError(f"{name} must be a Rep; got {type(rep).__name__}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if tol is not None and not 0 < tol < 1:
        raise ValueError(f"tol must be between 0 and 1; got {tol}")
    return EquivariantBasis(group, rep_in, rep_out, method, tol).to(torch.get_default_device(), dtype)


class Block(NamedTuple):
    """The equivariant maps from each copy of one tensor type to each copy of another."""

    out: TensorType
    source: TensorType
    vectors: Float[Tensor, "unknowns rank"]
    """Orthonormal columns; a column is a map (out.size, source.size) flattened row-major."""
    gap: float


class EquivariantBasis(nn.Module):
    """What `equivariant_basis` gives: the space of equivariant matrices (dim_out, dim_in) and the projection on it.

    A module without parameters, so that it moves with the layer that holds it; its tensors are buffers that no
    state dict carries. Called, it projects.

    Attributes:
        group, rep_in, rep_out: what it is a basis for.
        shape: (dim_out, dim_in).
        rank: dimension of the space of equivariant matrices.
        gap: smallest non-zero eigenvalue of the stacked constraints over the largest zero one, worst over the blocks;
            inf where one of the two sides is empty or the basis is exact. For `method="reynolds"` the same ratio of the
            squared singular values of what the average leaves.
    """

    _rows_order: Tensor | None
    _rows_back: Tensor | None
    _columns_order: Tensor | None
    _columns_back: Tensor | None

    def __init__(self, group: Group, rep_in: Rep, rep_out: Rep, method: str, tol: float | None) -> None:
        super().__init__()
        self.group, self.rep_in, self.rep_out = group, rep_in, rep_out
        self._how = method, tol
        rows, columns = rep_out.canonical(group), rep_in.canonical(group)
        self.shape = (len(rows.permutation), len(columns.permutation))
        self._types = rows.types, columns.types
        self._gaps: list[float] = []
        for out in rows.types:
            for source in columns.types:
                kernel = equivariant_kernel(group, out.factors, source.factors, method, tol)
                self.register_buffer(f"_vectors{len(self._gaps)}", kernel.vectors.clone(), persistent=False)
                self._gaps.append(kernel.gap)
        self.rank = sum(b.out.copies * b.source.copies * b.vectors.shape[1] for b in self.blocks)
        self.gap = min(self._gaps, default=float("inf"))
        for name, order in (("rows", rows), ("columns", columns)):
            for kind, index in (("order", order.permutation), ("back", order.permutation.argsort())):
                stays = index.tolist() == list(range(len(index)))
                self.register_buffer(f"_{name}_{kind}", None if stays else index, persistent=False)

    @property
    def blocks(self) -> list[Block]:
        """One block per pair of tensor types, row by row."""
        pairs = [(out, source) for out in self._types[0] for source in self._types[1]]
        return [
            Block(out, source, getattr(self, f"_vectors{i}"), gap)
            for i, ((out, source), gap) in enumerate(zip(pairs, self._gaps))
        ]

    def forward(self, W: Float[Tensor, "*batch dim_out dim_in"]) -> Float[Tensor, "*batch dim_out dim_in"]:
        return self.project(W)

    @full_precision
    def project(self, W: Float[Tensor, "*batch dim_out dim_in"]) -> Float[Tensor, "*batch dim_out dim_in"]:
        """The equivariant matrix nearest to W."""
        self._check(W)
        parts = [B @ Q @ Q.mT for B, Q in self._coordinates(W)]
        return self._assemble(parts, W.shape[:-2], W)

    @full_precision
    def residual(self, W: Float[Tensor, "*batch dim_out dim_in"]) -> Float[Tensor, "*batch dim_out dim_in"]:
        """W less its projection: what is not equivariant about it."""
        return W - self.project(W)

    @full_precision
    def coefficients(self, W: Float[Tensor, "*batch dim_out dim_in"]) -> Float[Tensor, "*batch rank"]:
        """The coordinates of W's projection in the basis: block by block, copies of the output type first."""
        self._check(W)
        empty = W.new_zeros(*W.shape[:-2], 0)
        return torch.cat([empty, *((B @ Q).flatten(-3) for B, Q in self._coordinates(W))], -1)

    @full_precision
    def from_coefficients(self, c: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch dim_out dim_in"]:
        """The equivariant matrix with these coordinates."""
        if c.ndim < 1 or c.shape[-1] != self.rank:
            raise ValueError(f"c must be (..., {self.rank}), one coefficient per basis matrix; got {tuple(c.shape)}")
        parts, start = [], 0
        for out, source, Q, _ in self.blocks:
            shape = (out.copies, source.copies, Q.shape[1])
            end = start + out.copies * source.copies * Q.shape[1]
            parts.append(c[..., start:end].unflatten(-1, shape) @ Q.to(c.dtype).mT)
            start = end
        return self._assemble(parts, c.shape[:-1], c)

    def dense(self) -> Float[Tensor, "rank dim_out dim_in"]:
        """The basis matrices."""
        like = self.blocks[0].vectors if self._gaps else torch.empty(0, dtype=torch.float64)
        return self.from_coefficients(torch.eye(self.rank, dtype=like.dtype, device=like.device))

    def _apply(self, fn: Any, recurse: bool = True) -> EquivariantBasis:
        """Moved to a wider dtype, the vectors come from the solver again: float32 has lost half of their digits."""
        before = [block.vectors.dtype for block in self.blocks]
        super()._apply(fn, recurse)
        for i, (block, dtype) in enumerate(zip(self.blocks, before)):
            if torch.finfo(block.vectors.dtype).eps < torch.finfo(dtype).eps:
                solved = equivariant_kernel(self.group, block.out.factors, block.source.factors, *self._how).vectors
                setattr(self, f"_vectors{i}", solved.to(block.vectors, copy=True))
        return self

    def extra_repr(self) -> str:
        return f"{self.group}: {self.rep_in} -> {self.rep_out}, rank {self.rank} of {self.shape[0] * self.shape[1]}"

    def _check(self, W: Tensor) -> None:
        if W.ndim < 2 or tuple(W.shape[-2:]) != self.shape:
            raise ValueError(
                f"W must be (..., {self.shape[0]}, {self.shape[1]}) for maps {self.rep_in} -> {self.rep_out} under"
                f" {self.group}; got shape {tuple(W.shape)}"
            )
        if not W.is_floating_point():
            raise TypeError(f"W must be floating point; got {W.dtype}")

    def _coordinates(self, W: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each block the maps between copies, (..., copies out, copies in, unknowns), and its basis."""
        W = W if self._rows_order is None else W.index_select(-2, self._rows_order)
        W = W if self._columns_order is None else W.index_select(-1, self._columns_order)
        outs, sources = self._types
        rows = W.split([t.size * t.copies for t in outs], -2)
        blocks = [B for row in rows for B in row.split([t.size * t.copies for t in sources], -1)]
        return [
            (
                B.unflatten(-1, (source.copies, source.size))
                .unflatten(-3, (out.copies, out.size))
                .transpose(-3, -2)
                .flatten(-2),
                Q.to(B.dtype),
            )
            for B, (out, source, Q, _) in zip(blocks, self.blocks)
        ]

    def _assemble(self, parts: list[Tensor], batch: tuple[int, ...], like: Tensor) -> Tensor:
        """The inverse of `_coordinates`."""
        outs, sources = self._types
        if not outs or not sources:
            return like.new_zeros(*batch, *self.shape)
        blocks = [
            B.unflatten(-1, (out.size, source.size)).transpose(-3, -2).flatten(-2).flatten(-3, -2)
            for B, (out, source, _, _) in zip(parts, self.blocks)
        ]
        n = len(sources)
        W = torch.cat([torch.cat(blocks[i : i + n], -1) for i in range(0, len(blocks), n)], -2)
        W = W if self._rows_back is None else W.index_select(-2, self._rows_back)
        return W if self._columns_back is None else W.index_select(-1, self._columns_back)

"""The linear maps between two tensor types that commute with a group: the kernel of the generators' constraints.

A map W from a product of representations to another is a tensor with one axis per factor. A generator A of the Lie
algebra asks sum_f (A acting on axis f) W = 0, a discrete generator h asks (h acting on all axes) W = W.

Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 5.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from torsor.actions._rep import Factors
from torsor.groups import Group, NonCompactError

METHODS = ("auto", "svd", "eigh", "krylov", "reynolds")
DENSE = 800
"""Unknowns up to which the constraints are written out as a matrix."""
LARGEST = 20_000
CUT = 1e-10
"""What counts as zero, relative to the largest eigenvalue (eigh) or singular value (svd)."""
CLEAR_GAP = 1e4
EXACT = 1e-9
"""The largest entry of C Q that a certified basis may have, relative to the norm of the generator."""
LISTED = 5_000
"""Order up to which a finite group is averaged over element by element."""


class Kernel(NamedTuple):
    """An orthonormal basis (unknowns, rank) in float64, and how clearly its rank stands out."""

    vectors: Tensor
    gap: float


class AmbiguousRank(RuntimeError):
    """The constraints do not say clearly which maps are equivariant."""


@functools.lru_cache(maxsize=4096)
def equivariant_kernel(group: Group, out: Factors, source: Factors, method: str, tol: float | None) -> Kernel:
    """The maps from the product of `source` to that of `out`, flattened row-major, that commute with the group."""
    if method == "reynolds":
        return _canonical(*_reynolds(group, out, source))
    constraints = _constraints(group, out, source)
    unknowns = math.prod([f.dim(group) for f in (*out, *source)])
    if method == "auto" and all(isinstance(c, Fixed) for c in constraints):
        permutations = [_signed_permutation(c) for c in constraints]
        if all(p is not None for p in permutations):
            return Kernel(_orbits(unknowns, permutations), math.inf)  # type: ignore[arg-type]
    if unknowns > LARGEST:
        raise ValueError(
            f"rep_in and rep_out: a block of {unknowns} unknowns is larger than {LARGEST}; each of its basis vectors"
            f" takes {unknowns * 8 / 2**20:.1f} MiB and a dense solver {unknowns**2 * 8 / 2**30:.0f} GiB per generator"
        )
    if method == "krylov" or (method == "auto" and unknowns > DENSE):
        return _certified(constraints, *_krylov(constraints, unknowns), tol)
    active = _scaled(constraints, [c.apply(torch.eye(unknowns, dtype=torch.float64)) for c in constraints])
    if not active:
        return Kernel(torch.eye(unknowns, dtype=torch.float64), math.inf)
    if method != "svd":
        try:
            return _certified(constraints, *_eigh(active, tol or CUT), tol)
        except AmbiguousRank:
            if method == "eigh":
                raise
    return _certified(constraints, *_svd(active, tol or CUT), tol)


# ------------------------------------------------------------------ constraints
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


def _constraints(group: Group, out: Factors, source: Factors) -> list[Constraint]:
    constraints: list[Constraint] = []
    if group.dim:
        v = torch.eye(group.dim, dtype=torch.float64)
        axes = [f.dmatrix(group, v) for f in out] + [-f.dmatrix(group, v).mT for f in source]
        constraints += [Tangent(matrices) for matrices in _real(axes, group.dim, group)]
    h = group.discrete_generators(torch.float64)
    inverse = group.inverse(h)
    axes = [f.matrix(group, h) for f in out] + [f.matrix(group, inverse).mT for f in source]
    return constraints + [Fixed(matrices) for matrices in _real(axes, group.batch_shape(h)[0], group)]


def _real(axes: list[Tensor], count: int, group: Group) -> list[tuple[Tensor, ...]]:
    """The matrices of all axes for each generator, in float64."""
    if any(m.is_complex() for m in axes):
        raise TypeError(f"equivariant maps are solved for real representations; those of {group} are complex")
    return [tuple(m[i].double() for m in axes) for i in range(count)]


def _scaled(constraints: list[Constraint], applied: list[Tensor]) -> list[Tensor]:
    """The constraints applied to the same columns, each divided by its size; those that always hold are dropped."""
    scaled = []
    for constraint, rows in zip(constraints, applied):
        size = float(rows.norm()) / math.sqrt(rows.shape[1])
        if size > 1e-12 * constraint.bound():
            scaled.append(rows / size)
    return scaled


# ------------------------------------------------------------------ permutations: exact orbits
def _signed_permutation(constraint: Constraint) -> tuple[np.ndarray, np.ndarray] | None:
    """Where each unknown goes and with which sign, if every matrix is a signed permutation."""
    target, sign = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    for matrix in constraint.matrices:
        m = matrix.numpy()
        whole = np.rint(m).astype(np.int64)
        once = (np.abs(whole).sum(0) == 1).all() and (np.abs(whole).sum(1) == 1).all()
        if not once or np.abs(m - whole).max(initial=0) > 1e-12:
            return None
        goes = np.abs(whole).argmax(0)
        target = (len(m) * target[:, None] + goes).reshape(-1)
        sign = (sign[:, None] * whole.sum(0)).reshape(-1)
    return target, sign


def _orbits(unknowns: int, permutations: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """One basis vector per orbit of the unknowns; an orbit that meets its own negative has none.

    Unknown i stands twice, as +i and as -i (i + unknowns); the orbits are connected components.
    """
    i = np.arange(unknowns)
    start = [np.concatenate([i, i + unknowns]) for _ in permutations]
    ends = [np.where(np.concatenate([s, -s]) > 0, np.tile(t, 2), np.tile(t, 2) + unknowns) for t, s in permutations]
    start, ends = np.concatenate([i, *start]), np.concatenate([i, *ends])
    graph = coo_array((np.ones(len(start)), (start, ends)), shape=(2 * unknowns, 2 * unknowns))
    _, label = connected_components(graph, directed=False)
    plus, minus = label[:unknowns], label[unknowns:]
    first = {}
    for index in np.flatnonzero(plus != minus):
        if minus[index] not in first:
            first.setdefault(plus[index], len(first))
    vectors = torch.zeros(unknowns, len(first), dtype=torch.float64)
    for labels, sign in ((plus, 1.0), (minus, -1.0)):
        column = np.array([first.get(x, -1) for x in labels], dtype=np.int64)
        rows = np.flatnonzero(column >= 0)
        vectors[torch.from_numpy(rows), torch.from_numpy(column[rows])] = sign
    return vectors / vectors.norm(dim=0).clamp(min=1)


# ------------------------------------------------------------------ dense solvers
def _eigh(active: list[Tensor], tol: float) -> tuple[Tensor, float]:
    square = sum((C.mT @ C for C in active), torch.zeros_like(active[0]))
    values, vectors = torch.linalg.eigh(square)
    floor = torch.finfo(torch.float64).eps * values[-1]
    return vectors[:, : int((values <= tol * values[-1]).sum())], _gap(values, tol * values[-1], floor)


def _svd(active: list[Tensor], tol: float) -> tuple[Tensor, float]:
    _, values, vectors = torch.linalg.svd(torch.cat(active), full_matrices=False)
    values, vectors = values.flip(0), vectors.mH.flip(1)
    floor = (torch.finfo(torch.float64).eps * values[-1]) ** 2
    return vectors[:, : int((values <= tol * values[-1]).sum())], _gap(values**2, (tol * values[-1]) ** 2, floor)


def _gap(ascending: Tensor, cut: Tensor, floor: Tensor) -> float:
    zero, rest = ascending[ascending <= cut], ascending[ascending > cut]
    if not len(zero) or not len(rest):
        return math.inf
    return float(rest[0] / torch.maximum(zero[-1].abs(), floor))


# ------------------------------------------------------------------ matrix-free solver
def _krylov(constraints: list[Constraint], unknowns: int) -> tuple[Tensor, float]:
    """Random columns projected on the kernel of C^T C by conjugate gradients, more of them until they are dependent."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(unknowns, 8, generator=generator, dtype=torch.float64)
    sizes = [float(c.apply(probe).norm() / probe.norm()) for c in constraints]
    active = [(c, size) for c, size in zip(constraints, sizes) if size > 1e-12 * c.bound()]
    if not active:
        return torch.eye(unknowns, dtype=torch.float64), math.inf

    def square(w: Tensor) -> Tensor:
        return sum((c.apply(c.apply(w), transpose=True) / size**2 for c, size in active), torch.zeros_like(w))

    projected, smallest, largest = probe[:, :0], math.inf, 0.0
    while True:
        count = max(8, projected.shape[1])
        columns = torch.randn(unknowns, count, generator=generator, dtype=torch.float64)
        more, low, high = _project_on_kernel(square, columns)
        projected, smallest, largest = torch.cat([projected, more], 1), min(smallest, low), max(largest, high)
        vectors, values, _ = torch.linalg.svd(projected, full_matrices=False)
        vectors = vectors[:, values > 1e-7 * math.sqrt(unknowns)]
        if vectors.shape[1] == 0:
            return vectors, math.inf
        if vectors.shape[1] < min(projected.shape):
            # one more pass takes away the error that orthogonalisation has enlarged
            vectors = torch.linalg.qr(_project_on_kernel(square, vectors)[0])[0]
            left = float((vectors * square(vectors)).sum(0).max())
            return vectors, smallest / max(left, torch.finfo(torch.float64).eps * largest)


def _project_on_kernel(square: Any, w: Tensor, sweeps: int = 2, steps: int = 3000) -> tuple[Tensor, float, float]:
    """The projection of each column on the kernel of a positive semi-definite operator, by conjugate gradients on
    `square(w) = 0`, restarted from the true residual; and the extreme non-zero eigenvalues that the first run saw."""
    ritz = None
    scale = w.norm(dim=0).clamp(min=1e-300)
    for _ in range(sweeps):
        residual = -square(w)
        direction, size = residual.clone(), residual.square().sum(0)
        enough = torch.maximum(1e-24 * size, 1e-30 * scale**2)
        alphas, betas = [], []
        for _ in range(steps):
            active = size > enough
            if not active.any():
                break
            image = square(direction)
            curvature = (direction * image).sum(0)
            alpha = torch.where(active, size / curvature, 0)
            w, residual = w + alpha * direction, residual - alpha * image
            before, size = size, torch.where(active, residual.square().sum(0), size)
            beta = torch.where(active, size / before, 0)
            direction = residual + beta * direction
            alphas.append(alpha)
            betas.append(beta)
        else:
            raise AmbiguousRank(f"conjugate gradients did not reach the kernel in {steps} steps")
        if ritz is None:
            ritz = _ritz(alphas, betas)
    low, high = ritz or (math.inf, 0.0)
    return w, low, high


def _ritz(alphas: list[Tensor], betas: list[Tensor]) -> tuple[float, float] | None:
    """The extreme eigenvalues of the Lanczos matrices that conjugate gradients build, over all columns."""
    extremes = []
    for column in range(len(alphas[0]) if alphas else 0):
        a = np.array([float(x[column]) for x in alphas])
        a, b = a[a > 0], np.array([float(x[column]) for x in betas])[: np.count_nonzero(a)]
        if not len(a):
            continue
        diagonal = 1 / a + np.concatenate([[0], b[:-1] / a[:-1]])
        beside = np.sqrt(b[:-1]) / a[:-1]
        values = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        extremes.append((values[0], values[-1]))
    return (min(low for low, _ in extremes), max(high for _, high in extremes)) if extremes else None


# ------------------------------------------------------------------ averages over the group
def _reynolds(group: Group, out: Factors, source: Factors) -> tuple[Tensor, float]:
    """Random columns averaged over the group: over its elements where they can be listed, else over Haar samples again
    and again, which contracts everything but the invariants by a constant factor each time."""
    if not group.is_compact:
        raise NonCompactError(f'method="reynolds" averages over the group and needs a compact one; got {group}')
    unknowns = math.prod([f.dim(group) for f in (*out, *source)])
    listed = group.order is not None and group.order <= LISTED
    generator = torch.Generator().manual_seed(0)

    def average(g: Any, w: Tensor) -> Tensor:
        inverse = group.inverse(g)
        axes = [f.matrix(group, g).double() for f in out] + [f.matrix(group, inverse).mT.double() for f in source]
        count = group.batch_shape(g)[0]
        return sum((Fixed(tuple(m[i] for m in axes)).apply(w) for i in range(count)), torch.zeros_like(w)) / count + w

    block = 8
    while True:
        columns = torch.randn(unknowns, block, generator=generator, dtype=torch.float64)
        if listed:
            columns = average(group.elements(torch.float64), columns)
        else:
            for _ in range(40):  # by 1/4 each
                columns = average(group.sample(16, generator=generator, dtype=torch.float64), columns)
        vectors, values, _ = torch.linalg.svd(columns, full_matrices=False)
        rank = int((values > 1e-7 * math.sqrt(unknowns)).sum())
        if rank < min(block, unknowns) or rank == unknowns:
            gap = _gap(values.flip(0) ** 2, values[0] ** 2 * 1e-14, values[0] ** 2 * 1e-30) if rank else math.inf
            return vectors[:, :rank], gap
        block *= 2


# ------------------------------------------------------------------ certificate
def _certified(constraints: list[Constraint], vectors: Tensor, gap: float, tol: float | None) -> Kernel:
    """The kernel in a canonical basis, once its rank stands out and it satisfies the constraints."""
    rank = vectors.shape[1]
    limit = EXACT if tol is None else max(EXACT, math.sqrt(tol))
    sizes = [(c.apply(vectors).abs().max(), c.bound()) for c in constraints if rank]
    left = max([float(rows) / bound for rows, bound in sizes if bound], default=0.0)
    if gap < CLEAR_GAP or left > limit:
        raise AmbiguousRank(f"ambiguous rank r={rank}, gap={gap:.3g}, max |C Q| = {left:.3g}")
    return _canonical(vectors, gap)


def _canonical(vectors: Tensor, gap: float) -> Kernel:
    """The orthonormal basis that depends on the subspace alone: Gram-Schmidt on the columns of the projector in the
    order of the unknowns, skipping those that add little; the largest entry of each vector is positive."""
    Q = vectors.numpy()
    unknowns, rank = Q.shape
    turn = np.zeros((rank, rank))  # rows: the coefficients of the new basis in the old one
    found = 0
    for row in Q:
        if found == rank:
            break
        rest = row - turn[:found].T @ (turn[:found] @ row)
        rest = rest - turn[:found].T @ (turn[:found] @ rest)
        size = np.linalg.norm(rest)
        # while vectors are missing, some column of the rest of the projector has norm >= 1 / sqrt(unknowns)
        if size > 0.43 / math.sqrt(unknowns):
            turn[found], found = rest / size, found + 1
    basis = Q @ turn.T
    if rank:
        largest = (np.abs(basis) > (1 - 1e-6) * np.abs(basis).max(0)).argmax(0)
        basis = basis * np.sign(basis[largest, np.arange(rank)])
    if np.abs(basis.T @ basis - np.eye(rank)).max(initial=0) > 1e-12:
        raise RuntimeError("the basis of equivariant maps is not orthonormal to 1e-12")
    return Kernel(torch.from_numpy(basis), gap)

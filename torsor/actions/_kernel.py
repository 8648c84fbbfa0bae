"""The linear maps between two tensor types that commute with a group, as a certified kernel."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torsor.actions._constraints import AmbiguousRank, Constraint, Fixed, constraints, scaled, spectral_gap
from torsor.actions._krylov import krylov
from torsor.actions._rep import Factors
from torsor.actions._reynolds import reynolds
from torsor.groups import Group

METHODS = ("auto", "svd", "eigh", "krylov", "reynolds")
DENSE = 800
"""Unknowns up to which the constraints are written out as a matrix."""
LARGEST = 20_000
CUT = 1e-10
"""What counts as zero, relative to the largest eigenvalue (eigh) or singular value (svd)."""
CLEAR_GAP = 1e4
EXACT = 1e-9
"""The largest entry of C Q that a certified basis may have."""
ROUNDING = 100 * torch.finfo(torch.float64).eps
"""What rounding adds to C Q, relative to the norm of the generator."""
COARSE = 1e-3
"""Rounding from which on a discrete generator is too large to be told from the identity beside it."""


class Kernel(NamedTuple):
    """An orthonormal basis (unknowns, rank) in float64, and how clearly its rank stands out."""

    vectors: Tensor
    gap: float


@functools.lru_cache(maxsize=4096)
def equivariant_kernel(group: Group, out: Factors, source: Factors, method: str, tol: float | None) -> Kernel:
    """The maps from the product of `source` to that of `out`, flattened row-major, that commute with the group.

    Solved on the CPU whatever the default device is, and remembered.
    """
    with torch.device("cpu"), torch.no_grad():
        return _solve(group, out, source, method, tol)


def _solve(group: Group, out: Factors, source: Factors, method: str, tol: float | None) -> Kernel:
    if method == "reynolds":
        return _canonical(*reynolds(group, out, source))
    conditions = constraints(group, out, source)
    unknowns = math.prod([f.dim(group) for f in (*out, *source)])
    if method == "auto" and all(isinstance(c, Fixed) for c in conditions):
        from torsor.actions._orbits import orbits, signed_permutation  # scipy is slow to import

        permutations = [signed_permutation(c) for c in conditions]
        if all(p is not None for p in permutations):
            return Kernel(orbits(unknowns, permutations), math.inf)  # type: ignore[arg-type]
    if unknowns > LARGEST:
        raise ValueError(
            f"rep_in and rep_out: a block of {unknowns} unknowns is larger than {LARGEST}; each of its basis vectors"
            f" takes {unknowns * 8 / 2**20:.1f} MiB and a dense solver {unknowns**2 * 8 / 2**30:.0f} GiB per generator"
        )
    if method == "krylov" or (method == "auto" and unknowns > DENSE):
        return _certified(conditions, *krylov(conditions, unknowns), tol)
    active = scaled(conditions, [c.apply(torch.eye(unknowns, dtype=torch.float64)) for c in conditions])
    if not active:
        return Kernel(torch.eye(unknowns, dtype=torch.float64), math.inf)
    if method != "svd":
        try:
            return _certified(conditions, *_eigh(active, tol or CUT), tol)
        except AmbiguousRank:
            if method == "eigh":
                raise
    return _certified(conditions, *_svd(active, tol or CUT), tol)


def _eigh(active: list[Tensor], tol: float) -> tuple[Tensor, float]:
    square = sum((C.mT @ C for C in active), torch.zeros_like(active[0]))
    values, vectors = torch.linalg.eigh(square)
    floor = torch.finfo(torch.float64).eps * values[-1]
    return vectors[:, : int((values <= tol * values[-1]).sum())], spectral_gap(values, tol * values[-1], floor)


def _svd(active: list[Tensor], tol: float) -> tuple[Tensor, float]:
    _, values, vectors = torch.linalg.svd(torch.cat(active), full_matrices=False)
    values, vectors = values.flip(0), vectors.mH.flip(1)
    floor = (torch.finfo(torch.float64).eps * values[-1]) ** 2
    return vectors[:, : int((values <= tol * values[-1]).sum())], spectral_gap(
        values**2, (tol * values[-1]) ** 2, floor
    )


def _certified(conditions: list[Constraint], vectors: Tensor, gap: float, tol: float | None) -> Kernel:
    """The kernel in a canonical basis, once its rank stands out and it satisfies the constraints."""
    rank = vectors.shape[1]
    exact = EXACT if tol is None else max(EXACT, math.sqrt(tol))
    worst = max((_excess(c, vectors, exact) for c in conditions if rank), default=0.0)
    if gap < CLEAR_GAP or worst > 1:
        raise AmbiguousRank(f"ambiguous rank r={rank}, gap={gap:.3g}, |C Q| at {worst:.3g} of its limit")
    return _canonical(vectors, gap)


def _excess(condition: Constraint, vectors: Tensor, exact: float) -> float:
    """The largest entry of C Q over the limit: `exact`, for short generators relative to their norm, and for long ones
    no less than rounding. A generator of the algebra has no length of its own; a discrete one has that of the identity,
    which rounding must not reach."""
    bound = condition.bound()
    if not bound:
        return 0.0
    if isinstance(condition, Fixed) and ROUNDING * bound > max(COARSE, exact):
        return math.inf
    left = float(condition.apply(vectors).abs().max())
    return left / max(exact * min(bound, 1.0), ROUNDING * bound)


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

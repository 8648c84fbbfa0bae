"""Equivariant maps of groups that permute the coordinates, up to sign: one per orbit, exact."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torsor.actions._constraints import Constraint


def signed_permutation(constraint: Constraint) -> tuple[np.ndarray, np.ndarray] | None:
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


def orbits(unknowns: int, permutations: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """One basis vector per orbit of the unknowns; an orbit that meets its own negative has none.

    Unknown i stands twice, as +i and as -i (i + unknowns); the orbits are connected components.
    """
    from scipy.sparse import coo_array  # here, because importing the library must not import SciPy
    from scipy.sparse.csgraph import connected_components

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

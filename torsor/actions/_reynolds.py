"""The equivariant maps as an average over the group: a solver that never looks at the generators."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torsor.actions._constraints import Fixed, spectral_gap
from torsor.actions._rep import Factors
from torsor.groups import Group, NonCompactError

LISTED = 5_000
"""Order up to which a finite group is averaged over element by element."""


def reynolds(group: Group, out: Factors, source: Factors) -> tuple[Tensor, float]:
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
            gap = (
                spectral_gap(values.flip(0) ** 2, values[0] ** 2 * 1e-14, values[0] ** 2 * 1e-30) if rank else math.inf
            )
            return vectors[:, :rank], gap
        block *= 2

"""Which atoms are closer than a cutoff, in molecules and in crystals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DENSE = 300
"""Up to so many atoms without a cell all pairs are looked at."""


class Neighbours(NamedTuple):
    """Directed edges between atoms.

    Arguments:
        edge_index: (2, edges), from the neighbour to the centre.
        shifts: (edges, 3), whole cells between the two; None where there are none.
    """

    edge_index: Tensor
    shifts: Tensor | None


def neighbour_list(
    positions: Float[Tensor, "n 3"],
    cutoff: float,
    cell: Float[Tensor, "3 3"] | None = None,
    pbc: Bool[Tensor, 3] | None = None,
) -> Neighbours:
    """All pairs of atoms closer than a cutoff, each in both directions, with the cells that are crossed.

    The vector of an edge is `positions[i] - positions[j] + shifts @ cell` for `i, j = edge_index`. Small molecules by
    the distances of all pairs; crystals and large systems by `vesin`, or ASE where that is not there.

    Arguments:
        positions: in any unit.
        cutoff: in the same unit.
        cell: rows are lattice vectors.
        pbc: along which of them the structure repeats; by default all, if there is a cell.

    Raises:
        ImportError: for a crystal or a large system without vesin and ASE.
        ValueError: the cutoff is not positive, or a position not finite.

    >>> neighbour_list(torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 3]]), 2.5).edge_index
    tensor([[1, 0, 2, 1],
            [0, 1, 1, 2]])
    """
    if not cutoff > 0:
        raise ValueError(f"cutoff must be positive; got {cutoff}")
    x = positions.detach()
    if not bool(torch.isfinite(x).all()):
        raise ValueError("positions must be finite")
    periodic = cell is not None and (pbc is None or bool(pbc.any()))
    if not periodic and len(x) <= DENSE:
        near = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") < cutoff
        target, source = near.fill_diagonal_(False).nonzero().unbind(1)
        return Neighbours(torch.stack([source, target]), None)
    i, j, shifts = _listed(x, cutoff, cell, pbc)
    index = torch.as_tensor(np.stack([j, i]).astype(np.int64), device=x.device)
    return Neighbours(index, torch.as_tensor(shifts, device=x.device).to(x.dtype) if periodic else None)


def molecule_edges(positions: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"], cutoff: float) -> Int[Tensor, "2 e"]:
    """The edges within padded molecules, numbered by the atoms that the mask keeps."""
    x = positions.detach()
    # differences, not scalar products: those lose half of the digits
    square = (x.unsqueeze(1) - x.unsqueeze(2)).square().sum(-1)
    # what is not finite is near, so that it shows in the energy
    near = (square < cutoff**2) | ~square.isfinite()
    near = near & mask.unsqueeze(1) & mask.unsqueeze(2) & ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    number = (mask.flatten().cumsum(0) - 1).view_as(mask)
    molecule, target, source = near.nonzero().unbind(1)
    return torch.stack([number[molecule, source], number[molecule, target]])


def _listed(x: Tensor, cutoff: float, cell: Tensor | None, pbc: Tensor | None) -> tuple[np.ndarray, ...]:
    points = x.cpu().double().numpy()
    box = np.zeros((3, 3)) if cell is None else cell.detach().cpu().double().numpy()
    repeats = np.full(3, cell is not None) if pbc is None else pbc.cpu().numpy().astype(bool)
    try:
        from vesin import NeighborList  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:
        if repeats.all() or not repeats.any():
            search = NeighborList(cutoff=cutoff, full_list=True)
            return search.compute(points=points, box=box, periodic=bool(repeats.all()), quantities="ijS")
    try:
        from ase.neighborlist import primitive_neighbor_list
    except ImportError:
        raise ImportError("crystals and large systems need vesin or ase: pip install 'torsor[molecules]'") from None
    return primitive_neighbor_list("ijS", repeats, box, points, cutoff)

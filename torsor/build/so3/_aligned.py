"""Convolutions in the frame of each edge, where a filter of spherical harmonics couples equal orders only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from torsor.actions import Irrep, Irreps, wigner_3j
from torsor.actions._wigner import wigner_ladder
from torsor.build.so3._tables import constants

Coupling = tuple[Irrep, int, Irrep, int, int]
"""Irrep of the node, degree of the edge, irrep of the result, and the entries of the two irreps."""


def edge_frames(direction: Tensor) -> Tensor:
    """Rotations that take unit vectors to the y axis, polynomial in them on either half of the sphere.

    What the frames are used for does not depend on the turn about y that is left, so the seam at y = 0 cannot be seen.
    """
    below = direction[..., 1:2] < 0
    half_turn = direction.new_tensor([1.0, -1.0, -1.0])  # about x: y and -y change places
    x, y, z = torch.where(below, half_turn * direction, direction).unbind(-1)
    # I + [v] + [v]^2 / (1 + y) with v = n x e_y = (-z, 0, x)
    share = 1 / (1 + y)
    rows = [1 - share * x * x, -x, -share * x * z, x, y, z, -share * x * z, -z, 1 - share * z * z]
    R = torch.stack(rows, -1).unflatten(-1, (3, 3))
    return torch.where(below.unsqueeze(-1), R * half_turn, R)


def aligned_messages(
    x: Tensor, direction: Tensor, weight: Tensor, irreps_in: Irreps, irreps_out: Irreps, couplings: Sequence[Coupling]
) -> Tensor:
    """Products of features (E, dim) with harmonics of directions (E, 3), weighted by path and channel (E, paths, C).

    The weights are those on `wigner_3j`, for harmonics with `normalization="component"`. O(L^3) per channel.

    Source: Passaro, Zitnick 2023 (arXiv 2302.03655).
    """
    lmax = max(irreps_in.lmax, irreps_out.lmax)
    D = wigner_ladder(lmax, edge_frames(direction))
    turned = [
        x[..., where].unflatten(-1, (count, ir.dim)) @ D[ir.l].mT
        for (count, ir), where in zip(irreps_in, irreps_in.slices())
    ]
    pairs: dict[tuple[int, int], list[int]] = {}
    for p, (*_, i, k) in enumerate(couplings):
        pairs.setdefault((i, k), []).append(p)
    out = [x.new_zeros(*x.shape[:-1], count, ir.dim) for count, ir in irreps_out]
    for (i, k), paths in pairs.items():
        a, _, c, _, _ = couplings[paths[0]]
        (table,) = constants(_orders, tuple(couplings[p][:3] for p in paths), dtype=x.dtype, device=x.device)
        reach = (table.shape[-1] - 1) // 2
        inside = turned[i][..., a.l - reach : a.l + reach + 1]
        odd = (a.l + couplings[paths[0]][1] + c.l) % 2
        part = torch.einsum("epc,pm->ecm", weight[:, paths], table) * (inside.flip(-1) if odd else inside)
        out[k] = out[k] + torch.nn.functional.pad(part, (c.l - reach, c.l - reach))
    return torch.cat([(part @ D[ir.l]).flatten(-2) for part, (_, ir) in zip(out, irreps_out)], -1)


def _orders(couplings: Sequence[tuple[Irrep, int, Irrep]]) -> tuple[np.ndarray, ...]:
    """(paths, 2 min(l1, l3) + 1): what takes order m, or -m where the sum of degrees is odd, to order m."""
    rows = []
    for a, l2, c in couplings:
        block = math.sqrt(2 * l2 + 1) * wigner_3j(a.l, l2, c.l).numpy()[:, l2]  # Y_l(y axis) has m = 0 alone
        reach = min(a.l, c.l)
        sign = -1 if (a.l + l2 + c.l) % 2 else 1
        rows.append([block[a.l + sign * m, c.l + m] for m in range(-reach, reach + 1)])
    return (np.array(rows),)

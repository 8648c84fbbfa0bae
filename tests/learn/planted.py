"""The experiment with a solution: a map T2 -> T2 that keeps O(2)xy and breaks it a little, seen through noise."""

import numpy as np
import torch

from torsor.actions import T, equivariant_basis
from torsor.groups import O, embed

GROUPS = tuple(embed(O(2), axes, 3) for axes in [(0, 1), (1, 2), (0, 2)])


def planted(seed, n, tau, structured=True):
    """Inputs (n, 9), targets (n, 9) and the map W* (9, 9) behind them."""
    rng = np.random.default_rng(seed)
    Q = equivariant_basis(GROUPS[0], T(2), T(2)).dense().flatten(1)
    c = torch.from_numpy(rng.standard_normal(len(Q)))
    W = c @ Q if structured else torch.from_numpy(rng.standard_normal(81))
    W = 3 * W / W.norm()
    away = torch.from_numpy(rng.standard_normal(81))
    W = (W + tau * away / away.norm()).unflatten(0, (9, 9))
    x = torch.from_numpy(rng.standard_normal((n, 9)))
    return x, x @ W.mT + 0.5 * torch.from_numpy(rng.standard_normal((n, 9))), W


def least_squares(x, y):
    return torch.linalg.lstsq(x, y).solution.mT


def hard(x, y, group):
    """Least squares among the equivariant maps."""
    Q = equivariant_basis(group, T(2), T(2)).dense()
    design = torch.einsum("roi,ni->nor", Q, x).flatten(0, 1)
    return torch.einsum("r,roi->oi", torch.linalg.lstsq(design, y.flatten()[:, None]).solution.squeeze(1), Q)


def ridges(x, y, grid):
    eye = torch.eye(9, dtype=x.dtype)
    return [torch.linalg.solve(x.mT @ x + k * eye, x.mT @ y).mT for k in grid]

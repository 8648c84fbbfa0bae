"""Path weights as sums of products a[i] b[j] e[k]: Levenberg-Marquardt from several starts, all channels at once."""

from __future__ import annotations

import torch
from torch import Tensor

STARTS, ITERATIONS = 8, 400


def fit_triples(
    target: Tensor, i: Tensor, j: Tensor, k: Tensor, sizes: tuple[int, int, int], rank: int, tol: float
) -> tuple[Tensor, Tensor]:
    """Factors (channels, rank, n1 + n2 + n3) with `sum_r a_r[i] b_r[j] e_r[k] = target`, and each channel's misfit.

    Alternating least squares crawls on this problem; Levenberg-Marquardt with the closed-form Jacobian does not.

    Arguments:
        target: (channels, paths), float64.
        i: entry of the first input for each path.
        j: entry of the second.
        k: entry of the output.
        sizes: how many entries there are.
        rank: number of terms.
        tol: relative misfit at which a channel is done.
    """
    n1, n2, n3 = sizes
    places = i, n1 + j, n1 + n2 + k
    scale = target.norm(dim=-1, keepdim=True).clamp_min(1e-300) / max(target.shape[-1], 1) ** 0.5
    wanted = target / scale
    generator = torch.Generator().manual_seed(0)
    best = torch.zeros(len(target), rank, n1 + n2 + n3, dtype=target.dtype)
    error = torch.full((len(target),), torch.inf, dtype=target.dtype)
    for _ in range(STARTS):
        open_ = (error > tol).nonzero()[:, 0]
        if not len(open_):
            break
        start = torch.randn(len(open_), rank, n1 + n2 + n3, generator=generator, dtype=target.dtype)
        found, misfit = _descend(start * rank ** (-1 / 6), wanted[open_], places, tol)
        better = misfit < error[open_]
        best[open_[better]], error[open_[better]] = found[better], misfit[better]
    best[..., n1 + n2 :] *= scale.unsqueeze(-1)
    return best, error


def _descend(factors: Tensor, wanted: Tensor, places: tuple[Tensor, ...], tol: float) -> tuple[Tensor, Tensor]:
    damping = torch.full((len(factors), 1, 1), 1e-1, dtype=factors.dtype)
    size = wanted.norm(dim=-1).clamp_min(1e-300)
    eye = torch.eye(factors[0].numel(), dtype=factors.dtype)
    residual, jacobian = _linearised(factors, wanted, places)
    for _ in range(ITERATIONS):
        if (residual.norm(dim=-1) <= 0.1 * tol * size).all():
            break
        normal = jacobian.mT @ jacobian + damping * eye
        step = torch.linalg.solve(normal, jacobian.mT @ residual.unsqueeze(-1)).view_as(factors)
        trial = factors - step
        new_residual, new_jacobian = _linearised(trial, wanted, places)
        better = (new_residual.norm(dim=-1) < residual.norm(dim=-1)).view(-1, 1, 1)
        factors = torch.where(better, trial, factors)
        residual = torch.where(better[..., 0], new_residual, residual)
        jacobian = torch.where(better, new_jacobian, jacobian)
        damping = torch.where(better, damping / 3, damping * 4).clamp(1e-14, 1e10)
    return factors, residual.norm(dim=-1) / size


def _linearised(factors: Tensor, wanted: Tensor, places: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The residual (channels, paths) and its Jacobian (channels, paths, rank * entries)."""
    a, b, e = (factors[..., place] for place in places)
    residual = (a * b * e).sum(1) - wanted
    jacobian = factors.new_zeros(len(factors), wanted.shape[-1], *factors.shape[1:])
    paths = torch.arange(wanted.shape[-1])
    for place, slope in zip(places, (b * e, a * e, a * b)):
        jacobian[:, paths, :, place] += slope.permute(2, 0, 1)
    return residual, jacobian.flatten(-2)

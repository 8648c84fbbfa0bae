"""The kernel of constraints that are too large to write out as a matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor.actions._constraints import AmbiguousRank, Constraint


def krylov(constraints: list[Constraint], unknowns: int) -> tuple[Tensor, float]:
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
        if vectors.shape[1] < projected.shape[1]:
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

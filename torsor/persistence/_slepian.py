"""The Slepian model: what a stationary Gaussian process looks like from one of its level crossings."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._check import check_level, check_times, is_covariance
from torsor.persistence._covariance import Covariance

_DEFECT_BELOW = 3e-3  # 1 - E_0 comes from its leading order below this, in units of lambda2^-1/2
_FAR = 0.05


class SlepianMean(NamedTuple):
    """The mean of `sgn(X - u)` at times after an up-crossing of `u`, and after a down-crossing."""

    E_plus: Tensor
    E_minus: Tensor


def slepian_mean(cov: Covariance, t: Float[Tensor, " times"], level: float = 0.0) -> SlepianMean:
    """The clipped Slepian process in the mean: `E sgn(X(t) - u)` after an up- and after a down-crossing of `u` at 0.

    At level 0 they are `E_0 = -r' / sqrt(lambda2 (1 - r^2))` and `-E_0`.

    Arguments:
        cov: the covariance.
        t: times, non-negative, `(times,)`.
        level: `u`, in standard deviations.

    Returns:
        `(E_plus, E_minus)`, each `(times,)`.

    Raises:
        ValueError: a level that is not finite, negative times.

    Source: Bengtsson, Podgórski 2024 (arXiv 2401.01805), the Slepian model; levels: Bengtsson 2024 (arXiv 2410.06000).

    >>> import torch
    >>> from torsor.persistence import SechDiffusion, slepian_mean
    >>> t = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    >>> slepian_mean(SechDiffusion(2), t).E_plus  # sech(t/2)
    tensor([1.0000, 0.8868, 0.6481], dtype=torch.float64)
    """
    is_covariance(cov)
    level = check_level(level)
    check_times(t)
    plus, minus = excess(cov, t.to(cov.dtype), level)
    far = far_mean(level)
    return SlepianMean(plus + far, minus + far)


def far_mean(level: float) -> float:
    """The mean of `sgn(X - u)` far from any crossing, `2 Phi(-u) - 1`."""
    return -math.erf(level / math.sqrt(2))


def excess(cov: Covariance, t: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """`E_plus` and `E_minus` less what they tend to, without cancellation at large times."""
    if level == 0:
        E0, _, _ = _crossing(cov, t, cov.series_below)
        return E0, -E0
    E0, defect, tilt = _crossing(cov, t, max(cov.series_below, _DEFECT_BELOW))
    # with v = 1 - r^2 - m^2 = w^2 (1 - E_0^2) and a^2 / w^2 = u^2 (1 - r) / (1 + r) nothing is left to cancel
    q = level * tilt
    s = (defect * (2 - defect)).clamp(min=torch.finfo(t.dtype).tiny).sqrt()
    k = tilt / s
    jump = _cdf_difference(cov, t, level, k, E0)
    peak = E0 * torch.exp(-0.5 * q**2)
    plus = 2 * jump + 2 * peak * torch.special.ndtr(level * k * E0)
    minus = 2 * jump - 2 * peak * torch.special.ndtr(-level * k * E0)
    start, far = t == 0, far_mean(level)
    return torch.where(start, 1 - far, plus), torch.where(start, -1 - far, minus)


def _crossing(cov: Covariance, t: Tensor, below: float) -> tuple[Tensor, Tensor, Tensor]:
    """`E_0`, `1 - E_0` and `sqrt((1 - r) / (1 + r))`, by their leading orders for times close to zero."""
    cut = below * float(cov.unit.detach())
    s = t.clamp(min=cut)
    m = -cov.derivative(s) * cov.unit
    x = cov.one_minus_r(s)
    E0 = m / (x * (2 - x)).sqrt()
    near, ratio = t < cut, t / s
    defect = (1 - E0) * ratio**cov.order
    return torch.where(near, 1 - defect, E0), defect, (x / (2 - x)).sqrt() * ratio


def _cdf_difference(cov: Covariance, t: Tensor, level: float, k: Tensor, E0: Tensor) -> Tensor:
    """`Phi(-u k) - Phi(-u)`, by quadrature of the density where `k` is close to 1."""
    r = cov(t).clamp(-0.5, 0.5)
    rate = -torch.atanh(r) - 0.5 * torch.log1p(-(E0.clamp(-0.5, 0.5) ** 2))  # log k where both are small
    delta = level * torch.expm1(rate)
    nodes, weights = (torch.as_tensor(x, dtype=t.dtype, device=t.device) for x in np.polynomial.legendre.leggauss(8))
    points = level + delta[..., None] * (nodes + 1) / 2
    density = torch.exp(-0.5 * points**2) / math.sqrt(2 * math.pi)
    close = -delta * (density * weights).sum(-1) / 2
    apart = torch.special.ndtr(-level * k) - torch.special.ndtr(torch.full_like(k, -level))
    return torch.where((rate.abs() < _FAR) & (r.abs() < 0.5) & (E0.abs() < 0.5), close, apart)


def clipped_covariance(cov: Covariance, t: Float[Tensor, " times"]) -> Float[Tensor, " times"]:
    """The covariance of `sgn X`, `(2/pi) arcsin r(t)`.

    >>> import torch
    >>> from torsor.persistence import SquaredExponential, clipped_covariance
    >>> clipped_covariance(SquaredExponential(), torch.tensor([0.0, 1.0], dtype=torch.float64))
    tensor([1.0000, 0.4149], dtype=torch.float64)
    """
    is_covariance(cov)
    check_times(t)
    return 2 / math.pi * torch.asin(cov(t.to(cov.dtype)).clamp(-1, 1))


def slepian_paths(
    cov: Covariance, t: Float[Tensor, " times"], n_paths: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "paths times"]:
    """Paths of the Slepian process: the Gaussian process as it is seen after an up-crossing of zero at time 0.

    `X_0(t) = R m(t) + D(t)` with a Rayleigh slope `R`, `m = -r' / sqrt(lambda2)` and an independent Gaussian `D`. Its
    covariance matrix on the grid is factorised, so `t` should have no more than a few thousand entries.

    Arguments:
        cov: the covariance.
        t: times, non-negative, `(times,)`.
        n_paths: how many.
        generator: draws come from it.

    Returns:
        `(n_paths, times)`.

    Raises:
        ValueError: negative times, no paths, or a covariance that is not positive on the grid.

    >>> import torch
    >>> from torsor.persistence import SquaredExponential, slepian_paths
    >>> t = torch.linspace(0, 5, 50, dtype=torch.float64)
    >>> slepian_paths(SquaredExponential(), t, 10, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([10, 50])
    """
    is_covariance(cov)
    check_times(t)
    if n_paths < 1:
        raise ValueError(f"n_paths must be at least 1; got {n_paths}")
    t = t.to(cov.dtype)
    with torch.no_grad():
        r, slope = cov(t), cov.derivative(t)
        slope = torch.where(t == 0, 0.0, slope)
        gaps = (t[:, None] - t).abs()
        C = cov(gaps) - torch.outer(r, r) - torch.outer(slope, slope) / cov.lambda2
        values, vectors = torch.linalg.eigh(0.5 * (C + C.T))
        if float(values.min()) < -1e-8 * len(t):
            raise ValueError(
                f"cov must be positive on the grid t; its smallest eigenvalue is {float(values.min()):.3g}"
            )
        root = vectors * values.clamp(min=0).sqrt()  # D has no variance at 0: eigenvalues of rounding
        kwargs = {"generator": generator, "dtype": t.dtype, "device": t.device}
        rayleigh = torch.randn(2, n_paths, 1, **kwargs).norm(dim=0)  # type: ignore[arg-type]
        return -rayleigh * slope * cov.unit + torch.randn(n_paths, len(t), **kwargs) @ root.T  # type: ignore[arg-type]

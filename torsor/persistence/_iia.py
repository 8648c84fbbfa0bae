"""The independent interval approximation from the clipped Slepian process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._check import check_choice, check_covariance, check_level
from torsor.persistence._covariance import Covariance
from torsor.persistence._exponent import Exponent, Side, checking_grid, exponent, exponent_of_masses
from torsor.persistence._laws import ExcursionLaw, ValidityCertificate
from torsor.persistence._renewal import renew
from torsor.persistence._slepian import slepian_mean

_SURVIVAL = 1e-10  # what may be left at an automatic horizon
_INTERVALS = 60  # mean intervals at most, of an automatic horizon
_MOST = 1 << 17  # points of an automatic grid; an exponential tail does not need them all
_STEP = 0.01  # largest step of an automatic grid, in units of lambda2^-1/2
_MEMORY = 0.05
_RISE = 1e-10
_NEGATIVE = 1e-8
_SPREAD = 1e-2  # more than this beyond the horizon leaves a law that is not monotone undecided

OnInvalid = Literal["raise", "warn", "project"]


def iia(
    cov: Covariance,
    *,
    level: float = 0.0,
    horizon: float | str = "auto",
    n: int = 4096,
    side: Side = "above",
    on_invalid: OnInvalid = "warn",
) -> ExcursionLaw:
    """The law of the time that a stationary Gaussian process spends above (or below) a level in one go.

    The process is replaced by a switch process whose intervals are independent, and whose mean after a crossing is that
    of the clipped Slepian process. At level 0 the law is that of `X_1 + ... + X_nu`, `P(nu = k) = 2^-k`, where `X` has
    the distribution function `1 - E_0`; the certificate says whether this is a distribution at all.

    Arguments:
        cov: the covariance; times are in its unit.
        level: in standard deviations from the mean.
        horizon: the end of the grid, or "auto": where the survival function is below 1e-10, at most 60 mean intervals
            and 2^17 points. Beyond it the law goes on with its exponent.
        n: points of the grid; an automatic horizon takes more where the steps would exceed 0.01 / sqrt(lambda2).
        side: excursions above or below the level; `law.other_side` is the other one.
        on_invalid: what to do where the density is negative somewhere: "raise", "warn" (and keep it), or "project" (cut
            off what is negative, normalise, and say so).

    Warns:
        UserWarning: an invalid law, or a covariance that has not decayed after 60 mean intervals (long memory).

    Raises:
        ValueError: `r(0)` is not 1, `|r|` exceeds 1, the process is not differentiable or periodic; a level or horizon
            that is not finite; fewer than 16 points; an invalid law with `on_invalid="raise"`.

    Source: Bengtsson, Podgórski 2024 (arXiv 2401.01805); levels: Bengtsson 2024 (arXiv 2410.06000).

    >>> import torch
    >>> from torsor.persistence import SechDiffusion, iia
    >>> law = iia(SechDiffusion(2))
    >>> law.sf(torch.tensor([1.0, 5.0, 10.0], dtype=torch.float64))
    tensor([0.9428, 0.4712, 0.1857], dtype=torch.float64)
    >>> print(f"{float(law.mean):.4f}", law.certificate.status)  # 2 pi, by Rice
    6.2832 proved
    """
    level = check_level(level)
    check_choice(side, "side", ("above", "below"))
    check_choice(on_invalid, "on_invalid", ("raise", "warn", "project"))
    if isinstance(n, bool) or not isinstance(n, int) or n < 16:
        raise ValueError(f"n must be a whole number of at least 16; got {n!r}")
    if horizon != "auto" and not (isinstance(horizon, int | float) and 0 < horizon < math.inf):
        raise ValueError(f'horizon must be "auto" or positive and finite; got {horizon!r}')
    check_covariance(cov, checking_grid(cov))
    law = _solve(cov, level, horizon, n, side)
    _warn_of_memory(cov)
    return _handle(law, on_invalid, partial(_other, cov, level, horizon, n, side, on_invalid))


def _warn_of_memory(cov: Covariance) -> None:
    """Independent intervals are no model of a process that remembers its past for ever."""
    if math.isfinite(cov.support):
        return
    late = torch.full((1,), _INTERVALS * cov.mean_interval, dtype=cov.dtype, device=cov.lambda2.device)
    with torch.no_grad():
        left = abs(float(cov(late)))
    if left > _MEMORY:
        warnings.warn(
            f"long memory: r is still {left:.2g} after {_INTERVALS} mean intervals, which are far from independent",
            stacklevel=3,
        )


def _other(cov: Covariance, level: float, horizon: float | str, n: int, side: Side, on_invalid: str) -> ExcursionLaw:
    turned = cast(Side, "below" if side == "above" else "above")
    return iia(cov, level=level, horizon=horizon, n=n, side=turned, on_invalid=cast(OnInvalid, on_invalid))


def _solve(cov: Covariance, level: float, horizon: float | str, n: int, side: Side) -> ExcursionLaw:
    theta = exponent(cov, level, side)
    if horizon == "auto":
        end, n = _automatic(cov, level, side, theta, n)
    else:
        end = float(horizon)
        if end > cov.support:
            raise ValueError(f"horizon must be at most {cov.support:g}, where the covariance ends; got {end:g}")
    t = torch.linspace(0, end, n, dtype=cov.dtype, device=cov.lambda2.device)
    plus, minus = slepian_mean(cov, t, level)
    # F+ = (1 - E+)/2 + 1/2 F+ * dE-, and F- with E+ and -E- exchanged; at level 0 both are F_X/2 + 1/2 F * dF_X
    source, kernel = (1 - plus, minus) if side == "above" else (1 + minus, -plus)
    values = renew(0.5 * source, kernel)
    settled = theta.kind == "exponential" and bool((torch.stack([plus, minus])[:, -2:].diff().abs() < _RISE).all())
    certificate = certify(values, end / (n - 1), (plus, -minus), cov.monotone_E0 and level == 0, settled=settled)
    divisor = 1 - plus if level == 0 and certificate.max_rise_E0 <= _RISE else None
    return ExcursionLaw(end / (n - 1), values, theta, certificate, level, side, divisor=divisor)


def _automatic(cov: Covariance, level: float, side: Side, theta: Exponent, n: int) -> tuple[float, int]:
    """The end of the grid and its number of points."""
    sign = 1 if side == "above" else -1
    tail = 0.5 * math.erfc(sign * level / math.sqrt(2))
    mean = cov.mean_interval * 2 * math.exp(0.5 * level**2) * tail
    end = _INTERVALS * max(mean, cov.mean_interval)
    if theta.kind == "exponential":
        end = min(end, -math.log(_SURVIVAL) / float(theta) + mean)
    step = _STEP * float(cov.unit.detach())
    end = min(max(end, 12 * cov.mean_interval), cov.support, max(_MOST, n) * step)
    return end, max(n, math.ceil(end / step) + 1)


def certify(
    values: Tensor,
    step: float,
    decreasing: tuple[Tensor, ...],
    monotone: bool,
    discrete: bool = False,
    settled: bool = False,
) -> ValidityCertificate:
    """What the grid says about a law, from its distribution function and the means that should decrease.

    Where the means are `settled` at the end of the grid, the tail beyond it is exponential, and nothing is unknown.
    """
    with torch.no_grad():
        rise = max(float((E - E.cummin(0).values).max()) for E in decreasing)
        density = values.diff() / step
        negative = (density < -_noise(density, step)).nonzero()
        smallest, first = float(density.min()), None
        left, horizon = float(1 - values[-1]), step * (len(values) - 1)
        tolerance = 1e-6 if values.dtype == torch.float32 else _RISE
        name = "E_0" if len(decreasing) == 1 or torch.equal(*decreasing) else "the clipped Slepian mean"
        if rise <= tolerance and monotone:
            status, reason = "proved", f"{name} is known to decrease from 1 to 0"
        elif rise <= tolerance:
            status, reason = "numerical", f"{name} decreases on the grid"
        elif len(negative):
            first = step * (int(negative[0]) + (1 if discrete else 0.5))
            status = "invalid"
            reason = f"{name} rises by {rise:.2g} and the density is negative from t={first:.4g} on"
        elif left > _SPREAD and not settled:
            status, reason = "unknown", f"{name} rises by {rise:.2g} and {left:.2g} of the law lie beyond the grid"
        else:
            status, reason = "numerical", f"{name} rises by {rise:.2g}, yet no density on the grid is negative"
    return ValidityCertificate(status, reason, rise, smallest, first, horizon)  # type: ignore[arg-type]


def _noise(density: Tensor, step: float) -> float:
    """The size below which the sign of a density is rounding."""
    return max(_NEGATIVE * float(density.abs().max()), 1e3 * torch.finfo(density.dtype).eps / step)


def _handle(law: ExcursionLaw, on_invalid: str, other: Callable[[], ExcursionLaw] | None) -> ExcursionLaw:
    if law.certificate.status == "invalid":
        if on_invalid == "raise":
            raise ValueError(f"there is no valid excursion law: {law.certificate.reason}")
        if on_invalid == "warn":
            warnings.warn(f"the excursion law is invalid: {law.certificate.reason}", stacklevel=3)
        else:
            law = project(law)
    return replace(law, other=other)


def project(law: ExcursionLaw) -> ExcursionLaw:
    """The law without its negative densities, normalised; `projected` says so."""
    density = law.values.diff().clamp(min=0)
    values = torch.nn.functional.pad(density.cumsum(0), (1, 0))
    values = values / values[-1] * law.values[-1].clamp(max=1)
    reason = f"{law.certificate.reason}; what is negative was cut off"
    return replace(law, values=values, projected=True, certificate=replace(law.certificate, reason=reason))


def iia_classical(R: Float[Tensor, " n"], step: float) -> ExcursionLaw:
    """The ordinary independent interval approximation: a switch process whose covariance is that of `sgn X`.

    It is solved from the sampled clipped covariance by differencing, and gives the same law as `iia`, as the two are
    the same equation: a check, and a demonstration.

    Arguments:
        R: the clipped covariance on an even grid from 0, `(n,)`; `R[0] = 1`.
        step: of the grid, in units of time.

    Raises:
        ValueError: fewer than 16 samples, `R[0]` other than 1, a step that is not positive.

    Source: McFadden 1958, IRE Trans. Inf. Theory 4, 14; Bengtsson, Podgórski 2024 (arXiv 2401.01805).

    >>> import torch
    >>> from torsor.persistence import SechDiffusion, clipped_covariance, iia, iia_classical
    >>> t = torch.linspace(0, 120, 4001, dtype=torch.float64)
    >>> law = iia_classical(clipped_covariance(SechDiffusion(2), t), 0.03)
    >>> print(f"{float((law.cdf(t) - iia(SechDiffusion(2)).cdf(t)).abs().max()):.0e}")
    6e-05
    """
    if R.ndim != 1 or len(R) < 16:
        raise ValueError(f"R must be of shape (n,) with at least 16 samples; got {tuple(R.shape)}")
    if not bool(R.isfinite().all()) or abs(float(R[0]) - 1) > 1e-6:
        raise ValueError(f"R must be finite with R[0]=1; got R[0]={float(R[0]):.6g}")
    if not 0 < step < math.inf:
        raise ValueError(f"step must be positive and finite; got {step}")
    # R'(t) / R'(0+) at the grid, of second order
    slope = torch.gradient(R, spacing=step, edge_order=2)[0]
    E0 = slope / slope[0]
    values = renew(0.5 * (1 - E0), 1 - E0)
    certificate = certify(values, step, (E0,), False)
    middles = step * (torch.arange(len(E0) - 1, dtype=E0.dtype, device=E0.device) + 0.5)
    return ExcursionLaw(step, values, exponent_of_masses(middles, -E0.diff()), certificate)

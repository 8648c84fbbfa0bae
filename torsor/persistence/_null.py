"""The law of runs that a series itself, or a reference, says is usual."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Shaped
from scipy.optimize import isotonic_regression
from torch import Tensor

from torsor.persistence._discrete import iia_discrete
from torsor.persistence._exponent import Exponent
from torsor.persistence._laws import ExcursionLaw
from torsor.persistence._runs import check_series, empirical_slepian, excursions, sign_acf

_SYMMETRIC = 0.1  # shares above the level within 1/2 +- this count as symmetric signs
_NOISE = 2.0  # standard errors below which an autocorrelation is not told from nothing
_SETTLED = 2  # lags in a row after the first
_BODY = 0.2  # of the runs reach the point where the tail begins
_PINNED = 1e9  # weight of what is known exactly


def is_symmetric(x: Tensor, level: float) -> bool:
    """Whether about half of the values are above the level, as far as the number of runs can tell."""
    above = x >= level
    runs = 1 + int((above[..., 1:] != above[..., :-1]).sum())
    return abs(float(above.double().mean()) - 0.5) <= max(_SYMMETRIC, 3 / math.sqrt(runs))


def law_of_signs(x: Shaped[Tensor, "*batch n"], level: float = 0.0) -> ExcursionLaw:
    """The law of runs above a level that the series itself suggests, in steps; `other_side` is that of runs below.

    It comes from the sign autocorrelation where about half of the values are above the level, and from the means after
    changes elsewhere. In the first case the mean after a change is fitted by a decreasing one, so that the law is a law
    (of series that oscillate, runs come out too long); in the second, the tail comes from the runs that were
    seen, and is heavier where they are few.

    Arguments:
        x: series, `(*batch, n)`.
        level: in the unit of `x`.

    Raises:
        ValueError: NaN, or a series that never crosses the level.

    >>> import torch
    >>> from torsor.persistence import AR1, law_of_signs, simulate_gaussian
    >>> x = simulate_gaussian(AR1(0.7), 100_000, generator=torch.Generator().manual_seed(0))
    >>> print(f"{float(law_of_signs(x).mean):.1f}")  # exact: 3.95
    4.0
    """
    x = check_series(x, level)
    centred = torch.where(x >= level, 1.0, -1.0).double()
    mean = float(centred.mean())
    A = sign_acf(x, level)
    covariance = (A - mean**2) / (1 - mean**2)
    lost = (covariance < _NOISE / math.sqrt(x.numel())).nonzero()
    lag = min(max(3, int(lost[0])) if len(lost) else len(A) - 1, len(A) - 1)
    if is_symmetric(x, level):
        E0 = _decreasing(-A[: lag + 2].diff() / (1 - A[1]))
        return iia_discrete(E=(E0, -E0), on_invalid="project")
    changes = x.numel() * float(1 - A[1]) / 4
    plus, minus = empirical_slepian(x, level, max_lag=lag)
    seen = excursions(x, level)
    runs = seen.side("above").lengths, seen.side("below").lengths
    return law_of_means(plus, minus, runs, mean, _NOISE / math.sqrt(changes))


def law_of_means(plus: Tensor, minus: Tensor, runs: tuple[Tensor, Tensor], limit: float, noise: float) -> ExcursionLaw:
    """The law of runs of + from estimated means after changes, and its other side.

    The means are taken to be at their limit once they reach it. They need not be monotone: after a change a process is
    still near its level. Noise in them spoils the tail: beyond the point that one run in five reaches, the law goes on
    with the hazard of the runs that were seen to reach it, and with what is not known of it.

    Arguments:
        plus, minus: means of the signs after a change to + and to -, `(n,)`.
        runs: the lengths of the runs of + and of - that were seen.
        limit: the mean of the signs.
        noise: the size of what cannot be told from the limit.
    """
    there = ((plus - limit).abs() < noise) & ((minus - limit).abs() < noise)
    settled = there[:-_SETTLED] & there[1 : 1 - _SETTLED] & there[_SETTLED:] if len(there) > _SETTLED else there[:0]
    lags = settled.nonzero()
    last = max(2, int(lags[0])) if len(lags) else len(plus)
    rest = torch.full((2,), limit, dtype=plus.dtype)
    law = iia_discrete(E=(torch.cat([plus[:last], rest]), torch.cat([minus[:last], rest])), on_invalid="project")
    return _paired(_with_tail(law, runs[0]), _with_tail(law.other_side, runs[1]))


def _paired(law: ExcursionLaw, other: ExcursionLaw) -> ExcursionLaw:
    return replace(law, other=partial(_paired, other, law))


def _with_tail(law: ExcursionLaw, lengths: Tensor) -> ExcursionLaw:
    """The law with the tail that the next run is expected to have: a geometric one, its hazard known from few runs.

    Of the longest run, the one in question, we use only that it is no shorter than the second longest.
    """
    # means that are cut where noise begins can end a law too early: runs that were seen are possible
    seen = torch.bincount(lengths.sort().values[:-1].long(), minlength=len(law.values))[: len(law.values)]
    survival = torch.maximum(1 - law.values, 1 - (seen.cumsum(0) / (len(lengths) - 1)).to(law.values))
    start = max(1, int((survival <= _BODY).to(torch.int8).argmax()))
    body = survival[: start + 1].clamp(min=1e-6)
    excess = (lengths - start).clamp(min=0).sort().values
    ends = max(1.0, float((excess[:-1] > 0).sum()))
    stays = float(excess[:-1].sum() + excess[-2:-1].sum()) - ends
    stays = max(0.0, stays) + 0.5  # Jeffreys
    hazard = ends / (ends + stays)
    rate = -math.log1p(-hazard)
    steps = torch.arange(1, math.ceil(28 / rate) + 1, dtype=body.dtype)
    tail = _all_stay(steps, ends, stays)
    values = 1 - torch.cat([body, body[-1] * tail])
    return replace(law, values=values, exponent=Exponent(values.new_tensor(rate), "exponential", 0.0), divisor=None)


def _all_stay(steps: Tensor, ends: float, stays: float) -> Tensor:
    """`E (1 - h)^k` where the hazard `h` has a beta distribution with these counts."""
    seen, left = (torch.tensor(x, dtype=steps.dtype) for x in (ends + stays, stays))
    return torch.exp(torch.lgamma(left + steps) - torch.lgamma(left) + torch.lgamma(seen) - torch.lgamma(seen + steps))


def _decreasing(E: Tensor) -> Tensor:
    """The nearest sequence that starts at 1 and decreases, but not below 0; then geometric down to 0."""
    weights = np.ones(len(E))
    weights[0] = _PINNED
    fitted = np.maximum(isotonic_regression(E.cpu().numpy(), weights=weights, increasing=False).x, 0)
    fitted[0] = 1.0
    ratio = min(fitted[-1] ** (1 / (len(fitted) - 1)), 1 - 1e-3)
    more = math.ceil(math.log(1e-15) / math.log(ratio)) if ratio > 1e-3 else 1
    return torch.as_tensor(np.concatenate([fitted, fitted[-1] * ratio ** np.arange(1, more + 1)]))

"""The law of runs that a series itself, or a reference, says is usual."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Shaped
from scipy.optimize import isotonic_regression
from torch import Tensor

from torsor.persistence._discrete import iia_discrete
from torsor.persistence._laws import ExcursionLaw
from torsor.persistence._runs import check_series, empirical_slepian, sign_acf

_SYMMETRIC = 0.1  # shares above the level within 1/2 +- this count as symmetric signs
_NOISE = 2.0  # standard errors below which an autocorrelation is not told from nothing
_PINNED = 1e9  # weight of what is known exactly


def is_symmetric(x: Tensor, level: float) -> bool:
    """Whether about half of the values are above the level."""
    return abs(float((x >= level).double().mean()) - 0.5) <= _SYMMETRIC


def law_of_signs(x: Shaped[Tensor, "*batch n"], level: float = 0.0) -> ExcursionLaw:
    """The law of runs above a level that the series itself suggests, in steps; `other_side` is that of runs below.

    It comes from the sign autocorrelation where about half of the values are above the level, and from the means after
    changes elsewhere. These are fitted by monotone ones, so that the law is a law; beyond the lag at which the
    autocorrelation is lost in noise they go on as a geometric sequence. Of series that oscillate, runs come out too long.

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
    lag = max(3, int(lost[0])) if len(lost) else len(A) - 1
    lag = min(lag, len(A) - 1)
    if is_symmetric(x, level):
        E0 = _decreasing(-A[: lag + 2].diff() / (1 - A[1]), 0.0)
        return iia_discrete(E=(E0, -E0), on_invalid="project")
    plus, minus = empirical_slepian(x, level, max_lag=lag)
    return law_of_means(plus, minus, mean)


def law_of_means(plus: Tensor, minus: Tensor, limit: float) -> ExcursionLaw:
    """The law of runs of + from estimated means after changes, fitted by monotone ones that tend to a limit."""
    means = _decreasing(plus, limit), -_decreasing(-minus, -limit)
    size = max(map(len, means))
    plus, minus = (torch.nn.functional.pad(m, (0, size - len(m)), value=limit) for m in means)
    return iia_discrete(E=(plus, minus), on_invalid="project")


def _decreasing(E: Tensor, limit: float) -> Tensor:
    """The nearest decreasing sequence that starts at 1 and stays above its limit; then geometric down to the limit."""
    weights = np.ones(len(E))
    weights[0] = _PINNED
    fitted = isotonic_regression(E.cpu().numpy(), weights=weights, increasing=False).x
    fitted = np.maximum(fitted, limit)
    fitted[0] = 1.0
    rest = fitted - limit
    ratio = (rest[-1] / rest[0]) ** (1 / (len(rest) - 1)) if rest[-1] > 0 else 0.0
    ratio = min(ratio, 1 - 1e-3)
    more = math.ceil(math.log(1e-15) / math.log(ratio)) if ratio > 1e-3 else 1
    tail = rest[-1] * ratio ** np.arange(1, more + 1)
    return torch.as_tensor(np.concatenate([rest, tail]) + limit)

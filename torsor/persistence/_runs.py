"""Runs in data: how long a series stayed above and below a level, and what its signs remember."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from torsor.persistence._check import check_choice


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of series above and below a level.

    Arguments:
        lengths: of all runs, in units of time, series after series.
        above: whether each is above the level.
        censored: whether its end was not seen.
    """

    lengths: Float[Tensor, " runs"]
    above: Bool[Tensor, " runs"]
    censored: Bool[Tensor, " runs"]

    def side(self, side: str) -> Runs:
        """The runs "above" or "below", or "both"."""
        check_choice(side, "side", ("above", "below", "both"))
        if side == "both":
            return self
        keep = self.above if side == "above" else ~self.above
        return Runs(self.lengths[keep], self.above[keep], self.censored[keep])

    def sf(self, t: Float[Tensor, " times"]) -> Float[Tensor, " times"]:
        """The share of runs longer than `t`: the Kaplan-Meier estimate, which is the plain share if none is censored.

        Raises:
            ValueError: there are no runs.
        """
        if not len(self.lengths):
            raise ValueError("there are no runs")
        ends, place = self.lengths.unique(return_inverse=True)
        died = torch.zeros(len(ends), dtype=torch.float64).index_add_(0, place, (~self.censored).double())
        left = torch.zeros(len(ends), dtype=torch.float64).index_add_(0, place, torch.ones_like(self.lengths).double())
        at_risk = left.flip(0).cumsum(0).flip(0)
        survival = torch.nn.functional.pad((1 - died / at_risk).cumprod(0), (1, 0), value=1.0)
        return survival[torch.searchsorted(ends, t.to(ends.dtype), right=True)].to(t.dtype)


def excursions(
    x: Shaped[Tensor, "*batch n"],
    level: float = 0.0,
    *,
    dt: float = 1.0,
    censor: str = "drop",
    interpolate: bool = False,
) -> Runs:
    """The runs of each series above and below a level; a value equal to the level counts as above.

    The first run of a series is left out, as nobody saw its start.

    Arguments:
        x: series, `(*batch, n)`.
        level: in the unit of `x`.
        dt: the step, in units of time.
        censor: "drop" leaves out the last run as well; "km" keeps it, censored, for the Kaplan-Meier estimate.
        interpolate: place crossings between samples, on a straight line; whole steps otherwise.

    Raises:
        ValueError: NaN in `x`, an empty series, a level that is not finite, a step that is not positive.

    >>> import torch
    >>> from torsor.persistence import excursions
    >>> runs = excursions(torch.tensor([1.0, -1.0, -2.0, 3.0, -1.0]))
    >>> runs.lengths.tolist(), runs.above.tolist()
    ([2.0, 1.0], [False, True])
    """
    check_choice(censor, "censor", ("drop", "km"))
    x = check_series(x, level)
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive and finite; got {dt}")
    x = x.reshape(-1, x.shape[-1])
    signs = x >= level
    flips = signs[:, 1:] != signs[:, :-1]
    row, column = flips.nonzero(as_tuple=True)  # the run after a flip starts at column + 1
    time = column.to(torch.float64) + 1
    if interpolate:
        before, after = x[row, column].double() - level, x[row, column + 1].double() - level
        time = column + before / (before - after)
    same = row[1:] == row[:-1]
    lengths, above = (time.diff() * dt)[same], signs[row, column + 1][:-1][same]
    censored = torch.zeros_like(above)
    if censor == "km" and len(row):
        last = torch.cat([row[1:] != row[:-1], row.new_ones(1, dtype=torch.bool)])
        lengths = torch.cat([lengths, (x.shape[-1] - (0.5 if interpolate else 0.0) - time[last]) * dt])
        above = torch.cat([above, signs[row, column + 1][last]])
        censored = torch.cat([censored, torch.ones_like(row[last], dtype=torch.bool)])
    return Runs(lengths, above, censored)


def check_series(x: Tensor, level: float = 0.0) -> Tensor:
    """The series as floating-point numbers, or what is wrong with them."""
    if not isinstance(x, Tensor) or x.is_complex():
        raise TypeError(f"x must be a real tensor; got {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim < 1 or x.shape[-1] < 2 or not x.numel():
        raise ValueError(f"x must be of shape (*batch, n) with n >= 2; got {tuple(x.shape)}")
    x = x if x.is_floating_point() else x.double()
    if not bool(x.isfinite().all()):
        raise ValueError(f"x must be finite; {int((~x.isfinite()).sum())} of its values are not")
    if not math.isfinite(level):
        raise ValueError(f"level must be finite; got {level}")
    return x


def sign_acf(
    x: Shaped[Tensor, "*batch n"], level: float = 0.0, *, max_lag: int | None = None
) -> Float[Tensor, " lags"]:
    """The autocorrelation of the signs of `x - level`, around zero, over all series together.

    Arguments:
        x: series, `(*batch, n)`.
        level: in the unit of `x`; the law of the signs should not change when all are flipped.
        max_lag: the largest lag; a quarter of the series by default.

    Returns:
        `(max_lag + 1,)`, 1 first.

    Raises:
        ValueError: NaN, a series that never crosses the level, a lag beyond the series.

    >>> import torch
    >>> from torsor.persistence import sign_acf
    >>> sign_acf(torch.tensor([1.0, 1.0, -1.0, -1.0] * 100), max_lag=2)
    tensor([ 1.0000,  0.0025, -1.0000], dtype=torch.float64)
    """
    signs = _signs(x, level)
    n = signs.shape[-1]
    max_lag = _max_lag(max_lag, n)
    fast = 1 << (n + max_lag).bit_length()
    power = torch.fft.rfft(signs, fast).abs() ** 2
    sums = torch.fft.irfft(power, fast)[:, : max_lag + 1].sum(0)
    pairs = len(signs) * (n - torch.arange(max_lag + 1, dtype=torch.float64, device=x.device))
    return sums / pairs


def empirical_slepian(
    x: Shaped[Tensor, "*batch n"], level: float = 0.0, *, max_lag: int | None = None
) -> tuple[Float[Tensor, " lags"], Float[Tensor, " lags"]]:
    """The means of the signs of `x - level` at 0, 1, ... steps after a change to + and after a change to -.

    They are what `iia_discrete(E=...)` needs, for data whose signs are not symmetric.

    Arguments:
        x: series, `(*batch, n)`.
        level: in the unit of `x`.
        max_lag: the largest lag; a quarter of the series by default.

    Returns:
        `(E_plus, E_minus)`, each `(max_lag + 1,)`, 1 and -1 first.

    Raises:
        ValueError: NaN, or no change of each kind early enough.

    >>> import torch
    >>> from torsor.persistence import empirical_slepian
    >>> plus, minus = empirical_slepian(torch.tensor([1.0, 1.0, -1.0, -1.0] * 100), max_lag=2)
    >>> plus.tolist(), minus.tolist()
    ([1.0, 1.0, -1.0], [-1.0, -1.0, 1.0])
    """
    signs = _signs(x, level)
    max_lag = _max_lag(max_lag, signs.shape[-1])
    return _mean_after(signs, 1, max_lag), _mean_after(signs, -1, max_lag)


def _mean_after(signs: Tensor, sign: int, max_lag: int) -> Tensor:
    row, column = ((signs[:, 1:] == sign) & (signs[:, :-1] == -sign)).nonzero(as_tuple=True)
    early = column + 1 + max_lag < signs.shape[-1]
    row, column = row[early], column[early] + 1
    if not len(row):
        raise ValueError(f"x must change to {'+' if sign > 0 else '-'} earlier than {max_lag} steps before its end")
    return torch.stack([signs[row, column + lag].mean() for lag in range(max_lag + 1)])


def _signs(x: Tensor, level: float) -> Tensor:
    x = check_series(x, level)
    signs = torch.where(x >= level, 1.0, -1.0).double().reshape(-1, x.shape[-1])
    if bool((signs == signs[0, 0]).all()):
        raise ValueError(
            f"x never crosses the level {level:g}: it is {'above' if signs[0, 0] > 0 else 'below'} throughout"
        )
    return signs


def _max_lag(max_lag: int | None, n: int) -> int:
    if max_lag is None:
        return max(1, n // 4)
    if not 1 <= max_lag < n:
        raise ValueError(f"max_lag must be from 1 to {n - 1}; got {max_lag}")
    return max_lag

"""Runs watched as they happen: a cumulative sum over run lengths, with a fixed cost per step."""

from __future__ import annotations

import math
from typing import Literal

import torch
from scipy.optimize import brentq

from torsor.persistence._check import check_choice
from torsor.persistence._laws import ExcursionLaw


class RunMonitor:
    """Tells, step by step, when the runs of a series have become longer than their usual law explains.

    A run of length `L` scores `-log P(T >= L)`, which is exponential with mean 1 or smaller under the law; the scores
    less `drift` are summed up, and the sum starts again where it would be negative (Page's CUSUM). The run under way
    counts with the length that it has. Each update costs the same, whatever came before.

    Arguments:
        law: the usual law of runs, in steps: `iia_discrete(...)`.
        level: in the unit of the series.
        side: which runs count: those "above" the level, or "both", for a law that is the same on both sides.
        drift: what a run must score to count; above 1.
        runs_between_alarms: the mean number of usual runs between two false alarms, at least.

    Attributes:
        score: the cumulative sum, the run under way included.
        steps: how many values came.
        A1: the lag-one autocorrelation of the signs so far.

    Raises:
        ValueError: a law in continuous time, a drift of 1 or less.

    Source: Page 1954, Biometrika 41, 100; the threshold from the exponent of Lundberg.

    >>> from torsor.persistence import AR1, RunMonitor, iia_discrete
    >>> monitor = RunMonitor(iia_discrete(AR1(0.5)))
    >>> [monitor.update(x) for x in (1.0, -1.0, 1.0, 1.0)]
    [False, False, False, False]
    >>> any(monitor.update(1.0) for _ in range(60))
    True
    """

    def __init__(
        self,
        law: ExcursionLaw,
        level: float = 0.0,
        *,
        side: Literal["above", "both"] = "above",
        drift: float = 2.0,
        runs_between_alarms: float = 1000.0,
    ):
        check_choice(side, "side", ("above", "both"))
        if not law.discrete:
            raise ValueError("law must be in steps, such as iia_discrete(AR1(0.9)); got one in continuous time")
        if not drift > 1:
            raise ValueError(f"drift must be above 1, the mean score of a usual run; got {drift}")
        if not runs_between_alarms > 1:
            raise ValueError(f"runs_between_alarms must be above 1; got {runs_between_alarms}")
        self.law, self.level, self.side, self.drift = law, float(level), side, float(drift)
        survival = law.sf(torch.arange(len(law.values), dtype=torch.float64)).clamp(min=1e-300).detach()
        known = int((survival > 1e-12).sum())
        self._scores = (-survival[:known].log()).tolist()  # of P(T >= L) at L - 1
        self._slope = self._scores[-1] - self._scores[-2]
        # E exp(r (score - drift)) = 1 for scores of mean 1: -log(1 - r) = r drift
        rate = float(brentq(lambda r: math.log1p(-r) + r * self.drift, 1e-9, 1 - 1e-12))  # type: ignore[arg-type]
        self.threshold = math.log(runs_between_alarms) / rate
        self.steps = self._flips = self._length = 0
        self._sign = False
        self._settled = self.score = 0.0

    def update(self, value: float) -> bool:
        """Take the next value; whether there is an alarm. After one, the sum starts again with the next run.

        Raises:
            ValueError: a value that is not a number.
        """
        value = float(value)
        if math.isnan(value):
            raise ValueError("value must be a number; got nan")
        sign = value >= self.level
        if self.steps and sign != self._sign:
            self._flips += 1
            self._settled = max(0.0, self.score)
            self._length = 0
        self.steps += 1
        self._sign = sign
        self._length += 1
        if self.side == "above" and not sign:
            self.score = self._settled
            return False
        self.score = self._settled + self._score(self._length) - self.drift
        if self.score >= self.threshold:
            self._settled = -math.inf  # until the run ends
            return True
        return False

    def _score(self, length: int) -> float:
        beyond = length - len(self._scores)
        return self._scores[length - 1] if beyond <= 0 else self._scores[-1] + beyond * self._slope

    @property
    def A1(self) -> float:
        """The lag-one autocorrelation of the signs so far; 1 before there is anything to correlate."""
        return 1 - 2 * self._flips / (self.steps - 1) if self.steps > 1 else 1.0

"""Was this run unusually long, given how the series normally wanders?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from torsor.persistence._check import check_choice
from torsor.persistence._discrete import iia_discrete
from torsor.persistence._laws import ExcursionLaw
from torsor.persistence._null import is_symmetric, law_of_signs
from torsor.persistence._runs import check_series, excursions, sign_acf
from torsor.persistence._sequence import AR1, SequenceCovariance

Null = Literal["discrete-iia", "gaussian-fit", "bootstrap"]
Statistic = Literal["longest", "ks", "mean"]
_FEWEST = 30
_DRAWS = 499


@dataclass(frozen=True)
class TestResult:
    """What a test of runs found.

    Arguments:
        p_value: the probability of a statistic at least as extreme, under the null.
        expected_longest: the mean of the longest run of a series of this length, in steps.
        observed: the statistic.
        n_runs: how many runs were seen.
        alpha: the level of the test.
    """

    __test__ = False  # no test of pytest

    p_value: float
    expected_longest: float
    observed: float
    n_runs: int
    alpha: float

    @property
    def alarm(self) -> bool:
        """Whether the p-value is at most `alpha`."""
        return self.p_value <= self.alpha


def persistence_test(
    x: Shaped[Tensor, " n"],
    level: float = 0.0,
    *,
    null: Null = "discrete-iia",
    statistic: Statistic = "longest",
    side: Literal["above", "below", "both"] = "above",
    alpha: float = 0.05,
    acf: Float[Tensor, " lags"] | SequenceCovariance | None = None,
    reference: Shaped[Tensor, " m"] | None = None,
    generator: torch.Generator | None = None,
) -> TestResult:
    """Whether the runs of a series above (or below) a level are longer than its usual wandering explains.

    For the longest run, `p = 1 - F(L - 1)^N` with `N` the expected number of runs, `n (1 - A_1) / 2` for both signs. A
    run at an end of the series counts with what is seen of it. Runs are whole steps, so the test is conservative.

    Arguments:
        x: the series, `(n,)`.
        level: in the unit of `x`.
        null: "discrete-iia", the law of the sign autocorrelation; "gaussian-fit", that of the autoregression of order
            one with the same lag-one sign autocorrelation; "bootstrap", the runs of `reference`.
        statistic: "longest"; "mean", two-sided by the central limit theorem; or "ks", the Kolmogorov distance of all
            complete runs, its p-value by simulation of runs from the null.
        side: which runs; "both" for series that spend half of their time on each side.
        alpha: the level of the test, for `alarm`.
        acf: the autocorrelation of the signs, or a sequence such as `AR1(0.9)`, where it is known.
        reference: a series that is known to be usual; `x` itself by default. At level 0 that makes false alarms more
            frequent than `alpha` (7 to 12 % for 5 % in 2000 steps), at other levels rarer, and it costs power.
        generator: for "ks".

    Raises:
        ValueError: NaN, a series that never crosses the level, fewer than 30 runs, `side="both"` or "gaussian-fit" for
            signs that are not symmetric, "bootstrap" without a reference.

    Source: the run-length law is the discrete form of Bengtsson, Podgórski 2024 (arXiv 2401.01805).

    >>> import torch
    >>> from torsor.persistence import AR1, persistence_test, simulate_gaussian
    >>> x = simulate_gaussian(AR1(0.7), 2000, generator=torch.Generator().manual_seed(0))[0]
    >>> persistence_test(x, side="both", acf=AR1(0.7)).alarm
    False
    >>> x[500:560] = x[500:560].abs()
    >>> persistence_test(x, side="both", acf=AR1(0.7)).alarm
    True
    """
    check_choice(null, "null", ("discrete-iia", "gaussian-fit", "bootstrap"))
    check_choice(statistic, "statistic", ("longest", "ks", "mean"))
    check_choice(side, "side", ("above", "below", "both"))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1); got {alpha}")
    x = check_series(x, level)
    if x.ndim != 1:
        raise ValueError(f"x must be one series of shape (n,); got {tuple(x.shape)}")
    runs = excursions(x, level).side(side)
    if len(runs.lengths) < _FEWEST:
        words = f" {side} the level" if side != "both" else ""
        raise ValueError(f"x must have at least {_FEWEST} complete runs{words}; got {len(runs.lengths)}")
    usual = x if reference is None else check_series(reference, level)
    if side == "both" and acf is None and not is_symmetric(usual, level):
        raise ValueError('side="both" is for series that spend half of their time above the level; take one side')
    law = _null_law(null, usual, level, side, acf, reference)
    expected = len(x) * _rate(law) * (1 if side == "both" else 0.5)
    longest = float(_expected_longest(law, expected))
    lengths = runs.lengths
    if statistic == "longest":
        observed = float(_longest(x >= level, side))
        tail = min(max(float(law.sf(lengths.new_tensor(observed - 1))), 0.0), 1 - 1e-15)
        p = -math.expm1(expected * math.log1p(-tail))
    elif statistic == "mean":
        observed = float(lengths.mean())
        z = (observed - float(law.mean)) / math.sqrt(float(law.var) / len(lengths))
        p = math.erfc(abs(z) / math.sqrt(2))
    else:
        observed, p = _kolmogorov(lengths, law, generator)
    return TestResult(p, longest, observed, len(lengths), alpha)


def _null_law(
    null: str, usual: Tensor, level: float, side: str, acf: Tensor | SequenceCovariance | None, reference: Tensor | None
) -> ExcursionLaw:
    if null == "bootstrap":
        if reference is None:
            raise ValueError('null="bootstrap" needs a reference: resampled runs of x are never longer than those of x')
        return _empirical(excursions(usual, level).side(side).lengths)
    if acf is not None:
        law = iia_discrete(acf, on_invalid="project")
    elif null == "gaussian-fit":
        if not is_symmetric(usual, level):
            raise ValueError('null="gaussian-fit" is for signs that are symmetric; take "discrete-iia" at this level')
        law = iia_discrete(AR1(math.sin(math.pi / 2 * float(sign_acf(usual, level, max_lag=1)[1]))))
    else:
        law = law_of_signs(usual, level)
    return law.other_side if side == "below" else law


def _empirical(lengths: Tensor) -> ExcursionLaw:
    from torsor.persistence._exponent import Exponent
    from torsor.persistence._laws import ValidityCertificate

    if len(lengths) < _FEWEST:
        raise ValueError(f"reference must have at least {_FEWEST} complete runs; got {len(lengths)}")
    counts = torch.bincount(lengths.long()).double()
    # one run more than all that were seen is longer: no length is impossible
    values = torch.cat([(counts / (counts.sum() + 1)).cumsum(0), torch.ones(1, dtype=torch.float64)])
    nothing = Exponent(torch.zeros((), dtype=torch.float64), "none", 0.0, "an empirical law has a last length")
    certificate = ValidityCertificate("numerical", "the share of runs that were seen", 0.0, 0.0, None, len(values) - 1)
    return ExcursionLaw(1.0, values, nothing, certificate, discrete=True)


def _rate(law: ExcursionLaw) -> float:
    """Runs of both signs per step: two over the mean of a run above and one below."""
    return 2 / float(law.mean + law.other_side.mean)


def _expected_longest(law: ExcursionLaw, runs: float) -> Tensor:
    k = torch.arange(int(200 * float(law.mean)) + 200, dtype=torch.float64)
    return -torch.expm1(runs * torch.log1p(-law.sf(k).clamp(0, 1 - 1e-15))).sum()


def _longest(above: Tensor, side: str) -> int:
    """The longest run of a side, those at the ends included."""
    edges = torch.cat([above.new_zeros(1), above[1:] != above[:-1]]).cumsum(0)
    lengths = torch.bincount(edges)
    starts = torch.cat([above[:1], above[1:][above[1:] != above[:-1]]])
    keep = torch.ones_like(starts) if side == "both" else starts if side == "above" else ~starts
    return int(lengths[keep].max())


def _kolmogorov(lengths: Tensor, law: ExcursionLaw, generator: torch.Generator | None) -> tuple[float, float]:
    n, top = len(lengths), max(int(lengths.max()), len(law.values))
    cdf = law.cdf(torch.arange(1, top + 1, dtype=torch.float64))

    def distance(counts: Tensor) -> Tensor:
        return (counts.cumsum(-1) / n - cdf).abs().amax(-1)

    observed = float(distance(torch.bincount(lengths.long() - 1, minlength=top).double()))
    draws = torch.rand(_DRAWS, n, generator=generator, dtype=torch.float64)
    k = torch.searchsorted(cdf, draws).clamp(max=top - 1)
    counts = torch.zeros(_DRAWS, top, dtype=torch.float64).scatter_add_(1, k, torch.ones_like(draws))
    return observed, (1 + int((distance(counts) >= observed - 1e-12).sum())) / (_DRAWS + 1)


def alert_table(x: Shaped[Tensor, " n"], levels: list[float] | tuple[float, ...]) -> list[dict[str, Any]]:
    """What alerts at several levels would have been like: how often, how long, and whether the longest was unusual.

    Arguments:
        x: the series, `(n,)`.
        levels: thresholds, in the unit of `x`.

    Returns:
        One dictionary per level: `level`, `share` of the time above, `runs`, `mean` and `longest` in steps,
        `expected_longest` and `p_value` (None where there are fewer than 30 runs).

    Raises:
        ValueError: NaN, or no levels.

    >>> import torch
    >>> from torsor.persistence import AR1, alert_table, simulate_gaussian
    >>> x = simulate_gaussian(AR1(0.9), 4000, generator=torch.Generator().manual_seed(0))[0]
    >>> [row["runs"] > 30 for row in alert_table(x, [0.0, 1.0])]
    [True, True]
    """
    x = check_series(x)
    if not len(levels):
        raise ValueError("levels must not be empty")
    rows = []
    for level in map(float, levels):
        runs = excursions(x, level).side("above")
        row: dict[str, Any] = {"level": level, "share": float((x >= level).double().mean()), "runs": len(runs.lengths)}
        row |= {"mean": None, "longest": None, "expected_longest": None, "p_value": None}
        if len(runs.lengths):
            row |= {"mean": float(runs.lengths.mean()), "longest": _longest(x >= level, "above")}
        if len(runs.lengths) >= _FEWEST:
            found = persistence_test(x, level)
            row |= {"expected_longest": found.expected_longest, "p_value": found.p_value}
        rows.append(row)
    return rows

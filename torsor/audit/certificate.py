"""What can be promised about draws that were not seen: bounds on probabilities, and the assumption under them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Certificate:
    """A bound on the probability that a fresh draw breaks a promise, and what the bound assumes.

    Arguments:
        statement: the promise, in one sentence that can be read alone.
        epsilon: what the promise tolerates, such as an error.
        delta: the probability, over the draws that the bound was computed from, that the statement is wrong.
        n: the number of independent draws.
        assumption: what must be true of the draws; without it the statement says nothing.
        violation_bound: the bound on the probability that a fresh draw exceeds `epsilon`.
    """

    statement: str
    epsilon: float
    delta: float
    n: int
    assumption: str
    violation_bound: float = field(kw_only=True)

    def __str__(self) -> str:
        return f"{self.statement} Assumed: {self.assumption}"


def clopper_pearson(k: int, n: int, delta: float) -> float:
    """The exact upper confidence bound on a probability, from `k` events among `n` independent trials.

    With probability at least `1 - delta` over the trials the event has a probability of at most this number. It is the
    quantile of level `1 - delta` of the Beta(k + 1, n - k) distribution, and 1 where `k = n`.

    Arguments:
        k: how often the event was seen.
        n: how many independent trials there were.
        delta: how often the bound may fail, in (0, 1).

    Raises:
        ValueError: not `0 <= k <= n`, no trials, or `delta` outside (0, 1).

    Source: Clopper, Pearson 1934, Biometrika 26, 404-413.

    >>> round(clopper_pearson(0, 59, 0.05), 6), round(clopper_pearson(3, 50, 0.05), 6)
    (0.049508, 0.147837)
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"k of n must satisfy n >= 1 and 0 <= k <= n; got k={k}, n={n}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1); got {delta}")
    if k == n:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(k + 1, n - k, 1 - delta))


def exceedance(epsilon: float, exceeded: int, n: int, delta: float, what: str, assumption: str) -> Certificate:
    """The certificate that a fresh draw of `what` exceeds `epsilon` with a bounded probability.

    Arguments:
        epsilon: the value that should not be exceeded.
        exceeded: how many of the draws exceeded it.
        n: how many independent draws there were.
        delta: how often the bound may fail.
        what: the quantity, in words.
        assumption: what must be true of the draws, in words.

    >>> exceedance(1e-4, 0, 59, 0.05, "the relative error of a fresh pair", "the pairs are independent.").statement
    'With 95% confidence the relative error of a fresh pair exceeds 0.0001 with probability at most 0.05 (0 of 59 did).'
    """
    bound = clopper_pearson(exceeded, n, delta)
    statement = (
        f"With {100 * (1 - delta):.6g}% confidence {what} exceeds {epsilon:.3g} with probability at most {bound:.2g}"
        f" ({exceeded} of {n} did)."
    )
    return Certificate(statement, epsilon, delta, n, assumption, violation_bound=bound)


def scenario(values: Sequence[float], delta: float, what: str, assumption: str) -> Certificate:
    """The certificate about the largest of some draws: a fresh draw exceeds it with a bounded probability.

    With probability at least `1 - delta` over `n` independent draws, a fresh one exceeds the largest of them with
    probability at most `1 - delta^(1/n)`, which is at most `ln(1/delta) / n`.

    Arguments:
        values: the draws.
        delta: how often the bound may fail, in (0, 1).
        what: the quantity, in words.
        assumption: what must be true of the draws, in words.

    Raises:
        ValueError: there are no draws, or `delta` is outside (0, 1).

    Source: Campi, Garatti 2008, SIAM Journal on Optimization 19, 1211-1230, theorem 1, for one decision variable.

    >>> round(scenario([0.1, 0.3, 0.2] * 100, 0.05, "the error", "independent pairs.").violation_bound, 5)
    0.00994
    """
    n = len(values)
    if n < 1:
        raise ValueError("values must hold at least one draw; got none")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1); got {delta}")
    largest, bound = max(values), -math.expm1(math.log(delta) / n)
    statement = (
        f"With {100 * (1 - delta):.6g}% confidence {what} exceeds {largest:.3g}, the largest of {n}, with probability"
        f" at most {bound:.2g}."
    )
    return Certificate(statement, largest, delta, n, assumption, violation_bound=bound)

"""Which row is recommended, and why: what can be told apart, and what only looks different."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torsor.study._exhibits import Answer
from torsor.study._numbers import show
from torsor.study._protocol import Record, done, mean, names, values

_LEVEL = 0.95
_SAME_ERROR = 0.01  # a smaller relative difference is of no use, however certain
_SAME_COST = 1.25  # costs within this factor count as equal: they are timed, and timing is noisy
_EXACT = "exact"
_KEYS = {"test": ("test_error", "test_blocks"), "transformed": ("transformed_error", "transformed_blocks")}
_WORDS = {"test": "the test set as it is", "transformed": "the transformed test set"}


@dataclass(frozen=True)
class Standing:
    """A row and its error: the mean over seeds and its 95 % interval."""

    name: str
    error: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float, float]:
        """The error with its interval, as tables show it."""
        return self.error, self.low, self.high


def standings(records: Sequence[Record], by: str = "test") -> list[Standing]:
    """Every row that has results, best first.

    The interval covers the luck of the seed, its spread pooled over all rows on a logarithmic scale, and the choice of
    test samples.
    """
    key, blocks = _KEYS[by]
    spread, quantile = seed_spread(records, key)
    rows = []
    for name in names(records):
        errors = values(records, name, key)
        if not errors:
            continue
        error = math.fsum(errors) / len(errors)
        seed = spread * error / math.sqrt(len(errors))
        sample = _standard_error(_mean_blocks(records, name, blocks))
        half = quantile * math.hypot(seed, sample)
        rows.append(Standing(name, error, max(0.0, error - half), error + half))
    return sorted(rows, key=lambda row: row.error)


def distinguishable(records: Sequence[Record], better: str, worse: str, by: str = "test") -> bool:
    """Whether two rows differ by more than chance: the 95 % interval of the difference leaves out 0."""
    key, blocks = _KEYS[by]
    spread, quantile = seed_spread(records, key)
    a, b = values(records, better, key), values(records, worse, key)
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    seed = math.hypot(spread * mean_a / math.sqrt(len(a)), spread * mean_b / math.sqrt(len(b)))
    pairs = zip(_mean_blocks(records, better, blocks), _mean_blocks(records, worse, blocks), strict=False)
    sample = _standard_error([y - x for x, y in pairs])
    return mean_b - mean_a > max(quantile * math.hypot(seed, sample), _SAME_ERROR * mean_b)


def seed_spread(records: Sequence[Record], key: str) -> tuple[float, float]:
    """The relative standard deviation over seeds, pooled over all rows, and the quantile that belongs to it."""
    from scipy.stats import t

    squares, freedom = 0.0, 0
    for name in names(records):
        logs = [math.log(x) for x in values(records, name, key) if x > 0]
        if len(logs) > 1:
            centre = math.fsum(logs) / len(logs)
            squares += math.fsum((x - centre) ** 2 for x in logs)
            freedom += len(logs) - 1
    quantile = float(t.ppf((1 + _LEVEL) / 2, freedom)) if freedom else 1.96
    return (math.sqrt(squares / freedom) if freedom else 0.0), quantile


def recommend(records: Sequence[Record], by: str = "test") -> Answer:
    """The recommended row, in words: the best one, or the cheapest of those that cannot be told from it."""
    rows = standings(records, by)
    if not rows:
        return Answer("No treatment can be recommended: no trial ended.")
    best = rows[0]
    tied = [best] + [row for row in rows[1:] if not distinguishable(records, best.name, row.name, by)]
    chosen = _cheapest(records, tied)
    reasons = [*_why(records, rows, chosen, best, tied, by), *_elsewhere(records, chosen, by), *_caveats(records)]
    if len(rows) == 1:
        headline = f"{chosen.name} is the only treatment with results: error {show(chosen.error)} on {_WORDS[by]}."
    elif len(tied) == 1:
        second = rows[1]
        gain = 1 - best.error / second.error
        headline = (
            f"{best.name} has the lowest error on {_WORDS[by]}, {show(best.error)}: "
            f"{gain:.0%} below {second.name}, the next ({show(second.error)})."
        )
    elif chosen is best:
        headline = (
            f"{best.name} has the lowest error on {_WORDS[by]} ({show(best.error)}), and none of its equals is cheaper."
        )
    else:
        headline = (
            f"{chosen.name}: its error on {_WORDS[by]} ({show(chosen.error)}) cannot be told from the lowest, "
            f"{show(best.error)} of {best.name}, and it is cheaper to train."
        )
    return Answer(headline, tuple(reasons), chosen.name)


def _why(
    records: Sequence[Record], rows: list[Standing], chosen: Standing, best: Standing, tied: list[Standing], by: str
) -> list[str]:
    found = []
    if len(tied) > 1:
        others = _listed([row.name for row in tied if row is not chosen])
        cheaper = "cheapest" if len(tied) > 2 else "cheaper one"
        found.append(
            f"{chosen.name} and {others} are not distinguishable with these seeds and test samples; the {cheaper} is "
            f"chosen ({_cost(records, chosen.name)})."
        )
    if "plain" in [row.name for row in rows] and chosen.name != "plain":
        plain = next(row for row in rows if row.name == "plain")
        times = plain.error / chosen.error if chosen.error > 0 else 0.0
        found.append(
            f"Without any treatment the error is {show(plain.error)}{f', {times:.2g} times as much' * (times > 1)}."
        )
    error = mean(records, chosen.name, "equivariance_error")
    verdicts = {str(record.metrics.get("equivariance_verdict")) for record in done(records, chosen.name)}
    if error is not None:
        exact = " (exact up to rounding)" if verdicts == {_EXACT} else ""
        found.append(f"Its measured equivariance error is {show(error, 2)}{exact}.")
    return found


def _elsewhere(records: Sequence[Record], chosen: Standing, by: str) -> list[str]:
    """What the other test set says, if it says something else."""
    other = "transformed" if by == "test" else "test"
    rows = standings(records, other)
    mine = next((row for row in rows if row.name == chosen.name), None)
    if mine is None:
        return []
    if rows[0].name != chosen.name and distinguishable(records, rows[0].name, chosen.name, other):
        return [
            f"On {_WORDS[other]} another one is better: {rows[0].name} with {show(rows[0].error)}, against "
            f"{show(mine.error)} of {chosen.name}. Choose by what your data will look like."
        ]
    return [f"On {_WORDS[other]} its error is {show(mine.error)}, and no other is measurably better."]


def _caveats(records: Sequence[Record]) -> list[str]:
    found = []
    if len({record.trial.seed for record in done(records)}) < 2:
        found.append("There is one seed only: the luck of the seed is not in the intervals.")
    for name in names(records):
        if not done(records, name):
            reason = next((record.reason for record in records if record.trial.name == name and record.reason), "")
            found.append(f"{name} has no results and is not compared{f': {reason}' if reason else ''}.")
    return found


def _cheapest(records: Sequence[Record], tied: list[Standing]) -> Standing:
    """The first of those, in the order of the study, whose cost is within a factor of the lowest."""
    costs = {row.name: mean(records, row.name, "cpu_seconds") or 0.0 for row in tied}
    lowest = min(costs.values())
    order = names(records)
    return min((row for row in tied if costs[row.name] <= _SAME_COST * lowest), key=lambda row: order.index(row.name))


def _cost(records: Sequence[Record], name: str) -> str:
    return f"{show(mean(records, name, 'cpu_seconds'), 2)} CPU seconds of training"


def _mean_blocks(records: Sequence[Record], name: str, blocks: str) -> list[float]:
    """The block means of a row, averaged over its seeds."""
    lists = [record.metrics[blocks] for record in done(records, name) if record.metrics.get(blocks)]
    return [math.fsum(column) / len(column) for column in zip(*lists, strict=False)]


def _standard_error(numbers: Sequence[float]) -> float:
    if len(numbers) < 2:
        return 0.0
    centre = math.fsum(numbers) / len(numbers)
    return math.sqrt(math.fsum((x - centre) ** 2 for x in numbers) / (len(numbers) - 1) / len(numbers))


def _listed(words: Sequence[str]) -> str:
    comma = "; " if any("," in word for word in words) else ", "
    return words[0] if len(words) == 1 else f"{comma.join(words[:-1])} and {words[-1]}"

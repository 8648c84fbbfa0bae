"""When an error is rounding, when it is small, and when the symmetry is broken."""

from typing import Literal

Verdict = Literal["exact", "approximate", "broken"]

EXACT = 10.0
"""Rounding explains a mean error up to this many times the floor: sums of many terms round more than one round trip."""

RESAMPLED = 2.0
"""Resampling explains a mean error up to this many times the floor, and up to `UNRELATED`."""

UNRELATED = 0.5
"""Two outputs that have little to do with each other are further apart than this; at right angles it is 0.71."""

BROKEN = 0.05
"""A mean relative error above this is no approximation of the symmetry."""

WORST = 100.0
"""A single pair may be this many times worse than a mean and still be rounding."""

TOLERANCES = {1e-12: 1e-10, 1e-5: 1e-4, 2e-3: 1e-2}
"""Relative errors that a test forgives: up to each eps (float64, float32, float16), and `COARSE` above (bfloat16)."""

COARSE = 5e-2

_ORDER: tuple[Verdict, ...] = ("exact", "approximate", "broken")


def judge(error: float, floor: float, *, resampled: bool) -> Verdict:
    """The verdict on a mean relative error over a floor of rounding or of resampling.

    "exact" up to `EXACT` floors of rounding, or `RESAMPLED` floors of resampling where these are below `BROKEN`;
    "broken" above `BROKEN` where resampling does not explain it; "approximate" between the two.

    >>> judge(2e-16, 2e-15, resampled=False), judge(1e-3, 2e-15, resampled=False), judge(0.3, 2e-15, resampled=False)
    ('exact', 'approximate', 'broken')
    """
    explained = min(RESAMPLED * floor, UNRELATED) if resampled else EXACT * floor
    if error <= min(explained, BROKEN):
        return "exact"
    return "broken" if error > max(BROKEN, explained if resampled else 0.0) else "approximate"


def worst_of(verdicts: list[Verdict]) -> Verdict:
    """The worst of several verdicts.

    >>> worst_of(["exact", "broken", "approximate"])
    'broken'
    """
    return max(verdicts, key=_ORDER.index)


def tolerance_for(eps: float) -> float:
    """The relative error that a test forgives at a precision.

    >>> tolerance_for(2.2e-16), tolerance_for(1.2e-7), tolerance_for(7.8e-3)
    (1e-10, 0.0001, 0.05)
    """
    return next((tolerance for limit, tolerance in TOLERANCES.items() if eps <= limit), COARSE)

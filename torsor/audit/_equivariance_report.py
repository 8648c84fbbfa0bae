"""What an audit of equivariance found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torsor.audit._chart import line_chart
from torsor.audit._continuity import Continuity
from torsor.audit._curve import Curve
from torsor.audit._float64 import Float64Rerun
from torsor.audit._measure import OutputError, PartError
from torsor.audit._report import Report
from torsor.audit._verdict import BROKEN, EXACT, Verdict
from torsor.audit._worst import WorstCase
from torsor.audit.certificate import Certificate


@dataclass(frozen=True, eq=False)
class EquivarianceReport(Report):
    """How far a function is from `f(g x) = g f(x)`.

    Errors are relative, `|f(g x) - g f(x)| / (|f(g x)| + |g f(x)|)`, between 0 and 1.

    Arguments:
        group: the group, by name.
        error: mean relative error of the worst output.
        interval: bootstrap confidence interval of `error`.
        per_output: error, interval, floor and verdict of each output.
        floor: what rounding or resampling alone changes in the worst output.
        verdict: "exact", "approximate" or "broken": the worst over the outputs.
        words: the verdict in sentences.
        law: where the elements came from, in words.
        certificate: a bound on the probability of a large error at a fresh pair.
        scenario: a bound on the probability that a fresh pair is worse than the worst of the measured ones.
        worst: the largest error that was found, and where; None where it was not sought.
        curve: the error against the distance from the identity; None where it was not measured.
        continuity: the search for jumps; None where there was none.
        float64: the rerun in float64; None where it was not asked for.
        parts: the error under each kind of element: factors, rotations, reflections, translations.
        inputs: how many inputs there were.
        samples: how many elements were drawn for each of them.
        confidence: the level of all intervals and of the certificate.
    """

    group: str
    error: float
    interval: tuple[float, float]
    per_output: dict[str, OutputError]
    floor: float
    verdict: Verdict
    words: str
    law: str
    certificate: Certificate
    scenario: Certificate
    worst: WorstCase | None
    curve: Curve | None
    continuity: Continuity | None
    float64: Float64Rerun | None
    parts: tuple[PartError, ...]
    inputs: int
    samples: int
    confidence: float

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name of the report."""
        return f"Equivariance under {self.group}: {self.verdict}"

    def records(self) -> list[dict[str, Any]]:
        """One row for each kind of element and each output."""
        rows = [("all", self.per_output), *((part.name, part.per_output) for part in self.parts)]
        return [
            {
                "elements": name,
                "output": output,
                "error": found.error,
                "low": found.interval[0],
                "high": found.interval[1],
                "largest": found.largest,
                "floor": found.floor,
                "verdict": found.verdict,
            }
            for name, per_output in rows
            for output, found in per_output.items()
        ]

    def facts(self) -> dict[str, str]:
        """The law, the certificate, the worst case, the search for jumps, the rerun in float64."""
        facts = {
            "elements": self.law,
            "pairs": f"{self.samples} elements for each of {self.inputs} inputs; {100 * self.confidence:g}% intervals",
            "certificate": str(self.certificate),
            "largest of the draws": str(self.scenario),
        }
        if self.worst is not None:
            facts["worst case"] = (
                f"{self.worst.error:.3g} in {self.worst.output} of sample {self.worst.sample} under {self.worst.kind},"
                f" by {self.worst.found_by}, within {self.worst.within}"
            )
        if self.continuity is not None:
            facts["continuity"] = _continuity(self.continuity)
        if self.float64 is not None:
            facts["float64"] = (
                f"error {self.float64.error:.3g}, floor {self.float64.floor:.3g}"
                if self.float64.error is not None
                else f"not rerun: {self.float64.reason}"
            )
        return facts

    def figures(self) -> list[str]:
        """The error curve."""
        if self.curve is None:
            return []
        low, high = zip(*self.curve.intervals, strict=True)
        return [
            line_chart(
                self.curve.distances, self.curve.errors, low, high, x_label=self.curve.axis, y_label="relative error"
            )
        ]


def say(
    verdict: Verdict,
    main: OutputError,
    per_output: dict[str, OutputError],
    parts: Iterable[PartError],
    confidence: float,
    rerun: Float64Rerun | None,
    rescued: bool,
    worst: WorstCase | None,
    jumps: Continuity | None,
    notes: Iterable[str],
) -> str:
    """The verdict in sentences."""
    cause = "resampling" if main.resampled else "rounding"
    low, high = main.interval
    words = [
        f"{verdict.capitalize()}{f' to {cause}' if verdict == 'exact' else ''}: mean relative error {main.error:.2g}"
        f" ({100 * confidence:g}% interval {low:.2g} to {high:.2g}), where {cause} alone changes {main.floor:.2g}."
    ]
    if rescued and rerun is not None:
        words.append(f"The error is rounding: it falls to {rerun.error:.2g} in float64.")
    elif verdict != "exact" and rerun is not None and rerun.error is not None:
        words.append(f"In float64 it is {rerun.error:.2g}.")
    elif verdict == "exact" and rerun is not None and rerun.verdict not in (None, "exact"):
        words.append(f"In float64 an error of {rerun.error:.2g} remains, too small to be seen at this precision.")
    if main.floor > (BROKEN if main.resampled else BROKEN / EXACT):
        words.append("Smaller errors than that cannot be seen.")
    if verdict != "exact":
        words += _apart("By output", {name: output.verdict for name, output in per_output.items()})
        words += _apart("By kind of element", {part.name: part.verdict for part in parts})
    if worst is not None and verdict == "approximate" and main.verdict == "exact":
        words.append(f"Random elements show no error, but {worst.kind} does: {worst.error:.2g}.")
    if jumps is not None and jumps.jumps:
        words.append(_continuity(jumps))
    return " ".join([*words, *sorted(notes)])


def _apart(what: str, verdicts: dict[str, Verdict]) -> list[str]:
    """A sentence that sorts names by verdict, where they differ."""
    kinds = {v: [name for name, verdict in verdicts.items() if verdict == v] for v in dict.fromkeys(verdicts.values())}
    if len(kinds) < 2:
        return []
    said = [f"{', '.join(names)} {verdict}" for verdict, names in kinds.items()]
    return [f"{what}: {'; '.join(said)}."]


def _continuity(found: Continuity) -> str:
    if not found.searches:
        return f"Not searched: {found.reason}."
    jumps = [s for s in found.searches if s.jumps]
    if not jumps:
        return f"No jump was found at {' or on '.join(s.place for s in found.searches)}."
    return " ".join(
        f"f jumps: on or near {s.place} {s.output} of sample {s.sample} changes by {s.change:.2g} when its input"
        f" changes by {s.step:.1g} (relative)."
        for s in jumps
    )

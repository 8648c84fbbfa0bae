"""What to try where a symmetry is broken, and the command that tries it."""

from typing import Any

from torsor.audit._equivariance_report import EquivarianceReport
from torsor.groups import E, O


def suggestions(report: EquivarianceReport, group: Any, *, gradient: bool = True) -> tuple[str, ...]:
    """What to try next, in sentences; nothing where the symmetry is exact.

    Arguments:
        report: what was found.
        group: the group that was audited.
        gradient: whether the model can be trained further here.
    """
    if report.verdict == "exact":
        return ()
    said = []
    broken = {part.name for part in report.parts if part.verdict != "exact"}
    if broken == {"reflections"} and isinstance(group, E | O):
        smaller = f"S{group.name}"
        said.append(f"only reflections break it: audit the smaller group with --group '{smaller}'")
    if broken == {"translations"}:
        said.append("only translations break it: subtract the centroid of the points before the model")
    if broken == {"rotations", "reflections"} and isinstance(group, E):
        said.append("translations hold and turns do not: features that depend on the axes of the inputs are to blame")
    if report.continuity is not None and report.continuity.jumps:
        said.append("the output jumps: a weighted frame (torsor.build.frames) makes averages continuous")
    said.append(
        "build: torsor.build.FrameAveraging(model, symmetry) makes any model exact; the same command with --averaged"
        " tries it"
    )
    if gradient:
        said.append(
            "learn: train with torsor.learn.augmented(objective, symmetry), and compare treatments with `torsor study"
            " FILE.toml`"
        )
    if report.verdict == "approximate":
        said.append(
            f"accept it: --max-error {_above(max(row['high'] for row in report.records()))} passes with this error"
        )
    return tuple(said)


def _above(error: float) -> str:
    """A round number that is not below."""
    digits = f"{error * 1.5:.0e}"
    return f"{float(digits):g}"

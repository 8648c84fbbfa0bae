"""What to try where a symmetry is broken, and the command that tries it."""

import shlex
from collections.abc import Sequence
from typing import Any

from torsor.audit._equivariance_report import EquivarianceReport
from torsor.groups import E, O


def suggestions(
    report: EquivarianceReport, group: Any, *, gradient: bool = True, command: Sequence[str] = ()
) -> tuple[str, ...]:
    """What to try next, in sentences; nothing where the symmetry is exact.

    Arguments:
        report: what was found.
        group: the group that was audited.
        gradient: whether the model can be trained further here.
        command: the words of the command line that made the report, for commands that can be pasted.

    >>> import torch
    >>> from torsor import SO, Symmetry, Vector, audit
    >>> x = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> report = audit.equivariance(torch.abs, Symmetry(SO(3), Vector(), Vector()), x)
    >>> suggestions(report, SO(3), command=("torsor", "audit", "torch:abs"))[0].partition("try it: ")[2]
    'torsor audit torch:abs --averaged'
    """
    if report.verdict == "exact":
        return ()
    said = []
    broken = {part.name for part in report.parts if part.verdict != "exact"}
    if broken == {"reflections"} and isinstance(group, E | O):
        smaller = f"S{group.name}"
        tried = _with(command, "--group", smaller) if command else f"audit it with --group '{smaller}'"
        said.append(f"only reflections break it: the smaller group {smaller} may hold: {tried}")
    if broken == {"translations"}:
        said.append("only translations break it: subtract the centroid of the points before the model")
    if broken == {"rotations", "reflections"} and isinstance(group, E):
        said.append("translations hold and turns do not: features that depend on the axes of the inputs are to blame")
    if report.continuity is not None and report.continuity.jumps:
        said.append("the output jumps: a weighted frame (torsor.build.frames) makes averages continuous")
    tried = _with(command, "--averaged") if command else "the same command with --averaged"
    said.append(f"build: torsor.build.FrameAveraging(model, symmetry) makes any model exact; try it: {tried}")
    if gradient:
        said.append(
            "learn: train with torsor.learn.augmented(objective, symmetry), and compare treatments with `torsor study"
            " FILE.toml`"
        )
    if report.verdict == "approximate":
        allowed = _above(max(row["high"] for row in report.records()))
        tried = _with(command, "--max-error", allowed) if command else f"--max-error {allowed}"
        said.append(f"accept it: this error passes: {tried}")
    return tuple(said)


def _with(command: Sequence[str], option: str, *value: str) -> str:
    """The command with one option more, or another value of it."""
    words = list(command)
    for k, word in enumerate(words):
        if word == option or word.startswith(f"{option}="):
            del words[k : k + 1 + (word == option and len(value))]
            break
    return shlex.join([*words, option, *value])


def _above(error: float) -> str:
    """A round number that is not below."""
    digits = f"{error * 1.5:.0e}"
    return f"{float(digits):g}"

"""Whether frames are safe on some data, seen before anything is trained."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor.audit._report import Report, show
from torsor.build.frames import FrameSet, default_frame
from torsor.symmetry import Inputs, Symmetry, as_inputs

PER_GAP, AT_BEST = 0.07, 5.0
"""Equivariance errors in units of rounding, measured for PCA frames: 0.07 / gap, and 5 where gaps are wide."""


@dataclass(frozen=True, eq=False)
class FrameReport(Report):
    """What the frames of a batch are like.

    Arguments:
        group: the group, by name.
        frame: the frame, by name.
        size: `(B,)` elements with positive weight.
        gap: `(B,)` smallest relative distance of two eigenvalues that decide the frame; inf where none do.
        rank: `(B,)` dimensions that the points span.
        ambiguous: `(B,)` where the frame is undetermined.
        expected_error: `(B,)` the relative equivariance error to expect from rounding in float32.
        words: what follows from it.
    """

    group: str
    frame: str
    size: Int[Tensor, " b"]
    gap: Float[Tensor, " b"]
    rank: Int[Tensor, " b"]
    ambiguous: Bool[Tensor, " b"]
    expected_error: Float[Tensor, " b"]
    words: str

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Frames of {self.group} on {len(self.gap)} samples"

    def records(self) -> list[dict[str, Any]]:
        columns = {
            "size of the frame": self.size.double(),
            "relative gap of eigenvalues": self.gap,
            "rank": self.rank.double(),
            "expected float32 error": self.expected_error,
        }
        return [{"of each sample": name, **_quantiles(values)} for name, values in columns.items()]

    def facts(self) -> dict[str, str]:
        return {
            "Frame": self.frame,
            "Ambiguous": f"{int(self.ambiguous.sum())} of {len(self.ambiguous)} samples",
            "Expected error": f"{PER_GAP} eps / gap, at least {AT_BEST:g} eps, measured for principal axes",
        }


def frame_report(symmetry: Symmetry, inputs: Inputs, frame: Any = None) -> FrameReport:
    """What the frames of these inputs are like: size, gap, rank, and the error that rounding will make of it.

    Arguments:
        symmetry: the group and the actions.
        inputs: a batch of the data that a network will see.
        frame: any frame; by default the one that `FrameAveraging` takes.

    Raises:
        ValueError: inputs do not fit the symmetry.
        TypeError: the group has no frame.

    >>> import torch
    >>> from torsor import E, Point, Symmetry, audit
    >>> cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)[None]
    >>> audit.frame_report(Symmetry(E(3), Point(), Point()), cube).words
    '1 of 1 samples have repeated eigenvalues; the frame is exact there, and jumps nearby.'
    """
    inputs = as_inputs(inputs)
    symmetry.check(inputs, values=True)
    chosen = default_frame(symmetry.group) if frame is None else frame
    with torch.no_grad():
        frames: FrameSet = chosen(symmetry, inputs)
    eps = torch.finfo(torch.float32).eps
    gap = frames.gap.double()
    size = (frames.weights > 0).sum(1)
    error = (PER_GAP * eps / gap.clamp(min=1e-12)).clamp(min=AT_BEST * eps, max=1)
    mended = getattr(chosen, "on_degenerate", None) == "robust"
    error = torch.where(frames.ambiguous & mended, AT_BEST * eps, error)
    words = _words(frames, error, mended)
    name = type(chosen).__name__ if not hasattr(chosen, "__dataclass_fields__") else repr(chosen)
    return FrameReport(str(symmetry.group), name, size, gap, frames.rank, frames.ambiguous, error, words)


def _words(frames: FrameSet, error: Tensor, mended: bool) -> str:
    bad, all_of_them = int(frames.ambiguous.sum()), len(frames)
    if bad and mended:
        return f"{bad} of {all_of_them} samples have repeated eigenvalues; the frame is exact there, and jumps nearby."
    if bad:
        return (
            f"{bad} of {all_of_them} samples leave their frame undetermined: exactness is lost there. Take"
            ' on_degenerate="robust", RobustFrame, or more fields (velocities lift most degeneracies).'
        )
    if not all_of_them:
        return "There are no samples."
    worst = float(error.max())
    if worst > 1e-3:
        return f"No sample is ambiguous, but gaps are small: in float32 expect errors up to {show(worst)}; use float64."
    return f"The frames are safe: in float32 expect errors of rounding, at most {show(worst)}."


def _quantiles(values: Tensor) -> dict[str, float | None]:
    if not len(values):
        return {"smallest": None, "median": None, "largest": None}
    ordered = values.sort().values
    picked = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    return dict(zip(("smallest", "median", "largest"), map(float, picked), strict=True))

"""The same audit in float64, which separates rounding from a broken symmetry."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torsor import _tree
from torsor.audit._compare import compare
from torsor.audit._measure import OutputError, measure, worst_output
from torsor.audit._subject import Subject
from torsor.audit._verdict import Verdict

_FLOORS = 2


@dataclass(frozen=True)
class Float64Rerun:
    """The error of a float64 copy of a module, under elements drawn in float64.

    Arguments:
        error: mean relative error of the worst output; None where there was no rerun.
        floor: what rounding or resampling alone changes in that output.
        verdict: the verdict on it.
        per_output: what was measured for each output.
        reason: why there was no rerun.
    """

    error: float | None = None
    floor: float | None = None
    verdict: Verdict | None = None
    per_output: dict[str, OutputError] | None = None
    reason: str | None = None


def rerun_in_float64(
    subject: Subject, inputs: Any, proposal: Any, samples: int, confidence: float, generator: torch.Generator
) -> Float64Rerun:
    """The error of the module in float64 under `samples` elements for each input, or why there is none."""
    if not isinstance(subject.function, nn.Module):
        return Float64Rerun(reason="only an nn.Module can be copied to float64")
    coarse = [x for x in (*subject.function.parameters(), *_tree.leaves(inputs)) if _is_coarser(x)]
    if not coarse:
        return Float64Rerun(reason="everything is float64 already")
    try:
        wide = Subject(copy.deepcopy(subject.function).double(), subject.symmetry)
        inputs = _tree.map(_double, inputs)
        comparison = compare(wide, inputs, generator)
        still_coarse = comparison.eps > torch.finfo(torch.float64).eps
        if still_coarse:
            return Float64Rerun(reason="the float64 copy returns lower precision")

        def draw() -> Any:
            return subject.symmetry.sample(inputs, proposal=proposal, generator=generator)

        per_output, _ = measure(comparison, draw, samples, min(samples, _FLOORS), confidence)
    except Exception as error:  # whatever the copy of a stranger's module raises
        return Float64Rerun(reason=f"the float64 copy failed: {type(error).__name__}: {error}")
    worst = worst_output(per_output)
    return Float64Rerun(worst.error, worst.floor, worst.verdict, per_output)


def _is_coarser(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64


def _double(x: Any) -> Any:
    if isinstance(x, Tensor) and x.is_complex():
        return x.to(torch.complex128)
    return x.double() if _is_coarser(x) else x

"""The audit of equivariance: does `f(g x) = g f(x)` hold, how well, and where does it fail?"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torsor import _tree
from torsor.actions import Element
from torsor.audit._compare import LEAST_FLOOR, Comparison, compare
from torsor.audit._continuity import continuity as search_for_jumps
from torsor.audit._curve import Curve, error_curve, logarithms
from torsor.audit._elements import parts as kinds_of
from torsor.audit._elements import support
from torsor.audit._equivariance_report import EquivarianceReport, say
from torsor.audit._float64 import Float64Rerun, rerun_in_float64
from torsor.audit._measure import OutputError, Pairs, PartError, measure, part_error, worst_output
from torsor.audit._subject import Subject, at_least_float32, evaluating
from torsor.audit._transformation import ungrouped
from torsor.audit._variation import broken_channels
from torsor.audit._verdict import BROKEN, EXACT, WORST, tolerance_for, worst_of
from torsor.audit._worst import WorstCase, worst_case, worst_drawn
from torsor.audit.certificate import Certificate, exceedance, scenario
from torsor.symmetry import Inputs, Symmetry, Transformation, as_inputs

_FLOORS = 2
_PART_ROUNDS = 2
_DRAWS = 256

_MISSED = 1e-3
"""An error is rounding only where the rerun in float64 would miss one as frequent with at most this probability."""


def equivariance(
    f: Callable[..., Any],
    symmetry: Symmetry | Transformation,
    inputs: Inputs,
    *,
    samples: int = 8,
    tolerance: float | None = None,
    confidence: float = 0.95,
    generator: torch.Generator | None = None,
    proposal: Any = None,
    worst: bool = True,
    curve: bool = True,
    parts: bool = True,
    continuity: bool = True,
    path: Inputs | None = None,
    float64: bool = True,
) -> EquivarianceReport:
    """How far a function is from a symmetry, with the evidence.

    The error of a pair of an input and an element is `|f(g x) - g f(x)| / (|f(g x)| + |g f(x)|)`, in the L2 norm of the
    space of `embed`, with 0/0 = 0. `Point` outputs are measured from the centroid of the moved `Point` inputs, so that
    no translation hides an error. The floor is what the round trip `g^-1 g` and one more rounding of the inputs change,
    at least 10 eps, and at most sqrt(eps) where nothing is resampled: what rounding changes more than that, jumps.
    Outputs that are zero on paper, below 1e3 eps of the inputs and changed as a whole by rounding, count as equal.

    The verdict is "exact" where rounding (10 floors) or resampling (2 floors) explains the mean error, or where the
    error vanishes in float64; "broken" where the mean error is above 0.05; "approximate" between the two. It is not
    "exact" where one channel of scalars is broken that larger ones, or a large constant, hide.

    Modules run in evaluation mode. Each call of `f` gets one batch of the size of `inputs`: about 110 calls, of which
    `worst` takes half, and `samples + 6` with everything optional switched off.

    Arguments:
        f: a module or any other callable that takes tensors as `symmetry` says: one call for a whole batch.
        symmetry: what should hold. For a `Transformation` that is no group, rows are samples, the floor is rounding
            alone, the worst case is the worst draw, and there is no curve.
        inputs: the inputs to measure on, a tuple or a dict. They are not changed.
        samples: how many elements are drawn for each input.
        tolerance: the error that the certificate is about; by default 1e-10 in float64, 1e-4 in float32, 1e-2 in
            float16, 5e-2 in bfloat16 and where values are resampled.
        confidence: the level of the intervals and of the certificate.
        generator: where the randomness comes from, on the device of the inputs; seeded with 0 by default. The same
            seed gives the same report.
        proposal: the law of the elements; by default `symmetry.law(inputs)`.
        worst: seek the worst element, by gradient ascent where `f` is differentiable, by local search where it is not,
            and over all elements of a small finite group. It stays in the part of the group that 256 draws of the law
            reach.
        curve: measure the error against the distance from the identity.
        parts: measure factors, rotations, reflections and translations apart.
        continuity: look for jumps: at the inputs, and on segments of random direction that start there.
        path: inputs at the other end of a straight segment to look for jumps on, instead of random segments.
        float64: repeat in float64 where `f` is a module that allows it.

    Raises:
        ValueError: inputs or outputs do not fit the symmetry or are not finite, there are none, `f` is random, or an
            argument is out of range.
        TypeError: `f` cannot be called, or `symmetry` is none.

    >>> import torch
    >>> from torsor import SO, Symmetry, Vector, audit
    >>> x = torch.randn(16, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> symmetry = Symmetry(SO(3), Vector(), Vector())
    >>> audit.equivariance(lambda x: x.cross(x.roll(1, 1), dim=-1), symmetry, x).verdict
    'exact'
    >>> audit.equivariance(lambda x: x.abs(), symmetry, x).verdict
    'broken'
    """
    _check_arguments(f, symmetry, samples, tolerance, confidence)
    inputs = as_inputs(inputs)
    name = symmetry.group.name if isinstance(symmetry, Symmetry) else type(symmetry).__name__
    if not isinstance(symmetry, Symmetry):
        symmetry = ungrouped(f, symmetry, inputs)
    symmetry.check(inputs, values=True)
    size = symmetry.batch_size(inputs)
    if size == 0:
        raise ValueError("inputs must hold at least one sample; got an empty batch")
    device = next(x.device for _, x in symmetry.slots(inputs) if isinstance(x, Tensor))
    if generator is None:
        generator = torch.Generator(device).manual_seed(0)
    law = symmetry.law(inputs) if proposal is None else proposal
    if path is not None:
        path = as_inputs(path)
        symmetry.check(path, values=True)
    with evaluating(f):
        comparison = compare(Subject(f, symmetry), inputs, generator)

        def draw() -> Element:
            return symmetry.sample(_tree.map(at_least_float32, inputs), proposal=law, generator=generator)

        per_output, pairs = measure(comparison, draw, samples, min(samples, _FLOORS), confidence)
        rerun = (
            rerun_in_float64(comparison.subject, inputs, proposal, samples, confidence, generator) if float64 else None
        )
        rounding = _vanishing(per_output, pairs, rerun, comparison.eps)
        per_output = _forgiven(per_output, rounding)
        hidden = [c for c in broken_channels(comparison, pairs.elements[0]) if c.output not in rounding]
        kinds = _parts(comparison, draw, confidence, rounding) if parts else ()
        found, line = _worst_and_curve(comparison, law, draw, pairs, confidence, worst, curve)
        jumps = search_for_jumps(comparison, path) if continuity else None

    main = worst_output(per_output)
    verdict = worst_of([output.verdict for output in per_output.values()])
    if verdict == "exact" and found is not None and not main.resampled and found.error > WORST * EXACT * found.floor:
        verdict = "approximate"
    hidden = [channel for channel in hidden if per_output[channel.output].verdict != "broken"]
    if verdict == "exact" and any(not per_output[channel.output].resampled for channel in hidden):
        verdict = "approximate"
    law_words = _words(law, name, comparison.has_group)
    return EquivarianceReport(
        group=name,
        error=main.error,
        interval=main.interval,
        per_output=per_output,
        floor=main.floor,
        verdict=verdict,
        words=say(
            verdict,
            main,
            per_output,
            kinds,
            confidence=confidence,
            rerun=rerun,
            rescued=bool(rounding),
            worst=found,
            jumps=jumps,
            notes={*comparison.notes, *map(str, hidden)},
        ),
        law=law_words,
        certificate=_certificate(comparison, pairs, per_output, tolerance, confidence, law_words),
        scenario=scenario(pairs.errors[0].amax(0).tolist(), 1 - confidence, _PAIR, _assumed(law_words)),
        worst=found,
        curve=line,
        continuity=jumps,
        float64=rerun,
        parts=kinds,
        inputs=size,
        samples=samples,
        confidence=confidence,
    )


def _check_arguments(f: Any, symmetry: Any, samples: int, tolerance: float | None, confidence: float) -> None:
    if not callable(f):
        raise TypeError(f"f must be a module or another callable; got {type(f).__name__}")
    if not isinstance(symmetry, Transformation):
        raise TypeError(f"symmetry must be a torsor.Symmetry or a Transformation; got {type(symmetry).__name__}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    if tolerance is not None and not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be a relative error in [0, 1); got {tolerance}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")


def _words(law: Any, name: str, has_group: bool) -> str:
    if law is not None:
        return law.describe() if hasattr(law, "describe") else str(law)
    return f"Haar measure of {name}" if has_group else f"the draws of {name}"


def _vanishing(per_output: dict[str, OutputError], pairs: Pairs, rerun: Float64Rerun | None, eps: float) -> set[str]:
    """The outputs whose error is rounding, because it goes away in float64."""
    if rerun is None or rerun.per_output is None:
        return set()
    errors = dict(zip(per_output, torch.stack(pairs.errors, 1), strict=True))
    return {
        name
        for name, wide in rerun.per_output.items()
        if per_output[name].verdict != "exact"
        and (wide.verdict == "exact" or wide.error <= LEAST_FLOOR * eps)
        and _would_be_met_again(errors[name] > EXACT * per_output[name].floor)
    }


def _would_be_met_again(large: Tensor) -> bool:
    """Whether as many fresh pairs would hardly miss what is this frequent: what is rarer may have missed the rerun."""
    return float((1 - large.double().mean()) ** large.numel()) <= _MISSED


def _forgiven(per_output: dict[str, OutputError], names: set[str]) -> dict[str, OutputError]:
    return {name: replace(e, verdict="exact") if name in names else e for name, e in per_output.items()}


def _parts(
    comparison: Comparison, draw: Callable[[], Element], confidence: float, rounding: set[str]
) -> tuple[PartError, ...]:
    found = []
    for name, reduce in kinds_of(comparison.symmetry.group).items():

        def draw_part(reduce: Callable[[Element], Element] = reduce) -> Element:
            return reduce(draw())

        per_output, _ = measure(comparison, draw_part, _PART_ROUNDS, 1, confidence)
        found.append(part_error(name, _forgiven(per_output, rounding)))
    return tuple(found)


def _worst_and_curve(
    comparison: Comparison,
    law: Any,
    draw: Callable[[], Element],
    pairs: Pairs,
    confidence: float,
    worst: bool,
    curve: bool,
) -> tuple[WorstCase | None, Curve | None]:
    if not comparison.has_group:
        return worst_drawn(comparison, pairs) if worst else None, None
    if not (worst or curve):
        return None, None
    group = comparison.symmetry.group
    leaves = _tree.leaves(pairs.elements[0])
    dtype = next((t.dtype for t in leaves if t.is_floating_point() or t.is_complex()), None)
    draws = group.sample(_DRAWS, proposal=law, generator=comparison.generator, dtype=dtype, device=leaves[0].device)
    vectors = logarithms(comparison, draws)
    found = None
    if worst:
        none = torch.zeros(group.dim, device=leaves[0].device)
        scale = none if vectors is None else vectors.square().mean(0).sqrt()
        found = worst_case(comparison, pairs, draw, support(group, draws), torch.where(scale > 0, scale, 1))
    return found, error_curve(comparison, vectors, pairs, confidence) if curve else None


def _certificate(
    comparison: Comparison,
    pairs: Pairs,
    per_output: dict[str, OutputError],
    tolerance: float | None,
    confidence: float,
    law: str,
) -> Certificate:
    """The bound from the first element of each input: these pairs are independent."""
    errors = pairs.errors[0].amax(0)
    if tolerance is None:
        resampled = any(output.resampled for output in per_output.values())
        tolerance = BROKEN if resampled else tolerance_for(comparison.eps)
    return exceedance(
        tolerance,
        int((errors > tolerance).sum()),
        len(errors),
        1 - confidence,
        _PAIR,
        _assumed(law),
    )


_PAIR = "the relative error of a fresh pair of an input and an element"


def _assumed(law: str) -> str:
    return f"the inputs are independent draws of what f will meet, and each comes with one independent element ({law})."

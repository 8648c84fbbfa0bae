"""Does a small change of the inputs make a jump in the output? Frames and canonicalisers may."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor import _tree
from torsor._layout import zero_padding
from torsor._slots import is_action
from torsor.actions import Action
from torsor.audit._compare import Comparison, holds_labels, is_movable, map_inputs

_LARGE, _SMALL = 1e-4, 1e-7
"""Relative changes of the inputs between which a quotient may not grow."""

_RESOLUTION = 1e3
"""No change of the inputs is smaller than this many eps: below, rounding hides what the function does."""

_SEGMENT = 0.3
"""Relative length of the random segments that are searched."""

_GRID, _BISECTIONS = 8, 12

_NOISE = 100.0
"""Changes of the output below this many eps are rounding."""

_JUMP = 0.75
"""A quotient that grows like step^-0.75 or faster is a jump: 0 for Lipschitz functions, 1 for jumps."""


@dataclass(frozen=True)
class Jump:
    """How the output follows a small change of the inputs, at the worst sample and output of one search.

    Arguments:
        place: where it was looked for.
        step: relative change of the inputs.
        change: relative change of the output.
        growth: exponent p of the quotient `change / step ~ step^-p`: 0 for Lipschitz functions, 1 for jumps.
        jumps: whether that is a jump.
        sample: the sample, counted from 0.
        output: the output.
    """

    place: str
    step: float
    change: float
    growth: float
    jumps: bool
    sample: int
    output: str


@dataclass(frozen=True)
class Continuity:
    """What the search for jumps found, one entry for each place; empty where it could not look, with the reason."""

    searches: tuple[Jump, ...]
    reason: str | None = None

    @property
    def jumps(self) -> bool:
        """Whether a jump was found anywhere."""
        return any(search.jumps for search in self.searches)


def continuity(comparison: Comparison, path: Any | None) -> Continuity:
    """Look for jumps at the inputs, and on a straight segment that starts there.

    Arguments:
        comparison: the function and its inputs.
        path: inputs at the other end of the segment; a random direction where None.
    """
    symmetry, inputs = comparison.symmetry, comparison.inputs
    slots = symmetry.slots(inputs)
    if not any(is_movable(a, x) and bool((~holds_labels(a, x)).any()) for a, x in slots):
        return Continuity((), "no input can be changed by a little")
    small = max(_SMALL, _RESOLUTION * comparison.eps)
    if small > 0.01:
        return Continuity((), f"at this precision (eps {comparison.eps:.2g}) rounding hides small changes")
    large = max(_LARGE, 100 * small)
    direction = _direction(comparison)
    near = _at_the_inputs(comparison, direction, large, small)
    if path is None:
        place, end = "random segments", _along(comparison, direction, _SEGMENT)
    else:
        place, end = "the given path", path
    length = _length(comparison, end, direction)
    return Continuity((near, _on_segment(comparison, end, length, place, small)))


def _at_the_inputs(comparison: Comparison, direction: Any, large: float, small: float) -> Jump:
    far, near = (comparison.subject(_along(comparison, direction, step)) for step in (large, small))
    before, after = (comparison.distance(y, comparison.base) for y in (far, near))
    return _judge(comparison, "the inputs", before, after, comparison.base, large, small)


def _on_segment(comparison: Comparison, end: Any, length: float, place: str, small: float) -> Jump:
    """Bisect towards the largest change, each sample on its own."""
    subject = comparison.subject
    samples = comparison.symmetry.batch_size(comparison.inputs)
    device = comparison.generator.device

    def at(t: Tensor) -> Any:
        return subject(_between(comparison, end, t))

    low = torch.zeros(samples, dtype=torch.float64, device=device)
    stops = [at(low + k / _GRID) for k in range(_GRID + 1)]
    changes = torch.stack([comparison.distance(p, q) for p, q in pairwise(stops)])
    weight = 1 / _size(comparison, stops[0])
    worst = (changes * weight).amax(1).argmax(0)
    first = changes.gather(0, worst.expand(1, *changes.shape[1:])).squeeze(0)
    low = worst / _GRID
    left, right = stops[0], stops[1]
    for k in range(1, _GRID):
        left, right = (_choose(comparison, worst == k, stops[k + i], old) for i, old in enumerate((left, right)))
    width, last = 1 / _GRID, first
    while width > 2.0**-_BISECTIONS / _GRID and width * length > small:
        width /= 2
        middle = at(low + width)
        halves = [comparison.distance(p, q) for p, q in ((left, middle), (middle, right))]
        upper = (halves[1] * weight).amax(0) > (halves[0] * weight).amax(0)
        last = torch.where(upper, halves[1], halves[0])
        left, right = _choose(comparison, upper, middle, left), _choose(comparison, upper, right, middle)
        low = torch.where(upper, low + width, low)
    return _judge(comparison, place, first, last, left, length / _GRID, width * length)


def _judge(
    comparison: Comparison,
    place: str,
    before: Float[Tensor, "outputs samples"],
    after: Float[Tensor, "outputs samples"],
    out: Any,
    large: float,
    small: float,
) -> Jump:
    """The worst sample and output: distances between outputs at a large and at a small change of the inputs."""
    size = _size(comparison, out)
    tiny = torch.finfo(after.dtype).tiny
    ratio = torch.log10(after.clamp(min=tiny) / before.clamp(min=tiny))
    growth = (1 + ratio / math.log10(large / small)).clamp(0, 1)
    rounding = (after <= _NOISE * comparison.eps * size) | comparison.is_noise(after, comparison.inputs)
    growth = torch.where(rounding, 0.0, growth)
    change = (after / size).clamp(max=1.0)
    score = torch.where(growth >= _JUMP, 1 + change, change)
    output, sample = divmod(int(score.argmax()), score.shape[1])
    return Jump(
        place,
        small,
        float(change[output, sample]),
        float(growth[output, sample]),
        bool(growth[output, sample] >= _JUMP),
        sample,
        comparison.symmetry.output_names[output],
    )


def _size(comparison: Comparison, out: Any) -> Float[Tensor, "outputs samples"]:
    """The norm of an output; of `Point` outputs from the origin. Of the largest sample where an output is zero."""
    size = comparison.distance(out, _tree.map(torch.zeros_like, out))
    largest = size.amax(1, keepdim=True).expand_as(size)
    return torch.where(size > 0, size, torch.where(largest > 0, largest, 1.0))


def _direction(comparison: Comparison) -> Any:
    """Noise of the size of each input: of the spread of points, of the length of vectors, per sample.

    Of the size of the other samples where one has none, and of size 1 where all are zero.
    """
    symmetry, inputs = comparison.symmetry, comparison.inputs
    layout, centre = symmetry.layout(inputs), symmetry.centroid(inputs)

    def noise(action: Action, x: Any) -> Any:
        if not is_movable(action, x):
            return x
        there = x
        if action.feels_translation and centre is not None:
            origin = layout.spread(action, centre).to(x.dtype)
            there = x - origin.reshape(len(origin), *(1,) * (x.ndim - 2), x.shape[-1])
        square, count = layout.norm(action, there).square(), layout.norm(action, torch.ones_like(there)).square()
        own = (square / count.clamp(min=1)).sqrt()
        typical = own.square().mean().sqrt()
        size = layout.spread(action, torch.where(own > 0, own, torch.where(typical > 0, typical, 1.0)))
        draw = torch.randn(x.shape, generator=comparison.generator, dtype=x.dtype, device=x.device)
        step = torch.where(holds_labels(action, x), 0, size.reshape(-1, *(1,) * (x.ndim - 1)).to(x.dtype) * draw)
        return step if layout.mask is None else zero_padding(action, step, layout.mask)

    return map_inputs(symmetry, noise, inputs)


def _along(comparison: Comparison, direction: Any, step: float) -> Any:
    def shift(action: Action, x: Any, d: Any) -> Any:
        return x + step * d if is_movable(action, x) else x

    return map_inputs(comparison.symmetry, shift, comparison.inputs, direction)


def _between(comparison: Comparison, end: Any, t: Float[Tensor, "samples"]) -> Any:
    layout = comparison.symmetry.layout(comparison.inputs)

    def mix(action: Action, x: Any, y: Any) -> Any:
        if not is_movable(action, x):
            return x
        return x + layout.spread(action, t).to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1)) * (y - x)

    return map_inputs(comparison.symmetry, mix, comparison.inputs, end)


def _length(comparison: Comparison, end: Any, direction: Any) -> float:
    """How far the other end is, relative to the size of the inputs."""
    symmetry, layout = comparison.symmetry, comparison.symmetry.layout(comparison.inputs)
    rows = zip(*(symmetry.slots(x) for x in (comparison.inputs, end, direction)), strict=True)
    ratios = [
        (layout.norm(a, y - x) / layout.norm(a, d).clamp(min=torch.finfo(d.dtype).tiny)).amax()
        for (a, x), (_, y), (_, d) in rows
        if is_movable(a, x) and bool((d != 0).any())
    ]
    return float(torch.stack(ratios).amax())


def _choose(comparison: Comparison, mask: Bool[Tensor, "samples"], p: Any, q: Any) -> Any:
    """Output `p` for the samples of the mask, `q` for the others."""
    layout = comparison.symmetry.layout(comparison.inputs)
    actions, structure = _tree.flatten(comparison.symmetry.output, is_action)

    def row(action: Action, a: Tensor, b: Tensor) -> Tensor:
        return torch.where(layout.spread(action, mask).reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    columns = zip(actions, _tree.leaves(p), _tree.leaves(q), strict=True)
    return _tree.unflatten([row(*column) for column in columns], structure)

"""The worst element: gradient ascent on the group, local search, or all elements in turn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torsor import _tree
from torsor.actions import Element
from torsor.audit._compare import Comparison
from torsor.audit._elements import Support, choose, describe, each, pick
from torsor.audit._measure import Pairs
from torsor.groups import DirectProduct, Group, Symmetric

_ASCENT, _SEARCH = (2, 24), (3, 20)
"""Starts, and steps of each."""

_FIRST_STEP, _LAST_STEP, _LONGEST_STEP = 0.3, 1e-3, 3.0


@dataclass(frozen=True)
class WorstCase:
    """The largest error that was found.

    Arguments:
        error: the relative error there.
        floor: the round-trip floor of that very pair.
        output: the output that it is the error of.
        sample: the sample, counted from 0.
        element: the group element, without batch axes.
        kind: the element in words.
        found_by: how it was sought.
        within: the part of the group in which it was sought.
    """

    error: float
    floor: float
    output: str
    sample: int
    element: Element
    kind: str
    found_by: str
    within: str


def worst_case(
    comparison: Comparison, pairs: Pairs, draw: Callable[[], Element], support: Support, scale: Tensor
) -> WorstCase:
    """The largest error over all samples and over the elements of the support.

    Arguments:
        comparison: the function and its inputs.
        pairs: what was measured already; every sample starts from its worst element.
        draw: one fresh element per sample.
        support: where to look.
        scale: the size of a step in each coordinate of the Lie algebra.
    """
    group = comparison.symmetry.group
    g, error = _start(pairs)
    everyone = list(each(group, g))
    for h in everyone:
        errors = comparison.error(h).amax(0)
        g, error = choose(errors > error, h, g), torch.maximum(error, errors)
    found_by = f"all {group.order} elements"
    if not everyone:
        g, error, found_by = _climb(comparison, g, error, draw, support, scale)
    kind = describe(group, pick(g, int(error.argmax())))
    return _case(comparison, g, error, kind, found_by, str(support))


def worst_drawn(comparison: Comparison, pairs: Pairs) -> WorstCase:
    """The largest error among the pairs that were measured, where transformations form no group."""
    g, error = _start(pairs)
    return _case(comparison, g, error, "a transformation", "the draws that were measured", "its own law")


def _case(comparison: Comparison, g: Element, error: Tensor, kind: str, found_by: str, within: str) -> WorstCase:
    sample = int(error.argmax())
    row = comparison.error(g)[:, sample]
    output = int(row.argmax())
    floor = float(comparison.floor(g).value[output, sample])
    name = comparison.symmetry.output_names[output]
    return WorstCase(float(row[output]), floor, name, sample, pick(g, sample), kind, found_by, within)


def _start(pairs: Pairs) -> tuple[Element, Tensor]:
    g, error = pairs.elements[0], pairs.errors[0].amax(0)
    for other, errors in zip(pairs.elements[1:], pairs.errors[1:], strict=True):
        better = errors.amax(0) > error
        g, error = choose(better, other, g), torch.maximum(error, errors.amax(0))
    return g, error


def _climb(
    comparison: Comparison,
    g: Element,
    error: Tensor,
    draw: Callable[[], Element],
    support: Support,
    scale: Tensor,
) -> tuple[Element, Tensor, str]:
    """Uphill from the worst draw of each sample, and from fresh ones: the first may stand on the wrong hill."""
    follow = _is_differentiable(comparison, g, scale)
    starts, steps = _ASCENT if follow else _SEARCH
    for start in range(starts):
        first = g if start == 0 else draw()
        top, errors = _uphill(comparison, first, support, scale, steps, follow)
        g, error = choose(errors > error, top, g), torch.maximum(error, errors)
    return g, error, "gradient ascent" if follow else "random search and local refinement"


def _uphill(
    comparison: Comparison, g: Element, support: Support, scale: Tensor, steps: int, follow: bool
) -> tuple[Element, Tensor]:
    """Uphill in `g exp(v)`: along the gradient where there is one, else in random directions; steps adapt."""
    group, generator = comparison.symmetry.group, comparison.generator
    error, slope = _error_and_slope(comparison, g, scale, follow)
    step = torch.full_like(error, _FIRST_STEP)
    stuck = torch.zeros_like(error, dtype=torch.bool)
    for _ in range(steps):
        v, lost = _direction(slope, stuck, scale, generator)
        candidate = support.clip(_moved(group, g, scale * step.unsqueeze(1) * v, lost, generator))
        candidate = choose(support.contains(candidate), candidate, g)
        errors, slopes = _error_and_slope(comparison, candidate, scale, follow)
        better = errors > error
        g, error = choose(better, candidate, g), torch.maximum(error, errors)
        if slope is not None:
            slope = choose(better, slopes, slope)
        step = torch.where(better, 1.5 * step, 0.5 * step).clamp(max=_LONGEST_STEP)
        stuck = step < _LAST_STEP
        step = torch.where(stuck, _FIRST_STEP, step)
    return g, error


def _is_differentiable(comparison: Comparison, g: Element, scale: Tensor) -> bool:
    """Whether what the function returns depends on the element on the graph of autograd."""
    if not len(scale):
        return False
    symmetry = comparison.symmetry
    v = _coordinates(g, symmetry.group, scale)
    with torch.enable_grad():
        try:
            out = comparison.subject.differentiably(symmetry.act(_moved(symmetry.group, g, v), comparison.inputs))
            total = sum(y.abs().sum() for y in _tree.leaves(out) if y.requires_grad)
            return isinstance(total, Tensor) and torch.autograd.grad(total, v, allow_unused=True)[0] is not None
        except (RuntimeError, NotImplementedError):
            return False


def _error_and_slope(comparison: Comparison, g: Element, scale: Tensor, follow: bool) -> tuple[Tensor, Tensor | None]:
    """The error of each sample and, to `follow` it, its gradient in scaled coordinates."""
    if not follow:
        return comparison.error(g).amax(0), None
    v = _coordinates(g, comparison.symmetry.group, scale)
    with torch.enable_grad():
        errors = comparison.error_differentiably(_moved(comparison.symmetry.group, g, scale * v)).amax(0)
        (slope,) = torch.autograd.grad(errors.sum(), v)
    return errors.detach(), slope


def _coordinates(g: Element, group: Group, scale: Tensor) -> Tensor:
    return scale.new_zeros(*group.batch_shape(g), len(scale)).requires_grad_()


def _direction(slope: Tensor | None, stuck: Tensor, scale: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A unit direction per sample, and which samples follow no gradient: they have none, or it led nowhere."""
    shape = (len(stuck), len(scale))
    random = torch.randn(shape, generator=generator, dtype=scale.dtype, device=scale.device)
    lost = torch.ones_like(stuck)
    if slope is not None:
        lost = stuck | ~slope.isfinite().all(1) | (slope == 0).all(1)
        random = torch.where(lost.unsqueeze(1), random, slope)
    return random / random.norm(dim=1, keepdim=True).clamp(min=torch.finfo(random.dtype).tiny), lost


def _moved(
    group: Group, g: Element, v: Tensor, jump: Tensor | None = None, generator: torch.Generator | None = None
) -> Element:
    """`g exp(v)`; the finite factors of the samples in `jump` move to a neighbour."""
    if isinstance(group, DirectProduct):
        ends = torch.tensor([0, *(f.dim for f in group.factors)]).cumsum(0).tolist()
        rows = zip(group.factors, g, ends[:-1], ends[1:], strict=True)
        return tuple(_moved(f, h, v[:, a:b], jump, generator) for f, h, a, b in rows)
    if group.dim:
        return group.compose(g, group.exp(v).to(g))
    return g if jump is None else choose(jump, _neighbour(group, g, generator), g)


def _neighbour(group: Group, g: Tensor, generator: torch.Generator | None) -> Tensor:
    """`g` times a random transposition, or times a random generator of a finite group of matrices."""
    if isinstance(group, Symmetric):
        if group.n < 2:
            return g
        i, j = torch.rand(*g.shape, generator=generator, device=g.device).argsort(-1)[:, :2].unbind(-1)
        swapped, rows = g.clone(), torch.arange(len(g), device=g.device)
        swapped[rows, i], swapped[rows, j] = g[rows, j], g[rows, i]
        return swapped
    generators = group.discrete_generators(g.dtype, g.device)
    generators = torch.cat([generators, group.inverse(generators), group.identity(1, dtype=g.dtype, device=g.device)])
    index = torch.randint(len(generators), (len(g),), generator=generator, device=g.device)
    return group.compose(g, generators[index])

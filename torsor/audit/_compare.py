"""The error at pairs of inputs and elements, and the floor that rounding and resampling put under it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor import _tree
from torsor._slots import is_action
from torsor.actions import Action, Element, Layout
from torsor.audit._subject import Subject, at_least_float32, precision
from torsor.audit._transformation import Ungrouped

LEAST_FLOOR = 10.0
"""The floor is at least this many eps: what a few operations may round."""

_ROUNDINGS = 4

_REPEAT = 30
"""Two calls with the same inputs differ by fewer eps than this: parallel sums may come in any order."""

_NOISE = 1e3
"""What is below this many eps of the size of the inputs may be nothing but rounding."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A function on one batch, ready to be compared with itself under transformations.

    All numbers come as `(outputs, samples)`.
    """

    subject: Subject
    inputs: Any
    base: Any
    eps: float
    generator: torch.Generator
    notes: set[str] = field(default_factory=set)
    """What a reader must know about single pairs, in words."""

    @property
    def symmetry(self) -> Any:
        return self.subject.symmetry

    @property
    def has_group(self) -> bool:
        """Whether transformations have inverses."""
        return not isinstance(self.symmetry, Ungrouped)

    @property
    def rounding_limit(self) -> float:
        """Relative changes up to this size are rounding, not resampling."""
        return min(1e3 * self.eps, 0.05)

    def error(self, g: Element) -> Float[Tensor, "outputs samples"]:
        """`|f(g x) - g f(x)| / (|f(g x)| + |g f(x)|)`, with 0/0 = 0 and 1 where `f(g x)` is not finite."""
        with torch.no_grad():
            return self.relative(*self.sides(g))

    def error_differentiably(self, g: Element) -> Float[Tensor, "outputs samples"]:
        """`error`, on the graph of `g`."""
        return self.relative(*self._sides(self.subject.differentiably, g))

    def sides(self, g: Element) -> tuple[Any, Any, Any]:
        """`f(g x)`, `g f(x)` and `g x`."""
        return self._sides(self.subject, g)

    def _sides(self, call: Callable[[Any], Any], g: Element) -> tuple[Any, Any, Any]:
        moved = self.symmetry.act(g, self.inputs)
        return call(moved), self.symmetry.act_output(g, self.base, self.inputs), moved

    def floor(self, g: Element) -> "Floor":
        """What the round trip `g^-1 g` changes: in `f` through its inputs, and in the output itself.

        Rounding the inputs alone where transformations form no group.
        """
        group, symmetry = self.symmetry.group, self.symmetry
        if not self.has_group:
            change = self.relative(self.subject(self.rounded(self.inputs)), self.base, self.inputs)
            change = change.clamp(min=LEAST_FLOOR * self.eps, max=self.eps**0.5)
            return Floor(change, torch.zeros(len(change), dtype=torch.bool, device=change.device))
        moved = symmetry.act(g, self.inputs)
        there = symmetry.act_output(g, self.base, self.inputs)
        inverse = group.inverse(g)
        back = symmetry.act(inverse, moved)
        again = symmetry.act_output(inverse, there, moved)
        change = torch.maximum(
            self.relative(self.subject(self.rounded(back)), self.base, self.inputs),
            self.relative(again, self.base, self.inputs),
        )
        layout = symmetry.layout(self.inputs)
        slots = zip(*(symmetry.slots(x) for x in (self.inputs, moved, back)), strict=True)
        trips = [_missed(layout, a, x, y, z) for (a, x), (_, y), (_, z) in slots]
        actions = _tree.leaves(symmetry.output, is_action)
        outputs = zip(actions, *map(_tree.leaves, (self.base, there, again)), strict=True)
        missed = torch.stack([_missed(layout, *row) for row in outputs])
        resampled = (missed > self.rounding_limit) | (max(map(float, trips)) > self.rounding_limit)
        most = torch.where(resampled, 1.0, self.eps**0.5).unsqueeze(1)
        return Floor(change.clamp(min=LEAST_FLOOR * self.eps).minimum(most.to(change)), resampled)

    def relative(self, p: Any, q: Any, inputs: Any) -> Float[Tensor, "outputs samples"]:
        """The distance of two outputs relative to the sum of their norms; 0 where both are zero to rounding."""
        distance, size = self.distance_and_size(p, q, inputs)
        ratio = distance / torch.where(size == 0, 1, size)
        if not bool(ratio.isfinite().all()):
            self.notes.add("f is not finite on some of the transformed inputs; these pairs count as error 1.")
        return ratio.nan_to_num(nan=1.0, posinf=1.0)

    def distance_and_size(
        self, p: Any, q: Any, inputs: Any
    ) -> tuple[Float[Tensor, "outputs samples"], Float[Tensor, "outputs samples"]]:
        """The distance of two outputs and the sum of their norms; both 0 where both are zero to rounding."""
        distance = _stack(self.symmetry.distance(p, q, inputs))
        size = _stack(self.symmetry.norm(p, inputs)) + _stack(self.symmetry.norm(q, inputs))
        nothing = (size == 0) | self.is_noise(size, inputs)
        return torch.where(nothing, 0, distance), torch.where(nothing, 0, size)

    def distance(self, p: Any, q: Any) -> Float[Tensor, "outputs samples"]:
        """The absolute distance of two outputs that belong to the inputs as given."""
        return _stack(self.symmetry.distance(p, q, self.inputs))

    def is_noise(self, size: Float[Tensor, "outputs samples"], inputs: Any) -> Bool[Tensor, "outputs samples"]:
        """Where something of this size is nothing but rounding: it is tiny, and the output is zero on paper."""
        tiny = size <= _NOISE * self.eps * self._scale(inputs)
        if not bool((tiny & (size > 0)).any()):
            return torch.zeros_like(tiny)
        noise = tiny & self._is_zero_on_paper
        if bool((noise & (size > 0)).any()):
            self.notes.add("Outputs that are zero to rounding count as equal.")
        return noise

    @functools.cached_property
    def _is_zero_on_paper(self) -> Bool[Tensor, "outputs samples"]:
        """Whether an output is zero, or changes as a whole when the inputs are rounded; where most samples do, all."""
        size = _stack(self.symmetry.norm(self.base, self.inputs))
        changes = [self.distance(self.subject(self.rounded(self.inputs)), self.base) for _ in range(_ROUNDINGS)]
        zero = torch.stack(changes).amax(0) >= self.eps**0.5 * size
        return zero | (zero.double().mean(1, keepdim=True) > 0.5)

    def rounded(self, inputs: Any) -> Any:
        """The inputs with every real number moved to a neighbour, so that exact round trips show conditioning too."""

        def neighbour(action: Action, x: Any) -> Any:
            if not is_movable(action, x):
                return x
            sign = torch.randint(0, 2, x.shape, generator=self.generator, device=x.device).to(x.real.dtype) * 2 - 1
            return torch.where(holds_labels(action, x), x, x * (1 + torch.finfo(x.dtype).eps * sign))

        return map_inputs(self.symmetry, neighbour, inputs)

    def _scale(self, inputs: Any) -> Float[Tensor, "samples"]:
        layout = self.symmetry.layout(inputs)
        sizes = [layout.norm(a, x) for a, x in self.symmetry.slots(inputs) if is_movable(a, x)]
        return torch.stack(sizes).amax(0) if sizes else torch.zeros(())


@dataclass(frozen=True, eq=False)
class Floor:
    """The floor of each pair, and for each output whether resampling, not rounding alone, sets it."""

    value: Float[Tensor, "outputs samples"]
    resampled: Bool[Tensor, "outputs"]


def compare(subject: Subject, inputs: Any, generator: torch.Generator) -> Comparison:
    """The comparison of a function with itself, once it has proved to be deterministic and finite.

    Raises:
        ValueError: the function gives two outputs for the same inputs, or one that is empty or not finite.
    """
    base = subject(inputs)
    eps = precision(subject.function, inputs, base)
    comparison = Comparison(subject, inputs, _tree.map(at_least_float32, base), eps, generator)
    names = subject.symmetry.output_names
    for name, y in zip(names, _tree.leaves(base), strict=True):
        if not y.numel():
            raise ValueError(f"f must return numbers; {name} has shape {tuple(y.shape)}")
    for name, size in zip(names, _stack(subject.symmetry.norm(base, inputs)), strict=True):
        if not bool(size.isfinite().all()):
            bad = int((~size.isfinite()).nonzero()[0, 0])
            raise ValueError(f"f must be finite on the inputs as given; {name} of sample {bad} holds NaN or infinity")
    difference = comparison.relative(subject(inputs), base, inputs).amax(1)
    if float(difference.max()) > min(_REPEAT * eps, 1e-2):
        worst = int(difference.argmax())
        raise ValueError(
            f"f must give the same output for the same inputs; two calls differ by {float(difference[worst]):.2g} in"
            f" {names[worst]}. Is dropout left on, or a frame drawn at random? Modules are audited in evaluation mode;"
            " call .eval() on a module that f only holds, and fix the seed of what else is random"
        )
    return comparison


def is_movable(action: Action, x: Any) -> bool:
    """Whether a small change of an argument makes sense: real or complex numbers that are no layout."""
    return isinstance(x, Tensor) and not isinstance(action, Layout) and (x.is_floating_point() or x.is_complex())


def holds_labels(action: Action, x: Tensor) -> Bool[Tensor, "..."]:
    """Entries that may be labels in a floating dtype: whole numbers that no transformation of space moves."""
    return (x == x.real.round()) & torch.full_like(x.real, action.is_discrete, dtype=torch.bool)


def map_inputs(symmetry: Any, function: Any, inputs: Any, *others: Any) -> Any:
    """`function(action, x, ...)` of each argument, and of those at the same place in other inputs."""
    actions, structure = _tree.flatten(symmetry.inputs, is_action)
    columns = [_tree.match(structure, tree) or [] for tree in (inputs, *others)]
    return _tree.unflatten([function(*row) for row in zip(actions, *columns, strict=True)], structure)


def _stack(tree: Any) -> Tensor:
    leaves = _tree.leaves(tree)
    dtype = functools.reduce(torch.promote_types, (y.dtype for y in leaves))
    return torch.stack([y.to(dtype) for y in leaves])


def _missed(layout: Any, action: Action, start: Any, there: Any, back: Any) -> Tensor:
    """By how much the round trip of one value misses its start, relative to the values on the way."""
    if not is_movable(action, start):
        return torch.zeros((), device=start.device) if isinstance(start, Tensor) else torch.zeros(())
    size = layout.norm(action, start) + layout.norm(action, there)
    return (layout.norm(action, back - start) / torch.where(size > 0, size, 1)).amax()

"""Layer by layer: what each layer does to a symmetry, and the first one that breaks it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from torsor import _tree
from torsor._layout import BatchLayout, shape_problem, zero_padding
from torsor._slots import is_action
from torsor.actions import Action, Jointly, Layout, Scalar, Shared, Vector, jointly
from torsor.audit._compare import LEAST_FLOOR, compare
from torsor.audit._features import Features, features_of
from torsor.audit._layers_report import LayerError, LayersReport
from torsor.audit._subject import Subject, evaluating
from torsor.audit._verdict import EXACT, RESAMPLED
from torsor.groups import DirectProduct, Group
from torsor.symmetry import Inputs, Symmetry, as_inputs


def layers(
    model: nn.Module,
    symmetry: Symmetry,
    inputs: Inputs,
    *,
    representations: Mapping[str, Action] | None = None,
    generator: torch.Generator | None = None,
) -> LayersReport:
    """What each layer of a module does to a symmetry, from one batch: about `6 + 2 dim` calls of the module.

    Forward hooks keep what goes into and comes out of every submodule, for the inputs and for the inputs moved by one
    element per sample. Where a layer's representation is named, its error is `|h(gx) - g h(x)| / (|h(gx)| + |g h(x)|)`.
    Elsewhere the laws of the symmetry's own inputs and outputs, those named for other layers, vectors and scalars are
    tried on the features, and the one that fits best is reported: "kept" where it fits to rounding. A layer *breaks*
    the symmetry where its features follow no law although everything that went into it does. Features may follow a law
    that was not tried (irreps, channels that are mixed with components), so a layer is named only where the output
    breaks too.

    For every layer the report also has `change`, by how much its features differ at all (0 for invariant ones), and
    `derivative`, the norm of the Lie derivative of the features minus their law, relative to the features: the largest
    over the generators of the group, by central differences through the action on the inputs, in 1/rad or 1/length.

    Arguments:
        model: a module; it runs in evaluation mode.
        symmetry: what should hold.
        inputs: one batch.
        representations: how the outputs of some submodules transform, by the names of `model.named_modules()`.
        generator: where the elements come from; seeded with 0 by default.

    Raises:
        TypeError: `model` is no module, or `symmetry` is none.
        ValueError: a name in `representations` is no submodule, or inputs or outputs do not fit the symmetry.

    Source: the Lie derivative of a network, layer by layer, is that of Gruver et al. 2023 (arXiv 2210.02984).

    >>> import torch
    >>> from torsor import O, Scalar, Symmetry, Vector, audit
    >>> class Norm(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.norm(dim=-1, keepdim=True)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 3), Norm(), torch.nn.Linear(1, 1))
    >>> audit.layers(net, Symmetry(O(3), Vector(), Scalar()), torch.ones(4, 5, 3)).first
    '0'
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(symmetry, Symmetry):
        raise TypeError(f"symmetry must be a torsor.Symmetry; got {type(symmetry).__name__}")
    inputs, named = as_inputs(inputs), dict(representations or {})
    unknown = set(named) - {name for name, _ in model.named_modules()}
    if unknown:
        raise ValueError(f"representations must name submodules of the model; got {sorted(unknown)[0]!r}")
    symmetry.check(inputs, values=True)
    if generator is None:
        device = next(x.device for _, x in symmetry.slots(inputs) if isinstance(x, Tensor))
        generator = torch.Generator(device).manual_seed(0)
    with evaluating(model), torch.no_grad():
        comparison = compare(Subject(model, symmetry), inputs, generator)
        g = symmetry.sample(inputs, generator=generator)
        moved = symmetry.act(g, inputs)
        back = comparison.rounded(symmetry.act(symmetry.group.inverse(g), moved))
        start, there, again = (features_of(model, symmetry, x) for x in (inputs, moved, back))
        output = comparison.relative(*comparison.sides(g))
        holds = bool((output.mean(1) <= EXACT * comparison.floor(g).value.mean(1)).all())
        judge = _Judge(symmetry, symmetry.layout(inputs), g, comparison.eps, _laws(symmetry, named))
        rows = [
            judge.layer(name, start[name], there[name], again[name], named.get(name.partition(" ")[0]))
            for name in start
            if name in there and name in again
        ]
        slopes = _derivatives(model, symmetry, inputs, judge, rows)
    found = tuple(_judged(row, slopes.get(row.layer), comparison.rounding_limit) for row in rows)
    first = None if holds else next((row.layer for row in found if row.verdict == "breaks"), None)
    return LayersReport(symmetry.group.name, found, first, holds, symmetry.batch_size(inputs))


@dataclass(frozen=True, eq=False)
class _Judge:
    """The laws that are tried on features, at one element per sample."""

    symmetry: Symmetry
    layout: BatchLayout
    g: Any
    eps: float
    laws: list[tuple[str, Action]]

    def layer(self, name: str, x: Features, y: Features, z: Features, known: Action | None) -> LayerError:
        """A row of the report: features at the inputs, at the moved inputs and after the round trip."""
        error, law = self.best(x.outputs, y.outputs, known)
        entered, _ = self.best(x.inputs, y.inputs, None)
        floor = self.change(x.outputs, z.outputs)
        floor = None if floor is None else max(floor, LEAST_FLOOR * self.eps)
        change = self.change(x.outputs, y.outputs)
        return LayerError(name, x.kind, law, error, entered, change, None, None, floor, "not compared")

    def best(self, x: list[Tensor], y: list[Tensor], known: Action | None) -> tuple[float | None, str | None]:
        """The error of the worst tensor under its best law, and that law."""
        worst: tuple[float | None, str | None] = (None, None)
        for a, b in zip(x, y, strict=False):
            laws = self.laws if known is None else [(_words(known), known)]
            tried = [(e, name) for name, law in laws if (e := self.error(law, a, b)) is not None]
            if tried and (worst[0] is None or min(tried)[0] > worst[0]):
                worst = min(tried, key=lambda row: row[0])
        return worst

    def change(self, x: list[Tensor], y: list[Tensor]) -> float | None:
        """By how much features differ, without any law."""
        found = [e for a, b in zip(x, y, strict=False) if (e := self.error(Shared(), a, b)) is not None]
        return max(found, default=None)

    def error(self, law: Action, x: Tensor, y: Tensor) -> float | None:
        """The mean relative error of one tensor under one law; None where the law does not fit its shape."""
        found = self.residual(law, self.g, x, y)
        return None if found is None else float(found.mean())

    def residual(self, law: Action, g: Any, x: Tensor, y: Tensor) -> Tensor | None:
        """The relative distance of `y` and `g x`, for each sample."""
        if x.shape != y.shape or not (x.is_floating_point() or x.is_complex()):
            return None
        still = isinstance(law, Shared)
        law = Scalar() if still else law
        before, after = _by_sample(self.layout, law, x), _by_sample(self.layout, law, y)
        if before is None or after is None:
            return None
        if not still and shape_problem(self.layout, law, self.symmetry.group, tuple(before.shape)):
            return None
        try:
            moved = before if still else self.layout.move(law, self.symmetry.group, g, before)
        except (ValueError, TypeError, RuntimeError):
            return None
        if self.layout.mask is not None and before.ndim > 1 and before.shape[1] == self.layout.mask.shape[1]:
            moved, after = (zero_padding(Scalar(), t, self.layout.mask) for t in (moved, after))
        size = self.layout.norm(law, moved) + self.layout.norm(law, after)
        return (self.layout.norm(law, after - moved) / torch.where(size > 0, size, 1)).nan_to_num(nan=1.0, posinf=1.0)


def _by_sample(layout: BatchLayout, law: Action, x: Tensor) -> Tensor | None:
    """Features with rows that the layout knows: as they are, or `(B n, ...)` of a dense batch as `(B, n, ...)`."""
    if x.ndim == 0:
        return None
    if len(x) == layout.rows(law):
        return x
    if layout.batch is None and layout.size and len(x) and len(x) % layout.size == 0:
        return x.reshape(layout.size, len(x) // layout.size, *x.shape[1:])
    return None


def _laws(symmetry: Symmetry, named: Mapping[str, Action]) -> list[tuple[str, Action]]:
    """The actions that are tried: scalars, those of the inputs and outputs, vectors; all combinations of factors.

    Also those that were named for some layer: what goes into the next one follows them.
    """
    group = symmetry.group
    given = [
        a for a in (*_tree.leaves(symmetry.inputs, is_action), *symmetry.output_actions) if not isinstance(a, Layout)
    ]
    factors = list(group.factors) if isinstance(group, DirectProduct) else [group]
    columns = []
    for i, factor in enumerate(factors):
        parts = [a.actions[i] if isinstance(a, Jointly) else a for a in given]
        own: list[Action] = [Scalar(), *parts, *([Vector()] if _is_matrix(factor) else [])]
        columns.append(list({repr(a): a for a in own}.values()))
    combined = itertools.product(*columns)
    tried = {" | ".join(map(_words, row)): row[0] if len(row) == 1 else jointly(*row) for row in combined}
    return list(({_words(law): law for law in named.values()} | tried).items())


def _words(law: Action) -> str:
    """A law as the command line has it."""
    name = type(law).__name__
    return name.lower() if repr(law) in ("V", f"{name}()") else repr(law)


def _is_matrix(group: Group) -> bool:
    try:
        group.linear(group.identity())
    except TypeError:
        return False
    return True


def _judged(row: LayerError, slope: tuple[float, str] | None, rounding: float) -> LayerError:
    """The row with its derivative and its verdict."""
    if slope is not None:
        row = replace(row, derivative=slope[0], direction=slope[1])
    if row.error is None or row.floor is None:
        return row
    limit = (EXACT if row.floor <= rounding else RESAMPLED) * row.floor
    if row.error <= limit:
        return replace(row, verdict="kept")
    return replace(row, verdict="inherits" if (row.input_error or 0.0) > limit else "breaks")


def _derivatives(
    model: nn.Module,
    symmetry: Symmetry,
    inputs: Any,
    judge: _Judge,
    rows: list[LayerError],
) -> dict[str, tuple[float, str]]:
    """The largest Lie derivative of each layer's features minus their law, and its generator in words."""
    group, layout, step = symmetry.group, judge.layout, judge.eps ** (1 / 3)
    laws = dict(judge.laws)
    found: dict[str, tuple[float, str]] = {}
    for k in range(group.dim):
        x = next(t for _, t in symmetry.slots(inputs) if isinstance(t, Tensor) and t.is_floating_point())
        v = torch.zeros(layout.size, group.dim, dtype=x.dtype, device=x.device)
        v[:, k] = step
        ends = [group.exp(v), group.exp(-v)]
        sides = [features_of(model, symmetry, symmetry.act(g, inputs)) for g in ends]
        both = group.compose(ends[0], ends[0])
        for row in rows:
            law = laws.get(row.law or "")
            pairs = [side[row.layer].outputs for side in sides if row.layer in side]
            if law is None or len(pairs) < 2:
                continue
            # y(t) against exp(2 t v) y(-t): relative to twice the features over a path of length 2 t
            residuals = [judge.residual(law, both, b, a) for a, b in zip(*pairs, strict=False)]
            sizes = [float(r.mean()) / step for r in residuals if r is not None]
            if sizes and max(sizes) > found.get(row.layer, (-1.0, ""))[0]:
                found[row.layer] = max(sizes), _direction(group, k)
    return found


def _direction(group: Group, k: int) -> str:
    """A generator of the Lie algebra in words."""
    if isinstance(group, DirectProduct):
        for factor in group.factors:
            if k < factor.dim:
                return f"{factor}: {_direction(factor, k)}"
            k -= factor.dim
    v = torch.zeros(1, group.dim, dtype=torch.float64)
    v[0, k] = 1e-3
    try:
        g = group.exp(v)
        shift, linear = group.translation(g), group.linear(g)[0]
    except (TypeError, RuntimeError):
        return f"generator {k}"
    axes = "xyzw" if len(linear) <= 4 else [f"x{i}" for i in range(len(linear))]
    if shift is not None and float(shift.norm()) > 1e-4:
        return f"translation along {axes[int(shift[0].abs().argmax())]}"
    change = linear - torch.eye(len(linear), dtype=linear.dtype)
    i, j = divmod(int(change.abs().argmax()), len(linear))
    turns = bool((change + change.mT).abs().max() < 1e-5)
    return f"rotation in {axes[min(i, j)]}{axes[max(i, j)]}" if turns else f"linear map of {axes[j]} to {axes[i]}"

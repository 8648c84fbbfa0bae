"""A symmetry of a function: a group, how it acts on each input, and how it acts on the output."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from torsor._layout import BatchLayout, check_sizes, check_values, read_layout, shape_problem, zero_padding
from torsor._slots import Slots, join
from torsor._tree import Tree
from torsor.actions import Action, Element, Image, Mask, Shared
from torsor.groups import SU, DirectProduct, Group, U
from torsor.groups.measure import Proposal

Inputs = Any
"""The arguments of a function: a tuple (positional) or a dict (keywords) of trees of tensors; one tensor alone means a
tuple of one."""


@runtime_checkable
class Transformation(Protocol):
    """What can be drawn and applied to inputs and outputs: a `Symmetry`, or noise, colour and the like."""

    def sample(self, inputs: Inputs, *, generator: torch.Generator | None = None) -> Any:
        """Parameters of one random transformation per sample."""
        ...

    def act(self, g: Any, inputs: Inputs) -> Inputs:
        """The inputs transformed."""
        ...

    def act_output(self, g: Any, out: Tree, inputs: Inputs) -> Tree:
        """What the transformation makes of the output that belongs to these inputs."""
        ...


@dataclass(frozen=True, eq=False)
class Symmetry:
    """`f(g x) = g f(x)` for all `g` of a group, with an action for every input and output of `f`.

    Arguments:
        group: the group, such as `E(3)`.
        inputs: actions of the arguments of `f`: a tuple (positional) or a dict (keywords); its entries may be any
            containers of actions. One action alone means a tuple of one.
        output: actions of what `f` returns: one action, or any container of actions.

    Raises:
        TypeError: where something other than actions stands in `inputs` or `output`.

    >>> import torch
    >>> from torsor import E, Point, Scalar, Symmetry, Vector
    >>> sym = Symmetry(E(3), inputs=(Point(), Vector(), Scalar()), output=Point())
    >>> x = torch.randn(4, 5, 3), torch.randn(4, 5, 3), torch.randn(4, 5, 1)
    >>> g = sym.sample(x)
    >>> g.shape, [y.shape for y in sym.act(g, x)]
    (torch.Size([4, 4, 4]), [torch.Size([4, 5, 3]), torch.Size([4, 5, 3]), torch.Size([4, 5, 1])])
    """

    group: Group
    inputs: Any
    output: Any
    _factors: tuple["Symmetry", ...] = field(default=(), init=False, repr=False)
    _in: Slots = field(init=False, repr=False)
    _out: Slots = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.group, Group):
            raise TypeError(f"group must be a torsor.groups.Group such as E(3); got {self.group!r}")
        if isinstance(self.inputs, Action):
            object.__setattr__(self, "inputs", (self.inputs,))
        if not isinstance(self.inputs, tuple | dict) or not self.inputs:
            raise TypeError(f"inputs must be a tuple or a dict of actions, one for each argument; got {self.inputs!r}")
        object.__setattr__(self, "_in", Slots(self.inputs, "inputs"))
        object.__setattr__(self, "_out", Slots(self.output, "output"))

    @property
    def factors(self) -> tuple["Symmetry", ...]:
        """The symmetries that this one is a product of: itself where it is none."""
        return self._factors or (self,)

    def __mul__(self, other: "Symmetry") -> "Symmetry":
        """The product of two symmetries of the same function whose actions commute."""
        if not isinstance(other, Symmetry):
            return NotImplemented
        parts = (*self.factors, *other.factors)
        product = Symmetry(
            DirectProduct(*(part.group for part in parts)),
            join([part.inputs for part in parts], "inputs"),
            join([part.output for part in parts], "output"),
        )
        object.__setattr__(product, "_factors", parts)  # not an argument: a product that is changed has no factors
        return product

    def act(self, g: Element, inputs: Inputs) -> Inputs:
        """The inputs moved by one element per sample.

        Arguments:
            g: elements with batch axes `(B,)`, or `()` for the same element on all samples.
            inputs: the arguments, laid out as the actions say.

        Raises:
            TypeError, ValueError: type, shape or batch axes of `g` are not those of elements for these inputs.
        """
        inputs = as_inputs(inputs)
        return self._move(g, self._in, inputs, self.layout(inputs))

    def orbit(self, g: Element, inputs: Inputs, k: int) -> Inputs:
        """The inputs moved by `k` elements per sample, copy-major: `act(g, repeat(inputs, k))`, without the copies.

        Arguments:
            g: elements with batch axes `(k B,)`: one for every sample, then another for every sample, ...
        """
        inputs = as_inputs(inputs)
        layout = self.layout(inputs)
        if layout.batch is not None:
            return self.act(g, self.repeat(inputs, k))
        moved = self._in.map(lambda a, x: layout.orbit(a, self.group, g, x, k), inputs)
        if layout.mask is None:
            return moved
        mask = Mask()(self.group, g, layout.repeat(Mask(), layout.mask, k))
        return self._in.map(lambda a, x: zero_padding(a, x, mask), moved)

    def act_output(self, g: Element, out: Tree, inputs: Inputs) -> Tree:
        """The output that belongs to `inputs`, moved: what `f(g inputs)` has to be."""
        return self._move(g, self._out, out, self.layout(inputs))

    def sample(
        self, inputs: Inputs, proposal: Proposal | None = None, generator: torch.Generator | None = None
    ) -> Element:
        """One random element per sample, from `proposal` or else from `law(inputs)`."""
        tensors = [x for a, x in self.slots(inputs) if isinstance(x, Tensor) and not isinstance(a, Shared)]
        dtypes = [x.dtype for x in tensors if x.is_floating_point() or x.is_complex()]
        return self.group.sample(
            self.layout(inputs).size,
            proposal=self.law(inputs) if proposal is None else proposal,
            generator=generator,
            dtype=dtypes[0] if dtypes else None,
            device=tensors[0].device,
        )

    def law(self, inputs: Inputs) -> Proposal | None:
        """How elements are drawn where nobody says otherwise; None is the Haar measure.

        Haar on compact parts; translations N(0, r^2) with r the RMS radius of the points, or an eighth of the side of
        images; linear parts polar with width 0.2.
        """
        if self.group.is_compact:
            return None
        return self.group.default_proposal(translation_scale=self._radius(inputs), spd_width=0.2)

    def call(self, function: Callable[..., Tree], inputs: Inputs) -> Tree:
        """`function` of the inputs, positional or by keyword."""
        inputs = as_inputs(inputs)
        return function(**inputs) if isinstance(inputs, dict) else function(*inputs)

    def slots(self, inputs: Inputs) -> list[tuple[Action, Any]]:
        """The actions of the inputs, each with the value that it moves."""
        return list(zip(self._in.actions, self._in.parts(as_inputs(inputs)), strict=True))

    def layout(self, inputs: Inputs) -> BatchLayout:
        """How the samples of this batch are laid out."""
        return read_layout(self.slots(inputs))

    def batch_size(self, inputs: Inputs) -> int:
        """The number of samples."""
        return self.layout(inputs).size

    def repeat(self, inputs: Inputs, k: int) -> Inputs:
        """`k` copies of the batch, copy-major: all samples of the first copy, then all of the second."""
        inputs = as_inputs(inputs)
        layout = self.layout(inputs)
        return self._in.map(lambda a, x: layout.repeat(a, x, k), inputs)

    @property
    def input_names(self) -> list[str]:
        """A name for each input: its keyword, or its place as in `inputs[0]`."""
        return list(self._in.names)

    @property
    def output_actions(self) -> list[Action]:
        """The action of each output, in the order of `output_names`."""
        return list(self._out.actions)

    @property
    def output_names(self) -> list[str]:
        """A name for each output; `output` where there is only one."""
        return list(self._out.names)

    def average(self, out: Tree, weights: Float[Tensor, "b k"], inputs: Inputs) -> Tree:
        """The weighted mean over `k` copies that lie copy-major in `out`, taken in the space of `embed`.

        Arguments:
            out: outputs for `repeat(inputs, k)`.
            weights: for each sample and copy; they sum to 1 over the copies.
            inputs: the batch that was repeated.
        """
        layout = self.layout(inputs)
        return self.project(self._out.map(lambda a, y: layout.weighted_sum(a, weights, a.embed(y)), out))

    def orbit_sum(self, g: Element, out: Tree, weights: Float[Tensor, "b k"], inputs: Inputs) -> Tree:
        """`sum_k w_k g_k out_k` in the space of `embed`: sums that may be added up in parts and end with `project`.

        Arguments:
            g: elements with batch axes `(k B,)`, as `orbit` takes them.
            out: outputs for `orbit(inverse(g), inputs, k)`, copy-major.
            weights: for each sample and copy.
            inputs: the batch.
        """
        layout = self.layout(inputs)
        if layout.batch is not None or layout.mask is not None:
            copies = layout.copies(weights.shape[1])

            def restored(action: Action, y: Tensor) -> Tensor:
                moved = copies.move(action, self.group, g, y)  # back to where the mask of the inputs holds
                moved = moved if copies.mask is None else zero_padding(action, moved, copies.mask)
                return layout.weighted_sum(action, weights, action.embed(moved))

            return self._out.map(restored, out)
        return self._out.map(lambda a, y: layout.orbit_sum(a, self.group, g, weights, y), out)

    def project(self, embedded: Tree) -> Tree:
        """Outputs from the space of `embed`."""
        return self._out.map(lambda action, z: action.project(z), embedded)

    def distance(self, p: Tree, q: Tree, inputs: Inputs) -> Tree:
        """L2 distance of two outputs in the space of `embed`, `(B,)` for each."""
        layout = self.layout(inputs)
        others = iter(self._out.parts(q))

        def distance(action: Action, y: Tensor) -> Tensor:
            return layout.norm(action, action.embed(_floating(y)) - action.embed(_floating(next(others))))

        return self._out.map(distance, p)

    def norm(self, out: Tree, inputs: Inputs) -> Tree:
        """L2 norm of an output in the space of `embed`, `(B,)` for each.

        `Point` outputs are measured from the centroid of the `Point` inputs, so that the norm does not grow with the
        distance of a scene from the origin.
        """
        layout = self.layout(inputs)
        centre = self.centroid(inputs)

        def norm(action: Action, y: Tensor) -> Tensor:
            z = action.embed(_floating(y))
            if action.feels_translation and centre is not None:
                origin = layout.spread(action, centre).to(z.dtype)
                z = z - origin.reshape(len(origin), *(1,) * (z.ndim - 2), z.shape[-1])
            return layout.norm(action, z)

        return self._out.map(norm, out)

    def centroid(self, inputs: Inputs) -> Float[Tensor, "b n"] | None:
        """The mean of the `Point` inputs of each sample; None where there are none."""
        slot = next(((a, x) for a, x in self.slots(inputs) if a.feels_translation), None)
        if slot is None:
            return None
        layout = self.layout(inputs)
        points, present = layout.points(*slot)
        count = layout.sum(slot[0], present.sum(1)).clamp(min=1)
        return layout.sum(slot[0], (points * present.unsqueeze(-1)).sum(1)) / count.unsqueeze(-1)

    def check(self, inputs: Inputs, *, values: bool = False) -> None:
        """Refuse inputs that the actions do not fit.

        Arguments:
            inputs: the arguments of the function.
            values: look into the tensors too: NaN and infinity, samples without nodes, indices out of order.

        Raises:
            ValueError: the structure, a shape, a device, the number of samples or a value is wrong; names the argument.
            TypeError: an argument is no tensor, or its dtype cannot be moved.
        """
        slots = self.slots(inputs)
        named = [(name, a, x) for name, (a, x) in zip(self._in.names, slots, strict=True)]
        for name, action, x in named:
            self._check_type(name, action, x)
        layout = self.layout(inputs)
        for name, action, x in named:
            self._check_shape(name, action, x, layout)
        check_sizes(layout, named)
        if values:
            check_values(layout, named)

    def check_output(self, out: Tree, inputs: Inputs) -> None:
        """Refuse an output that the output actions do not fit, or that is not one value per row of the inputs.

        Raises:
            ValueError: the structure, a shape or the number of rows is wrong.
            TypeError: an output is no tensor, or its dtype cannot be moved.
        """
        layout = self.layout(inputs)
        for name, action, y in zip(self._out.names, self._out.actions, self._out.parts(out), strict=True):
            self._check_type(name, action, y)
            self._check_shape(name, action, y, layout)
            rows = layout.rows(action)
            if y.ndim == 0 or len(y) != rows:
                raise ValueError(
                    f"{name} must have {rows} rows, one for each {layout.level(action)} of the inputs;"
                    f" the function returned shape {tuple(y.shape)}"
                )

    def _check_type(self, name: str, action: Action, x: Any) -> None:
        if isinstance(action, Shared):
            return
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a tensor; got {type(x).__name__}")
        if not action.is_discrete and not (x.is_floating_point() or x.is_complex()):
            raise TypeError(f"{name} must be floating point for {action}; got {x.dtype}")
        if x.is_complex() and (action.degree or action.feels_translation) and not isinstance(self.group, U | SU):
            raise TypeError(f"{name} must be real: {self.group} acts on real space; got {x.dtype}")

    def _check_shape(self, name: str, action: Action, x: Any, layout: BatchLayout) -> None:
        if not isinstance(action, Shared) and (problem := shape_problem(layout, action, self.group, tuple(x.shape))):
            raise ValueError(f"{name}: {problem}; got shape {tuple(x.shape)}")

    def _move(self, g: Element, slots: Slots, values: Tree, layout: BatchLayout) -> Tree:
        batch = self.group.batch_shape(g)
        if batch not in ((), (layout.size,)):
            raise ValueError(f"g must have batch axes (), or ({layout.size},) for {layout.size} samples; got {batch}")
        mask = None if layout.mask is None else Mask()(self.group, g, layout.mask)

        def move(action: Action, x: Any) -> Any:
            moved = layout.move(action, self.group, g, x)
            return moved if mask is None else zero_padding(action, moved, mask)

        return slots.map(move, values)

    def _radius(self, inputs: Inputs) -> float:
        slots, centre = self.slots(inputs), self.centroid(inputs)
        if centre is not None:
            action, x = next((a, x) for a, x in slots if a.feels_translation)
            layout = self.layout(inputs)
            points, present = layout.points(action, x)
            square = (points - layout.spread(action, centre).unsqueeze(1)).square().sum(-1) * present
            return float((square.sum() / present.sum().clamp(min=1)).sqrt()) or 1.0
        images = [x for a, x in slots if isinstance(a, Image)]
        return max(images[0].shape[-self.group.n :]) / 8 if images else 1.0


def as_inputs(inputs: Inputs) -> Inputs:
    """Inputs as a tuple or a dict: a tensor alone is a tuple of one, a list is a tuple."""
    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(inputs) if isinstance(inputs, list) else inputs


def _floating(x: Tensor) -> Tensor:
    return x if x.is_floating_point() or x.is_complex() else x.double()

"""The points of a batch in any layout, with sums over each sample."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from torsor._layout import BatchLayout
from torsor.actions import Action, Vector
from torsor.symmetry import Inputs, Symmetry

ROUNDING = 4
"""Lengths below this many units of rounding of the coordinates are taken for zero."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points or vectors of each sample, with weights that sum to 1.

    Attributes:
        points: `(rows, m, d)`; a row is a sample in dense batches, a node in ragged ones.
        weights: `(rows, m)`, 0 on padding.
        floor: `(B,)` the squared length that rounding of the inputs can give to points that coincide.
    """

    points: Float[Tensor, "rows m d"]
    weights: Float[Tensor, "rows m"]
    floor: Float[Tensor, " b"]
    layout: BatchLayout
    action: Action

    def total(self, values: Float[Tensor, "rows m *c"]) -> Float[Tensor, "b *c"]:
        """Sums over each sample."""
        return self.layout.sum(self.action, values.sum(1))

    def spread(self, per_sample: Float[Tensor, "b *c"]) -> Float[Tensor, "rows 1 *c"]:
        """A value per sample, next to each of its points."""
        return self.layout.spread(self.action, per_sample).unsqueeze(1)

    def mean(self, values: Float[Tensor, "rows m *c"]) -> Float[Tensor, "b *c"]:
        """Weighted means over each sample."""
        return self.total(values * self.weights.reshape(*self.weights.shape, *(1,) * (values.ndim - 2)))

    def moved(self, points: Float[Tensor, "rows m d"]) -> "Cloud":
        """The same samples with other points."""
        return replace(self, points=points)

    def padded(self) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """Points and weights with one row per sample; ragged samples are padded with weight 0."""
        rows = self.layout.sample_of_row(self.action)
        if rows is None:
            return self.points, self.weights
        size, m, d = self.layout.size, self.points.shape[1], self.points.shape[2]
        counts = torch.bincount(rows, minlength=size)
        place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
        widest = int(counts.max()) if size else 0
        points = self.points.new_zeros(size, widest, m, d).index_put((rows, place), self.points)
        weights = self.weights.new_zeros(size, widest, m).index_put((rows, place), self.weights)
        return points.flatten(1, 2), weights.flatten(1, 2)


def read_clouds(
    symmetry: Symmetry, inputs: Inputs, fields: tuple[str, ...] | None = None, weights: str | None = None
) -> list[Cloud]:
    """The inputs that a frame of points is computed from, in float64.

    Arguments:
        symmetry: says which inputs are points and which are vectors.
        inputs: the batch.
        fields: names of `Point` and `Vector` inputs; by default the first `Point`, else the first `Vector`.
        weights: name of a `Scalar` input with one invariant, non-negative weight per point, such as masses.

    Raises:
        TypeError: `fields` or `weights` is not made of names.
        ValueError: no such input, or weights that are negative or all zero.
    """
    _check_names(fields, weights)
    slots = dict(zip(symmetry.input_names, symmetry.slots(inputs), strict=True))
    layout = symmetry.layout(inputs)
    names = fields or _default_field(slots)
    weight = None if weights is None else _weight(slots, weights)
    clouds = []
    for name in names:
        action, x = _field(slots, name)
        points, present = layout.points(action, x)
        if weight is not None:
            if weight.numel() != present.numel():
                raise ValueError(f"{weights} must hold one weight per point of {name}; got {tuple(weight.shape)}")
            present = present * weight.reshape(present.shape).to(present.dtype)
        mass = layout.sum(action, present.sum(1)).double()
        if weight is not None and bool((mass <= 0).any()):
            raise ValueError(f"{weights}: sample {int((mass <= 0).nonzero()[0, 0])} has no positive weight")
        share = layout.spread(action, torch.where(mass > 0, mass, 1)).unsqueeze(1)
        points, present = points.double(), present.double() / share
        size = (points.detach().square().sum(-1) * (present > 0)).sum(1)
        floor = (ROUNDING * torch.finfo(x.dtype).eps) ** 2 * layout.sum(action, size)
        clouds.append(Cloud(points, present, floor, layout, action))
    return clouds


def default_fields(symmetry: Symmetry, inputs: Inputs) -> tuple[str, ...]:
    """The name of the input that frames are computed from where nobody names one."""
    return _default_field(dict(zip(symmetry.input_names, symmetry.slots(inputs), strict=True)))


def named_vectors(symmetry: Symmetry, inputs: Inputs) -> tuple[str, ...]:
    """The names of all `Point` and `Vector` inputs."""
    slots = zip(symmetry.input_names, symmetry.slots(inputs), strict=True)
    return tuple(name for name, (action, _) in slots if action.feels_translation or _is_vector(action))


def other_inputs_turn(symmetry: Symmetry, inputs: Inputs) -> bool:
    """Whether there are inputs other than points, vectors and scalars that rotations move."""
    return any(
        action.degree > 0 and not (action.feels_translation or _is_vector(action))
        for action, _ in symmetry.slots(inputs)
    )


def named_field(symmetry: Symmetry, inputs: Inputs, name: str | None) -> tuple[Action, Tensor]:
    """A `Point` or `Vector` input by its name, the first one by default, with its action."""
    slots = dict(zip(symmetry.input_names, symmetry.slots(inputs), strict=True))
    return _field(slots, _default_field(slots)[0] if name is None else name)


def floating_dtype(symmetry: Symmetry, inputs: Inputs) -> torch.dtype:
    """The dtype of the first floating-point input, which is that of the frames."""
    floating = [x.dtype for _, x in symmetry.slots(inputs) if isinstance(x, Tensor) and x.is_floating_point()]
    return floating[0] if floating else torch.get_default_dtype()


def _field(slots: dict[str, tuple[Action, Tensor]], name: str) -> tuple[Action, Tensor]:
    if name not in slots:
        raise ValueError(f"fields must name inputs, of {', '.join(slots)}; got {name!r}")
    action, x = slots[name]
    if not (action.feels_translation or _is_vector(action)):
        raise ValueError(f"{name} is a {type(action).__name__}: frames are computed from Point and Vector inputs")
    return action, x


def _is_vector(action: Action) -> bool:
    parts = getattr(action, "actions", (action,))
    return any(isinstance(part, Vector) for part in parts)


def _default_field(slots: dict[str, tuple[Action, Tensor]]) -> tuple[str, ...]:
    points = [name for name, (action, _) in slots.items() if action.feels_translation]
    vectors = [name for name, (action, _) in slots.items() if _is_vector(action)]
    if not points and not vectors:
        raise ValueError(f"a frame of points needs a Point or Vector input; got {', '.join(slots)} without one")
    return tuple((points or vectors)[:1])


def _weight(slots: dict[str, tuple[Action, Tensor]], name: str) -> Tensor:
    if name not in slots:
        raise ValueError(f"weights must name an input, of {', '.join(slots)}; got {name!r}")
    weight = slots[name][1]
    if bool((weight < 0).any()):
        raise ValueError(f"{name} must not be negative where it serves as weights")
    return weight


def _check_names(fields: object, weights: object) -> None:
    """Refuse fields and weights of a frame that are not names of inputs."""
    if fields is not None and not (isinstance(fields, tuple | list) and all(isinstance(f, str) for f in fields)):
        raise TypeError(f"fields must be a tuple of names of inputs; got {fields!r}")
    if weights is not None and not isinstance(weights, str):
        raise TypeError(f"weights must be the name of the input that holds them; got {type(weights).__name__}")

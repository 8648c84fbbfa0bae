"""Geometric values that are not representations on one flat axis, or that carry parity."""

from dataclasses import dataclass

import torch
from torch import Tensor as Array

from torsor.actions._action import Action, Element, apply_matrices, apply_matrix, over_middle_axes, sum_matrices
from torsor.actions._rep import Vector
from torsor.groups import Group, Projective2D
from torsor.groups._precision import without_autocast
from torsor.groups.linalg import eigh


@dataclass(frozen=True, repr=False)
class PseudoScalar(Action):
    """A number that changes sign under reflections, such as a triple product: `x -> sign(det A) x`."""

    def __call__(self, group: Group, g: Element, x: Array) -> Array:
        parity = group.parity(g)
        return over_middle_axes(parity, x, 0).to(x.dtype) * x


@dataclass(frozen=True, repr=False)
class Point(Action):
    """A position, moved by the whole element: `x -> A x + t`, on the last axis."""

    def __call__(self, group: Group, g: Element, x: Array) -> Array:
        return act_on_points(group, g, x)

    def orbit(self, group: Group, g: Element, x: Array) -> Array:
        return apply_matrices(group.linear(g), x, group.translation(g))

    def orbit_sum(self, group: Group, g: Element, weights: Array, x: Array) -> Array:
        return sum_matrices(group.linear(g), weights, x, group.translation(g))

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return last_axis_problem(group, shape)

    @property
    def feels_translation(self) -> bool:
        return True

    @property
    def degree(self) -> int:
        return 1


@dataclass(frozen=True, repr=False)
class PseudoVector(Action):
    """A vector that does not change sign under inversion, such as a cross product: `x -> sign(det A) A x`."""

    def __call__(self, group: Group, g: Element, x: Array) -> Array:
        parity = group.parity(g)
        return over_middle_axes(parity, x, 0).to(x.dtype) * Vector()(group, g, x)

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        if group.n != 3:
            return f"a PseudoVector lives in 3 dimensions and {group} acts on {group.n}"
        return last_axis_problem(group, shape)

    @property
    def degree(self) -> int:
        return 1


@dataclass(frozen=True, repr=False)
class Tensor(Action):
    """A tensor with `p` contravariant and `q` covariant axes, the last `p + q` axes of the value.

    The first `p` of them are multiplied by the linear part `A`, the other `q` by its inverse transpose: the same law as
    the representation `T(p, q)`, on axes of their own.

    >>> import torch
    >>> from torsor.groups import SO
    >>> g = SO(3).exp(torch.tensor([0.0, 0.0, torch.pi / 2]))
    >>> Tensor(2)(SO(3), g, torch.diag(torch.tensor([1.0, 2.0, 3.0]))).diagonal().round(decimals=4)
    tensor([2., 1., 3.])
    """

    p: int = 2
    q: int = 0

    def __post_init__(self) -> None:
        if self.p < 0 or self.q < 0 or self.p + self.q == 0:
            raise ValueError(f"Tensor(p, q) needs p, q >= 0 and p + q >= 1; got p={self.p}, q={self.q}")

    def __call__(self, group: Group, g: Element, x: Array) -> Array:
        linear = group.linear(g)
        dual = group.linear(group.inverse(g)).mT
        for axis in range(-self.p - self.q, 0):
            matrix = linear if axis < -self.q else dual
            x = apply_matrix(matrix, x.movedim(axis, -1)).movedim(-1, axis)
        return x

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        k = self.p + self.q
        if len(shape) < k or any(size != group.n for size in shape[-k:]):
            return f"the last {k} axes must have the {group.n} coordinates of {group}"
        return None

    @property
    def degree(self) -> int:
        return self.p + self.q


_REPEATED = 1e3
"""Eigenvalues closer than this many units of rounding of the largest are one."""


@dataclass(frozen=True, repr=False)
class Line(Action):
    """A direction without a sense, such as the normal of a surface: `y` and `-y` are the same value.

    Moved as a vector; averaged and compared through the projector `y y^T / |y|^2`, of which `project` returns the
    leading eigenvector. Its sign is arbitrary. A zero vector, such as padding, has the zero projector.
    """

    def __call__(self, group: Group, g: Element, x: Array) -> Array:
        return Vector()(group, g, x)

    def embed(self, x: Array) -> Array:
        square = x.square().sum(-1, keepdim=True)
        return x.unsqueeze(-1) * (x / torch.where(square > 0, square, 1)).unsqueeze(-2)

    error_unit = "1 - cos²"

    def square_error(self, x: Array, y: Array) -> Array:
        """`1 - cos^2` of the angle between two lines: half the squared distance of their projectors."""
        scale = x.square().sum(-1) * y.square().sum(-1)
        return 1 - (x * y).sum(-1).square() / torch.where(scale > 0, scale, 1)

    def project(self, z: Array) -> Array:
        """The axis of the largest eigenvalue that is not repeated: the only lines that what moves `z` not may leave.

        A mean over the rotations about an axis may have its largest eigenvalue twice, across that axis. Where all are
        repeated there is no line, and it is 0.
        """
        values, axes = eigh((z + z.mT) / 2)
        if z.shape[-1] > 1:
            apart = values.diff(dim=-1) > _REPEATED * torch.finfo(values.dtype).eps * values.abs().amax(
                -1, keepdim=True
            )
            alone = torch.nn.functional.pad(apart, (0, 1), value=True) & torch.nn.functional.pad(
                apart, (1, 0), value=True
            )
        else:
            alone = values != 0
        place = torch.where(alone, torch.arange(values.shape[-1], device=z.device), -1).amax(-1)
        axis = axes.gather(-1, place.clamp(min=0)[..., None, None].expand(*axes.shape[:-1], 1)).squeeze(-1)
        return torch.where((place < 0).unsqueeze(-1), 0, axis)

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return last_axis_problem(group, shape)

    @property
    def embedded(self) -> Action:
        return Tensor(2, per=self.per)

    @property
    def degree(self) -> int:
        return 2


@without_autocast
def act_on_points(group: Group, g: Element, x: Array) -> Array:
    """Points `(*batch, ..., n)` moved by elements with batch axes `*batch`: `A x + t`, or `u/w` under homographies.

    >>> import torch
    >>> from torsor.groups import Translation
    >>> act_on_points(Translation(2), Translation(2).exp(torch.tensor([1.0, 2.0])), torch.zeros(3, 2))[0]
    tensor([1., 2.])
    """
    if isinstance(group, Projective2D):
        moved = apply_matrix(g.to(x.dtype), torch.nn.functional.pad(x, (0, 1), value=1.0))
        return moved[..., :2] / moved[..., 2:]
    shift = group.translation(g)
    if shift is None:
        return apply_matrix(group.linear(g), x)
    batch = shift.ndim - 1
    rows = x.unsqueeze(-2) if x.ndim == batch + 1 else x.flatten(batch, -2)
    linear = group.linear(g).to(x.dtype).mT
    if batch == 1 and len(linear) == len(rows):  # one kernel instead of two passes
        return torch.baddbmm(shift.to(x.dtype).unsqueeze(-2), rows, linear).reshape(x.shape)
    moved = rows @ linear + shift.to(x.dtype).unsqueeze(-2)
    return moved.reshape(*moved.shape[:batch], *x.shape[batch:])


def last_axis_problem(group: Group, shape: tuple[int, ...]) -> str | None:
    """Words for a value whose last axis does not hold the coordinates of the space that the group acts on."""
    if not shape or shape[-1] != group.n:
        return f"the last axis must have the {group.n} coordinates of {group}"
    return None

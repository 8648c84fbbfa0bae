"""Actions of the symmetric group on the axes that count nodes."""

from dataclasses import dataclass

from torch import Tensor

from torsor.actions._action import Action, Element, over_middle_axes
from torsor.groups import Group, Symmetric


@dataclass(frozen=True, repr=False)
class Nodes(Action):
    """One axis counts nodes and is permuted: `(g x)[g[i]] = x[i]` along it.

    Arguments:
        axis: the node axis, counted from the end (negative).

    >>> import torch
    >>> from torsor.groups import Symmetric
    >>> Nodes(-1)(Symmetric(3), torch.tensor([1, 2, 0]), torch.tensor([10, 20, 30]))
    tensor([30, 10, 20])
    """

    axis: int = -2

    def __post_init__(self) -> None:
        if self.axis >= 0:
            raise ValueError(f"axis of Nodes must be negative, counted from the end; got {self.axis}")

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        order = symmetric(group, self).inverse(g)
        moved = x.movedim(self.axis, -1)
        return moved.take_along_dim(over_middle_axes(order, moved, 1), -1).movedim(-1, self.axis)

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return _axis_problem(group, shape, (self.axis,), self)

    @property
    def is_discrete(self) -> bool:
        return True


@dataclass(frozen=True, repr=False)
class Pairs(Action):
    """Two axes count nodes and are permuted together, as in adjacency and distance matrices.

    Arguments:
        axes: the two node axes, counted from the end (negative).
    """

    axes: tuple[int, int] = (-2, -1)

    def __post_init__(self) -> None:
        if len(self.axes) != 2 or self.axes[0] == self.axes[1] or max(self.axes) >= 0:
            raise ValueError(f"axes of Pairs must be two different negative numbers; got {self.axes}")

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        for axis in self.axes:
            x = Nodes(axis)(group, g, x)
        return x

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return _axis_problem(group, shape, self.axes, self)

    @property
    def is_discrete(self) -> bool:
        return True


def symmetric(group: Group, action: Action) -> Symmetric:
    """The group as a symmetric group, or a TypeError that says what the action needs."""
    if not isinstance(group, Symmetric):
        raise TypeError(f"{type(action).__name__} needs a Symmetric group, whose elements permute nodes; got {group}")
    return group


def _axis_problem(group: Group, shape: tuple[int, ...], axes: tuple[int, ...], action: Action) -> str | None:
    n = symmetric(group, action).n
    for axis in axes:
        if len(shape) < -axis or shape[axis] != n:
            return f"axis {axis} must count the {n} nodes of {group}"
    return None

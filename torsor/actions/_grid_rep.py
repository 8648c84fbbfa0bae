"""The values at the points of a square grid, as a representation: what the taps of a kernel are."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Inexact
from torch import Tensor

from torsor.actions._action import Element
from torsor.actions._image import pixel_grid
from torsor.actions._rep import Rep
from torsor.groups import Group


@dataclass(frozen=True, repr=False)
class Grid(Rep):
    """The values at the points of a square (cubic) grid, moved as in `Image`: `(g f)(p) = f(g^-1 p)`, y downwards.

    For finite groups that map the grid onto itself, such as rotations by 90 degrees and reflections: exact, because
    nothing is interpolated. `rep * Grid(3)` is what a kernel of 3 x 3 taps sees of a field of type `rep`.

    Arguments:
        side: points along each axis.

    Raises:
        TypeError: the group is not finite, or moves a point off the grid.

    >>> import torch
    >>> from torsor.groups import Cyclic
    >>> image = torch.arange(9.0).reshape(3, 3)
    >>> turned = Grid(3)(Cyclic(4), Cyclic(4).elements()[1], image.flatten())
    >>> torch.equal(turned.reshape(3, 3), torch.rot90(image, -1, (0, 1)))
    True
    """

    side: int = 3

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side of a Grid must be at least 1 point; got {self.side}")

    def dim(self, group: Group) -> int:
        if not group.is_finite:
            raise TypeError(f"Grid needs a finite group that maps a square grid onto itself; got {group}")
        return self.side**group.n  # type: ignore[attr-defined]

    def matrix(self, group: Group, g: Element) -> Inexact[Tensor, "*batch dim dim"]:
        n = self.dim(group)
        linear = group.linear(g)
        points = pixel_grid((self.side,) * linear.shape[-1], linear).flatten(0, -2)
        moved = points @ linear.mT
        onto = ((moved[..., None, :, :] - points[:, None]).abs() < 0.01).all(-1)  # [..., where to, where from]
        if not bool((onto.sum(-1) == 1).all() and (onto.sum(-2) == 1).all()):
            raise TypeError(f"Grid needs a group that maps a grid of {n} points onto itself; {group} does not")
        return onto.to(linear.dtype)

    def dmatrix(self, group: Group, v: Float[Tensor, "*batch algebra"]) -> Inexact[Tensor, "*batch dim dim"]:
        n = self.dim(group)
        return v.new_zeros(*v.shape[:-1], n, n)

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def dual(self) -> Rep:
        return self

    def __repr__(self) -> str:
        return f"Grid({self.side})" if self.per is None else f"Grid({self.side}, per={self.per!r})"

"""Images and volumes: functions on a pixel grid."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from torsor.actions._action import Action, Element
from torsor.actions._fields import act_on_points
from torsor.groups import Group


@dataclass(frozen=True, repr=False)
class Image(Action):
    """A function on pixels, moved by `(g f)(p) = f(g^-1 p)`: `(..., H, W)` in 2-D, `(..., D, H, W)` in 3-D.

    Pixel units, origin at the centre of the grid, x to the right (the last axis), y downwards, z along D: a positive
    angle looks clockwise on the screen, and `torch.rot90(image, -1, (-2, -1))` is the rotation by +90 degrees.

    Arguments:
        mode: interpolation, `"bilinear"` (trilinear in 3-D), `"nearest"` or `"bicubic"` (2-D only).
        padding: what lies outside, `"zeros"`, `"border"` or `"reflection"`.
        field: how the channels move too, on the axis before the pixels: `Vector()` for a flow field `(..., 2, H, W)`.
        y_up: the y axis points upwards instead.

    >>> import torch
    >>> from torsor.groups import Cyclic
    >>> image = torch.arange(9.0).reshape(1, 3, 3)
    >>> turned = Image()(Cyclic(4), Cyclic(4).elements()[1], image)
    >>> torch.allclose(turned, torch.rot90(image, -1, (-2, -1)), atol=1e-5)
    True
    """

    mode: Literal["bilinear", "nearest", "bicubic"] = "bilinear"
    padding: Literal["zeros", "border", "reflection"] = "zeros"
    field: Action | None = None
    y_up: bool = False

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        size = x.shape[-group.n :]
        batch = g.ndim - 2
        inverse = group.inverse(g.to(x.dtype)).flatten(0, batch - 1) if batch else group.inverse(g.to(x.dtype))[None]
        samples = len(inverse)
        pixels = pixel_grid(size, x, self.y_up).flatten(0, -2)
        source = act_on_points(group, inverse, pixels.expand(samples, *pixels.shape))
        half = torch.tensor([s / 2 for s in reversed(size)], dtype=x.dtype, device=x.device)
        flip = self._flip(group.n, x)
        channels = math.prod(x.shape[batch : x.ndim - group.n])
        moved = torch.nn.functional.grid_sample(
            x.reshape(samples, channels, *size),
            (source * flip / half).reshape(samples, *size, group.n),
            mode=self.mode,
            padding_mode=self.padding,
            align_corners=False,
        ).reshape(x.shape)
        if self.field is None:
            return moved
        channel_axis = -group.n - 1
        return self.field(group, g, moved.movedim(channel_axis, -1)).movedim(-1, channel_axis)

    def _flip(self, n: int, like: Tensor) -> Tensor:
        signs = [1.0, -1.0 if self.y_up else 1.0, 1.0]
        return torch.tensor(signs[:n], dtype=like.dtype, device=like.device)

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        if group.n not in (2, 3):
            return f"an Image has 2 or 3 dimensions and {group} acts on {group.n}"
        if len(shape) < group.n:
            return f"an Image must be (B, ..., {'D, ' if group.n == 3 else ''}H, W)"
        sides = shape[: -group.n - 1 : -1]  # in the order of the coordinates
        if any(sides[i] != sides[j] for i, j in _exchanged(group)):
            return f"{group} exchanges axes of the pixel grid, whose sides must be equal"
        if self.field is not None:
            channels_last = (*shape[: -group.n - 1], *shape[-group.n :], shape[-group.n - 1])
            return self.field.event_shape_problem(group, channels_last)
        return None


@cache
def _exchanged(group: Group) -> list[tuple[int, int]]:
    """The pairs of coordinates that some element of a finite group of matrices maps onto each other."""
    if not group.is_finite:
        return []  # rotations by all angles lose the corners of squares too
    along = (group.linear(group.elements(torch.float64)).abs() > 0.999).any(0).tolist()
    return [(i, j) for i in range(group.n) for j in range(i) if along[i][j]]


def pixel_grid(size: tuple[int, ...], like: Tensor, y_up: bool = False) -> Tensor:
    """Coordinates of the pixel centres, `(*size, n)` in the order x, y(, z), from the centre of the grid."""
    axes = [torch.arange(s, dtype=like.dtype, device=like.device) - (s - 1) / 2 for s in size]
    grid = list(torch.meshgrid(*axes, indexing="ij"))[::-1]
    if y_up:
        grid[1] = -grid[1]
    return torch.stack(grid, -1)

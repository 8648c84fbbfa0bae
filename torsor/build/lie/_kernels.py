"""Kernels on space and on a matrix group: functions of `A^-1 u` and `A^-1 B`, with coefficients that are learned."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.groups.linalg import logm, polar_log

KernelLike = Literal["basis", "siren"] | Callable[..., Tensor]


class SpatialBasis(nn.Module):
    """Smooth functions on a disc: Gaussians on a grid, times a window that ends smoothly at the rim.

    Arguments:
        n: dimension of space.
        radius: of the disc, in pixels.
        resolution: Gaussians along an axis; by default one per pixel.

    Shapes: points `(*shape, n)` in pixels to `(*shape, size)`.
    """

    centres: Tensor

    def __init__(self, n: int, radius: float, resolution: int | None = None) -> None:
        super().__init__()
        resolution = 2 * math.ceil(radius) - 1 if resolution is None else resolution
        axis = torch.linspace(-1, 1, resolution + 2)[1:-1]
        self.radius, self.spacing = radius, 2 / (resolution + 1)
        self.register_buffer("centres", torch.cartesian_prod(*[axis] * n).reshape(-1, n), persistent=False)
        self.size = len(self.centres)

    def forward(self, u: Float[Tensor, "*shape n"]) -> Float[Tensor, "*shape size"]:
        """The values of all functions."""
        v = u / self.radius
        square = (v.unsqueeze(-2) - self.centres.to(v)).square().sum(-1)
        window = (1 - v.square().sum(-1, keepdim=True)).clamp(min=0).square()
        return window * torch.exp(-square / (2 * (0.6 * self.spacing) ** 2))


class GroupBasis(nn.Module):
    """Functions of a matrix `h = exp(Y) R` near the identity: {1, entries of Y} x {1, entries of R - 1}.

    Rotations enter by their matrices (of the plane: cosine and sine), never by an angle, which would jump. In units of
    the widths of a window all functions are of one size inside it, which they should be to be learned alike.

    Arguments:
        n: dimension of space.
        width: unit of `Y`.
        angle: unit of angles, in radians.

    Shapes: matrices `(*shape, n, n)` to `(*shape, size)`. The first function is 1.
    """

    def __init__(self, n: int, width: float | None = None, angle: float | None = None) -> None:
        super().__init__()
        self.n, self.width, self.angle = n, 1.0 if width is None else width, 1.0 if angle is None else angle
        self.size = (1 + n * (n + 1) // 2) * (1 + (2 if n == 2 else n * n))

    def forward(self, h: Float[Tensor, "*shape n n"]) -> Float[Tensor, "*shape size"]:
        """The values of all functions."""
        Y, R = chart(h)
        turned = (R - torch.eye(self.n).to(R)) / self.angle
        if self.n == 2:
            turned = torch.stack([turned[..., 0, 0] / self.angle, turned[..., 1, 0]], -1)
        else:
            turned = turned.flatten(-2)
        one = torch.ones_like(Y[..., :1])
        stretched, turned = torch.cat([one, Y / self.width], -1), torch.cat([one, turned], -1)
        return (stretched.unsqueeze(-1) * turned.unsqueeze(-2)).flatten(-2)


class LogBasis(nn.Module):
    """Functions of a matrix by its principal logarithm: {1, its entries, their products}; 0 where there is none.

    What was done before charts that cover the group; here to be compared with `GroupBasis`.

    Arguments:
        n: dimension of space.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.size = 1 + n * n + n * n * (n * n + 1) // 2

    def forward(self, h: Float[Tensor, "*shape n n"]) -> Float[Tensor, "*shape size"]:
        """The values of all functions."""
        X = logm(h, on_failure="nan").flatten(-2)
        missing = X.isnan().any(-1, keepdim=True)
        X = torch.where(missing, 0, X)
        row, column = torch.triu_indices(X.shape[-1], X.shape[-1], device=X.device)
        values = torch.cat([torch.ones_like(X[..., :1]), X, X[..., row] * X[..., column]], -1)
        return torch.where(missing, 0, values)


class GroupWindow(nn.Module):
    """A Gaussian around the identity of a matrix group: `exp(-|Y|^2 / 2 w^2)`, and the same in the angle of `R`.

    Arguments:
        width: in `Y`; None for none.
        angle: in radians; None for none.

    Shapes: matrices `(*shape, n, n)` to `(*shape)`.
    """

    def __init__(self, width: float | None, angle: float | None = None) -> None:
        super().__init__()
        for name, value in (("group_window", width), ("angle_window", angle)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, or None for none; got {value}")
        self.width, self.angle = width, angle

    def forward(self, h: Float[Tensor, "*shape n n"]) -> Float[Tensor, "*shape"]:
        """The values."""
        if self.width is None and self.angle is None:
            return torch.ones_like(h[..., 0, 0])
        Y, R = chart(h)
        exponent = torch.zeros_like(Y[..., 0])
        if self.width is not None:
            exponent = exponent + Y.square().sum(-1) / self.width**2
        if self.angle is not None:  # |R - 1|^2 = 4 (1 - cos) in the plane of rotation: twice the square of the angle
            n = R.shape[-1]
            exponent = exponent + 2 * (n - R.diagonal(dim1=-2, dim2=-1).sum(-1)) / 2 / self.angle**2
        return torch.exp(-exponent / 2)


def chart(h: Float[Tensor, "*shape n n"]) -> tuple[Float[Tensor, "*shape k"], Float[Tensor, "*shape n n"]]:
    """The global chart `h = exp(Y) R`: orthonormal coordinates of the symmetric `Y`, and the matrix `R`."""
    Y, R = polar_log(h)
    n = h.shape[-1]
    row, column = torch.triu_indices(n, n, device=h.device)
    scale = torch.where(row == column, 1.0, math.sqrt(2)).to(h)
    return Y[..., row, column] * scale, R


class Linear(nn.Module):
    """Coefficients that are learned, on functions that are not: `(*shape, size)` to `(*shape, channels)`."""

    def __init__(self, size: int, channels: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, channels) * std)

    def forward(self, values: Float[Tensor, "*shape size"]) -> Float[Tensor, "*shape channels"]:
        """The combinations."""
        return values @ self.weight.to(values.dtype)


class Siren(nn.Module):
    """A perceptron with sines, from coordinates to the values of a kernel: the kernel of the paper.

    Arguments:
        features: coordinates of a point.
        channels: values at a point.
        fan: how many terms a convolution with this kernel sums, which sets the scale of the last layer.
        hidden, layers: width and number of hidden layers.
        omega: frequency of the first layer's sines.

    Source: Sitzmann, Martel, Bergman, Lindell, Wetzstein 2020 (arXiv 2006.09661), for the initialisation.
    """

    def __init__(
        self, features: int, channels: int, fan: float, hidden: int = 60, layers: int = 2, omega: float = 10.0
    ) -> None:
        super().__init__()
        self.omega = omega
        widths = [features, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.last = nn.Linear(hidden, channels)
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                bound = 1 / features if i == 0 else math.sqrt(6 / hidden) / omega
                layer.weight.uniform_(-bound, bound)  # type: ignore[union-attr, operator]
                if i:
                    layer.bias.zero_()  # type: ignore[union-attr, operator]
            self.last.weight.uniform_(-1, 1).mul_(math.sqrt(6 / hidden) / math.sqrt(fan))
            self.last.bias.zero_()

    def forward(self, x: Float[Tensor, "*shape features"]) -> Float[Tensor, "*shape channels"]:
        """The values at points."""
        for layer in self.layers:
            x = torch.sin(self.omega * _linear(layer, x))
        return _linear(self.last, x)


def _linear(layer: Any, x: Tensor) -> Tensor:
    """A layer in the precision of its input: coordinates are never in half precision."""
    return nn.functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def siren_coordinates(u: Tensor, radius: float, h: Tensor | None) -> Tensor:
    """What a sine network sees: the point in units of the radius, and the chart of the group element."""
    if h is None:
        return u / radius
    Y, R = chart(h)
    turned = R[..., :, 0] if h.shape[-1] == 2 else R.flatten(-2)
    inner = torch.cat([Y, turned], -1)
    shape = torch.broadcast_shapes(u.shape[:-1], inner.shape[:-1])
    return torch.cat([(u / radius).expand(*shape, u.shape[-1]), inner.expand(*shape, inner.shape[-1])], -1)


def is_builtin(kernel: Any) -> bool:
    """Whether a kernel is named, and not given as a function.

    Raises:
        ValueError: an unknown name.
    """
    if kernel in ("basis", "siren"):
        return True
    if callable(kernel):
        return False
    raise ValueError(f'kernel must be "basis", "siren" or a function; got {kernel!r}')

"""Kernels with coefficients that are learned, at the scale that a sum over pixels and channels asks for."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from torsor.build.lie._kernels import (
    GroupBasis,
    GroupWindow,
    KernelLike,
    Linear,
    LogBasis,
    Siren,
    SpatialBasis,
    siren_coordinates,
)


class _SpatialKernel(nn.Module):
    """A basis with learned coefficients, on points in pixels."""

    def __init__(self, basis: SpatialBasis, linear: Linear) -> None:
        super().__init__()
        self.basis, self.linear = basis, linear

    def forward(self, u: Tensor) -> Tensor:
        return self.linear(self.basis(u))


class _SpatialSiren(nn.Module):
    """A sine network on points in units of the radius, cut off beyond it."""

    def __init__(self, radius: float, siren: Siren) -> None:
        super().__init__()
        self.radius, self.siren = radius, siren

    def forward(self, u: Tensor, h: Tensor | None = None) -> Tensor:
        inside = (u.square().sum(-1, keepdim=True) <= self.radius**2).to(u.dtype)
        return self.siren(siren_coordinates(u, self.radius, h)) * inside


class _JointBasis(nn.Module):
    """Products of functions of space and of the group, with learned coefficients."""

    def __init__(self, basis: SpatialBasis, group: GroupBasis, linear: Linear) -> None:
        super().__init__()
        self.basis, self.group, self.linear = basis, group, linear

    def forward(self, u: Tensor, h: Tensor) -> Tensor:
        products = self.basis(u).unsqueeze(-1) * self.group(h[..., :1, :, :]).unsqueeze(-2)
        return self.linear(products.flatten(-2))


class GroupMixing(nn.Module):
    """The part of a separable kernel on the group: matrices between channels."""

    def __init__(
        self,
        kernel: KernelLike,
        n: int,
        in_channels: int,
        out_channels: int,
        rank: int,
        window: GroupWindow,
        chart: str = "polar",
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.shape = (rank, out_channels, in_channels)
        channels, self.siren, self.basis, self.linear = math.prod(self.shape), None, None, None
        if kernel == "siren":
            self.siren = Siren(n * (n + 1) // 2 + (2 if n == 2 else n * n), channels, in_channels)
        else:
            self.basis = GroupBasis(n, window.width, window.angle) if chart == "polar" else LogBasis(n)
            self.linear = Linear(self.basis.size, channels, 0.1 / math.sqrt(in_channels))
            with torch.no_grad():  # the first function is 1: near the identity the kernel starts as a matrix
                self.linear.weight[0] = torch.randn(channels) / math.sqrt(in_channels)
        if zero:
            _silence(self.linear if self.siren is None else self.siren.last)

    def forward(self, h: Tensor) -> Tensor:
        """Matrices `(n_out, n_in, rank, out, in)`."""
        if self.siren is not None:
            values = self.siren(siren_coordinates(h[..., :0, 0], 1.0, h))
        else:
            values = self.linear(self.basis(h))  # type: ignore[misc]
        return values.unflatten(-1, self.shape)


def spatial_kernel(kernel: Any, layer: Any, channels: int, fan_channels: int) -> Any:
    """A kernel on space with `channels` values, scaled for sums over `fan_channels` channels and the pixels."""
    if not layer.builtin:
        return kernel
    if kernel == "siren":
        inside = int((layer.pixels.square().sum(-1) <= layer.support_radius**2).sum())  # type: ignore[operator]
        return _SpatialSiren(layer.support_radius, Siren(layer.n, channels, fan_channels * inside))
    basis = SpatialBasis(layer.n, layer.support_radius)
    energy = float(basis(layer.pixels).square().sum())  # type: ignore[arg-type]
    return _SpatialKernel(basis, Linear(basis.size, channels, math.sqrt(2 / (fan_channels * energy))))


def joint_kernel(kernel: Any, layer: Any, channels: int, fan_channels: int, window: GroupWindow, zero: bool) -> Any:
    """A kernel on space and group."""
    if not layer.builtin:
        return kernel
    if kernel == "siren":
        inside = int((layer.pixels.square().sum(-1) <= layer.support_radius**2).sum())  # type: ignore[operator]
        features = layer.n + layer.n * (layer.n + 1) // 2 + (2 if layer.n == 2 else layer.n**2)
        siren = Siren(features, channels, fan_channels * inside)
        if zero:
            _silence(siren.last)
        return _SpatialSiren(layer.support_radius, siren)
    space, group = SpatialBasis(layer.n, layer.support_radius), GroupBasis(layer.n, window.width, window.angle)
    energy = float(space(layer.pixels).square().sum())  # type: ignore[arg-type]
    linear = Linear(space.size * group.size, channels, 0.1 * math.sqrt(2 / (fan_channels * energy)))
    with torch.no_grad():
        linear.weight.view(space.size, group.size, channels)[:, 0] *= 10
    if zero:
        _silence(linear)
    return _JointBasis(space, group, linear)


def _silence(layer: Any) -> None:
    """Start a last layer at zero."""
    nn.init.zeros_(layer.weight)

"""Features as signals on the sphere: each channel is one true and one pseudo-scalar function."""

from __future__ import annotations

import torch
from torch import Tensor

from torsor.actions import Irreps
from torsor.build.so3._paths import parity_on_sphere

Signals = dict[int, Tensor]
"""By parity on the sphere, coefficients (..., channels, (L + 1)^2)."""


def to_signals(x: Tensor, irreps: Irreps) -> Signals:
    """The signals of features; degrees that the irreps lack are zero."""
    blocks: dict[int, dict[int, Tensor]] = {}
    for (count, ir), where in zip(irreps, irreps.slices()):
        blocks.setdefault(parity_on_sphere(ir), {})[ir.l] = x[..., where].unflatten(-1, (count, ir.dim))
    return {sign: _side_by_side(degrees) for sign, degrees in blocks.items()}


def from_signals(signals: Signals, irreps: Irreps) -> Tensor:
    """The features of signals that reach at least the degrees of the irreps."""
    parts = [signals[parity_on_sphere(ir)][..., ir.l**2 : (ir.l + 1) ** 2].flatten(-2) for _, ir in irreps]
    return torch.cat(parts, -1)


def top_degrees(irreps: Irreps) -> dict[int, int]:
    """The highest degree of each signal."""
    found: dict[int, int] = {}
    for _, ir in irreps:
        sign = parity_on_sphere(ir)
        found[sign] = max(found.get(sign, 0), ir.l)
    return found


def by_degree(weight: Tensor) -> Tensor:
    """Numbers (..., L + 1) for each degree as numbers (..., (L + 1)^2) for each coefficient."""
    lmax = weight.shape[-1] - 1
    return torch.cat([weight[..., l : l + 1].expand(*weight.shape[:-1], 2 * l + 1) for l in range(lmax + 1)], -1)


def check_each_once(irreps: Irreps, name: str) -> None:
    """ValueError unless every irrep is named once."""
    seen = [ir for _, ir in irreps]
    if not seen or len(set(seen)) != len(seen) or not all(count for count, _ in irreps):
        raise ValueError(f"{name} must name at least one irrep, and each once; got {irreps}")


def _side_by_side(degrees: dict[int, Tensor]) -> Tensor:
    like = next(iter(degrees.values()))
    blocks = [
        degrees[l] if l in degrees else like.new_zeros(*like.shape[:-1], 2 * l + 1) for l in range(max(degrees) + 1)
    ]
    return torch.cat(blocks, -1)

"""A distribution function between the points of its grid: monotone cubics, and their inverse."""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 44


def cubic(values: Tensor, slopes: Tensor, place: Tensor) -> Tensor:
    """The Hermite cubic with these values and slopes (per step) at places counted in steps."""
    i = place.floor().clamp(0, len(values) - 2).long()
    return _piece(values, slopes, i, place - i)


def _piece(values: Tensor, slopes: Tensor, i: Tensor, x: Tensor) -> Tensor:
    y0, y1, d0, d1 = values[i], values[i + 1], slopes[i], slopes[i + 1]
    return y0 + x * (d0 + x * (3 * (y1 - y0) - 2 * d0 - d1 + x * (d0 + d1 - 2 * (y1 - y0))))


def monotone_slopes(values: Tensor) -> Tensor:
    """Slopes per step that keep a cubic monotone where the values are (Fritsch, Butland 1984, even grid)."""
    d = values.diff()
    a, b = d[:-1], d[1:]
    same = a * b > 0
    inner = torch.where(same, 2 * a * b / torch.where(same, a + b, 1.0), 0.0)
    first, last = (_end_slope(x, y) for x, y in ((d[0], d[1]), (d[-1], d[-2])))
    return torch.cat([first[None], inner, last[None]])


def _end_slope(near: Tensor, far: Tensor) -> Tensor:
    slope = (3 * near - far) / 2
    limited = torch.where(slope * near > 0, slope, 0.0)
    return torch.where(limited.abs() > 3 * near.abs(), 3 * near, limited)


def inverse(values: Tensor, slopes: Tensor, wanted: Tensor) -> Tensor:
    """The smallest places at which an increasing cubic reaches the wanted values."""
    top = values.cummax(0).values
    i = (torch.searchsorted(top, wanted) - 1).clamp(0, len(values) - 2)
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = _piece(values, slopes, i, middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return i + high

"""Draws from an excursion law: sums of a geometric number of divisors, or the inverse of the distribution function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torsor.persistence._interpolate import inverse, monotone_slopes

if TYPE_CHECKING:
    from torsor.persistence._laws import ExcursionLaw


def draw(law: ExcursionLaw, n: int, generator: torch.Generator | None) -> Tensor:
    """`n` independent lengths."""
    values = law.values.detach()
    kwargs = {"generator": generator, "dtype": values.dtype, "device": values.device}
    if law.divisor is None:
        return law.quantile(torch.rand(n, **kwargs)).detach()  # type: ignore[arg-type]
    # T = X_1 + ... + X_nu with P(nu = k) = 2^-k
    counts = torch.empty(n, dtype=values.dtype, device=values.device).geometric_(0.5, generator=generator).long()
    owner = torch.repeat_interleave(torch.arange(n, device=values.device), counts)
    pieces = _divisors(law, torch.rand(len(owner), **kwargs))  # type: ignore[arg-type]
    return torch.zeros(n, dtype=values.dtype, device=values.device).index_add_(0, owner, pieces)


def _divisors(law: ExcursionLaw, p: Tensor) -> Tensor:
    """Draws of X; what lies beyond the grid, a probability of `1 - F_X` at its end, is drawn at its end."""
    assert law.divisor is not None
    cdf = law.divisor.detach()
    if law.discrete:
        k = torch.searchsorted(cdf, p).clamp(max=len(cdf) - 1)
        return k.to(p.dtype) * law.step
    return law.step * inverse(cdf, monotone_slopes(cdf), p.clamp(max=cdf[-1]))

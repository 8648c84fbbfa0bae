"""Exceedance tables: how often, how long, how far, level by level; and levels of data that are not Gaussian."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from torsor.persistence._check import check_level
from torsor.persistence._covariance import Covariance
from torsor.persistence._iia import iia
from torsor.persistence._runs import check_series


def exceedance_table(cov: Covariance, levels: list[float] | tuple[float, ...]) -> list[dict[str, Any]]:
    """Rate, duration and severity of the excursions above several levels.

    Arguments:
        cov: the covariance.
        levels: in standard deviations.

    Returns:
        One dictionary per level: `level`; `share` of the time above; `rate` of up-crossings per time (Rice); `mean`,
        `median` and `q95` of the duration; `severity`, the mean excess over the level while above; `exponent`;
        `certificate`: durations of an invalid law are those of the law without its negative densities.

    Raises:
        ValueError: what `iia` refuses.

    >>> from torsor.persistence import SquaredExponential, exceedance_table
    >>> for row in exceedance_table(SquaredExponential(), [0.0, 2.0]):
    ...     print(f"{row['level']:g} {row['rate']:.4f} {row['mean']:.3f} {row['q95']:.3f} {row['severity']:.3f}")
    0 0.1592 3.142 8.007 0.798
    2 0.0215 1.056 2.162 0.373
    """
    rows = []
    for level in map(check_level, levels):
        law = iia(cov, level=level, on_invalid="project")
        share = 0.5 * math.erfc(level / math.sqrt(2))
        density = math.exp(-0.5 * level**2) / math.sqrt(2 * math.pi)
        median, q95 = law.quantile(torch.tensor([0.5, 0.95], dtype=law.values.dtype)).tolist()
        rows.append(
            {
                "level": level,
                "share": share,
                "rate": math.exp(-0.5 * level**2) / (2 * math.pi * float(cov.unit.detach())),
                "mean": float(law.mean.detach()),
                "median": median,
                "q95": q95,
                "severity": density / share - level,
                "exponent": float(law.exponent),
                "certificate": law.certificate.status,
            }
        )
    return rows


def gaussian_level(x: Shaped[Tensor, "*batch n"], level: float) -> float:
    """The level of a Gaussian process that corresponds to a level of data which are a monotone map of one.

    The map is that of the empirical distribution, and only the level goes through it: sign autocorrelations and run
    lengths do not change under monotone maps.

    Arguments:
        x: data, `(*batch, n)`.
        level: in the unit of `x`, between the smallest and the largest value.

    Raises:
        ValueError: NaN, or a level outside the data.

    >>> import torch
    >>> from torsor.persistence import gaussian_level
    >>> x = torch.exp(torch.randn(100_000, generator=torch.Generator().manual_seed(0)))
    >>> print(f"{gaussian_level(x, 2.718):.1f}")
    1.0
    """
    from scipy.special import ndtri

    x = check_series(x, level)
    below = float((x < level).double().mean())
    if not 0 < below < 1:
        raise ValueError(f"level must be within x, {float(x.min()):g} to {float(x.max()):g}; got {level:g}")
    return float(ndtri(below))

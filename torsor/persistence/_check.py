"""Checks at the door of the room."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torsor.persistence._covariance import NOT_DIFFERENTIABLE, Covariance

_HIGHEST = 8.0  # beyond it, what the process does is rounding


def is_covariance(cov: object) -> None:
    """Nothing, or TypeError."""
    from torsor.persistence._sequence import SequenceCovariance

    if isinstance(cov, SequenceCovariance):
        raise ValueError(f"lambda2 of {type(cov).__name__} is infinite, {NOT_DIFFERENTIABLE}")
    if not isinstance(cov, Covariance):
        raise TypeError(f"cov must be a Covariance, such as FromFunction(r); got {type(cov).__name__}")


def check_covariance(cov: object, times: Tensor) -> None:
    """Nothing, or the reason why there is no excursion law for this covariance.

    Arguments:
        cov: what came.
        times: an even grid that starts at zero and resolves the process.
    """
    is_covariance(cov)
    assert isinstance(cov, Covariance)
    if cov.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"cov must be in float32 or float64; got {cov.dtype}")
    near = 1e-6 if cov.dtype == torch.float64 else 1e-5
    with torch.no_grad():
        second = float(cov.lambda2)
        if not 0 < second < math.inf:
            raise ValueError(f"lambda2 must be positive and finite; got {second:g}: {NOT_DIFFERENTIABLE}")
        r = cov(times)
        if not bool(r.isfinite().all()):
            raise ValueError(f"r must be finite; it is not at t={float(times[~r.isfinite()][0]):.6g}")
        if abs(float(r[0]) - 1) > near:
            raise ValueError(f"normalise the covariance; got r(0)={float(r[0]):.6g}")
        if float(r.abs().max()) > 1 + near:
            where = int(r.abs().argmax())
            raise ValueError(f"|r(t)| must be at most 1; got r({float(times[where]):.6g})={float(r[where]):.6g}")
        _check_not_periodic(cov, times, r)


def _check_not_periodic(cov: Covariance, times: Tensor, r: Tensor) -> None:
    """Look for a return to `|r| = 1` after half a mean interval, and closely wherever the grid comes near it."""
    late = times >= 0.5 * cov.mean_interval
    if not bool(late.any()) or float(r[late].abs().max()) < 0.9:
        return
    size = torch.where(late, r.abs(), 0.0)
    peaks = ((size[1:-1] > 0.9) & (size[1:-1] >= size[:-2]) & (size[1:-1] >= size[2:])).nonzero()[:8, 0] + 1
    step = float(times[1] - times[0])
    for t in times[peaks].tolist():
        centre, width = t, step
        for _ in range(4):
            close = centre + width * torch.linspace(-1, 1, 101, dtype=times.dtype, device=times.device)
            values = cov(close.clamp(min=0)).abs()
            centre, width = float(close[values.argmax()]), width / 25
            if 1 - float(values.max()) < 1e-7:
                raise ValueError(f"periodic covariance has no decaying E_0: |r| is 1 again at t={centre:.6g}")


def check_level(level: float) -> float:
    """The level as a float."""
    number = float(level)
    if not math.isfinite(number):
        raise ValueError(f"level must be finite, in standard deviations; got {number}")
    if abs(number) > _HIGHEST:
        raise ValueError(f"level must be within {_HIGHEST:g} standard deviations; got {number:g}")
    return number


def check_times(t: Tensor) -> None:
    """Nothing, or ValueError for times that are no vector of finite, non-negative numbers."""
    if not isinstance(t, Tensor) or not t.is_floating_point():
        raise TypeError(f"t must be a floating-point tensor; got {getattr(t, 'dtype', type(t).__name__)}")
    if t.ndim != 1 or not len(t):
        raise ValueError(f"t must be of shape (times,), not empty; got {tuple(t.shape)}")
    if not bool(t.isfinite().all()) or float(t.min()) < 0:
        raise ValueError(f"t must be finite and non-negative; its smallest is {float(t.min()):g}")


def check_choice(value: object, what: str, choices: tuple[str, ...]) -> None:
    """Nothing, or ValueError that lists the choices."""
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}; got {value!r}")

"""Whether what the derivative says about a function is so: at finite elements, twice over, and at enough points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TIME = 0.5
"""How far along each exact generator, of unit norm, a function is moved."""
LEEWAY = 10.0
"""An exact symmetry may fail by so many times the tolerance there."""


def check_repeats(out: Tensor, again: Tensor) -> None:
    """Refuse a function whose values differ from call to call."""
    change, size = float((again.detach() - out).double().norm()), float(out.double().norm())
    if change > 1e4 * torch.finfo(out.dtype).eps * size:  # not if one of them is NaN, which is another's to say
        raise ValueError(
            f"f must give the same values each time; they changed by {change / size if size else change:.2g}, relative:"
            " dropout or batch statistics (call .eval()), other randomness, or a state"
        )


def check_seen(moved: Tensor, onto: Tensor, anywhere: Callable[[], Tensor]) -> None:
    """Refuse points in a plane or on a line: matrices that move neither them nor their values pass for symmetries.

    Arguments:
        moved, onto: the derivative of points and values along each matrix, (numbers, directions) each.
        anywhere: that of points and values that are not special, (numbers, directions).
    """
    if not bool(moved.isfinite().all()) or not bool(onto.isfinite().all()):
        return  # said with the derivatives of f
    slack = 10 * torch.finfo(moved.dtype).eps ** 0.5
    hidden = _unmoved(torch.cat([p.double() / p.double().norm().clamp(min=1e-300) for p in (moved, onto)]), slack)
    hidden = hidden and hidden - _unmoved(anywhere().double(), slack)
    if hidden > 0:
        raise ValueError(
            f"X must span the space: {hidden} of {moved.shape[1]} directions move none of the points and none of the"
            " values there, and would pass for symmetries; take points outside of the plane they lie in, or a smaller d"
        )


def check_finite_elements(change: Callable[[Tensor], Tensor], generators: Tensor, tol: float) -> None:
    """Refuse a function that exact generators leave as it is to first order and not at finite elements.

    Arguments:
        change: `(f(g x) - g f(x)) / |f|` on one axis, as a function of a matrix g.
        generators: the exact ones, (k, m, m).
        tol: the largest level of an exact one.
    """
    for A in generators:
        for time in (TIME, -TIME):
            left = change(torch.matrix_exp(time * A))
            size = float(left[left.isfinite()].norm())  # where g x leaves the domain nothing can be told
            if size > LEEWAY * tol:
                raise ValueError(
                    "f must be what its derivative says: along a generator that leaves it as it is to first order it"
                    f" changes by {size:.2g}, relative; it has steps (sign, round, argmax), parts that nothing is"
                    " differentiated through (detach, no_grad), or points that hardly leave a plane"
                )


def _unmoved(rows: Tensor, slack: float) -> int:
    """How many directions the rows (numbers, directions) do not see."""
    values = torch.linalg.svdvals(torch.linalg.qr(rows, mode="r")[1])
    return rows.shape[1] - int((values > slack * values[0]).sum())

"""Persistency exponents: the decay rate of the tail of an excursion law, from one integral."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from torsor.persistence._check import check_choice, check_covariance, check_level, is_covariance
from torsor.persistence._covariance import Covariance
from torsor.persistence._slepian import excess

Side = Literal["above", "below"]
_NODES = 16  # of Gauss and Legendre, per panel
_PANEL = 1.0  # in units of lambda2^-1/2
_GRADED = 60  # panels that shrink by halves towards zero, for E_0 that start like a root
_DECAYS = {torch.float32: 60.0, torch.float64: 100.0}  # decay times that the quadrature covers
_VANISHED = 1e-100
_FLOOR = 1e-12  # of an E_0 that may be rounding: nothing is read off what is smaller
_LONGEST = 4096.0  # in units of lambda2^-1/2, where the decay rate is not known


@dataclass(frozen=True, eq=False)
class Exponent:
    """The rate `theta` in `P(T > t) ~ C exp(-theta t)`.

    Arguments:
        value: a scalar tensor in 1/time, differentiable by the parameters of the covariance; 0 where there is none.
        kind: "exponential", or "none".
        residual: how far the equation that defines it is from holding.
        reason: why there is none.
    """

    value: Tensor
    kind: Literal["exponential", "none"]
    residual: float
    reason: str = ""

    def __float__(self) -> float:
        return float(self.value.detach())


def persistency_exponent(
    cov: Covariance, level: float = 0.0, *, side: Side = "above", crossing_weight: float = 0.0
) -> Exponent:
    """The persistency exponent of the independent interval approximation: the smallest root of an integral equation.

    At level 0 it is `theta int_0^inf E_0(t) exp(theta t) dt = 1`. The quadrature is Gauss-Legendre in float64 with an
    exponential tail, and reaches 1e-10 where the covariance is known in closed form.

    Arguments:
        cov: the covariance.
        level: in standard deviations.
        side: excursions above or below the level.
        crossing_weight: `p` in [-1, 1): the exponent of `E p^N(t)`, where `N(t)` counts zero crossings (partial
            survival); 0 is persistency. Level 0 only.

    Raises:
        ValueError: what has no excursion law at all (see `iia`), or `crossing_weight` outside (-1, 1].

    Source: Bengtsson, Podgórski 2024 (arXiv 2401.01805); levels: Bengtsson 2024 (arXiv 2410.06000); partial survival:
    Majumdar, Bray 1998 (arXiv cond-mat/9803123).

    >>> from torsor.persistence import SechDiffusion, persistency_exponent
    >>> theta = persistency_exponent(SechDiffusion(1))
    >>> print(f"{float(theta.value):.10f}", theta.kind)
    0.1203279788 exponential
    """
    level = check_level(level)
    check_choice(side, "side", ("above", "below"))
    check_covariance(cov, checking_grid(cov))
    if not -1 < crossing_weight <= 1:
        raise ValueError(f"crossing_weight must be above -1 and at most 1; got {crossing_weight}")
    if crossing_weight and level:
        raise ValueError(f"crossing_weight is for level 0; got level {level:g}")
    return exponent(cov, level, side, (1 - crossing_weight) / (1 + crossing_weight))


def checking_grid(cov: Covariance) -> Tensor:
    """Times on which a covariance is checked before anything is computed."""
    is_covariance(cov)
    last = min(60 * cov.mean_interval, cov.support)
    return torch.linspace(0, last, 4097, dtype=cov.dtype, device=cov.lambda2.device)


def exponent(cov: Covariance, level: float, side: Side, target: float = 1.0) -> Exponent:
    """The same, unchecked; the equation is `theta int h(t) exp(theta t) dt = target` at level 0."""
    zero = torch.zeros((), dtype=cov.dtype)
    if cov.decay_rate == 0:
        return Exponent(zero, "none", 0.0, "the covariance decays slower than any exponential, and so does the law")
    if target == 0:
        return Exponent(zero, "exponential", 0.0)
    t, weights = _quadrature(cov, level)
    plus, minus = excess(cov, t, level)
    # by parts: int E_minus' exp(theta t) dt = 2 is theta int (c - E_minus) exp(theta t) dt = 1 - c, and so below
    # 1 -+ c is erfc, without cancellation
    h, sign = (-minus, -1) if side == "above" else (plus, 1)
    right = target * math.erfc(sign * level / math.sqrt(2))

    def equation(theta: float | Tensor, h: Tensor) -> Tensor:
        return theta * ((weights * h * torch.exp(theta * t)).sum() + _tail(t, h, theta, rate)) - right

    fixed = h.detach()
    rate = _decay(t, fixed, 1e-300 if cov.decay_rate is not None else _FLOOR)
    limit = rate if cov.decay_rate is None else min(rate, cov.decay_rate)
    increasing = bool((fixed >= 0).all())
    root = _smallest_root(lambda theta: float(equation(theta, fixed)), limit, cov.mean_interval, increasing)
    if root is not None:
        known = float(fixed[-1].abs()) * math.exp(root * float(t[-1])) < 1e-6
        known |= cov.decay_rate is not None and math.isfinite(rate)  # the tail is a formula
        guessed = cov.decay_rate is None and root * float(_tail(t, fixed, root, rate)) > 1e-3
    if root is None or not known or guessed:
        return Exponent(zero, "none", math.inf, _why_none(root, cov))
    value = torch.tensor(root, dtype=cov.dtype, device=t.device)
    if h.requires_grad:
        # one step of Newton from the root: it changes nothing but the gradient (implicit differentiation)
        free = value.clone().requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(equation(free, fixed), free)[0]
        value = value - (equation(value, h) - equation(value, h).detach()) / slope
    return Exponent(value, "exponential", abs(float(equation(root, fixed))))


def _smallest_root(
    equation: Callable[[float], float], limit: float, mean_interval: float, increasing: bool = False
) -> float | None:
    """The first change of sign below the decay rate: a valid law at level 0 has it below 2 log 2 / mean."""
    top = 1 - 1e-9
    upper = min(limit * top, 4 / mean_interval)
    while True:
        thetas = np.linspace(0, upper, 2 if increasing else 65)
        values = [equation(theta) for theta in thetas]
        for low, high, before, after in zip(thetas, thetas[1:], values, values[1:], strict=False):
            if before < 0 <= after:
                rtol = 4 * float(np.finfo(float).eps)
                return float(brentq(equation, low, high, xtol=1e-300, rtol=rtol, maxiter=1000))  # type: ignore[arg-type]
        if upper >= limit * top or upper * mean_interval > 1e3 or not math.isfinite(values[-1]):
            return None
        upper = min(limit * top, 2 * upper)


def _why_none(root: float | None, cov: Covariance) -> str:
    if root is not None:
        return "E_0 is not known far enough: it has not decayed where its quadrature ends"
    if cov.decay_rate is None:
        return "the integral does not reach its target before E_0 exp(theta t) stops decaying"
    return "the integral stays below its target up to the decay rate of E_0"


def _quadrature(cov: Covariance, level: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights on panels that are fine at zero, up to where nothing is left."""
    unit = float(cov.unit.detach())
    last = _end(cov, level, unit)
    graded = _PANEL * unit * 0.5 ** np.arange(_GRADED, 0, -1.0)
    regular = _PANEL * unit * np.arange(1, math.ceil(last / (_PANEL * unit)))
    edges = np.concatenate([[0.0], graded[graded < last], regular, [last]])
    x, w = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    t, weights = (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()
    return tuple(torch.as_tensor(v, dtype=cov.dtype, device=cov.lambda2.device) for v in (t, weights))  # type: ignore[return-value]


def _end(cov: Covariance, level: float, unit: float) -> float:
    """Where `E_0` has vanished, or is lost in rounding."""
    if cov.decay_rate is not None and math.isfinite(cov.decay_rate):
        return min(cov.support, max(_DECAYS[cov.dtype] / cov.decay_rate, 8 * unit))
    times, sizes = [], []
    last, furthest = min(8 * unit, cov.support), min(cov.support, _LONGEST * unit)
    with torch.no_grad():
        while True:
            t = torch.linspace(last / 2 if times else 0, last, 65, dtype=cov.dtype, device=cov.lambda2.device)[1:]
            plus, minus = excess(cov, t, level)
            times.append(t)
            sizes.append(torch.maximum(plus.abs(), minus.abs()))
            floor = float(sizes[-1].max())
            stalls = len(sizes) > 1 and floor < _FLOOR and floor > 0.1 * float(sizes[-2].max())
            if floor < _VANISHED or stalls or last >= furthest:
                break
            last = min(2 * last, furthest)
    envelope = torch.cat(sizes).flip(0).cummax(0).values.flip(0)
    small = (envelope <= (10 * floor if stalls else _VANISHED)).nonzero()
    return float(torch.cat(times)[small[0, 0]]) if len(small) else last


def _decay(t: Tensor, h: Tensor, floor: float) -> float:
    """The rate at which `h` decays at the end of the grid; inf where it has vanished or oscillates."""
    late = h[-_NODES:]
    if not bool((late > 0).all()) or float(late[-1]) < floor:
        return math.inf
    return float((late[0].log() - late[-1].log()) / (t[-1] - t[-_NODES]))


def _tail(t: Tensor, h: Tensor, theta: float | Tensor, rate: float) -> Tensor | float:
    """The integral of `h exp(theta t)` beyond the grid."""
    if not math.isfinite(rate) or rate <= (float(theta.detach()) if isinstance(theta, Tensor) else theta):
        return 0.0
    return h[-1] * torch.exp(theta * t[-1]) / (rate - theta)


def exponent_of_masses(t: Tensor, masses: Tensor) -> Exponent:
    """The exponent of a kernel with these masses at even times: the smallest root of `sum masses exp(theta t) = 2`.

    Beyond the grid the masses go on as a geometric sequence, where they decrease at its end.
    """
    t, masses = t.detach().double(), masses.detach().double()
    step = float(t[1] - t[0]) if len(t) > 1 else float(t[0])
    before, last = float(masses[-2]) if len(masses) > 1 else 0.0, float(masses[-1])
    ratio = last / before if 0 < last < before else 0.0

    def equation(theta: float) -> float:
        rest = ratio * math.exp(theta * step)
        tail = last * math.exp(theta * float(t[-1])) * rest / (1 - rest) if 0 < rest < 1 else 0.0
        return float((masses * torch.exp(theta * t)).sum()) + tail - 2

    limit = -math.log(ratio) / step if ratio else 30 / step
    increasing = bool((masses >= 0).all())
    root = _smallest_root(equation, limit, float((masses * t).sum().abs()) + step, increasing)
    zero = torch.zeros((), dtype=t.dtype)
    if root is None:
        return Exponent(zero, "none", math.inf, "the kernel has no exponential moment of 2 on its grid")
    return Exponent(torch.tensor(root, dtype=t.dtype), "exponential", abs(equation(root)))

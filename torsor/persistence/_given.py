"""Covariances that a user brings: a function, samples, a spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._covariance import NOT_DIFFERENTIABLE, Covariance, positive

_COARSE = 0.02  # lambda2 of samples that changes by more when every second one is left out is not resolved
_APART = 0.1  # relative difference of a lambda2 that is given and the one that is read off
_FLAT = 0.5  # of the slope that is left at zero, if there is a lambda2
_PROBE = 1e-4  # 1 - r at the time from which the behaviour at zero is read off


class FromFunction(Covariance):
    """A covariance that is any differentiable function of torch.

    Arguments:
        r: the function, of times `t >= 0`; `r(0) = 1`.
        lambda2: `-r''(0)` in 1/time^2; by default read off close to zero, with its gradient.
        decay_rate: of `E_0`, if it is known, in 1/time.

    Raises:
        ValueError: `r(0)` is not 1, the process has no derivative, or `lambda2` is not that of `r`.

    >>> import torch
    >>> from torsor.persistence import FromFunction, persistency_exponent
    >>> cov = FromFunction(lambda t: 1 / torch.cosh(t / 2))
    >>> print(f"{float(cov.lambda2):.6f} {float(persistency_exponent(cov).value):.6f}")
    0.250000 0.186211
    """

    def __init__(
        self,
        r: Callable[[Tensor], Tensor],
        lambda2: float | Tensor | None = None,
        *,
        decay_rate: float | None = None,
    ):
        super().__init__()
        if not callable(r):
            raise TypeError(f"r must be a function of t; got {type(r).__name__}")
        self.r, self.decay_rate = r, decay_rate
        start = float(self._values(torch.zeros(1, dtype=torch.float64)).detach())
        if not abs(start - 1) <= 1e-6:
            raise ValueError(f"normalise the covariance; got r(0)={start:.6g}")
        second, power = _at_zero(self)
        if lambda2 is not None:
            positive(lambda2, "lambda2")
            if not abs(float(lambda2) - float(second)) <= _APART * float(second):
                raise ValueError(
                    f"lambda2 must be that of r, which starts with {float(second):.4g}; got {float(lambda2):g}"
                )
            second = lambda2
        self.hold(lambda2=second)
        self.order = power
        self.series_below = 1e-2 if power > 1.5 else 1e-3

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self._values(t)

    def _values(self, t: Tensor) -> Tensor:
        values = self.r(t)
        if not isinstance(values, Tensor) or values.shape != t.shape:
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"r must give one number per time, {tuple(t.shape)}; got {came}")
        return values


def _at_zero(cov: Covariance) -> tuple[Tensor, float]:
    """`lambda2` and the order of `1 - E_0`, from `-r'(t) / t = lambda2 - C t^p` at four times close to zero."""
    t = 1.0
    for _ in range(400):
        left = float(cov.one_minus_r(torch.tensor([t], dtype=torch.float64)).detach())
        if not math.isfinite(left):
            raise ValueError(f"r must be finite; got r({t:g})={1 - left}")
        if _PROBE / 4 < left < 4 * _PROBE:
            break
        t *= 0.7 if left > _PROBE else 1.4
    else:
        raise ValueError("r must fall continuously from r(0)=1; it is constant, or jumps at zero")
    at = t * torch.tensor([1.0, 0.5, 0.25, 0.125], dtype=torch.float64)
    slopes = -cov.derivative(at) / at
    far, middle, close, closest = slopes.tolist()
    if not all(map(math.isfinite, (far, middle, close, closest))) or close > 1.5 * far:
        raise ValueError(f"lambda2 is infinite, {NOT_DIFFERENTIABLE}")
    if not close > 0:
        raise ValueError(f"lambda2 must be positive; got {close:g} close to t=0")
    if closest < _FLAT * far:
        raise ValueError("lambda2 must be positive: r is flatter at t=0 than any covariance")
    first, second = middle - far, close - middle
    power = 2.0 if abs(second) < 1e-9 * close or first / second <= 1 else min(2.0, math.log2(first / second))
    if abs(power - round(power)) < 0.05:  # a power series in t: the cubic through the four, at zero
        return slopes @ slopes.new_tensor([-1, 14, -56, 64]) / 21, float(round(power))
    return slopes[2] + (slopes[2] - slopes[1]) / (2**power - 1), power


class Tabulated(Covariance):
    """A covariance through samples: a spline of degree 5 that is flat at zero and has the right curvature there.

    Beyond the last sample `r` goes on as the exponential that continues value and slope, if it decays there.

    Arguments:
        t: times from 0 on, increasing, `(n,)`.
        r: the covariance there, `r[0] = 1`.
        lambda2: `-r''(0)`; by default from the samples, which must be close enough to show it.

    Raises:
        ValueError: shapes, NaN, times that do not increase from 0, `r[0]` other than 1, `|r| > 1`, samples too far
            apart, or a process without derivative.

    >>> import torch
    >>> from torsor.persistence import Tabulated, persistency_exponent
    >>> t = torch.linspace(0, 12, 241, dtype=torch.float64)
    >>> print(f"{float(persistency_exponent(Tabulated(t, torch.exp(-t**2 / 2))).value):.5f}")
    0.41150
    """

    knots: Tensor
    pieces: Tensor
    order = 1.0
    series_below = 1e-6

    def __init__(self, t: Float[Tensor, " n"], r: Float[Tensor, " n"], lambda2: float | None = None):
        from scipy.interpolate import PPoly, make_interp_spline

        super().__init__()
        times, values = (np.asarray(x.detach().cpu(), dtype=float) for x in (t, r))
        _check_samples(times, values)
        if lambda2 is None:
            second = _lambda2_of_samples(times, (1 - values[1:]) / times[1:] ** 2)
        else:
            positive(lambda2, "lambda2")
            second = float(lambda2)
        ends = ([(1, 0.0), (2, -second)], [(3, 0.0), (4, 0.0)])
        pieces = PPoly.from_spline(make_interp_spline(times, values, 5, bc_type=ends))
        real = np.diff(pieces.x) > 0  # end knots are repeated
        self.register_buffer("knots", torch.as_tensor(pieces.x[:-1][real].copy()))
        self.register_buffer("pieces", torch.as_tensor(pieces.c[:, real].copy()))
        self.last = float(times[-1])
        self.hold(lambda2=second)
        last = torch.as_tensor(times[-1:])
        end, slope = float(self._inside(last)[0]), float(self._slope_inside(last)[0])
        self.tail_rate = -slope / end if end > 1e-12 and slope < 0 else math.inf
        self.decay_rate = self.tail_rate if math.isfinite(self.tail_rate) else None
        self.support = float(times[-1]) if self.decay_rate is None else math.inf

    def _piece(self, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The place within its piece, and the coefficients, lowest first."""
        i = (torch.searchsorted(self.knots, t.detach().contiguous(), right=True) - 1).clamp(min=0)
        return t - self.knots[i], list(self.pieces[:, i].flip(0))

    def _inside(self, t: Tensor) -> Tensor:
        x, c = self._piece(t)
        return _polynomial(c, x)

    def _slope_inside(self, t: Tensor) -> Tensor:
        x, c = self._piece(t)
        return _polynomial([k * c[k] for k in range(1, 6)], x)

    def _beyond(self, t: Tensor) -> Tensor:
        return torch.exp(-self.tail_rate * (t - self.last).clamp(min=1e-30))

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        end = t.new_tensor([self.last])
        return torch.where(t <= end, self._inside(t.clamp(max=self.last)), self._inside(end) * self._beyond(t))

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        end, inside = t.new_tensor([self.last]), t.clamp(max=self.last)
        return torch.where(t <= end, self._slope_inside(inside), self._slope_inside(end) * self._beyond(t))

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        x, c = self._piece(t.clamp(max=self.last))
        flat = torch.zeros_like(x)
        first = -_polynomial([flat, flat, *c[2:]], x)  # r(0) = 1 and r'(0) = 0, without their rounding
        return torch.where(t < self.knots[1], first, 1 - self(t))


def _polynomial(c: list[Tensor], x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for coefficient in reversed(c):
        total = total * x + coefficient
    return total


def _check_samples(t: np.ndarray, r: np.ndarray) -> None:
    if t.ndim != 1 or t.shape != r.shape or len(t) < 8:
        raise ValueError(f"t and r must be of one shape (n,) with n >= 8; got {t.shape} and {r.shape}")
    if not (np.isfinite(t).all() and np.isfinite(r).all()):
        raise ValueError("t and r must be finite")
    if t[0] != 0 or not (np.diff(t) > 0).all():
        raise ValueError(f"t must increase from 0; got t[0]={t[0]:g}")
    if abs(r[0] - 1) > 1e-6:
        raise ValueError(f"normalise the covariance; got r(0)={r[0]:.6g}")
    if np.abs(r).max() > 1 + 1e-6:
        raise ValueError(f"|r| must be at most 1; got {np.abs(r).max():.6g}")


def _lambda2_of_samples(t: np.ndarray, h: np.ndarray) -> float:
    """`2 h(0)`, by the polynomial through the first samples, if every second of them says the same."""

    def at_zero(places: np.ndarray) -> float:
        nodes, values = t[1:][places], h[places]
        total = 0.0
        for i, x in enumerate(nodes):  # Lagrange, at zero
            others = np.delete(nodes, i)
            total += values[i] * np.prod(others / (others - x))
        return 2 * total

    fine, coarse = at_zero(np.array([0, 1, 2])), at_zero(np.array([1, 3, 5]))
    if h[0] > 1.3 * h[1]:
        raise ValueError(f"t must be finer near 0 to show lambda2, if there is one; if not, {NOT_DIFFERENTIABLE}")
    if not fine > 0 or abs(coarse - fine) > _COARSE * fine:
        raise ValueError(
            f"t must be finer near 0 to show lambda2 (got {fine:.4g}, coarser {coarse:.4g}); or give lambda2"
        )
    return fine


class FromSpectrum(Covariance):
    """The covariance of a one-sided spectral density, `r(t) = sum_k w_k cos(omega_k t)` with trapezoidal weights.

    A sum over frequencies repeats itself after `2 pi / domega`; half of that is the `support`, and a law that needs
    more time asks for finer frequencies.

    Arguments:
        omega: angular frequencies in rad/time, non-negative, increasing, `(n,)`.
        S: the density there, non-negative, in any unit; it is normalised.

    Raises:
        ValueError: shapes, NaN, negative densities, frequencies that do not increase, a spectrum of zeros or one line.

    >>> import torch
    >>> from torsor.persistence import FromSpectrum
    >>> omega = torch.linspace(0, 12, 400, dtype=torch.float64)
    >>> cov = FromSpectrum(omega, torch.exp(-omega**2 / 2))
    >>> print(f"{float(cov.lambda2):.6f}", cov(torch.tensor([1.0], dtype=torch.float64)))
    1.000000 tensor([0.6065], dtype=torch.float64)
    """

    omega: Tensor
    weights: Tensor
    series_below = 1e-7

    def __init__(self, omega: Float[Tensor, " n"], S: Float[Tensor, " n"]):
        super().__init__()
        if omega.ndim != 1 or omega.shape != S.shape or len(omega) < 8:
            raise ValueError(
                f"omega and S must be of one shape (n,) with n >= 8; got {tuple(omega.shape)} and {tuple(S.shape)}"
            )
        if not bool(omega.isfinite().all() and S.isfinite().all()):
            raise ValueError("omega and S must be finite")
        if bool((omega < 0).any()) or not bool((omega.diff() > 0).all()):
            raise ValueError("omega must be non-negative and increase")
        if bool((S < 0).any()) or int((S.detach() > 0).sum()) < 3:
            raise ValueError("S must be non-negative, and positive at three frequencies at least")
        gaps = omega.diff()
        mass = S * 0.5 * (torch.nn.functional.pad(gaps, (1, 0)) + torch.nn.functional.pad(gaps, (0, 1)))
        self.hold(omega=omega, weights=mass / mass.sum())
        self.support = math.pi / float(gaps.detach().max())

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return (self.weights * self.omega**2).sum()

    @property
    def lambda4(self) -> Tensor:  # type: ignore[override]
        return (self.weights * self.omega**4).sum()

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return torch.cos(t[..., None] * self.omega) @ self.weights

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -torch.sin(t[..., None] * self.omega) @ (self.weights * self.omega)

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return 2 * torch.sin(0.5 * t[..., None] * self.omega) ** 2 @ self.weights

"""The Matern covariances."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._families import _WithLength

_TERMS = 40  # of the power series below a = 2
_NEAR = 2.0
_ROUGHEST_BESSEL, _SMOOTHEST = 20, 80.5  # beyond them powers and gamma functions overflow


class Matern(_WithLength):
    """`r(t) = 2^(1-nu) / Gamma(nu) a^nu K_nu(a)` with `a = sqrt(2 nu) t / length`, differentiable for `nu > 1`.

    Half-integer `nu` are polynomials times an exponential; others use the Bessel function of SciPy, whose derivatives
    by time and length are supplied. `E_0` is proved to decrease for `nu = 3/2` only; elsewhere its certificate is a
    numerical one.

    Arguments:
        nu: smoothness, above 1; at most 20, or a half-integer up to 80.5.
        length: in units of time.

    Raises:
        ValueError: `nu` of 1 or below, where the process has no derivative, or too large.

    >>> from torsor.persistence import Matern, persistency_exponent
    >>> print(f"{float(persistency_exponent(Matern(2.5)).value):.10f}")
    0.4897662994
    """

    def __init__(self, nu: float, length: float | Tensor = 1.0):
        super().__init__(length)
        if not 1 < nu < math.inf:
            raise ValueError(f"nu must be above 1 for a differentiable process; got {nu:g}: use iia_discrete")
        if (nu > _ROUGHEST_BESSEL and not (nu - 0.5).is_integer()) or nu > _SMOOTHEST:
            raise ValueError(
                f"nu must be at most {_ROUGHEST_BESSEL}, or a half-integer up to {_SMOOTHEST}; got {nu:g}: such a"
                " process hardly differs from SquaredExponential"
            )
        self.nu = float(nu)
        self.order = min(2.0, 2 * self.nu - 2)
        self.monotone_E0 = self.nu == 1.5  # E_0^-2 = (exp(2a) - (1 + a)^2) / a^2 has positive coefficients
        self.series_below = 1e-3 if self.nu.is_integer() else 1e-7

    @property
    def decay_rate(self) -> float:  # type: ignore[override]
        return math.sqrt(2 * self.nu) / float(self.length.detach())

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self.nu / (self.nu - 1) * self.length**-2

    @property
    def lambda4(self) -> Tensor | float:  # type: ignore[override]
        nu = self.nu
        return math.inf if nu <= 2 else 3 * nu**2 / ((nu - 1) * (nu - 2)) * self.length**-4

    @property
    def c3(self) -> Tensor | float:  # type: ignore[override]
        if self.nu == 1.5:
            return math.sqrt(3) * self.length**-3
        return math.inf if self.nu < 1.5 else 0.0

    def _a(self, t: Tensor) -> Tensor:
        return math.sqrt(2 * self.nu) * t / self.length

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return _matern(self.nu, self._a(t))

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        # d/da r_nu = -a r_(nu-1) / (2 (nu - 1))
        a = self._a(t)
        return -a * _matern(self.nu - 1, a) / (2 * (self.nu - 1)) * math.sqrt(2 * self.nu) / self.length

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        a = self._a(t)
        if self.nu.is_integer():
            return 1 - self(t)
        return torch.where(a < _NEAR, _one_minus_near(self.nu, a.clamp(max=_NEAR)), 1 - self(t))


def _matern(nu: float, a: Tensor) -> Tensor:
    if (nu - 0.5).is_integer():
        return torch.exp(-a) * _horner(_polynomial(round(nu - 0.5)), a)
    tiny = a.double().clamp(min=1e-12)  # the factors would leave the range of float32
    return (2 ** (1 - nu) / math.gamma(nu) * tiny**nu * _BesselK.apply(tiny, nu)).to(a.dtype)  # type: ignore[operator]


def _polynomial(p: int) -> list[float]:
    """The coefficients of `exp(a) r(a)` for `nu = p + 1/2`, lowest first."""
    f = math.factorial
    return [2**k * f(p) * f(2 * p - k) / (f(2 * p) * f(p - k) * f(k)) for k in range(p + 1)]


def _horner(coefficients: list[float], a: Tensor) -> Tensor:
    total = torch.zeros_like(a)
    for c in reversed(coefficients):
        total = total * a + c
    return total


def _one_minus_near(nu: float, a: Tensor) -> Tensor:
    """`1 - r` for `a <= 2` by power series, so that nothing cancels."""
    if (nu - 0.5).is_integer():
        p = _polynomial(round(nu - 0.5))
        rest = [1 / math.factorial(k) - (p[k] if k < len(p) else 0.0) for k in range(_TERMS)]
        return torch.exp(-a) * _horner([0.0, 0.0, *rest[2:]], a)
    # a^nu K_nu from I_nu and I_-nu (Abramowitz and Stegun 9.6.2, 9.6.10)
    even, odd = [1.0], [1.0]
    for k in range(1, _TERMS // 2):
        even.append(even[-1] / (k * (k - nu)))
        odd.append(odd[-1] / (k * (k + nu)))
    z = (a / 2) ** 2
    return -_horner([0.0, *even[1:]], z) - math.gamma(-nu) / math.gamma(nu) * z**nu * _horner(odd, z)


class _BesselK(torch.autograd.Function):
    """`K_nu(a)` of SciPy, differentiable by `a` any number of times."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, nu: float) -> Tensor:
        from scipy.special import kv

        ctx.save_for_backward(a)
        ctx.nu = nu
        return torch.as_tensor(kv(nu, a.detach().double().cpu().numpy()), dtype=a.dtype, device=a.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (a,) = ctx.saved_tensors
        slope = _BesselK.apply(a, ctx.nu - 1) + _BesselK.apply(a, ctx.nu + 1)  # type: ignore[operator]
        return -0.5 * grad * slope, None

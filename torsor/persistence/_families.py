"""Covariances in closed form, each with its slope and with `1 - r` free of cancellation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._covariance import NOT_DIFFERENTIABLE, Covariance, positive

_EXACT = 1e-9  # where `1 - r` has no cancellation, only t = 0 itself needs the leading order
_NEARLY = 1e-4  # where its linear terms cancel


class _WithLength(Covariance):
    """A family with one length of time."""

    length: Tensor
    series_below = _EXACT

    def __init__(self, length: float | Tensor = 1.0):
        super().__init__()
        positive(length, "length")
        self.hold(length=length)

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self.length**-2


class SquaredExponential(_WithLength):
    """`r(t) = exp(-t^2 / (2 length^2))`, also called Gaussian or Bargmann-Fock.

    Arguments:
        length: in units of time.

    >>> from torsor.persistence import SquaredExponential, persistency_exponent
    >>> print(f"{float(persistency_exponent(SquaredExponential()).value):.10f}")
    0.4114971540
    """

    decay_rate = math.inf
    monotone_E0 = True  # E_0 = t / sqrt(exp(t^2) - 1)

    @property
    def lambda4(self) -> Tensor:  # type: ignore[override]
        return 3 * self.length**-4

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return torch.exp(-0.5 * (t / self.length) ** 2)

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -t / self.length**2 * self(t)

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -torch.expm1(-0.5 * (t / self.length) ** 2)


class RationalQuadratic(_WithLength):
    """`r(t) = (1 + t^2 / (2 alpha length^2))^-alpha`: a power law, so its laws have a power tail and no exponent.

    Arguments:
        alpha: positive.
        length: in units of time.

    >>> from torsor.persistence import RationalQuadratic, persistency_exponent
    >>> persistency_exponent(RationalQuadratic(1.0)).kind
    'none'
    """

    alpha: Tensor
    decay_rate = 0.0
    monotone_E0 = True  # E_0^-2 is y^2 times the chord slope of y^(2 alpha), y = 1 + t^2 / (2 alpha)

    def __init__(self, alpha: float | Tensor, length: float | Tensor = 1.0):
        super().__init__(length)
        positive(alpha, "alpha")
        self.hold(alpha=alpha)

    @property
    def lambda4(self) -> Tensor:  # type: ignore[override]
        return 3 * (1 + 1 / self.alpha) * self.length**-4

    def _log(self, t: Tensor) -> Tensor:
        return torch.log1p((t / self.length) ** 2 / (2 * self.alpha))

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return torch.exp(-self.alpha * self._log(t))

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -t / self.length**2 * torch.exp(-(self.alpha + 1) * self._log(t))

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -torch.expm1(-self.alpha * self._log(t))


class SechDiffusion(Covariance):
    """Diffusion from random initial values in `d` dimensions, in logarithmic time: `r(t) = sech(t/2)^(d/2)`.

    Arguments:
        d: the dimension, positive; it need not be whole.

    >>> from torsor.persistence import SechDiffusion, persistency_exponent
    >>> print(f"{float(persistency_exponent(SechDiffusion(2)).value):.10f}")  # exact: 3/16 = 0.1875
    0.1862107130
    """

    d: Tensor
    monotone_E0 = True  # E_0^-2 is the chord slope of y^(d/2 + 1) - y, y = cosh(t/2)^2
    series_below = _EXACT

    def __init__(self, d: float | Tensor):
        super().__init__()
        positive(d, "d")
        self.hold(d=float(d) if not isinstance(d, Tensor) else d)

    @property
    def decay_rate(self) -> float:  # type: ignore[override]
        return float(self.d.detach()) / 4

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self.d / 8

    @property
    def lambda4(self) -> Tensor:  # type: ignore[override]
        return self.d / 16 + 3 * self.d**2 / 64

    def _log(self, t: Tensor) -> Tensor:
        far = t / 2 + torch.log1p(torch.exp(-t)) - math.log(2)
        near = 0.5 * torch.log1p(torch.sinh(t.clamp(max=2) / 2) ** 2)
        return -self.d / 2 * torch.where(t < 2, near, far)

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return torch.exp(self._log(t))

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -self.d / 4 * torch.tanh(t / 2) * self(t)

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -torch.expm1(self._log(t))


class RandomAcceleration(_WithLength):
    """The integral of Brownian motion in logarithmic time: `r(t) = 3/2 exp(-t/2) - 1/2 exp(-3t/2)`.

    Arguments:
        length: the unit of time.

    >>> from torsor.persistence import RandomAcceleration, persistency_exponent
    >>> print(f"{float(persistency_exponent(RandomAcceleration()).value):.10f}")  # exact: 1/4
    0.2646685711
    """

    order = 1.0
    lambda4 = math.inf
    monotone_E0 = True  # E_0^2 = 3 x / (4 - x), x = exp(-t)

    @property
    def decay_rate(self) -> float:  # type: ignore[override]
        return 0.5 / float(self.length.detach())

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return 0.75 * self.length**-2

    @property
    def c3(self) -> Tensor:  # type: ignore[override]
        return 0.25 * self.length**-3

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        x = torch.exp(-0.5 * t / self.length)
        return 1.5 * x - 0.5 * x**3

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        s = t / self.length
        return 0.75 * torch.exp(-0.5 * s) * torch.expm1(-s) / self.length

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        y = -torch.expm1(-0.5 * t / self.length)
        return 0.5 * y**2 * (3 - y)


class DampedOscillator(_WithLength):
    """`r(t) = exp(-s) (cos(w s) + sin(w s) / w)` with `s = t / length`; its `E_0` oscillates.

    Arguments:
        w: frequency over damping rate, positive.
        length: the time of damping.

    >>> from torsor.persistence import DampedOscillator, iia
    >>> iia(DampedOscillator(2.0)).certificate.status
    'numerical'
    """

    w: Tensor
    order = 1.0
    lambda4 = math.inf
    series_below = _NEARLY

    def __init__(self, w: float | Tensor, length: float | Tensor = 1.0):
        super().__init__(length)
        positive(w, "w")
        self.hold(w=w)

    @property
    def decay_rate(self) -> float:  # type: ignore[override]
        return 1 / float(self.length.detach())

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return (1 + self.w**2) * self.length**-2

    @property
    def c3(self) -> Tensor:  # type: ignore[override]
        return (1 + self.w**2) / 3 * self.length**-3

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        s = t / self.length
        return torch.exp(-s) * (torch.cos(self.w * s) + torch.sin(self.w * s) / self.w)

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        s = t / self.length
        return -(self.w + 1 / self.w) * torch.exp(-s) * torch.sin(self.w * s) / self.length

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        s = t / self.length
        small = s.clamp(max=1)
        rest = torch.expm1(small) + 2 * torch.sin(self.w * small / 2) ** 2 - torch.sin(self.w * small) / self.w
        return torch.where(s < 1, torch.exp(-small) * rest, 1 - self(t))


class SumOfExponentials(Covariance):
    """`r(t) = sum_i c_i exp(-a_i t)` with `sum c_i = 1`, and `sum c_i a_i = 0` so that it is flat at zero.

    Arguments:
        c: coefficients, `(k,)`.
        a: rates in 1/time, positive, `(k,)`.

    Raises:
        ValueError: coefficients that do not sum to 1, rates that are not positive, or a slope at zero.

    >>> from torsor.persistence import SumOfExponentials
    >>> float(SumOfExponentials([1.5, -0.5], [0.5, 1.5]).lambda2)
    0.75
    """

    c: Tensor
    a: Tensor
    order = 1.0
    lambda4 = math.inf
    series_below = _NEARLY

    def __init__(self, c: Tensor | list[float] | tuple[float, ...], a: Tensor | list[float] | tuple[float, ...]):
        super().__init__()
        c, a = (x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64) for x in (c, a))
        if c.ndim != 1 or c.shape != a.shape or not len(c):
            raise ValueError(f"c and a must be of one shape (k,); got {tuple(c.shape)} and {tuple(a.shape)}")
        if not bool((a > 0).all() and a.isfinite().all()):
            raise ValueError(f"a must be positive and finite; got {a.detach().tolist()}")
        if not abs(total := float(c.detach().sum())) < math.inf or abs(total - 1) > 1e-9:
            raise ValueError(f"normalise the covariance; got r(0)={total:.6g}")
        if abs(float((c * a).detach().sum())) > 1e-9 * float((c * a).detach().abs().sum()):
            raise ValueError(f"c and a must satisfy sum c_i a_i = 0, or {NOT_DIFFERENTIABLE}")
        self.hold(c=c, a=a)

    @property
    def decay_rate(self) -> float:  # type: ignore[override]
        return float(self.a.detach()[self.c.detach() != 0].min())

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return -(self.c * self.a**2).sum()

    @property
    def c3(self) -> Tensor:  # type: ignore[override]
        return -(self.c * self.a**3).sum() / 6

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return (self.c * torch.exp(-self.a * t[..., None])).sum(-1)

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        ca, x = self.c * self.a, -self.a * t[..., None]
        near, far = -(ca * torch.expm1(x)).sum(-1), -(ca * torch.exp(x)).sum(-1)  # sum c a = 0
        return torch.where(t * self.a.max() < 1, near, far)

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return -(self.c * torch.expm1(-self.a * t[..., None])).sum(-1)

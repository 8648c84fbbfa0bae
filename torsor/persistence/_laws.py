"""Excursion laws: how long a stationary process stays on one side of a level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._exponent import Exponent
from torsor.persistence._interpolate import cubic, inverse, monotone_slopes
from torsor.persistence._sampling import draw

Status = Literal["proved", "numerical", "invalid", "unknown"]


@dataclass(frozen=True)
class ValidityCertificate:
    """Whether an excursion law is a probability distribution, and how that is known.

    Arguments:
        status: "proved" (`E_0` is known to decrease), "numerical" (seen on the grid), "invalid" (a density below
            zero was found), "unknown" (the grid cannot tell).
        reason: in words.
        max_rise_E0: the largest rise of the clipped Slepian mean after its running minimum.
        min_density: the smallest density on the grid, in 1/time.
        first_negative_t: where the density is first below zero; None where it never is.
        horizon: the end of the grid.
    """

    status: Status
    reason: str
    max_rise_E0: float
    min_density: float
    first_negative_t: float | None
    horizon: float


@dataclass(frozen=True, eq=False)
class ExcursionLaw:
    """The law of the length `T` of an excursion.

    Arguments:
        step: the step of the grid, in units of time; 1 for discrete laws.
        values: `P(T <= k step)`, `(n,)`, 0 first.
        exponent: the decay rate of its tail.
        certificate: whether it is a distribution.
        level: in standard deviations.
        side: "above" or "below" the level.
        discrete: whether T is a whole number of steps.
        divisor: the distribution function of `X` on the same grid, where `T = X_1 + ... + X_nu` with geometric `nu`.
        projected: whether densities below zero were cut off.
    """

    step: float
    values: Float[Tensor, " n"]
    exponent: Exponent
    certificate: ValidityCertificate
    level: float = 0.0
    side: Literal["above", "below"] = "above"
    discrete: bool = False
    divisor: Float[Tensor, " n"] | None = None
    projected: bool = False
    other: Callable[[], ExcursionLaw] | None = field(default=None, repr=False)

    @property
    def other_side(self) -> ExcursionLaw:
        """The law of the excursions on the other side of the level."""
        return replace(self, side="below" if self.side == "above" else "above") if self.other is None else self.other()

    @property
    def grid(self) -> Float[Tensor, " n"]:
        """The times of `values`."""
        return self.step * torch.arange(len(self.values), dtype=self.values.dtype, device=self.values.device)

    @property
    def horizon(self) -> float:
        """The end of the grid; the tail is extrapolated beyond it."""
        return self.step * (len(self.values) - 1)

    def cdf(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """`P(T <= t)`."""
        return 1 - self.sf(t)

    def sf(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """`P(T > t)`; beyond the grid the tail of the exponent, or a power law where there is none."""
        place = self._place(t)
        inside = place.clamp(0, len(self.values) - 1)
        survival = 1 - self.values
        if self.discrete:
            within = survival[inside.floor().long()]
        else:
            within = cubic(survival, monotone_slopes(survival), inside)
        return torch.where(place > len(self.values) - 1, self._beyond(place), within)

    def pdf(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """The density in 1/time, or `P(T = t)` of a discrete law. Of an invalid law it has values below zero."""
        if self.discrete:
            k = self._place(t)
            whole = (k == k.round()) & (k >= 1)
            return torch.where(whole, self.sf((k - 1) * self.step) - self.sf(k * self.step), 0.0)
        place = self._place(t)
        density = self.values.diff() / self.step
        x = (place - 0.5).clamp(0, len(density) - 1)
        i = x.floor().clamp(max=len(density) - 2).long()
        # straight lines between the middles of the steps, and on to the ends
        i, x = i, (place - 0.5).clamp(-0.5, len(density) - 0.5)
        within = density[i] + (x - i) * (density[i + 1] - density[i])
        within = torch.where(place < 0, 0.0, within)
        return torch.where(place > len(density), self._beyond(place) * self._hazard(place), within)

    def quantile(self, p: Float[Tensor, "*levels"]) -> Float[Tensor, "*levels"]:
        """The smallest `t` with `P(T <= t) >= p`; differentiable by the parameters of the covariance.

        Raises:
            ValueError: `p` outside [0, 1), or a law that is not monotone.
        """
        if not bool(((p >= 0) & (p < 1)).all()):
            raise ValueError(f"p must be in [0, 1); got values from {float(p.min()):g} to {float(p.max()):g}")
        if self.certificate.status == "invalid" and not self.projected:
            raise ValueError('an invalid law has no quantiles; take iia(..., on_invalid="project")')
        p = p.to(self.values.dtype)
        values = self.values.detach()
        if self.discrete:
            k = torch.searchsorted(values.cummax(0).values, p).to(p.dtype)
            return torch.where(p > values[-1], self._tail_quantile(p).ceil(), k) * self.step
        place = torch.where(
            p > values[-1], self._tail_quantile(p), inverse(values, monotone_slopes(values), p.clamp(max=values[-1]))
        )
        t = (place * self.step).detach()
        if not self.values.requires_grad:
            return t
        # one step of Newton that changes nothing but the gradient
        F = self.cdf(t)
        return t - (F - F.detach()) / self.pdf(t).detach()

    @property
    def mean(self) -> Tensor:
        """The mean length, in units of time."""
        survival = 1 - self.values
        whole = survival[:-1].sum() if self.discrete else torch.trapezoid(survival)
        return self.step * (whole + self._tail_moment(0))

    @property
    def var(self) -> Tensor:
        """The variance of the length."""
        survival, k = 1 - self.values, self.grid / self.step
        if self.discrete:
            second = ((2 * k + 1) * survival)[:-1].sum()
        else:
            second = 2 * torch.trapezoid(k * survival)
        return self.step**2 * (second + self._tail_moment(1)) - self.mean**2

    def sample(
        self, n: int, *, generator: torch.Generator | None = None, uncertified: bool = False
    ) -> Float[Tensor, " n"]:
        """Lengths of `n` independent excursions.

        Where `E_0` decreases they are the sums `X_1 + ... + X_nu` of the paper, with `P(nu = k) = 2^-k`; otherwise the
        distribution function is inverted.

        Arguments:
            n: how many.
            generator: draws come from it.
            uncertified: sample even where the certificate does not vouch for the law.

        Raises:
            ValueError: no draws, or a law that is "invalid" or "unknown".
        """
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        status = self.certificate.status
        if status in ("invalid", "unknown") and not (uncertified or self.projected):
            raise ValueError(
                f"the law is {status}: {self.certificate.reason}. uncertified=True samples it all the same"
            )
        return draw(self, n, generator)

    def forward_recurrence(self) -> ExcursionLaw:
        """The law of what is left of the excursion that is under way at a time picked at random: density `sf / mean`.

        For discrete laws the step at which one looks is counted.
        """
        survival = 1 - self.values
        mean = self.mean / self.step
        left = survival[:-1] if self.discrete else 0.5 * (survival[1:] + survival[:-1])
        values = torch.nn.functional.pad((left / mean).cumsum(0), (1, 0))
        return replace(self, values=values, divisor=None, other=None)

    # ------------------------------------------------------------------------------------------------------ the tail
    def _place(self, t: Tensor) -> Tensor:
        if not isinstance(t, Tensor):
            raise TypeError(f"t must be a tensor; got {type(t).__name__}")
        if bool(t.isnan().any()):
            raise ValueError("t must be numbers; got nan")
        place = t.to(self.values.dtype) / self.step
        return (place + 1e-9).floor() if self.discrete and not bool((place == place.round()).all()) else place

    def _power(self) -> float:
        """The local power of the survival function at the end, where there is no exponent."""
        survival = 1 - self.values.detach()
        middle, end = float(survival[len(survival) // 2]), float(survival[-1])
        if end < 1e4 * torch.finfo(survival.dtype).eps:
            return math.inf  # nothing is left but rounding
        return math.log(middle / end, 2) if 0 < end < middle else math.inf

    def _beyond(self, place: Tensor) -> Tensor:
        last = len(self.values) - 1
        end = (1 - self.values[-1]).clamp(min=0)
        after = place.clamp(min=last)
        if self.discrete:
            after = after.floor()
        if self.exponent.kind == "exponential":
            return end * torch.exp(-self.exponent.value.to(place) * self.step * (after - last))
        power = self._power()
        return end * (after / last) ** -power if math.isfinite(power) else torch.zeros_like(place)

    def _hazard(self, place: Tensor) -> Tensor:
        if self.exponent.kind == "exponential":
            return self.exponent.value.to(place)
        power = self._power()
        return (power if math.isfinite(power) else 0.0) / (place.clamp(min=1) * self.step)

    def _tail_quantile(self, p: Tensor) -> Tensor:
        last, values = len(self.values) - 1, self.values.detach()
        ratio = ((1 - values[-1]).clamp(min=1e-300) / (1 - p)).clamp(min=1.0)
        if self.exponent.kind == "exponential":
            return last + ratio.log() / (float(self.exponent) * self.step)
        power = self._power()
        return last * ratio ** (1 / power) if math.isfinite(power) else torch.full_like(p, last)

    def _tail_moment(self, k: int) -> Tensor | float:
        """`int sf` (k = 0) or `int 2 t sf` (k = 1) beyond the grid, in steps."""
        last, end = len(self.values) - 1, (1 - self.values[-1]).clamp(min=0)
        if self.exponent.kind == "exponential":
            rate = self.exponent.value.to(end) * self.step
            if self.discrete:
                z = torch.exp(-rate)
                return end / (1 - z) if k == 0 else end * ((2 * last + 1) / (1 - z) + 2 * z / (1 - z) ** 2)
            return end / rate if k == 0 else 2 * end * (last / rate + 1 / rate**2)
        power = self._power()
        if not math.isfinite(power):
            return 0.0
        if power <= k + 1:
            return math.inf
        return end * last / (power - 1) if k == 0 else 2 * end * last**2 / (power - 2)

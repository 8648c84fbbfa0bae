"""Processes without a derivative: they are known at whole steps, by the autocorrelation of their signs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_VANISHED = 1e-17
_MOST = 1 << 17


class SequenceCovariance:
    """The autocorrelation of a stationary Gaussian sequence; for `iia_discrete` only.

    A subclass gives `acf(lags)`.

    >>> from torsor.persistence import AR1, iia_discrete
    >>> print(f"{float(iia_discrete(AR1(0.9)).mean):.4f}")
    6.9654
    """

    def acf(self, lags: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The autocorrelation at these lags, in steps."""
        raise NotImplementedError

    def sign_acf(self) -> Float[Tensor, " n"]:
        """The autocorrelation of the signs, `2/pi arcsin acf`, up to where nothing is left of it."""
        n = 64
        while n < _MOST:
            A = 2 / math.pi * torch.asin(self.acf(torch.arange(n, dtype=torch.float64)))
            if float(A[-1].abs()) < _VANISHED:
                return A[: int((A.abs() > _VANISHED).nonzero().max()) + 2]
            n *= 2
        return 2 / math.pi * torch.asin(self.acf(torch.arange(n, dtype=torch.float64)))


class AR1(SequenceCovariance):
    """The autoregression `x[n+1] = phi x[n] + noise`.

    Arguments:
        phi: in (0, 1).

    Raises:
        ValueError: `phi` outside (0, 1).

    >>> from torsor.persistence import AR1
    >>> AR1(0.5).sign_acf()[:3]
    tensor([1.0000, 0.3333, 0.1609], dtype=torch.float64)
    """

    def __init__(self, phi: float):
        if not 0 < phi < 1:
            raise ValueError(f"phi must be in (0, 1); got {phi:g}")
        self.phi = float(phi)

    def acf(self, lags: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.phi**lags


class OrnsteinUhlenbeck(AR1):
    """`r(t) = exp(-rate t)`, seen at steps of `dt`.

    Arguments:
        rate: in 1/time, positive.
        dt: the step, positive.

    >>> from torsor.persistence import OrnsteinUhlenbeck
    >>> round(OrnsteinUhlenbeck(rate=2.0, dt=0.1).phi, 6)
    0.818731
    """

    def __init__(self, rate: float = 1.0, dt: float = 1.0):
        if not (0 < rate < math.inf and 0 < dt < math.inf):
            raise ValueError(f"rate and dt must be positive and finite; got {rate:g} and {dt:g}")
        super().__init__(math.exp(-rate * dt))

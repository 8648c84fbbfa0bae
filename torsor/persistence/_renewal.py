"""The renewal equation as division of power series, by the fast Fourier transform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_DIRECT = 128


def renew(source: Float[Tensor, " n"], kernel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The solution of `F(t) = source(t) + 1/2 int_0^t F(t - s) dkernel(s)` on an even grid that starts at 0.

    The Stieltjes integral is a trapezoid in `F` and exact in the kernel: total mass and mean are kept to rounding, the
    error is of second order in the step.

    Arguments:
        source: values `(n,)`, zero at time 0.
        kernel: values `(n,)`.

    >>> import torch
    >>> from torsor.persistence._renewal import renew
    >>> F_X = 1 - torch.exp(-0.01 * torch.arange(4001, dtype=torch.float64))  # E_0 = exp(-t)
    >>> print(f"{float(renew(F_X / 2, F_X)[200] - (1 - torch.exp(torch.tensor(-1.0)))):.0e}")
    -2e-06
    """
    w = kernel.diff()
    c = 0.5 * (w + torch.nn.functional.pad(w[1:], (0, 1)))
    return divide(source, torch.cat([1 - 0.25 * w[:1], -0.5 * c]))


def renew_discrete(source: Float[Tensor, " n"], kernel: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The solution of `f[k] = source[k] + 1/2 sum_{j >= 1} kernel[j] f[k - j]` with `kernel[0] = 0`."""
    return divide(source, torch.cat([torch.ones_like(kernel[:1]), -0.5 * kernel[1:]]))


def divide(numerator: Float[Tensor, " n"], denominator: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The first `n` coefficients of a quotient of two power series."""
    n = len(numerator)
    return multiply(numerator, _reciprocal(denominator, n))[:n]


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The product of two polynomials."""
    size = len(a) + len(b) - 1
    fast = 1 << (size - 1).bit_length()
    return torch.fft.irfft(torch.fft.rfft(a, fast) * torch.fft.rfft(b, fast), fast)[:size]


def _reciprocal(a: Tensor, n: int) -> Tensor:
    """`1 / a(z)` to order n: the first terms by substitution, then Newton's `g <- g (2 - a g)` doubles the order."""
    known = min(n, _DIRECT)
    lag = torch.arange(known, device=a.device)[:, None] - torch.arange(known, device=a.device)
    matrix = torch.where(lag >= 0, a[lag.clamp(min=0)], 0.0)
    one = torch.zeros_like(a[:known, None])
    one[0] = 1
    g = torch.linalg.solve_triangular(matrix, one, upper=False)[:, 0]
    while known < n:
        known = min(2 * known, n)
        rest = -multiply(a[:known], g)[:known]
        g = multiply(g, torch.cat([rest[:1] + 2, rest[1:]]))[:known]
    return g

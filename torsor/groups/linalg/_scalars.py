"""Scalar functions with removable singularities, right to the last digits on both sides and smooth across.

Each is a function of the *square* of its variable where it is even: its derivatives of every order then exist at zero,
and automatic differentiation finds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def piecewise(x: Tensor, radius: float, coefficients: Sequence[float], direct: Callable[[Tensor], Tensor]) -> Tensor:
    """The power series for x < radius, `direct` elsewhere; neither branch sees the arguments of the other. x >= 0."""
    near = x < radius
    return torch.where(near, horner(torch.where(near, x, 0), coefficients), direct(torch.where(near, radius, x)))


def horner(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(11)]
_VERSINE = [(-1) ** k / math.factorial(2 * k + 2) for k in range(9)]
_ROOT = [(-1) ** k / math.factorial(2 * k + 3) for k in range(11)]
_ASIN = [math.factorial(2 * k) / (4**k * math.factorial(k) ** 2 * (2 * k + 1)) for k in range(12)]
_ATANH = [1 / (2 * k + 1) for k in range(12)]
_BERNOULLI = [  # |B_2k| for k = 1..12
    1 / 6, 1 / 30, 1 / 42, 1 / 30, 5 / 66, 691 / 2730, 7 / 6, 3617 / 510, 43867 / 798, 174611 / 330, 854513 / 138,
    236364091 / 2730,
]  # fmt: skip
_COT = [b / math.factorial(2 * k + 2) for k, b in enumerate(_BERNOULLI)]
_LOG_SINHC = [0.0] + [
    (-1) ** k * b * 2 ** (2 * k + 2) / (2 * (k + 1) * math.factorial(2 * k + 2)) for k, b in enumerate(_BERNOULLI)
]


def sinc(t: Tensor) -> Tensor:
    """sin(a)/a as a function of t = a^2 >= 0."""
    return piecewise(t, 1.0, _SINC, lambda t: t.sqrt().sin() / t.sqrt())


def sinc_and_versine(t: Tensor) -> tuple[Tensor, Tensor]:
    """sin(a)/a and (1 - cos a)/a^2 as functions of t = a^2, in one pass."""
    near = t < 0.25
    small, a = torch.where(near, t, 0), torch.where(near, 1, t).sqrt()
    half = (a / 2).sin() / a
    return (
        torch.where(near, horner(small, _SINC[:9]), a.sin() / a),
        torch.where(near, horner(small, _VERSINE), 2 * half * half),
    )


def versine(t: Tensor) -> Tensor:
    """(1 - cos a)/a^2 as a function of t = a^2."""
    return sinc(t / 4).square() / 2


def third(t: Tensor) -> Tensor:
    """(a - sin a)/a^3 as a function of t = a^2."""
    return piecewise(t, 1.0, _ROOT, lambda t: (1 - t.sqrt().sin() / t.sqrt()) / t)


def half_cot(t: Tensor) -> Tensor:
    """(1 - (a/2) cot(a/2))/a^2 as a function of t = a^2, 0 <= a < 2 pi."""
    return piecewise(t, 1.0, _COT, lambda t: (1 - t.sqrt() / 2 / (t.sqrt() / 2).tan()) / t)


def arcsinc(t: Tensor, cosine: Tensor) -> Tensor:
    """a/sin(a) as a function of t = sin(a)^2 and of cos(a), 0 <= a < pi; the series holds where cos a > 0."""
    near = (t < 0.03) & (cosine > 0)
    s = torch.where(near, 1.0, t).sqrt()
    return torch.where(near, horner(torch.where(near, t, 0), _ASIN), torch.atan2(s, torch.where(near, 1.0, cosine)) / s)


def log_sinhc(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(sinh(x)/x), without overflow, smooth at 0.

    >>> import torch
    >>> from torsor.groups.linalg import log_sinhc
    >>> log_sinhc(torch.tensor([0.0, 800.0], dtype=torch.float64))
    tensor([  0.0000, 792.6222], dtype=torch.float64)
    """

    def direct(t: Tensor) -> Tensor:
        a = t.sqrt()
        return a + torch.log(-torch.expm1(-2 * a)) - torch.log(2 * a)

    return piecewise(x.square(), 0.25, _LOG_SINHC, direct)


def phi(X: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch m m"]:
    """(e^X - 1)/X of a matrix: the integral of e^{sX} over s in [0, 1], for singular X too.

    >>> import torch
    >>> from torsor.groups.linalg import phi
    >>> phi(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    m = X.shape[-1]
    eye = torch.eye(m, dtype=X.dtype, device=X.device).expand_as(X)
    top = torch.cat([X, eye], -1)
    return torch.matrix_exp(torch.cat([top, torch.zeros_like(top)], -2))[..., :m, m:]

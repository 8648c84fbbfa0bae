"""Functions of symmetric matrices, twice differentiable at repeated eigenvalues.

First derivative (Daleckii, Krein): D f(A)[G] = V (f[l_i, l_j] * V^T G V) V^T with divided differences f[., .]. Second
derivative: the same with f[l_i, l_k, l_j], see `_Derivative.backward`. No quotient of vanishing differences is formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.groups._precision import full_precision
from torsor.groups.linalg._finite import make_finite, nan_unless
from torsor.groups.linalg._scalars import piecewise

Scalar = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Differences:
    """A scalar function with its divided differences of first and second order."""

    value: Scalar
    first: Callable[[Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor, Tensor], Tensor]


@full_precision
def spectral_function(
    matrix: Float[Tensor, "*batch m m"], f: Scalar, df: Scalar, d2f: Scalar
) -> Float[Tensor, "*batch m m"]:
    """f(A) = V f(l) V^T of symmetric matrices, with two derivatives that are right at repeated eigenvalues.

    Where eigenvalues come closer than 1e-5 of the largest, the divided differences are taken from `df` and `d2f`:
    values are exact, first derivatives good to about 1e-10 and second ones to about 1e-5 near such places (and exact
    at them). `expm_sym`, `logm_sym` and `sqrtm_sym` have closed differences and full accuracy everywhere.

    Arguments:
        matrix: symmetric matrices (*batch, m, m); only their symmetric part is looked at.
        f, df, d2f: the scalar function and its two derivatives, elementwise on tensors.

    >>> import torch
    >>> from torsor.groups.linalg import spectral_function
    >>> A = torch.eye(2, dtype=torch.float64, requires_grad=True)
    >>> sine = spectral_function(A, torch.sin, torch.cos, lambda x: -x.sin())
    >>> torch.autograd.grad(sine[0, 1], A)[0]
    tensor([[0.0000, 0.2702],
            [0.2702, 0.0000]], dtype=torch.float64)
    """
    return _apply(matrix, _differences(f, df, d2f))


@full_precision
def expm_sym(matrix: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch m m"]:
    """The exponential of symmetric matrices; positive definite.

    >>> import torch
    >>> from torsor.groups.linalg import expm_sym
    >>> expm_sym(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _apply(matrix, EXP)


@full_precision
def logm_sym(matrix: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch m m"]:
    """The logarithm of symmetric positive definite matrices; NaN where one is not positive definite.

    >>> import torch
    >>> from torsor.groups.linalg import expm_sym, logm_sym
    >>> Y = torch.tensor([[0.5, 1.0], [1.0, -0.25]], dtype=torch.float64)
    >>> torch.allclose(logm_sym(expm_sym(Y)), Y)
    True
    """
    return _apply(matrix, LOG)


@full_precision
def sqrtm_sym(matrix: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch m m"]:
    """The symmetric square root of positive definite matrices; NaN where an eigenvalue is negative.

    >>> import torch
    >>> from torsor.groups.linalg import sqrtm_sym
    >>> sqrtm_sym(torch.diag(torch.tensor([4.0, 9.0])))
    tensor([[2., 0.],
            [0., 3.]])
    """
    return _apply(matrix, SQRT)


def _apply(matrix: Tensor, f: _Differences) -> Tensor:
    safe, ok = make_finite((matrix + matrix.mT) / 2)
    return nan_unless(ok, _Spectral.apply(safe, f)[0])


class _Spectral(torch.autograd.Function):
    """A -> (f(A), l, V); l and V are there for the backward and carry no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, f: _Differences) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors * f.value(values)[..., None, :] @ vectors.mT, values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        matrix, ctx.f = inputs
        _, values, vectors = output
        ctx.mark_non_differentiable(values, vectors)
        ctx.save_for_backward(matrix, values, vectors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        matrix, values, vectors = ctx.saved_tensors
        return _Derivative.apply(matrix, grads[0], values, vectors, ctx.f), None


class _Derivative(torch.autograd.Function):
    """(A, G) -> D f(A)[sym G], which is its own adjoint in G."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, G: Tensor, values: Tensor, vectors: Tensor, f: _Differences) -> Tensor:
        first = f.first(values[..., :, None], values[..., None, :])
        return vectors @ (first * _inside(vectors, G)) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        matrix, G, values, vectors, ctx.f = inputs
        ctx.save_for_backward(matrix, G, values, vectors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        matrix, G, values, vectors = ctx.saved_tensors
        (W,) = grads
        g, w = _inside(vectors, G), _inside(vectors, W)
        second = ctx.f.second(values[..., :, None, None], values[..., None, :, None], values[..., None, None, :])
        half = torch.einsum("...ikj,...ik,...kj->...ij", second, g, w)
        grad_matrix = vectors @ (half + half.mT) @ vectors.mT
        return grad_matrix, _Derivative.apply(matrix, W, values, vectors, ctx.f), None, None, None


def _inside(vectors: Tensor, G: Tensor) -> Tensor:
    return vectors.mT @ ((G + G.mT) / 2) @ vectors


# ------------------------------------------------------------------------------------------------ divided differences
def _second(first: Callable[[Tensor, Tensor], Tensor], near: Callable[..., tuple[Tensor, Tensor]]) -> Any:
    """f[a, b, c] by the recursion over the widest pair; where `near` says so (mask, value), its value."""

    def second(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        a, b, c = torch.stack(torch.broadcast_tensors(a, b, c)).sort(0).values.unbind(0)
        close, value = near(a, b, c)
        return torch.where(close, value, (first(b, c) - first(a, b)) / torch.where(close, 1, c - a))

    return second


def _differences(f: Scalar, df: Scalar, d2f: Scalar) -> _Differences:
    """The differences of a function that is known by its derivatives only."""

    def first(a: Tensor, b: Tensor) -> Tensor:
        close = (a - b).abs() <= 1e-5 * (1e-300 + torch.maximum(a.abs(), b.abs()))
        return torch.where(close, df((a + b) / 2), (f(a) - f(b)) / torch.where(close, 1, a - b))

    def near(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        close = c - a <= 1e-5 * (1e-300 + torch.maximum(a.abs(), c.abs()))
        return close, d2f((a + b + c) / 3) / 2

    return _Differences(f, first, _second(first, near))


def _symmetric_sums(a: Tensor, b: Tensor, c: Tensor, coefficients: list[float]) -> Tensor:
    """sum_k coefficients[k] h_k(a, b, c), h_k the complete homogeneous polynomials: the difference f[a, b, c] of
    f(x) = sum_k coefficients[k] x^(k + 2)."""
    power = two = three = torch.ones_like(a)
    total = coefficients[0] * three
    for coefficient in coefficients[1:]:
        power = power * a
        two = power + b * two
        three = two + c * three
        total = total + coefficient * three
    return total


def _exp_first(a: Tensor, b: Tensor) -> Tensor:
    sinhc = piecewise(((a - b) / 2).square(), 0.25, _SINHC, lambda t: t.sqrt().sinh() / t.sqrt())
    return ((a + b) / 2).exp() * sinhc


def _exp_near(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    close, m = c - a < 0.3, (a + b + c) / 3
    a, b, c = (torch.where(close, x - m, 0) for x in (a, b, c))
    return close, m.exp() * _symmetric_sums(a, b, c, [1 / math.factorial(k + 2) for k in range(14)])


def _log_first(a: Tensor, b: Tensor) -> Tensor:
    z = ((a - b) / (a + b)).square()
    return 2 / (a + b) * piecewise(z, 0.01, _ATANH, lambda z: torch.atanh(z.sqrt()) / z.sqrt())


def _log_near(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    m = (a + b + c) / 3
    close = c - a < 0.2 * m
    a, b, c = (torch.where(close, x / m - 1, 0) for x in (a, b, c))
    return close, _symmetric_sums(a, b, c, [-((-1) ** k) / (k + 2) for k in range(26)]) / m.square()


def _sqrt_second(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    a, b, c = a.sqrt(), b.sqrt(), c.sqrt()
    return -1 / ((a + b) * (b + c) * (c + a))


_SINHC = [1 / math.factorial(2 * k + 1) for k in range(10)]
_ATANH = [1 / (2 * k + 1) for k in range(10)]
EXP = _Differences(torch.exp, _exp_first, _second(_exp_first, _exp_near))
LOG = _Differences(torch.log, _log_first, _second(_log_first, _log_near))
SQRT = _Differences(torch.sqrt, lambda a, b: 1 / (a.sqrt() + b.sqrt()), _sqrt_second)

"""Polar decomposition g = P R, P symmetric positive definite, R orthogonal."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.groups._precision import full_precision
from torsor.groups.linalg._eigh import eigh
from torsor.groups.linalg._finite import make_finite, nan_unless
from torsor.groups.linalg._scalars import horner
from torsor.groups.linalg._spectral import logm_sym


@full_precision
def polar(g: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
    """The left polar factors (P, R), g = P R: P = (g g^T)^(1/2), R the orthogonal matrix nearest to g.

    Closed form for n = 2, else singular values with the analytic derivative (a Sylvester equation in P), finite and
    exact at repeated singular values, to every order. Never squares the condition number. Source: Higham, Functions of
    Matrices (2008), chapter 8.

    Arguments:
        g: invertible matrices (*batch, n, n), of either sign of the determinant. Those not finite give NaN.

    >>> import torch
    >>> from torsor.groups.linalg import polar
    >>> P, R = polar(torch.tensor([[0.0, -2.0], [3.0, 0.0]]))
    >>> P, R
    (tensor([[2., 0.],
            [0., 3.]]), tensor([[ 0., -1.],
            [ 1.,  0.]]))
    """
    R = _planar(g)[0] if g.shape[-1] == 2 else _orthogonal_factor(g)
    P = g @ R.mT
    return (P + P.mT) / 2, R


@full_precision
def polar_log(g: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
    """The global chart (Y, R) of invertible matrices: g = exp(Y) R with Y symmetric, R orthogonal.

    Closed form for n = 2: no eigensolver, finite derivatives at Y = 0.

    >>> import torch
    >>> from torsor.groups.linalg import polar_log
    >>> Y, R = polar_log(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    >>> Y.diagonal().exp()
    tensor([2., 2.])
    """
    if g.shape[-1] != 2:
        P, R = polar(g)
        return logm_sym(P), R
    R, x, y, p, det = _planar(g)
    # t/q with t = atanh(q/p) = log((p + q)/2) - u: the second form does not cancel where q comes close to p.
    u = det.log() / 2
    q2, p2 = x * x + y * y, p * p
    near = q2 < 0.01 * p2
    q = torch.where(near, 1.0, q2).sqrt()
    series = horner(torch.where(near, q2 / p2, 0), _ATANH) / p
    t_over_q = torch.where(near, series, (((p + q) / 2).log() - u) / q)
    x, y = t_over_q * x, t_over_q * y
    return torch.stack([u + x, y, y, u - x], -1).unflatten(-1, (2, 2)), R


@full_precision
def nearest_rotation(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The rotation (determinant +1) nearest to each matrix in the Frobenius norm.

    >>> import torch
    >>> from torsor.groups.linalg import nearest_rotation
    >>> nearest_rotation(torch.diag(torch.tensor([2.0, 1.0, -0.1]))).diagonal()
    tensor([1., 1., 1.])
    """
    P, R = polar(g)
    flip = torch.where(torch.linalg.det(R) < 0, 2.0, 0.0).to(g.dtype)
    u = eigh(P)[1][..., :, :1]  # the direction that g stretches least: turning it round costs least
    return R - flip[..., None, None] * u @ (u.mT @ R)


@full_precision
def solve_sylvester(P: Float[Tensor, "*batch n n"], K: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The solution X of P X + X P = K for symmetric positive definite P; differentiable to every order.

    >>> import torch
    >>> from torsor.groups.linalg import solve_sylvester
    >>> solve_sylvester(torch.eye(2), torch.full((2, 2), 2.0))
    tensor([[1., 1.],
            [1., 1.]])
    """
    return _Sylvester.apply(P, K)


def _planar(g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(R, x, y, p, |det g|) of the closed form for n = 2: p is the sum of the singular values, (x, y) is (a - d, b + c)
    turned by the rotation. Reflections are g' diag(1, -1) with det g' > 0."""
    a, b, c, d = g[..., 0, 0], g[..., 0, 1], g[..., 1, 0], g[..., 1, 1]
    det = a * d - b * c
    sign = 1 - 2 * (det < 0).to(g.dtype)
    b, d = b * sign, d * sign
    trace, curl = a + d, c - b
    p = torch.hypot(trace, curl)
    cos, sin = trace / p, curl / p
    R = torch.stack([cos, -sin * sign, sin, cos * sign], -1).unflatten(-1, (2, 2))
    x, y = a - d, b + c
    return R, cos * x - sin * y, sin * x + cos * y, p, det * sign


def _orthogonal_factor(g: Tensor) -> Tensor:
    safe, ok = make_finite(g)
    return nan_unless(ok, _Orthogonal.apply(safe))


class _Orthogonal(torch.autograd.Function):
    """g -> R. With dR = W R: P W + W P = dg R^T - R dg^T."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor) -> Tensor:
        U, _, Vh = torch.linalg.svd(g)
        return U @ Vh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        g, R = ctx.saved_tensors
        P, K = g @ R.mT, grads[0] @ R.mT
        return _Sylvester.apply((P + P.mT) / 2, K - K.mT) @ R


class _Sylvester(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(P: Tensor, K: Tensor) -> Tensor:
        values, V = torch.linalg.eigh(P)
        return V @ (V.mT @ K @ V / (values[..., :, None] + values[..., None, :])) @ V.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        P, X = ctx.saved_tensors
        Z = _Sylvester.apply(P, grads[0])
        half = Z @ X.mT + X.mT @ Z
        return -(half + half.mT) / 2, Z


_ATANH = [1 / (2 * k + 1) for k in range(8)]

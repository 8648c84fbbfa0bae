"""The principal logarithm of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor

from torsor.groups._errors import LogDomainError
from torsor.groups._precision import full_precision
from torsor.groups.linalg._finite import make_finite, nan_unless
from torsor.groups.linalg._scalars import horner

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
CUT = {torch.float64: 1e-9, torch.complex128: 1e-9, torch.float32: 1e-5, torch.complex64: 1e-5}


def logm(A: Inexact[Tensor, "*batch m m"], on_failure: str = "raise") -> Inexact[Tensor, "*batch m m"]:
    """The principal logarithm: the one whose eigenvalues have imaginary parts in (-pi, pi).

    Closed form for real 2 x 2 matrices; else, in float64, the better of inverse scaling and squaring (product
    Denman-Beavers square roots, then the [8/8] Padé approximant) and eigenvectors. Differentiable to every order.
    Source: Higham, Functions of Matrices (2008), sections 6.3, 11.4, 11.5 and 3.2.

    Arguments:
        A: real or complex matrices (*batch, m, m). Those that are not finite give NaN.
        on_failure: "raise", or "nan" to put NaN where there is no principal logarithm.

    Raises:
        LogDomainError: where an eigenvalue lies on (-inf, 0], or so close that the result would be noise.

    >>> import torch
    >>> from torsor.groups.linalg import logm
    >>> logm(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    tensor([[0., 2.],
            [0., 0.]])
    """
    X, ok = principal_log(A)
    if on_failure == "raise" and not bool(ok.all()):
        raise LogDomainError(
            f"{int((~ok).sum())} of {ok.numel()} matrices have an eigenvalue on (-inf, 0] and no principal logarithm"
        )
    return nan_unless(ok, X)


@full_precision
def principal_log(A: Tensor) -> tuple[Tensor, Tensor]:
    """(logarithm, mask of the matrices that have one); what stands elsewhere is finite and means nothing. NaN input
    counts as having one: it gives NaN."""
    safe, finite = make_finite(A)
    if A.shape[-1] == 2 and not A.is_complex():
        X, ok = _log_planar(safe)
    else:
        ok = _off_the_cut(safe)
        eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        X = _Log.apply(torch.where(ok[..., None, None], safe, eye).to(torch.promote_types(A.dtype, torch.float64)))
        X = X.to(A.dtype)
    return nan_unless(finite, X), ok | ~finite


def _off_the_cut(A: Tensor) -> Tensor:
    values = torch.linalg.eigvals(A.detach())
    tolerance = CUT[A.dtype] * values.abs().amax(-1, keepdim=True) if A.shape[-1] else 1.0
    on_the_cut = (values.real <= tolerance) & (values.imag.abs() <= CUT[A.dtype] * values.abs())
    return ~((values.abs() == 0) | (on_the_cut & (values.real <= 0))).any(-1)


def _log_planar(A: Tensor) -> tuple[Tensor, Tensor]:
    """log A = log(det)/2 + k (A - tr/2), k = atanh(sqrt(z))/(sqrt(z) tau) with z = disc/tau^2, tau = tr/2, and the
    analytic continuation of k to complex eigenvalues."""
    a, b, c, d = A.flatten(-2).unbind(-1)
    tau, delta = (a + d) / 2, a * d - b * c
    disc = ((a - d) / 2).square() + b * c  # > 0: real eigenvalues tau +- sqrt(disc)
    scale = tau.square() + disc.abs()
    ok = torch.where(tau > 0, delta > 0, disc < -(CUT[A.dtype] ** 2) * scale)
    tau, delta = torch.where(ok, tau, 1), torch.where(ok, delta, 1)
    disc, scale = torch.where(ok, disc, 0), torch.where(ok, scale, 1)
    near = (disc.abs() < 0.01 * tau.square()) & (tau > 0)
    real, turning = (disc > 0) & ~near, (disc <= 0) & ~near
    mu = torch.where(real, disc, 1).sqrt()
    omega = torch.where(turning, -disc, 1).sqrt()
    series = horner(torch.where(near, disc / torch.where(near, tau, 1).square(), 0), _ATANH) / torch.where(near, tau, 1)
    stretch = (torch.where(real, tau + mu, 1).log() - delta.log() / 2) / mu
    k = torch.where(near, series, torch.where(real, stretch, torch.atan2(omega, tau) / omega))
    x = k * (a - d) / 2
    half = delta.log() / 2
    return torch.stack([half + x, k * b, k * c, half - x], -1).unflatten(-1, (2, 2)), ok


class _Log(torch.autograd.Function):
    """The backward is the Fréchet derivative at A^H, the corner of log [[A^H, G], [0, A^H]]: the same function again,
    so that every order follows."""

    @staticmethod
    def forward(A: Tensor) -> Tensor:
        return _best(A, _inverse_scaling_and_squaring(A), _by_eigenvectors(A))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (A,), m = ctx.saved_tensors, grads[0].shape[-1]
        H = A.mH
        length = grads[0].abs().sum((-2, -1), keepdim=True)
        length = torch.where(length > 0, length / H.abs().sum((-2, -1), keepdim=True), 1).detach()
        top = torch.cat([H, grads[0] / length], -1)
        bottom = torch.cat([torch.zeros_like(H), H], -1)
        return _Log.apply(torch.cat([top, bottom], -2))[..., :m, m:] * length

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], A: Tensor) -> tuple[Tensor, int]:
        dim = in_dims[0]
        return _Log.apply(A if dim is None else A.movedim(dim, 0)), 0


def _best(A: Tensor, *candidates: Tensor) -> Tensor:
    """The candidate whose exponential comes nearest: roots lose digits near the negative axis, eigenvectors near
    defective matrices."""
    X = torch.stack([x.nan_to_num(posinf=0, neginf=0) for x in candidates])
    error = torch.linalg.matrix_norm(torch.matrix_exp(X) - A).nan_to_num(nan=torch.inf)
    best = error.argmin(0)[None, ..., None, None]
    return torch.take_along_dim(X, best, 0)[0] if A.numel() else X[0]


def _by_eigenvectors(A: Tensor) -> Tensor:
    values, V = torch.linalg.eig(A)
    X = V * values.log()[..., None, :] @ torch.linalg.inv_ex(V)[0]
    return X if A.is_complex() else X.real


def _inverse_scaling_and_squaring(A: Tensor) -> Tensor:
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    power = torch.ones(A.shape[:-2], dtype=A.real.dtype, device=A.device)
    for _ in range(64):  # of a matrix 2^64 away from the identity, roots come within 1/4 of it
        far = torch.linalg.matrix_norm(A - eye, 1) > 0.25 if A.numel() else torch.zeros_like(power, dtype=torch.bool)
        if not bool(far.any()):
            break
        A = torch.where(far[..., None, None], _square_root(A), A)
        power = torch.where(far, 2 * power, power)
    X = A - eye
    total = torch.zeros_like(X)
    for node, weight in zip((1 + NODES) / 2, WEIGHTS / 2, strict=True):
        total = total + weight * torch.linalg.solve_ex(eye + node * X, X)[0]
    return total * power[..., None, None]


def _square_root(A: Tensor) -> Tensor:
    """Denman-Beavers iteration in product form with determinantal scaling."""
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    X, M = A, A
    for _ in range(30):
        error = torch.linalg.matrix_norm(M - eye, 1)
        if not bool((error > 1e-14).any()):
            break
        size = torch.linalg.det(M).abs().pow(-1 / (2 * A.shape[-1]))
        mu = torch.where(error > 1e-2, size, 1)[..., None, None]
        inverse = torch.linalg.inv_ex(M)[0]
        X_next = mu * X @ (eye + inverse / mu.square()) / 2
        M_next = (eye + (mu.square() * M + inverse / mu.square()) / 2) / 2
        done = (error <= 1e-14)[..., None, None]
        X, M = torch.where(done, X, X_next), torch.where(done, M, M_next)
    return X


_ATANH = [1 / (2 * k + 1) for k in range(12)]

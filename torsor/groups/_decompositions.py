"""Ways to take an element apart and to put it together again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torsor.groups.linalg import eigh, expm_sym, log_sinhc, polar_log
from torsor.groups.linalg._finite import make_finite, nan_unless


class Polar(NamedTuple):
    """g = exp(Y) R with Y symmetric and R orthogonal: a global chart where the logarithm is none."""

    Y: Tensor
    R: Tensor

    @property
    def P(self) -> Tensor:
        """The positive definite factor exp(Y)."""
        return expm_sym(self.Y)


class LQ(NamedTuple):
    """g = L Q, L lower triangular with positive diagonal, Q orthogonal (Iwasawa)."""

    L: Tensor
    Q: Tensor


class QR(NamedTuple):
    """g = Q T, Q orthogonal, T upper triangular with positive diagonal."""

    Q: Tensor
    T: Tensor


class KAK(NamedTuple):
    """g = U diag(e^y) V^T, U and V orthogonal (rotations where det g > 0), y descending."""

    U: Tensor
    y: Tensor
    V: Tensor


class Levi(NamedTuple):
    """g = translation, after the scale e^log_scale, after `core` of determinant 1 or -1."""

    translation: Tensor | None
    log_scale: Tensor
    core: Tensor


def _polar(group: Any, g: Tensor) -> Polar:
    return Polar(*polar_log(g))


def _qr(group: Any, g: Tensor) -> QR:
    g, ok = make_finite(g)
    Q, T = torch.linalg.qr(g)
    sign = torch.where(T.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(g.dtype)
    return QR(nan_unless(ok, Q * sign[..., None, :]), nan_unless(ok, T * sign[..., :, None]))


def _lq(group: Any, g: Tensor) -> LQ:
    Q, T = _qr(group, g.mT)
    return LQ(T.mT, Q.mT)


def _kak(group: Any, g: Tensor) -> KAK:
    g, ok = make_finite(g)
    U, s, Vh = torch.linalg.svd(g)
    # Turn the last axis of both round where U is a reflection: two rotations remain unless det g < 0.
    sign = torch.cat([torch.ones_like(s[..., :-1]), torch.linalg.det(U).sign()[..., None]], -1)
    return KAK(
        nan_unless(ok, U * sign[..., None, :]), nan_unless(ok, s.log()), nan_unless(ok, Vh.mT * sign[..., None, :])
    )


def _levi(group: Any, g: Tensor) -> Levi:
    A = group.linear(g)
    log_scale = torch.linalg.slogdet(A)[1] / group.n
    return Levi(group.translation(g), log_scale, A * (-log_scale).exp()[..., None, None])


DECOMPOSE: dict[str, Callable[[Any, Tensor], Any]] = {
    "polar": _polar,
    "lq": _lq,
    "qr": _qr,
    "kak": _kak,
    "levi": _levi,
}


def recompose(group: Any, parts: Any) -> Tensor:
    """The element with these factors."""
    match parts:
        case Polar(Y, R):
            return expm_sym(Y) @ R
        case LQ(L, Q):
            return L @ Q
        case QR(Q, T):
            return Q @ T
        case KAK(U, y, V):
            return U * y.exp()[..., None, :] @ V.mT
        case Levi(translation, log_scale, core):
            return group.from_parts(log_scale.exp()[..., None, None] * core, translation)
    raise TypeError(f"parts must come from decompose; got {type(parts).__name__}")


def haar_logdensity(n: int, parts: Any) -> Tensor:
    """The log density of Haar measure of GL(n), GL+(n) or SL(n) in the coordinates of the factors."""
    match parts:
        case Polar(Y, _):
            return _log_pairs(log_sinhc, eigh(Y)[0])
        case LQ(triangle, _) | QR(_, triangle):
            power = torch.arange(n, dtype=triangle.dtype, device=triangle.device)
            diagonal = triangle.diagonal(dim1=-2, dim2=-1).log()
            return -(power * diagonal).sum(-1) - n * (n - 1) / 4 * math.log(2)
        case KAK(_, y, _):
            gamma = n * (n - 1) / 4 * math.log(math.pi) + sum(math.lgamma((n - i) / 2) for i in range(n))
            constant = n * (n - 1) / 4 * math.log(2) + n**2 / 2 * math.log(math.pi) - gamma
            return _log_pairs(lambda x: log_sinhc(x) + x.abs().log(), y) + constant
        case Levi(_, log_scale, _):
            return torch.full_like(log_scale, math.log(n) / 2)
    raise TypeError(f"parts must come from decompose; got {type(parts).__name__}")


def _log_pairs(function: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    i, j = torch.triu_indices(y.shape[-1], y.shape[-1], 1, device=y.device)
    return function(y[..., i] - y[..., j]).sum(-1)

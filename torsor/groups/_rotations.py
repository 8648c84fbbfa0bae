"""Closed forms in the plane and in space: exponentials, logarithms, and what they do to translations."""

from __future__ import annotations

import torch
from torch import Tensor

from torsor.groups.linalg._scalars import arcsinc, half_cot, sinc_and_versine, third, versine


def turn(cos: Tensor, sin: Tensor) -> Tensor:
    """The plane rotation matrix with this cosine and sine."""
    return torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))


def cross_matrix(w: Tensor) -> Tensor:
    """The matrix of the cross product with w."""
    x, y, z = w.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def rotation_from_vector(w: Tensor) -> Tensor:
    """Rodrigues: R = cos(a) + sin(a)/a [w] + (1 - cos a)/a^2 w w^T for a rotation vector w of length a."""
    t = w.square().sum(-1, keepdim=True)
    sine, rest = sinc_and_versine(t)
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    outer = (rest * w)[..., None] * w[..., None, :]
    return (1 - rest * t)[..., None] * eye + cross_matrix(sine * w) + outer


def rotation_from_quaternion(q: Tensor) -> Tensor:
    """The rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def quaternion_from_rotation(R: Tensor) -> Tensor:
    """The unit quaternion (w, x, y, z) of a rotation, w >= 0: no digit is lost at any angle, pi included.

    4 q q^T is linear in R; its row with the largest diagonal entry is a well-conditioned multiple of q.
    """
    a, b, c, d, e, f, g, h, i = R.flatten(-2).unbind(-1)
    rows = [
        1 + a + e + i, h - f, c - g, d - b,
        h - f, 1 + a - e - i, b + d, c + g,
        c - g, b + d, 1 - a + e - i, f + h,
        d - b, c + g, f + h, 1 - a - e + i,
    ]  # fmt: skip
    K = torch.stack(rows, -1).unflatten(-1, (4, 4))
    largest = K.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(K, largest[..., None, None], -2)[..., 0, :]
    q = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(q[..., :1] < 0, -q, q)


def vector_from_rotation(R: Tensor) -> Tensor:
    """The rotation vector, of length in [0, pi]."""
    q = quaternion_from_rotation(R)
    w, u = q[..., 0], q[..., 1:]
    return 2 * arcsinc(u.square().sum(-1), w)[..., None] * u


def angle_from_rotation(R: Tensor) -> Tensor:
    """The angle of a plane rotation, in (-pi, pi]."""
    return torch.atan2(R[..., 1, 0] - R[..., 0, 1], R[..., 0, 0] + R[..., 1, 1])


def shift_of_exp_2(angle: Tensor, v: Tensor) -> Tensor:
    """The translation of exp of (angle, v) in SE(2)."""
    sine, cosine = sinc_and_versine(angle.square())
    return sine[..., None] * v + (angle * cosine)[..., None] * _quarter_turn(v)


def shift_of_log_2(angle: Tensor, shift: Tensor) -> Tensor:
    """The inverse of `shift_of_exp_2` in v."""
    return (1 - angle.square() * half_cot(angle.square()))[..., None] * shift - angle[..., None] / 2 * _quarter_turn(
        shift
    )


def shift_of_exp_3(w: Tensor, v: Tensor) -> Tensor:
    """The translation of exp of (w, v) in SE(3)."""
    t = w.square().sum(-1, keepdim=True)
    once = torch.linalg.cross(w.expand_as(v), v)
    return v + versine(t) * once + third(t) * torch.linalg.cross(w.expand_as(v), once)


def shift_of_log_3(w: Tensor, shift: Tensor) -> Tensor:
    """The inverse of `shift_of_exp_3` in v."""
    once = torch.linalg.cross(w.expand_as(shift), shift)
    return shift - once / 2 + half_cot(w.square().sum(-1, keepdim=True)) * torch.linalg.cross(w.expand_as(shift), once)


def _quarter_turn(v: Tensor) -> Tensor:
    return torch.stack([-v[..., 1], v[..., 0]], -1)

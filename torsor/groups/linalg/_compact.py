"""Logarithms of rotations and unitary matrices: right to the last digits on the whole group, the cut locus included.

Not differentiable themselves: `torsor.groups._log` gives them their derivatives along the group.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torsor.groups.linalg._finite import make_finite, nan_unless

HALF_TURN = 1e-13  # rotations that come closer to half a turn are taken for one


def log_rotation(g: Tensor) -> Tensor:
    """The skew logarithm of rotations in any dimension, angles in [0, pi]; a choice of planes at half turns.

    In the eigenbasis of (g + g^T)/2 = cos stands (g - g^T)/2 = J sin. Away from half turns log g = J sin * angle/sin;
    near them pi J - J sin * (pi - angle)/sin, J the orthogonal factor of J sin, and any pairing of axes where the sine
    vanishes.
    """
    g, ok = make_finite(g.to(torch.float64))
    cos, V = torch.linalg.eigh((g + g.mT) / 2)
    B = V.mT @ ((g - g.mT) / 2) @ V
    near = cos <= _widest_gap(cos)[..., None]
    inside = near[..., :, None] & near[..., None, :]
    outside = ~near[..., :, None] & ~near[..., None, :]
    turning, slow = torch.where(inside, B, 0), torch.where(outside, B, 0)

    sin = torch.linalg.vector_norm(slow + turning, dim=-1)
    small = sin < 1e-9
    ratio = torch.where(small, 1, torch.atan2(sin, torch.where(near, -cos, cos)) / torch.where(small, 1, sin))
    J = torch.where(inside, _complex_structure(turning, near), 0)
    X = slow * ratio[..., None, :] + math.pi * J - turning * ratio[..., None, :]
    X = V @ X @ V.mT
    return nan_unless(ok, (X - X.mT) / 2)


def _widest_gap(cos: Tensor) -> Tensor:
    """The middle of the widest gap between -1, the cosines below 0, and 0: what lies below is near a half turn."""
    ends = torch.nn.functional.pad(cos.clamp(-1, 0), (1, 1), value=0.0)
    ends = torch.cat([ends[..., :1] - 1, ends[..., 1:]], -1)
    widths = ends.diff(dim=-1)
    best = widths.argmax(-1, keepdim=True)
    return (ends[..., :-1] + widths / 2).gather(-1, best)[..., 0]


def _complex_structure(B: Tensor, near: Tensor) -> Tensor:
    """The orthogonal factor of a skew matrix on the axes in `near`, 1 on the others; axes in pairs where B vanishes."""
    n = B.shape[-1]
    rest = torch.diag_embed((~near).to(B.dtype))
    U, s, Vh = torch.linalg.svd(B + 2 * rest)  # 2: before every sine
    vanishing = s <= HALF_TURN
    J = (U * (~vanishing).to(B.dtype)[..., None, :]) @ Vh
    for k in range(n - 1, 0, -2):
        both = (vanishing[..., k] & vanishing[..., k - 1]).to(B.dtype)[..., None, None]
        a, b = Vh[..., k, :, None], Vh[..., k - 1, :, None]
        J = J + both * (a @ b.mT - b @ a.mT)
    inside = near[..., :, None] & near[..., None, :]
    for _ in range(3):  # Newton: singular vectors of small sines lose digits, their product must not
        J = torch.where(inside, (J - J.mT) / 2, rest)
        J = (J + torch.linalg.inv_ex(J)[0].mT) / 2
    return J


def log_unitary(g: Tensor, special: bool = False) -> Tensor:
    """The skew-Hermitian logarithm of unitary matrices, angles in (-pi, pi]; with `special` its trace vanishes: 2 pi is
    taken from the largest angles, or added to the smallest, as often as it takes."""
    g, ok = make_finite(g.to(torch.complex128))
    angles = torch.linalg.eigvals(g).angle().sort(-1).values
    around = torch.cat([angles, angles[..., :1] + 2 * math.pi], -1)
    gaps = around.diff(dim=-1)
    best = gaps.argmax(-1, keepdim=True)
    centre = (around[..., :-1] + gaps / 2).gather(-1, best)[
        ..., 0
    ] - math.pi  # opposite to the middle of the widest gap
    h = g * torch.polar(torch.ones_like(centre), -centre)[..., None, None]
    eye = torch.eye(g.shape[-1], dtype=g.dtype, device=g.device)
    cayley = 1j * torch.linalg.solve_ex(eye + h, eye - h)[0]  # Hermitian, eigenvalues tan(angle/2), none large
    tangent, V = torch.linalg.eigh((cayley + cayley.mH) / 2)
    angle = 2 * tangent.atan() + centre[..., None]
    angle = math.pi - torch.remainder(math.pi - angle, 2 * math.pi)
    if special:
        turns = (angle.sum(-1, keepdim=True) / (2 * math.pi)).round()
        rank = angle.argsort(-1).argsort(-1)
        n = angle.shape[-1]
        angle = angle - 2 * math.pi * ((rank >= n - turns).to(angle.dtype) - (rank < -turns).to(angle.dtype))
    return nan_unless(ok, 1j * V * angle[..., None, :] @ V.mH)

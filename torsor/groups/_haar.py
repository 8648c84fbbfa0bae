"""Random numbers and random orthogonal and unitary matrices: the only draws from a generator in this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import real_dtype
from torsor.groups._rotations import rotation_from_quaternion, turn


def normal(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any = None
) -> Tensor:
    """Standard normal numbers, drawn where the generator lives."""
    where = device if generator is None else generator.device
    return torch.randn(*shape, generator=generator, dtype=real_dtype(dtype), device=where).to(device)


def uniform(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any = None
) -> Tensor:
    """Uniform numbers in [0, 1), drawn where the generator lives."""
    where = device if generator is None else generator.device
    return torch.rand(*shape, generator=generator, dtype=real_dtype(dtype), device=where).to(device)


def integers(high: int, shape: Sequence[int], generator: torch.Generator | None, device: Any = None) -> Tensor:
    """Uniform whole numbers below `high`, drawn where the generator lives."""
    where = device if generator is None else generator.device
    return torch.randint(high, tuple(shape), generator=generator, device=where).to(device)


def random_rotation(
    n: int, shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any
) -> Tensor:
    """Haar on SO(n): an angle, a unit quaternion, or QR of a Gaussian with the diagonal of R made positive."""
    if n == 1:
        return torch.ones(*shape, 1, 1, dtype=real_dtype(dtype), device=device)
    if n > 3:
        Q = random_orthogonal(n, shape, generator, dtype, device)
        return torch.cat([Q[..., :1] * torch.linalg.det(Q).sign()[..., None, None], Q[..., 1:]], -1)
    gauss = normal([*shape, 2 if n == 2 else 4], generator, dtype, device)
    unit = gauss / torch.linalg.vector_norm(gauss, dim=-1, keepdim=True)
    return turn(unit[..., 0], unit[..., 1]) if n == 2 else rotation_from_quaternion(unit)


def random_orthogonal(
    n: int, shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any
) -> Tensor:
    """Haar on O(n)."""
    if n <= 3:
        R = random_rotation(n, shape, generator, dtype, device)
        sign = 1 - 2 * integers(2, shape, generator, device).to(R.dtype)
        return torch.cat([R[..., :1] * sign[..., None, None], R[..., 1:]], -1)
    Q, R = torch.linalg.qr(normal([*shape, n, n], generator, dtype, device))
    return Q * torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(Q.dtype)[..., None, :]


def random_unitary(
    n: int, shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype | None, device: Any
) -> Tensor:
    """Haar on U(n): QR of a complex Gaussian with the diagonal of R made positive (Mezzadri 2007)."""
    gauss = torch.complex(*normal([2, *shape, n, n], generator, dtype, device).unbind(0))
    Q, R = torch.linalg.qr(gauss)
    phase = R.diagonal(dim1=-2, dim2=-1)
    return Q * (phase / phase.abs())[..., None, :]

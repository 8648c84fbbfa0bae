"""Rotations near the identity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torsor.groups._orthogonal import SO
from torsor.groups._rotations import angle_from_rotation, rotation_from_vector, turn, vector_from_rotation
from torsor.groups.measure._proposal import Proposal


@dataclass(frozen=True)
class Window(Proposal):
    """Haar measure of SO(2) or SO(3), restricted to rotations by at most an angle.

    Arguments:
        group: SO(2) or SO(3).
        max_angle: the largest angle, in (0, pi].

    Raises:
        ValueError: another group, or an angle out of range.

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import Window
    >>> R = SO(3).sample(1000, proposal=Window(SO(3), 0.5))
    >>> bool((SO(3).distance_from_identity(R) <= 0.5001).all())
    True
    """

    group: SO
    max_angle: float

    def __post_init__(self) -> None:
        if not isinstance(self.group, SO) or self.group.n not in (2, 3):
            raise ValueError(f"group of Window must be SO(2) or SO(3); got {self.group!r}")
        if not 0 < self.max_angle <= math.pi * (1 + 1e-12):
            raise ValueError(f"max_angle of Window must lie in (0, pi]; got {self.max_angle}")

    def describe(self) -> str:
        return f"Haar measure of {self.group} on rotations by at most {float(self.max_angle):.4g} rad"

    @property
    def support(self) -> str:
        return f"rotations by at most {float(self.max_angle):.4g} rad"

    @property
    def cube(self) -> int:  # type: ignore[override]
        return 1 if self.group.n == 2 else 3

    def from_cube(self, u: Tensor) -> Tensor:
        if self.group.n == 2:
            angle = (2 * u[..., 0] - 1) * self.max_angle
            return turn(angle.cos(), angle.sin())
        angle = _angle_quantile(u[..., 0], self.max_angle)
        z, azimuth = 2 * u[..., 1] - 1, 2 * math.pi * u[..., 2]
        r = (1 - z.square()).clamp(min=0).sqrt()
        axis = torch.stack([r * azimuth.cos(), r * azimuth.sin(), z], -1)
        return rotation_from_vector(angle[..., None] * axis)

    def log_prob(self, g: Tensor) -> Tensor:
        if self.group.n == 2:
            angle, share = angle_from_rotation(g).abs(), self.max_angle / math.pi
        else:
            angle = torch.linalg.vector_norm(vector_from_rotation(g), dim=-1)
            share = (self.max_angle - math.sin(self.max_angle)) / math.pi
        inside = angle <= self.max_angle + 10 * torch.finfo(g.dtype).eps
        return torch.where(inside, -math.log(share), -math.inf).to(g.dtype)


def _angle_quantile(u: Tensor, largest: float) -> Tensor:
    """The angle a with (a - sin a) = u (m - sin m): the density of rotation angles on SO(3) is 1 - cos a.

    Newton's iteration in x = a^3, in which the equation is nearly linear, then one step in u and m for their gradients.
    """
    target = u.detach().double() * (float(largest) - math.sin(float(largest)))
    angle = (6 * target).pow(1 / 3).clamp(max=math.pi)
    for _ in range(8):
        slope = (1 - angle.cos()).clamp(min=1e-300)
        angle = (angle - (angle - angle.sin() - target) / slope).clamp(0, math.pi)
    angle = torch.where(target > 1e-12, angle, (6 * target).pow(1 / 3))
    return angle.to(u.dtype)

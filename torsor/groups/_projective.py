"""Homographies of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_matrices
from torsor.groups._linear import SL, GLPlus
from torsor.groups._matrix import GroupOfMatrices


@dataclass(frozen=True, repr=False)
class Projective2D(GroupOfMatrices):
    """The homographies of the plane, as SL(3): (x, y) -> (u/w, v/w) with (u, v, w) = g (x, y, 1). Coordinates of SL(3).

    >>> import torch
    >>> from torsor.groups import Projective2D
    >>> g = Projective2D().exp(torch.tensor([0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    >>> Projective2D().move(g, torch.tensor([1.0, 2.0]))
    tensor([1.1000, 2.0000])
    """

    n = 2
    dim = 8
    is_connected = True
    decompositions = SL.decompositions
    group = SL(3)

    @property
    def name(self) -> str:
        return "Projective2D()"

    @property
    def matrix_dim(self) -> int:
        return 3

    def move(self, g: Tensor, points: Tensor) -> Tensor:
        """Points of the plane (*batch, 2) moved by g, whose batch axes broadcast against them."""
        check_matrices(g, 3, self)
        moved = (g @ torch.nn.functional.pad(points, (0, 1), value=1.0)[..., None])[..., 0]
        return moved[..., :2] / moved[..., 2:]

    def linear(self, g: Tensor) -> Tensor:
        raise TypeError(f"{self} has no linear part on R^2: move points with move(g, points)")

    def translation(self, g: Tensor) -> Tensor | None:
        raise TypeError(f"{self} has no translation part: move points with move(g, points)")

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Tensor:
        raise TypeError(f"{self} has no linear and translation parts")

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.group.basis(dtype, device)

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        return self.group.contains(g, atol)

    def project(self, g: Tensor) -> Tensor:
        return self.group.project(g)

    def distance_from_identity(self, g: Tensor) -> Tensor:
        return self.group.distance_from_identity(g)

    def decompose(self, g: Tensor, kind: str = "polar") -> Any:
        return self.group.decompose(g, kind)

    def recompose(self, parts: Any) -> Tensor:
        return self.group.recompose(parts)

    def log(self, g: Tensor, on_failure: str = "raise") -> Tensor:
        return self.group.log(g, on_failure)

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import ProjectiveProposal

        linear = GLPlus(2).default_proposal(spd_width=spd_width)
        return ProjectiveProposal(linear, translation_scale, 0.25 / translation_scale)

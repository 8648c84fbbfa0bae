"""Rotations and scalings together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_matrices
from torsor.groups._linear import Linear
from torsor.groups._matrix import GroupOfMatrices
from torsor.groups._orthogonal import SO, O
from torsor.groups._precision import full_precision


@dataclass(frozen=True, repr=False)
class Conformal(Linear):
    """Rotations (and reflections) times scalings of R^n. Coordinates: those of the rotation, then the log-scale.

    >>> from torsor.groups import Conformal
    >>> Conformal(3).dim
    4
    """

    n: int
    reflections: bool = False
    decompositions = ("polar", "levi")

    @property
    def name(self) -> str:
        return f"Conformal({self.n}, reflections=True)" if self.reflections else f"Conformal({self.n})"

    @property
    def rotations(self) -> GroupOfMatrices:
        """The compact factor."""
        return O(self.n) if self.reflections else SO(self.n)

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.rotations.dim + 1

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.rotations.is_abelian

    @property
    def is_connected(self) -> bool:  # type: ignore[override]
        return not self.reflections

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return not self.reflections

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.cat([self.rotations.basis(dtype, device), self.identity(1, dtype=dtype, device=device)])

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.rotations.discrete_generators(dtype, device)

    def scale(self, g: Tensor) -> Tensor:
        """The scale of each element, (*batch,)."""
        check_matrices(g, self.n, self)
        return (g.square().sum((-2, -1)) / self.n).sqrt()

    def _scale(self, g: Tensor) -> Tensor:
        return self.scale(g)[..., None, None]

    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.n, self)
        return g.mT / self._scale(g).square()

    @full_precision
    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        return v[..., -1:, None].exp() * self.rotations.exp(v[..., :-1])

    @full_precision
    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        check_matrices(g, self.n, self)
        scale = self._scale(g)
        w, ok = self.rotations._log(g / scale)
        return torch.cat([w, scale[..., 0].log()], -1), ok

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        check_matrices(g, self.n, self)
        return self.rotations.contains(g / self._scale(g), atol)

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        R = self.rotations.project(g)
        return (g * R).sum((-2, -1), keepdim=True) / self.n * R

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """sqrt(log(scale)^2 + angle^2)."""
        check_matrices(g, self.n, self)
        scale = self._scale(g)
        return (scale[..., 0, 0].log().square() + self.rotations.distance_from_identity(g / scale).square()).sqrt()

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import ScaleProposal

        return ScaleProposal(self)

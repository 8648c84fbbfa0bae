"""Linear maps that preserve a bilinear form which is no scalar product: Lorentz and symplectic groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._bases import symmetric_basis
from torsor.groups._check import check_dimension, check_matrices, real_dtype
from torsor.groups._matrix import GroupOfMatrices, polar_size
from torsor.groups._orthogonal import SO
from torsor.groups._precision import full_precision


class Isometries(GroupOfMatrices):
    """The matrices g with g^T B g = B. B is orthogonal, so that g^-1 = B^T g^T B."""

    decompositions = ("polar",)

    def form(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """The matrix B of the bilinear form, (m, m)."""
        raise NotImplementedError

    @full_precision
    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.n, self)
        B = self.form(g.dtype, g.device)
        return B.mT @ g.mT @ B

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        """Whether g^T B g = B, to `atol` times the size of its terms."""
        check_matrices(g, self.n, self)
        B = self.form(g.dtype, g.device)
        error = (g.mT @ B @ g - B).abs().amax((-2, -1))
        return error <= self._atol(g, atol) * (1 + torch.linalg.matrix_norm(g).square() / self.n)

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        """The factor of g in the group, of g = (factor) S with S self-adjoint for the form (generalised polar
        decomposition, Newton's iteration; for elements that rounding moved off the group)."""
        check_matrices(g, self.n, self)
        B = self.form(g.dtype, g.device)
        for _ in range(12):
            g = (g + torch.linalg.inv_ex(B.mT @ g.mT @ B)[0]) / 2
        return g

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """sqrt((|Y|_F^2 + |log R|_F^2)/2) of the polar factors g = exp(Y) R: the rapidity of a boost, the angle of a
        rotation."""
        check_matrices(g, self.n, self)
        return polar_size(g)


COMPONENTS = ("proper_orthochronous", "orthochronous", "proper", "full")


@dataclass(frozen=True, repr=False)
class Lorentz(Isometries):
    """The linear maps of space-time that preserve diag(1, -1, .., -1); time comes first.

    Coordinates: those of the rotations of space (the rotation vector for 3), then the rapidity vector.

    Arguments:
        time: number of time axes; 1.
        space: number of space axes.
        component: "proper_orthochronous" (connected), "orthochronous" (with mirrors of space), "proper" (determinant 1)
            or "full".

    Raises:
        ValueError: time is not 1, space is not a whole number of at least 1, or the component is unknown.

    >>> import torch
    >>> from torsor import Lorentz
    >>> boost = Lorentz(1, 3).exp(torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]))
    >>> boost[:2, :2]
    tensor([[1.5431, 1.1752],
            [1.1752, 1.5431]])
    """

    time: int = 1
    space: int = 3
    component: str = "proper_orthochronous"

    def __post_init__(self) -> None:
        if check_dimension(self.time, "time of Lorentz(time, space)") != 1:
            raise ValueError(f"time of Lorentz(time, space) must be 1; got {self.time}")
        object.__setattr__(self, "space", check_dimension(self.space, "space of Lorentz(time, space)"))
        if self.component not in COMPONENTS:
            raise ValueError(f"component of Lorentz must be one of {COMPONENTS}; got {self.component!r}")

    @property
    def name(self) -> str:
        component = "" if self.is_connected else f", {self.component!r}"
        return f"Lorentz({self.time}, {self.space}{component})"

    @property
    def n(self) -> int:  # type: ignore[override]
        return 1 + self.space

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.space * (self.space + 1) // 2

    @property
    def is_connected(self) -> bool:  # type: ignore[override]
        return self.component == "proper_orthochronous"

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.space == 1 and self.component in ("proper_orthochronous", "proper")

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return self.is_connected

    def form(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """diag(1, -1, .., -1)."""
        return torch.diag(torch.tensor([1.0] + [-1.0] * self.space, dtype=real_dtype(dtype), device=device))

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        turns = torch.nn.functional.pad(SO(self.space).basis(dtype, device), (1, 0, 1, 0))
        eye = torch.eye(self.n, dtype=turns.dtype, device=device)
        arrows = eye[1:, :, None] * eye[0]
        return torch.cat([turns, arrows + arrows.mT])

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        signs = [(1, -1), (-1, 1), (-1, -1)]  # of time and of the first space axis
        chosen = {"proper_orthochronous": [], "orthochronous": signs[:1], "proper": signs[2:], "full": signs[:2]}
        rows = [[*s, *[1] * (self.space - 1)] for s in chosen[self.component]]
        dtype = real_dtype(dtype)
        return torch.diag_embed(torch.tensor(rows, dtype=dtype, device=device).view(len(rows), self.n))

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        ok = super().contains(g, atol)
        if self.component in ("proper_orthochronous", "proper"):
            ok = ok & (torch.linalg.det(g) > 0)
        if self.component in ("proper_orthochronous", "orthochronous"):
            ok = ok & (g[..., 0, 0] > 0)
        return ok

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import BoostProposal

        return BoostProposal(self)


@dataclass(frozen=True, repr=False)
class Sp(Isometries):
    """The linear maps of phase space R^2m that preserve the form [[0, 1], [-1, 0]]; positions first, then momenta.

    Coordinates: orthonormal, those of the symmetric matrix S in -J S.

    Arguments:
        n: dimension 2m of phase space: Sp(4) acts on R^4.

    Raises:
        ValueError: n is not an even whole number of at least 2.

    >>> import torch
    >>> from torsor.groups import Sp
    >>> g = Sp(2).exp(torch.tensor([0.3, -0.2, 0.5]))
    >>> torch.linalg.det(g)
    tensor(1.0000)
    """

    n: int
    is_connected = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, "n of Sp(n)", 2))
        if self.n % 2:
            raise ValueError(f"n of Sp(n) must be even, the dimension of a phase space; got {self.n}")

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n * (self.n + 1) // 2

    def form(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """[[0, 1], [-1, 0]] in blocks."""
        eye = torch.eye(self.n, dtype=real_dtype(dtype), device=device)
        return torch.cat([eye[self.n // 2 :], -eye[: self.n // 2]])

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return -self.form(dtype, device) @ symmetric_basis(self.n, real_dtype(dtype), device)

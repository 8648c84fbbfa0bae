"""Groups that act on some of the axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_dimension, check_matrices, real_dtype
from torsor.groups._matrix import GroupOfMatrices


def embed(group: GroupOfMatrices, axes: tuple[int, ...], n: int) -> Embedding:
    """The group acting on some axes of R^n, the identity on the others.

    Arguments:
        group: a group of matrices on R^k.
        axes: the k axes of R^n that take the place of axes 0, .., k - 1.
        n: dimension of the space.

    Raises:
        TypeError: the group does not act on R^k by matrices.
        ValueError: axes are not k different axes of R^n.

    >>> import torch
    >>> from torsor.groups import SO, embed
    >>> about_x = embed(SO(2), axes=(1, 2), n=3)
    >>> (about_x.exp(torch.tensor([torch.pi / 2])) @ torch.tensor([5.0, 1.0, 0.0])).round().abs()
    tensor([5., 0., 1.])
    """
    return Embedding(group, tuple(axes), n)


@dataclass(frozen=True, repr=False)
class Embedding(GroupOfMatrices):
    """What `embed` makes: elements are matrices of R^n, coordinates are those of the group inside."""

    group: GroupOfMatrices
    axes: tuple[int, ...]
    n: int

    def __post_init__(self) -> None:
        group = self.group
        n = check_dimension(self.n, "n of embed(group, axes, n)")
        object.__setattr__(self, "n", n)
        if not isinstance(group, GroupOfMatrices) or group.matrix_dim != group.n + group.is_affine:
            raise TypeError(f"group of embed(group, axes, n) must act on R^k by matrices; got {group!r}")
        axes = tuple(check_dimension(a, "an axis of embed(group, axes, n)", 0) for a in self.axes)
        object.__setattr__(self, "axes", axes)
        if len(axes) != group.n or len(set(axes)) != len(axes) or max(axes) >= n:
            raise ValueError(f"axes must be {group.n} different axes of R^{n} for {group}; got {axes}")

    @property
    def name(self) -> str:
        return f"embed({self.group}, {self.axes}, {self.n})"

    @property
    def matrix_dim(self) -> int:
        return self.n + self.is_affine

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return self.group.order

    dim = property(lambda self: self.group.dim)  # type: ignore[assignment]
    is_affine = property(lambda self: self.group.is_affine)  # type: ignore[assignment]
    is_compact = property(lambda self: self.group.is_compact)  # type: ignore[assignment]
    is_orthogonal = property(lambda self: self.group.is_orthogonal)  # type: ignore[assignment]
    is_abelian = property(lambda self: self.group.is_abelian)  # type: ignore[assignment]
    is_connected = property(lambda self: self.group.is_connected)  # type: ignore[assignment]
    is_unimodular = property(lambda self: self.group.is_unimodular)  # type: ignore[assignment]
    is_volume_preserving = property(lambda self: self.group.is_volume_preserving)  # type: ignore[assignment]
    exp_is_surjective = property(lambda self: self.group.exp_is_surjective)  # type: ignore[assignment]

    def _dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        return self.group._dtype(dtype)

    def _columns(self, like: Tensor) -> Tensor:
        axes = [*self.axes, self.n] if self.is_affine else list(self.axes)
        return torch.eye(self.matrix_dim, dtype=like.dtype, device=like.device)[:, axes]

    def inner(self, g: Tensor) -> Tensor:
        """The elements of the group inside."""
        check_matrices(g, self.matrix_dim, self)
        S = self._columns(g)
        return S.mT @ g @ S

    def outer(self, g: Tensor) -> Tensor:
        """The elements on R^n of elements of the group inside."""
        S = self._columns(g)
        eye = torch.eye(self.matrix_dim, dtype=g.dtype, device=g.device)
        return S @ g @ S.mT + (eye - S @ S.mT)

    def inverse(self, g: Tensor) -> Tensor:
        return self.outer(self.group.inverse(self.inner(g)))

    def parity(self, g: Tensor) -> Tensor:
        return self.group.parity(self.inner(g))

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        inside = self.inner(g)
        return self.group.contains(inside, atol) & self._all_close(g, self.outer(inside), self._atol(g, atol))

    def project(self, g: Tensor) -> Tensor:
        return self.outer(self.group.project(self.inner(g)))

    def distance_from_identity(self, g: Tensor) -> Tensor:
        return self.group.distance_from_identity(self.inner(g))

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        basis = self.group.basis(dtype, device)
        S = self._columns(basis)
        return S @ basis @ S.mT

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.outer(self.group.discrete_generators(dtype, device))

    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        return self.outer(self.group.exp(v))

    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.group._log(self.inner(g))

    def log_modular(self, g: Tensor) -> Tensor:
        return self.group.log_modular(self.inner(g))

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return self.outer(self.group._haar(shape, generator, dtype, device))

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import EmbeddedProposal

        return EmbeddedProposal(self.group.default_proposal(translation_scale, spd_width), self)

    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.outer(self.group.elements(real_dtype(dtype), device))

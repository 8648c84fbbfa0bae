"""Linear groups with translations: homogeneous matrices [[A, t], [0, 1]]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_dimension, check_matrices, real_dtype
from torsor.groups._conformal import Conformal
from torsor.groups._finite import Trivial
from torsor.groups._linear import SL, GLPlus
from torsor.groups._matrix import GroupOfMatrices, homogeneous
from torsor.groups._orthogonal import SO, O
from torsor.groups._precision import full_precision


class AffineGroup(GroupOfMatrices):
    """Translations of R^n with a linear group H: x -> A x + t with A in H, `linear_group`.

    Coordinates: those of H, then the last column v of the algebra matrix (which is not the translation of exp).
    """

    linear_group: GroupOfMatrices
    is_affine = True
    decompositions = ("levi",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    @property
    def matrix_dim(self) -> int:
        return self.n + 1

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.linear_group.dim + self.n

    @property
    def is_connected(self) -> bool:  # type: ignore[override]
        return self.linear_group.is_connected

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.linear_group.order == 1

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return self.n == 1 and self.linear_group.exp_is_surjective

    @property
    def is_volume_preserving(self) -> bool:  # type: ignore[override]
        return self.linear_group.is_volume_preserving

    @property
    def is_unimodular(self) -> bool:  # type: ignore[override]
        return self.linear_group.is_unimodular and self.is_volume_preserving

    def parity(self, g: Tensor) -> Tensor:
        return self.linear_group.parity(self.linear(g))

    @full_precision
    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        A = self.linear_group.inverse(self.linear(g))
        shift = -(A * g[..., None, : self.n, self.n]).sum(-1)  # products of small matrices are faster by hand
        return torch.cat([torch.cat([A, shift[..., None]], -1), g[..., self.n :, :]], -2)

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        last = torch.eye(self.matrix_dim, dtype=g.dtype, device=g.device)[-1]
        ok = ((g[..., -1, :] - last).abs() <= self._atol(g, atol)).all(-1) & g.isfinite().all(-1).all(-1)
        return ok & self.linear_group.contains(self.linear(g), atol)

    def project(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        return self.from_parts(self.linear_group.project(self.linear(g)), self.translation(g))

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """sqrt(d^2 + |t|^2), d the distance of the linear part."""
        check_matrices(g, self.matrix_dim, self)
        d = self.linear_group.distance_from_identity(self.linear(g))
        return (d.square() + g[..., : self.n, self.n].square().sum(-1)).sqrt()

    # ---------------------------------------------------------------------------------------------------- Lie algebra
    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        linear = torch.nn.functional.pad(self.linear_group.basis(dtype, device), (0, 1, 0, 1))
        eye = torch.eye(self.n + 1, dtype=real_dtype(dtype), device=device)
        return torch.cat([linear, eye[: self.n, :, None] * eye[self.n]])

    @full_precision
    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        H = self.linear_group
        u, v = v[..., : H.dim], v[..., H.dim :]
        return homogeneous(H.exp(u), H._exp_shift(u, v))

    @full_precision
    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        check_matrices(g, self.matrix_dim, self)
        H = self.linear_group
        u, ok = H._log(self.linear(g))
        if ok is not None:
            u = torch.where(ok[..., None], u, 0)
        return torch.cat([u, H._log_shift(u, g[..., : self.n, self.n])], -1), ok

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.from_parts(self.linear_group.discrete_generators(dtype, device))

    # -------------------------------------------------------------------------------------------------------- measure
    @full_precision
    def log_modular(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        A = self.linear(g)
        inner = self.linear_group.log_modular(A)
        return inner if self.is_volume_preserving else inner - torch.linalg.slogdet(A)[1]

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import AffineProposal

        linear = self.linear_group.default_proposal(translation_scale, spd_width)
        return AffineProposal(linear, translation_scale, self)


@dataclass(frozen=True, repr=False)
class SE(AffineGroup):
    """Rotations and translations of R^n.

    >>> import torch
    >>> from torsor import SE
    >>> g = SE(2).from_parts(torch.eye(2), torch.tensor([1.0, 2.0]))
    >>> SE(2).inverse(g)
    tensor([[ 1.,  0., -1.],
            [ 0.,  1., -2.],
            [ 0.,  0.,  1.]])
    """

    n: int

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return True

    @property
    def linear_group(self) -> GroupOfMatrices:  # type: ignore[override]
        return SO(self.n)


@dataclass(frozen=True, repr=False)
class E(AffineGroup):
    """Rotations, reflections and translations of R^n.

    >>> import torch
    >>> from torsor import E
    >>> E(3).sample(16, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([16, 4, 4])
    """

    n: int

    @property
    def linear_group(self) -> GroupOfMatrices:  # type: ignore[override]
        return O(self.n)


@dataclass(frozen=True, repr=False)
class Translation(AffineGroup):
    """Translations of R^n.

    >>> import torch
    >>> from torsor import Translation
    >>> Translation(2).exp(torch.tensor([3.0, 4.0]))[:2, 2]
    tensor([3., 4.])
    """

    n: int

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return True

    @property
    def linear_group(self) -> GroupOfMatrices:  # type: ignore[override]
        return Trivial(self.n)


@dataclass(frozen=True, repr=False)
class Sim(AffineGroup):
    """Rotations, scalings and translations of R^n; reflections too, if asked for.

    >>> from torsor import Sim
    >>> Sim(3).dim, Sim(3).is_unimodular
    (7, False)
    """

    n: int
    reflections: bool = False

    @property
    def name(self) -> str:
        return f"Sim({self.n}, reflections=True)" if self.reflections else f"Sim({self.n})"

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return not self.reflections

    @property
    def linear_group(self) -> GroupOfMatrices:  # type: ignore[override]
        return Conformal(self.n, self.reflections)

    def scale(self, g: Tensor) -> Tensor:
        """The scale of each element, (*batch,)."""
        check_matrices(g, self.matrix_dim, self)
        return Conformal(self.n, self.reflections).scale(self.linear(g))


@dataclass(frozen=True, repr=False, init=False)
class SemidirectProduct(AffineGroup):
    """Translations of R^n with any linear group of n x n matrices.

    Arguments:
        n: dimension of the space.
        linear: the group of the linear parts.

    Raises:
        ValueError: the linear group acts on another space, or is affine itself.
        TypeError: it is no group of matrices.

    >>> from torsor import Cyclic, SemidirectProduct
    >>> SemidirectProduct(2, Cyclic(4))
    SemidirectProduct(2, Cyclic(4))
    """

    n: int
    linear_group: GroupOfMatrices

    def __init__(self, n: int, linear: GroupOfMatrices) -> None:
        kind = type(self).__name__
        object.__setattr__(self, "n", check_dimension(n, f"n of {kind}(n, linear)"))
        if not isinstance(linear, GroupOfMatrices):
            raise TypeError(f"linear of {kind}(n, linear) must be a group of matrices; got {linear!r}")
        if linear.is_affine or linear.matrix_dim != self.n or linear.n != self.n:
            raise ValueError(f"linear of {kind}({n}, linear) must act linearly on R^{n}; got {linear!r}")
        object.__setattr__(self, "linear_group", linear)

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.n}, {self.linear_group})"


@dataclass(frozen=True, repr=False, init=False)
class Affine(SemidirectProduct):
    """Affine maps of R^n with linear part in `linear`, GLPlus(n) by default.

    >>> from torsor import Affine
    >>> from torsor.groups import GL
    >>> Affine(2), Affine(2, linear=GL(2))
    (Affine(2), Affine(2, GL(2)))
    """

    def __init__(self, n: int, linear: GroupOfMatrices | None = None) -> None:
        n = check_dimension(n, "n of Affine(n)")
        super().__init__(n, GLPlus(n) if linear is None else linear)

    @property
    def name(self) -> str:
        return f"Affine({self.n})" if self.linear_group == GLPlus(self.n) else super().name


@dataclass(frozen=True, repr=False)
class SAffine(AffineGroup):
    """Affine maps of R^n that preserve volume and orientation.

    >>> from torsor.groups import SAffine
    >>> SAffine(2).is_unimodular
    True
    """

    n: int

    @property
    def linear_group(self) -> GroupOfMatrices:  # type: ignore[override]
        return SL(self.n)

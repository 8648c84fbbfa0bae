"""Invertible matrices: scalings, GL(n), its identity component, SL(n)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._bases import traceless_basis
from torsor.groups._check import check_coordinates, check_dimension, check_matrices, real_dtype
from torsor.groups._decompositions import haar_logdensity
from torsor.groups._matrix import GroupOfMatrices, polar_size
from torsor.groups._orthogonal import SO, O
from torsor.groups._precision import full_precision
from torsor.groups.linalg import eigh, log_sinhc, polar


class Linear(GroupOfMatrices):
    """What groups of n x n matrices without a quadratic form share."""

    n: int
    is_volume_preserving = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", check_dimension(self.n, f"n of {type(self).__name__}(n)"))

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """sqrt((|Y|_F^2 + |log R|_F^2)/2) of the polar factors g = exp(Y) R: the angle of a rotation."""
        check_matrices(g, self.n, self)
        return polar_size(g)


@dataclass(frozen=True, repr=False)
class Scaling(Linear):
    """The positive multiples of the identity of R^n. Coordinate: the log of the scale.

    >>> import torch
    >>> from torsor import Scaling
    >>> Scaling(2).exp(torch.tensor([2.0]).log())
    tensor([[2., 0.],
            [0., 2.]])
    """

    n: int
    dim = 1
    is_abelian = is_connected = exp_is_surjective = True
    decompositions = ("polar", "levi")

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(1, dtype=dtype, device=device)

    def scale(self, g: Tensor) -> Tensor:
        """The scale of each element, (*batch,)."""
        check_matrices(g, self.n, self)
        return g[..., 0, 0]

    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.n, self)
        eye = self.identity(dtype=g.dtype, device=g.device)
        return eye / g[..., :1, :1]

    def exp(self, v: Tensor) -> Tensor:
        check_coordinates(v, 1, self)
        return v.exp()[..., None] * self.identity(dtype=v.dtype, device=v.device)

    def _log(self, g: Tensor) -> tuple[Tensor, None]:
        check_matrices(g, self.n, self)
        return g[..., 0, :1].log(), None

    def _exp_shift(self, u: Tensor, v: Tensor) -> Tensor:
        return v * ((u / 2).exp() * log_sinhc(u / 2).exp())

    def _log_shift(self, u: Tensor, shift: Tensor) -> Tensor:
        return shift / ((u / 2).exp() * log_sinhc(u / 2).exp())

    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        check_matrices(g, self.n, self)
        scale = g[..., :1, :1]
        eye = self.identity(dtype=g.dtype, device=g.device)
        return self._all_close(g / scale, eye, self._atol(g, atol)) & (scale[..., 0, 0] > 0)

    def project(self, g: Tensor) -> Tensor:
        """The mean of the diagonal; its absolute value where it is negative."""
        check_matrices(g, self.n, self)
        scale = g.diagonal(dim1=-2, dim2=-1).mean(-1).abs()
        return scale[..., None, None] * self.identity(dtype=g.dtype, device=g.device)

    def distance_from_identity(self, g: Tensor) -> Tensor:
        """The absolute log of the scale."""
        check_matrices(g, self.n, self)
        return g[..., 0, 0].log().abs()

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import ScaleProposal

        return ScaleProposal(self)


@dataclass(frozen=True, repr=False)
class GL(Linear):
    """The invertible matrices of R^n. Coordinates: the entries of the algebra matrix, row by row.

    >>> from torsor.groups import GL
    >>> GL(3).dim, GL(3).is_connected, GL(3).exp_is_surjective
    (9, False, False)
    """

    n: int
    decompositions = ("polar", "lq", "qr", "kak", "levi")

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n**2

    @property
    def is_abelian(self) -> bool:  # type: ignore[override]
        return self.n == 1

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.eye(self.dim, dtype=real_dtype(dtype), device=device).view(self.dim, self.n, self.n)

    def hat(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        return v.unflatten(-1, (self.n, self.n))

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return O(self.n).discrete_generators(dtype, device)

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        """Whether each matrix is finite with a determinant other than 0 (at `atol` more, in absolute value)."""
        check_matrices(g, self.n, self)
        return g.isfinite().all(-1).all(-1) & (torch.linalg.det(g).abs() > (0 if atol is None else atol))

    def project(self, g: Tensor) -> Tensor:
        """The matrices themselves: GL(n) is dense."""
        check_matrices(g, self.n, self)
        return g

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import PolarProposal, RiemannianGaussianSPD, UniformCompact

        return PolarProposal(RiemannianGaussianSPD(spd_width), UniformCompact(O(self.n)))

    @full_precision
    def haar_logdensity(self, parts: Any) -> Tensor:
        return haar_logdensity(self.n, parts)


class PositiveDeterminant(GL):
    """What GLPlus(n) and SL(n) share."""

    is_connected = True

    @property
    def exp_is_surjective(self) -> bool:  # type: ignore[override]
        return self.n == 1

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(0, dtype=dtype, device=device)

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        """Whether each matrix is finite with det > 0 (more than `atol`)."""
        check_matrices(g, self.n, self)
        return g.isfinite().all(-1).all(-1) & (torch.linalg.det(g) > (0 if atol is None else atol))

    def decompose(self, g: Tensor, kind: str = "polar") -> Any:
        self._require_positive(g)
        return super().decompose(g, kind)

    def log(self, g: Tensor, on_failure: str = "raise") -> Tensor:
        if on_failure == "raise":
            self._require_positive(g)
        return super().log(g, on_failure)

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        """The matrices themselves; where det < 0 the direction that is stretched least is turned round."""
        check_matrices(g, self.n, self)
        P, R = polar(g)
        u = eigh(P)[1][..., :, :1]
        flip = torch.where(torch.linalg.det(R) < 0, 2.0, 0.0).to(g.dtype)[..., None, None]
        return g - flip * u @ (u.mT @ g)

    @full_precision
    def _require_positive(self, g: Tensor) -> None:
        check_matrices(g, self.n, self)
        det = torch.linalg.det(g.detach())
        bad = det <= 0
        if bool(bad.any()):
            first = tuple(bad.nonzero()[0].tolist())
            where = f"; first bad batch index {first[0] if len(first) == 1 else first}" if first else ""
            raise ValueError(f"g has det {float(det[first]):.4g}; {type(self).__name__} needs det > 0{where}")


@dataclass(frozen=True, repr=False)
class GLPlus(PositiveDeterminant):
    """The matrices of R^n with positive determinant: rotations, scales, shears. Coordinates: the entries, row by row.

    exp does not reach all of it for n >= 2; `decompose(g, "polar")` is a chart that does.

    >>> import torch
    >>> from torsor import GLPlus
    >>> Y, R = GLPlus(2).decompose(torch.tensor([[-2.0, 0.0], [0.0, -3.0]]))
    >>> Y.exp().diagonal(), R.diagonal()
    (tensor([2., 3.]), tensor([-1., -1.]))
    """

    n: int

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import PolarProposal, RiemannianGaussianSPD, UniformCompact

        return PolarProposal(RiemannianGaussianSPD(spd_width), UniformCompact(SO(self.n)))


@dataclass(frozen=True, repr=False)
class SL(PositiveDeterminant):
    """The matrices of R^n with determinant 1. Coordinates: orthonormal, E_ij (i != j) row by row, then diagonals.

    >>> from torsor import SL
    >>> SL(2).basis()[2] * 2**0.5
    tensor([[ 1.0000,  0.0000],
            [ 0.0000, -1.0000]])
    """

    n: int
    is_volume_preserving = True

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.n**2 - 1

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return 1 if self.n == 1 else None

    @property
    def is_compact(self) -> bool:  # type: ignore[override]
        return self.n == 1

    def basis(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return traceless_basis(self.n, real_dtype(dtype), device)

    def hat(self, v: Tensor) -> Tensor:
        return GroupOfMatrices.hat(self, v)

    @full_precision
    def contains(self, g: Tensor, atol: float | None = None) -> Tensor:
        """Whether each determinant is 1, to `atol` times the size of its terms."""
        check_matrices(g, self.n, self)
        size = torch.linalg.matrix_norm(g).square() / self.n
        return (torch.linalg.det(g) - 1).abs() <= self._atol(g, atol) * (1 + size ** (self.n / 2))

    @full_precision
    def project(self, g: Tensor) -> Tensor:
        """The multiple with determinant 1, the least stretched direction turned round where det < 0."""
        g = super().project(g)
        return g * (-torch.linalg.slogdet(g)[1] / self.n).exp()[..., None, None]

    def _haar(self, shape: tuple[int, ...], generator: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
        return self.identity(*shape, dtype=dtype, device=device)

    def default_proposal(self, translation_scale: float = 1.0, spd_width: float = 0.25) -> Any:
        from torsor.groups.measure import PolarProposal, RiemannianGaussianSPD, UniformCompact

        return PolarProposal(RiemannianGaussianSPD(spd_width, traceless=True), UniformCompact(SO(self.n)))

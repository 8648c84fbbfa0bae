"""Groups whose elements are matrices (*batch, m, m)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torsor.groups._check import check_coordinates, check_matrices, check_same_kind, real_dtype
from torsor.groups._decompositions import DECOMPOSE, recompose
from torsor.groups._errors import NotInGroupError
from torsor.groups._group import Group, count_bad
from torsor.groups._precision import full_precision
from torsor.groups.linalg import phi
from torsor.groups.linalg._finite import make_finite, nan_unless
from torsor.groups.linalg._logm import principal_log


class GroupOfMatrices(Group):
    """A group of matrices: products, and the Lie algebra through an orthogonal basis.

    A new one says `dim`, `basis`, `contains` and, where it can do better, `inverse`, `exp`, `project`.
    """

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return torch.eye(self.matrix_dim, dtype=self._dtype(dtype), device=device).repeat(*batch, 1, 1)

    def batch_shape(self, g: Tensor) -> tuple[int, ...]:
        check_matrices(g, self.matrix_dim, self)
        return tuple(g.shape[:-2])

    @full_precision
    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        check_matrices(h, self.matrix_dim, self, "h")
        check_same_kind(g, h)
        return g @ h

    @full_precision
    def inverse(self, g: Tensor) -> Tensor:
        check_matrices(g, self.matrix_dim, self)
        if self.is_orthogonal:
            return g.mT
        inverse, singular = torch.linalg.inv_ex(g)
        return torch.where((singular == 0)[..., None, None], inverse, torch.nan)

    def linear(self, g: Tensor) -> Tensor:
        return g[..., : self.n, : self.n]

    def translation(self, g: Tensor) -> Tensor | None:
        return g[..., : self.n, self.n] if self.is_affine else None

    def parity(self, g: Tensor) -> Tensor:
        if self.is_connected:
            return torch.ones_like(g[..., 0, 0].real)
        return torch.linalg.det(self.linear(g)).sign()

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return g if dtype is None else g.to(dtype)

    def from_parts(self, linear: Tensor, translation: Tensor | None = None) -> Tensor:
        """The element with this linear part (*batch, n, n) and, for affine groups, this translation (*batch, n)."""
        check_matrices(linear, self.n, self, "linear")
        if not self.is_affine:
            if translation is not None:
                raise ValueError(f"translation must be None for {self}; got shape {tuple(translation.shape)}")
            return linear
        if translation is not None:
            check_coordinates(translation, self.n, self, "translation")
            check_same_kind(linear, translation, "linear and translation")
        return homogeneous(linear, translation)

    @full_precision
    def distance_from_identity(self, g: Tensor) -> Tensor:
        """The Frobenius norm of g - 1."""
        check_matrices(g, self.matrix_dim, self)
        return torch.linalg.matrix_norm(g - self.identity(dtype=g.dtype, device=g.device))

    # ---------------------------------------------------------------------------------------------------- Lie algebra
    @full_precision
    def hat(self, v: Tensor) -> Tensor:
        check_coordinates(v, self.dim, self)
        basis = self.basis(v.dtype, v.device)
        return torch.einsum("...k,kij->...ij", v.to(basis.dtype), basis)

    @full_precision
    def vee(self, X: Tensor, check: bool = False) -> Tensor:
        check_matrices(X, self.matrix_dim, self, "X")
        v = torch.einsum("...ij,kij->...k", X, self._dual_basis(X).conj()).real
        if check:
            rest = (self.hat(v) - X).abs().amax((-2, -1))
            ok = rest <= self._atol(X, None) * (1 + X.abs().amax((-2, -1)))
            if not bool(ok.all()):
                raise NotInGroupError(f"{count_bad(ok)} not in the Lie algebra of {self}")
        return v

    def _dual_basis(self, X: Tensor) -> Tensor:
        basis = self.basis(X.real.dtype, X.device).to(X.dtype)
        return basis / basis.abs().square().sum((-2, -1), keepdim=True)

    @full_precision
    def exp(self, v: Tensor) -> Tensor:
        return torch.matrix_exp(self.hat(v))

    def _log(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        check_matrices(g, self.matrix_dim, self)
        X, ok = principal_log(g)
        return self.vee(X), ok

    def discrete_generators(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(0, dtype=dtype, device=device)

    @full_precision
    def adjoint(self, g: Tensor) -> Tensor:
        basis = self.basis(g.real.dtype, g.device).to(g.dtype)
        moved = g[..., None, :, :] @ basis @ self.inverse(g)[..., None, :, :]
        return self.vee(moved).mT

    @full_precision
    def ad(self, v: Tensor) -> Tensor:
        X, basis = self.hat(v)[..., None, :, :], self.basis(v.dtype, v.device)
        return self.vee(X @ basis - basis @ X).mT

    def log_modular(self, g: Tensor) -> Tensor:
        if self.is_unimodular:
            return torch.zeros_like(g[..., 0, 0].real)
        return super().log_modular(g)

    # What exp and log do to a translation: t = phi(hat(u)) v and back.
    def _exp_shift(self, u: Tensor, v: Tensor) -> Tensor:
        return (phi(self.hat(u)) @ v[..., None])[..., 0]

    def _log_shift(self, u: Tensor, shift: Tensor) -> Tensor:
        return torch.linalg.solve_ex(phi(self.hat(u)), shift[..., None])[0][..., 0]

    # ------------------------------------------------------------------------------------------------- decompositions
    @full_precision
    def decompose(self, g: Tensor, kind: str = "polar") -> Any:
        if kind not in self.decompositions:
            raise ValueError(f"kind must be one of {self.decompositions} for {self}; got {kind!r}")
        check_matrices(g, self.matrix_dim, self)
        return DECOMPOSE[kind](self, g)

    @full_precision
    def recompose(self, parts: Any) -> Tensor:
        return recompose(self, parts)

    # -------------------------------------------------------------------------------------------------- finite groups
    def elements(self, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        return self.identity(1, dtype=dtype, device=device) if self.order == 1 else super().elements(dtype, device)

    def index_of(self, g: Tensor) -> Tensor:
        """The position of the nearest of `elements()`."""
        if self.order is None:
            return super().index_of(g)
        check_matrices(g, self.matrix_dim, self)
        return torch.linalg.matrix_norm(g[..., None, :, :] - self.elements(g.dtype, g.device)).argmin(-1)

    # ---------------------------------------------------------------------------------------------------------- tools
    def _dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        return real_dtype(dtype)

    def _atol(self, g: Tensor, atol: float | None) -> float:
        return min(1e3 * torch.finfo(g.dtype).eps, 0.1) if atol is None else atol

    def _all_close(self, a: Tensor, b: Tensor, atol: float) -> Tensor:
        return ((a - b).abs() <= atol).all(-1).all(-1)


def homogeneous(linear: Tensor, translation: Tensor | None = None) -> Tensor:
    """[[linear, translation], [0, 1]]."""
    n = linear.shape[-1]
    if translation is None:
        translation = torch.zeros_like(linear[..., 0])
    batch = torch.broadcast_shapes(linear.shape[:-2], translation.shape[:-1])
    top = torch.cat([linear.expand(*batch, n, n), translation[..., None].expand(*batch, n, 1)], -1)
    bottom = torch.nn.functional.pad(linear.new_ones(1, 1), (n, 0)).expand(*batch, 1, n + 1)
    return torch.cat([top, bottom], -2)


def polar_size(g: Tensor) -> Tensor:
    """sqrt((|Y|^2 + |log R|^2)/2) of polar factors g = exp(Y) R: the angle of a rotation, the rapidity of a boost."""
    g, ok = make_finite(g.detach())
    stretch = torch.linalg.svdvals(g).log().square().sum(-1)
    U, _, Vh = torch.linalg.svd(g)
    return nan_unless(ok, (stretch / 2 + angle_size(U @ Vh).square()).sqrt())


def angle_size(R: Tensor) -> Tensor:
    """|log R|/sqrt(2) of orthogonal matrices from eigenangles: the angle for n = 2, 3; pi/sqrt(2) for a mirror."""
    R, ok = make_finite(R.detach())
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    # 2 sin(a/2) and 2 cos(a/2), in opposite orders: accurate at both ends
    angles = 2 * torch.atan2(torch.linalg.svdvals(R - eye), torch.linalg.svdvals(R + eye).flip(-1))
    return nan_unless(ok, (angles.square().sum(-1) / 2).sqrt())

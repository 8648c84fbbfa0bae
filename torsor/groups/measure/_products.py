"""Proposals that are made of proposals: with scales, translations, boosts, on some axes, on several factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._affine import AffineGroup, SemidirectProduct
from torsor.groups._conformal import Conformal
from torsor.groups._embed import Embedding
from torsor.groups._group import Element, Group
from torsor.groups._haar import integers, normal
from torsor.groups._isometries import Lorentz
from torsor.groups._linear import GLPlus, Scaling
from torsor.groups._orthogonal import SO
from torsor.groups._product import DirectProduct
from torsor.groups._projective import Projective2D
from torsor.groups.linalg import log_sinhc, polar_log
from torsor.groups.measure._proposal import Proposal, UniformCompact
from torsor.groups.measure._spd import check_positive, normal_quantile, number


@dataclass(frozen=True)
class AffineProposal(Proposal):
    """A linear part from one law, and independently a translation from N(0, scale^2) in each coordinate.

    Densities are with respect to left Haar measure |det A|^-1 dt dA.

    Arguments:
        linear: the law of the linear part.
        scale: standard deviation of each coordinate of the translation.
        group: the affine group; the semidirect product by default.

    Raises:
        TypeError: linear is no proposal.
        ValueError: scale is not positive, or the group has other linear parts.

    >>> import torch
    >>> from torsor.groups import SO, SE
    >>> from torsor.groups.measure import AffineProposal, Window
    >>> law = AffineProposal(Window(SO(2), 0.3), 2.0, SE(2))
    >>> law.describe()
    'Haar measure of SO(2) on rotations by at most 0.3 rad; translations N(0, 2^2)'
    """

    linear: Proposal
    scale: Any = 1.0
    group: AffineGroup = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not isinstance(self.linear, Proposal):
            raise TypeError(f"linear of AffineProposal must be a Proposal; got {self.linear!r}")
        check_positive(self.scale, "scale of AffineProposal")
        inner = self.linear.group
        if self.group is None:
            object.__setattr__(self, "group", SemidirectProduct(inner.n, inner))  # type: ignore[arg-type]
        elif not isinstance(self.group, AffineGroup) or self.group.n != inner.n:
            raise ValueError(f"group of AffineProposal must be an affine group on R^{inner.n}; got {self.group!r}")

    def describe(self) -> str:
        return f"{self.linear.describe()}; translations N(0, {number(self.scale):.4g}^2)"

    @property
    def support(self) -> str:
        return f"{self.linear.support}, any translation"

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        return None if self.linear.cube is None else self.linear.cube + self.group.n

    def from_cube(self, u: Tensor) -> Tensor:
        k = self.linear.cube
        return self.group.from_parts(self.linear.from_cube(u[..., :k]), self.scale * normal_quantile(u[..., k:]))

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        A = self.linear.draw(*shape, generator=generator, dtype=dtype, device=device)
        return self.group.from_parts(A, self.scale * normal([*shape, self.group.n], generator, dtype, device))

    def log_prob(self, g: Tensor) -> Tensor:
        A, t = self.group.linear(g), g[..., : self.group.n, self.group.n]
        return self.linear.log_prob(A) + torch.linalg.slogdet(A)[1] + _log_normal(t, self.scale)


@dataclass(frozen=True)
class ProjectiveProposal(Proposal):
    """A homography as a translation by t, after a linear map A, after (x, y) -> (x, y) / (1 + c . (x, y)).

    Independent laws: A from one on GL+(2), t from N(0, scale^2) and c from N(0, perspective^2) in each coordinate. The
    line that goes to infinity is then about 1 / perspective away from the origin.

    Arguments:
        linear: the law of A.
        scale: standard deviation of each coordinate of the translation.
        perspective: that of each coordinate of c, in one over the unit of the points; of images, small against one over
            half their side in pixels.

    Raises:
        ValueError: scale or perspective is not positive, or the law is not one on GL+(2).

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import LogNormalSPD, PolarProposal, ProjectiveProposal, Window
    >>> law = ProjectiveProposal(PolarProposal(LogNormalSPD(0.15), Window(SO(2), 0.3)), 5.0, 0.01)
    >>> law.sample(8).g.shape
    torch.Size([8, 3, 3])
    """

    linear: Proposal
    scale: Any = 1.0
    perspective: Any = 0.25

    def __post_init__(self) -> None:
        if not isinstance(self.linear, Proposal) or self.linear.group != GLPlus(2):
            raise ValueError(f"linear of ProjectiveProposal must be a law on GLPlus(2); got {self.linear!r}")
        check_positive(self.scale, "scale of ProjectiveProposal")
        check_positive(self.perspective, "perspective of ProjectiveProposal")

    @property
    def group(self) -> Projective2D:  # type: ignore[override]
        return Projective2D()

    def describe(self) -> str:
        scale, perspective = number(self.scale), number(self.perspective)
        return f"{self.linear.describe()}; translations N(0, {scale:.4g}^2), perspective N(0, {perspective:.4g}^2)"

    @property
    def support(self) -> str:
        return f"{self.linear.support}, any translation, any perspective that keeps the origin in sight"

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        return None if self.linear.cube is None else self.linear.cube + 4

    def from_cube(self, u: Tensor) -> Tensor:
        k = self.linear.cube
        return self._composed(self.linear.from_cube(u[..., :k]), normal_quantile(u[..., k:]))

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        A = self.linear.draw(*shape, generator=generator, dtype=dtype, device=device)
        return self._composed(A, normal([*shape, 4], generator, dtype, device))

    def _composed(self, A: Tensor, z: Tensor) -> Tensor:
        t, c = self.scale * z[..., :2, None], self.perspective * z[..., None, 2:]
        h = torch.cat([torch.cat([A + t @ c, t], -1), torch.cat([c, torch.ones_like(c[..., :1])], -1)], -2)
        return h / torch.linalg.det(A)[..., None, None] ** (1 / 3)

    def log_prob(self, g: Tensor) -> Tensor:
        """With h = g / g_33, Haar measure is |det h|^-3 dh, up to the constant of the polar coordinates."""
        sees = g[..., 2, 2] > 0
        h = g / torch.where(sees, g[..., 2, 2], 1)[..., None, None]
        t, c = h[..., :2, 2], h[..., 2, :2]
        A = torch.where(sees[..., None, None], h[..., :2, :2] - t[..., None] * c[..., None, :], torch.eye(2).to(g))
        log_prob = (
            self.linear.log_prob(A)
            + torch.linalg.slogdet(A)[1]
            + _log_normal(t, self.scale)
            + _log_normal(c, self.perspective)
            + math.log(8 * math.sqrt(3) * math.pi)
        )
        return torch.where(sees, log_prob, -math.inf)


@dataclass(frozen=True)
class ScaleProposal(Proposal):
    """Scales with N(0, width^2) logarithms, times Haar rotations where the group has rotations.

    Arguments:
        group: Scaling(n) or the linear group of Sim(n).
        width: standard deviation of the log-scale.

    Raises:
        TypeError: another group.
        ValueError: width is not positive.
    """

    group: Scaling | Conformal
    width: Any = 0.25

    def __post_init__(self) -> None:
        if not isinstance(self.group, Scaling | Conformal):
            raise TypeError(f"group of ScaleProposal must be Scaling(n) or Conformal(n); got {self.group!r}")
        check_positive(self.width, "width of ScaleProposal")

    def describe(self) -> str:
        rotations = f"Haar measure of {self.group.rotations}; " if isinstance(self.group, Conformal) else ""
        return f"{rotations}log-scales N(0, {number(self.width):.4g}^2)"

    @property
    def _rotations(self) -> UniformCompact | None:
        return UniformCompact(self.group.rotations) if isinstance(self.group, Conformal) else None

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        inner = 0 if self._rotations is None else self._rotations.cube
        return None if inner is None else inner + 1

    def from_cube(self, u: Tensor) -> Tensor:
        scale = (self.width * normal_quantile(u[..., -1:, None])).exp()
        if self._rotations is None:
            return scale * self.group.identity(dtype=u.dtype, device=u.device)
        return scale * self._rotations.from_cube(u[..., :-1])

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        if self._rotations is None:
            R = self.group.identity(*shape, dtype=dtype, device=device)
        else:
            R = self._rotations.draw(*shape, generator=generator, dtype=dtype, device=device)
        return (self.width * normal([*shape, 1, 1], generator, dtype, device)).exp() * R

    def log_prob(self, g: Tensor) -> Tensor:
        log_scale = torch.linalg.slogdet(g)[1] / self.group.n
        inside = torch.where(self.group.contains(g), 0.0, -math.inf).to(g.dtype)
        return _log_normal(log_scale[..., None], self.width) + inside


@dataclass(frozen=True)
class BoostProposal(Proposal):
    """Lorentz transformations exp(boost) R: rapidity vectors from N(0, width^2), Haar rotations, every component alike.

    Haar measure is (sinh(e)/e)^(q - 1) d^q b dR for the rapidity vector b of length e in q dimensions of space.

    Arguments:
        group: a Lorentz group.
        width: standard deviation of each coordinate of the rapidity vector.

    Raises:
        TypeError: another group.
        ValueError: width is not positive.
    """

    group: Lorentz
    width: Any = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.group, Lorentz):
            raise TypeError(f"group of BoostProposal must be a Lorentz group; got {self.group!r}")
        check_positive(self.width, "width of BoostProposal")

    def describe(self) -> str:
        components = "" if self.group.is_connected else f", components of {self.group} alike"
        return f"rapidities N(0, {number(self.width):.4g}^2), Haar measure of {SO(self.group.space)}{components}"

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        q = self.group.space
        R = SO(q).sample(*shape, generator=generator, dtype=dtype, device=device)
        R = torch.nn.functional.pad(R, (1, 0, 1, 0))
        R = R + torch.diag(torch.tensor([1.0] + [0.0] * q, dtype=R.dtype, device=device))
        b = self.width * normal([*shape, q], generator, dtype, device)
        turns = torch.zeros(*shape, self.group.dim - q, dtype=b.dtype, device=device)
        g = self.group.exp(torch.cat([turns, b], -1)) @ R
        mirrors = self.group.discrete_generators(dtype, device)
        for mirror in mirrors:
            coin = integers(2, [*shape, 1, 1], generator, device)
            g = torch.where(coin == 1, g @ mirror, g)
        return g

    def log_prob(self, g: Tensor) -> Tensor:
        Y, _ = polar_log(g)
        b = Y[..., 0, 1:]
        ok = torch.where(self.group.contains(g), 0.0, -math.inf).to(g.dtype)
        length = torch.linalg.vector_norm(b, dim=-1)
        return _log_normal(b, self.width) - (self.group.space - 1) * log_sinhc(length) + ok


@dataclass(frozen=True)
class EmbeddedProposal(Proposal):
    """A law of a group that acts on some of the axes.

    Arguments:
        inner: the law of the group inside.
        group: the embedding.

    Raises:
        ValueError: the law belongs to another group.
    """

    inner: Proposal
    group: Embedding

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Proposal) or self.inner.group.matrix_dim != self.group.group.matrix_dim:
            raise ValueError(f"inner of EmbeddedProposal must be a law of {self.group.group}; got {self.inner!r}")

    def describe(self) -> str:
        return f"{self.inner.describe()}, on axes {self.group.axes}"

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        return self.inner.cube

    def from_cube(self, u: Tensor) -> Tensor:
        return self.group.outer(self.inner.from_cube(u))

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        return self.group.outer(self.inner.draw(*shape, generator=generator, dtype=dtype, device=device))

    def log_prob(self, g: Tensor) -> Tensor:
        return self.inner.log_prob(self.group.inner(g))


@dataclass(frozen=True, init=False)
class ProductProposal(Proposal):
    """Independent laws, one per factor of a direct product.

    >>> from torsor.groups import SO, Symmetric
    >>> from torsor.groups.measure import ProductProposal, UniformCompact
    >>> ProductProposal(UniformCompact(SO(3)), UniformCompact(Symmetric(5))).describe()
    'Haar measure of SO(3); Haar measure of Symmetric(5)'
    """

    factors: tuple[Proposal, ...]

    def __init__(self, *factors: Proposal) -> None:
        for i, factor in enumerate(factors):
            if not isinstance(factor, Proposal):
                raise TypeError(f"factor {i} of ProductProposal must be a Proposal; got {factor!r}")
        object.__setattr__(self, "factors", factors)

    @property
    def group(self) -> Group:  # type: ignore[override]
        return DirectProduct(*[f.group for f in self.factors])

    def describe(self) -> str:
        return "; ".join(f.describe() for f in self.factors)

    @property
    def support(self) -> str:
        return "; ".join(f.support for f in self.factors)

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        sizes = [f.cube for f in self.factors]
        return None if None in sizes else sum(sizes)  # type: ignore[arg-type]

    def from_cube(self, u: Tensor) -> Element:
        parts = u.split([f.cube for f in self.factors], -1)  # type: ignore[arg-type]
        return tuple(f.from_cube(part) for f, part in zip(self.factors, parts, strict=True))

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Element:
        return tuple(f.draw(*shape, generator=generator, dtype=dtype, device=device) for f in self.factors)

    def log_prob(self, g: Element) -> Tensor:
        return sum(f.log_prob(a) for f, a in zip(self.factors, g, strict=True))  # type: ignore[return-value]


def _log_normal(x: Tensor, scale: Any) -> Tensor:
    """log density of independent N(0, scale^2) coordinates on the last axis."""
    s = torch.as_tensor(scale, dtype=x.dtype, device=x.device)
    return -x.square().sum(-1) / (2 * s.square()) - x.shape[-1] * (s.log() + math.log(2 * math.pi) / 2)

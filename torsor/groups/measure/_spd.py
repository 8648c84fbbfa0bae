"""Laws on symmetric positive definite matrices P = exp(Y), by their symmetric logarithm Y."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.groups._bases import symmetric_basis, traceless_diagonals
from torsor.groups._check import real_dtype
from torsor.groups._haar import normal, uniform
from torsor.groups.linalg import eigh, log_sinhc


class SPDLaw:
    """A law of symmetric matrices Y with a density with respect to Haar measure of P = exp(Y).

    That measure is prod_{i<j} sinhc(y_i - y_j) dY, y the eigenvalues, dY Lebesgue measure in Frobenius-orthonormal
    coordinates; for traceless laws on traceless matrices.
    """

    traceless: bool
    dimension: int | None = None  # the only n that the law knows; None: every n

    def describe(self) -> str:
        """The law in words."""
        raise NotImplementedError

    def cube(self, n: int) -> int | None:
        """How many uniform numbers make a matrix; None where it is not a transform of them."""
        return None

    def from_cube(self, u: Float[Tensor, "*shape k"], n: int) -> Float[Tensor, "*shape n n"]:
        """The matrix Y that belongs to uniform numbers."""
        raise NotImplementedError

    def draw(
        self,
        n: int,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Float[Tensor, "*shape n n"]:
        """Independent matrices Y, n x n."""
        k = self.cube(n)
        assert k is not None
        return self.from_cube(uniform([*shape, k], generator, dtype, device), n)

    def log_prob(self, Y: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
        """The log density at Y with respect to Haar measure."""
        raise NotImplementedError


@dataclass(frozen=True)
class LogNormalSPD(SPDLaw):
    """Y normal with independent Frobenius-orthonormal coordinates, N(0, sigma^2). For sigma <= 0.5.

    Arguments:
        sigma: standard deviation of each coordinate; may be a tensor that wants a gradient.
        traceless: Y has trace 0, P determinant 1.

    Raises:
        ValueError: sigma is not positive.
    """

    sigma: Any
    traceless: bool = False

    def __post_init__(self) -> None:
        check_positive(self.sigma, "sigma of LogNormalSPD")

    def describe(self) -> str:
        return f"log-normal{' (det 1)' if self.traceless else ''} of width {number(self.sigma):.4g}"

    def cube(self, n: int) -> int:
        return n * (n + 1) // 2 - self.traceless

    def from_cube(self, u: Tensor, n: int) -> Tensor:
        return torch.einsum("...k,kij->...ij", self.sigma * normal_quantile(u), _basis(n, self.traceless, u))

    def log_prob(self, Y: Tensor) -> Tensor:
        d = Y.shape[-1] * (Y.shape[-1] + 1) // 2 - self.traceless
        variance = torch.as_tensor(self.sigma, dtype=Y.dtype, device=Y.device).square()
        gauss = -Y.square().sum((-2, -1)) / (2 * variance) - d / 2 * (2 * math.pi * variance).log()
        return gauss - _log_volume(Y)


@dataclass(frozen=True)
class RiemannianGaussianSPD(SPDLaw):
    """Density exp(-|Y|^2 / 2 sigma^2)/Z with respect to Haar measure: the Gaussian of the affine-invariant metric.

    Drawn by rejection from wider normal matrices, exact at every sigma, fast up to about sigma = 1 for n = 3; for
    n <= 2 by inverting distribution functions where sigma is a tensor, and in quasi-random samples. Z in closed form:
    a Pfaffian for every n.

    Arguments:
        sigma: width; for n <= 2 it may be a tensor that wants a gradient.
        traceless: Y has trace 0, P determinant 1.

    Raises:
        ValueError: sigma is not positive.
    """

    sigma: Any
    traceless: bool = False

    def __post_init__(self) -> None:
        check_positive(self.sigma, "sigma of RiemannianGaussianSPD")

    def describe(self) -> str:
        return f"Riemannian Gaussian{' (det 1)' if self.traceless else ''} of width {number(self.sigma):.4g}"

    def log_normaliser(self, n: int) -> float:
        """log Z_n(sigma), or that of the traceless law."""
        total = _log_z(n, number(self.sigma))
        return total - math.log(math.sqrt(2 * math.pi) * number(self.sigma)) if self.traceless else total

    def cube(self, n: int) -> int | None:
        return {1: 1, 2: 3}[n] - self.traceless if n <= 2 else None

    def from_cube(self, u: Tensor, n: int) -> Tensor:
        trace = None if self.traceless else self.sigma * normal_quantile(u[..., -1])
        if n == 1:
            return torch.zeros_like(u[..., None, :0].sum(-1, keepdim=True)) if trace is None else trace[..., None, None]
        r = _radius_quantile(u[..., 0], self.sigma)
        return _planar(r, u[..., 1], trace)

    def draw(
        self,
        n: int,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        if n <= 2 and isinstance(self.sigma, Tensor):  # a transform, for its gradient
            return super().draw(n, *shape, generator=generator, dtype=dtype, device=device)
        return _reject(n, number(self.sigma), self.traceless, shape, generator, real_dtype(dtype), device)

    def log_prob(self, Y: Tensor) -> Tensor:
        variance = torch.as_tensor(self.sigma, dtype=Y.dtype, device=Y.device).square()
        return -Y.square().sum((-2, -1)) / (2 * variance) - self.log_normaliser(Y.shape[-1])


@dataclass(frozen=True)
class HaarBall(SPDLaw):
    """Haar measure of SL(2)/SO(2), restricted to |Y|_F <= rho: n = 2, traceless. Volume pi (cosh(sqrt(2) rho) - 1).

    Arguments:
        rho: radius; may be a tensor that wants a gradient.

    Raises:
        ValueError: rho is not positive.
    """

    rho: Any
    traceless = True
    dimension = 2

    def __post_init__(self) -> None:
        check_positive(self.rho, "rho of HaarBall")

    def describe(self) -> str:
        return f"Haar measure on |log P| <= {number(self.rho):.4g}"

    def cube(self, n: int) -> int:
        return 2

    def from_cube(self, u: Tensor, n: int) -> Tensor:
        rho = torch.as_tensor(self.rho, dtype=u.dtype, device=u.device)
        # cosh(sqrt 2 r) - 1 = 2 sinh^2(r/sqrt 2) is uniform
        r = math.sqrt(2) * torch.asinh(u[..., 0].sqrt() * torch.sinh(rho / math.sqrt(2)))
        return _planar(r, u[..., 1], None)

    def log_prob(self, Y: Tensor) -> Tensor:
        rho = torch.as_tensor(self.rho, dtype=Y.dtype, device=Y.device)
        volume = 2 * math.pi * torch.sinh(rho / math.sqrt(2)).square()
        inside = torch.linalg.matrix_norm(Y) <= rho * (1 + 10 * torch.finfo(Y.dtype).eps)
        return torch.where(inside, -volume.log(), -math.inf)


# --------------------------------------------------------------------------------------------------------------- parts
def number(width: Any) -> float:
    """A width as a plain number, whether or not it wants a gradient."""
    return float(width.detach()) if isinstance(width, Tensor) else float(width)


def check_positive(value: Any, what: str) -> None:
    """A positive finite number, or ValueError."""
    if not 0 < number(value) < math.inf:
        raise ValueError(f"{what} must be a positive number; got {value}")


def _log_volume(Y: Tensor) -> Tensor:
    """sum_{i<j} log sinhc(y_i - y_j)."""
    if Y.shape[-1] == 2:
        gap = torch.hypot(Y[..., 0, 0] - Y[..., 1, 1], 2 * Y[..., 0, 1])
        return log_sinhc(gap)
    y = eigh(Y)[0]
    i, j = torch.triu_indices(Y.shape[-1], Y.shape[-1], 1, device=Y.device)
    return log_sinhc(y[..., i] - y[..., j]).sum(-1)


def _basis(n: int, traceless: bool, like: Tensor) -> Tensor:
    basis = symmetric_basis(n, like.dtype, like.device)
    return torch.cat([traceless_diagonals(n, like.dtype, like.device), basis[n:]]) if traceless else basis


def normal_quantile(u: Tensor) -> Tensor:
    """The inverse of the normal distribution function, finite on [0, 1)."""
    tiny = torch.finfo(u.dtype).eps / 4
    return torch.special.ndtri(u.clamp(tiny, 1 - 2 * tiny))


def _planar(r: Tensor, u: Tensor, trace: Tensor | None) -> Tensor:
    """The 2 x 2 matrix with a traceless part of norm r in the direction u of the circle, and this trace/sqrt(2)."""
    angle = 2 * math.pi * u
    x, y = r * angle.cos(), r * angle.sin()
    t = torch.zeros_like(x) if trace is None else trace
    return torch.stack([t + x, y, y, t - x], -1).unflatten(-1, (2, 2)) / math.sqrt(2)


def _radius_quantile(u: Tensor, sigma: Any) -> Tensor:
    """The radius r with F(r) = u, density of r proportional to sinh(sqrt(2) r) exp(-r^2 / 2 sigma^2).

    Bisection, then one Newton step, which also carries the gradients in u and sigma.
    """
    s = torch.as_tensor(sigma, dtype=torch.float64, device=u.device)
    target = u.double()

    def share(r: Tensor, s: Tensor) -> Tensor:
        # the difference of two Gaussians, at +- sqrt(2) s^2, divided by its integral
        a, b = r / (math.sqrt(2) * s), s
        return (torch.erf(b) + (torch.erf(a - b) - torch.erf(a + b)) / 2) / torch.erf(b)

    with torch.no_grad():
        low = torch.zeros_like(target)
        high = torch.full_like(target, 1.0) * (math.sqrt(2) * s * s + 9 * s)
        for _ in range(60):
            middle = (low + high) / 2
            above = share(middle, s) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        r = (low + high) / 2
        density = torch.sinh(math.sqrt(2) * r) * torch.exp(-r.square() / (2 * s * s))
        density = density * 2 / (math.sqrt(math.pi) * math.sqrt(2) * s * torch.exp(s * s) * torch.erf(s))
    step = (share(r, s) - target) / density.clamp(min=1e-30)
    return (r - torch.where(density > 1e-12, step, 0)).clamp(min=0).to(u.dtype)


@lru_cache(maxsize=256)
def _log_z(n: int, sigma: float) -> float:
    """log of the integral of exp(-|Y|^2 / 2 sigma^2) over Haar measure: de Bruijn's Pfaffian of the exponentials
    e^{a_k y}, a_k = 2 k - (n - 1), in 60 digits, because the Pfaffian cancels for small sigma."""
    import mpmath

    with mpmath.workdps(60 + 10 * n):
        s, m = mpmath.mpf(sigma), n + n % 2
        a = [2 * k - (n - 1) for k in range(n)]
        A = mpmath.zeros(m, m)
        for j in range(n):
            for k in range(n):
                weight = 2 * mpmath.pi * s**2 * mpmath.exp(s**2 * (a[j] ** 2 + a[k] ** 2) / 2)
                A[j, k] = weight * mpmath.erf(s * (a[k] - a[j]) / 2)
        if m > n:
            for k in range(n):
                A[k, n] = mpmath.sqrt(2 * mpmath.pi) * s * mpmath.exp(s**2 * a[k] ** 2 / 2)
                A[n, k] = -A[k, n]
        pfaffian = mpmath.sqrt(abs(mpmath.det(A)))
        # dY = c prod |y_i - y_j| dy dU, with c from Mehta's integral; n! orders; 2 sinh = e - 1/e
        mehta = (2 * mpmath.pi) ** (mpmath.mpf(n) / 2)
        for j in range(1, n + 1):
            mehta *= mpmath.gamma(1 + mpmath.mpf(j) / 2) / mpmath.gamma(mpmath.mpf(3) / 2)
        c = (2 * mpmath.pi) ** (mpmath.mpf(n * (n + 1)) / 4) / mehta
        return float(mpmath.log(c * mpmath.factorial(n) * pfaffian / mpmath.mpf(2) ** (n * (n - 1) // 2)))


@lru_cache(maxsize=256)
def _envelope(n: int, sigma: float) -> tuple[float, float]:
    """(slope a, height b) with log sinhc(d) <= a d^2 + b for all d, the pair that accepts most often."""
    d = torch.linspace(0.01, 60.0, 6000, dtype=torch.float64)
    dim = n * (n + 1) / 2
    best = (math.inf, 1 / 6, 0.0)
    for a in (torch.logspace(-3, 0, 60, dtype=torch.float64) / 6).tolist():
        remaining = 1 / sigma**2 - 2 * n * a
        if remaining <= 0:
            continue
        b = max(0.0, float((log_sinhc(d) - a * d.square()).max())) + 1e-4 * (a < 1 / 6 - 1e-9)
        cost = b * n * (n - 1) / 2 - dim / 2 * math.log(remaining)
        best = min(best, (cost, a, b))
    return best[1], best[2]


def _reject(
    n: int, sigma: float, traceless: bool, shape: tuple[int, ...], generator: Any, dtype: torch.dtype, device: Any
) -> Tensor:
    """Normal matrices of variance 1/(1/sigma^2 - 2 n a), kept with probability prod sinhc(d) exp(-a d^2 - b).

    sum_{i<j} (y_i - y_j)^2 <= n |Y|^2, with equality for traceless Y.
    """
    a, b = _envelope(n, sigma)
    width = (1 / sigma**2 - 2 * n * a) ** -0.5
    basis = _basis(n, traceless, torch.empty(0, dtype=torch.float64, device=device))
    wanted, kept, count = math.prod(shape), [], 0
    while count < wanted:
        coordinates = width * normal([2 * (wanted - count) + 16, len(basis)], generator, torch.float64, device)
        Y = torch.einsum("bk,kij->bij", coordinates, basis)
        bound = a * n * Y.square().sum((-2, -1)) + b * n * (n - 1) / 2
        keep = uniform([len(Y)], generator, torch.float64, device).log() < _log_volume(Y) - bound
        kept.append(Y[keep])
        count += len(kept[-1])
    empty = basis.new_empty(0, n, n)
    return torch.cat([empty, *kept])[:wanted].reshape(*shape, n, n).to(dtype)

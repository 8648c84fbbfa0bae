"""Quadrature on the sphere: signals as values at points instead of coefficients."""

from __future__ import annotations

import operator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import spherical_harmonics
from torsor.build.so3._tables import constants

Rule = Literal["gauss_legendre", "lebedev", "auto"]
_FEWEST: dict[tuple[int, bool], Rule] = {}
CPU = torch.device("cpu")
# scipy has these degrees of Lebedev's rules; 13, 25 and 27 have negative weights and lose digits in float32.
LEBEDEV = [d for d in [*range(3, 32, 2), *range(35, 132, 6)] if d not in (13, 25, 27)]


class SphereGrid:
    """Points and weights on the unit sphere that integrate polynomials up to a degree exactly.

    Coefficients are those of harmonics with `normalization="integral"`: `f(n) = sum x_lm Y_lm(n)`.

    Arguments:
        degree: polynomials up to it are integrated exactly. A product of signals up to L1 and L2, projected on degrees
            up to L3, needs L1 + L2 + L3.
        rule: `"gauss_legendre"` is rings of Gauss-Legendre nodes in y, `"lebedev"` the rules with octahedral symmetry,
            which need a third fewer points and exist up to degree 131, `"auto"` whichever has fewer points.
        half: keep one of each pair of opposite points. Values are then pairs, the even and the odd part of the
            signal: (..., 2, points), which halves the work of transforms.

    Raises:
        ValueError: the degree is negative, the rule unknown or not there at this degree.

    >>> grid = SphereGrid(6)
    >>> x = torch.randn(5, 9)                            # degrees 0, 1, 2
    >>> torch.allclose(grid.from_grid(grid.to_grid(x, 2), 2), x, atol=1e-5)
    True
    """

    def __init__(self, degree: int, rule: Rule = "auto", half: bool = False) -> None:
        self.degree = check_degree(degree, "degree")
        if rule not in ("gauss_legendre", "lebedev", "auto"):
            raise ValueError(f'rule must be "gauss_legendre", "lebedev" or "auto"; got {rule!r}')
        self.half = half
        self.rule = _fewest_points(degree, half) if rule == "auto" else rule
        if rule == "lebedev":
            _lebedev_degree(degree)

    @property
    def points(self) -> Float[Tensor, "n 3"]:
        """Unit vectors, float64."""
        return self._rule[0].clone()

    @property
    def weights(self) -> Float[Tensor, " n"]:
        """They sum to 4 pi, float64."""
        return self._rule[1].clone()

    @property
    def _rule(self) -> tuple[Tensor, ...]:
        return constants(quadrature, self.degree, self.rule, self.half, dtype=torch.float64, device=CPU)

    def __len__(self) -> int:
        return len(self._rule[1])

    def __repr__(self) -> str:
        return f"SphereGrid({self.degree}, {self.rule!r}, half={self.half})"

    def to_grid(self, x: Float[Tensor, "*batch basis"], lmax: int) -> Float[Tensor, "*values n"]:
        """The values of signals at the points; with `half`, of their even and odd parts: (..., 2, points)."""
        _check_signal(x, lmax)
        return self._spread(x, self.table("values", lmax, x.dtype, x.device))

    def gradient(self, x: Float[Tensor, "*batch basis"], lmax: int) -> Float[Tensor, "*values n"]:
        """Tangential derivatives along two unit vectors e1, e2 at every point, with e1 x e2 = n."""
        _check_signal(x, lmax)
        parts = [self._spread(x, self.table(name, lmax, x.dtype, x.device)) for name in ("first", "second")]
        return torch.stack(parts, -3 if self.half else -2)

    def from_grid(self, f: Float[Tensor, "*values n"], lmax: int) -> Float[Tensor, "*batch basis"]:
        """The coefficients of degrees up to `lmax` of what takes these values."""
        if f.shape[-1] != len(self):
            raise ValueError(f"f must end in {len(self)} points; got shape {tuple(f.shape)}")
        table = self.table("project", check_degree(lmax, "lmax"), f.dtype, f.device)
        if not self.half:
            return f @ table
        even, odd = constants(_by_parity, table.shape[-1], dtype=f.dtype, device=f.device)
        parts = torch.cat([f[..., 0, :] @ table[:, even], f[..., 1, :] @ table[:, odd]], -1)
        return parts[..., torch.cat([even, odd]).argsort()]

    def product(self, f: Tensor, g: Tensor) -> Tensor:
        """The product of two signals given by values: by parts if the grid is half a sphere."""
        if not self.half:
            return f * g
        (fe, fo), (ge, go) = f.unbind(-2), g.unbind(-2)
        return torch.stack([fe * ge + fo * go, fe * go + fo * ge], -2)

    def bracket(self, df: Tensor, dg: Tensor) -> Tensor:
        """n . (grad f x grad g) from the gradients of two signals."""
        axis = -3 if self.half else -2
        (f1, f2), (g1, g2) = df.unbind(axis), dg.unbind(axis)
        if not self.half:
            return f1 * g2 - f2 * g1
        # a gradient of an even part is odd, and n itself changes sign: the two parts of the product change places
        return (self.product(f1, g2) - self.product(f2, g1)).flip(-2)

    def table(self, name: str, lmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The matrix of a transform: values, first, second (derivatives along e1, e2) or project."""
        return constants(transform, self.degree, self.rule, self.half, name, lmax, dtype=dtype, device=device)[0]

    def _spread(self, x: Tensor, table: Tensor) -> Tensor:
        if not self.half:
            return x @ table
        even, odd = constants(_by_parity, x.shape[-1], dtype=x.dtype, device=x.device)
        return torch.stack([x[..., even] @ table[even], x[..., odd] @ table[odd]], -2)


def transform(degree: int, rule: str, half: bool, name: str, lmax: int) -> tuple[np.ndarray, ...]:
    """A table of `SphereGrid` in float64."""
    points, weights = quadrature(degree, rule, half)
    if name in ("first", "second"):
        return (frame_gradients(points, lmax)[name == "second"].T,)
    harmonics = _harmonics(lmax, torch.from_numpy(points)).numpy()
    return (harmonics.T if name == "values" else weights[:, None] * harmonics,)


def frame_gradients(points: np.ndarray, lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of the harmonics at the points along unit vectors e1, e2 with e1 x e2 = n."""
    n = torch.from_numpy(points)
    # the axis of space that is farthest from n, made tangential
    axis = torch.eye(3, dtype=n.dtype)[n.abs().argmin(-1)]
    e1 = torch.nn.functional.normalize(axis - (axis * n).sum(-1, keepdim=True) * n, dim=-1)
    first, second = (derivative(lmax, n, e).numpy() for e in (e1, torch.linalg.cross(n, e1)))
    return first, second


def derivative(lmax: int, n: Tensor, along: Tensor) -> Tensor:
    """The derivatives of the harmonics at unit vectors along tangential ones."""
    return torch.func.jvp(lambda n: _harmonics(lmax, n), (n,), (along,))[1]


def quadrature(degree: int, rule: str, half: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights."""
    return _gauss_legendre(degree, half) if rule == "gauss_legendre" else _lebedev(degree, half)


def _harmonics(lmax: int, n: Tensor) -> Tensor:
    return spherical_harmonics(lmax, n, normalization="integral")


def _by_parity(size: int) -> tuple[np.ndarray, ...]:
    odd = np.floor(np.sqrt(np.arange(size))).astype(int) % 2
    return np.nonzero(odd == 0)[0], np.nonzero(odd)[0]


def gauss_legendre_rings(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """cos(theta) and weights of the floor(degree / 2) + 1 rings."""
    return np.polynomial.legendre.leggauss(degree // 2 + 1)


def _gauss_legendre(degree: int, half: bool) -> tuple[np.ndarray, np.ndarray]:
    y, ring = gauss_legendre_rings(degree)
    count = degree + 1
    if half:  # the point opposite to (theta, phi) is (pi - theta, phi + pi): an even number of azimuths holds both
        count += count % 2
    phi = 2 * np.pi * np.arange(count // 2 if half else count) / count
    sine = np.sqrt(1 - y**2)
    columns = np.outer(sine, np.sin(phi)), np.outer(y, np.ones_like(phi)), np.outer(sine, np.cos(phi))
    weights = np.outer(ring, np.full_like(phi, 2 * np.pi / len(phi)))
    return np.stack([column.ravel() for column in columns], -1), weights.ravel()


def _lebedev(degree: int, half: bool) -> tuple[np.ndarray, np.ndarray]:
    from scipy.integrate import lebedev_rule

    points, weights = lebedev_rule(_lebedev_degree(degree))
    points = np.where(np.abs(points.T) < 1e-9, 0, points.T)
    if half:
        first = np.array([tuple(p) > (0, 0, 0) for p in points])
        points, weights = points[first], 2 * weights[first]
    return points / np.linalg.norm(points, axis=-1, keepdims=True), weights


def _lebedev_degree(degree: int) -> int:
    """The lowest degree with a rule of positive weights."""
    try:
        from scipy.integrate import lebedev_rule  # noqa: F401 (from scipy 1.15 on)
    except ImportError:
        raise ValueError('rule="lebedev" needs scipy 1.15 or newer; use "gauss_legendre"') from None
    known = [d for d in LEBEDEV if d >= degree]
    if not known:
        raise ValueError(f'rule="lebedev" exists up to degree 131; got {degree}; use "gauss_legendre"')
    return known[0]


@torch.compiler.assume_constant_result
def _fewest_points(degree: int, half: bool) -> Rule:
    if (degree, half) not in _FEWEST:
        rings = len(_gauss_legendre(degree, half)[1])
        try:
            _FEWEST[degree, half] = "lebedev" if len(_lebedev(degree, half)[1]) < rings else "gauss_legendre"
        except ValueError:
            _FEWEST[degree, half] = "gauss_legendre"
    return _FEWEST[degree, half]


def _check_signal(x: Tensor, lmax: int) -> None:
    if x.shape[-1] != (check_degree(lmax, "lmax") + 1) ** 2:
        raise ValueError(f"x must end in (lmax + 1)^2 = {(lmax + 1) ** 2} coefficients; got shape {tuple(x.shape)}")


def check_degree(l: int, name: str) -> int:
    """A degree as an int, or ValueError."""
    l = operator.index(l)
    if l < 0:
        raise ValueError(f"{name} must be 0 or more; got {l}")
    return l

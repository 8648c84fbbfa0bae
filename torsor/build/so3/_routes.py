"""The ways to evaluate a Gaunt or bracket product in plain PyTorch. All of them give the same numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torsor.actions import spherical_harmonics
from torsor.build.so3._blocks import coupling_table, inverse_growth
from torsor.build.so3._grid import SphereGrid, derivative, gauss_legendre_rings
from torsor.build.so3._tables import constants


def dense(x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, _grid) -> Tensor:
    """The outer product of the two signals times the matrix of all coefficients."""
    (table,) = constants(_matrix, degrees, antisymmetric, normalized, dtype=x.dtype, device=x.device)
    return (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2) @ table


def sparse(x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, _grid) -> Tensor:
    """One multiplication for each coefficient that is not zero."""
    i, j, k, value = constants(_entries, degrees, antisymmetric, normalized, dtype=x.dtype, device=x.device)
    terms = x[..., i] * (y[..., j] * value)
    empty = terms.new_zeros(*terms.shape[:-1], (degrees[2] + 1) ** 2)
    return empty.index_add(-1, k, terms)


def on_grid(
    x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, grid: SphereGrid | None
) -> Tensor:
    """Values at points, their product, and back."""
    L1, L2, L3 = degrees
    grid = grid or SphereGrid(grid_degree(degrees, antisymmetric))
    if not antisymmetric:
        return grid.from_grid(grid.product(grid.to_grid(x, L1), grid.to_grid(y, L2)), L3)
    x, y = (_shrunk(x, L1), _shrunk(y, L2)) if normalized else (x, y)
    return grid.from_grid(grid.bracket(grid.gradient(x, L1), grid.gradient(y, L2)), L3)


def separable(
    x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, _grid
) -> Tensor:
    """Values on rings: Legendre functions for each order m, then a real Fourier series in the azimuth."""
    L1, L2, L3 = degrees
    D = grid_degree(degrees, antisymmetric)
    if antisymmetric:
        x, y = (_shrunk(x, L1), _shrunk(y, L2)) if normalized else (x, y)
        (x1, x2), (y1, y2) = (
            (_to_rings(v, L, D, "polar"), _to_rings(v, L, D, "azimuth")) for v, L in ((x, L1), (y, L2))
        )
        values = x1 * y2 - x2 * y1
    else:
        values = _to_rings(x, L1, D, "values") * _to_rings(y, L2, D, "values")
    legendre, series, place, _ = constants(_rings, L3, D, "project", dtype=x.dtype, device=x.device)
    orders = torch.einsum("...tp,mp->...mt", values, series)
    return torch.einsum("...mt,mlt->...ml", orders, legendre).flatten(-2)[..., place]


def fourier(
    x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, _grid
) -> Tensor:
    """The paper's route: signals as Fourier series on the torus, their convolution by FFT, and back.

    Exact, and slower than every other route. Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 3.2.
    """
    L1, L2, L3 = degrees
    if antisymmetric and normalized:
        x, y = _shrunk(x, L1), _shrunk(y, L2)
    (project,) = constants(_from_torus, L1 + L2, L3, antisymmetric, dtype=x.dtype, device=x.device)
    f, g = _to_torus(x, L1), _to_torus(y, L2)
    size = (2 * (L1 + L2) + 1,) * 2
    if antisymmetric:
        (f1, f2), (g1, g2) = _derivatives(f, L1), _derivatives(g, L2)
        product = torch.fft.fft2(f1, size) * torch.fft.fft2(g2, size)
        product = product - torch.fft.fft2(f2, size) * torch.fft.fft2(g1, size)
    else:
        product = torch.fft.fft2(f, size) * torch.fft.fft2(g, size)
    coefficients = torch.fft.ifft2(product).flatten(-2)
    return coefficients.real @ project.real - coefficients.imag @ project.imag


def grid_degree(degrees: tuple[int, int, int], antisymmetric: bool) -> int:
    """What a grid must integrate exactly: a bracket has one degree less."""
    return max(sum(degrees) - antisymmetric, 0)


def _matrix(degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool) -> tuple[np.ndarray, ...]:
    table = coupling_table(*degrees, antisymmetric, normalized)
    return (table.reshape(-1, table.shape[-1]),)


def _entries(degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool) -> tuple[np.ndarray, ...]:
    table = coupling_table(*degrees, antisymmetric, normalized)
    places = np.nonzero(table)
    return *places, table[places]


def _shrunk(x: Tensor, lmax: int) -> Tensor:
    (scale,) = constants(_growth, lmax, dtype=x.dtype, device=x.device)
    return x * scale


def _growth(lmax: int) -> tuple[np.ndarray, ...]:
    return (inverse_growth(lmax),)


def _to_rings(x: Tensor, lmax: int, D: int, kind: str) -> Tensor:
    legendre, series, _, source = constants(_rings, lmax, D, kind, dtype=x.dtype, device=x.device)
    by_order = torch.nn.functional.pad(x, (0, 1))[..., source].unflatten(-1, (2 * lmax + 1, lmax + 1))
    orders = torch.einsum("...ml,mlt->...mt", by_order, legendre)
    return torch.einsum("...mt,mp->...tp", orders, series)


def _rings(lmax: int, D: int, kind: str) -> tuple[np.ndarray, ...]:
    """Legendre functions (m, l, ring), Fourier series (m, azimuth), where (l, m) stands in (m, l), and the inverse."""
    cosine, weights = gauss_legendre_rings(D)
    sine = np.sqrt(1 - cosine**2)
    zero = np.zeros_like(sine)
    points = torch.from_numpy(np.stack([zero, cosine, sine], -1))  # azimuth 0
    harmonics = spherical_harmonics(lmax, points, normalization="integral")
    if kind == "polar":
        south = torch.from_numpy(np.stack([zero, -sine, cosine], -1))
        harmonics = derivative(lmax, points, south)
    m, phi = np.arange(-lmax, lmax + 1), 2 * np.pi * np.arange(D + 1) / (D + 1)
    angles = np.outer(np.abs(m), phi)
    series = np.where(m[:, None] < 0, np.sin(angles), np.cos(angles))
    if kind == "azimuth":
        series = np.abs(m)[:, None] * np.where(m[:, None] < 0, np.cos(angles), -np.sin(angles))
    factor = {"azimuth": 1 / sine, "project": weights * 2 * np.pi / len(phi)}.get(kind, np.ones_like(sine))
    legendre = np.zeros((len(m), lmax + 1, len(sine)))
    place, source = np.zeros((lmax + 1) ** 2, int), np.full((len(m), lmax + 1), (lmax + 1) ** 2)
    for l in range(lmax + 1):
        for order in range(-l, l + 1):
            legendre[lmax + order, l] = factor * harmonics[:, l * l + l + abs(order)].numpy()
            place[l * l + l + order] = (lmax + order) * (lmax + 1) + l
            source[lmax + order, l] = l * l + l + order
    return legendre, series, place, source.ravel()


def _to_torus(x: Tensor, lmax: int) -> Tensor:
    (table,) = constants(_torus, lmax, dtype=x.dtype, device=x.device)
    series = torch.complex(x @ table.real, x @ table.imag)
    return series.unflatten(-1, (2 * lmax + 1, 2 * lmax + 1))


def _torus(lmax: int) -> tuple[np.ndarray, ...]:
    """Fourier coefficients (l m, (u, v)) of the harmonics for u, v = -lmax..lmax.

    The harmonics are polynomials in x, y, z, so with sin(theta) of either sign they have period 2 pi in theta too.
    """
    size = 2 * lmax + 1
    angle = 2 * np.pi * np.arange(size) / size
    theta, phi = np.meshgrid(angle, angle, indexing="ij")
    points = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
    values = spherical_harmonics(lmax, torch.from_numpy(points), normalize=False, normalization="integral").numpy()
    series = np.fft.fftshift(np.fft.fft2(values, axes=(0, 1)), axes=(0, 1)) / size**2
    series[np.abs(series) < 1e-14] = 0
    return (series.reshape(size**2, -1).T,)


def _from_torus(l: int, lmax: int, antisymmetric: bool) -> tuple[np.ndarray, ...]:
    """((u, v), l m): the integral over the sphere of exp(i u theta + i v phi) times the harmonic, u, v = -l..l."""
    harmonics = _torus(lmax)[0].reshape(-1, 2 * lmax + 1, 2 * lmax + 1)[:, :, ::-1]  # exp(i v phi) meets exp(-i v phi)
    w = np.arange(-l, l + 1)[:, None] + np.arange(-lmax, lmax + 1)
    odd = w % 2 == 1
    if antisymmetric:  # 1 / sin(theta) of the bracket takes away the sine of the measure
        integrals = np.where(w == 0, np.pi, np.where(odd, 2j / np.where(odd, w, 1), 0))
    else:
        integrals = np.where(odd, np.where(np.abs(w) == 1, 0.5j * np.pi * w, 0), 2 / np.where(odd, 1, 1 - w**2))
    found = 2 * np.pi * np.einsum("uw,nwv->uvn", integrals, harmonics)
    table = np.zeros((2 * l + 1, 2 * l + 1, found.shape[-1]), complex)
    shared = min(l, lmax)
    table[:, l - shared : l + shared + 1] = found[:, lmax - shared : lmax + shared + 1]
    return (table.reshape(-1, table.shape[-1]),)


def _derivatives(f: Tensor, lmax: int) -> tuple[Tensor, Tensor]:
    """With respect to theta and phi."""
    u = 1j * torch.arange(-lmax, lmax + 1, device=f.device)
    return u[:, None] * f, u * f

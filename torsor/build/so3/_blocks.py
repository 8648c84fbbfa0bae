"""Gaunt and Poisson-bracket coefficients: products of functions on the sphere, in the basis of `torsor.actions`."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import spherical_harmonics, wigner_3j
from torsor.build.so3._grid import check_degree, frame_gradients, quadrature

NEGLIGIBLE = 1e-11
"""Entries of the tables below this are rounding: the smallest true one up to degree 20 is above 1e-4."""


def gaunt(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    """The integral of `Y_l1m1 Y_l2m2 Y_l3m3` over the sphere: how the product of two functions falls into degrees.

    A positive multiple of `wigner_3j` where l1 + l2 + l3 is even and the degrees satisfy the triangle rule, zero
    elsewhere. Symmetric under any permutation of its three pairs (l, m). Float64.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), eq. (4), in real harmonics normalised on the sphere.

    >>> gaunt(1, 1, 0)[..., 0]                          # the dot product over sqrt(4 pi)
    tensor([[0.2821, 0.0000, 0.0000],
            [0.0000, 0.2821, 0.0000],
            [0.0000, 0.0000, 0.2821]], dtype=torch.float64)
    """
    return _block(gaunt_scale(l1, l2, l3), l1, l2, l3)


def poisson(l1: int, l2: int, l3: int, normalized: bool = False) -> Float[Tensor, "m1 m2 m3"]:
    """The integral of `{Y_l1m1, Y_l2m2} Y_l3m3` over the sphere, {A, B} = n . (grad A x grad B): the odd half.

    A positive multiple of `wigner_3j` where l1 + l2 + l3 is odd and the degrees satisfy the triangle rule, zero
    elsewhere. `{u.n, v.n} = (u x v).n`. Float64.

    Arguments:
        l1: degree of the first factor.
        l2: degree of the second factor.
        l3: degree of the result.
        normalized: divide by sqrt(l (l + 1)) of both factors, which takes out the growth with their degrees.

    Source: Bochkarev, Lysogorskiy, Drautz 2026 (arXiv 2605.15073); Heyraud et al. 2026 (arXiv 2603.08630).

    >>> poisson(1, 1, 1)[0, 1]                          # x and y give z
    tensor([0.0000, 0.0000, 0.4886], dtype=torch.float64)
    """
    return _block(poisson_scale(l1, l2, l3, normalized), l1, l2, l3)


def gaunt_matrix(
    L1: int, L2: int, L3: int, sparse: bool = False, *, antisymmetric: bool = False, normalized: bool = False
) -> Tensor:
    """All Gaunt coefficients of degrees up to L1, L2 and L3, shape ((L1+1)^2, (L2+1)^2, (L3+1)^2), in float64.

    Arguments:
        L1: highest degree of the first factor.
        L2: highest degree of the second factor.
        L3: highest degree of the result.
        sparse: as a coalesced `torch.sparse_coo` tensor.
        antisymmetric: the Poisson bracket instead of the product.
        normalized: see `poisson`.

    >>> gaunt_matrix(2, 2, 2, sparse=True)._nnz()
    83
    """
    degrees = check_degree(L1, "L1"), check_degree(L2, "L2"), check_degree(L3, "L3")
    table = torch.from_numpy(coupling_table(*degrees, antisymmetric, normalized))
    return table.to_sparse().coalesce() if sparse else table.clone()


def gaunt_scale(l1: int, l2: int, l3: int) -> float:
    """c with `gaunt(l1, l2, l3) = c wigner_3j(l1, l2, l3)`."""
    degrees = _degrees(l1, l2, l3)
    return 0.0 if sum(degrees) % 2 else _sphere(*degrees) * _three_j(*degrees, 0, 0)


def poisson_scale(l1: int, l2: int, l3: int, normalized: bool = False) -> float:
    """d with `poisson(l1, l2, l3, normalized) = d wigner_3j(l1, l2, l3)`."""
    degrees = _degrees(l1, l2, l3)
    if sum(degrees) % 2 == 0 or min(l1, l2) == 0:
        return 0.0
    growth = 1.0 if normalized else math.sqrt(l1 * (l1 + 1) * l2 * (l2 + 1))
    return _sphere(*degrees) * growth * _three_j(*degrees, 1, -1)


@functools.cache
def coupling_table(L1: int, L2: int, L3: int, antisymmetric: bool, normalized: bool) -> np.ndarray:
    """The coefficients of all degrees at once, by a quadrature that is exact for them."""
    points, weights = quadrature(max(L1 + L2 + L3 - antisymmetric, 0), "gauss_legendre", False)
    out = weights[:, None] * _harmonics(L3, points)
    if antisymmetric:
        (a1, a2), (b1, b2) = frame_gradients(points, L1), frame_gradients(points, L2)
        pairs = [(a1, b2), (a2, -b1)]
    else:
        pairs = [(_harmonics(L1, points), _harmonics(L2, points))]
    table = np.zeros(((L1 + 1) ** 2, (L2 + 1) ** 2, (L3 + 1) ** 2))
    for a, b in pairs:
        for block, column in zip(table, a.T):
            block += (column[:, None] * b).T @ out
    if antisymmetric and normalized:
        table *= inverse_growth(L1)[:, None, None] * inverse_growth(L2)[:, None]
    table[np.abs(table) < NEGLIGIBLE] = 0
    return table


def inverse_growth(lmax: int) -> np.ndarray:
    """1 / sqrt(l (l + 1)) for every entry of a signal, 0 for l = 0."""
    l = degrees_of(lmax)
    return np.where(l == 0, 0, 1 / np.sqrt(np.maximum(l * (l + 1), 1)))


def degrees_of(lmax: int) -> np.ndarray:
    """The degree of every entry of a signal."""
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


def _harmonics(lmax: int, points: np.ndarray) -> np.ndarray:
    return spherical_harmonics(lmax, torch.from_numpy(points), normalization="integral").numpy()


def _block(scale: float, l1: int, l2: int, l3: int) -> Tensor:
    if scale == 0:
        return torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.float64)
    return scale * wigner_3j(l1, l2, l3)


def _degrees(l1: int, l2: int, l3: int) -> tuple[int, int, int]:
    return check_degree(l1, "l1"), check_degree(l2, "l2"), check_degree(l3, "l3")


def _sphere(l1: int, l2: int, l3: int) -> float:
    return math.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * math.pi))


@functools.cache
def _three_j(l1: int, l2: int, l3: int, m1: int, m2: int) -> float:
    """The absolute value of a 3j symbol with m3 = -m1 - m2, from Racah's formula in exact integers."""
    if not abs(l1 - l2) <= l3 <= l1 + l2 or abs(m1) > l1 or abs(m2) > l2 or abs(m1 + m2) > l3:
        return 0.0
    f, m3 = math.factorial, -m1 - m2
    series = Fraction(0)
    for t in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = f(t) * f(l3 - l2 + t + m1) * f(l3 - l1 + t - m2) * f(l1 + l2 - l3 - t) * f(l1 - t - m1) * f(l2 - t + m2)
        series += Fraction((-1) ** t, below)
    triangle = Fraction(f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 + l3 - l1), f(l1 + l2 + l3 + 1))
    orders = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    return math.sqrt(triangle * orders * series**2)

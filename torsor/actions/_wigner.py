"""Wigner matrices, Wigner 3j symbols and spherical harmonics in e3nn's real basis.

The basis of degree l is `Y_lm` with m = -l..l, y the polar axis and no Condon-Shortley sign: for l = 1 it is (x, y, z).
Every table is made in float64, whatever the default dtype is.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def wigner_D(l: int, R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch m m"]:
    """The matrix with `Y_l(R x) = wigner_D(l, R) Y_l(x)`, for rotations and for improper orthogonal matrices.

    A polynomial of degree l in the entries of R: no angles, so no orientation is special, and derivatives of any order
    exist everywhere. An inversion gives (-1)^l. Computed in float64 and cast to the dtype of R at the end.

    Arguments:
        l: degree, 0 or more.
        R: orthogonal matrices.

    Raises:
        ValueError: l is negative, or R does not end in two axes of length 3.
        TypeError: R is not a real floating-point tensor.

    >>> import torch
    >>> wigner_D(1, -torch.eye(3)).equal(-torch.eye(3)), wigner_D(2, torch.eye(3).expand(7, 3, 3)).shape
    (True, torch.Size([7, 5, 5]))
    """
    return wigner_ladder(_degree(l, "l"), R)[-1]


def wigner_ladder(lmax: int, R: Float[Tensor, "*batch 3 3"]) -> list[Tensor]:
    """`[wigner_D(0, R), ..., wigner_D(lmax, R)]`, each from the one before by coupling it with R itself.

    D^l = K^T (D^(l-1) x R) K with K the isometry of degree l into the product of degrees l - 1 and 1.
    """
    if not (isinstance(R, Tensor) and R.is_floating_point()):
        raise TypeError(f"R must be a real floating-point tensor; got {getattr(R, 'dtype', type(R).__name__)}")
    if R.ndim < 2 or R.shape[-2:] != (3, 3):
        raise ValueError(f"R must be (..., 3, 3); got shape {tuple(R.shape)}")
    vector = R.double()
    ladder = [torch.ones_like(vector[..., :1, :1]), vector][: lmax + 1]
    for l in range(2, lmax + 1):
        K = _table(_coupling, l, R.device)  # (2l - 1, 3, 2l + 1), indices a, i, m
        half = torch.einsum("...ab,aim->...bim", ladder[-1], K)
        half = torch.einsum("...ij,...bim->...bjm", vector, half)
        ladder.append(torch.einsum("...bjm,bjn->...mn", half, K))
    return [D.to(R.dtype) for D in ladder]


def wigner_generators(l: int) -> Float[np.ndarray, "3 m m"]:
    """The derivatives of `wigner_D(l, exp(hat(w)))` at w = 0 along the three axes of rotation, float64."""
    cross = np.zeros((3, 3, 3))  # hat(e_k) x = e_k x x
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        cross[k, j, i], cross[k, i, j] = 1, -1
    J = np.zeros((3, 1, 1)) if l == 0 else cross
    for degree in range(2, l + 1):
        K = np.array(_coupling(degree))
        J = np.einsum("aim,kab,bin->kmn", K, J, K) + np.einsum("aim,kij,ajn->kmn", K, cross, K)
    return J


def spherical_harmonics(
    lmax: int,
    xyz: Float[Tensor, "*batch 3"],
    *,
    normalize: bool = True,
    normalization: Literal["integral", "component", "norm"] = "component",
) -> Float[Tensor, "*batch basis"]:
    """Real spherical harmonics of degrees 0 to lmax, side by side: entry l^2 + l + m is `Y_lm`.

    A polynomial recurrence in x, y and z without angles: the poles are ordinary points, and derivatives of any order
    exist. Computed in the dtype of `xyz`.

    Arguments:
        lmax: highest degree, 0 or more.
        xyz: vectors.
        normalize: take the direction of `xyz`, at any scale that the dtype can hold. A zero vector has no direction:
            its harmonics of degree 1 and more are zero, and so are their derivatives. Without it the harmonics are
            homogeneous polynomials of degree l in `xyz`.
        normalization: `"integral"` is orthonormal on the sphere, `"component"` has |Y_l|^2 = 2l + 1,
            `"norm"` has |Y_l| = 1.

    >>> import torch
    >>> spherical_harmonics(1, torch.tensor([0.0, 0.0, 2.0]), normalization="norm").round(decimals=4)
    tensor([1., 0., 0., 1.])
    """
    lmax = _degree(lmax, "lmax")
    if not (isinstance(xyz, Tensor) and xyz.is_floating_point()):
        raise TypeError(f"xyz must be a real floating-point tensor; got {getattr(xyz, 'dtype', type(xyz).__name__)}")
    if xyz.ndim < 1 or xyz.shape[-1] != 3:
        raise ValueError(f"xyz must be (..., 3); got shape {tuple(xyz.shape)}")
    if normalization not in ("integral", "component", "norm"):
        raise ValueError(f'normalization must be "integral", "component" or "norm"; got {normalization!r}')
    xyz = _direction(xyz) if normalize else xyz
    x, y, z = xyz.unbind(-1)
    square = xyz.square().sum(-1, keepdim=True)
    # (z + i x)^m = c_m + i s_m: the azimuth times sin(theta)^m
    c, s = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(lmax):
        c, s = [*c, z * c[-1] - x * s[-1]], [*s, z * s[-1] + x * c[-1]]
    cosines, sines = math.sqrt(2) * torch.stack(c, -1), math.sqrt(2) * torch.stack(s, -1)
    # q[m] = N_lm P_lm(cos theta) / sin(theta)^m times r^(l - m), "component" normalised
    coefficients = _table(_legendre, lmax, xyz.device).to(xyz.dtype)
    y, q, before = y.unsqueeze(-1), xyz[..., :0], xyz[..., :0]
    harmonics = []
    for l in range(lmax + 1):
        up, back, top = coefficients[l, 0, :l], coefficients[l, 1, :l], coefficients[l, 2, :1].expand_as(y)
        padded = torch.nn.functional.pad(before, (0, l - before.shape[-1]))
        before, q = q, torch.cat([up * y * q - back * square * padded, top], -1)
        scale = {"integral": 1 / math.sqrt(4 * math.pi), "component": 1, "norm": 1 / math.sqrt(2 * l + 1)}
        weighted = scale[normalization] * q
        right = weighted[..., 1:]
        harmonics += [(right * sines[..., 1 : l + 1]).flip(-1), weighted[..., :1], right * cosines[..., 1 : l + 1]]
    return torch.cat(harmonics, -1)


def wigner_3j(
    l1: int, l2: int, l3: int, dtype: torch.dtype = torch.float64, device: Any = None
) -> Float[Tensor, "m1 m2 m3"]:
    """The tensor that every rotation leaves alone: `C = (D^l1 x D^l2 x D^l3) C`, of norm 1, with e3nn's sign.

    Raises:
        ValueError: the degrees do not satisfy the triangle rule |l1 - l2| <= l3 <= l1 + l2.

    Source: G. Racah, Phys. Rev. 62, 438 (1942), in exact integers.

    >>> wigner_3j(1, 1, 0)[..., 0]                      # the dot product
    tensor([[0.5774, 0.0000, 0.0000],
            [0.0000, 0.5774, 0.0000],
            [0.0000, 0.0000, 0.5774]], dtype=torch.float64)
    """
    degrees = _degree(l1, "l1"), _degree(l2, "l2"), _degree(l3, "l3")
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees must satisfy |l1 - l2| <= l3 <= l1 + l2; got {degrees}")
    return torch.tensor(_wigner_3j(*degrees), dtype=dtype, device=device)


@functools.cache
def _wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    C = np.einsum("ij,kl,nm,ikn->jlm", _real_basis(l1), _real_basis(l2), _real_basis(l3).conj(), _clebsch(l1, l2, l3))
    return C.real / np.linalg.norm(C)


def _clebsch(l1: int, l2: int, l3: int) -> np.ndarray:
    """Clebsch-Gordan coefficients <l1 m1 l2 m2 | l3 m3> up to a factor that depends on the degrees alone."""
    f = math.factorial
    C = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            m3 = m1 + m2
            series = Fraction(0)
            for v in range(max(0, l2 - l1 + m3), min(l3 - l1 + l2, l3 + m3) + 1):
                below = f(v) * f(l3 - l1 + l2 - v) * f(l3 + m3 - v) * f(v + l1 - l2 - m3)
                series += (-1) ** (v + l2 + m2) * Fraction(f(l2 + l3 + m1 - v) * f(l1 - m1 + v), below)
            square = Fraction(f(l3 + m3) * f(l3 - m3), f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2))
            C[l1 + m1, l2 + m2, l3 + m3] = math.sqrt(square) * float(series)
    return C


def _real_basis(l: int) -> np.ndarray:
    """The real basis in the complex one; the factor (-i)^l makes every coupling of real bases real."""
    Q = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    Q[l, l] = 1
    for m in range(1, l + 1):
        Q[l - m, [l + m, l - m]] = np.array([1, -1j]) / math.sqrt(2)
        Q[l + m, [l + m, l - m]] = (-1) ** m * np.array([1, 1j]) / math.sqrt(2)
    return (-1j) ** l * Q


def _coupling(l: int) -> list[list[list[float]]]:
    """K[a][i][m], the isometry of degree l into degrees (l - 1) x 1: the part of degree l of `x_i Y_(l-1)a`."""
    K = [[[0.0] * (2 * l + 1) for _ in range(3)] for _ in range(2 * l - 1)]
    x, y, z = 0, 1, 2
    norm = math.sqrt(l * (2 * l - 1))  # turns the coefficients of the harmonics into those of an isometry
    for m in range(l):
        level = math.sqrt(l**2 - m**2) / norm
        up = math.sqrt((l + m) * (l + m + 1)) / (2 * norm)
        down = math.sqrt((l - m) * (l - m + 1)) / (2 * norm)
        c, s = l - 1 + m, l - 1 - m  # cos(m phi) and sin(m phi) of degree l - 1
        K[c][y][l + m] = level
        if m == 0:
            K[c][z][l + 1] = K[c][x][l - 1] = math.sqrt(2) * up
            continue
        K[s][y][l - m] = level
        K[c][z][l + m + 1], K[c][x][l - m - 1] = up, up
        K[s][z][l - m - 1], K[s][x][l + m + 1] = up, -up
        if m == 1:
            K[c][z][l] = K[s][x][l] = -math.sqrt(2) * down
        else:
            K[c][z][l + m - 1], K[c][x][l - m + 1] = -down, down
            K[s][z][l - m + 1], K[s][x][l + m - 1] = -down, -down
    return K


def _legendre(lmax: int) -> list[list[list[float]]]:
    """Per degree l the rows `up` and `back` of q_lm = up y q_(l-1)m - back r^2 q_(l-2)m, and q_ll, with q_00 = 1."""
    rows, top = [], 1.0
    for l in range(lmax + 1):
        top *= math.sqrt((2 * l + 1) / (2 * l)) if l else 1.0
        up = [math.sqrt((4 * l**2 - 1) / (l**2 - m**2)) for m in range(l)]
        back = [u * math.sqrt(((l - 1) ** 2 - m**2) / (4 * (l - 1) ** 2 - 1)) for m, u in enumerate(up)]
        rows.append([row + [0.0] * (lmax + 1 - len(row)) for row in (up, back, [top])])
    return rows


def _table(build: Callable[[int], list], l: int, device: torch.device) -> Tensor:
    """A table in float64. A compiler traces the plain numbers; elsewhere they are made once."""
    values = build(l) if torch.compiler.is_compiling() else _remembered(build, l)
    return torch.tensor(values, dtype=torch.float64, device=device)


@functools.cache
def _remembered(build: Callable[[int], list], l: int) -> np.ndarray:
    return np.array(build(l))


def _direction(xyz: Tensor) -> Tensor:
    # a degree-0 function of x / s has the same derivatives at any fixed s: s only keeps the square from under/overflow
    size = xyz.detach().abs().amax(-1, keepdim=True)
    zero = size == 0
    scaled = xyz / torch.where(zero, 1, size)
    norm = torch.where(zero, 1, scaled.square().sum(-1, keepdim=True)).sqrt()
    return torch.where(zero, 0, scaled / norm)


def _degree(l: int, name: str) -> int:
    l = operator.index(l)
    if l < 0:
        raise ValueError(f"{name} must be 0 or more; got {l}")
    return l

"""Haar measure in the coordinates of decompositions and of the exponential, against automatic differentiation."""

import math

import pytest
import torch

from tests.groups.cases import GROUPS
from torsor.groups import (
    GL,
    SE,
    SO,
    Affine,
    DirectProduct,
    GLPlus,
    Lorentz,
    O,
    Sim,
)
from torsor.groups._bases import symmetric_basis
from torsor.groups.linalg import expm_sym, log_sinhc

f64 = torch.float64


@pytest.mark.parametrize("n", [2, 3, 4])
def test_polar_coordinates_of_haar_measure(n):
    """d(exp(Y) R) = 2^(n(n-1)/2) e^(n tr Y) prod sinhc(y_i - y_j) dY (R^T dR), by automatic differentiation."""
    B = symmetric_basis(n, f64, None)
    y = 0.7 * torch.randn(len(B), dtype=f64)
    w = torch.randn(SO(n).dim, dtype=f64)
    R = SO(n).exp(w)
    skew = SO(n).basis(f64) / (1 if n <= 3 else math.sqrt(0.5))  # entries +-1
    group = lambda y, s: (
        expm_sym(torch.einsum("k,kij->ij", y, B)) @ R @ torch.linalg.matrix_exp(torch.einsum("k,kij->ij", s, skew))
    )
    J = torch.autograd.functional.jacobian(group, (y, torch.zeros(len(skew), dtype=f64)))
    J = torch.cat([j.flatten(0, 1) for j in J], -1)
    l = torch.linalg.eigvalsh(torch.einsum("k,kij->ij", y, B))
    i, j = torch.triu_indices(n, n, 1)
    # Frobenius-orthonormal coordinates: dY_F = 2^(n(n-1)/4) prod dY_ij
    expected = n * (n - 1) / 4 * math.log(2) + n * l.sum() + log_sinhc(l[i] - l[j]).sum()
    assert float(torch.linalg.slogdet(J)[1]) == pytest.approx(float(expected), abs=1e-8)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_lq_coordinates_of_haar_measure(n):
    """|det|^-n dg = prod l_ii^-i dL (Q^T dQ)."""
    i, j = torch.tril_indices(n, n)
    L0 = torch.randn(n, n, dtype=f64).tril()
    L0.diagonal().copy_(torch.rand(n, dtype=f64) + 0.5)
    Q = SO(n).sample(dtype=f64)
    skew = SO(n).basis(f64) / (1 if n <= 3 else math.sqrt(0.5))

    def group(l, s):
        return (
            torch.zeros(n, n, dtype=f64).index_put((i, j), l)
            @ Q
            @ torch.linalg.matrix_exp(torch.einsum("k,kij->ij", s, skew))
        )

    J = torch.autograd.functional.jacobian(group, (L0[i, j], torch.zeros(len(skew), dtype=f64)))
    J = torch.cat([x.flatten(0, 1) for x in J], -1)
    diagonal = L0.diagonal().log()
    power = torch.arange(1, n + 1, dtype=f64)
    assert float(torch.linalg.slogdet(J)[1] - n * diagonal.sum()) == pytest.approx(
        float(-(power * diagonal).sum()), abs=1e-8
    )


@pytest.mark.parametrize("kind", ["polar", "lq", "qr"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_haar_density_in_factors_is_the_jacobian(n, kind):
    """|det g|^-n dg = 2^(n(n-1)/4) Vol(SO(n)) Haar: the Jacobian of recompose, by automatic differentiation."""
    G, B = GLPlus(n), symmetric_basis(n, f64, None)
    parts = G.decompose(G.sample(dtype=f64), kind)
    skew = SO(n).basis(f64) / (1 if n <= 3 else math.sqrt(0.5))
    turn = lambda s: torch.linalg.matrix_exp(torch.einsum("k,kij->ij", s, skew))
    lower = torch.tril_indices(n, n, -1).unbind()

    def triangle(x):  # logarithms of the diagonal, then entries below it
        below = torch.zeros(n, n, dtype=f64).index_put(lower, x[n:])
        return x[:n].exp().diag() + (below if kind == "lq" else below.mT)

    def group(x, s):
        if kind == "polar":
            return G.recompose(type(parts)(torch.einsum("k,kij->ij", x, B), parts.R @ turn(s)))
        if kind == "lq":
            return G.recompose(type(parts)(triangle(x), parts.Q @ turn(s)))
        return G.recompose(type(parts)(parts.Q @ turn(s), triangle(x)))

    if kind == "polar":
        x = torch.einsum("kij,ij->k", B, parts.Y)
    else:
        T = parts.L if kind == "lq" else parts.T.mT
        x = torch.cat([T.diagonal().log(), T[lower]])
    J = torch.autograd.functional.jacobian(group, (x, torch.zeros(len(skew), dtype=f64)))
    J = torch.cat([j.flatten(0, 1) for j in J], -1)
    det = torch.linalg.slogdet(G.recompose(parts))[1]
    expected = torch.linalg.slogdet(J)[1] - n * det - n * (n - 1) / 4 * math.log(2)
    assert float(G.haar_logdensity(parts)) == pytest.approx(float(expected), abs=1e-8)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_haar_density_in_singular_values(n):
    """Against the integral of Mehta, and prod sinh(y_i - y_j) by hand."""
    parts = GLPlus(n).decompose(GLPlus(n).sample(5, dtype=f64), "kak")
    i, j = torch.triu_indices(n, n, 1)
    constant = GLPlus(n).haar_logdensity(parts) - torch.sinh(parts.y[:, i] - parts.y[:, j]).log().sum(-1)
    mehta = n / 2 * math.log(2 * math.pi) + sum(math.lgamma(1 + k / 2) - math.lgamma(1.5) for k in range(1, n + 1))
    expected = n * (n + 1) / 4 * math.log(2 * math.pi) - mehta + math.lgamma(n + 1)
    torch.testing.assert_close(constant, torch.full_like(constant, expected), atol=1e-8, rtol=0)


def test_haar_density_of_scales_and_what_has_none():
    parts = GLPlus(3).decompose(GLPlus(3).sample(4, dtype=f64), "levi")
    torch.testing.assert_close(GLPlus(3).haar_logdensity(parts), torch.full((4,), math.log(3) / 2, dtype=f64))
    with pytest.raises(ValueError, match="only GL"):
        O(2).haar_logdensity(O(2).decompose(torch.eye(2)))
    with pytest.raises(TypeError, match="parts must come from decompose"):
        GL(2).haar_logdensity(torch.eye(2))


@pytest.mark.parametrize("space", [2, 3])
def test_boost_coordinates_of_haar_measure(space):
    """(sinh e / e)^(q - 1) d^q b dR, in left-invariant coordinates."""
    G = Lorentz(1, space)
    b = torch.randn(space, dtype=f64)
    turns = G.dim - space

    def group(b, s):
        zero = torch.zeros(turns, dtype=f64)
        return G.exp(torch.cat([zero, b])) @ G.exp(torch.cat([s, torch.zeros(space, dtype=f64)]))

    zero = torch.zeros(turns, dtype=f64)
    g = group(b, zero)
    J = torch.autograd.functional.jacobian(group, (b, zero))
    J = torch.cat([j.movedim(-1, 0) for j in J])
    left = G.vee(G.inverse(g) @ J).mT
    expected = (space - 1) * log_sinhc(torch.linalg.vector_norm(b))
    assert float(torch.linalg.slogdet(left)[1]) == pytest.approx(float(expected), abs=1e-8)


@pytest.mark.parametrize(
    "group", [g for g in GROUPS if g.dim and g.dim <= 8 and not isinstance(g, DirectProduct)], ids=str
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_density_of_haar_measure_in_the_chart_exp(group, side):
    v = 0.5 * torch.randn(group.dim, dtype=f64)
    real = lambda v: torch.view_as_real(group.exp(v)) if group.exp(v).is_complex() else group.exp(v)
    J = torch.autograd.functional.jacobian(real, v)
    J = (torch.view_as_complex(J.movedim(-2, -1).contiguous()) if group.exp(v).is_complex() else J).movedim(-1, 0)
    inverse = group.inverse(group.exp(v))
    form = group.vee(inverse @ J if side == "left" else J @ inverse)
    found = float(group.haar_logdensity_exp(v, side))
    assert found == pytest.approx(float(torch.linalg.slogdet(form)[1]), abs=1e-10)


def test_density_of_rotations_in_the_chart_exp():
    v = torch.tensor([0.3, -1.1, 0.8], dtype=f64)
    a = v.norm()
    torch.testing.assert_close(SO(3).haar_logdensity_exp(v), 2 * (2 * (a / 2).sin() / a).log())
    with pytest.raises(ValueError, match="side"):
        SO(3).haar_logdensity_exp(v, "both")


@pytest.mark.parametrize("group", [Affine(1), Affine(2), Sim(2), Sim(3), SE(3), GLPlus(2)], ids=str)
def test_modular_function_is_the_ratio_of_left_and_right_haar_measure(group):
    v = 0.5 * torch.randn(20, group.dim, dtype=f64)
    ratio = group.haar_logdensity_exp(v, "left") - group.haar_logdensity_exp(v, "right")
    modular = group.log_modular(group.exp(v))
    torch.testing.assert_close(ratio, modular, atol=1e-12, rtol=0)
    if group.is_affine:
        det = torch.linalg.det(group.linear(group.exp(v)))
        torch.testing.assert_close(modular, -det.log(), atol=1e-12, rtol=0)
    generic = -torch.linalg.slogdet(group.adjoint(group.exp(v)))[1]
    torch.testing.assert_close(modular, generic, atol=1e-12, rtol=0)


def test_modular_function_is_a_homomorphism():
    G = DirectProduct(Affine(2), Sim(1))
    g, h = G.sample(5, dtype=f64), G.sample(5, dtype=f64)
    torch.testing.assert_close(G.log_modular(G.compose(g, h)), G.log_modular(g) + G.log_modular(h))

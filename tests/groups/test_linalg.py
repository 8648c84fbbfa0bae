"""Linear algebra: values against scipy, gradients at repeated eigenvalues, matrices that are not finite."""

import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch.autograd import gradcheck

from torsor.groups import LogDomainError, linalg
from torsor.groups.linalg import _spectral
from torsor.groups.linalg._scalars import arcsinc, half_cot, sinc, third, versine

f64 = torch.float64


def gradgradcheck(f, inputs):
    """The second derivative along random directions: the whole Hessian of a 4 x 4 matrix takes seconds."""
    return torch.autograd.gradgradcheck(f, inputs, fast_mode=True)


SIZES = [2, 3, 4]
SYMMETRIC = {
    "exp": linalg.expm_sym,
    "log": linalg.logm_sym,
    "sqrt": linalg.sqrtm_sym,
    "log by its derivatives": lambda A: linalg.spectral_function(A, torch.log, lambda x: 1 / x, lambda x: -1 / x**2),
}


def positive(n, *batch):
    return linalg.expm_sym(0.7 * torch.randn(*batch, n, n, dtype=f64))


def repeated(n):
    return torch.diag(torch.tensor([1.0, 2.0, 2.0, 1.0], dtype=f64)[:n])


# ---------------------------------------------------------------------------------------------------------------- eigh
@pytest.mark.parametrize("n", SIZES)
def test_eigh_has_torchs_gradient_on_generic_input(n):
    C = torch.randn(5, n, n, dtype=f64)
    C = (C + C.mT).requires_grad_()
    a, b = torch.randn(5, n, dtype=f64), torch.randn(5, n, n, dtype=f64)

    def gradient(eigh):
        values, vectors = eigh((C + C.mT) / 2)
        return torch.autograd.grad((a * values).sum() + (b * vectors).sum(), C)[0]

    ours, torchs = gradient(linalg.eigh), gradient(torch.linalg.eigh)
    assert ((ours - torchs).abs().max() / torchs.abs().max()) <= 1e-14


@pytest.mark.parametrize("n", SIZES)
def test_eigh_has_two_derivatives_on_generic_input(n):
    C = torch.randn(2, n, n, dtype=f64).requires_grad_()
    f = lambda C: (linalg.eigh(C)[0], linalg.eigh(C)[1].square())  # squares: no choice of signs
    assert gradcheck(f, C)
    assert gradgradcheck(f, C)


@pytest.mark.parametrize("C", [torch.zeros(3, 3), torch.eye(3), torch.diag(torch.tensor([0.0, 0.0, 2.0]))], ids=str)
def test_eigh_gradients_are_finite_and_right_at_repeated_eigenvalues(C):
    C = C.double().requires_grad_()
    values, vectors = linalg.eigh(C)
    (vectors.sum() + values.sum()).backward()
    assert C.grad.isfinite().all()


@pytest.mark.parametrize("values", [[0.0, 0.0, 2.0], [1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], ids=str)
def test_eigh_differentiates_eigenspaces_and_symmetric_functions_at_repeated_eigenvalues(values):
    Q, W = torch.linalg.qr(torch.randn(3, 3, dtype=f64))[0], torch.randn(3, 3, dtype=f64)
    simple = [i for i in range(3) if values.count(values[i]) == 1]

    def f(C):
        l, V = linalg.eigh((C + C.mT) / 2)
        return (V[:, simple] @ V[:, simple].mT * W).sum(), l.exp().sum()

    assert gradcheck(f, (Q @ torch.diag(torch.tensor(values, dtype=f64)) @ Q.mT).requires_grad_())


def test_eigh_masks_only_gaps_below_1e_9_of_the_largest():
    for gap, masked in ((1e-8, False), (1e-10, True)):
        C = torch.diag(torch.tensor([1.0, 1.0 + gap], dtype=f64)).requires_grad_()
        (grad,) = torch.autograd.grad(linalg.eigh(C)[1][0, 1], C)
        assert bool(grad.abs().max() < 1) == masked


def test_eigh_in_half_precision_and_under_autocast():
    C = torch.diag(torch.tensor([1.0, 3.0])).to(torch.bfloat16)
    assert linalg.eigh(C)[0].dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        P = linalg.polar(torch.tensor([[1.001, 0.3, 0.0], [0.0, 2.0, 0.1], [0.2, 0.0, 1.0]]))[0]
    assert P.dtype == torch.float32
    torch.testing.assert_close(P, linalg.polar(torch.tensor([[1.001, 0.3, 0], [0, 2.0, 0.1], [0.2, 0, 1.0]]))[0])


# -------------------------------------------------------------------------------------------------- spectral functions
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", SYMMETRIC)
def test_functions_of_symmetric_matrices_have_two_derivatives_everywhere(n, name):
    f = SYMMETRIC[name]
    for A in (positive(n), torch.eye(n, dtype=f64), repeated(n)):
        A = A.requires_grad_()
        assert gradcheck(f, A)
        assert gradgradcheck(f, A)


@pytest.mark.parametrize("n", SIZES)
def test_functions_of_symmetric_matrices_against_scipy(n):
    A = positive(n, 20)
    for ours, theirs in ((linalg.logm_sym, scipy.linalg.logm), (linalg.sqrtm_sym, scipy.linalg.sqrtm)):
        assert abs(ours(A).numpy() - np.stack([theirs(a) for a in A.numpy()])).max() <= 1e-13
    torch.testing.assert_close(linalg.expm_sym(A), torch.linalg.matrix_exp(A))


def test_logm_sym_of_an_indefinite_matrix_is_nan():
    assert linalg.logm_sym(torch.diag(torch.tensor([-1.0, 1.0]))).isnan().any()
    assert linalg.sqrtm_sym(torch.diag(torch.tensor([-1.0, 1.0]))).isnan().any()


@pytest.mark.parametrize("name", ["EXP", "LOG", "SQRT"])
def test_divided_differences_keep_their_digits(name):
    f, differences = {"EXP": mpmath.exp, "LOG": mpmath.log, "SQRT": mpmath.sqrt}[name], getattr(_spectral, name)
    with mpmath.workdps(60):
        for a in (0.01, 1.0, 30.0):
            for e in (1e-12, 1e-6, 1e-2, 0.1, 0.19, 0.5, 3.0):
                for k in (2.3, 1.2, -0.4):
                    x = [mpmath.mpf(float(t)) for t in (a, a * (1 + e / 4), a * (1 + k * e / 4))]
                    if len(set(x)) < 3:
                        continue
                    t = [torch.tensor(float(v), dtype=f64) for v in x]
                    ab, bc = (f(x[1]) - f(x[0])) / (x[1] - x[0]), (f(x[2]) - f(x[1])) / (x[2] - x[1])
                    assert abs(float(differences.first(t[0], t[1])) / float(ab) - 1) <= 1e-14
                    abc = (bc - ab) / (x[2] - x[0])
                    assert abs(float(differences.second(*t)) / float(abc) - 1) <= 1e-13


# --------------------------------------------------------------------------------------------------------------- polar
@pytest.mark.parametrize("n", SIZES)
def test_polar_factors(n):
    g = torch.randn(200, n, n, dtype=f64)
    P, R = linalg.polar(g)
    eye = torch.eye(n, dtype=f64)
    assert (P @ R - g).abs().max() <= 1e-14 * 10
    assert (R @ R.mT - eye).abs().max() <= 1e-14
    assert (P - P.mT).abs().max() == 0
    assert (torch.linalg.eigvalsh(P) > 0).all()
    torch.testing.assert_close(torch.linalg.det(R).sign(), torch.linalg.det(g).sign())
    Y, Q = linalg.polar_log(g)
    torch.testing.assert_close(linalg.expm_sym(Y) @ Q, g, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(Q, R, atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", SIZES)
def test_polar_factors_have_two_derivatives_at_repeated_singular_values(n):
    mirror = repeated(n).clone()
    mirror[0, 0] = -1
    for g in (torch.randn(n, n, dtype=f64), torch.eye(n, dtype=f64), repeated(n), mirror):
        g = g.requires_grad_()
        for f in (linalg.polar, linalg.polar_log):
            assert gradcheck(f, g)
            assert gradgradcheck(f, g)


@pytest.mark.parametrize("n", [2, 3])
def test_polar_rotation_keeps_its_digits_in_float32_at_bad_condition(n):
    for condition in (1e1, 1e2, 1e3, 1e4):
        U, V = (scipy.stats.special_ortho_group.rvs(n, size=50, random_state=s) for s in (0, 1))
        g = U @ np.diag([condition, *[1.0] * (n - 1)]) @ V
        g32 = torch.tensor(g, dtype=torch.float32)
        exact = np.stack([scipy.linalg.polar(a, "left")[0] for a in g32.double().numpy()])
        assert abs(linalg.polar(g32)[1].numpy() - exact).max() <= 6e-8 * condition * 3
        if n == 2:  # the closed form and singular values do not square the condition number
            assert abs(linalg.polar(g32)[1].numpy() - exact).max() <= 5e-7


@pytest.mark.parametrize("n", SIZES)
def test_nearest_rotation(n):
    g = torch.randn(100, n, n, dtype=f64)
    U, _, Vh = torch.linalg.svd(g)
    sign = torch.ones(100, n, dtype=f64)
    sign[:, -1] = torch.linalg.det(U @ Vh)
    torch.testing.assert_close(linalg.nearest_rotation(g), U * sign[:, None] @ Vh, atol=1e-10, rtol=0)


@pytest.mark.parametrize("n", SIZES)
def test_sylvester(n):
    P, K = positive(n), torch.randn(n, n, dtype=f64)
    torch.testing.assert_close(
        linalg.solve_sylvester(P, K), torch.tensor(scipy.linalg.solve_sylvester(P.numpy(), P.numpy(), K.numpy()))
    )
    P, K = P.requires_grad_(), K.requires_grad_()
    f = lambda P, K: linalg.solve_sylvester((P + P.mT) / 2, K)
    assert gradcheck(f, (P, K))
    assert gradgradcheck(f, (P, K))


# ---------------------------------------------------------------------------------------------------------------- logm
@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [f64, torch.complex128])
def test_logm_against_scipy(n, dtype):
    A = torch.linalg.matrix_exp(0.8 * torch.randn(40, n, n, dtype=dtype))
    X = linalg.logm(A, on_failure="nan")
    ok = ~X.isnan().any(-1).any(-1)
    assert ok.sum() > 20
    theirs = np.stack([scipy.linalg.logm(a.numpy()) for a in A[ok]])
    assert abs(X[ok].numpy() - theirs).max() <= 1e-12


@pytest.mark.parametrize("n", [2, 3])
def test_logm_has_two_derivatives(n):
    for A in (torch.linalg.matrix_exp(0.4 * torch.randn(n, n, dtype=f64)), torch.eye(n, dtype=f64), repeated(n)):
        A = A.requires_grad_()
        assert gradcheck(linalg.logm, A)
        assert gradgradcheck(linalg.logm, A)


def test_logm_of_badly_scaled_and_defective_matrices():
    for A in ([[1.0, 1e6], [0, 1]], [[1, 1e6, 0], [0, 1, 1e-3], [0, 0, 1]], [[1e-9, 0, 0], [0, 1e9, 0], [0, 0, 3]]):
        A = torch.tensor(A, dtype=f64)
        X = linalg.logm(A)
        torch.testing.assert_close(torch.linalg.matrix_exp(X), A, rtol=1e-9, atol=1e-9 * float(A.abs().max()))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_logm_refuses_the_negative_axis(n):
    A = torch.eye(n, dtype=f64).repeat(3, 1, 1)
    A[1, 0, 0] = A[1, 1, 1] = -1
    A[2, 0, 0] = 0
    with pytest.raises(LogDomainError, match="2 of 3 matrices"):
        linalg.logm(A)
    assert linalg.logm(A, on_failure="nan").isnan().any(-1).any(-1).tolist() == [False, True, True]


@pytest.mark.parametrize("n", [2, 3])
def test_logm_refuses_what_comes_too_close_to_the_negative_axis(n):
    A = torch.eye(n, dtype=f64).repeat(2, 1, 1)
    for i, miss in enumerate((1e-7, 1e-11)):
        turn = torch.tensor([[0, miss - math.pi], [math.pi - miss, 0]], dtype=f64)
        A[i, :2, :2] = torch.linalg.matrix_exp(turn)
    X = linalg.logm(A, on_failure="nan")
    assert X.isnan().any(-1).any(-1).tolist() == [False, True]
    assert abs(float(X[0, 1, 0]) - math.pi) < 1e-6


def test_log_of_plane_matrices_with_eigenvalues_near_the_negative_axis():
    for angle in (1.0, 2.0, 3.0, 3.14, math.pi - 1e-4):
        X = torch.tensor([[0.3, -angle], [angle, 0.3]], dtype=f64)
        torch.testing.assert_close(linalg.logm(torch.linalg.matrix_exp(X)), X, atol=1e-10, rtol=0)


# -------------------------------------------------------------------------------------------------------------- others
def test_scalar_functions_keep_their_digits():
    with mpmath.workdps(50):
        for a in (1e-9, 1e-4, 1e-2, 0.3, 0.999, 1.0, 1.001, 2.0, 3.1, 6.0):
            t, x = torch.tensor(a * a, dtype=f64), mpmath.sqrt(mpmath.mpf(a * a))
            for ours, exact in (
                (sinc, mpmath.sin(x) / x),
                (versine, (1 - mpmath.cos(x)) / x**2),
                (third, (x - mpmath.sin(x)) / x**3),
                (half_cot, (1 - x / 2 * mpmath.cot(x / 2)) / x**2),
            ):
                assert abs(float(ours(t)) / float(exact) - 1) <= 3e-15
            assert abs(float(linalg.log_sinhc(t.sqrt())) / float(mpmath.log(mpmath.sinh(x) / x)) - 1) <= 1e-12
            if a < 3.13:
                s, c = torch.tensor(float(mpmath.sin(x)), dtype=f64), torch.tensor(float(mpmath.cos(x)), dtype=f64)
                assert abs(float(arcsinc(s * s, c)) / float(x / mpmath.sin(x)) - 1) <= 1e-14 * (1 + 1 / float(s))


@pytest.mark.parametrize("x", [0.0, 1e-6, 0.3, 0.99999, 2.0])
def test_scalar_functions_have_two_derivatives(x):
    x = torch.tensor([x], dtype=f64, requires_grad=True)
    f = lambda x: (sinc(x * x), versine(x * x), third(x * x), half_cot(x * x), linalg.log_sinhc(x))
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


def test_log_sinhc_does_not_overflow():
    x = torch.tensor([1e4], dtype=f64)
    torch.testing.assert_close(linalg.log_sinhc(x), x - (2 * x).log())


def test_phi_is_the_mean_of_the_exponential():
    X = torch.randn(3, 3, dtype=f64)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    mean = sum(w / 2 * torch.linalg.matrix_exp((1 + s) / 2 * X) for s, w in zip(nodes, weights, strict=True))
    torch.testing.assert_close(linalg.phi(X), mean)


FUNCTIONS = {
    "eigh": linalg.eigh,
    "polar": linalg.polar,
    "polar_log": linalg.polar_log,
    "logm": linalg.logm,
    "logm_sym": linalg.logm_sym,
    "expm_sym": linalg.expm_sym,
    "sqrtm_sym": linalg.sqrtm_sym,
    "nearest_rotation": linalg.nearest_rotation,
}


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_not_finite_gives_nan_and_spares_its_neighbours(name, bad, n):
    A = positive(n, 4)
    f = FUNCTIONS[name]
    expected = f(A)
    A[2, 0, 1] = bad
    found = f(A)
    for good, value in zip(_tuple(expected), _tuple(found), strict=True):
        assert value[2].isnan().any()
        torch.testing.assert_close(value[[0, 1, 3]], good[[0, 1, 3]], atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_and_empty_batches(name, n):
    A = positive(n, 4)
    f = FUNCTIONS[name] if name != "logm" else lambda A: linalg.logm(A, on_failure="nan")
    for a, b in zip(_tuple(torch.func.vmap(f)(A)), _tuple(f(A)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    assert all(len(a) == 0 for a in _tuple(f(A[:0])))


def _tuple(x):
    return x if isinstance(x, tuple) else (x,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_eigh_has_forward_derivatives_and_takes_hermitian_matrices(dtype):
    A = torch.randn(4, 3, 3, dtype=dtype)
    A = A + A.mH
    values, vectors = linalg.eigh(A)
    assert (vectors @ (values.unsqueeze(-1) * vectors.mH) - A).abs().max() < 1e-13
    tangent = torch.randn(4, 3, 3, dtype=dtype)
    tangent = tangent + tangent.mH

    def projector(A):
        v = linalg.eigh(A)[1][..., -1:]
        return v @ v.mH

    _, along = torch.func.jvp(projector, (A,), (tangent,))
    difference = (projector(A + 1e-6 * tangent) - projector(A - 1e-6 * tangent)) / 2e-6
    assert (along - difference).abs().max() < 1e-6
    A.requires_grad_()
    weights = torch.randn(3, 3, dtype=dtype)
    assert torch.autograd.gradcheck(lambda A: (projector((A + A.mH) / 2) * weights).sum().real, (A,))

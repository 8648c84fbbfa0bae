"""Wigner matrices, 3j symbols and spherical harmonics: e3nn's basis, without angles."""

import math

import numpy as np
import pytest
import torch

from torsor.actions._wigner import spherical_harmonics, wigner_3j, wigner_D, wigner_generators
from torsor.groups import SO, O

o3 = pytest.importorskip("e3nn.o3")
NORMALIZATIONS = ("integral", "component", "norm")


@pytest.fixture
def float64():
    """e3nn makes its tables in the default dtype; the fixture `reproducible` puts it back."""
    torch.set_default_dtype(torch.float64)


def rotations(*shape, dtype=torch.float64):
    return SO(3).sample(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


@pytest.mark.parametrize("l", range(9))
def test_wigner_D_equals_e3nn(l, float64):
    R = rotations(50)
    assert (wigner_D(l, R) - o3.Irrep(l, 1).D_from_matrix(R)).abs().max() < 1e-12


@pytest.mark.parametrize("l", [0, 1, 2, 5, 8, 11])
def test_wigner_D_is_an_orthogonal_representation(l):
    R, S = rotations(2, 10)
    D = wigner_D(l, R)
    assert (D @ D.mT - torch.eye(2 * l + 1)).abs().max() < 1e-13
    assert (D @ wigner_D(l, S) - wigner_D(l, R @ S)).abs().max() < 1e-12
    assert torch.equal(wigner_D(l, torch.eye(3, dtype=torch.float64)).round(decimals=14), torch.eye(2 * l + 1).double())


@pytest.mark.parametrize("l", range(12))
def test_wigner_D_moves_the_harmonics_under_rotations_and_reflections(l):
    R = O(3).sample(40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert (torch.linalg.det(R) < 0).any()
    x = torch.randn(40, 3, dtype=torch.float64)
    Y = lambda x: spherical_harmonics(l, x, normalization="norm")[..., l * l :]
    moved = (wigner_D(l, R) @ Y(x)[..., None])[..., 0]
    assert (Y((R @ x[..., None])[..., 0]) - moved).abs().max() < 1e-12


@pytest.mark.parametrize("axis", range(3))
def test_wigner_D_has_no_singular_rotation(axis):
    """Angles have theirs at the poles and at half turns: there as everywhere D and its derivative are exact."""
    quarter = torch.tensor(math.pi / 2, dtype=torch.float64)
    v = torch.zeros(4, 3, dtype=torch.float64)
    v[:, axis] = quarter * torch.arange(4)
    R = SO(3).exp(v).requires_grad_()
    D = wigner_D(4, R)
    J = torch.from_numpy(wigner_generators(4)[axis])
    assert (D - torch.matrix_exp(v[:, axis, None, None] * J)).abs().max() < 1e-13
    (grad,) = torch.autograd.grad(D.square().sum(), R)
    assert grad.isfinite().all()


def test_float32_rotations_go_through_float64_tables(float64):
    torch.set_default_dtype(torch.float32)
    R = rotations(100)
    D = wigner_D(8, R.float())
    assert D.dtype == torch.float32
    exact = wigner_D(8, R.float().double())
    assert (D - exact).abs().max() <= torch.finfo(torch.float32).eps  # only the last rounding


def test_wigner_D_at_bfloat16_and_under_autocast():
    R = rotations(5, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (wigner_D(5, R) - wigner_D(5, R.double())).abs().max() < 1e-6
    assert wigner_D(3, R.bfloat16()).dtype == torch.bfloat16


def test_wigner_D_shapes():
    assert wigner_D(3, rotations()).shape == (7, 7)
    assert wigner_D(3, rotations(0)).shape == (0, 7, 7)
    assert wigner_D(0, rotations(2, 3)).shape == (2, 3, 1, 1)


def test_wigner_D_can_be_differentiated_twice_and_mapped():
    R = rotations(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda R: wigner_D(3, R), R)
    assert torch.autograd.gradgradcheck(lambda R: wigner_D(2, R), R)
    mapped = torch.func.vmap(lambda R: wigner_D(4, R))(R)
    assert torch.allclose(mapped, wigner_D(4, R), atol=1e-14)
    assert torch.func.jacrev(torch.func.jacrev(lambda R: wigner_D(2, R).sum()))(R.detach()).shape == (2, 3, 3, 2, 3, 3)


def test_wigner_D_and_harmonics_compile_without_graph_breaks(plain):
    R, x = rotations(4).requires_grad_(), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    for function, argument in ((lambda R: wigner_D(3, R), R), (lambda x: spherical_harmonics(3, x), x)):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(argument), function(argument))
        compiled(argument).sum().backward()
        assert argument.grad.isfinite().all()


@pytest.mark.parametrize("l", [1, 2, 5])
def test_generators_are_the_derivative_of_wigner_D(l):
    v = torch.randn(3, dtype=torch.float64)
    J = torch.einsum("k,kij->ij", v, torch.from_numpy(wigner_generators(l)))
    assert (torch.matrix_exp(J) - wigner_D(l, SO(3).exp(v))).abs().max() < 1e-13


def test_wigner_3j_equals_e3nn(float64):
    for l1 in range(6):
        for l2 in range(6):
            for l3 in range(abs(l1 - l2), min(l1 + l2, 7) + 1):
                assert (wigner_3j(l1, l2, l3) - o3.wigner_3j(l1, l2, l3)).abs().max() < 1e-15, (l1, l2, l3)
    assert (wigner_3j(11, 10, 9) - o3.wigner_3j(11, 10, 9)).abs().max() < 1e-14


@pytest.mark.parametrize("degrees", [(1, 1, 1), (2, 1, 3), (4, 3, 2), (5, 5, 7)])
def test_wigner_3j_is_invariant_and_normalised(degrees):
    C, R = wigner_3j(*degrees), rotations(5)
    D1, D2, D3 = (wigner_D(l, R) for l in degrees)
    assert (torch.einsum("gia,gjb,gkc,abc->gijk", D1, D2, D3, C) - C).abs().max() < 1e-14
    assert abs(C.norm() - 1) < 1e-14


def test_wigner_3j_does_not_follow_the_default_dtype():
    assert wigner_3j(2, 2, 2).dtype == torch.float64
    assert wigner_3j(2, 2, 2, torch.float32).dtype == torch.float32
    wigner_3j(1, 1, 0).zero_()
    assert wigner_3j(1, 1, 0).any(), "a caller has written into the table"


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_harmonics_equal_e3nn(normalization, normalize, float64):
    x = torch.randn(20, 3)
    theirs = o3.spherical_harmonics(list(range(12)), x, normalize, normalization)
    ours = spherical_harmonics(11, x, normalize=normalize, normalization=normalization)
    assert ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max() < 1e-12


def test_integral_harmonics_are_orthonormal_on_the_sphere():
    """Gauss-Legendre times equispaced azimuth integrates the products exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(9)
    phi = 2 * math.pi * np.arange(17) / 17
    y, f = np.repeat(nodes, 17), np.tile(phi, 9)
    s = np.sqrt(1 - y**2)
    Y = spherical_harmonics(8, torch.tensor(np.stack([s * np.sin(f), y, s * np.cos(f)], -1)), normalization="integral")
    gram = torch.einsum("ni,nj,n->ij", Y, Y, torch.tensor(np.repeat(weights, 17) * 2 * math.pi / 17))
    assert (gram - torch.eye(81)).abs().max() < 1e-13


def test_harmonics_at_the_poles_have_exact_derivatives():
    poles = torch.tensor([[0.0, 1, 0], [0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: spherical_harmonics(3, x), poles)
    assert torch.autograd.gradgradcheck(lambda x: spherical_harmonics(2, x), poles)
    assert torch.autograd.gradcheck(lambda x: spherical_harmonics(3, x, normalize=False), poles)


def test_a_zero_vector_has_no_direction_and_no_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    Y = spherical_harmonics(3, x)
    assert torch.equal(Y[:, 0], torch.ones(2))
    assert not Y[:, 1:].any()
    (grad,) = torch.autograd.grad(Y.sum(), x)
    assert not grad.any()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_direction_at_every_scale_of_the_dtype(scale):
    x = torch.randn(10, 3)
    assert torch.allclose(spherical_harmonics(4, x * scale), spherical_harmonics(4, x), atol=1e-5)
    tiny = (x * scale).requires_grad_()
    (grad,) = torch.autograd.grad(spherical_harmonics(2, tiny)[:, 4:].sum(), tiny)
    assert grad.isfinite().all()
    assert grad.any()


def test_harmonics_shapes_and_values_that_are_not_numbers():
    assert spherical_harmonics(0, torch.zeros(0, 3)).shape == (0, 1)
    assert spherical_harmonics(3, torch.zeros(2, 0, 3)).shape == (2, 0, 16)
    Y = spherical_harmonics(2, torch.tensor([[math.nan, 0, 0], [1.0, 0, 0]]))
    assert Y[0, 1:].isnan().any()
    assert Y[1].isfinite().all()


BAD = [
    (lambda: wigner_D(-1, torch.eye(3)), ValueError, "l must be 0 or more; got -1"),
    (lambda: wigner_D(1, torch.eye(4)), ValueError, r"R must be \(..., 3, 3\); got shape \(4, 4\)"),
    (lambda: wigner_D(1, torch.eye(3, dtype=torch.int64)), TypeError, "R must be a real floating-point.*int64"),
    (lambda: wigner_3j(1, 1, 3), ValueError, r"\|l1 - l2\| <= l3 <= l1 \+ l2; got \(1, 1, 3\)"),
    (lambda: wigner_3j(-1, 1, 1), ValueError, "l1 must be 0 or more"),
    (lambda: spherical_harmonics(-2, torch.zeros(3)), ValueError, "lmax must be 0 or more; got -2"),
    (lambda: spherical_harmonics(2, torch.zeros(2)), ValueError, r"xyz must be \(..., 3\); got shape \(2,\)"),
    (lambda: spherical_harmonics(2, torch.zeros(3).long()), TypeError, "xyz must be a real floating-point"),
    (lambda: spherical_harmonics(2, torch.zeros(3), normalization="e3nn"), ValueError, "normalization must be"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input_is_refused_in_words(call, error, words, plain):
    with pytest.raises(error, match=words):
        call()

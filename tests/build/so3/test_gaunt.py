"""Gaunt and bracket coefficients, and products of signals on the sphere by every route."""

import math

import numpy
import pytest
import torch
from scipy.special import spherical_in
from sympy import N
from sympy.physics.wigner import wigner_3j as sympy_3j

from torsor.build.so3 import (
    SphereGrid,
    gaunt,
    gaunt_matrix,
    gaunt_product,
    poisson,
    spherical_harmonics,
    wigner_3j,
    wigner_D,
)
from torsor.build.so3._grid import frame_gradients
from torsor.groups import O

PLAIN = ["dense", "sparse", "grid", "separable", "fourier"]
BACKENDS = [*PLAIN, pytest.param("compiled", marks=pytest.mark.compiler)]


def harmonics(lmax, n):
    return spherical_harmonics(lmax, n, normalization="integral")


def plane_wave(a, lmax):
    """The coefficients of exp(a . n): 4 pi i_l(|a|) Y_lm(a), one channel."""
    size = a.norm().item()
    radial = torch.tensor([spherical_in(l, size) for l in range(lmax + 1) for _ in range(2 * l + 1)])
    return (4 * math.pi * radial * harmonics(lmax, a))[None]


@pytest.mark.parametrize("l3", range(5))
@pytest.mark.parametrize("l2", range(5))
def test_scales_of_the_blocks_are_the_closed_forms_of_an_independent_3j(l2, l3):
    for l1 in range(5):
        if not abs(l1 - l2) <= l3 <= l1 + l2:
            assert not gaunt(l1, l2, l3).any()
            continue
        size = math.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * math.pi))
        c = size * abs(float(N(sympy_3j(l1, l2, l3, 0, 0, 0), 20)))
        d = 0.0
        if (l1 + l2 + l3) % 2 and l1 and l2:
            d = size * math.sqrt(l1 * (l1 + 1) * l2 * (l2 + 1)) * abs(float(N(sympy_3j(l1, l2, l3, 1, -1, 0), 20)))
        assert (gaunt(l1, l2, l3) - c * wigner_3j(l1, l2, l3)).abs().max() < 1e-12
        assert (poisson(l1, l2, l3) - d * wigner_3j(l1, l2, l3)).abs().max() < 1e-12


def test_the_tables_hold_the_blocks_up_to_degree_four():
    even, odd = gaunt_matrix(4, 4, 4), gaunt_matrix(4, 4, 4, antisymmetric=True, normalized=True)
    at = [slice(l * l, (l + 1) ** 2) for l in range(5)]
    for l1 in range(5):
        for l2 in range(5):
            for l3 in range(5):
                place = at[l1], at[l2], at[l3]
                assert (even[place] - gaunt(l1, l2, l3)).abs().max() < 1e-12
                assert (odd[place] - poisson(l1, l2, l3, normalized=True)).abs().max() < 1e-12


def test_published_values():
    def size(block):
        return block.norm().item()

    assert size(gaunt(1, 1, 2)) == pytest.approx(0.6909882989, abs=1e-10)
    assert size(gaunt(2, 2, 2)) == pytest.approx(0.7539300439, abs=1e-10)
    assert size(gaunt(6, 6, 6)) == pytest.approx(1.2304693839, abs=1e-10)
    assert size(poisson(1, 1, 1)) == pytest.approx(1.1968268412, abs=1e-10)
    assert size(poisson(2, 2, 3)) == pytest.approx(5.3523723485, abs=1e-10)
    assert gaunt_matrix(2, 2, 2).square().sum().item() == pytest.approx(3.990241787518, abs=1e-12)
    assert gaunt_matrix(4, 4, 4).square().sum().item() == pytest.approx(29.702430375979, abs=1e-11)


def test_number_of_coefficients():
    assert [gaunt_matrix(L, L, L, sparse=True)._nnz() for L in range(1, 9)] == [
        10, 83, 353, 1158, 2907, 6460, 12868, 23621,
    ]  # fmt: skip
    assert [gaunt_matrix(L, L, 2 * L, sparse=True)._nnz() for L in range(1, 7)] == [21, 162, 708, 2229, 5605, 12322]


@pytest.mark.parametrize("backend", BACKENDS)
def test_plane_waves_multiply(backend):
    a, b = torch.tensor([0.3, -0.2, 0.5]).double(), torch.tensor([-0.1, 0.4, 0.2]).double()
    product = gaunt_product(plane_wave(a, 10), plane_wave(b, 10), 3, backend=backend)
    assert (product - plane_wave(a + b, 3)).abs().max() < 1e-12
    expected = torch.tensor([3.891403064, 0.4331425481, 0.4331425481, 1.5159989183], dtype=torch.float64)
    assert torch.allclose(product[0, :4], expected, atol=1e-9)


def test_a_third_power_on_one_grid():
    a = torch.tensor([0.3, -0.2, 0.5]).double()
    grid = SphereGrid(33)
    cube = grid.from_grid(grid.to_grid(plane_wave(a, 10), 10) ** 3, 3)
    assert (cube - plane_wave(3 * a, 3)).abs().max() < 1e-10  # what is above degree 10 of exp(a . n) is 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bracket_of_plane_waves(backend):
    a, b = torch.tensor([0.3, -0.2, 0.5]).double(), torch.tensor([-0.1, 0.4, 0.2]).double()
    found = gaunt_product(plane_wave(a, 10), plane_wave(b, 10), 3, antisymmetric=True, backend=backend)
    linear = torch.zeros(1, 4, dtype=torch.float64)
    linear[0, 1:] = torch.linalg.cross(a, b) * math.sqrt(4 * math.pi / 3)
    expected = gaunt_product(plane_wave(a + b, 10), linear, 3)
    assert (found - expected).abs().max() < 1e-11


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bracket_of_vectors_is_their_cross_product(backend):
    u, v = torch.randn(2, 4, 1, 3, dtype=torch.float64)
    pad = torch.nn.functional.pad
    found = gaunt_product(pad(u, (1, 0)), pad(v, (1, 0)), 2, antisymmetric=True, backend=backend)
    expected = pad(torch.linalg.cross(u, v), (1, 5)) * math.sqrt(3 / (4 * math.pi))
    assert (found - expected).abs().max() < 1e-12
    halved = gaunt_product(pad(u, (1, 0)), pad(v, (1, 0)), 2, antisymmetric=True, normalized=True, backend=backend)
    assert (halved - expected / 2).abs().max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bracket_is_alternating_and_cyclic(backend):
    x, y, z = torch.randn(3, 2, 16, dtype=torch.float64)

    def bracket(x, y):
        return gaunt_product(x, y, 3, antisymmetric=True, backend=backend)

    assert bracket(x, x).abs().max() < 1e-12
    assert ((bracket(x, y) * z).sum(-1) - (bracket(y, z) * x).sum(-1)).abs().max() < 1e-11


@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize(
    "degrees", [(0, 0, 0), (2, 1, 3), *[pytest.param(d, marks=pytest.mark.slow) for d in ((2, 3, 4), (4, 4, 2))]]
)
def test_all_routes_agree(degrees, antisymmetric):
    L1, L2, L3 = degrees
    x, y = torch.randn(2, 3, (L1 + 1) ** 2).double(), torch.randn(1, (L2 + 1) ** 2).double()
    table = gaunt_matrix(*degrees, antisymmetric=antisymmetric)
    expected = torch.einsum("nca,zb,abk->nck", x, y, table)
    for backend in [*PLAIN, "auto"]:
        found = gaunt_product(x, y, L3, antisymmetric=antisymmetric, backend=backend)
        assert (found - expected).abs().max() < 1e-12, backend
    for rule in ("gauss_legendre", "lebedev"):
        for half in (False, True):
            grid = SphereGrid(sum(degrees), rule, half)
            found = gaunt_product(x, y, L3, antisymmetric=antisymmetric, grid=grid)
            assert (found - expected).abs().max() < 1e-12, grid


@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_truncation_is_exact(backend, antisymmetric):
    x, y = torch.randn(2, 1, 16, dtype=torch.float64)
    full = gaunt_product(x, y, 6, antisymmetric=antisymmetric, backend=backend)
    cut = gaunt_product(x, y, 2, antisymmetric=antisymmetric, backend=backend)
    assert (full[:, :9] - cut).abs().max() < 1e-12


class Coarse(SphereGrid):
    """A grid of so many rings and azimuths that claims to be fine enough."""

    def __init__(self, rings, azimuths, degree):
        super().__init__(degree, "gauss_legendre")
        y, weights = (torch.from_numpy(part) for part in numpy.polynomial.legendre.leggauss(rings))
        phi = 2 * math.pi * torch.arange(azimuths).double() / azimuths
        sine = (1 - y**2).sqrt()[:, None]
        self.n = torch.stack([sine * phi.sin(), y[:, None].expand(-1, azimuths), sine * phi.cos()], -1).flatten(0, 1)
        self.w = (2 * math.pi / azimuths * weights).repeat_interleave(azimuths)

    def table(self, name, lmax, dtype, device):
        if name in ("first", "second"):
            return torch.from_numpy(frame_gradients(self.n.numpy(), lmax)[name == "second"].T)
        return harmonics(lmax, self.n).T if name == "values" else self.w[:, None] * harmonics(lmax, self.n)

    def __len__(self):
        return len(self.n)


@pytest.mark.parametrize("antisymmetric", [False, True])
def test_one_ring_or_one_azimuth_less_is_wrong(antisymmetric):
    x, y = torch.randn(2, 4, 16, dtype=torch.float64)
    degree = 9 - antisymmetric
    expected = gaunt_product(x, y, 3, antisymmetric=antisymmetric, backend="dense")

    def error(rings, azimuths):
        grid = Coarse(rings, azimuths, degree)
        return (gaunt_product(x, y, 3, antisymmetric=antisymmetric, grid=grid) - expected).abs().max()

    rings, azimuths = degree // 2 + 1, degree + 1
    assert error(rings, azimuths) < 1e-12
    assert error(rings - 1, azimuths) > 1e-4
    assert error(rings, azimuths - 1) > 1e-4


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("antisymmetric", [False, True])
def test_products_are_equivariant(antisymmetric, dtype, bar):
    L = 8
    group = O(3)
    R = group.sample(4, dtype=torch.float64)
    D = torch.block_diag  # of all degrees, per element
    moves = torch.stack([D(*[wigner_D(l, r) for l in range(L + 1)]) for r in R])
    x, y = torch.randn(2, 2, (L + 1) ** 2, dtype=torch.float64)

    def product(x, y):
        out = gaunt_product(x.to(dtype), y.to(dtype), L, antisymmetric=antisymmetric, normalized=True)
        return out.double()

    turned = product(x @ moves.mT, y @ moves.mT)
    expected = product(x, y) @ moves.mT
    if antisymmetric:  # the bracket of true functions is a pseudo-scalar function
        expected = expected * group.parity(R)[:, None, None]
    assert (turned - expected).norm() / expected.norm() < bar


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("antisymmetric", [False, True])
def test_derivatives_of_first_and_second_order(backend, antisymmetric):
    x, y = (torch.randn(1, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    product = lambda x, y: gaunt_product(x, y, 2, antisymmetric=antisymmetric, backend=backend)
    assert torch.autograd.gradcheck(product, (x, y))
    assert torch.autograd.gradgradcheck(product, (x, y), fast_mode=True)


@pytest.mark.compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 7, 8, 31, 32, 33, 100])
def test_the_kernels_take_any_number_of_rows(rows, dtype):
    for L1, L2, L3 in ((0, 0, 0), (1, 1, 1), (2, 1, 3), (3, 2, 1), (4, 4, 4)):
        x, y = torch.randn(rows, 1, (L1 + 1) ** 2, dtype=dtype), torch.randn(1, (L2 + 1) ** 2, dtype=dtype)
        found = gaunt_product(x, y, L3, backend="compiled")
        expected = gaunt_product(x, y, L3, backend="dense")
        assert (found - expected).abs().max() < 100 * torch.finfo(dtype).eps


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batches_and_nan(backend):
    assert gaunt_product(torch.zeros(0, 2, 9), torch.zeros(0, 2, 4), 3, backend=backend).shape == (0, 2, 16)
    x = torch.ones(2, 1, 9)
    x[0, 0, 0] = torch.nan
    out = gaunt_product(x, torch.ones(2, 1, 9), 2, backend=backend)
    assert out[0].isnan().any()
    assert not out[1].isnan().any()


def test_bad_input(plain):
    x, y = torch.ones(2, 9), torch.ones(2, 4)
    with pytest.raises(ValueError, match="x must end in.*got shape .2, 8."):
        gaunt_product(x[:, :8], y, 1)
    with pytest.raises(ValueError, match="channels.*got 2 and 3"):
        gaunt_product(x, torch.ones(3, 4), 1)
    with pytest.raises(ValueError, match="at most L1 . L2 = 3; got 4"):
        gaunt_product(x, y, 4)
    with pytest.raises(ValueError, match="backend must be one of.*got 'gpu'"):
        gaunt_product(x, y, 1, backend="gpu")
    with pytest.raises(ValueError, match="degree 4 or more.*SphereGrid.3"):
        gaunt_product(x, y, 1, grid=SphereGrid(3))
    with pytest.raises(ValueError, match='rule must be "gauss_legendre"'):
        SphereGrid(3, "equispaced")
    with pytest.raises(TypeError, match="int64"):
        gaunt_product(x.long(), y, 1)
    with pytest.raises(TypeError, match="complex64"):
        gaunt_product(x, y.to(torch.complex64), 1)
    with pytest.raises(TypeError, match="float16"):
        gaunt_product(x.half(), y.half(), 1)
    with pytest.raises(ValueError, match="one device; got cpu and meta"):
        gaunt_product(x, y.to("meta"), 1)
    with pytest.raises(ValueError, match="-1"):
        gaunt(-1, 0, 0)


def test_the_product_compiles_whole_with_its_first_derivative(plain):
    x, y = torch.randn(2, 9, requires_grad=True), torch.randn(2, 9)

    def energy(x, y):
        even = gaunt_product(x, y, 2)
        return gaunt_product(even, y, 2, antisymmetric=True).square().sum()

    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(energy(x, y), x)[0]
    assert torch.allclose(torch.autograd.grad(compiled(x, y), x)[0], expected, atol=1e-5)


def test_grids_have_positive_weights_and_give_them_away():
    for degree in range(32):
        for half in (False, True):
            assert SphereGrid(degree, half=half).weights.min() > 0  # negative ones lose digits in single precision
    grid = SphereGrid(4)
    grid.points.zero_()
    grid.weights.zero_()
    assert grid.weights.sum().item() == pytest.approx(4 * math.pi)
    assert grid.points.norm(dim=-1).allclose(torch.ones(len(grid), dtype=torch.float64))

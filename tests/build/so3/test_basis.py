"""Many-body features: what they span, counted against the complete basis, and their symmetry."""

import pytest
import torch

from torsor.build.so3 import GauntProductBasis, SelfMix, coupling_count, degrees_of_freedom, gaunt_matrix
from torsor.groups import O

NATURAL = {2: "0e+1o+2e", 3: "0e+1o+2e+3o"}


def reached(lmax, order, out="0e", **options):
    """Independent functions of exactly this order: those up to it without those up to the order before."""
    torch.manual_seed(0)
    enough = 4 + sum(coupling_count(NATURAL[lmax], n, out) for n in range(order + 1))
    x = torch.randn(enough, (lmax + 1) ** 2, dtype=torch.float64)
    counts = [
        degrees_of_freedom(GauntProductBasis(NATURAL[lmax], out, n, **options).double(), x, draws=enough)[out]
        for n in (order - 1, order)
    ]
    return counts[1] - counts[0]


def test_the_complete_basis_has_the_published_dimensions():
    assert [coupling_count(NATURAL[2], n) for n in (1, 2, 3, 4, 5)] == [1, 3, 5, 9, 13]
    assert [coupling_count(NATURAL[3], n) for n in (3, 4, 5)] == [8, 23, 45]


def test_pointwise_powers_are_complete_to_order_three_and_fall_behind():
    assert [reached(2, n) for n in (3, 4, 5)] == [5, 8, 11]
    assert [reached(3, n) for n in (3, 4)] == [8, 17]


@pytest.mark.slow
def test_pointwise_powers_of_order_five_at_degree_three():
    assert reached(3, 5) == 26
    assert reached(3, 5, mode="tree") == 45


def test_weights_between_the_factors_win_back_what_is_missing():
    assert [reached(2, n, mode="tree") for n in (4, 5)] == [9, 13]
    assert reached(3, 4, mode="tree") == 23


def test_vectors_of_order_three():
    complete = coupling_count(NATURAL[2], 3, "1o")
    assert reached(2, 3, "1o") < complete
    assert reached(2, 3, "1o", mode="tree") == complete


def test_order_two_is_the_gaunt_product_of_the_copies():
    torch.manual_seed(0)
    basis = GauntProductBasis("3x0e+3x1o+3x2e", "3x0e+3x1o", 2, num_species=2).double()
    with torch.no_grad():
        for weight in basis.after[0].weights:
            weight.zero_()
    x, species = torch.randn(7, 27, dtype=torch.float64), torch.arange(7) % 2
    signal = torch.cat([x[:, :3, None], x[:, 3:12].unflatten(1, (3, 3)), x[:, 12:].unflatten(1, (3, 5))], -1)
    degrees = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2])
    a, b = (signal * copy.weights.weights[0].double()[:, degrees] for copy in basis.copies)
    expected = torch.einsum("nci,ncj,ijk->nck", a, b, gaunt_matrix(2, 2, 1)) * (4 * torch.pi) ** 0.5 / 9 / 2**0.5
    expected = expected * basis.after[1].weights[0][species][:, :, degrees[:4]]
    found = basis(x, species)
    assert torch.allclose(found[:, :3], expected[..., 0])
    assert torch.allclose(found[:, 3:].unflatten(1, (3, 3)), expected[..., 1:])


@pytest.mark.parametrize(
    "layer",
    [
        lambda: GauntProductBasis("2x0e+2x1o+2x2e", "2x0e+2x1o+2x3o", 3),
        lambda: GauntProductBasis("2x0e+2x1o+2x2e", "2x0e+2x1o", 3, mode="tree"),
        lambda: GauntProductBasis("2x0e+2x1o+2x1e+2x0o", "2x0e+2x0o+2x1o+2x1e", 3),
        lambda: GauntProductBasis("2x0e+2x1o+2x2e", "2x0e+2x0o+2x1o+2x1e", 3, antisymmetric=True),
        lambda: SelfMix("2x0e+2x1o+2x1e+2x2e"),
    ],
)
def test_rotations_and_reflections_pass_through(layer):
    torch.manual_seed(0)
    layer = layer().double()
    irreps = getattr(layer, "irreps_in", None) or layer.left.irreps_in
    out = getattr(layer, "irreps_out", None) or irreps
    x = torch.randn(5, irreps.dim(), dtype=torch.float64)
    R = O(3).sample(generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for g in (R, -R):
        found, expected = layer(irreps(O(3), g, x)), out(O(3), g, layer(x))
        assert (found - expected).norm() < 1e-12 * expected.norm()
        for where in out.slices():
            assert found[:, where].abs().max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"mode": "tree"}, {"antisymmetric": True}])
def test_gradients_of_both_orders(options):
    torch.manual_seed(0)
    basis = GauntProductBasis("1x0e+1x1o+1x2e", "1x0e+1x1o", 3, **options).double()
    x = torch.randn(1, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(basis, (x,))
    assert torch.autograd.gradgradcheck(basis, (x,))


def test_batches_of_any_shape(plain):
    basis = GauntProductBasis("2x0e+2x1o", "2x0e+2x1o", 3, num_species=3)
    assert basis(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)).shape == (0, 8)
    x, species = torch.randn(4, 3, 8), torch.randint(3, (4, 3))
    assert torch.allclose(basis(x, species)[1], basis(x[1], species[1]), atol=1e-6)


def test_bad_input_is_refused_by_name(plain):
    with pytest.raises(ValueError, match="got 4x0e and 2x1o; insert a Linear"):
        GauntProductBasis("4x0e+2x1o", "4x0e")
    with pytest.raises(ValueError, match="0o is not"):
        GauntProductBasis("4x0e+4x1o", "4x0o")
    with pytest.raises(ValueError, match="order must be 1"):
        GauntProductBasis("4x0e", "4x0e", 0)
    with pytest.raises(ValueError, match="mode must be"):
        GauntProductBasis("4x0e", "4x0e", mode="bush")
    with pytest.raises(ValueError, match="species must be given if and only if"):
        GauntProductBasis("4x0e", "4x0e", num_species=2)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"x must be \(..., 4\)"):
        GauntProductBasis("4x0e", "4x0e")(torch.zeros(1, 5))

"""The layer of Gaunt and bracket products: parity, weights, normalisation, and exact conversion from CG products."""

import pytest
import torch

from torsor.build.so3 import GauntTensorProduct, Irreps, _cp_fit, wigner_3j
from torsor.groups import O

o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not installed: pip install torsor[e3nn]")

NATURAL = "4x0e+4x1o+4x2e+4x3o"
MIXED = "4x0e+4x0o+4x1o+4x1e+4x2e+4x2o"
EVEN = "4x0e+4x1e+4x2e"


def by_paths(layer, x, y):
    """The same product, path by path on Wigner 3j symbols."""
    out = x.new_zeros(*x.shape[:-1], layer.irreps_out.dim())
    slices = [irreps.slices() for irreps in (layer.irreps_in1, layer.irreps_in2, layer.irreps_out)]
    for path, weight in zip(layer.paths, layer.to_path_weights()):
        i, j, k = path.entries
        a = x[..., slices[0][i]].unflatten(-1, (-1, 2 * path.l1 + 1))
        b = y[..., slices[1][j]].unflatten(-1, (-1, 2 * path.l2 + 1))
        w3j = wigner_3j(path.l1, path.l2, path.l3)
        out[..., slices[2][k]] += torch.einsum("...ui,...uj,ijk,u->...uk", a, b, w3j, weight.to(x)).flatten(-2)
    return out


@pytest.mark.parametrize("irreps", [NATURAL, MIXED, EVEN, "4x0e+4x0e+4x1o"])
@pytest.mark.parametrize("weights", [None, "factorized", "cp"])
def test_the_layer_is_the_sum_of_its_paths(irreps, weights):
    layer = GauntTensorProduct(irreps, irreps, irreps, weights=weights, rank=2 if weights == "cp" else 1).double()
    x, y = torch.randn(2, 3, Irreps(irreps).dim(), dtype=torch.float64)
    assert (layer(x, y) - by_paths(layer, x, y)).abs().max() < 1e-12


def test_every_path_keeps_parity_and_auto_takes_the_bracket_only_where_it_is_needed():
    for irreps, odd in ((NATURAL, False), (MIXED, True), (EVEN, True)):
        layer = GauntTensorProduct(irreps, irreps, irreps)
        assert all(path.p3 == path.p1 * path.p2 for path in layer.paths)
        assert any(path.kind == "bracket" for path in layer.paths) is odd
        assert all((path.kind == "bracket") == ((path.l1 + path.l2 + path.l3) % 2 == 1) for path in layer.paths)


@pytest.mark.parametrize("antisymmetric", [False, True])
def test_the_layer_is_equivariant_under_rotations_and_reflections(antisymmetric):
    layer = GauntTensorProduct(MIXED, NATURAL, antisymmetric=antisymmetric).double()
    group = O(3)
    R = group.sample(5, dtype=torch.float64)
    x, y = torch.randn(5, Irreps(MIXED).dim()).double(), torch.randn(5, Irreps(NATURAL).dim()).double()
    turned = layer(layer.irreps_in1(group, R, x), layer.irreps_in2(group, R, y))
    expected = layer.irreps_out(group, R, layer(x, y))
    assert (turned - expected).norm() / expected.norm() < 1e-12


def test_component_normalisation_gives_unit_variance_and_plain_scalars():
    layer = GauntTensorProduct(MIXED, MIXED, MIXED, weights=None)
    x, y = torch.randn(2, 4_000, Irreps(MIXED).dim())
    variance = torch.stack([layer(x, y)[:, where].var() for where in layer.irreps_out.slices()])
    assert (variance - 1).abs().max() < 0.1
    scalars = GauntTensorProduct("1x0e", "1x0e", weights=None)
    assert torch.allclose(scalars(x[:, :1], y[:, :1]), x[:, :1] * y[:, :1])


def test_layouts_hold_the_same_numbers():
    ours, theirs = (GauntTensorProduct(EVEN, EVEN, EVEN, layout=name) for name in ("mul_ir", "ir_mul"))
    theirs.load_state_dict(ours.state_dict())

    def swapped(x, back=False):
        shapes = [(2 * l + 1, 4) if back else (4, 2 * l + 1) for l in range(3)]
        parts = x.split([4 * (2 * l + 1) for l in range(3)], -1)
        return torch.cat([part.unflatten(-1, shape).mT.flatten(-2) for part, shape in zip(parts, shapes)], -1)

    x, y = torch.randn(2, 3, 36)
    assert torch.allclose(swapped(theirs(swapped(x), swapped(y)), back=True), ours(x, y), atol=1e-5)


def test_weights_per_row_and_rows_in_chunks():
    layer = GauntTensorProduct(EVEN, EVEN, EVEN, internal_weights=False, shared_weights=False)
    x, y = torch.randn(2, 2, 5, 36, requires_grad=True).unbind()
    weight = torch.randn(2, 5, layer.weight_numel, requires_grad=True)
    expected = layer(x, y, weight)
    layer.chunk = 3
    found = layer(x, y, weight)
    assert torch.allclose(found, expected, atol=1e-5)
    for a, b in zip(*(torch.autograd.grad(z.square().sum(), (x, y, weight)) for z in (found, expected))):
        assert torch.allclose(a, b, atol=1e-3)
    with torch.no_grad():
        assert torch.allclose(layer(x, y, weight), expected, atol=1e-5)
        assert torch.allclose(layer(x[0, 0], y[0, 0], weight[0, 0]), expected[0, 0], atol=1e-5)
    for chunk in (0, -1):
        with pytest.raises(ValueError, match=f"chunk must be 1 or more rows, or None; got {chunk}"):
            GauntTensorProduct(EVEN, EVEN, chunk=chunk)


def test_initial_weights_give_unit_variance_whatever_the_rank():
    layer = GauntTensorProduct("4000x0e", "4000x0e", weights="cp", rank=3)
    assert layer.to_path_weights().var().item() == pytest.approx(1, rel=0.2)


def uuu(irreps, seed=0):
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)  # its Wigner 3j symbols have the precision of the default dtype
    irreps = o3.Irreps(irreps)
    instructions = [
        (i, j, k, "uuu", True)
        for i, (_, a) in enumerate(irreps)
        for j, (_, b) in enumerate(irreps)
        for k, (_, c) in enumerate(irreps)
        if c in a * b
    ]
    return o3.TensorProduct(irreps, irreps, irreps, instructions)


@pytest.mark.parametrize(("L", "rank"), [(1, 2), (2, 2), *[pytest.param(L, L, marks=pytest.mark.slow) for L in (3, 4)]])
def test_every_cg_product_of_natural_irreps_is_a_sum_of_few_gaunt_products(L, rank):
    irreps = "+".join(f"20x{l}{'eo'[l % 2]}" for l in range(L + 1))
    theirs = uuu(irreps)
    ours = GauntTensorProduct.from_clebsch_gordan(theirs, rank=rank)
    x, y = torch.randn(2, 4, theirs.irreps_in1.dim, dtype=torch.float64)
    assert (ours(x, y) - theirs(x, y)).norm() / theirs(x, y).norm() < 1e-8


@pytest.mark.parametrize("irreps", ["8x0e+8x1e+8x2e", pytest.param("20x0e+20x1e+20x2e+20x3e", marks=pytest.mark.slow)])
def test_with_the_bracket_all_paths_of_rotations_alone(irreps):
    theirs = uuu(irreps)
    even = 2 if len(theirs.instructions) == 15 else 3
    ours = GauntTensorProduct.from_clebsch_gordan(theirs, rank=(even, 2))
    x, y = torch.randn(2, 4, theirs.irreps_in1.dim, dtype=torch.float64)
    assert (ours(x, y) - theirs(x, y)).norm() / theirs(x, y).norm() < 1e-8
    assert len(ours.paths) == len(theirs.instructions)


def test_one_term_does_not_reach_weights_with_a_negative_product(monkeypatch):
    monkeypatch.setattr(_cp_fit, "STARTS", 2)
    theirs = uuu("1x0e+1x1o")
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match="rank 1 leaves a relative misfit of 0?[0-9.e-]+"):
        GauntTensorProduct.from_clebsch_gordan(theirs, rank=1)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([1.0, -2.0, 3.0, -1.0]))
    assert GauntTensorProduct.from_clebsch_gordan(theirs).ranks == {"gaunt": 1}


def test_bad_input(plain):
    with pytest.raises(ValueError, match="uuu needs equal multiplicities, got 64x0e and 32x1o; insert a Linear"):
        GauntTensorProduct("64x0e+32x1o", "64x0e", "64x0e")
    with pytest.raises(ValueError, match="1e from 1o x 1o needs antisymmetric=True"):
        GauntTensorProduct("2x1o", "2x1o", "2x1e", antisymmetric=False)
    with pytest.raises(ValueError, match="parity"):
        GauntTensorProduct("2x1o", "2x1o", "2x1o")
    with pytest.raises(ValueError, match="3e is outside"):
        GauntTensorProduct("2x1o", "2x1o", "2x3e")
    with pytest.raises(ValueError, match="irreps_in1 must be irreps"):
        GauntTensorProduct("vector", "2x1o")
    with pytest.raises(ValueError, match="layout must be one of.*'nchw'"):
        GauntTensorProduct("2x1o", "2x1o", layout="nchw")
    with pytest.raises(ValueError, match="rank must be 1 or more"):
        GauntTensorProduct("2x1o", "2x1o", rank=0)
    layer = GauntTensorProduct("2x1o", "2x1o", internal_weights=False)
    with pytest.raises(ValueError, match="weight must be given"):
        layer(torch.ones(6), torch.ones(6))
    with pytest.raises(ValueError, match="weight must be .20,.; got shape .3,."):
        layer(torch.ones(6), torch.ones(6), torch.ones(3))
    with pytest.raises(ValueError, match="x must be .*6. for 2x1o; got shape .5,."):
        layer(torch.ones(5), torch.ones(6))


@pytest.mark.slow
def test_the_layer_compiles_whole(plain):
    layer = GauntTensorProduct("2x0e+2x1e", "2x0e+2x1e", "2x1e")
    x, y = torch.randn(2, 3, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, y), layer(x, y), atol=1e-5)
    (found,), (expected,) = (torch.autograd.grad(f(x, y).square().sum(), [layer.weight]) for f in (compiled, layer))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)

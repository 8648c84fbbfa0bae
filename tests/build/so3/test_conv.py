"""Convolutions over edges: three routes to the same numbers, exact symmetry, no special directions."""

import pytest
import torch

from torsor.actions import Irreps
from torsor.build.so3 import GauntConv, SO2Conv, spherical_harmonics, wigner_3j, wigner_D
from torsor.build.so3._aligned import edge_frames
from torsor.groups import O

NATURAL = "3x0e+3x1o+3x2e"
MIXED = "3x0e+3x0o+3x1o+3x1e"
POLES = torch.tensor([[0.0, 1, 0], [0, -1, 0], [0, 2, 0], [1, 0, 0], [0, 0, -1], [-1, 1e-9, 0]], dtype=torch.float64)


def graph(dim, nodes=4, edges=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, dim, generator=g, dtype=torch.float64)
    index = torch.randint(nodes, (2, edges), generator=g)
    vec = torch.randn(edges, 3, generator=g, dtype=torch.float64)
    return x, index, vec, torch.randn(edges, 5, generator=g, dtype=torch.float64)


def convs(irreps_in, irreps_out, lmax=3):
    torch.manual_seed(0)
    kinds = [GauntConv(irreps_in, lmax, irreps_out, 5), SO2Conv(irreps_in, lmax, irreps_out, 5)]
    aligned = GauntConv(irreps_in, lmax, irreps_out, 5, backend="aligned")
    aligned.load_state_dict(kinds[0].state_dict())
    return [conv.double() for conv in (*kinds, aligned)]


def path_by_path(x, index, vec, weight, irreps_in, irreps_out, paths, lmax):
    """The sum over edges and paths, written out."""
    irreps_in, irreps_out = Irreps(irreps_in), Irreps(irreps_out)
    Y = spherical_harmonics(lmax, vec)
    blocks = [x[:, w].unflatten(1, (n, ir.dim)) for (n, ir), w in zip(irreps_in, irreps_in.slices())]
    out = [torch.zeros(len(x), n, ir.dim, dtype=x.dtype) for n, ir in irreps_out]
    for p, (i, l, k) in enumerate(paths):
        C = wigner_3j(irreps_in.entries[i][1].l, l, irreps_out.entries[k][1].l)
        message = torch.einsum("eca,eb,abk->eck", blocks[i][index[0]], Y[:, l * l : (l + 1) ** 2], C)
        out[k] = out[k].index_add(0, index[1], weight[:, p, :, None] * message)
    return torch.cat([part.flatten(1) for part in out], 1)


@pytest.mark.parametrize(("irreps_in", "irreps_out"), [(NATURAL, "3x0e+3x1o+3x2e+3x3o"), (MIXED, MIXED + "+3x2o")])
def test_every_route_is_the_sum_over_clebsch_gordan_paths(irreps_in, irreps_out):
    gaunt, so2, aligned = convs(irreps_in, irreps_out)
    x, index, vec, radial = graph(gaunt.irreps_node.dim())
    paths = [(p.entries[0], p.l2, p.entries[2]) for p in gaunt.paths]
    expected = path_by_path(x, index, vec, gaunt.to_path_weights(radial), irreps_in, irreps_out, paths, 3)
    assert (gaunt(x, index, vec, radial) - expected).abs().max() < 1e-12 * expected.abs().max()
    assert (aligned(x, index, vec, radial) - expected).abs().max() < 1e-12 * expected.abs().max()
    paths = [(i, l, k) for _, l, _, i, k in so2.paths]
    expected = path_by_path(x, index, vec, so2.to_path_weights(radial), irreps_in, irreps_out, paths, 3)
    assert (so2(x, index, vec, radial) - expected).abs().max() < 1e-12 * expected.abs().max()


def test_so2_convolution_is_e3nns_weighted_product():
    o3 = pytest.importorskip("e3nn.o3")
    _, conv, _ = convs(NATURAL, "3x0e+3x1o+3x2e+3x1e")
    x, index, vec, radial = graph(conv.irreps_node.dim(), nodes=9)
    index[1] = torch.arange(9)  # one edge to each node
    instructions = [(i, l, k, "uvu", True) for _, l, _, i, k in conv.paths]
    out = [(3, (c.l, c.p)) for _, _, c, _, _ in conv.paths]
    torch.set_default_dtype(torch.float64)  # e3nn makes its tables in it
    try:
        tp = o3.TensorProduct(
            o3.Irreps(NATURAL), o3.Irreps("0e+1o+2e+3o"), o3.Irreps(out),
            [(i, l, n, "uvu", True) for n, (i, l, *_) in enumerate(instructions)],
            irrep_normalization="none", path_normalization="none", internal_weights=False, shared_weights=False,
        )  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)
    weight = conv.to_path_weights(radial).flatten(1)
    with torch.no_grad():
        messages = tp(x[index[0]], spherical_harmonics(3, vec), weight)
    summed = torch.zeros(9, conv.irreps_out.dim(), dtype=torch.float64)
    for (*_, k), where in zip(conv.paths, Irreps(out).slices()):
        summed[:, conv.irreps_out.slices()[k]] += messages[:, where]
    assert (conv(x, index, vec, radial) - summed).abs().max() < 1e-12 * summed.abs().max()


@pytest.mark.parametrize("which", range(3))
def test_rotations_and_reflections_pass_through(which):
    conv = convs(MIXED, MIXED + "+3x2e")[which]
    x, index, vec, radial = graph(conv.irreps_node.dim())
    R = O(3).sample(generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for g in (R, -R):
        moved = conv(conv.irreps_node(O(3), g, x), index, vec @ g.mT, radial)
        expected = conv.irreps_out(O(3), g, conv(x, index, vec, radial))
        assert (moved - expected).norm() < 1e-12 * expected.norm()


def test_frames_take_every_direction_to_the_pole():
    n = torch.cat([torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1), POLES[[0, 1, 3, 4]]])
    R = edge_frames(n)
    assert (R @ R.mT - torch.eye(3)).abs().max() < 1e-14
    assert (torch.linalg.det(R) - 1).abs().max() < 1e-14
    assert (torch.einsum("eij,ej->ei", R, n) - torch.tensor([0.0, 1, 0])).abs().max() < 1e-14
    assert torch.allclose(wigner_D(1, R), R)


@pytest.mark.parametrize("which", range(3))
def test_derivatives_at_poles_and_on_the_seam_are_those_of_differences(which):
    conv = convs(NATURAL, "3x0e+3x1o")[which]
    x, _, _, radial = graph(conv.irreps_node.dim(), nodes=6, edges=6)
    index = torch.arange(6).expand(2, 6)
    probe = torch.randn(6, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def energy(vec):
        return (conv(x, index, vec, radial) * probe).sum()

    vec = POLES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy(vec), vec)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-5
        for row in range(6):
            shift = torch.zeros_like(POLES)
            shift[row] = step
            difference = (energy(POLES + shift) - energy(POLES - shift)) / 2e-5
            assert difference.item() == pytest.approx(slope[row, axis].item(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("which", range(3))
def test_gradients_of_both_orders(which):
    torch.manual_seed(0)
    options = [(GauntConv, {}), (SO2Conv, {}), (GauntConv, {"backend": "aligned"})][which]
    conv = options[0]("1x0e+1x1o", 2, "1x0e+1x1e", 2, hidden=(2,), **options[1]).double()
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    vec = torch.tensor([[0.3, -0.8, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    radial = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 1], [1, 0]])
    run = lambda x, vec, radial: conv(x, index, vec, radial)
    assert torch.autograd.gradcheck(run, (x, vec, radial))
    assert torch.autograd.gradgradcheck(run, (x, vec, radial))


def test_messages_of_unit_features_have_unit_variance():
    torch.manual_seed(0)
    conv = GauntConv("8x0e+8x1o", 3, "8x0e+8x1o+8x2e+8x3o", 16)
    n = 20_000
    x, index = torch.randn(n, 32), torch.arange(n).expand(2, n)
    for after in conv.after:
        torch.nn.init.ones_(after)
    out = conv(x, index, torch.randn(n, 3), torch.randn(n, 16))
    for where in conv.irreps_out.slices():
        assert out[:, where].square().mean().item() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("kind", [GauntConv, SO2Conv])
def test_edges_without_length_and_graphs_without_edges(kind, plain):
    conv = kind("2x0e+2x1o", 2, "2x0e+2x1o", 3, zero_edge="zero").double()
    x, index, vec, radial = graph(8)
    radial = radial[:, :3]
    vec[4] = 0
    kept = torch.arange(9) != 4
    expected = conv(x, index[:, kept], vec[kept], radial[kept])
    vec.requires_grad_()
    found = conv(x, index, vec, radial)
    assert torch.allclose(found, expected)
    (slope,) = torch.autograd.grad(found.sum(), vec)
    assert slope.isfinite().all()
    assert not conv(x, index[:, :0], vec[:0], radial[:0]).any()
    with pytest.raises(ValueError, match=r"edge 4 is.*zero_edge"):
        kind("2x0e+2x1o", 2, "2x0e+2x1o", 3).double()(x, index, vec, radial)


@pytest.mark.parametrize("kind", [GauntConv, SO2Conv])
def test_bad_input_is_refused_by_name(kind, plain):
    with pytest.raises(ValueError, match="got 64x0e and 32x1o; insert a Linear"):
        kind("64x0e+32x1o", 2, "64x0e", 4)
    with pytest.raises(ValueError, match="irreps_out must be reachable"):
        kind("4x0e", 1, "4x2e", 4)
    with pytest.raises(ValueError, match="zero_edge must be"):
        kind("4x0e", 1, "4x0e", 4, zero_edge="keep")
    with pytest.raises(ValueError, match="each once"):
        kind("4x0e+4x0e", 1, "4x0e", 4)
    conv = kind("4x0e+4x1o", 1, "4x0e", 4)
    index, vec, radial = torch.zeros(2, 3, dtype=torch.long), torch.ones(3, 3), torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"x_node must be \(..., 16\)"):
        conv(torch.ones(2, 15), index, vec, radial)
    with pytest.raises(ValueError, match=r"radial must be \(3, 4\)"):
        conv(torch.ones(2, 16), index, vec, radial[:, :2])
    with pytest.raises(TypeError, match="x_node must be a real"):
        conv(torch.ones(2, 16, dtype=torch.long), index, vec, radial)


def test_an_output_that_needs_the_bracket_says_so(plain):
    with pytest.raises(ValueError, match="needs antisymmetric=True"):
        GauntConv("4x1o", 1, "4x1e", 4, antisymmetric=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GauntConv, SO2Conv])
def test_one_graph_without_breaks_with_forces_inside(kind, plain):
    conv = kind("2x0e+2x1o", 2, "2x0e+2x1o", 3, hidden=(4,)).double()
    x, index, vec, radial = graph(8)
    radial = radial[:, :3]
    conv(x, index, vec, radial)  # the tables are made outside of transforms

    def loss(vec):
        forces = torch.func.grad(lambda vec: conv(x, index, vec, radial).square().sum())(vec)
        return forces.square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(vec), list(conv.parameters()))
    found = torch.autograd.grad(compiled(vec), list(conv.parameters()))
    for one, other in zip(found, expected):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)

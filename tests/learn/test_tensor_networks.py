"""Layers and networks on tensors: equivariant for every group, and as free as they say."""

import copy

import pytest
import torch

from torsor.actions import Scalar, T, V, uniform_rep
from torsor.groups import SL, SO, Cyclic, Dihedral, GLPlus, Lorentz, O, Scaling, Sp, Trivial, embed
from torsor.learn import EMLP, RPPEMLP, EquivariantLinear, Fixed, Gate, PERegularizer, Products, RPPLinear, SoftEMLP

O2xy = embed(O(2), (0, 1), 3)
COMPACT = [O(3), SO(3), O2xy, embed(SO(2), (0, 2), 3), O(2), SO(2), SO(4), Cyclic(5), Dihedral(4), Trivial(3)]
OTHERS = [SL(2), SL(3), GLPlus(2), Lorentz(1, 3), Sp(2), Scaling(3)]


def relative_error(f, rep_in, rep_out, group, dtype):
    generator = torch.Generator().manual_seed(0)
    if group.is_compact:
        g = group.sample(50, generator=generator, dtype=dtype)
    else:
        v = torch.randn(50, group.dim, generator=generator, dtype=torch.float64)
        size = torch.linalg.matrix_norm(group.hat(v), 2)
        g = group.exp(v * (torch.rand(50, generator=generator) / size)[:, None]).to(dtype)
    x = torch.randn(50, rep_in.dim(group), generator=generator, dtype=dtype)
    with torch.no_grad():
        moved, expected = f(rep_in(group, g, x)), rep_out(group, g, f(x))
    size = (moved.norm(dim=1) + expected.norm(dim=1)).clamp(min=1e-30)
    return float(((moved - expected).norm(dim=1) / size).mean())


def test_soft_networks_start_equivariant_where_the_groups_act_orthogonally():
    def away(groups, **options):
        net = SoftEMLP(2 * V, V, groups, channels=20, layers=1, **options)
        return PERegularizer(net, strengths=Fixed(1.0), include_bias=False)().item()

    assert away([O2xy]) < 1e-8
    assert away([O2xy], start="orthogonal") > 1
    with pytest.warns(UserWarning, match="not orthogonal"):
        assert away([Scaling(3)]) > 1


@pytest.mark.parametrize("group", COMPACT + OTHERS, ids=str)
def test_hard_networks_are_equivariant_for_every_group(group):
    rep_in, rep_out = 2 * Scalar() + 2 * V + V.dual, V + Scalar() + T(1, 1)
    torch.manual_seed(0)
    hidden = 4 * Scalar() + 3 * V + 2 * V.dual + 2 * T(1, 1) + T(2)
    for make in (
        lambda: EquivariantLinear(rep_in, rep_out, group),
        lambda: EMLP(rep_in, rep_out, group, channels=hidden, layers=2),
    ):
        net = make()
        bars = (1e-5, 1e-12) if group.is_compact else (1e-4, 1e-10)
        assert relative_error(net, rep_in, rep_out, group, torch.float32) < bars[0]
        assert relative_error(copy.deepcopy(net).double(), rep_in, rep_out, group, torch.float64) < bars[1]


def test_both_parametrisations_give_equivariant_layers_that_reach_the_same_maps():
    torch.manual_seed(0)
    layer = EquivariantLinear(V + T(2), T(2), O2xy, by="projection").double()
    other = EquivariantLinear(V + T(2), T(2), O2xy).double()
    with torch.no_grad():
        other.weight_parameters.copy_(other.basis.coefficients(layer.weight))
        other.bias_parameters.copy_(other.bias_basis.coefficients(layer.bias.unsqueeze(-1)))
    x = torch.randn(5, 12, dtype=torch.float64)
    assert torch.allclose(layer(x), other(x), atol=1e-12)
    assert sum(p.numel() for p in other.parameters()) < sum(p.numel() for p in layer.parameters())


def test_gates_and_products_alone_commute_with_the_largest_group():
    rep = 4 * Scalar() + 2 * V + T(2)
    with_gates = 7 * Scalar() + 2 * V + T(2)
    assert relative_error(Gate(rep, O(3)).double(), with_gates, rep, O(3), torch.float64) < 1e-14
    assert relative_error(Gate(rep, O(3), rpp=True).double(), with_gates, rep, O(3), torch.float64) > 1e-6
    torch.manual_seed(0)
    assert relative_error(Products(rep, O(3)).double(), rep, rep, O(3), torch.float64) < 1e-14


def test_outer_products_make_a_matrix_of_two_vectors():
    rep = 2 * Scalar() + 2 * V + 2 * T(2)
    x = torch.randn(20, 26)
    x[:, :2] = 0  # no scalars and no matrices: what is left are products of vectors
    x[:, 8:] = 0
    assert Products(rep, O(3), outer=False)(x)[:, 8:].abs().max() == 0
    assert Products(rep, O(3))(x)[:, 8:].abs().max() > 0


def test_a_soft_network_with_projected_layers_is_the_hard_one():
    torch.manual_seed(0)
    rep_in, rep_out = 2 * V, T(2)
    net = SoftEMLP(rep_in, rep_out, [O2xy, O(3)], channels=40, layers=2).double()
    assert relative_error(net, rep_in, rep_out, O(3), torch.float64) > 0.05
    with pytest.warns(UserWarning, match="contains"):
        per = PERegularizer(net, strengths=Fixed(1.0))
    with torch.no_grad():
        for layer in per.layers.values():
            layer.weight.copy_(layer.reps.bases[1].project(layer.weight))
            layer.bias.copy_(layer.reps.bias_bases[1].project(layer.bias.unsqueeze(-1)).squeeze(-1))
    assert per() < 1e-20
    assert relative_error(net, rep_in, rep_out, O(3), torch.float64) < 1e-12


def test_plain_activations_are_not_equivariant():
    torch.manual_seed(0)
    net = SoftEMLP(2 * V, T(2), [O(3)], channels=40, layers=1, gate="plain").double()
    assert relative_error(net, 2 * V, T(2), O(3), torch.float64) > 0.05


def test_residual_pathways_start_nearly_equivariant_and_have_the_prior_of_the_paper():
    torch.manual_seed(0)
    layer = RPPLinear(V, V, O(3)).double()
    assert 0 < relative_error(layer, V, V, O(3), torch.float64) < 1e-2
    strong, weak = layer.equivariant, layer.free
    squares = [sum(float(p.detach().square().sum()) for p in part.parameters()) for part in (strong, weak)]
    assert float(layer.log_prior().detach()) == pytest.approx(-1e-5 * squares[0] - squares[1])
    net = RPPEMLP(2 * V, T(2), O(3), channels=30, layers=2)
    assert net.log_prior() < 0


def test_channels_are_shared_out_as_in_the_paper():
    """Finzi et al. 2021: 128 channels in three dimensions; every number is used up."""
    assert uniform_rep(128, O(3), max_rank=3) == 38 * Scalar() + 12 * V + 3 * T(2) + T(3)
    assert uniform_rep(128, O(3)) == 47 * Scalar() + 15 * V + 4 * T(2)
    assert [uniform_rep(n, O(3)).dim(O(3)) for n in range(60)] == list(range(60))


def test_a_product_takes_no_more_copies_than_one_tensor_has_numbers():
    products = Products((5 * Scalar() + 7 * V).canonical(O(3)).rep, O(3))
    chosen = {name: len(sel) for name, sel in products.named_buffers()}
    assert chosen
    assert max(chosen.values()) == 3


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="gate must be"):
        SoftEMLP(V, V, [O(3)], gate="soft")
    with pytest.raises(ValueError, match="at least 1 hidden layer"):
        SoftEMLP(V, V, [O(3)], layers=0)
    with pytest.raises(ValueError, match="by must be"):
        EquivariantLinear(V, V, O(3), by="magic")
    with pytest.raises(ValueError, match="sigma_basic must be positive"):
        RPPLinear(V, V, O(3), sigma_basic=0.0)
    with pytest.raises(ValueError, match="canonical order"):
        Gate(V + Scalar(), O(3))


def test_networks_are_saved_and_loaded_with_what_was_drawn(tmp_path):
    from safetensors.torch import load_model, save_model

    nets = [SoftEMLP(2 * V, T(2), [O2xy], channels=12 * Scalar() + 3 * V + T(2), layers=1) for _ in range(2)]
    x = torch.randn(4, 6)
    assert not torch.allclose(nets[0](x), nets[1](x))
    save_model(nets[0], str(tmp_path / "net.safetensors"))
    load_model(nets[1], str(tmp_path / "net.safetensors"))
    assert torch.equal(nets[0](x), nets[1](x))

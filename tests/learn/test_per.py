"""The penalty: values computed by hand, the group average that it is, and what it does to weights."""

import copy

import pytest
import torch

from torsor.actions import Perm, Scalar, T, V, equivariant_basis
from torsor.groups import SL, SO, Cyclic, Dihedral, O, Scaling, Symmetric, embed
from torsor.learn import Fixed, LayerReps, PERegularizer, SoftEMLP, SoftLinear, attach

O2xy, O2yz, O2xz = (embed(O(2), axes, 3) for axes in [(0, 1), (1, 2), (0, 2)])
SO2xy = embed(SO(2), (0, 1), 3)
W = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 10]], dtype=torch.float64)
MIXED = 3 * Scalar() + 2 * V + T(2)


def test_the_penalties_of_a_matrix_are_those_computed_by_hand():
    """|w - P w|^2 / 2 of Kim et al. 2023, with P W = 16/3 I, diag(3, 3, 10), ..."""
    reps = LayerReps(V, V, [O(3), SO(3), O2xy, O2yz, O2xz, SO2xy])
    by_hand = torch.tensor([328 / 3, 328 / 3, 93, 95.25, 109.25, 92], dtype=torch.float64)
    assert torch.allclose(reps.residuals(W), by_hand, rtol=1e-12)


def test_a_larger_group_has_a_larger_penalty_and_fewer_maps():
    reps = LayerReps(MIXED, V + T(2), [O(3), SO(3), O2xy, SO2xy])
    R = reps.residuals(torch.randn(12, 18, dtype=torch.float64))
    assert R[0] >= R[1] >= R[3]
    assert R[0] >= R[2] >= R[3]
    one, other = reps.bases[0].dense().flatten(1), reps.bases[3].dense().flatten(1)
    assert torch.allclose(one @ other.mT @ other, one, atol=1e-10)


@pytest.mark.parametrize("group", [O(3), O2xy, SO(3)], ids=str)
def test_the_penalty_is_a_quarter_of_the_mean_change_over_the_whole_group(group):
    w = torch.randn(9, 12, dtype=torch.float64)
    rep_in, rep_out = 3 * Scalar() + V + 2 * V, T(2)
    g = group.sample(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = rep_out.matrix(group, g) @ w @ rep_in.matrix(group, group.inverse(g))
    mean = (moved - w).square().sum((1, 2)).mean() / 4
    assert torch.isclose(LayerReps(rep_in, rep_out, [group]).residuals(w)[0], mean, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("group", [O(3), O2xy, O2xz], ids=str)
def test_the_projection_is_the_haar_mean_to_the_precision_of_200000_samples(group):
    w = W / W.norm()
    g = group.sample(200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = g @ w @ group.inverse(g)
    basis = equivariant_basis(group, V, V)
    assert (moved.mean(0) - basis.project(w)).abs().max() < 5e-3
    assert torch.isclose((moved - w).square().sum((1, 2)).mean() / 4, basis.residual(w).square().sum() / 2, rtol=0.01)


@pytest.mark.parametrize("group", [Cyclic(4), Dihedral(3), Symmetric(4)], ids=str)
def test_for_finite_groups_it_is_so_exactly(group):
    rep = Perm() if group == Symmetric(4) else V + T(2)
    g = group.elements() if group == Symmetric(4) else group.elements(torch.float64)
    n = rep.dim(group)
    w = torch.randn(n, n, dtype=torch.float64)
    moved = rep.matrix(group, g).double() @ w @ rep.matrix(group, group.inverse(g)).double()
    reps = LayerReps(rep, rep, [group])
    assert torch.allclose(reps.residuals(w)[0], (moved - w).square().sum((1, 2)).mean() / 4, rtol=1e-12)
    assert torch.allclose(reps.bases[0].project(w), moved.mean(0), atol=1e-12)


def test_projected_weights_have_no_penalty_and_its_gradient_is_what_is_left():
    reps = LayerReps(MIXED, MIXED, [O2xy, O(3)])
    w = torch.randn(18, 18, dtype=torch.float64, requires_grad=True)
    for number, basis in enumerate(reps.bases):
        assert reps.residuals(basis.project(w))[number] < 1e-25
        (slope,) = torch.autograd.grad(reps.residuals(w)[number], w)
        assert torch.allclose(slope, basis.residual(w), atol=1e-12)


def test_the_penalty_can_be_differentiated_twice():
    reps = LayerReps(V, T(2), [O2xy, O2yz])
    w = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda w: reps.residuals(w).sum(), w)


def test_float32_sees_what_float64_sees():
    layer = SoftLinear(MIXED, MIXED, [O2xy, O2yz, O2xz])
    wide = copy.deepcopy(layer).double()
    assert torch.allclose(layer.per().double(), wide.per(), rtol=1e-5)
    with torch.no_grad():
        layer.weight.copy_(wide.reps.bases[0].project(wide.weight))
        layer.bias.zero_()
    assert layer.per()[0] < 1e-10 * layer.weight.square().sum()


def test_what_float32_has_lost_comes_back_in_float64():
    layer = SoftLinear(MIXED, MIXED, [O2xy])  # its bases are in float32
    wide = copy.deepcopy(layer).double()
    assert torch.allclose(wide.reps.bases[0].dense(), equivariant_basis(O2xy, MIXED, MIXED).dense(), atol=1e-15)
    assert wide.reps.residuals(wide.reps.bases[0].project(wide.weight))[0] < 1e-25


def test_blocks_too_large_for_a_complement_are_measured_all_the_same():
    """T3 -> V has 81 unknowns, T3 -> T2 243."""
    reps = LayerReps(T(3), V + T(2), [O2xy, SO2xy])
    w = torch.randn(12, 27, dtype=torch.float64)
    expected = torch.stack([b.residual(w).square().sum() / 2 for b in reps.bases])
    assert torch.allclose(reps.residuals(w), expected, rtol=1e-10)


def test_scores_are_one_for_equivariant_weights_and_zero_on_average_for_random_ones():
    reps = LayerReps(V + T(2), V + T(2), [O2xy, O(3)])
    torch.manual_seed(0)
    random = torch.stack([reps.scores(torch.randn(12, 12, dtype=torch.float64)) for _ in range(200)])
    assert random.mean(0).abs().max() < 0.02
    assert torch.allclose(reps.scores(reps.bases[1].project(random.new_ones(12, 12))), torch.ones(2).double())
    nothing_asked = LayerReps(Scalar(), Scalar(), [O(3)])
    assert nothing_asked.scores(torch.ones(1, 1)).isnan().all()
    assert reps.scores(torch.zeros(12, 12)).isnan().all()


def test_one_bias_is_measured_with_the_weight():
    layer = SoftLinear(V, V, [O2xy, O2yz]).double()
    weight_only = layer.reps.residuals(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(layer.per() - weight_only, torch.tensor([2.5, 6.5]).double())
    per = PERegularizer(layer, strengths=Fixed(1.0), include_bias=False)
    assert torch.allclose(per(), weight_only.sum())


def test_starts_that_lean_towards_the_first_group():
    for start, share in (("halfsoft", 0.25), ("rpp", 1e-6)):
        torch.manual_seed(0)
        free = SoftLinear(MIXED, MIXED, [O2xy], start="orthogonal")
        torch.manual_seed(0)
        leaning = SoftLinear(MIXED, MIXED, [O2xy], start=start)
        left = leaning.reps.residuals(leaning.weight) / free.reps.residuals(free.weight)
        assert torch.allclose(left, torch.tensor([share]), rtol=1e-3)


def test_an_equivariant_start_commutes_with_all_groups_and_is_as_large_as_a_free_one():
    torch.manual_seed(0)
    layer = SoftLinear(20 * MIXED, 20 * MIXED, [O2xy, O2yz], start="equivariant")
    assert layer.per().max() < 1e-6 + layer.bias.square().sum()  # the bias is not projected
    assert layer.reps.residuals(layer.weight).max() < 1e-6
    assert equivariant_basis(O(3), *2 * [20 * MIXED], dtype=torch.float32).residual(layer.weight).abs().max() < 1e-6
    assert abs(layer.weight.square().sum() / len(layer.weight) - 1) < 0.05
    mixed = SoftLinear(MIXED, MIXED, [Symmetric(3), O(3)], start="equivariant")
    assert mixed.reps.residuals(mixed.weight)[0] < 1e-6
    free = SoftLinear(V, Scalar(), [O(3)], start="equivariant")  # nothing commutes: the free weight stays
    assert torch.allclose(free.weight.square().sum(), torch.tensor(1.0))


def test_any_linear_layer_can_be_given_representations():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 9, 1), torch.nn.ReLU(), torch.nn.Conv2d(9, 3, 1, bias=False))
    before = set(net.state_dict())
    attach(net, "0", V, T(2), [O2xy, O2yz])
    attach(net, "2", T(2), V, [O2xy, O2yz])
    per = PERegularizer(net, strengths=Fixed(1.0))
    assert per.residuals().shape == (2, 2)
    assert set(net.state_dict()) == before
    w = net[2].weight.flatten(1)
    basis = equivariant_basis(O2xy, T(2), V, dtype=torch.float32)
    assert torch.allclose(per.residuals()[1, 0], basis.residual(w).square().sum() / 2)


@pytest.mark.usefixtures("plain")
def test_the_penalty_compiles_as_one_graph():
    net = torch.nn.Sequential(SoftLinear(V, MIXED, [O2xy, O2yz]), SoftLinear(MIXED, V, [O2xy, O2yz]))
    per = PERegularizer(net, strengths=Fixed(0.5))
    compiled = torch.compile(per, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(), per())


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="at least one group"):
        SoftLinear(V, V, [])
    with pytest.raises(ValueError, match="one space.*R\\^3.*R\\^2"):
        SoftLinear(V, V, [O(3), O(2)])
    with pytest.raises(TypeError, match="torsor groups"):
        SoftLinear(V, V, ["O(3)"])
    with pytest.raises(ValueError, match="start must be"):
        SoftLinear(V, V, [O(3)], start="warm")
    with pytest.raises(ValueError, match="start must be"):
        SoftEMLP(V, V, [O(3)], start="warm")
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Conv2d(4, 4, 1, groups=2), torch.nn.Conv2d(3, 3, 3))
    with pytest.raises(ValueError, match="maps 3 -> 8 channels and V -> V has 3 -> 3"):
        attach(net, "0", V, V, [O(3)])
    with pytest.raises(ValueError, match="groups=1; got groups=2"):
        attach(net, "1", V + Scalar(), V + Scalar(), [O(3)])
    with pytest.raises(ValueError, match="act on R\\^2"):
        attach(net, "2", V, V, [O(3)])
    with pytest.raises(TypeError, match="nn.Linear"):
        attach(torch.nn.Sequential(torch.nn.ReLU()), "0", V, V, [O(3)])
    with pytest.raises(ValueError, match="no layer with representations.*attach.*SoftEMLP.*SampledRegularizer"):
        PERegularizer(torch.nn.Linear(3, 3))
    layer = SoftLinear(V, V, [O2xy, O2yz])
    with pytest.raises(ValueError, match="among those of the layers"):
        PERegularizer(layer, [O2xz])
    with pytest.raises(ValueError, match="strengths must be finite and at least 0"):
        PERegularizer(layer, strengths=Fixed(-1.0))
    with pytest.raises(ValueError, match="one for each of 2 groups"):
        PERegularizer(layer, strengths=Fixed([1.0, 2.0, 3.0]))
    two = torch.nn.Sequential(layer, SoftLinear(V, V, [O2xy]))
    with pytest.raises(ValueError, match="same groups"):
        PERegularizer(two)
    per = PERegularizer(layer, strengths=Fixed(1.0))
    with torch.no_grad():
        layer.bias[0] = torch.nan
    for act in (lambda: PERegularizer(layer), lambda: per.epoch_end(1, 2)):
        with pytest.raises(ValueError, match="bias of the layer must be finite"):
            act()
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="weight of the layer must be finite"):
        PERegularizer(layer)


def test_candidates_that_say_nothing_or_the_same_are_warned_about():
    with pytest.warns(UserWarning, match="contains"):
        PERegularizer(SoftLinear(V, V, [O(3), O2xy]))
    with pytest.warns(UserWarning, match="every weight"):
        PERegularizer(SoftLinear(4 * Scalar(), Scalar(), [O(3)]))
    with pytest.warns(UserWarning, match="nothing"):
        PERegularizer(SoftLinear(Scalar(), V, [O(3)], bias=False))
    with pytest.warns(UserWarning, match="coordinates"):
        PERegularizer(SoftLinear(V, V, [SL(3)]))
    with pytest.warns(UserWarning, match="coordinates"):
        PERegularizer(SoftLinear(V + Scalar(), V + Scalar(), [Scaling(3)]))


def test_what_is_no_rule_no_layer_or_no_channel_is_refused(plain):
    layer = SoftLinear(V, V, [O(3)])
    with pytest.raises(TypeError, match="strengths must be a rule"):
        PERegularizer(layer, strengths=0.3)
    with pytest.raises(ValueError, match="name must be that of a layer"):
        attach(layer, "7", V, V, [O(3)])
    with pytest.raises(ValueError, match="channels must be at least 1"):
        SoftEMLP(V, V, [O(3)], channels=0)

"""What a trained model keeps, in words and numbers; and models moved towards a symmetry with a bound."""

import copy
import json

import pytest
import torch

from torsor import learn
from torsor.actions import Scalar, T, V
from torsor.groups import SL, O, embed

O2xy, O2yz, O2xz = (embed(O(2), axes, 3) for axes in [(0, 1), (1, 2), (0, 2)])
GROUPS = (O2xy, O2yz, O2xz)


def network(towards=None, gate="hard"):
    """A soft network, its layers projected on the maps of one candidate."""
    torch.manual_seed(0)
    net = learn.SoftEMLP(
        2 * V + Scalar(), V + T(2), GROUPS, channels=30, layers=1, gate=gate, start="orthogonal"
    ).double()
    if towards is not None:
        for layer in (net.net[0].linear if gate == "hard" else net.net[0], net.net[-1]):
            with torch.no_grad():
                layer.weight.copy_(layer.reps.bases[towards].project(layer.weight))
                layer.bias.copy_(layer.reps.bias_bases[towards].project(layer.bias.unsqueeze(-1)).squeeze(-1))
    return net


def x(n=16):
    return torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_kept_candidate_is_named_and_the_others_are_broken():
    per = learn.PERegularizer(network(towards=0), strengths=learn.Fixed(1.0))
    found = per.report(x())
    assert [f.verdict for f in found.groups] == ["kept", "broken", "broken"]
    assert found.groups[0].score == pytest.approx(1.0)
    assert found.groups[0].error < 1e-12 < 0.01 < found.groups[1].error
    assert found.joint == ()
    assert found.words.startswith("embed(O(2), (0, 1), 3): kept (score 1.00); ")
    assert len(found.layers) == 6
    assert json.loads(found.to_json())["records"][0]["verdict"] == "kept"
    assert "<table>" in found.to_html()


def test_candidates_that_are_all_kept_are_reported_together():
    per = learn.PERegularizer(network(), strengths=learn.Fixed(1.0))
    everything = learn.EMLP(2 * V + Scalar(), V + T(2), O(3), channels=30, layers=1).double()
    with torch.no_grad():
        for layer, exact in zip(per.layers.values(), (everything.net[0].linear, everything.net[-1]), strict=True):
            layer.weight.copy_(exact.weight)
            layer.bias.copy_(exact.bias)
    found = per.report(x())
    assert [f.verdict for f in found.groups] == ["kept"] * 3
    assert len(found.joint) == 4  # three pairs and all of them
    assert all(f.verdict == "kept" for f in found.joint)
    assert "Together too" in found.words


def test_activations_that_break_the_symmetry_are_named():
    net = network(towards=0, gate="plain")
    per = learn.PERegularizer(net, strengths=learn.Fixed(1.0))
    found = per.report(x())
    assert found.exposed == ("net.0",)
    assert "Activations after net.0" in found.words
    assert found.groups[0].score == pytest.approx(1.0)
    assert found.groups[0].error > 1e-3
    plain = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    learn.attach(plain, "0", V, 8 * Scalar(), [O2xy])
    learn.attach(plain, "2", 8 * Scalar(), V, [O2xy])
    assert learn.PERegularizer(plain, strengths=learn.Fixed(1.0)).report().exposed == ()


def test_strengths_over_the_epochs_are_drawn():
    net = network()
    per = learn.PERegularizer(net, strengths=learn.PowerRule(1.0))
    for epoch in range(1, 9):
        per.epoch_end(epoch, 8)
    found = per.report()
    assert len(found.figures()) == 3
    assert found.groups[0].error is None
    assert [entry["epoch"] for entry in found.history] == list(range(1, 9))


def test_a_report_needs_to_know_how_the_model_is_called():
    layer = learn.SoftLinear(V, V, GROUPS)
    with pytest.raises(ValueError, match="symmetries must say"):
        learn.PERegularizer(layer, strengths=learn.Fixed(1.0)).report(torch.randn(4, 3))


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_no_element_does_more_than_the_bound_allows(t):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Identity(), torch.nn.Linear(12, 3)).double()
    learn.attach(net, "0", 2 * V, 4 * V, GROUPS)
    learn.attach(net, "2", 4 * V, V, GROUPS)
    before = copy.deepcopy(net)
    found = learn.project_towards(net, O2xy, t, radius=2.0, lipschitz=1.0)
    g = O2xy.sample(500, dtype=torch.float64)
    points = torch.randn(500, 6, dtype=torch.float64)
    points = 2 * points / points.norm(dim=1, keepdim=True)
    with torch.no_grad():
        error = (net((2 * V)(O2xy, g, points)) - V(O2xy, g, net(points))).norm(dim=1).max()
    assert error <= found.after <= found.before
    assert (found.after < 1e-10) == (t == 1)
    expected = (1 - t) * before[0].weight + t * net[0].reps.bases[0].project(before[0].weight)
    assert torch.allclose(net[0].weight, expected)


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_in_words():
    layer = learn.SoftLinear(V, V, GROUPS)
    with pytest.raises(ValueError, match="t must be in"):
        learn.project_towards(layer, O2xy, 1.5)
    with pytest.raises(ValueError, match="among its candidates"):
        learn.project_towards(layer, O(3), 0.5)
    with pytest.raises(ValueError, match="orthogonal"):
        learn.project_towards(layer, SL(3), 0.5)

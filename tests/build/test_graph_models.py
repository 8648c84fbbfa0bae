"""Networks on graphs: invariant under any numbering, with padding, and not blind."""

import pytest
import torch

from torsor import Mask, Pairs, Scalar, Symmetric, Symmetry
from torsor.actions import Nodes
from torsor.build import FAGIN, FAMLP
from torsor.build.backbones import GIN
from torsor.build.frames import LaplacianOrder
from torsor.data import connected_graphs, strongly_regular_25

N, FEATURES = 9, 2


def batch(b=12, features=FEATURES, padded=True):
    """Random graphs, some with automorphisms, of 3 to 9 nodes."""
    g = torch.Generator().manual_seed(0)
    upper = (torch.rand(b, N, N, generator=g, dtype=torch.float64) < 0.4).double().triu(1)
    upper[0] = 0
    upper[0, 0, 1:] = 1  # a star
    sizes = torch.randint(3, N + 1, (b,), generator=g) if padded else torch.full((b,), N)
    mask = torch.arange(N) < sizes.unsqueeze(1)
    found = {"adjacency": (upper + upper.mT) * mask.unsqueeze(1) * mask.unsqueeze(2)}
    if features:
        x = torch.randint(0, 2, (b, N), generator=g)
        x[0] = 0
        found["x"] = torch.nn.functional.one_hot(x, FEATURES).double() * mask.unsqueeze(-1)
    return found | ({"mask": mask} if padded else {})


def law(inputs, per="sample"):
    acts = {"adjacency": Pairs(), "x": Nodes(-2), "mask": Mask()}
    output = Nodes(-2) if per == "node" else Scalar(per="sample")
    return Symmetry(Symmetric(N), {name: acts[name] for name in inputs}, output)


def error(model, inputs, per="sample", seed=0):
    """The largest difference between what moved inputs give and what they should give."""
    symmetry = law(inputs, per)
    g = symmetry.sample(inputs, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        out, moved = model(**inputs), model(**symmetry.act(g, inputs))
    assert out.std(0).max() > 1e-3  # the model is not constant
    return float((moved - symmetry.act_output(g, out, inputs)).abs().max())


def lively(model):
    """With parameters that let everything through: torch's own shrink differences."""
    torch.manual_seed(0)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model.double()


@pytest.mark.parametrize("per", ["sample", "node"])
@pytest.mark.parametrize("features", [0, FEATURES])
@pytest.mark.parametrize("padded", [False, True])
class TestNetworksThatKnowTheirPlaces:
    def test_gin_follows_the_numbering(self, per, features, padded):
        assert error(lively(GIN(features, 3, per=per, hidden=16)), batch(12, features, padded), per) <= 1e-12

    def test_fa_gin_follows_the_numbering_although_its_network_does_not(self, per, features, padded):
        inputs = batch(12, features, padded)
        model = lively(FAGIN(N, features, 3, per=per, padded=padded, hidden=16))
        for seed in range(3):
            assert error(model, inputs, per, seed) <= 1e-12
        assert error(model.net, inputs, per) > 1e-3  # places matter to the network itself


@pytest.mark.parametrize("features", [0, FEATURES])
@pytest.mark.parametrize("padded", [False, True])
def test_fa_mlp_follows_the_numbering_although_its_network_does_not(features, padded):
    inputs = batch(12, features, padded)
    model = lively(FAMLP(N, features, 3, padded=padded, hidden=16))
    for seed in range(3):
        assert error(model, inputs, seed=seed) <= 1e-12
    assert error(model.net, inputs) > 1e-3


@pytest.mark.parametrize("make", [FAGIN, FAMLP])
def test_ties_at_random_are_no_exact_frame(make):
    model = lively(make(N, FEATURES, 3, padded=True, frame=LaplacianOrder(), samples=1, hidden=16)).train()
    assert not model.exact
    assert error(model, batch()) > 1e-3
    assert lively(make(N, 0, 3)).exact


def test_nodes_that_automorphisms_exchange_get_the_same_output():
    star = torch.zeros(1, N, N, dtype=torch.float64)
    star[0, 4, :4] = star[0, 4, 5:] = star[0, :4, 4] = star[0, 5:, 4] = 1
    out = lively(FAGIN(N, 0, 3, per="node"))(star)[0]
    leaves = out[[i for i in range(N) if i != 4]]
    torch.testing.assert_close(leaves, leaves[:1].expand_as(leaves), rtol=0, atol=1e-12)
    assert (out[4] - leaves[0]).abs().max() > 1e-3


@pytest.mark.parametrize("per", ["sample", "node"])
def test_padding_changes_nothing_for_gin_whatever_stands_in_it(per):
    net, inputs = lively(GIN(FEATURES, 3, per=per, hidden=16)), batch()
    mask = inputs["mask"]
    noise = torch.randn(len(mask), N, FEATURES, dtype=torch.float64) * ~mask.unsqueeze(-1)
    out = net(**inputs)
    torch.testing.assert_close(net(**inputs | {"x": inputs["x"] + noise}), out, rtol=0, atol=1e-12)
    small = int(mask[3].sum())
    alone = net(inputs["adjacency"][3:4, :small, :small], inputs["x"][3:4, :small])
    torch.testing.assert_close(alone[0], out[3, :small] if per == "node" else out[3], rtol=0, atol=1e-12)
    if per == "node":
        assert out[~mask].eq(0).all()


def pair_that_refinement_confuses():
    """Two triangles and a ring of six."""
    ring = torch.eye(6, dtype=torch.float64).roll(1, 0)
    triangles = torch.block_diag(*[torch.eye(3, dtype=torch.float64).roll(1, 0)] * 2)
    return torch.stack([ring + ring.mT, triangles + triangles.mT])


def test_gin_cannot_tell_what_refinement_cannot_and_framed_networks_can():
    for graphs in (pair_that_refinement_confuses(), strongly_regular_25()):
        n = graphs.shape[1]
        out = lively(GIN(0, 3, hidden=16))(graphs)
        torch.testing.assert_close(out, out[:1].expand_as(out))
        for model in (FAGIN(n, 0, 3, hidden=16), FAMLP(n, 0, 3, hidden=16)):
            apart = torch.cdist(*[lively(model)(graphs)] * 2, p=1)
            assert apart[~torch.eye(len(graphs), dtype=torch.bool)].min() > 1e-3


def test_gradients_reach_features_and_parameters():
    inputs = batch()
    inputs["x"] = (inputs["x"] + 0.1 * torch.rand_like(inputs["x"])).masked_fill(~inputs["mask"].unsqueeze(-1), 0)
    inputs["x"].requires_grad_()
    model = lively(FAGIN(N, FEATURES, 3, padded=True, hidden=16))
    model(**inputs).square().sum().backward()
    assert inputs["x"].grad[inputs["mask"]].ne(0).any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 3), "in_features must be at least 0; got -1"),
        ((2, 0), "out_features must be at least 1; got 0"),
    ],
)
def test_sizes_are_checked(arguments, words, plain):
    with pytest.raises(ValueError, match=words):
        GIN(*arguments)


def test_inputs_that_do_not_fit_are_refused(plain):
    graphs = connected_graphs(4)
    with pytest.raises(ValueError, match='per must be "node" or "sample"; got "edge"|got \'edge\''):
        GIN(0, 1, per="edge")
    with pytest.raises(ValueError, match="x must be left out; got shape"):
        GIN(0, 1)(graphs.float(), torch.zeros(6, 4, 1))
    with pytest.raises(ValueError, match=r"x must be \(6, 4, 2\); got none"):
        GIN(2, 1)(graphs.float())
    with pytest.raises(ValueError, match="identities must be at least the number of nodes; got 3"):
        GIN(0, 1, identities=3)(graphs.float())

"""Orders of the nodes of graphs: what the keys of the Laplacian leave open, and what canonical labelling settles."""

import pytest
import torch

from torsor import Pairs, Scalar, Symmetric, Symmetry
from torsor.build.frames import CanonicalOrder, LaplacianOrder
from torsor.data import connected_graphs


def on(n, output=None, **more):
    return Symmetry(Symmetric(n), {"adjacency": Pairs(), **more}, output or Scalar(per="sample"))


def moved(symmetry, inputs, seed=0):
    return symmetry.act(symmetry.sample(inputs, generator=torch.Generator().manual_seed(seed)), inputs)


def forms(frame, symmetry, inputs):
    """The canonical forms of all inputs."""
    element = frame(symmetry, inputs).elements[:, 0]
    return symmetry.act(symmetry.group.inverse(element), inputs)


@pytest.fixture(scope="module")
def graphs():
    return connected_graphs(8)


def test_the_counts_of_all_connected_graphs_on_8_nodes(graphs):
    spectra = torch.linalg.eigvalsh(torch.diag_embed(graphs.sum(-1)) - graphs)
    assert int((spectra.diff(dim=1) < 1e-6).any(1).sum()) == 2754
    frames = LaplacianOrder()(on(8), {"adjacency": graphs})
    size = (10**frames.log10_size).round()
    assert (int((size == 1).sum()), int(size.max())) == (3070, 40320)
    assert float(size.mean()) == pytest.approx(52.95, abs=0.005)
    assert torch.equal(frames.ambiguous, size > 1)
    automorphisms = frames.automorphisms
    assert int((automorphisms == 1).sum()) == 3552
    assert int((size == automorphisms).sum()) == 7062
    assert float((size / automorphisms).mean()) == pytest.approx(3.573, abs=0.0005)
    assert int((size / automorphisms).max()) == 2520


def test_all_connected_graphs_on_8_nodes_have_forms_of_their_own_in_any_numbering(graphs):
    symmetry, order = on(8), CanonicalOrder()
    found = forms(order, symmetry, {"adjacency": graphs})["adjacency"]
    assert len(torch.unique(found.flatten(1), dim=0)) == 11117
    for seed in range(3):
        copies = moved(symmetry, {"adjacency": graphs}, seed)
        assert torch.equal(forms(order, symmetry, copies)["adjacency"], found)


@pytest.mark.parametrize("backend", ["igraph", "python"])
@pytest.mark.parametrize("keys", ["laplacian", "degree", None])
def test_every_backend_and_key_tells_graphs_apart_and_knows_them_again(graphs, backend, keys):
    if backend == "igraph":
        pytest.importorskip("igraph")
    some, symmetry, order = graphs[5::40], on(8), CanonicalOrder(keys, backend)
    found = forms(order, symmetry, {"adjacency": some})["adjacency"]
    assert len(torch.unique(found.flatten(1), dim=0)) == len(some)
    assert torch.equal(forms(order, symmetry, moved(symmetry, {"adjacency": some}))["adjacency"], found)

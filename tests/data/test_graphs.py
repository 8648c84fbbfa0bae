"""Graphs on few nodes and strongly regular ones: how many there are, and that no two are the same."""

from collections import Counter

import numpy as np
import pytest
import torch

from torsor import Pairs, Scalar, Symmetric, Symmetry
from torsor.build.frames import CanonicalOrder
from torsor.data import connected_graphs, graph8c, read_graph6, sr25, strongly_regular_25
from torsor.data._graphs import CONNECTED, GRAPH8C, graph_folder

published = pytest.mark.skipif(
    not (graph_folder() / GRAPH8C).is_file(), reason=f"needs {GRAPH8C} in $TORSOR_DATA/graphs"
)


def canonical(graphs, **how):
    """Canonical forms, and the sizes of the automorphism groups."""
    symmetry = Symmetry(Symmetric(graphs.shape[1]), {"adjacency": Pairs()}, Scalar(per="sample"))
    frames = CanonicalOrder(**how)(symmetry, {"adjacency": graphs})
    return frames.canonicalize(graphs, Pairs())[:, 0], frames.automorphisms


@pytest.mark.parametrize("n", range(1, 8))
def test_there_are_as_many_connected_graphs_as_there_should_be_and_all_differ(n):
    graphs = connected_graphs(n)
    assert len(graphs) == CONNECTED[n - 1]
    assert torch.equal(graphs, graphs.mT)
    assert (torch.linalg.matrix_power(graphs + torch.eye(n, dtype=graphs.dtype), n) > 0).all()  # connected
    assert len(torch.unique(canonical(graphs)[0].flatten(1), dim=0)) == len(graphs)


def test_only_sizes_that_can_be_made_are_asked_for():
    for n in (0, 9):
        with pytest.raises(ValueError, match=f"n must be from 1 to 8; got {n}"):
            connected_graphs(n)


@published
@pytest.mark.slow
def test_the_published_graphs_are_those_that_are_made_from_nothing():
    found, made = (canonical(graphs)[0].flatten(1) for graphs in (_all(graph8c()), connected_graphs(8)))
    assert torch.equal(torch.unique(found.double(), dim=0), torch.unique(made, dim=0))


def test_graph8c_is_made_where_there_is_no_file_and_its_splits_are_all_of_it(tmp_path):
    data = graph8c(root=tmp_path, dtype=torch.float64)
    assert (len(data.train), len(data.valid), len(data.test)) == (8893, 1112, 1112)
    assert torch.equal(torch.unique(_all(data).flatten(1), dim=0), torch.unique(connected_graphs(8).flatten(1), dim=0))
    complete = data.train.targets.max()  # 8 nodes have 56 triples
    assert complete == 56


def test_a_file_of_other_graphs_is_refused(tmp_path):
    (tmp_path / GRAPH8C).write_text("Bw\nBW\n")
    with pytest.raises(ValueError, match="must hold the 11117 connected graphs on 8 nodes; got 2"):
        graph8c(root=tmp_path)


def graph6(matrix):
    """The definition of the format, bit by bit."""
    n = len(matrix)
    bits = [int(matrix[i, j]) for j in range(n) for i in range(j)]
    bits += [0] * (-len(bits) % 6)
    words = [bits[i : i + 6] for i in range(0, len(bits), 6)]
    return chr(n + 63) + "".join(chr(63 + int("".join(map(str, word)), 2)) for word in words)


def test_graph6_is_read_as_it_is_defined(tmp_path):
    random = np.random.default_rng(0)
    graphs = [np.triu(random.integers(0, 2, (n, n)), 1) for n in (1, 2, 5, 8, 33, 62)]
    graphs = [g + g.T for g in graphs]
    (tmp_path / "some.g6").write_text("\n".join([">>graph6<<" + graph6(graphs[0]), "", *map(graph6, graphs[1:])]))
    for found, graph in zip(read_graph6(tmp_path / "some.g6"), graphs, strict=True):
        assert np.array_equal(found.numpy(), graph)


@pytest.mark.parametrize("line", ["B", "Bwww", "~??~", "B\x20"])
def test_what_is_not_graph6_is_refused_with_its_line(tmp_path, line):
    (tmp_path / "bad.g6").write_text(f"Bw\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2: not a graph of at most 62 nodes in graph6"):
        read_graph6(tmp_path / "bad.g6")


def test_the_strongly_regular_graphs_have_their_parameters():
    graphs = strongly_regular_25()
    one, eye = torch.ones(25, 25, dtype=torch.float64), torch.eye(25, dtype=torch.float64)
    # A^2 = 12 I + 5 A + 6 (J - I - A)
    assert torch.equal(graphs @ graphs, 12 * eye + 5 * graphs + 6 * (one - eye - graphs))
    assert torch.equal(graphs, graphs.mT)
    assert not graphs.diagonal(dim1=1, dim2=2).any()


@pytest.mark.parametrize("backend", ["igraph", pytest.param("python", marks=pytest.mark.slow)])
def test_the_strongly_regular_graphs_are_all_fifteen(backend):
    if backend == "igraph":
        pytest.importorskip("igraph")
    found, automorphisms = canonical(strongly_regular_25(), backend=backend)
    assert len(torch.unique(found.flatten(1), dim=0)) == 15
    expected = [1, 1, 2, 2, 2, 2, 3, 3, 6, 6, 6, 6, 72, 72, 600]
    assert Counter(automorphisms.int().tolist()) == Counter(expected)


def test_sr25_tests_on_renumbered_copies():
    data = sr25(dtype=torch.float64)
    found = canonical(data.test.inputs["adjacency"])[0]
    assert torch.equal(found, canonical(data.train.inputs["adjacency"])[0][data.test.targets])
    assert not torch.equal(data.test.inputs["adjacency"][:15], data.train.inputs["adjacency"])


def _all(data):
    return torch.cat([part.inputs["adjacency"] for part in data.splits.values()])

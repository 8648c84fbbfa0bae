"""EXP: pairs of formulas as graphs; what the recipe promises of each pair, generated and published."""

import itertools
from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch

from torsor.build.frames import CanonicalOrder, LaplacianOrder
from torsor.data import exp_graphs
from torsor.data._graphs import graph_folder
from torsor.data._graphs_exp import FILE, Formula, core, planar_formula

published = pytest.mark.skipif(not (graph_folder() / FILE).is_file(), reason=f"needs {FILE} in $TORSOR_DATA/graphs")
PAIRS = 24


def whole(data):
    """All graphs, pair by pair: adjacency, features, mask, and the targets."""
    parts = list(data.splits.values())
    order = [1, 2, 0]  # validation, test, training: the order of the file
    inputs = {name: torch.cat([parts[i].inputs[name] for i in order]) for name in parts[0].inputs}
    return inputs, torch.cat([parts[i].targets for i in order])


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    return exp_graphs(PAIRS, root=tmp_path_factory.mktemp("none"), dtype=torch.float64)


def networks(inputs):
    """The graphs as networkx has them, with their types."""
    for a, x, mask in zip(*(inputs[name] for name in ("adjacency", "x", "mask")), strict=True):
        n = int(mask.sum())
        graph = nx.from_numpy_array(a[:n, :n].numpy())
        nx.set_node_attributes(graph, dict(enumerate(x[:n, 1].int().tolist())), name="literal")
        yield graph


def colours(graph):
    """How often each colour occurs after refinement (1-WL) has come to rest, and the colours of all rounds before."""
    found = dict(graph.nodes("literal"))
    rounds = []
    for _ in range(len(graph)):
        found = {v: hash((found[v], tuple(sorted(found[u] for u in graph[v])))) for v in graph}
        rounds.append(tuple(sorted(Counter(found.values()).items())))
    return rounds


def assignments(graph):
    """Whether the formula that a graph shows is satisfiable, read from the graph alone, component by component."""
    for nodes in nx.connected_components(graph):
        part = graph.subgraph(nodes)
        literals = [v for v in part if part.nodes[v]["literal"]]
        clauses = [v for v in part if not part.nodes[v]["literal"]]
        variables = [
            (u, v) for u, v in part.edges if u in part and part.nodes[u]["literal"] and part.nodes[v]["literal"]
        ]
        assert sorted(itertools.chain(*variables)) == sorted(literals)  # each literal has one negation
        index = {v: 2 * i + sign for i, pair in enumerate(variables) for sign, v in enumerate(pair)}
        whole = Formula(len(variables), tuple(tuple(index[v] for v in part[c]) for c in clauses))
        if not brute(whole):
            return False
    return True


def brute(formula):
    """Every assignment tried, without the arrays of the property."""
    return any(
        all(any(values[literal >> 1] != literal % 2 for literal in clause) for clause in formula.clauses)
        for values in itertools.product((0, 1), repeat=formula.variables)
    )


@pytest.mark.parametrize("variables", [4, 6, 8])
def test_the_cores_are_what_the_recipe_promises(variables):
    both = [core(variables, satisfiable) for satisfiable in (True, False)]
    assert [formula.satisfiable for formula in both] == [brute(formula) for formula in both] == [True, False]
    graphs = []
    for formula in both:
        types, edges = formula.graph()
        graph = nx.Graph(edges)
        graph.add_nodes_from((i, {"literal": kind}) for i, kind in enumerate(types.tolist()))
        graphs.append(graph)
    assert all(nx.check_planarity(graph)[0] for graph in graphs)
    assert colours(graphs[0]) == colours(graphs[1])
    assert not nx.is_isomorphic(*graphs)


def test_formulas_are_solved_as_by_hand():
    assert Formula(1, ((0,),)).satisfiable
    assert not Formula(1, ((0,), (1,))).satisfiable
    assert not Formula(2, ((0, 2), (0, 3), (1, 2), (1, 3))).satisfiable
    joined = Formula(1, ((0,),)) + Formula(1, ((1,),))
    assert joined.clauses == ((0,), (3,))
    random = np.random.default_rng(0)
    for _ in range(50):
        formula = Formula(3, tuple(tuple(random.choice(6, 2, replace=False).tolist()) for _ in range(7)))
        assert formula.satisfiable == brute(formula)


def test_the_shared_part_is_planar_satisfiable_and_of_the_right_kind():
    for seed in range(10):
        formula = planar_formula(12, np.random.default_rng(seed))
        assert brute(formula)
        assert len(set(formula.clauses)) == len(formula.clauses)
        assert max(map(len, formula.clauses)) <= 5
        assert nx.check_planarity(nx.Graph(formula.graph()[1]))[0]


def test_every_generated_pair_is_planar_confuses_colour_refinement_and_is_decided_by_its_label(generated):
    inputs, labels = whole(generated)
    assert labels.tolist() == [1, 0] * PAIRS
    graphs = list(networks(inputs))
    for one, other in zip(graphs[::2], graphs[1::2], strict=True):
        assert nx.check_planarity(one)[0]
        assert nx.check_planarity(other)[0]
        assert colours(one) == colours(other)
        assert (assignments(one), assignments(other)) == (True, False)
        assert not nx.is_connected(one)


def test_all_generated_graphs_have_forms_of_their_own_which_no_numbering_changes(generated):
    inputs, _ = whole(generated)
    symmetry = generated.symmetry

    def forms(x):
        return symmetry.act(symmetry.group.inverse(CanonicalOrder()(symmetry, x).elements[:, 0]), x)

    found = forms(inputs)
    rows = torch.cat([found["adjacency"].flatten(1), found["x"].flatten(1)], 1)
    assert len(torch.unique(rows, dim=0)) == 2 * PAIRS
    for seed in range(3):
        g = symmetry.sample(inputs, generator=torch.Generator().manual_seed(seed))
        moved = forms(symmetry.act(g, inputs))
        assert all(torch.equal(moved[name], found[name]) for name in found)


def test_the_splits_are_the_published_shares_and_keep_pairs_together(generated):
    assert (len(generated.train), len(generated.valid), len(generated.test)) == (32, 8, 8)
    for samples in generated.splits.values():
        assert samples.targets.tolist() == [1, 0] * (len(samples) // 2)


def test_a_seed_gives_the_same_graphs_again_and_another_others(tmp_path):
    one, again, other = (exp_graphs(6, root=tmp_path, seed=seed).test.inputs for seed in (1, 1, 2))
    assert torch.equal(one["adjacency"], again["adjacency"])
    assert one["adjacency"].shape != other["adjacency"].shape or not torch.equal(one["adjacency"], other["adjacency"])


@pytest.mark.parametrize("pairs", [0, 5])
def test_too_few_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match=f"pairs must be at least 6, so that there is one in every split; got {pairs}"):
        exp_graphs(pairs)


def arrays(pairs=6):
    """A file of triangles and paths."""
    one = {"num_nodes": [3, 3] * pairs, "num_edges": [3, 2] * pairs, "node_label": [[0], [1], [1]] * 2 * pairs}
    edges = [[0, 1], [1, 2], [2, 0], [0, 1], [1, 2]] * pairs
    return {name: np.array(x) for name, x in (one | {"edge_index": np.array(edges).T, "y": [1, 0] * pairs}).items()}


def test_the_file_is_read_as_it_stands(tmp_path):
    np.savez(tmp_path / FILE, **arrays())
    data = exp_graphs(6, root=tmp_path)
    triangle, path = data.train.inputs["adjacency"][:2]
    assert triangle.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert path.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert data.train.inputs["x"][0].tolist() == [[1, 0], [0, 1], [0, 1]]
    with pytest.raises(ValueError, match="pairs must be at most 6, as many as .* has; got 7"):
        exp_graphs(7, root=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": None}, "must hold the arrays num_nodes, num_edges, node_label, edge_index, y"),
        ({"node_label": np.zeros(5)}, "the numbers of nodes and edges are not those"),
        ({"y": np.zeros(3)}, "the numbers of nodes and edges are not those"),
        ({"y": np.array([{}] * 12)}, "must hold the arrays"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, words):
    np.savez(tmp_path / FILE, **{name: x for name, x in (arrays() | change).items() if x is not None})
    with pytest.raises(ValueError, match=words):
        exp_graphs(6, root=tmp_path)


@pytest.fixture(scope="module")
def original():
    return exp_graphs(dtype=torch.float64)


@published
def test_there_are_600_pairs_in_the_published_splits(original):
    assert (len(original.train), len(original.valid), len(original.test)) == (800, 200, 200)
    inputs, labels = whole(original)
    assert labels.tolist() == [1, 0] * 600
    sizes = inputs["mask"].sum(1)
    assert (int(sizes.min()), int(sizes.max())) == (32, 64)
    assert all(not nx.is_connected(graph) for graph in networks(inputs))


@published
def test_some_of_its_pairs_are_what_the_recipe_promises(original):
    inputs, _ = whole(original)
    graphs = list(networks({name: x[::50] for name, x in inputs.items()}))
    mates = list(networks({name: x[1::50] for name, x in inputs.items()}))
    for one, other in zip(graphs, mates, strict=True):
        assert nx.check_planarity(one)[0]
        assert colours(one) == colours(other)
        assert (assignments(one), assignments(other)) == (True, False)


@published
@pytest.mark.slow
def test_its_frames_are_as_large_as_they_were_measured(original):
    """Sizes of the frame of Laplacian keys and of the automorphism group; neither sees the features."""
    from torsor import Mask, Pairs, Scalar, Symmetric, Symmetry

    inputs, _ = whole(original)
    bare = {name: inputs[name] for name in ("adjacency", "mask")}
    n = inputs["mask"].shape[1]
    symmetry = Symmetry(Symmetric(n), {"adjacency": Pairs(), "mask": Mask()}, Scalar(per="sample"))
    frames = LaplacianOrder()(symmetry, bare)
    assert float(frames.log10_size.median()) == pytest.approx(10.3, abs=0.05)
    assert float(frames.log10_size.max()) == pytest.approx(26.9, abs=0.05)
    automorphisms = frames.automorphisms
    assert float(automorphisms.median()) == 16
    assert 1.4e3 <= float(automorphisms.max()) <= 1.6e3
    assert (frames.log10_size > automorphisms.log10() + 0.1).all()  # never as small as it could be


@published
@pytest.mark.slow
def test_all_1200_graphs_have_forms_of_their_own_which_no_numbering_changes(original):
    inputs, _ = whole(original)
    symmetry, rows = original.symmetry, []
    for seed in (None, 0, 1, 2):
        moved = inputs
        if seed is not None:
            g = symmetry.sample(inputs, generator=torch.Generator().manual_seed(seed))
            moved = symmetry.act(g, inputs)
        element = CanonicalOrder()(symmetry, moved).elements[:, 0]
        found = symmetry.act(symmetry.group.inverse(element), moved)
        rows.append(torch.cat([found["adjacency"].flatten(1), found["x"].flatten(1)], 1))
    assert all(torch.equal(row, rows[0]) for row in rows[1:])
    assert len(torch.unique(rows[0], dim=0)) == 1200


@published
@pytest.mark.slow
def test_no_pair_has_the_same_spectrum(original):
    a = whole(original)[0]["adjacency"]
    spectra = torch.linalg.eigvalsh(torch.diag_embed(a.sum(-1)) - a)
    assert ((spectra[::2] - spectra[1::2]).abs().amax(1) > 1e-6).all()


@published
@pytest.mark.slow
def test_eigenvalues_compared_bit_by_bit_group_none_of_the_spectra_right(original):
    """What the reference code does: all graphs are disconnected, and computed zeros differ."""
    inputs, _ = whole(original)
    wrong = 0
    for a, mask in zip(inputs["adjacency"], inputs["mask"], strict=True):
        n = int(mask.sum())
        a = a[:n, :n].float()
        values = torch.linalg.eigvalsh((torch.diag(a.sum(-1)) - a).double()).float()
        near = int((values.diff() > 1e-5).sum()) + 1
        wrong += len(values.unique()) != near
    assert wrong == 1200

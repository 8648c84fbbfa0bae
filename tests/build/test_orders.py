"""Orders of the nodes of graphs: what the keys of the Laplacian leave open, and what canonical labelling settles."""

import pytest
import torch

from torsor import Mask, O, Pairs, Scalar, Symmetric, Symmetry, Vector
from torsor.actions import Nodes
from torsor.build import FrameAveraging
from torsor.build.frames import CanonicalOrder, LaplacianOrder, _canonical, precompute_frames
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


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_all_connected_graphs_on_8_nodes_have_forms_of_their_own_in_any_numbering(graphs, seed):
    symmetry, order = on(8), CanonicalOrder()
    found = forms(order, symmetry, {"adjacency": graphs})["adjacency"]
    assert len(torch.unique(found.flatten(1), dim=0)) == 11117
    copies = moved(symmetry, {"adjacency": graphs}, seed)
    assert torch.equal(forms(order, symmetry, copies)["adjacency"], found)


@pytest.mark.parametrize("backend", ["igraph", "pynauty", "python"])
@pytest.mark.parametrize("keys", ["laplacian", "degree", None])
def test_every_backend_and_key_tells_graphs_apart_and_knows_them_again(graphs, backend, keys):
    if backend != "python":
        pytest.importorskip(backend)
    some, symmetry, order = graphs[5::40], on(8), CanonicalOrder(keys, backend)
    found = forms(order, symmetry, {"adjacency": some})["adjacency"]
    assert len(torch.unique(found.flatten(1), dim=0)) == len(some)
    assert torch.equal(forms(order, symmetry, moved(symmetry, {"adjacency": some}))["adjacency"], found)


def test_the_order_is_by_features_then_by_keys_then_canonical(graphs):
    symmetry = on(8, x=Nodes(-2))
    x = torch.randint(0, 3, (len(graphs[::100]), 8, 1), generator=torch.Generator().manual_seed(0)).double()
    inputs = {"adjacency": graphs[::100], "x": x}
    found = forms(CanonicalOrder(), symmetry, inputs)
    assert (found["x"].diff(dim=1) >= 0).all()
    again = forms(CanonicalOrder(), symmetry, moved(symmetry, inputs))
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_padded_nodes_come_last_and_change_no_order(graphs):
    some = graphs[::200]
    longer = torch.nn.functional.pad(some, (0, 3, 0, 3))
    mask = torch.arange(11).expand(len(some), -1) < 8
    inputs = {"adjacency": longer, "mask": mask}
    symmetry = on(11, mask=Mask())
    expected = forms(CanonicalOrder(), on(8), {"adjacency": some})["adjacency"]
    for seed in range(3):
        found = forms(CanonicalOrder(), symmetry, moved(symmetry, inputs, seed))
        assert torch.equal(found["mask"], mask)
        assert torch.equal(found["adjacency"][:, :8, :8], expected)


def test_the_frame_moves_along_with_the_graph(graphs):
    """As a set of forms: F(g A) = g F(A)."""
    symmetry, frame, some = on(8), LaplacianOrder(max_size=48), graphs[::37]
    few = (10 ** frame(symmetry, {"adjacency": some}).log10_size).round() <= 48

    def seen(inputs):
        found = frame(symmetry, inputs)
        views = found.canonicalize(inputs["adjacency"], Pairs()).flatten(2)
        return [
            torch.unique(view[weight > 0], dim=0, return_counts=True)
            for view, weight in zip(views, found.weights, strict=True)
        ]

    inputs = {"adjacency": some[few]}
    for (one, times), (other, others) in zip(seen(inputs), seen(moved(symmetry, inputs)), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(times, others)


def test_frames_are_enumerated_whole_or_refused(graphs):
    complete = 1 - torch.eye(8, dtype=torch.float64)
    frames = LaplacianOrder()(on(8), {"adjacency": torch.cat([graphs[::40], complete.unsqueeze(0)])})
    size = (10**frames.log10_size).round()
    some = ((size > 1) & (size <= 24)).nonzero().flatten()
    whole = frames[some].enumerate(24)
    used = whole.weights > 0
    assert torch.equal(used.sum(1).double(), size[some])
    torch.testing.assert_close(whole.weights.sum(1), torch.ones(len(some), dtype=whole.weights.dtype))
    for elements, real in zip(whole.elements, used, strict=True):
        assert len(torch.unique(elements[real], dim=0)) == int(real.sum())
    with pytest.raises(ValueError, match="a frame has 40320 elements, more than max_size=5040; use CanonicalOrder"):
        frames.enumerate()


def test_drawn_elements_are_uniform_over_the_frame():
    square = torch.zeros(1, 4, 4, dtype=torch.float64)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2)):  # two classes of two
        square[0, i, j] = square[0, j, i] = 1
    frames = LaplacianOrder()(on(4), {"adjacency": square})
    drawn = frames.sample(4000, torch.Generator().manual_seed(0))
    found, counts = torch.unique(drawn.elements[0], dim=0, return_counts=True)
    assert len(found) == 4
    assert counts.min() > 900
    assert len(CanonicalOrder()(on(4), {"adjacency": square}).sample(9).elements[0].unique(dim=0)) == 1


def test_automorphisms_are_counted_and_exchange_what_is_alike(graphs):
    ring, star = torch.zeros(2, 7, 7, dtype=torch.float64)
    ring[range(7), [*range(1, 7), 0]] = 1
    star[0, 1:] = 1
    both = torch.stack([ring + ring.mT, star + star.mT])
    for backend in ("python", "auto"):
        frames = CanonicalOrder(backend=backend)(on(7), {"adjacency": both})
        assert frames.automorphisms.tolist() == [14, 720]
        assert frames.log10_size.tolist() == [0, 0]


@pytest.mark.parametrize("action", [Nodes(-2), Pairs()])
def test_outputs_of_nodes_and_pairs_need_the_average_over_automorphisms(graphs, action):
    symmetry, some = on(8, action), {"adjacency": graphs[::150]}
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def net(adjacency):
        out = (adjacency.flatten(1) @ weight).tanh().unflatten(1, (8, 8))
        return out if isinstance(action, Pairs) else out[..., :3]

    def error(frame):
        model = FrameAveraging(net, symmetry, frame)
        g = symmetry.sample(some, generator=torch.Generator().manual_seed(1))
        change = model(**symmetry.act(g, some)) - symmetry.act_output(g, model(**some), some)
        return change.flatten(1).abs().amax(1)

    assert error(CanonicalOrder(orbits=True)).max() <= 1e-12
    rough = error(CanonicalOrder())
    flagged = CanonicalOrder()(symmetry, some).ambiguous
    assert rough[~flagged].max() <= 1e-12
    assert rough[flagged].max() > 0.1


def test_frames_kept_for_a_data_set_still_average_over_automorphisms(graphs):
    symmetry, some = on(8, Nodes(-2)), {"adjacency": graphs[::500]}
    model = FrameAveraging(lambda adjacency: adjacency.cumsum(1), symmetry, CanonicalOrder(orbits=True))
    kept = precompute_frames(model.frame, symmetry, some, batch_size=7)
    torch.testing.assert_close(model(**some, frames=kept), model(**some), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("adjacency", "words"),
    [
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), r"adjacency must be symmetric; sample 0 has 1 at \[0, 1\]"),
        (torch.eye(2), r"adjacency must have no self-loops; sample 0 has 1 at \[0, 0\]"),
        (torch.tensor([[0.0, 0.5], [0.5, 0.0]]), r"adjacency must hold 0 and 1 only; sample 0 has 0.5 at \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("frame", [LaplacianOrder(), CanonicalOrder()])
def test_what_is_no_graph_is_refused(frame, adjacency, words):
    with pytest.raises(ValueError, match=words):
        frame(on(2), {"adjacency": adjacency.unsqueeze(0)})


def test_settings_are_checked(plain):
    with pytest.raises(ValueError, match="tol must be positive; got 0"):
        LaplacianOrder(tol=0)
    with pytest.raises(ValueError, match="max_size must be at least 1; got 0"):
        LaplacianOrder(max_size=0)
    with pytest.raises(ValueError, match="keys must be"):
        CanonicalOrder("spectrum")
    with pytest.raises(ValueError, match="backend must be one of auto, igraph, pynauty, python; got 'bliss'"):
        CanonicalOrder(backend="bliss")
    with pytest.raises(TypeError, match=r"orders of graphs are for Symmetric\(n\); got O\(3\)"):
        LaplacianOrder()(Symmetry(O(3), Vector(), Scalar()), (torch.zeros(2, 3),))


def test_an_absent_backend_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr(_canonical, "find_spec", lambda name: None)
    _canonical.resolve.cache_clear()
    try:
        with pytest.raises(ImportError, match=r'needs the package igraph: pip install "torsor\[graphs\]"'):
            CanonicalOrder(backend="igraph")
        assert _canonical.resolve("auto") == "python"
    finally:
        monkeypatch.undo()
        _canonical.resolve.cache_clear()


def test_no_graphs_and_graphs_of_one_node_are_valid():
    for frame in (LaplacianOrder(), CanonicalOrder(orbits=True)):
        assert frame(on(5), {"adjacency": torch.zeros(0, 5, 5)}).elements.shape == (0, 1, 5)
        assert frame(on(1), {"adjacency": torch.zeros(2, 1, 1)}).elements.tolist() == [[[0]], [[0]]]

"""Canonical orders of graphs against bare canonical labelling by igraph and pynauty."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks._harness import Row, milliseconds
from torsor import Pairs, Scalar, Symmetric, Symmetry
from torsor.build.frames import CanonicalOrder
from torsor.data import connected_graphs, exp_graphs

SECONDS = 3  # for all 11117 graphs
_TIMES = {"repeats": 3, "warmup": 1}

Edges = list[tuple[int, int]]


@torch.no_grad()
def run() -> list[Row]:
    return [*_small(), _formulas()]


def _small() -> list[Row]:
    """All connected graphs on 8 nodes."""
    graphs = connected_graphs(8)
    symmetry = Symmetry(Symmetric(8), {"adjacency": Pairs()}, Scalar(per="sample"))
    order = CanonicalOrder(backend="igraph")
    bare = [(8, edges) for edges in _edges(graphs)]
    ours, theirs = milliseconds(lambda: order(symmetry, {"adjacency": graphs}), lambda: _igraph(bare), **_TIMES)
    return [
        Row("CanonicalOrder, 11117 graphs on 8 nodes", ours, 1e3 * SECONDS, f"{SECONDS} seconds", bar=1),
        Row("the same", ours, theirs, "bare igraph canonical_permutation"),
    ]


def _formulas() -> Row:
    """The 1200 graphs of EXP."""
    data = exp_graphs()
    parts = list(data.splits.values())
    inputs = {name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs}
    sizes = inputs["mask"].sum(1).tolist()
    bare = list(zip(sizes, _edges(inputs["adjacency"]), strict=True))
    order, (name, label) = CanonicalOrder(backend="igraph"), _peer()
    ours, theirs = milliseconds(lambda: order(data.symmetry, inputs), lambda: label(bare), **_TIMES)
    return Row("CanonicalOrder, 1200 graphs of EXP, 32 to 64 nodes", ours, theirs, name, bar=5)


def _edges(graphs: torch.Tensor) -> list[Edges]:
    return [[(u, v) for u, v in graph.triu().nonzero().tolist()] for graph in graphs]


def _peer() -> tuple[str, Callable[[list[tuple[int, Edges]]], Any]]:
    return ("pynauty.canon_label", _pynauty) if find_spec("pynauty") else ("bare igraph (no pynauty here)", _igraph)


def _igraph(graphs: list[tuple[int, Edges]]) -> list[list[int]]:
    import igraph

    return [igraph.Graph(n, edges).canonical_permutation() for n, edges in graphs]


def _pynauty(graphs: list[tuple[int, Edges]]) -> list[list[int]]:
    import pynauty

    found = []
    for n, edges in graphs:
        neighbours: dict[int, list[int]] = {}
        for u, v in edges:
            neighbours.setdefault(u, []).append(v)
        found.append(pynauty.canon_label(pynauty.Graph(n, adjacency_dict=neighbours)))
    return found

"""Canonical labelling of coloured graphs, and their automorphisms, by whichever program is at hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from torsor.build.frames._canonical_search import search

Backend = Literal["auto", "igraph", "pynauty", "python"]
Edges = Sequence[tuple[int, int]]
Permutation = Sequence[int]

BACKENDS: tuple[Backend, ...] = ("auto", "igraph", "pynauty", "python")


@dataclass(frozen=True, eq=False)
class ColouredGraphs:
    """Graphs whose nodes stand in the order of their colours, the padded ones last.

    Attributes:
        adjacency: of each graph.
        colours: of each node, ascending.
        sizes: the number of nodes of each graph that are real.
    """

    adjacency: Bool[Tensor, "b n n"]
    colours: Int[Tensor, "b n"]
    sizes: Int[Tensor, " b"]

    def __getitem__(self, index: Any) -> "ColouredGraphs":
        return ColouredGraphs(self.adjacency[index], self.colours[index], self.sizes[index])

    @staticmethod
    def joined(parts: Sequence["ColouredGraphs"]) -> "ColouredGraphs":
        """The graphs of several batches one after another."""
        names = ("adjacency", "colours", "sizes")
        return ColouredGraphs(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def canonical(self, backend: Backend = "auto") -> Int[Tensor, "b n"]:
        """For each graph an order of its nodes, colours ascending, in which isomorphic graphs look the same."""
        b, n = self.colours.shape
        found = [list(range(n)) for _ in range(b)]
        for i, edges, colours in self._tied():
            label = _labeller(backend)(edges, colours)
            place = {node: r for r, node in enumerate(label)}
            # the programs keep the order of the colours already; sorting makes it independent of their conventions
            found[i][: len(colours)] = sorted(range(len(colours)), key=lambda v: (colours[v], place[v]))
        return torch.tensor(found, dtype=torch.long, device=self.colours.device).reshape(b, n)

    def automorphisms(self, backend: Backend = "auto") -> list[tuple[list[Permutation], int]]:
        """Generators of the automorphisms of each graph, and how many automorphisms there are."""
        found: list[tuple[list[Permutation], int]] = [([], 1) for _ in range(len(self.sizes))]
        for i, edges, colours in self._tied():
            found[i] = _group_finder(backend)(edges, colours)
        return found

    def _tied(self) -> Iterator[tuple[int, Edges, list[int]]]:
        """The graphs in which two nodes have the same colour."""
        tied = (self.colours[:, 1:] == self.colours[:, :-1]).any(1)
        which = tied.nonzero().flatten().tolist()
        upper = self.adjacency[which].triu().cpu()
        for i, matrix, colours, size in zip(
            which, upper, self.colours[which].tolist(), self.sizes[which].tolist(), strict=True
        ):
            yield i, [(u, v) for u, v in matrix.nonzero().tolist()], colours[:size]


def orbits_of(generators: Sequence[Permutation], n: int, length: int) -> list[int]:
    """The orbit of each tuple of this length of `n` things under the group of some permutations of the first ones."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start = np.arange(n**length)
    digits = [start // n ** (length - 1 - i) % n for i in range(length)]
    images = [start]
    for g in generators:
        whole = np.arange(n)
        whole[: len(g)] = g
        images.append(np.ravel_multi_index([whole[d] for d in digits], [n] * length))
    links = coo_array((np.ones(len(images) * n**length), (np.tile(start, len(images)), np.concatenate(images))))
    return connected_components(links, directed=False)[1].tolist()


@cache
def resolve(backend: Backend) -> Backend:
    """The program that is meant: `"auto"` is igraph where it is installed, else pynauty, else Python.

    Raises:
        ValueError: an unknown name.
        ImportError: the program is not installed; says how to have it.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}; got {backend!r}")
    if backend == "auto":
        return "igraph" if find_spec("igraph") else "pynauty" if find_spec("pynauty") else "python"
    if backend != "python" and not find_spec(backend):
        raise ImportError(f'backend {backend!r} needs the package {backend}: pip install "torsor[graphs]"')
    return backend


def _labeller(backend: Backend) -> Callable[[Edges, Sequence[int]], Permutation]:
    return {"igraph": _igraph_order, "pynauty": _pynauty_order, "python": _python_order}[resolve(backend)]


def _group_finder(backend: Backend) -> Callable[[Edges, Sequence[int]], tuple[list[Permutation], int]]:
    return {"igraph": _igraph_group, "pynauty": _pynauty_group, "python": _python_group}[resolve(backend)]


def _igraph_order(edges: Edges, colours: Sequence[int]) -> Permutation:
    order = _igraph(edges, len(colours)).canonical_permutation(color=colours)
    return order if _igraph_gives_nodes() else _inverse(order)


def _igraph_group(edges: Edges, colours: Sequence[int]) -> tuple[list[Permutation], int]:
    graph = _igraph(edges, len(colours))
    return graph.automorphism_group(color=colours), int(graph.count_automorphisms(color=colours))


def _igraph(edges: Edges, n: int) -> Any:
    import igraph

    return igraph.Graph(n, edges)


@cache
def _igraph_gives_nodes() -> bool:
    """Whether `canonical_permutation` gives the node at each place, or the place of each node.

    Versions differ. The wrong reading still gives different forms to different graphs, but not the same form to equal
    ones, so it is tried out on a graph without symmetry and a relabelled copy of it.
    """
    n, edges = 7, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (2, 6), (3, 6)]
    moved = [(3 * u + 2) % n for u in range(n)]
    copy = [(moved[u], moved[v]) for u, v in edges]
    raw = [_igraph(e, n).canonical_permutation(color=[0] * n) for e in (edges, copy)]
    for gives_nodes in (True, False):
        places = [_inverse(p) if gives_nodes else p for p in raw]
        first, second = (
            {frozenset((place[u], place[v])) for u, v in e} for place, e in zip(places, (edges, copy), strict=True)
        )
        if first == second:
            return gives_nodes
    raise RuntimeError('igraph does not label graphs canonically here; use backend="python"')


def _pynauty_order(edges: Edges, colours: Sequence[int]) -> Permutation:
    import pynauty  # type: ignore[import-not-found]

    return pynauty.canon_label(_pynauty(edges, colours))


def _pynauty_group(edges: Edges, colours: Sequence[int]) -> tuple[list[Permutation], int]:
    import pynauty  # type: ignore[import-not-found]

    generators, mantissa, exponent, _, _ = pynauty.autgrp(_pynauty(edges, colours))
    return generators, round(mantissa * 10**exponent)


def _pynauty(edges: Edges, colours: Sequence[int]) -> Any:
    import pynauty  # type: ignore[import-not-found]

    neighbours: dict[int, list[int]] = {}
    for u, v in edges:
        neighbours.setdefault(u, []).append(v)
    return pynauty.Graph(len(colours), adjacency_dict=neighbours, vertex_coloring=[set(c) for c in _cells(colours)])


def _python_order(edges: Edges, colours: Sequence[int]) -> Permutation:
    return search(edges, _cells(colours)).order


def _python_group(edges: Edges, colours: Sequence[int]) -> tuple[list[Permutation], int]:
    found = search(edges, _cells(colours))
    return list(found.generators), found.group_size


def _cells(colours: Sequence[int]) -> list[list[int]]:
    cells: dict[int, list[int]] = {}
    for node, colour in enumerate(colours):
        cells.setdefault(colour, []).append(node)
    return [cells[colour] for colour in sorted(cells)]


def _inverse(permutation: Permutation) -> list[int]:
    inverse = [0] * len(permutation)
    for i, j in enumerate(permutation):
        inverse[j] = i
    return inverse

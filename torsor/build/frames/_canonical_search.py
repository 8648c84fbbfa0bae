"""Canonical labelling in plain Python: individualise a node, refine the colours, keep the best leaf of the tree."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

Cells = list[list[int]]
Trace = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Labelling:
    """A canonical order of the nodes, generators of the automorphisms, and how many automorphisms there are."""

    order: tuple[int, ...]
    generators: tuple[tuple[int, ...], ...]
    group_size: int


def search(edges: Sequence[tuple[int, int]], cells: Cells) -> Labelling:
    """The canonical labelling of a graph whose nodes have ordered colours.

    Arguments:
        edges: pairs of nodes `0 .. n - 1`.
        cells: the nodes of each colour, in the order of the colours.

    Source: McKay, Piperno 2014 (Journal of Symbolic Computation 60), sections 2 and 3.

    >>> search([(0, 1), (1, 2)], [[0, 1, 2]])
    Labelling(order=(0, 2, 1), generators=((2, 1, 0),), group_size=2)
    """
    n = sum(map(len, cells))
    neighbours = [0] * n
    for u, v in edges:
        neighbours[u] |= 1 << v
        neighbours[v] |= 1 << u
    tree = _Tree(neighbours)
    start = [list(cell) for cell in cells]
    trace = _refine(neighbours, start, [_mask(cell) for cell in start])
    tree.visit(start, (), (trace,))
    assert tree.best is not None
    return Labelling(tree.best.order, tuple(tree.generators), tree.group_size())


@dataclass(frozen=True)
class _Leaf:
    path: tuple[int, ...]
    traces: tuple[Trace, ...]
    order: tuple[int, ...]
    form: tuple[int, ...]

    @property
    def rank(self) -> tuple[tuple[Trace, ...], tuple[int, ...]]:
        return self.traces, self.form


@dataclass
class _Tree:
    """The search tree: a node is the path of individualised vertices, with the colours that follow from it."""

    neighbours: list[int]
    generators: list[tuple[int, ...]] = field(default_factory=list)
    first: _Leaf | None = None
    best: _Leaf | None = None

    def visit(self, cells: Cells, path: tuple[int, ...], traces: tuple[Trace, ...]) -> int:
        """Visit a node and what is below it; returns the level from which to go on."""
        level = len(path)
        if len(cells) == len(self.neighbours):
            return self._leaf(cells, path, traces)
        target = min((i for i in range(len(cells)) if len(cells[i]) > 1), key=lambda i: len(cells[i]))
        tried: list[int] = []
        for v in sorted(cells[target]):
            if tried and self._reached(tried, path, v):
                continue  # an automorphism has shown what is below
            tried.append(v)
            finer = [list(cell) for cell in cells]
            finer[target : target + 1] = [[v], [u for u in cells[target] if u != v]]
            below = (*traces, _refine(self.neighbours, finer, [1 << v]))
            if self._hopeless(below):
                continue
            back = self.visit(finer, (*path, v), below)
            if back < level:
                return back
        return level

    def group_size(self) -> int:
        """The number of automorphisms: the orbits of the first path, each under what fixes the path before it."""
        size = 1
        for level, v in enumerate(self.first.path if self.first else ()):
            size *= len(self._orbit(v, self.first.path[:level]))  # type: ignore[union-attr]
        return size

    def _leaf(self, cells: Cells, path: tuple[int, ...], traces: tuple[Trace, ...]) -> int:
        order = tuple(cell[0] for cell in cells)
        leaf = _Leaf(path, traces, order, _form(self.neighbours, order))
        if self.first is None or self.best is None:
            self.first = self.best = leaf
            return len(path)
        for known in (self.first, self.best):
            if leaf.form == known.form:
                image = dict(zip(known.order, order, strict=True))
                self.generators.append(tuple(image[v] for v in range(len(order))))
                # below the common ancestor everything has been seen, up to this automorphism
                return next(i for i, (u, v) in enumerate(zip(known.path, path, strict=False)) if u != v)
        if leaf.rank > self.best.rank:
            self.best = leaf
        return len(path)

    def _hopeless(self, traces: tuple[Trace, ...]) -> bool:
        """Whether no leaf below can be the best one, nor show an automorphism of the first."""
        if self.first is None or self.best is None:
            return False
        depth = len(traces)
        return traces != self.first.traces[:depth] and traces < self.best.traces[:depth]

    def _reached(self, tried: list[int], path: tuple[int, ...], v: int) -> bool:
        return any(v in self._orbit(u, path) for u in tried) if self.generators else False

    def _orbit(self, v: int, fixed: tuple[int, ...]) -> set[int]:
        """The orbit of a vertex under the known automorphisms that fix others."""
        using = [g for g in self.generators if all(g[u] == u for u in fixed)]
        orbit, new = {v}, [v]
        while new:
            u = new.pop()
            for g in using:
                if g[u] not in orbit:
                    orbit.add(g[u])
                    new.append(g[u])
        return orbit


def _refine(neighbours: list[int], cells: Cells, splitters: list[int]) -> Trace:
    """Split cells, in place, until nodes of a cell have equally many neighbours in every cell; returns how it went."""
    trace: list[tuple[int, ...]] = []
    active = deque(splitters)
    while active and len(cells) < len(neighbours):
        splitter = active.popleft()
        k = 0
        while k < len(cells):
            cell = cells[k]
            groups: dict[int, list[int]] = {}
            for v in cell:
                groups.setdefault((neighbours[v] & splitter).bit_count(), []).append(v)
            counts = sorted(groups)
            trace.append((k, *(x for c in counts for x in (c, len(groups[c])))))
            if len(counts) > 1:
                cells[k : k + 1] = [groups[c] for c in counts]
                active.extend(_mask(groups[c]) for c in counts)
            k += len(counts)
    return tuple(trace)


def _mask(cell: list[int]) -> int:
    return sum(1 << v for v in cell)


def _form(neighbours: list[int], order: tuple[int, ...]) -> tuple[int, ...]:
    """The rows of the adjacency matrix in an order of the nodes."""
    rows = []
    for v in order:
        row = 0
        for u in order:
            row = row << 1 | (neighbours[v] >> u & 1)
        rows.append(row)
    return tuple(rows)

"""The strongly regular graphs with parameters (25, 12, 5, 6), from block designs and Latin squares."""

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Pairs, Scalar
from torsor.data._samples import Dataset, Samples
from torsor.groups import Symmetric
from torsor.symmetry import Symmetry

# The vertices to switch about, one for each graph that comes out; 25 gives the graph of the Latin square itself.
_OF_TRIPLES = (0, 13)
_OF_TRADED_TRIPLES = (0, 1, 2, 4, 13, 14, 16, 17)
_OF_SQUARE = {
    ("01234", "12340", "23401", "34012", "40123"): (25,),  # the cyclic group
    ("01234", "10342", "23410", "34021", "42103"): (25, 0, 1, 7),  # the other one, up to isotopy
}


def sr25(*, dtype: torch.dtype | None = None) -> Dataset:
    """Which of the 15 strongly regular graphs on 25 nodes is it? The graphs to learn, renumbered copies to test on.

    Input `adjacency (B, 25, 25)`, target the number of the graph `(B,)`; symmetric under renumbering. Networks that see
    no more than the three-dimensional Weisfeiler-Leman test guess: 1 in 15 is right.

    Arguments:
        dtype: of the adjacency matrices; torch's default dtype by default.

    Source: `strongly_regular_25`; as a test of networks, Balcilar et al. 2021 (arXiv 2106.04319).

    >>> sr25()
    Dataset('sr25', train=15, valid=15, test=150, classification, Symmetric(25))
    """
    graphs = strongly_regular_25().to(dtype or torch.get_default_dtype())
    symmetry = Symmetry(Symmetric(25), {"adjacency": Pairs()}, Scalar(per="sample"))
    generator = torch.Generator().manual_seed(0)

    def copies(times: int) -> Samples:
        inputs = {"adjacency": graphs.repeat(times, 1, 1)}
        g = symmetry.sample(inputs, generator=generator)
        return Samples(symmetry.act(g, inputs), torch.arange(15).repeat(times))

    return Dataset(
        name="sr25",
        train=Samples({"adjacency": graphs}, torch.arange(15)),
        valid=copies(1),
        test=copies(10),
        symmetry=symmetry,
        task="classification",
        units="none: adjacency 0 or 1",
        source="Paulus 1973; as a test of networks, Balcilar et al. 2021 (arXiv 2106.04319)",
        licence="none needed: mathematical objects",
        description="Strongly regular graphs on 25 nodes, each a class of its own.",
    )


def strongly_regular_25() -> Float[Tensor, "15 25 25"]:
    """The 15 strongly regular graphs on 25 nodes: 12 neighbours each, 5 in common if adjacent and 6 if not.

    No two can be told apart by the three-dimensional Weisfeiler-Leman test, and all keys of their Laplacians are equal.

    Source: Paulus 1973; made here from the two Steiner triple systems on 13 points and the two Latin squares of order 5
        by Seidel's switching, as Brouwer, Van Maldeghem 2022 (Strongly Regular Graphs) describe in section 10.

    >>> graphs = strongly_regular_25()
    >>> graphs.shape, graphs.sum(-1).unique()
    (torch.Size([15, 25, 25]), tensor([12.], dtype=torch.float64))
    """
    found = []
    for blocks, vertices in ((_triples(), _OF_TRIPLES), (_traded(_triples()), _OF_TRADED_TRIPLES)):
        meet = torch.tensor([[float(a != b and bool(a & b)) for b in blocks] for a in blocks])
        found += [_descendant(meet, v) for v in vertices]
    for square, vertices in _OF_SQUARE.items():
        cells = [(row, column, symbol) for row, line in enumerate(square) for column, symbol in enumerate(line)]
        agree = [[float(a != b and any(x == y for x, y in zip(a, b, strict=True))) for b in cells] for a in cells]
        isolated = torch.nn.functional.pad(torch.tensor(agree), (0, 1, 0, 1))
        found += [_descendant(isolated, v) for v in vertices]
    return torch.stack(found).double()


def _triples() -> list[frozenset[int]]:
    """The cyclic Steiner triple system on 13 points."""
    return [frozenset((x + shift) % 13 for x in base) for base in ((0, 1, 4), (0, 2, 7)) for shift in range(13)]


def _traded(blocks: list[frozenset[int]]) -> list[frozenset[int]]:
    """The other system: four triples abc, ade, fbd, fce become fbc, fde, abd, ace (a Pasch trade)."""
    for p in blocks:
        for q in blocks:
            for a in p & q if p != q else ():
                for r in blocks:
                    b, d = p & r, q & r
                    if a in r or len(b) != 1 or len(d) != 1:
                        continue
                    (f,) = r - p - q
                    s = (p | q | {f}) - {a} - b - d
                    if s in blocks:
                        swap = {a: f, f: a}
                        old = {p, q, r, s}
                        return [frozenset(swap.get(x, x) for x in t) if t in old else t for t in blocks]
    raise AssertionError("every other system has such triples")


def _descendant(graph: Tensor, vertex: int) -> Tensor:
    """The graph switched so that a vertex has no neighbours, and without it."""
    sign = 1 - 2 * graph[vertex]
    seidel = (1 - torch.eye(len(graph)) - 2 * graph) * sign * sign.unsqueeze(1)
    keep = torch.arange(len(graph)) != vertex
    return ((seidel < 0).to(graph.dtype))[keep][:, keep]

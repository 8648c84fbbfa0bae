"""Graphs on few nodes: read from graph6, or all connected ones made from nothing."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Pairs, Scalar
from torsor.data._samples import Dataset, Samples
from torsor.groups import Symmetric
from torsor.symmetry import Symmetry

GRAPH8C = "graph8c.g6"
CONNECTED = (1, 1, 2, 6, 21, 112, 853, 11117)
"""How many connected graphs there are on 1, 2, ... nodes (OEIS A001349)."""


def graph8c(*, root: str | Path | None = None, dtype: torch.dtype | None = None) -> Dataset:
    """All 11117 connected graphs on 8 nodes, each once, with their number of triangles.

    Input `adjacency (B, 8, 8)`, target `(B, 1)`; symmetric under renumbering. In the order of the file
    `$TORSOR_DATA/graphs/graph8c.g6` where there is one, else in that of `connected_graphs(8)`, which takes seconds; of
    every ten the first is for the test and the second for validation.

    Arguments:
        root: the folder of the file; by default `$TORSOR_DATA/graphs`.
        dtype: of the tensors; torch's default dtype by default.

    Raises:
        ValueError: the file does not hold these graphs.

    Source: the collection of Balcilar et al. 2021 (arXiv 2106.04319); as `geng -c 8` of McKay's nauty lists it.

    >>> graph8c()  # doctest: +SKIP
    Dataset('graph8c', train=8893, valid=1112, test=1112, regression, Symmetric(8))
    """
    path = (graph_folder() if root is None else Path(root)) / GRAPH8C
    adjacency = torch.stack(read_graph6(path)) if path.is_file() else connected_graphs(8)
    if adjacency.shape != (CONNECTED[7], 8, 8):
        raise ValueError(f"{path} must hold the {CONNECTED[7]} connected graphs on 8 nodes; got {len(adjacency)}")
    adjacency = adjacency.to(dtype or torch.get_default_dtype())
    triangles = (adjacency @ adjacency * adjacency).sum((1, 2)).unsqueeze(1) / 6
    samples, tenth = Samples({"adjacency": adjacency}, triangles), torch.arange(len(adjacency)) % 10
    return Dataset(
        name="graph8c",
        train=samples[tenth > 1],
        valid=samples[tenth == 1],
        test=samples[tenth == 0],
        symmetry=Symmetry(Symmetric(8), {"adjacency": Pairs()}, Scalar(per="sample")),
        units="none: adjacency 0 or 1, number of triangles",
        source="Balcilar et al. 2021 (arXiv 2106.04319)",
        licence="none needed: mathematical objects",
        description="Connected graphs on 8 nodes, and how many triangles they have.",
    )


def read_graph6(path: str | Path) -> list[Float[Tensor, "n n"]]:
    """The adjacency matrices of a file in graph6, one graph with at most 62 nodes a line.

    Raises:
        ValueError: a line is not graph6; names the file and the line.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "triangle.g6"
    >>> _ = path.write_text("Bw")
    >>> read_graph6(path)[0].int()
    tensor([[0, 1, 1],
            [1, 0, 1],
            [1, 1, 0]], dtype=torch.int32)
    """
    found = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        line = line.removeprefix(">>graph6<<").strip()
        if not line:
            continue
        codes = np.frombuffer(line.encode(), dtype=np.uint8).astype(np.int64) - 63
        n = int(codes[0])
        wanted = n * (n - 1) // 2
        if codes.min() < 0 or codes.max() > 63 or n > 62 or len(codes) != 1 + -(-wanted // 6):
            raise ValueError(f"{path}, line {number}: not a graph of at most 62 nodes in graph6; got {line[:20]!r}")
        bits = (codes[1:, None] >> np.arange(5, -1, -1) & 1).reshape(-1)[:wanted]
        matrix = np.zeros((n, n))
        matrix.T[np.tril_indices(n, -1)] = bits  # the upper triangle, column by column
        found.append(torch.from_numpy(matrix + matrix.T))
    return found


def connected_graphs(n: int) -> Float[Tensor, "graphs n n"]:
    """All connected graphs on `n` nodes up to renumbering, as adjacency matrices.

    Each has a node without which it is still connected: they are made from those with one node less. Copies are told
    by their colours after refinement with one node marked, over all choices of the node.

    Arguments:
        n: from 1 to 8.

    Raises:
        ValueError: another number of nodes.

    >>> [len(connected_graphs(n)) for n in range(1, 7)]
    [1, 1, 2, 6, 21, 112]
    """
    if not 1 <= n <= len(CONNECTED):
        raise ValueError(f"n must be from 1 to {len(CONNECTED)}; got {n}")
    return torch.from_numpy(_connected(n).astype(np.float64))


def graph_folder() -> Path:
    """Where files of graphs are looked for: `$TORSOR_DATA/graphs`, or a `graphs` that is not there."""
    return Path(os.environ.get("TORSOR_DATA") or os.devnull).expanduser() / "graphs"


@cache
def _connected(n: int) -> np.ndarray:
    if n == 1:
        return np.zeros((1, 1, 1), dtype=np.uint64)
    smaller = _connected(n - 1)
    links = (np.arange(1, 2 ** (n - 1))[:, None] >> np.arange(n - 1) & 1).astype(np.uint64)
    grown = np.zeros((len(smaller), len(links), n, n), dtype=np.uint64)
    grown[:, :, :-1, :-1] = smaller[:, None]
    grown[:, :, -1, :-1] = grown[:, :, :-1, -1] = links
    grown = grown.reshape(-1, n, n)
    _, first = np.unique(_fingerprints(grown), return_index=True)
    return grown[np.sort(first)]


def _fingerprints(adjacency: np.ndarray) -> np.ndarray:
    """A number for each graph, the same for isomorphic ones."""
    n = adjacency.shape[1]
    colours = np.broadcast_to(_mixed(np.eye(n, dtype=np.uint64)), adjacency.shape)  # node u where node v is marked
    for _ in range(3):
        colours = _mixed(3 * colours + adjacency @ _mixed(colours))
    return _mixed(colours.sum(1)).sum(1)


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: sums of mixed numbers tell multisets apart."""
    x = (x ^ x >> 30) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> 27) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> 31

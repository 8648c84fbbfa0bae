"""The graph isomorphism network, on dense adjacency matrices."""

from typing import Literal

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from torsor.build.backbones._mlp import MLP, check_sizes


class GIN(nn.Module):
    """A graph isomorphism network: each round adds up the neighbours of a node and puts a perceptron on the sum.

    It tells graphs apart as far as colour refinement (1-WL) does. With `identities` each node also knows its place in
    the order in which the nodes are given: then it can tell all graphs apart, and depends on that order.

    Arguments:
        in_features: numbers per node in `x`; 0 where there is no `x`.
        out_features: numbers per node, or per graph, in the output.
        per: whether the output belongs to each `"node"` or to each `"sample"` (from the sum over its nodes).
        identities: how many places are told from each other; 0 for none.
        hidden: width.
        layers: rounds of messages.

    Shapes: `adjacency (B, n, n)`, `x (B, n, in_features)`, `mask (B, n)`, True where a node is real, to
    `(B, out_features)` or `(B, n, out_features)`; padded nodes come out as zeros.

    Raises:
        ValueError: a size is too small, `x` does not fit, or there are more nodes than identities.

    Source: Xu et al. 2019 (arXiv 1810.00826), equations (4.1) and (4.2), with one readout after the last round.

    >>> import torch
    >>> from torsor.build.backbones import GIN
    >>> ring = torch.eye(6).roll(1, 0) + torch.eye(6).roll(-1, 0)
    >>> GIN(0, 2)(ring.unsqueeze(0)).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        per: Literal["node", "sample"] = "sample",
        identities: int = 0,
        hidden: int = 64,
        layers: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(0, in_features=in_features, identities=identities, layers=layers)
        check_sizes(out_features=out_features, hidden=hidden)
        if per not in ("node", "sample"):
            raise ValueError(f'per must be "node" or "sample"; got {per!r}')
        self.in_features, self.per = in_features, per
        self.encoder = nn.Linear(max(in_features, 1), hidden)
        self.identity = nn.Embedding(identities, hidden) if identities else None
        self.rounds = nn.ModuleList(MLP(hidden, hidden, hidden, layers=1) for _ in range(layers))
        self.own = nn.Parameter(torch.zeros(layers))  # epsilon of equation (4.1)
        self.decoder = MLP(hidden, out_features, hidden, layers=1)

    def forward(
        self,
        adjacency: Shaped[Tensor, "b n n"],
        x: Shaped[Tensor, "b n f"] | None = None,
        mask: Bool[Tensor, "b n"] | None = None,
    ) -> Tensor:
        """The output for a batch of graphs."""
        h = self._start(adjacency, x)
        adjacency = adjacency.to(h.dtype)
        real = None if mask is None else mask.unsqueeze(-1).to(h.dtype)
        h = h if real is None else h * real
        for own, perceptron in zip(self.own, self.rounds, strict=True):
            h = torch.nn.functional.silu(perceptron((1 + own) * h + adjacency @ h))
            h = h if real is None else h * real
        if self.per == "sample":
            return self.decoder(h.sum(1))
        out = self.decoder(h)
        return out if real is None else out * real

    def _start(self, adjacency: Tensor, x: Tensor | None) -> Tensor:
        b, n = adjacency.shape[:2]
        weight = self.encoder.weight
        if (x is None) != (self.in_features == 0) or (x is not None and x.shape[-1] != self.in_features):
            got = "none" if x is None else f"shape {tuple(x.shape)}"
            raise ValueError(f"x must be {(b, n, self.in_features) if self.in_features else 'left out'}; got {got}")
        h = self.encoder(weight.new_ones(b, n, 1) if x is None else x.to(weight.dtype))
        if self.identity is None:
            return h
        if n > self.identity.num_embeddings:
            raise ValueError(f"identities must be at least the number of nodes; got {self.identity.num_embeddings}")
        return h + self.identity.weight[:n]

"""Message passing between all pairs of nodes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torsor.build.backbones._mlp import MLP, check_sizes
from torsor.build.backbones._nodes import NodeInputs, pooled_mean

_NBODY = {"positions": 3, "velocities": 3, "charges": 1}


class MessagePassing(nn.Module):
    """A message passing network on the complete graph of a set of nodes: equivariant to permutations only.

    Node features are all inputs, coordinates among them, so that the network knows its orientation and no rotation is
    built in. An edge knows its two nodes, the squared distances of the points and the products of charges.

    Arguments:
        inputs: how many numbers each input has per node, in the order of positional arguments.
        out_features: numbers per node, or per sample, in the output.
        per: whether the output belongs to each `"node"` or to each `"sample"` (the mean over its nodes).
        points: the inputs whose squared distances are edge features.
        products: the inputs whose products over two nodes are edge features.
        residual: the input that is added to the output, or None.
        per_sample: the inputs `(B, f)` that belong to whole samples.
        mask: the name of an optional input `(B, n)`, True where a node is real.
        hidden: width.
        layers: rounds of messages.

    Shapes: inputs `(B, n, f)` to `(B, n, out_features)` or `(B, out_features)`; padded nodes come out as zeros.

    Raises:
        ValueError: a size is too small, or a name is no input.
        TypeError: in a call, an input is missing or unknown.

    >>> import torch
    >>> from torsor.build.backbones import MessagePassing
    >>> x = {"positions": torch.randn(4, 5, 3), "velocities": torch.randn(4, 5, 3), "charges": torch.ones(4, 5, 1)}
    >>> MessagePassing()(**x).shape
    torch.Size([4, 5, 3])
    """

    def __init__(
        self,
        inputs: Mapping[str, int] | None = None,
        out_features: int = 3,
        *,
        per: Literal["node", "sample"] = "node",
        points: Sequence[str] = ("positions",),
        products: Sequence[str] = ("charges",),
        residual: str | None = "positions",
        per_sample: Sequence[str] = (),
        mask: str = "mask",
        hidden: int = 40,
        layers: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(out_features=out_features, hidden=hidden)
        check_sizes(0, layers=layers)
        if per not in ("node", "sample"):
            raise ValueError(f'per must be "node" or "sample"; got {per!r}')
        self.inputs = NodeInputs(_NBODY if inputs is None else inputs, per_sample, mask)
        self.inputs.require("points", points)
        self.inputs.require("products", products)
        self.inputs.require_residual(residual, per, out_features)
        self.per, self.points, self.products, self.residual = per, tuple(points), tuple(products), residual
        edge_features = len(points) + sum(self.inputs.sizes[name] for name in products)
        self.encoder = nn.Linear(self.inputs.features, hidden)
        self.rounds = nn.ModuleList(Round(hidden, edge_features) for _ in range(layers))
        self.decoder = MLP(hidden, out_features, hidden, layers=1)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output for inputs by position or by keyword."""
        values, features, mask = self.inputs.read(args, kwargs, self.encoder.weight.dtype)
        n = features.shape[1]
        edges = self._edges(values)
        linked = ~torch.eye(n, dtype=torch.bool, device=features.device)
        if mask is not None:
            linked = linked & mask.unsqueeze(1)
        linked = linked.unsqueeze(-1).to(features.dtype)
        h = self.encoder(features)
        for step in self.rounds:
            h = step(h, edges, linked)
        if self.per == "sample":
            return self.decoder(pooled_mean(h, mask))
        out = self.decoder(h)
        if self.residual is not None:
            out = out + values[self.residual]
        return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0)

    def _edges(self, values: Mapping[str, Tensor]) -> Tensor | None:
        parts = [values[name].unsqueeze(2) - values[name].unsqueeze(1) for name in self.points]
        parts = [difference.square().sum(-1, keepdim=True) for difference in parts]
        parts += [values[name].unsqueeze(2) * values[name].unsqueeze(1) for name in self.products]
        return torch.cat(parts, -1) if parts else None


class Round(nn.Module):
    """One round of messages: the mean over all others, and a residual update of each node."""

    def __init__(self, hidden: int, edge_features: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(hidden, hidden)
        self.sender = nn.Linear(hidden, hidden, bias=False)
        self.edge = nn.Linear(edge_features, hidden, bias=False) if edge_features else None
        self.message = nn.Linear(hidden, hidden)
        self.update = MLP(2 * hidden, hidden, hidden, layers=1)

    def forward(self, h: Tensor, edges: Tensor | None, linked: Tensor) -> Tensor:
        """The new node features; `linked` is 1 where a message goes from the second node to the first."""
        pair = self.receiver(h).unsqueeze(2) + self.sender(h).unsqueeze(1)
        if self.edge is not None and edges is not None:
            pair = pair + self.edge(edges)
        message = nn.functional.silu(self.message(nn.functional.silu(pair)))
        heard = (message * linked).sum(-2) / linked.sum(-2).clamp(min=1)
        return h + self.update(torch.cat([h, heard], -1))

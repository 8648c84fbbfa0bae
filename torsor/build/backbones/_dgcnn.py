"""DGCNN: convolutions on the graph of nearest neighbours."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torsor.build.backbones._mlp import MLP, check_sizes
from torsor.build.backbones._nearest import gathered, nearest
from torsor.build.backbones._nodes import NodeInputs, pooled_max


class DGCNN(nn.Module):
    """Edge convolutions on nearest neighbours: invariant, or equivariant, to permutations of the points only.

    Each layer is a perceptron of a point and its difference to a neighbour, pooled over its `neighbours` nearest points
    (itself among them). The first layer has the neighbours in the space of the first input; the later ones among the
    features that they are given, unless `dynamic` is False.

    Arguments:
        inputs: how many numbers each input has per point, in the order of positional arguments.
        out_features: numbers per point, or per set, in the output.
        per: whether the output belongs to each `"node"` (point) or to each `"sample"` (set).
        residual: the input that is added to the output, or None.
        per_sample: the inputs `(B, f)` that belong to whole sets.
        mask: the name of an optional input `(B, n)`, True where a point is real.
        hidden: width; the features of a set are twice as many.
        layers: edge convolutions.
        neighbours: nearest points that a point looks at; among equally near ones the order of the points decides.
        pool: over neighbours: `"mean"`, as in the frame-averaged network of Puny et al. 2021, or `"max"`.
        dynamic: neighbours are found anew among the features of each layer.

    Shapes: inputs `(B, n, f)` to `(B, n, out_features)` or `(B, out_features)`; padded points come out as zeros. No
    normalisation looks at other samples of the batch.

    Raises:
        ValueError: a size is too small, or a name is no input.
        TypeError: in a call, an input is missing or unknown.

    Source: Wang, Sun, Liu, Sarma, Bronstein, Solomon 2019 (arXiv 1801.07829), section 3.

    >>> import torch
    >>> from torsor.build.backbones import DGCNN
    >>> DGCNN(neighbours=10)(torch.randn(4, 100, 3)).shape
    torch.Size([4, 100, 3])
    """

    def __init__(
        self,
        inputs: Mapping[str, int] | None = None,
        out_features: int = 3,
        *,
        per: Literal["node", "sample"] = "node",
        residual: str | None = None,
        per_sample: Sequence[str] = (),
        mask: str = "mask",
        hidden: int = 64,
        layers: int = 3,
        neighbours: int = 20,
        pool: Literal["mean", "max"] = "mean",
        dynamic: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(out_features=out_features, hidden=hidden, layers=layers, neighbours=neighbours)
        if per not in ("node", "sample"):
            raise ValueError(f'per must be "node" or "sample"; got {per!r}')
        if pool not in ("mean", "max"):
            raise ValueError(f'pool must be "mean" or "max"; got {pool!r}')
        self.inputs = NodeInputs({"points": 3} if inputs is None else inputs, per_sample, mask)
        self.inputs.require_residual(residual, per, out_features)
        self.near = next(name for name in self.inputs.sizes if name not in self.inputs.per_sample)
        self.per, self.residual, self.neighbours, self.dynamic = per, residual, neighbours, dynamic
        widths = [self.inputs.features, *[hidden] * layers]
        self.convolutions = nn.ModuleList(EdgeConvolution(a, b, pool) for a, b in pairwise(widths))
        self.wide = nn.Linear(layers * hidden, 2 * hidden)
        self.head = MLP((layers + 2) * hidden if per == "node" else 2 * hidden, out_features, hidden, layers=1)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output for inputs by position or by keyword."""
        values, h, mask = self.inputs.read(args, kwargs, self.wide.weight.dtype)
        index = nearest(values[self.near], self.neighbours, mask)
        found = []
        for i, convolution in enumerate(self.convolutions):
            if i and self.dynamic:
                index = nearest(h, self.neighbours, mask)
            h = convolution(h, index)
            found.append(h)
        local = torch.cat(found, -1)
        whole = pooled_max(nn.functional.silu(self.wide(local)), mask)
        if self.per == "sample":
            return self.head(whole)
        out = self.head(torch.cat([local, whole.unsqueeze(1).expand(*local.shape[:2], -1)], -1))
        if self.residual is not None:
            out = out + values[self.residual]
        return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0)


class EdgeConvolution(nn.Module):
    """A perceptron of each point and its difference to each neighbour, pooled over the neighbours.

    Its first layer is linear in both, and is taken once per point instead of once per pair.
    """

    def __init__(self, in_features: int, out_features: int, pool: Literal["mean", "max"]) -> None:
        super().__init__()
        self.own = nn.Linear(in_features, out_features)
        self.other = nn.Linear(in_features, out_features, bias=False)
        self.norm = nn.LayerNorm(out_features)
        self.message = nn.Linear(out_features, out_features)
        self.pool = pool

    def forward(self, h: Tensor, index: Tensor) -> Tensor:
        """The new features; `index (B, n, k)` are the neighbours."""
        other = self.other(h)
        pair = self.own(h).unsqueeze(2) - other.unsqueeze(2) + gathered(other, index)
        message = nn.functional.silu(self.message(nn.functional.silu(self.norm(pair))))
        return message.mean(2) if self.pool == "mean" else message.amax(2)

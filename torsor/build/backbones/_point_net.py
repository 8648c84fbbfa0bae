"""PointNet: the same perceptron on every point, and a maximum over all points."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torsor.build.backbones._mlp import MLP, check_sizes
from torsor.build.backbones._nodes import NodeInputs, pooled_max


class PointNet(nn.Module):
    """PointNet without its transformation networks: invariant, or equivariant, to permutations of the points only.

    Arguments:
        inputs: how many numbers each input has per point, in the order of positional arguments.
        out_features: numbers per set, or per point, in the output.
        per: whether the output belongs to each `"node"` (point) or to each `"sample"` (set).
        residual: the input that is added to the output, or None.
        per_sample: the inputs `(B, f)` that belong to whole sets.
        mask: the name of an optional input `(B, n)`, True where a point is real.
        hidden: width; the pooled features are twice as many.

    Shapes: inputs `(B, n, f)` to `(B, out_features)` or `(B, n, out_features)`; padded points come out as zeros.

    Raises:
        ValueError: a size is too small, or a name is no input.
        TypeError: in a call, an input is missing or unknown.

    Source: Qi, Su, Mo, Guibas 2017 (arXiv 1612.00593), section 4.2.

    >>> import torch
    >>> from torsor.build.backbones import PointNet
    >>> PointNet(out_features=10)(torch.randn(4, 100, 3)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        inputs: Mapping[str, int] | None = None,
        out_features: int = 3,
        *,
        per: Literal["node", "sample"] = "sample",
        residual: str | None = None,
        per_sample: Sequence[str] = (),
        mask: str = "mask",
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check_sizes(out_features=out_features, hidden=hidden)
        if per not in ("node", "sample"):
            raise ValueError(f'per must be "node" or "sample"; got {per!r}')
        self.inputs = NodeInputs({"points": 3} if inputs is None else inputs, per_sample, mask)
        self.inputs.require_residual(residual, per, out_features)
        self.per, self.residual = per, residual
        self.local = MLP(self.inputs.features, hidden, hidden, layers=1)
        self.wide = nn.Linear(hidden, 2 * hidden)
        self.head = MLP((3 if per == "node" else 2) * hidden, out_features, hidden, layers=1)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output for inputs by position or by keyword."""
        values, features, mask = self.inputs.read(args, kwargs, self.wide.weight.dtype)
        local = nn.functional.silu(self.local(features))
        whole = pooled_max(nn.functional.silu(self.wide(local)), mask)
        if self.per == "sample":
            return self.head(whole)
        out = self.head(torch.cat([local, whole.unsqueeze(1).expand(*local.shape[:2], -1)], -1))
        if self.residual is not None:
            out = out + values[self.residual]
        return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0)

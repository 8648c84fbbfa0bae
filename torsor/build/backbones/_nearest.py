"""Nearest neighbours of points."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor.build.backbones._mlp import check_sizes

_EXACT = 8  # up to this dimension distances are taken entry by entry: products lose digits where points are far out


def nearest(points: Float[Tensor, "b n d"], k: int, mask: Bool[Tensor, "b n"] | None = None) -> Int[Tensor, "b n k"]:
    """The numbers of the `k` nearest points of each point, itself first, nearest first.

    Where there are fewer points, the point itself stands in for those that lack.

    Arguments:
        points: coordinates, or features.
        k: how many.
        mask: True where a point is real; the others are nobody's neighbours.

    Raises:
        ValueError: k is less than 1.

    >>> nearest(torch.tensor([[[0.0], [1.0], [3.0]]]), 2)
    tensor([[[0, 1],
             [1, 0],
             [2, 1]]])
    """
    check_sizes(k=k)
    x = points.detach()
    n = x.shape[1]
    how = "donot_use_mm_for_euclid_dist" if x.shape[-1] <= _EXACT else "use_mm_for_euclid_dist_if_necessary"
    distance = torch.cdist(x, x, compute_mode=how)
    if mask is not None:
        distance = distance.masked_fill(~mask.unsqueeze(1), torch.inf)
    distance.diagonal(dim1=1, dim2=2).fill_(-1)
    found, index = distance.topk(min(k, n), dim=-1, largest=False)
    itself = torch.arange(n, device=x.device).unsqueeze(-1)
    index = torch.where(found.isfinite(), index, itself)
    return index if k <= n else torch.cat([index, itself.expand(len(x), n, k - n)], -1)


def gathered(x: Float[Tensor, "b n *c"], index: Int[Tensor, "b n k"]) -> Float[Tensor, "b n k *c"]:
    """The values of neighbours."""
    sample = torch.arange(len(x), device=x.device)[:, None, None]
    return x[sample, index]

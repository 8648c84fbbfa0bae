"""Networks that look at the neighbourhood of each point."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from torsor.build.backbones._mlp import check_sizes
from torsor.build.backbones._nearest import gathered, nearest
from torsor.groups.linalg import eigh


class Patchwise(nn.Module):
    """A network on the neighbourhood of each point.

    A patch is the `neighbours` nearest points, the point itself first, nearest first, as seen from the point and in
    units of their root mean square distance: translations and scalings do not change it. Where a cloud has fewer
    points, the point itself stands in for those that lack. Average `net` over frames and every point has frames of
    its own. Points that are equally far away come in their order: on grids the output depends on it.

    Arguments:
        net: from patches `(N, neighbours, 3)` to `(N, ...)`.
        neighbours: points in a patch.

    Shapes: points `(B, n, 3)` and perhaps a mask `(B, n)` to `(B, n, ...)`; padded points come out as zeros.

    Raises:
        ValueError: neighbours is less than 1.

    >>> import torch
    >>> from torsor import Line, O, Symmetry, Vector
    >>> from torsor.build import FrameAveraging
    >>> from torsor.build.backbones import MLP, Flattened
    >>> net = Flattened(MLP(16 * 3, 3), (3,))
    >>> local = Patchwise(FrameAveraging(net, Symmetry(O(3), Vector(), Line())), 16)
    >>> local(torch.randn(4, 100, 3)).shape
    torch.Size([4, 100, 3])
    """

    def __init__(self, net: Callable[[Tensor], Tensor], neighbours: int = 16) -> None:
        super().__init__()
        check_sizes(neighbours=neighbours)
        self.net, self.neighbours = net, neighbours

    def forward(
        self, points: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None = None
    ) -> Shaped[Tensor, "b n ..."]:
        """The output of the network for each point."""
        if mask is not None:  # padding may hold anything
            points = points.masked_fill(~mask.unsqueeze(-1), 0)
        patch = patches(points, self.neighbours, mask)
        scale = patch.square().sum(-1).mean(-1)[..., None, None]
        patch = patch / torch.where(scale > 0, scale, 1).sqrt()
        out = self.net(patch.flatten(0, 1)).unflatten(0, points.shape[:2])
        return out if mask is None else out.masked_fill(~mask.reshape(*mask.shape, *(1,) * (out.ndim - 2)), 0)


def patches(
    points: Float[Tensor, "b n d"], neighbours: int, mask: Bool[Tensor, "b n"] | None = None
) -> Float[Tensor, "b n k d"]:
    """The nearest points of each point, nearest first, as seen from it."""
    return gathered(points, nearest(points, neighbours, mask)) - points.unsqueeze(2)


def plane_fit(points: Float[Tensor, "b n d"], neighbours: int = 16) -> Float[Tensor, "b n d"]:
    """The normal of the plane through the neighbourhood of each point: the axis of least variance; its sign is open.

    >>> import torch
    >>> flat = torch.randn(1, 50, 3) * torch.tensor([1.0, 1.0, 0.0])
    >>> plane_fit(flat)[0, 0].abs().round(decimals=4)
    tensor([0., 0., 1.])
    """
    patch = patches(points, neighbours)
    patch = (patch - patch.mean(2, keepdim=True)).double()
    return eigh(patch.mT @ patch)[1][..., 0].to(points.dtype)

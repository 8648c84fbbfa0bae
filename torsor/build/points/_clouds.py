"""The networks for point clouds of the frame averaging paper."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torsor.actions import Action, Line, Mask, Point, Vector
from torsor.build.backbones import DGCNN, PointNet
from torsor.build.frames import FrameAveraging, PCAFrame
from torsor.build.frames._frameset import FrameLike
from torsor.build.points._patches import Patchwise
from torsor.groups import SE, SO, E, O
from torsor.symmetry import Symmetry

LOCAL_FRAME = PCAFrame(gap_tol=1e-6, on_degenerate="robust")
"""Principal axes for thousands of neighbourhoods at once, among which there are always near coincidences."""


def FAPointNet(
    symmetry: Symmetry | None = None,
    *,
    frame: FrameLike | None = None,
    samples: int | None = None,
    per: Literal["node", "sample"] = "node",
    **options: Any,
) -> FrameAveraging:
    """PointNet averaged over the frames of the cloud: FA-PointNet.

    Arguments:
        symmetry: how the inputs and the output transform; by default `E(3)`, points in and lines (normals) out. Add
            `"mask": Mask()` to its inputs for padded clouds.
        frame, samples: as `FrameAveraging` takes them.
        per: whether the output belongs to each `"node"` (point) or to each `"sample"` (cloud).
        options: of `PointNet`, such as `out_features` and `hidden`.

    Shapes: points `(B, n, 3)` to `(B, n, out_features)`.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.1.

    >>> import torch
    >>> from torsor.build import FAPointNet
    >>> FAPointNet()(torch.randn(4, 100, 3)).shape
    torch.Size([4, 100, 3])
    """
    return FrameAveraging(PointNet(per=per, **options), symmetry or _LINES, frame, samples=samples)


def FADGCNN(
    symmetry: Symmetry | None = None,
    *,
    frame: FrameLike | None = None,
    samples: int | None = None,
    per: Literal["node", "sample"] = "node",
    **options: Any,
) -> FrameAveraging:
    """A network on the graph of nearest neighbours, averaged over the frames of the cloud: FA-DGCNN.

    Arguments as `FAPointNet`; options of `DGCNN`. The paper has 40 neighbours and the mean over them.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.1.

    >>> import torch
    >>> from torsor import E, Point, Scalar, Symmetry
    >>> from torsor.build import FADGCNN
    >>> classifier = FADGCNN(Symmetry(E(3), {"points": Point()}, Scalar()), per="sample", out_features=10, neighbours=8)
    >>> classifier(torch.randn(4, 50, 3)).shape
    torch.Size([4, 10])
    """
    return FrameAveraging(DGCNN(per=per, **options), symmetry or _LINES, frame, samples=samples)


class FALocalPointNet(nn.Module):
    """PointNet on vectors that come from the neighbourhood of each point: FA-Local-PointNet.

    A network on the patch around each point, averaged over the frames of the patch, gives `channels` vectors per point.
    A PointNet takes these as its features and is averaged over the frames of all vectors of a cloud.

    Arguments:
        group: `E(3)`, or `SE(3)` where reflections are no symmetry.
        output: how an output transforms.
        out_features: numbers per point, or per cloud, in the output.
        per: whether the output belongs to each `"node"` (point) or to each `"sample"` (cloud).
        neighbours: points in a patch.
        channels: vectors per point.
        hidden: width of the networks.
        local: a network from patches `(N, neighbours, 3)` to `(N, 3 channels)`; by default a PointNet.
        frame: of patches and clouds.
        samples: frames per patch and per cloud in training; None means all.

    Shapes: points `(B, n, 3)` and perhaps a mask `(B, n)` to `(B, n, out_features)`; padded points come out as zeros.

    Raises:
        TypeError: another group.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.1.

    >>> import torch
    >>> from torsor.build import FALocalPointNet
    >>> FALocalPointNet(channels=8, hidden=16)(torch.randn(2, 50, 3)).shape
    torch.Size([2, 50, 3])
    """

    def __init__(
        self,
        group: E | SE = E(3),  # noqa: B008 (frozen)
        output: Action = Line(),  # noqa: B008 (frozen)
        out_features: int = 3,
        *,
        per: Literal["node", "sample"] = "node",
        neighbours: int = 20,
        channels: int = 42,
        hidden: int = 64,
        local: nn.Module | None = None,
        frame: FrameLike | None = LOCAL_FRAME,
        samples: int | None = None,
    ) -> None:
        super().__init__()
        rotations = linear_part(group)
        self.channels = channels
        local = PointNet({"patch": 3}, 3 * channels, hidden=hidden) if local is None else local
        vectors = nn.Sequential(local, nn.Unflatten(-1, (channels, 3)))
        self.local = Patchwise(
            FrameAveraging(
                vectors, Symmetry(rotations, Vector(), Vector()), frame, samples=samples, check_values=False
            ),
            neighbours,
        )
        whole = PointNet({"fields": 3 * channels}, out_features, per=per, hidden=hidden)
        law = Symmetry(rotations, {"fields": Vector(), "mask": Mask()}, output)
        self.whole = FrameAveraging(whole, law, frame, samples=samples)

    def forward(self, points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None = None) -> Tensor:
        """The output for each point."""
        fields = self.local(points, mask)
        mask = torch.ones_like(points[..., 0], dtype=torch.bool) if mask is None else mask
        return self.whole(fields, mask)


def linear_part(group: object) -> O | SO:
    """What is left of the motions of space for what no translation moves.

    Raises:
        TypeError: the group is neither E(n) nor SE(n).
    """
    if isinstance(group, E):
        return O(group.n)
    if isinstance(group, SE):
        return SO(group.n)
    raise TypeError(f"group must be E(n) or SE(n); got {group!r}")


_LINES = Symmetry(E(3), {"points": Point()}, Line())

"""Features pooled over an orbit: a group convolution whose kernel on the group is a point mass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torsor.actions import Image
from torsor.build.frames import PolarFrame
from torsor.build.lie._numerics import check_real
from torsor.build.lie._pooling import Pool
from torsor.build.lie._sampling import SamplePlan, as_plan
from torsor.groups import Affine, Group, Projective2D
from torsor.groups.measure import GroupSample, Proposal


class OrbitPool(nn.Module):
    """The features of a network, pooled over copies of an image that group elements have moved.

    Arguments:
        backbone: takes images `(B, C, H, W)` and gives features `(B, F)`. A network with `features` and `head`, such as
            `GlobalCNN`, is pooled between the two.
        plan: the elements: a plan, a proposal or a group that acts on images, translations and homographies included.
        reduce: `"max"`, `"mean"` (with the weights of the sample) or `"logsumexp"`.
        head: applied last.
        frame: gives each image a pose first; pose and orbit are one resampling. For plans of linear elements, and of
            homographies.
        image: how images move.

    Shapes: `(B, C, H, W)` to what the head gives, or `(B, F)`.

    Raises:
        ValueError: an unknown word, images of another dimension.

    The `N` copies are folded into the batch: one call of the backbone.

    >>> import torch
    >>> from torsor.build.backbones import GlobalCNN
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import Window
    >>> model = OrbitPool(GlobalCNN(1, 10), SamplePlan(Window(SO(2), 0.5), 4))
    >>> model(torch.rand(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        backbone: Callable[[Tensor], Tensor],
        plan: SamplePlan | Proposal | Group,
        *,
        reduce: Pool = "max",
        head: nn.Module | None = None,
        frame: PolarFrame | None = None,
        image: Image | None = None,
    ) -> None:
        super().__init__()
        if reduce not in ("max", "mean", "logsumexp"):
            raise ValueError(f'reduce must be "max", "mean" or "logsumexp"; got {reduce!r}')
        if frame is not None and getattr(as_plan(plan).group, "is_affine", False):
            raise ValueError(f"a frame takes plans of linear elements or homographies; got {as_plan(plan).group}")
        self.backbone, self.plan, self.reduce = backbone, as_plan(plan), reduce
        self.head = nn.Identity() if head is None else head
        self.between = hasattr(backbone, "features") and hasattr(backbone, "head")
        self.frame, self.image = frame, Image() if image is None else image

    def forward(
        self, images: Tensor, sample: GroupSample | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The pooled features, or what the head makes of them."""
        group = self.plan.group
        if images.ndim != group.n + 2:
            raise ValueError(f"images must be (batch, channels, *pixels) in {group.n} dimensions; got {images.shape}")
        check_real(images, "images")
        sample = self.plan(generator, images) if sample is None else sample
        n, b = len(sample.g), len(images)
        net: Any = self.backbone
        features = (net.features if self.between else net)(self._moved(images, sample.g_inv)).unflatten(0, (n, b))
        if self.reduce == "max":
            pooled = features.amax(0)
        elif self.reduce == "logsumexp":
            pooled = features.logsumexp(0)
        else:
            share = sample.log_weight.softmax(0).to(features.dtype)
            pooled = torch.einsum("n,n...->...", share, features)
        return self.head(net.head(pooled) if self.between else pooled)

    def _moved(self, images: Tensor, elements: Tensor) -> Tensor:
        """`(N B, C, H, W)`: the images, in their pose, as each element sees them."""
        group, n, b = self.plan.group, len(elements), len(images)
        g = elements.unsqueeze(1).expand(n, b, *elements.shape[1:])
        if self.frame is not None:
            affine = Affine(group.n)
            upright = affine.inverse(self.frame.pose(images).to(g))
            if isinstance(group, Projective2D):
                g = g @ (upright / torch.linalg.det(upright)[..., None, None] ** (1 / 3))  # det 1, as homographies have
            else:
                group, g = affine, affine.compose(affine.from_parts(g), upright)
        copies = images.unsqueeze(0).expand(n, *images.shape)
        return self.image(group, g, copies).flatten(0, 1)

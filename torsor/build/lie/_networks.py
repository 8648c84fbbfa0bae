"""Networks of Lie group convolutions for images: a small one, and that of the paper."""

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.lie._convolution import GroupConv2d, LiftingConv2d
from torsor.build.lie._kernels import KernelLike
from torsor.build.lie._numerics import check_widths
from torsor.build.lie._pooling import BlurPool, GroupNorm, GroupPool
from torsor.build.lie._sampling import GroupFeature, SamplePlan, as_plan
from torsor.groups import Group
from torsor.groups.measure import GroupSample, Proposal


class AffineNetSmall(nn.Module):
    """A lifting correlation and group correlations, then a maximum over group and space: for minutes on a CPU.

    All layers see the same elements of the linear group. Their kernels have a point mass at the identity and a smooth
    part that starts at zero: the network starts as pooling over an orbit, and learns to mix elements. Of a plan with
    more elements in evaluation it takes as many at a time as in training, so that sums are what it has learned, and the
    maximum over all of them.

    Arguments:
        plan: the elements; `Trivial(2)` makes the twin of the same size without the group.
        in_channels, out_features: of images and logits.
        channels: of the layers, the lifting one first.
        equivariance: `"strict"`: blurs before strides; `"fast"`: maxima over 2 x 2 pixels.
        stride: of the lift. With 2 the image is halved there instead of before the first group correlation: half the
            time, and little lost with kernels that are smooth on the scale of two pixels.
        support_radius, max_stretch, kernel: as in `LiftingConv2d`. Digits of 20 pixels need a radius of 3 or more.
        clip: as in `LiftingConv2d`, for all layers. Log-normal stretches have no bound: now and then one reaches
            further than `max_stretch`.
        group_window, angle_window, atom, rank, separable, weighting, self_normalised: as in `GroupConv2d`.
        hidden: width of the head.

    Shapes: `(B, in_channels, H, W)` to `(B, out_features)`.

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import Window
    >>> net = AffineNetSmall(SamplePlan(Window(SO(2), 0.5), 4), 1, 10, channels=(4, 4))
    >>> net(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        plan: SamplePlan | Proposal | Group,
        in_channels: int,
        out_features: int,
        *,
        channels: tuple[int, ...] = (12, 12, 24),
        equivariance: Literal["strict", "fast"] = "strict",
        stride: int = 1,
        support_radius: float = 4.0,
        max_stretch: float = 1.5,
        kernel: KernelLike = "basis",
        clip: Literal["raise", "warn", "ignore"] = "warn",
        group_window: float | None = 0.1,
        angle_window: float | None = 0.1,
        atom: bool = True,
        hidden: int = 64,
        **options: Any,
    ) -> None:
        super().__init__()
        if equivariance not in ("strict", "fast"):
            raise ValueError(f'equivariance must be "strict" or "fast"; got {equivariance!r}')
        if not channels:
            raise ValueError("channels must hold at least one width; got none")
        check_widths(out_features=out_features, hidden=hidden)
        self.plan = as_plan(plan)
        space: dict[str, Any] = {"support_radius": support_radius, "max_stretch": max_stretch, "kernel": kernel}
        space["clip"] = clip
        group: dict[str, Any] = {"group_window": group_window, "angle_window": angle_window, "atom": atom}
        if stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2; got {stride!r}")
        self.stride = stride
        self.lift = LiftingConv2d(self.plan, in_channels, channels[0], stride=stride, **space)
        self.layers = nn.ModuleList(GroupConv2d(a, b, **space, **group, **options) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(GroupNorm(c) for c in channels)
        self.shrink = BlurPool(2) if equivariance == "strict" else _MaxPool()
        self.pool = GroupPool("max", "both")
        self.head = nn.Sequential(nn.Linear(channels[-1], hidden), nn.GELU(), nn.Linear(hidden, out_features))

    def forward(
        self,
        images: Float[Tensor, "b c h w"],
        sample: GroupSample | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The logits of a batch of images, at the elements of the plan or at those that are given."""
        if sample is not None:
            return self.head(self._pooled(images, sample))
        parts = _in_turns(self.plan(generator, images), self.plan.n)
        return self.head(torch.stack([self._pooled(images, part) for part in parts]).amax(0))

    def _pooled(self, images: Float[Tensor, "b c h w"], sample: GroupSample) -> Float[Tensor, "b features"]:
        feature = self.norms[0](self.lift(images, sample)).map(nn.functional.gelu)
        for i, (layer, norm) in enumerate(zip(self.layers, list(self.norms)[1:], strict=True)):
            if i or self.stride == 1:
                feature = self.shrink(feature)
            feature = norm(layer(feature)).map(nn.functional.gelu)
        return self.pool(feature)


class AffineResNet(nn.Module):
    """The network of the paper: a lift, one residual block, a last group correlation, and a maximum over everything.

    Arguments:
        plan: the elements of the lift and of the residual block.
        in_channels, out_features: of images and logits.
        channels: of all layers.
        kernel_size: the window of all kernels, in pixels; stretched kernels are cut off there, as in the paper.
        last: the elements of the last correlation; by default a plan like `plan`, drawn on its own.
        head: width of the head.
        dropout: in the head.
        kernel: `"siren"` in the paper.
        options: of the group correlations.

    Shapes: `(B, in_channels, H, W)` to `(B, out_features)`.

    Trained in the paper on images scaled to [-1, 1] with Adam, learning rate 2e-4, coupled weight decay 5e-3, cosine to
    1e-7, 50 epochs, batches of 128.

    Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 5 and appendix. Unlike there, Monte Carlo sums have their
        importance weights, and rotations enter kernels by cosine and sine.

    >>> import torch
    >>> from torsor.groups import SL, SO
    >>> from torsor.groups.measure import LogNormalSPD, PolarProposal, UniformCompact
    >>> law = PolarProposal(LogNormalSPD(0.158, traceless=True), UniformCompact(SO(2)))
    >>> net = AffineResNet(SamplePlan(law, 3), 1, 10, channels=4)
    >>> net(torch.rand(2, 1, 40, 40)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        plan: SamplePlan | Proposal | Group,
        in_channels: int,
        out_features: int,
        *,
        channels: int = 40,
        kernel_size: int = 5,
        last: SamplePlan | Proposal | Group | None = None,
        head: int = 256,
        dropout: float = 0.3,
        kernel: KernelLike = "siren",
        **options: Any,
    ) -> None:
        super().__init__()
        check_widths(out_features=out_features, head=head)
        plan = as_plan(plan)
        if last is None:
            source = plan.group if plan.proposal is None else plan.proposal
            last = SamplePlan(source, plan.n, resample=plan.resample, method=plan.method, n_eval=plan.n_eval)
        space: dict[str, Any] = {"kernel_size": kernel_size, "kernel": kernel, "clip": "ignore"}
        space["support_radius"] = kernel_size / 2
        self.lift = LiftingConv2d(plan, in_channels, channels, padding="valid", **space)
        self.first = GroupConv2d(channels, channels, **space, **options)
        self.second = GroupConv2d(channels, channels, **space, **options)
        self.last = GroupConv2d(channels, channels, plan=last, padding="valid", **space, **options)
        self.norm, self.plan = GroupNorm(channels, affine=False), plan
        self.shrink, self.pool = _MaxPool(), GroupPool("max", "both")
        self.head = nn.Sequential(
            nn.Linear(channels, head), nn.LayerNorm(head), nn.GELU(), nn.Dropout(dropout), nn.Linear(head, out_features)
        )

    def forward(
        self,
        images: Float[Tensor, "b c h w"],
        sample: GroupSample | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The logits of a batch of images; with a sample, all layers know their features at its elements."""
        gelu = nn.functional.gelu
        feature = self.norm(self.lift(images, sample, generator)).map(gelu)
        inner = self.norm(self.second(self.norm(self.first(feature)).map(gelu)))
        feature = self.shrink(feature.map(lambda x: gelu(x + inner.values)))
        feature = self.norm(self.last(feature, sample, generator)).map(gelu)
        return self.head(self.pool(feature))


def _in_turns(sample: GroupSample, n: int) -> list[GroupSample]:
    """About n elements at a time, spread as all of them are, each part with weights of its own."""
    turns = math.ceil(len(sample.g) / n)
    weight = sample.log_weight + math.log(turns)
    return [GroupSample(sample.g[i::turns], sample.g_inv[i::turns], weight[i::turns]) for i in range(turns)]


class _MaxPool(nn.Module):
    """Maxima over 2 x 2 pixels."""

    def forward(self, feature: GroupFeature) -> GroupFeature:
        x = feature.values
        return feature._replace(values=nn.functional.max_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3]))

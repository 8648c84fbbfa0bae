"""Pooling, normalisation and blurring of features on a group."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.lie._numerics import channels_last
from torsor.build.lie._sampling import GroupFeature

Pool = Literal["max", "mean", "logsumexp"]
Over = Literal["group", "space", "both"]
_CONVOLUTIONS = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}


class GroupPool(nn.Module):
    """A feature on the group, pooled over `H`, over space, or over both.

    Arguments:
        kind: `"max"`; `"mean"`, over the group with the weights of the sample; `"logsumexp"`, a soft maximum.
        over: `"group"`, `"space"` or `"both"`.

    Shapes: `(B, C, N, *spatial)` to `(B, C, *spatial)`, `(B, C, N)` or `(B, C)`.

    A maximum needs no measure. A mean over a group that is not compact is finite only because the sampled region is:
    it is invariant up to what leaves that region.

    >>> import torch
    >>> from torsor.build.lie import GroupPool, LiftingConv2d
    >>> from torsor.groups import Cyclic
    >>> GroupPool("max", "both")(LiftingConv2d(Cyclic(4), 1, 8)(torch.zeros(2, 1, 9, 9))).shape
    torch.Size([2, 8])
    """

    def __init__(self, kind: Pool = "max", over: Over = "group") -> None:
        super().__init__()
        if kind not in ("max", "mean", "logsumexp"):
            raise ValueError(f'kind must be "max", "mean" or "logsumexp"; got {kind!r}')
        if over not in ("group", "space", "both"):
            raise ValueError(f'over must be "group", "space" or "both"; got {over!r}')
        self.kind, self.over = kind, over

    def forward(self, feature: GroupFeature) -> Tensor:
        """The pooled values."""
        x = feature.values
        space = tuple(range(3, x.ndim))
        axes = {"group": (2,), "space": space, "both": (2, *space)}[self.over]
        if self.kind == "max":
            return x.amax(axes)
        if self.kind == "logsumexp":
            return x.logsumexp(axes)
        if 2 in axes:
            share = feature.sample.log_weight.softmax(0).to(x.dtype)
            x = x * share.reshape(-1, *[1] * len(space)) * len(share)
        return x.mean(axes)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, {self.over!r}"


class GroupNorm(nn.Module):
    """Mean 0 and variance 1 over channels, group and space of each sample, then a scale and a shift per channel.

    Nothing depends on other samples, nor on the order of elements and pixels.

    Arguments:
        channels: of the feature.
        affine: whether scale and shift are learned.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1; got {channels}")
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, feature: GroupFeature) -> GroupFeature:
        """The normalised feature."""
        x = feature.values
        if x.shape[1] != self.channels:
            raise ValueError(f"values must have {self.channels} channels; got {tuple(x.shape)}")
        weight, bias = (p if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        return feature._replace(values=nn.functional.group_norm(x, 1, weight, bias, self.eps))


class BlurPool(nn.Module):
    """Every `stride`-th pixel after a binomial blur, so that little depends on where the grid lies.

    Arguments:
        stride: in pixels.
        n: dimension of space.
        width: of the blur, an odd number of pixels.

    Shapes: a `GroupFeature`, or a tensor `(B, C, *spatial)`; `spatial` is divided by the stride, rounded up.

    Source: Zhang 2019 (arXiv 1904.11486).

    >>> import torch
    >>> BlurPool(2)(torch.ones(1, 3, 5, 5)).shape
    torch.Size([1, 3, 3, 3])
    """

    row: Tensor

    def __init__(self, stride: int = 2, *, n: int = 2, width: int = 5) -> None:
        super().__init__()
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
            raise ValueError(f"stride must be a whole number of at least 1; got {stride!r}")
        if not isinstance(width, int) or width < 1 or width % 2 == 0:
            raise ValueError(f"width must be odd; got {width!r}")
        if n not in _CONVOLUTIONS:
            raise ValueError(f"n must be 1, 2 or 3; got {n!r}")
        self.stride, self.n, self.width = stride, n, width
        row = torch.ones(1)
        for _ in range(width - 1):
            row = torch.nn.functional.pad(row, (1, 0)) + torch.nn.functional.pad(row, (0, 1))
        self.register_buffer("row", row / row.sum(), persistent=False)

    def forward(self, x: GroupFeature | Tensor) -> GroupFeature | Tensor:
        """The smaller feature or image."""
        if isinstance(x, GroupFeature):
            values = self._blurred(x.values.flatten(1, 2))
            return x._replace(values=values.unflatten(1, x.values.shape[1:3]))
        return self._blurred(x)

    def _blurred(self, x: Float[Tensor, "batch channels *spatial"]) -> Tensor:
        kernel = self.row
        for _ in range(self.n - 1):
            kernel = kernel.unsqueeze(-1) * self.row
        channels, convolution = x.shape[1], _CONVOLUTIONS[self.n]
        if self.n == 2:  # on a CPU depthwise kernels are many times as fast with channels last
            x = channels_last(x)
        kernel = kernel.to(x).expand(channels, 1, *kernel.shape)
        return convolution(x, kernel, stride=self.stride, padding=self.width // 2, groups=channels)

    def extra_repr(self) -> str:
        return f"{self.stride}, n={self.n}, width={self.width}"

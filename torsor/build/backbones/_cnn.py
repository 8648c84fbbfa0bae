"""A small convolutional network."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.backbones._mlp import MLP, check_sizes


class SmallCNN(nn.Module):
    """A convolutional network for small images: convolutions with pooling, then a perceptron on a coarse grid.

    Arguments:
        in_channels: channels of an image.
        out_features: numbers per image in the output, such as logits.
        channels: of the convolutions; the image is halved between one and the next.
        grid: what is left of the image is averaged onto `grid` x `grid` cells, whatever its size.
        hidden: width of the perceptron.

    Shapes: images `(B, ..., H, W)` whose middle axes hold `in_channels` to `(B, out_features)`. No normalisation looks
    at other samples of the batch.

    Raises:
        ValueError: a size is too small, or an image has other channels.

    >>> import torch
    >>> from torsor.build.backbones import SmallCNN
    >>> SmallCNN(1, 10)(torch.zeros(4, 1, 8, 8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_features: int,
        *,
        channels: Sequence[int] = (16, 32),
        grid: int = 2,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_features=out_features, grid=grid, hidden=hidden)
        check_sizes(**{f"channels[{i}]": width for i, width in enumerate(channels)})
        if not channels:
            raise ValueError("channels must hold at least one width; got none")
        self.in_channels = in_channels
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip((in_channels, *channels), channels, strict=False)
        )
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.head = MLP(channels[-1] * grid * grid, out_features, hidden, layers=1)

    def forward(self, images: Float[Tensor, "b *channels h w"]) -> Float[Tensor, "b out_features"]:
        """The output for a batch of images."""
        x = _with_channels(images, self.in_channels)
        for i, convolution in enumerate(self.convolutions):
            if i > 0 and min(x.shape[-2:]) > 1:
                x = nn.functional.max_pool2d(x, 2)
            x = nn.functional.silu(convolution(x))
        return self.head(self.pool(x).flatten(1))


def _with_channels(images: Tensor, channels: int) -> Float[Tensor, "b c h w"]:
    """Images with one axis for their channels.

    Raises:
        ValueError: they have other channels.
    """
    if not images.numel():
        return images.new_zeros(0, channels, *images.shape[-2:])
    x = images.reshape(len(images), -1, *images.shape[-2:])
    if x.shape[1] != channels:
        raise ValueError(f"images must have {channels} channels; got shape {tuple(images.shape)}")
    return x


class GlobalCNN(nn.Module):
    """Convolutions, then the maximum of each channel over the whole image: nearly blind to where things are.

    Arguments:
        in_channels: channels of an image.
        out_features: numbers per image in the output, such as logits.
        channels: of the convolutions, the first 5 x 5, the others 3 x 3; maxima over 2 x 2 pixels between them.

    Shapes: images `(B, ..., H, W)` whose middle axes hold `in_channels` to `(B, out_features)`; `features` gives the
    maxima, `(B, channels[-1])`, and `head` what follows. Normalised over the batch.

    Raises:
        ValueError: a size is too small, or an image has other channels.

    >>> import torch
    >>> GlobalCNN(1, 10)(torch.zeros(4, 1, 40, 40)).shape
    torch.Size([4, 10])
    """

    def __init__(self, in_channels: int, out_features: int, *, channels: Sequence[int] = (24, 48, 64)) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_features=out_features)
        check_sizes(**{f"channels[{i}]": width for i, width in enumerate(channels)})
        if not channels:
            raise ValueError("channels must hold at least one width; got none")
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise((in_channels, *channels))):
            size = 3 if i else 5
            layers += [nn.MaxPool2d(2)] * bool(i)
            layers += [nn.Conv2d(a, b, size, padding=size // 2), nn.BatchNorm2d(b), nn.ReLU()]
        self.in_channels = in_channels
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], out_features)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU

    def features(self, images: Float[Tensor, "b *channels h w"]) -> Float[Tensor, "b features"]:
        """The maximum of each channel."""
        return self.convolutions(_with_channels(images, self.in_channels)).amax((2, 3))

    def forward(self, images: Float[Tensor, "b *channels h w"]) -> Float[Tensor, "b out_features"]:
        """The output for a batch of images."""
        return self.head(self.features(images))

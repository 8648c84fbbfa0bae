"""A small convolutional network."""

from collections.abc import Sequence

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
        x = images.reshape(len(images), -1, *images.shape[-2:]) if images.numel() else self._empty(images)
        if x.shape[1] != self.in_channels:
            raise ValueError(f"images must have {self.in_channels} channels; got shape {tuple(images.shape)}")
        for i, convolution in enumerate(self.convolutions):
            if i > 0 and min(x.shape[-2:]) > 1:
                x = nn.functional.max_pool2d(x, 2)
            x = nn.functional.silu(convolution(x))
        return self.head(self.pool(x).flatten(1))

    def _empty(self, images: Tensor) -> Tensor:
        return torch.zeros(0, self.in_channels, *images.shape[-2:], dtype=images.dtype, device=images.device)

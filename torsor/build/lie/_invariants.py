"""Differential invariants of images: sampling-free layers that affine maps do not change."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.lie._numerics import check_real, check_widths, exactly
from torsor.build.lie._pooling import BlurPool


class GaussianJet(nn.Module):
    """Derivatives of a smoothed image up to order 2: `(f, f_x, f_y, f_xx, f_xy, f_yy)`.

    Arguments:
        sigma: width of the Gaussian in pixels.

    Shapes: `(B, C, H, W)` to `(B, C, 6, H, W)`; derivatives are per pixel.

    >>> import torch
    >>> ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    >>> torch.allclose(GaussianJet(1.0)(ramp)[0, 0, 1, 3:6, 3:6], torch.ones(3, 3), atol=1e-3)
    True
    """

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma must be positive; got {sigma}")
        reach = math.ceil(4 * sigma)
        x = torch.arange(-reach, reach + 1, dtype=torch.float64)
        gauss = torch.exp(-x.square() / (2 * sigma**2))
        gauss = gauss / gauss.sum()
        first = x * gauss / (x.square() * gauss).sum()  # exact on ramps and parabolas, where sampled Gaussians are not
        second = (x.square() - (x.square() * gauss).sum()) * gauss
        second = 2 * second / (second * x.square()).sum()
        rows = torch.stack([gauss, first, second]).float()
        self.sigma, self.reach = sigma, reach
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 6 h w"]:
        """The jet of each channel."""
        b, c, h, w = x.shape
        rows: Any = self.rows
        rows = rows.to(x)
        flat = nn.functional.pad(x.reshape(b * c, 1, h, w), (self.reach,) * 4, mode="replicate")
        across = nn.functional.conv2d(flat, rows[:, None, None, :])  # (bc, 3, ., w): order in x
        pairs = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
        down = [nn.functional.conv2d(across[:, i : i + 1], rows[j][None, None, :, None]) for i, j in pairs]
        return torch.cat(down, 1).unflatten(0, (b, c))


class InvariantLayer(nn.Module):
    """A layer of relative differential invariants: affine maps of the image move its output and do nothing else to it.

    Of each channel `f`, and of pairs `(f, g)` that are learned combinations of channels, it takes

        f,  f_xx f_yy - f_xy^2,  f_x^2 f_yy - 2 f_x f_y f_xy + f_y^2 f_xx,  f_x g_y - f_y g_x,

    which affine maps multiply by a power of their determinant; dividing by the largest value in the image leaves
    invariants, without a division that could vanish. A perceptron at each pixel makes the new channels of them.

    Arguments:
        in_channels, out_channels: of the images.
        sigma: width in pixels of the Gaussian whose derivatives are taken. It is what is not invariant: small against
            the structures of the image.
        hidden: width of the perceptron.

    Shapes: `(B, in_channels, H, W)` to `(B, out_channels, H, W)`.

    Source: Li, Qiu, Xu, Lin 2024, Affine equivariant networks based on differential invariants (CVPR).

    >>> import torch
    >>> InvariantLayer(1, 8)(torch.rand(2, 1, 20, 20)).shape
    torch.Size([2, 8, 20, 20])
    """

    def __init__(self, in_channels: int, out_channels: int, *, sigma: float = 1.0, hidden: int = 32) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_channels=out_channels, hidden=hidden)
        self.in_channels = in_channels
        self.jet = GaussianJet(sigma)
        self.pairs = nn.Conv2d(in_channels, 2 * in_channels, 1, bias=False) if in_channels > 1 else None
        features = in_channels * (3 + (self.pairs is not None))
        self.mix = nn.Sequential(nn.Conv2d(features, hidden, 1), nn.GELU(), nn.Conv2d(hidden, out_channels, 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """The new channels."""
        check_real(images, "images")
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images must be (batch, {self.in_channels}, height, width); got {tuple(images.shape)}")
        return self.mix(self.invariants(images))

    def invariants(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The invariants, each divided by its largest value in the image; never computed in half precision."""
        with exactly(images):
            jet = self.jet(images.to(torch.promote_types(images.dtype, torch.float32)))
            f, fx, fy, fxx, fxy, fyy = jet.unbind(2)
            found = [f, fxx * fyy - fxy.square(), fx.square() * fyy - 2 * fx * fy * fxy + fy.square() * fxx]
            if self.pairs is not None:
                (gx, hx), (gy, hy) = (self._paired(x) for x in (fx, fy))
                found.append(gx * hy - gy * hx)
            x = torch.cat(found, 1)
            largest = x.abs().amax((2, 3), keepdim=True)
            x = x / torch.where(largest > torch.finfo(x.dtype).eps, largest, 1)
        return x.to(images.dtype)

    def _paired(self, x: Tensor) -> tuple[Tensor, ...]:
        weight: Any = self.pairs.weight  # type: ignore[union-attr]
        return nn.functional.conv2d(x, weight.to(x.dtype)).chunk(2, 1)


class InvariantNet(nn.Module):
    """Layers of differential invariants, then the maximum over the image: affine invariance without sampling.

    Arguments:
        in_channels, out_features: of images and logits.
        channels: of the layers.
        sigma: as in `InvariantLayer`.
        hidden: width of the perceptrons.

    Shapes: `(B, in_channels, H, W)` to `(B, out_features)`; `features` gives the maxima and `head` what follows.

    >>> import torch
    >>> InvariantNet(1, 10, channels=(8, 8))(torch.rand(2, 1, 20, 20)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_features: int,
        *,
        channels: tuple[int, ...] = (16, 16, 32),
        sigma: float = 1.0,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels must hold at least one width; got none")
        check_widths(out_features=out_features)
        widths = (in_channels, *channels)
        self.layers = nn.ModuleList(
            InvariantLayer(a, b, sigma=sigma, hidden=hidden) for a, b in zip(widths, channels, strict=False)
        )
        self.shrink = BlurPool(2)
        self.head = nn.Linear(2 * channels[-1], out_features)

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b features"]:
        """The largest and the smallest value of each channel."""
        x = images
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == 0 and len(self.layers) > 1:
                x = self.shrink(x)
        return torch.cat([x.amax((2, 3)), x.amin((2, 3))], 1)  # type: ignore[union-attr]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Tensor:
        """The logits of a batch of images."""
        return self.head(self.features(images))

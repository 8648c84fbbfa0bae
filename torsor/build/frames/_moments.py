"""Canonical poses from second moments: of images, whose pixels are masses, and of points."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor.actions import Image, pixel_grid
from torsor.build.frames._axes import right_handed, sign_patterns
from torsor.build.frames._cloud import floating_dtype, read_clouds
from torsor.build.frames._frameset import FrameSet
from torsor.groups import GL, Affine, GLPlus, Sim
from torsor.groups.linalg import eigh, sqrtm_sym
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class PolarFrame:
    """The pose in which an image, or a set of points, has its mean at the origin and the same spread in all directions.

    Pixels are masses, bright ones on a background of 0: show it `1 - images` where ink is dark. Negative ones are 0.
    With mean `mu` and covariance `S`, weighted by the pixels, the image is seen through `x -> radius S^(-1/2) (x - mu)`
    with the *symmetric* root: under `x -> B x + b` it then changes by the rotation `(B S B^T)^(-1/2) B S^(1/2)` alone,
    which is 1 for translations and scalings and small for small warps. It reduces the affine group to the rotations
    and reflections, one copy; average, pool or convolve over these.

    Arguments:
        radius: root mean square distance from the mean in the new pose along each axis, in pixels.
        factor: `"spd"`; `"scale"`, the size alone; `"full"`, also the axes of the fourth moment with all their signs:
            exact, `2^n` copies (half of them where the group has no reflections).
        on_degenerate: for images without ink, or with all of it on a line: `"isotropic"` takes the size alone, which is
            1 for a single point; `"raise"`.
        y_up: as in `Image`.

    Raises:
        TypeError: another group.
        ValueError: a degenerate sample, with `"raise"`.

    Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 3, for the factor; image normalisation by moments goes
        back to Rothe, Süsse, Voss 1996.

    >>> import torch
    >>> from torsor.groups import Affine
    >>> pose = PolarFrame(radius=4.0).pose(torch.rand(2, 1, 28, 28))
    >>> pose.shape, bool(Affine(2).contains(pose).all())
    (torch.Size([2, 3, 3]), True)
    """

    radius: float = 1.0
    factor: Literal["spd", "scale", "full"] = "spd"
    on_degenerate: Literal["isotropic", "raise"] = "isotropic"
    y_up: bool = False

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius must be positive; got {self.radius}")
        if self.factor not in ("spd", "scale", "full"):
            raise ValueError(f'factor must be "spd", "scale" or "full"; got {self.factor!r}')
        if self.on_degenerate not in ("isotropic", "raise"):
            raise ValueError(f'on_degenerate must be "isotropic" or "raise"; got {self.on_degenerate!r}')

    @property
    def exact(self) -> bool:
        return self.factor == "full"

    def pose(self, images: Float[Tensor, "b c *pixels"]) -> Float[Tensor, "b k k"]:
        """Affine elements that carry the canonical image to the image as it is; one per image, not for `"full"`."""
        if self.factor == "full":
            raise ValueError('pose is for one element per image; factor="full" has several: use FrameAveraging')
        points, mass = _as_masses(images, images.ndim - 2, self.y_up)
        linear, centre, _ = self._parts(points, mass, True)
        dtype = torch.promote_types(images.dtype, torch.float32)  # never in half precision
        return Affine(images.ndim - 2).from_parts(linear[:, 0], centre).to(dtype)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not (isinstance(group, GL | GLPlus | Affine) or (isinstance(group, Sim) and self.factor == "scale")):
            raise TypeError(f"PolarFrame is for GL, GLPlus and Affine, and for Sim with its size alone; got {group}")
        images = [(action, x) for action, x in symmetry.slots(inputs) if isinstance(action, Image)]
        if images:
            action, x = images[0]
            points, mass = _as_masses(x, group.n, action.y_up)
        else:
            points, mass = read_clouds(symmetry, inputs)[0].padded()
        linear, centre, thin = self._parts(points, mass, bool(group.is_affine), group.is_connected)
        centre = centre.unsqueeze(1).expand(*linear.shape[:2], -1) if group.is_affine else None
        elements = group.from_parts(linear, centre).to(floating_dtype(symmetry, inputs))  # type: ignore[attr-defined]
        weights = torch.full_like(elements[..., 0, 0], 1 / elements.shape[1])
        rank = torch.full_like(thin, group.n, dtype=torch.long)
        return FrameSet(group, elements, weights, torch.full_like(thin, torch.inf, dtype=weights.dtype), rank, thin)

    def _parts(
        self, points: Tensor, mass: Tensor, affine: bool, proper: bool = True
    ) -> tuple[Float[Tensor, "b k n n"], Float[Tensor, "b n"], Bool[Tensor, " b"]]:
        """Linear parts, mean, and which samples have no spread in some direction."""
        n = points.shape[-1]
        total = mass.sum(1, keepdim=True)
        share = mass / torch.where(total > 0, total, 1)
        centre = (share.unsqueeze(-1) * points).sum(1) if affine else points.new_zeros(len(mass), n)
        y = points - centre.unsqueeze(1)
        S = torch.einsum("bp,bpi,bpj->bij", share, y, y)
        size = S.diagonal(dim1=-2, dim2=-1).mean(-1)
        floor = 1e-10 * y.detach().square().sum(-1).amax(1)
        thin = torch.linalg.eigvalsh(S.detach())[:, 0] <= floor
        if self.on_degenerate == "raise" and bool(thin.any()):
            raise ValueError(f"sample {int(thin.nonzero()[0, 0])} has no extent in some direction: it has no pose")
        one = torch.eye(n, dtype=S.dtype, device=S.device)
        round_ = torch.where(size > floor, size, 1)[:, None, None] * one
        S = round_ if self.factor == "scale" else torch.where(thin[:, None, None], round_, S)
        root = sqrtm_sym(S)
        if self.factor != "full":
            return (root / self.radius).unsqueeze(1), centre, thin
        white = y @ torch.linalg.inv(root)
        square = white.square().sum(-1)
        axes = eigh(torch.einsum("bp,bp,bpi,bpj->bij", share, square, white, white))[1].flip(-1)
        axes = right_handed(axes) if proper else axes
        signed = axes.unsqueeze(1) * sign_patterns(n, proper, axes)[:, None, :]
        return root.unsqueeze(1) @ signed / self.radius, centre, thin


def _as_masses(images: Tensor, n: int, y_up: bool) -> tuple[Float[Tensor, "b p n"], Float[Tensor, "b p"]]:
    """Pixels as points with masses: the channels added up, negative values taken for none."""
    if images.ndim < n + 1:
        raise ValueError(f"images must be (batch, channels, *pixels) in {n} dimensions; got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point; got {images.dtype}")
    pixels = pixel_grid(tuple(images.shape[-n:]), images.new_zeros((), dtype=torch.float64), y_up).flatten(0, -2)
    mass = images.double().flatten(1, -n - 1).sum(1) if images.ndim > n + 1 else images.double()
    return pixels.expand(len(images), *pixels.shape), mass.clamp(min=0).flatten(1)

"""The laws by which digits are warped: elements drawn per image, applied by the library's own action on images."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor._tree import Tree
from torsor.actions import Image, Scalar
from torsor.actions._image import pixel_grid
from torsor.groups import Affine, Projective2D
from torsor.symmetry import Inputs, Symmetry

_BLOCK = 2048  # images between which memory is given back


@dataclass(frozen=True)
class ImageWarps:
    """One random element per image, `(B, 3, 3)` in pixel units, and its action: a `Transformation`, for training too.

    Whatever the precision of the images, the numbers are drawn in float64: the same seed gives the same elements.
    """

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """The group of the elements, and how it acts on images and on logits."""

    @abstractmethod
    def draw(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """One element for each image of `(b, C, H, W)`, in float64."""

    def sample(self, inputs: Inputs, *, generator: torch.Generator | None = None) -> Tensor:
        """One element for each image `(B, C, H, W)`, the only input.

        Raises:
            ValueError: the input is no such image.
        """
        (images,) = (inputs,) if isinstance(inputs, Tensor) else inputs
        if images.ndim != 4:
            raise ValueError(f"images must be (B, C, H, W); got shape {tuple(images.shape)}")
        parts = [self.draw(part, generator) for part in images.split(_BLOCK)]
        return torch.cat(parts).to(images)

    def act(self, g: Any, inputs: Inputs) -> Inputs:
        """The images moved."""
        (images,) = (inputs,) if isinstance(inputs, Tensor) else inputs
        parts = zip(g.split(_BLOCK), images.split(_BLOCK), strict=True)
        return (torch.cat([self.symmetry.act(h, part)[0] for h, part in parts]),)

    def act_output(self, g: Any, out: Tree, inputs: Inputs) -> Tree:
        """The same class: nothing moves."""
        return self.symmetry.act_output(g, out, inputs)


@dataclass(frozen=True)
class AffineWarps(ImageWarps):
    """A random linear part, then a translation uniform over those that lose no ink.

    The box around the centres of all moved ink pixels (those that are not 0), half a pixel wider on each side, stays
    on the canvas. Along an axis on which it is wider than the canvas it is centred.
    """

    @property
    def symmetry(self) -> Symmetry:
        return Symmetry(Affine(2), Image(), Scalar())

    @abstractmethod
    def linear(self, uniform: Tensor) -> Tensor:
        """The linear part `(b, 2, 2)` that belongs to numbers `(b, 4)`, uniform on [0, 1)."""

    def draw(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        uniform = _uniform(len(images), 6, images, generator)
        A = self.linear(uniform[:, :4])
        low, high = ink_box(A, images)
        room = (A.new_tensor([images.shape[-1], images.shape[-2]]) - (high - low) - 1).clamp(min=0)
        shift = -(low + high) / 2 + (uniform[:, 4:] - 0.5) * room
        return Affine(2).from_parts(A, shift)


@dataclass(frozen=True)
class AffnistWarps(AffineWarps):
    """The law of affNIST: `A = R(theta) Shear(s) diag(s_x, s_y)`, all uniform and independent."""

    def linear(self, uniform: Tensor) -> Tensor:
        signed = 2 * uniform - 1
        theta, shear = math.radians(20) * signed[:, 0], 0.2 * signed[:, 1]
        sx, sy = (1 + 0.2 * signed[:, 2:]).unbind(1)
        return _rotation(theta) @ _matrix(sx, shear * sy, torch.zeros_like(sx), sy)


@dataclass(frozen=True)
class WideWarps(AffineWarps):
    """A law that reaches where the exponential does not: `A = exp(Y) R(theta)`, theta on the whole circle.

    `Y` has eigenvalues `u + t` and `u - t`, `t` uniform in [0, 0.7], the determinant `e^(2u)` log-uniform in
    [0.7, 1.4], and principal axes in every direction.
    """

    def linear(self, uniform: Tensor) -> Tensor:
        theta, psi = 2 * math.pi * uniform[:, 0], 2 * math.pi * uniform[:, 1]
        t = 0.7 * uniform[:, 2]
        scale = math.sqrt(0.7) * 2 ** (uniform[:, 3] / 2)
        c, s = t.sinh() * psi.cos(), t.sinh() * psi.sin()
        return scale[:, None, None] * _matrix(t.cosh() + c, s, s, t.cosh() - c) @ _rotation(theta)


@dataclass(frozen=True)
class HomnistWarps(ImageWarps):
    """The law of homNIST: `exp(sum_i v_i E_i)` in sl(3), on coordinates from -1 to 1 at the outer pixels, row first.

    The walk of the published program: from 0, steps of independent normal numbers; after each step but the first it
    stops with the probability by which the density of Haar measure, against that of `v`, has grown, at most 1.
    """

    @property
    def symmetry(self) -> Symmetry:
        return Symmetry(Projective2D(), Image(), Scalar())

    def draw(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        device = images.device if generator is None else generator.device
        scale = 0.5 * torch.tensor(HOMNIST_SCALES, dtype=torch.float64, device=device)
        basis = homnist_basis(device)

        def step(v: Tensor) -> Tensor:
            return v + scale * torch.randn(v.shape, generator=generator, dtype=v.dtype, device=device)

        def log_density(v: Tensor) -> Tensor:
            return group.haar_logdensity_exp(group.vee(torch.einsum("bk,kij->bij", v, basis)))

        group = Projective2D()
        v = step(torch.zeros(len(images), 8, dtype=torch.float64, device=device))
        walking = torch.arange(len(v), device=device)
        while len(walking):
            last, v[walking] = v[walking], step(v[walking])
            uniform = torch.rand(len(walking), generator=generator, dtype=v.dtype, device=device)
            walking = walking[(log_density(v[walking]) - log_density(last)).exp() < uniform]
        h = torch.matrix_exp(torch.einsum("bk,kij->bij", v, basis))
        return in_pixels(h, images.shape[-2], images.shape[-1])


HOMNIST_SCALES = (0.15, 0.35, 0.17, 0.35, 0.15, 0.17, 0.15, 0.15)


def homnist_basis(device: torch.device | None = None) -> Tensor:
    """`E11 - I/3, E12, E13, E21, E22 - I/3, E23, E31, E32`, `(8, 3, 3)`."""
    basis = torch.eye(9, dtype=torch.float64, device=device)[:8].reshape(8, 3, 3)
    trace = basis.diagonal(dim1=1, dim2=2).sum(1)
    return basis - trace[:, None, None] / 3 * torch.eye(3, dtype=torch.float64, device=device)


def in_pixels(h: Tensor, height: int, width: int) -> Tensor:
    """Homographies of (row, column), each from -1 to 1 between the outer pixels, as homographies of pixel units."""
    half_x, half_y = (width - 1) / 2, (height - 1) / 2
    to_pixels = h.new_tensor([[0, half_x, 0], [half_y, 0, 0], [0, 0, 1]])
    from_pixels = h.new_tensor([[0, 1 / half_y, 0], [1 / half_x, 0, 0], [0, 0, 1]])
    return to_pixels @ h @ from_pixels


def ink_box(A: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest x and y, `(b, 2)` each, of the centres of ink pixels after `A`; 0 without ink."""
    pixels = pixel_grid(tuple(images.shape[-2:]), A).flatten(0, 1)
    ink = (images != 0).flatten(2).any(1).to(A.device)
    ink[~ink.any(1)] = True
    moved = torch.einsum("bij,pj->bpi", A, pixels)
    low = moved.masked_fill(~ink[..., None], torch.inf).amin(1)
    high = moved.masked_fill(~ink[..., None], -torch.inf).amax(1)
    return low, high


def _uniform(rows: int, columns: int, images: Tensor, generator: torch.Generator | None) -> Tensor:
    device = images.device if generator is None else generator.device
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64, device=device)


def _rotation(theta: Tensor) -> Tensor:
    return _matrix(theta.cos(), -theta.sin(), theta.sin(), theta.cos())


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([a, b, c, d], -1).unflatten(-1, (2, 2))

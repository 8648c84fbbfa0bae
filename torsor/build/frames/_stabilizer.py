"""What collinear and coincident points leave open: the average over rotations that do not move them."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor import _tree
from torsor._layout import BatchLayout
from torsor.actions import Action
from torsor.build.frames._frameset import FrameSet
from torsor.groups import DirectProduct, Group, Symmetric
from torsor.symmetry import Symmetry


def average_over_stabilizer(symmetry: Symmetry, frames: FrameSet, embedded: Any, inputs: Any) -> Any:
    """Outputs averaged over the rotations of the axes along which a sample has no extent.

    Scalars, vectors and points need none of this: the signs of the axes have averaged them already. Tensors of rank 2
    and more, lines and irreps show the arbitrary basis of a null space of two or more dimensions. The network sees the
    same input in every such basis, so that the average is one over outputs alone, by an exact quadrature.

    Arguments:
        symmetry: with the actions of the outputs.
        frames: principal axes; the columns of the linear parts from `rank` on span the null space.
        embedded: averaged outputs, in the space of `embed`.
        inputs: the batch.
    """
    actions = [action.embedded for action in symmetry.output_actions]
    degree = max(action.degree for action in actions)
    if degree < 2 or not len(frames):
        return embedded
    place, group = _matrix_factor(symmetry)
    if group.n < 2 or not bool((frames.rank <= group.n - 2).any()):
        return embedded
    chosen = frames.elements if place is None else frames.elements[place]
    axes = torch.nn.functional.normalize(group.linear(chosen[:, 0]), dim=-2)
    layout = symmetry.layout(inputs)
    values, structure = _tree.flatten(embedded)
    for nullity in range(2, group.n + 1):
        here = frames.rank == group.n - nullity
        if bool(here.any()):
            turns, shares = rotation_quadrature(nullity, degree)
            g = group.from_parts(_about_null_axes(turns.to(axes), axes, here))  # type: ignore[attr-defined]
            values = [
                _average(action if place is None else action.actions[place], group, g, shares, layout, action, y)  # type: ignore[attr-defined]
                for action, y in zip(actions, values, strict=True)
            ]
    return _tree.unflatten(values, structure)


def _about_null_axes(turns: Tensor, axes: Tensor, here: Tensor) -> Float[Tensor, "q b d d"]:
    """Rotations of the last axes of each sample; the identity where the mask is False."""
    d, m = axes.shape[-1], turns.shape[-1]
    inner = torch.eye(d).to(axes).repeat(len(turns), 1, 1)
    inner[:, d - m :, d - m :] = turns
    turned = axes @ inner.unsqueeze(1) @ axes.mT
    return torch.where(here[:, None, None], turned, torch.eye(d).to(axes))


def _average(
    law: Action, group: Group, g: Tensor, shares: Tensor, layout: BatchLayout, action: Action, y: Tensor
) -> Tensor:
    if law.degree < 2:
        return y
    rows = layout.sample_of_row(action)
    turned = law.orbit(group, g if rows is None else g[:, rows], y)
    return torch.einsum("q,q...->...", shares.to(turned), turned)


def rotation_quadrature(m: int, degree: int) -> tuple[Float[Tensor, "q m m"], Float[Tensor, " q"]]:
    """Rotations of R^m and weights that average polynomials of this degree in their entries exactly.

    Raises:
        ValueError: m > 3 and degree > 3, for which no rule is known here.
    """
    if m == 2:
        angles = torch.arange(degree + 1, dtype=torch.float64) * (2 * math.pi / (degree + 1))
        return _planar(angles), torch.full((degree + 1,), 1 / (degree + 1), dtype=torch.float64)
    if m == 3:
        angles = torch.arange(degree + 1, dtype=torch.float64) * (2 * math.pi / (degree + 1))
        heights, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(degree // 2 + 1))
        about_z = torch.stack([torch.block_diag(r, torch.ones(1, 1)) for r in _planar(angles)])
        tilts = _planar(heights.acos())
        tilt = torch.stack([torch.block_diag(torch.ones(1, 1), r) for r in tilts])
        rule = torch.einsum("aij,bjk,ckl->abcil", about_z, tilt, about_z).flatten(0, 2)
        return rule, (weights / 2 / (degree + 1) ** 2).repeat_interleave(degree + 1).repeat(degree + 1)
    if degree > 3:
        raise ValueError(f"outputs of degree {degree} cannot be averaged over the rotations of {m} null dimensions")
    rows = []  # the rotations of the cube, a 3-design
    for order in itertools.permutations(range(m)):
        for signs in itertools.product([1.0, -1.0], repeat=m):
            matrix = torch.zeros(m, m, dtype=torch.float64)
            matrix[range(m), order] = torch.tensor(signs, dtype=torch.float64)
            rows.append(matrix)
    cube = torch.stack(rows)
    cube = cube[torch.linalg.det(cube) > 0]
    return cube, torch.full((len(cube),), 1 / len(cube), dtype=torch.float64)


def _planar(angles: Tensor) -> Tensor:
    c, s = angles.cos(), angles.sin()
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def _matrix_factor(symmetry: Symmetry) -> tuple[int | None, Any]:
    """The factor of a product that moves space, with its place; the group itself where it is no product."""
    group = symmetry.group
    if not isinstance(group, DirectProduct):
        return None, group
    place = next((i for i, f in enumerate(group.factors) if not isinstance(f, Symmetric)), 0)
    return place, group.factors[place]

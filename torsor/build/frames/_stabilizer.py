"""What collinear and coincident points leave open: the average over rotations that do not move them."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor import _tree
from torsor.actions import Action
from torsor.build.frames._frameset import FrameSet
from torsor.groups import DirectProduct, Symmetric
from torsor.symmetry import Symmetry, is_action


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
    actions = [action.embedded for action in _tree.leaves(symmetry.output, is_action)]
    degree = max(action.degree for action in actions)
    if degree < 2 or not len(frames):
        return embedded
    factor, group = _matrix_factor(symmetry)
    d = group.n
    if d < 2 or not bool((frames.rank <= d - 2).any()):
        return embedded
    chosen = frames.elements if factor is None else frames.elements[factor]
    axes = torch.nn.functional.normalize(group.linear(chosen[:, 0]), dim=-2)
    values, structure = _tree.flatten(embedded)
    layout = symmetry.layout(inputs)
    for nullity in range(2, d + 1):
        here = frames.rank == d - nullity
        if not bool(here.any()):
            continue
        turns, shares = rotation_quadrature(nullity, degree)
        total = [torch.zeros_like(z) for z in values]
        for turn, share in zip(turns.to(axes), shares.tolist(), strict=True):
            inner = torch.block_diag(torch.eye(d - nullity).to(axes), turn)
            h = torch.where(here[:, None, None], axes @ inner @ axes.mT, torch.eye(d).to(axes))
            g = group.from_parts(h)  # type: ignore[attr-defined]
            g = g if factor is None else _with_identities(symmetry.group, factor, g)
            total = [
                z + share * _turn(a, symmetry, layout, g, y) for a, y, z in zip(actions, values, total, strict=True)
            ]
        values = total
    return _tree.unflatten(values, structure)


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


def _turn(action: Action, symmetry: Symmetry, layout: Any, g: Any, value: Tensor) -> Tensor:
    return layout.move(action, symmetry.group, g, value) if action.degree >= 2 else value


def _matrix_factor(symmetry: Symmetry) -> tuple[int | None, Any]:
    group = symmetry.group
    if not isinstance(group, DirectProduct):
        return None, group
    index = next((i for i, f in enumerate(group.factors) if not isinstance(f, Symmetric)), 0)
    return index, group.factors[index]


def _with_identities(group: DirectProduct, index: int, g: Tensor) -> tuple[Any, ...]:
    same = {"dtype": g.dtype, "device": g.device}
    return tuple(g if i == index else f.identity(len(g), **same) for i, f in enumerate(group.factors))

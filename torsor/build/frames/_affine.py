"""Frames of linear and affine groups: axes of the whitened points."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torsor.build.frames._axes import (
    assemble,
    centred,
    check_policy,
    cholesky,
    null_floor,
    null_tolerance,
    right_handed,
    sign_patterns,
    spectrum,
    tell_ambiguous,
)
from torsor.build.frames._cloud import Cloud, floating_dtype, read_clouds
from torsor.build.frames._frameset import FrameSet
from torsor.build.frames._pca import with_robust
from torsor.groups import GL, SL, Affine, GLPlus, Group, SAffine
from torsor.groups.linalg import eigh
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class AffineFrame:
    """The frames of a point cloud under all linear or affine maps: `2^d` elements of GL(d), half of them in GL+ and SL.

    Whitening, with the second moment `L L^T`, leaves an orthogonal matrix open; the axes of the fourth moment
    `mean |w|^2 w w^T = U diag(l) U^T` of the whitened points decide it (invariant coordinate selection): `F = L U`,
    with all signs. For SL(d) and maps that preserve volume F is rescaled to determinant 1.

    Arguments:
        field: name of the `Point` or `Vector` input; by default the first `Point`, else the first `Vector`.
        weights: name of an input with one non-negative invariant weight per point.
        gap_tol: relative distance of eigenvalues of the fourth moment below which a sample is ambiguous.
        on_degenerate: for ambiguous samples (whitened cubes, say): `"robust"` gives them the axes of `RobustFrame` in
            the whitened space (2-D and 3-D), exact; `"warn"` says how many; `"raise"` is a RuntimeError; `"ignore"`.

    Raises:
        ValueError: the points of a sample lie in a plane or line.
        TypeError: the group is none of GL, GLPlus, SL, Affine of these, SAffine.

    Source: Tyler, Critchley, Dümbgen, Oja 2009 (J. R. Stat. Soc. B 71), for the coordinates.

    >>> import torch
    >>> from torsor import Affine, Point, Scalar, Symmetry
    >>> AffineFrame()(Symmetry(Affine(2), Point(), Scalar()), torch.randn(3, 10, 2)).elements.shape
    torch.Size([3, 2, 3, 3])
    """

    field: str | None = None
    weights: str | None = None
    gap_tol: float = 1e-4
    on_degenerate: Literal["robust", "warn", "raise", "ignore"] = "warn"
    exact = True

    def __post_init__(self) -> None:
        check_policy(self.on_degenerate, ("robust", "warn", "raise", "ignore"), gap_tol=self.gap_tol)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        linear_group = linear_part(group)
        proper = linear_group.is_connected
        clouds = read_clouds(symmetry, inputs, None if self.field is None else (self.field,), self.weights)
        clouds, centre = centred(group, clouds)
        root = cholesky(clouds[0].mean(clouds[0].points.unsqueeze(-1) * clouds[0].points.unsqueeze(-2)))
        white = whitened(clouds[0], root)
        square = white.points.square().sum(-1, keepdim=True)
        values, axes = eigh(white.mean(square.unsqueeze(-1) * white.points.unsqueeze(-1) * white.points.unsqueeze(-2)))
        values, axes = values.flip(-1), axes.flip(-1)
        dtype = floating_dtype(symmetry, inputs)
        gap, rank = spectrum(values.detach(), null_tolerance(dtype), null_floor([white]))
        ambiguous = gap < self.gap_tol
        axes = right_handed(axes) if proper else axes
        signed = axes.unsqueeze(1) * sign_patterns(group.n, proper, axes)[:, None, :]
        weights = torch.full_like(signed[..., 0, 0], 1 / signed.shape[1])
        mend = self.on_degenerate == "robust" and bool(ambiguous.any())
        if mend:
            signed, weights = with_robust(white, signed, weights, ambiguous, proper, null_tolerance(dtype))
        elif self.on_degenerate != "robust":
            tell_ambiguous(ambiguous, gap, self.on_degenerate, "affine frames")
        linear = root.unsqueeze(1) @ signed
        if isinstance(linear_group, SL):
            volume = root.diagonal(dim1=-2, dim2=-1).prod(-1)[:, None, None, None]
            linear = linear / volume ** (1 / group.n)
        frames = FrameSet(
            group, assemble(group, linear, centre, None).to(dtype), weights.to(dtype), gap, rank, ambiguous
        )
        return frames.compact() if mend else frames


def linear_part(group: Group) -> Group:
    """GL, GLPlus or SL: the linear parts of a group.

    Raises:
        TypeError: the group has others.
    """
    inner = group.linear_group if isinstance(group, Affine | SAffine) else group
    if not isinstance(inner, GL | GLPlus | SL):
        raise TypeError(f"{group} has no affine frame; GL, GLPlus, SL, SAffine, and Affine with one of them, have one")
    return inner


def whitened(cloud: Cloud, root: Tensor) -> Cloud:
    """The points `L^-1 y`, whose second moment is the identity."""
    inverse = torch.linalg.solve_triangular(root, torch.eye(root.shape[-1], dtype=root.dtype).to(root), upper=False)
    rows = cloud.layout.spread(cloud.action, inverse)
    return cloud.moved(cloud.points @ rows.mT)

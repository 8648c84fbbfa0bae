"""Axes of point clouds: what the frames of O, SO, E, SE and similarities share."""

import itertools
import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torsor.build.frames._cloud import Cloud
from torsor.groups import SE, SO, E, Group, O, Sim
from torsor.groups.linalg import eigh


def null_tolerance(dtype: torch.dtype) -> float:
    """The share of the largest eigenvalue below which another is zero, for points given in this dtype.

    Measured on a line ten extents away from the origin: 3e-16 in float64, 7e-12 in float32.
    """
    return 1e-13 if dtype == torch.float64 else 1e-10


def proper_part(group: Group) -> bool:
    """Whether frames of this group must not reflect.

    Raises:
        TypeError: the group has no frame of principal axes; names the groups that have one.
    """
    if isinstance(group, Sim):
        return not group.reflections
    if isinstance(group, SO | SE):
        return True
    if isinstance(group, O | E):
        return False
    raise TypeError(f"{group} has no frame of principal axes; O, SO, E, SE and Sim have one")


def centred(group: Group, clouds: list[Cloud]) -> tuple[list[Cloud], Tensor | None]:
    """Point clouds measured from their centroids, and the centroid of the first: None for linear groups."""
    if not group.is_affine:
        return clouds, None
    centres = [cloud.mean(cloud.points) if cloud.action.feels_translation else None for cloud in clouds]
    if centres[0] is None:
        raise ValueError(f"the frame of {group} needs a Point input first, to place its origin")
    moved = [
        cloud if centre is None else cloud.moved(cloud.points - cloud.spread(centre))
        for cloud, centre in zip(clouds, centres, strict=True)
    ]
    return moved, centres[0]


def rms(cloud: Cloud) -> Float[Tensor, " b"]:
    """The root mean square distance from the origin; 0, with a zero gradient, where that is rounding."""
    square = cloud.mean(cloud.points.square().sum(-1))
    seen = square > cloud.floor
    return torch.where(seen, square, 1).sqrt() * seen


def principal_axes(clouds: list[Cloud]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d d"]]:
    """Eigenvalues, descending, and eigenvectors (columns) of the second moments of some clouds."""
    moments = [cloud.mean(cloud.points.unsqueeze(-1) * cloud.points.unsqueeze(-2)) for cloud in clouds]
    if len(moments) > 1:
        traces = [m.diagonal(dim1=-2, dim2=-1).sum(-1) for m in moments]
        seen = [trace > cloud.floor for trace, cloud in zip(traces, clouds, strict=True)]
        shares = [torch.where(ok, 1 / torch.where(ok, t, 1), 0) for t, ok in zip(traces, seen, strict=True)]
        moments = [m * share[:, None, None] for m, share in zip(moments, shares, strict=True)]
    values, axes = eigh(sum(moments[1:], moments[0]))
    return values.flip(-1), axes.flip(-1)


def spectrum(
    values: Float[Tensor, "b d"], null_tol: float, floor: Float[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
    """The smallest relative gap of eigenvalues that are not both zero, and how many are not zero."""
    largest = values[:, :1]
    positive = values > torch.maximum(null_tol * largest, floor.unsqueeze(1))
    rank = positive.sum(1)
    if values.shape[1] == 1:
        return torch.full_like(floor, torch.inf), rank
    gaps = -values.diff(dim=1) / largest.clamp(min=torch.finfo(values.dtype).tiny)
    return gaps.masked_fill(~positive[:, :-1], torch.inf).amin(1), rank


def null_floor(clouds: list[Cloud]) -> Float[Tensor, " b"]:
    """The eigenvalue of `principal_axes` that rounding alone can give."""
    return clouds[0].floor if len(clouds) == 1 else torch.zeros_like(clouds[0].floor)


def sign_patterns(d: int, proper: bool, like: Tensor) -> Float[Tensor, "p d"]:
    """All signs of `d` axes; those with product 1 where reflections are excluded."""
    every = itertools.product([1.0, -1.0], repeat=d)
    chosen = [signs for signs in every if not proper or math.prod(signs) > 0]
    return torch.tensor(chosen, dtype=like.dtype, device=like.device)


def right_handed(axes: Float[Tensor, "*b d d"]) -> Float[Tensor, "*b d d"]:
    """Axes with determinant 1: the last is turned round where it has to be."""
    sign = torch.linalg.det(axes.detach()).sign()[..., None, None]
    return torch.cat([axes[..., :-1], axes[..., -1:] * sign], -1)


def with_signs(
    axes: Float[Tensor, "b k d d"], weights: Float[Tensor, "b k"], proper: bool
) -> tuple[Float[Tensor, "b kp d d"], Float[Tensor, "b kp"]]:
    """Each set of axes with all its sign patterns, right-handed ones only if `proper`, at equal weights."""
    axes = right_handed(axes) if proper else axes
    patterns = sign_patterns(axes.shape[-1], proper, axes)
    signed = (axes.unsqueeze(2) * patterns[:, None, :]).flatten(1, 2)
    return signed, weights.repeat_interleave(len(patterns), 1) / len(patterns)


def assemble(group: Group, linear: Tensor, centre: Tensor | None, scale: Tensor | None) -> Tensor:
    """Elements `(B, K, ...)` with these linear parts, a centre and a scale per sample."""
    if scale is not None:
        linear = linear * torch.where(scale > 0, scale, 1)[:, None, None, None]
    shift = None if centre is None else centre.unsqueeze(1).expand(*linear.shape[:2], -1)
    return group.from_parts(linear, shift)  # type: ignore[attr-defined]


def cholesky(moment: Float[Tensor, "b d d"]) -> Float[Tensor, "b d d"]:
    """The lower triangular root of second moments.

    Raises:
        ValueError: a moment is singular; names the first sample and its rank.
    """
    root, failed = torch.linalg.cholesky_ex(moment)
    smallest = root.detach().diagonal(dim1=-2, dim2=-1).square()
    size = moment.detach().diagonal(dim1=-2, dim2=-1)
    thin = (failed > 0) | (smallest <= 1e-13 * size).any(-1)
    if bool(thin.any()):
        row = int(thin.nonzero()[0, 0])
        d = moment.shape[-1]
        scale = size[row].clamp(min=torch.finfo(size.dtype).tiny).rsqrt()
        rank = int(torch.linalg.matrix_rank(scale[:, None] * moment[row].detach() * scale, rtol=1e-12, hermitian=True))
        raise ValueError(
            f"sample {row}: the vectors span {min(rank, d - 1)} dimensions of {d}, and the frame needs all"
        )
    return root


def check_policy(policy: object, allowed: tuple[str, ...], **tolerances: object) -> None:
    """Refuse an unknown word for `on_degenerate`, and tolerances that are not numbers from 0 on.

    Raises:
        ValueError: names the argument, what it may be, and what came.
    """
    if policy not in allowed:
        words = ", ".join(f'"{word}"' for word in allowed[:-1])
        raise ValueError(f'on_degenerate must be {words} or "{allowed[-1]}"; got {policy!r}')
    for name, value in tolerances.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"{name} must be a number, at least 0; got {value!r}")


def tell_ambiguous(ambiguous: Tensor, gap: Tensor, policy: str, what: str) -> None:
    """Warn of, or refuse, samples whose frames are undetermined."""
    if policy == "ignore" or not bool(ambiguous.any()):
        return
    rows = ambiguous.nonzero()[:, 0].tolist()
    if policy == "raise":
        raise RuntimeError(f"samples {rows} have repeated eigenvalues (relative gaps {gap[ambiguous].tolist()})")
    warnings.warn(
        f"{len(rows)} of {len(gap)} samples have repeated eigenvalues: {what} are not exact there", stacklevel=3
    )

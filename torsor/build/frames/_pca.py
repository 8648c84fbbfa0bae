"""Frames of principal axes for O, SO, E, SE and similarities."""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.build.frames._axes import (
    assemble,
    centred,
    check_policy,
    null_floor,
    null_tolerance,
    principal_axes,
    proper_part,
    right_handed,
    rms,
    sign_patterns,
    spectrum,
    with_signs,
)
from torsor.build.frames._cloud import Cloud, default_fields, floating_dtype, read_clouds
from torsor.build.frames._completion import completed, other_clouds, undetermined
from torsor.build.frames._frameset import FrameSet
from torsor.build.frames._robust import robust_axes
from torsor.groups import Sim
from torsor.symmetry import Inputs, Symmetry

Policy = Literal["warn", "raise", "robust", "sample", "ignore"]
_POLICIES = ("warn", "raise", "robust", "sample", "ignore")


@dataclass(frozen=True)
class PCAFrame:
    """The frames of a point cloud from its principal axes: `2^d` elements of E(d), `2^(d-1)` of SE(d).

    The axes are the eigenvectors of the second moment, largest variance first, with all signs (all signs of
    determinant 1 for SO and SE). Exact, and invariant under permutations of the points, where the eigenvalues differ;
    repeated zero eigenvalues (collinear, planar, coincident points) do no harm. Where other eigenvalues coincide the
    axes are undetermined: `on_degenerate` says what happens then.

    Arguments:
        signs: `"all"`; `"skew"`: each axis points to the side of positive third moment, one element instead of `2^d`
            (both signs where the moment vanishes), discontinuous where it changes sign; `"soft"`: all of them, those on
            the side of positive third moments with more weight, continuous; `"none"`: the signs of the eigensolver,
            which are not equivariant.
        fields: names of the `Point` and `Vector` inputs whose second moments are added up, each divided by its trace;
            by default the first `Point`, else the first `Vector`. Velocities lift the degeneracy of small systems.
            Where these leave two or more axes open (collinear points), the other points and vectors decide them.
        weights: name of an input with one non-negative invariant weight per point, such as masses.
        gap_tol: relative distance of eigenvalues below which a sample is ambiguous.
        null_tol: eigenvalues below this share of the largest are zero; by default 1e-13 (float64) or 1e-10 (float32).
        skew_tol: standardised third moment below which both signs of an axis are kept.
        on_degenerate: for ambiguous samples: `"robust"` gives them the frames of `RobustFrame` (2-D and 3-D), exact;
            `"warn"` says how many; `"raise"` is a RuntimeError; `"sample"` turns the axes within each degenerate block
            at random, unbiased but inexact; `"ignore"` marks them and does nothing, open axes of collinear points
            included.
        softness: with `"soft"` signs, the standardised third moment that shifts the odds of an axis by e^2.
        detach: no gradient through the frame. Forces are wrong then; direct regression only.

    The eigenvalue problem is solved in float64 whatever the dtype of the inputs.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 3.1.

    >>> import torch
    >>> from torsor import E, Point, Symmetry
    >>> frames = PCAFrame()(Symmetry(E(3), Point(), Point()), torch.randn(4, 10, 3))
    >>> frames.elements.shape, frames.rank
    (torch.Size([4, 8, 4, 4]), tensor([3, 3, 3, 3]))
    """

    signs: Literal["all", "skew", "soft", "none"] = "all"
    fields: tuple[str, ...] | None = None
    weights: str | None = None
    gap_tol: float = 1e-4
    null_tol: float | None = None
    skew_tol: float = 1e-6
    on_degenerate: Policy = "warn"
    softness: float = 0.1
    detach: bool = False

    def __post_init__(self) -> None:
        if self.signs not in ("all", "skew", "soft", "none"):
            raise ValueError(f'signs must be "all", "skew", "soft" or "none"; got {self.signs!r}')
        if not self.softness > 0:
            raise ValueError(f"softness must be positive; got {self.softness}")
        given = {} if self.null_tol is None else {"null_tol": self.null_tol}
        check_policy(self.on_degenerate, _POLICIES, gap_tol=self.gap_tol, skew_tol=self.skew_tol, **given)

    @property
    def exact(self) -> bool:
        return self.signs != "none"

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        proper = proper_part(group)
        clouds = read_clouds(symmetry, inputs, self.fields, self.weights)
        dtype = floating_dtype(symmetry, inputs)
        clouds, centre = centred(group, clouds)
        scale = rms(clouds[0]) if isinstance(group, Sim) else None
        values, axes = principal_axes(clouds)
        null_tol = null_tolerance(dtype) if self.null_tol is None else self.null_tol
        gap, rank = spectrum(values.detach(), null_tol, null_floor(clouds))
        thin = rank <= group.n - 2
        if self.on_degenerate == "ignore" or bool(thin.any()):
            used = () if self.weights else self.fields or default_fields(symmetry, inputs)
            others = other_clouds(symmetry, inputs, tuple(used), centre)
            if others and self.on_degenerate != "ignore":
                filled, turned = completed(values, axes, rank, others)
                values = torch.where(thin.unsqueeze(1), filled, values)
                axes = torch.where(thin[:, None, None], turned, axes)
                gap, rank = spectrum(values.detach(), null_tol, torch.where(thin, 0, null_floor(clouds)))
            thin = undetermined(symmetry, inputs, axes.detach(), rank, others)
        overflow = ~values.detach().isfinite().all(-1)
        ambiguous = (gap < self.gap_tol) | overflow | thin
        if scale is not None:
            ambiguous = ambiguous | (scale.detach() <= 0)
        any_ambiguous = self.on_degenerate != "ignore" and bool(ambiguous.any())
        if any_ambiguous and bool(overflow.any()):
            row = int(overflow.nonzero()[0, 0])
            raise ValueError(
                f"sample {row} has no principal axes: its coordinates are not finite, or their squares overflow float64"
            )
        if any_ambiguous and self.on_degenerate == "raise":
            rows = ambiguous.nonzero()[:, 0].tolist()
            raise RuntimeError(
                f"samples {rows} have repeated eigenvalues (relative gaps {gap[ambiguous].tolist()}): their principal"
                " axes are undetermined"
            )
        if any_ambiguous and self.on_degenerate == "sample":
            axes = turned_within_blocks(values, axes, self.gap_tol, rank)
        if proper:
            axes = right_handed(axes)
        linear, weights = self._signed(clouds[0], axes, rank, proper)
        if any_ambiguous and self.on_degenerate == "robust":
            linear, weights = with_robust(clouds[0], linear, weights, ambiguous, proper, null_tol)
        if any_ambiguous and self.on_degenerate == "warn":
            count = int(ambiguous.sum())
            warnings.warn(
                f"{count} of {len(gap)} samples have repeated eigenvalues: PCA frames are not exact there;"
                ' on_degenerate="robust" is',
                stacklevel=2,
            )
        elements = assemble(group, linear, centre, scale)
        if self.detach:
            elements, weights = elements.detach(), weights.detach()
        frames = FrameSet(group, elements.to(dtype), weights.to(dtype), gap, rank, ambiguous)
        return frames.compact() if self.signs == "skew" or any_ambiguous else frames

    def _signed(self, cloud: Cloud, axes: Tensor, rank: Tensor, proper: bool) -> tuple[Tensor, Tensor]:
        """The linear parts `(B, P, d, d)` with the sign patterns that this frame allows, and their weights."""
        patterns = sign_patterns(axes.shape[-1], proper, axes)
        if self.signs == "none":
            return axes.unsqueeze(1), torch.ones_like(axes[:, :1, 0])
        linear = axes.unsqueeze(1) * patterns[:, None, :]
        if self.signs == "all":
            return linear, torch.full_like(linear[..., 0, 0], 1 / len(patterns))
        seen = cloud.points @ cloud.layout.spread(cloud.action, axes)
        null = torch.arange(axes.shape[-1], device=axes.device) >= rank.unsqueeze(1)
        skewness = standardised_third_moment(cloud, seen).masked_fill(null, 0)
        if self.signs == "soft":  # odds (1 + tanh(m/tau)) : (1 - tanh(m/tau)) on each axis
            return linear, (patterns @ (skewness / self.softness).unsqueeze(-1)).squeeze(-1).softmax(-1)
        skewness = skewness.detach()
        free = skewness.abs() < self.skew_tol
        if proper:  # the determinant sets the sign of the least skewed axis
            free = free | torch.nn.functional.one_hot(skewness.abs().argmin(-1), axes.shape[-1]).bool()
        allowed = (free.unsqueeze(1) | (patterns * skewness.unsqueeze(1) > 0)).all(-1)
        return linear, allowed / allowed.sum(1, keepdim=True).to(linear.dtype)


def standardised_third_moment(cloud: Cloud, seen: Tensor) -> Float[Tensor, "b d"]:
    """The third moment of each coordinate over the 3/2 power of its second; 0 where it does not vary."""
    second = cloud.mean(seen.square())
    varies = second > cloud.floor.unsqueeze(-1)
    size = torch.where(varies, second, 1).sqrt()  # before the third power, which overflows first
    return cloud.mean((seen / cloud.spread(size)) ** 3) * varies


def turned_within_blocks(values: Tensor, axes: Tensor, gap_tol: float, rank: Tensor) -> Tensor:
    """Axes turned by a Haar-random orthogonal matrix within each block of eigenvalues that coincide."""
    scale = torch.where(values[:, :1] > 0, values[:, :1], 1)
    breaks = (values[:, :-1] - values[:, 1:]) / scale >= gap_tol
    block = torch.nn.functional.pad(breaks.cumsum(1), (1, 0))
    index = torch.arange(values.shape[1], device=values.device)
    block = torch.where(index < rank[:, None], block, values.shape[1])
    same = block.unsqueeze(-1) == block.unsqueeze(-2)
    q, r = torch.linalg.qr(torch.randn_like(axes) * same)
    return axes @ (q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(q.dtype).unsqueeze(-2))


def with_robust(
    cloud: Cloud, linear: Tensor, weights: Tensor, ambiguous: Tensor, proper: bool, null_tol: float
) -> tuple[Tensor, Tensor]:
    """The frames of `RobustFrame` in the place of the principal axes where these are undetermined."""
    robust, robust_weights = with_signs(
        *robust_axes(*cloud.padded(), cloud.floor, delta=0.1, null_tol=null_tol), proper
    )
    robust = torch.where(robust_weights[..., None, None] > 0, robust, linear[:, :1])  # padding must be invertible too
    keep = (~ambiguous).to(weights.dtype).unsqueeze(1)
    return torch.cat([linear, robust], 1), torch.cat([weights * keep, robust_weights * (1 - keep)], 1)

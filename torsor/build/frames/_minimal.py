"""Minimal frames: axes from the first independent points, for points whose order means something."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor.build.frames._axes import assemble, centred, proper_part, right_handed, rms, sign_patterns
from torsor.build.frames._cloud import Cloud, default_fields, floating_dtype, other_inputs_turn, read_clouds
from torsor.build.frames._completion import other_clouds
from torsor.build.frames._frameset import FrameSet
from torsor.groups import Sim
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class MinimalFrame:
    """One element of O, SO, E, SE or Sim, by Gram-Schmidt of the first points that are linearly independent.

    As few elements as the stabiliser of the input allows, and no eigenvalues: exact on cubes, squares and all other
    sets, at the cost of one copy. The order of the points decides, so it must mean something (atoms of a residue,
    joints of a skeleton): averages over this frame are *not* invariant under permutations of the points, whatever the
    network is. Discontinuous where a point that decides becomes dependent on those before it.

    Arguments:
        field: name of the `Point` or `Vector` input that decides; by default the first `Point`, else the first
            `Vector`. Points are measured from their centroid. Where it does not span space the other inputs are
            asked, in their order.
        weights: name of an input with one non-negative invariant weight per point, for the centroid.
        tol: a point counts as independent if its distance from the span of those before it is more than this share of
            the longest; samples within a factor of ten of it are marked ambiguous.

    Source: Lin, Helwig, Gui, Ji 2024 (arXiv 2406.07598), section 3.

    >>> import torch
    >>> from torsor import E, Point, Symmetry
    >>> frames = MinimalFrame()(Symmetry(E(3), Point(), Point()), torch.randn(4, 10, 3))
    >>> frames.elements.shape
    torch.Size([4, 1, 4, 4])
    """

    field: str | None = None
    weights: str | None = None
    tol: float = 1e-5

    exact = True

    def __post_init__(self) -> None:
        if self.field is not None and not isinstance(self.field, str):
            raise TypeError(f"field must be the name of an input; got {self.field!r}")
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be between 0 and 1; got {self.tol}")

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        proper = proper_part(group)
        fields = None if self.field is None else (self.field,)
        (cloud,), centre = centred(group, read_clouds(symmetry, inputs, fields, self.weights))
        scale = rms(cloud) if isinstance(group, Sim) else None
        others = other_clouds(symmetry, inputs, fields or default_fields(symmetry, inputs), centre)
        axes, margin = independent_axes([cloud, *others], self.tol)
        free = margin == 0
        rank = (~free).sum(1)
        if proper:
            axes = right_handed(axes)
            free = free & (rank < group.n - 1).unsqueeze(1)
        patterns = sign_patterns(group.n, proper, axes)
        allowed = (free.unsqueeze(1) | (patterns > 0)).all(-1)
        weights = allowed / allowed.sum(1, keepdim=True).to(axes.dtype)
        elements = assemble(group, axes.unsqueeze(1) * patterns[:, None, :], centre, scale)
        gap = torch.where(margin > 0, margin, torch.inf).amin(1)
        ambiguous = gap < 10 * self.tol
        if other_inputs_turn(symmetry, inputs):
            ambiguous = ambiguous | (rank <= group.n - 2)
        if scale is not None:
            ambiguous = ambiguous | (scale.detach() <= 0)
        dtype = floating_dtype(symmetry, inputs)
        return FrameSet(group, elements.to(dtype), weights.to(dtype), gap, rank, ambiguous).compact()


def independent_axes(clouds: list[Cloud], tol: float) -> tuple[Float[Tensor, "b d d"], Float[Tensor, "b d"]]:
    """Orthonormal columns from the first independent points of some clouds, one cloud after the other.

    Also the distance that made each independent, relative to the longest of its cloud; it is 0 for the columns that
    only complete the basis, which come last.
    """
    parts = [_in_own_units(cloud) for cloud in clouds]
    points, real = (torch.cat(each, 1) for each in zip(*parts, strict=True))
    b, _, d = points.shape
    rest, spare = points, torch.eye(d, dtype=points.dtype, device=points.device).expand(b, d, d)
    columns: list[Tensor] = []
    margins: list[Tensor] = []
    for _ in range(d):
        square = rest.detach().square().sum(-1) * real
        independent = square > tol**2
        found, first = independent.any(1), independent.to(torch.int8).argmax(1)
        completing = _row(spare, spare.square().sum(-1).argmax(1))
        axis = torch.where(found.unsqueeze(1), _row(rest, first), completing)
        for _ in range(2):  # twice is enough: once leaves errors of rounding over the margin
            for column in columns:
                axis = axis - (axis * column).sum(-1, keepdim=True) * column
            axis = axis / axis.norm(dim=-1, keepdim=True)
        share = _row(square.unsqueeze(-1), first).squeeze(-1)
        columns.append(axis)
        margins.append(torch.where(found, share, 0).sqrt())
        rest, spare = (_without(axis, x) for x in (rest, spare))
    return torch.stack(columns, -1), torch.stack(margins, -1)


def _in_own_units(cloud: Cloud) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Points over the longest of their sample, and which of them are longer than rounding."""
    points, present = cloud.padded()
    if points.shape[1] == 0:
        points, present = points.new_zeros(len(points), 1, points.shape[2]), present.new_zeros(len(points), 1)
    square = points.detach().square().sum(-1) * (present > 0)
    longest = square.amax(1, keepdim=True)
    points = points / torch.where(longest > 0, longest, 1).sqrt().unsqueeze(-1)
    return points, (present > 0) & (longest > cloud.floor.unsqueeze(1))


def _without(axis: Float[Tensor, "b d"], x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """What is left of vectors without their part along a unit vector."""
    along = axis.unsqueeze(1)
    return x - (x * along).sum(-1, keepdim=True) * along


def _row(x: Float[Tensor, "b n c"], index: Tensor) -> Float[Tensor, "b c"]:
    """One row of each sample."""
    return x[torch.arange(len(x), device=x.device), index]

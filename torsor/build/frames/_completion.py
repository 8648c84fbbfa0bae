"""What collinear and coincident points leave open, decided by the other vectors of the input."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor.build.frames._cloud import Cloud, named_vectors, other_inputs_turn, read_clouds
from torsor.groups.linalg import eigh
from torsor.symmetry import Inputs, Symmetry

_FRACTION = 0.5
"""The eigenvalues of the added block lie below this share of the smallest of the points': the blocks never mix."""


def other_clouds(
    symmetry: Symmetry, inputs: Inputs, used: tuple[str, ...], centre: Float[Tensor, "b d"] | None
) -> list[Cloud]:
    """The `Point` and `Vector` inputs that a frame was not computed from, points measured from its centre."""
    names = tuple(name for name in named_vectors(symmetry, inputs) if name not in used)
    clouds = read_clouds(symmetry, inputs, names) if names else []
    return [
        cloud.moved(cloud.points - cloud.spread(centre))
        if centre is not None and cloud.action.feels_translation
        else cloud
        for cloud in clouds
    ]


def completed(
    values: Float[Tensor, "b d"], axes: Float[Tensor, "b d d"], rank: Int[Tensor, " b"], others: list[Cloud]
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d d"]]:
    """Axes whose null space is spanned by the principal axes of other vectors in it, and eigenvalues to go with them.

    Arguments:
        values, axes: principal axes of the points.
        rank: how many of them the points determine.
        others: clouds whose second moments count, each divided by its trace.
    """
    index = torch.arange(axes.shape[-1], device=axes.device)
    kept = index < rank.unsqueeze(1)
    inner = torch.zeros_like(axes)
    for cloud in others:
        moment = cloud.mean(cloud.points.unsqueeze(-1) * cloud.points.unsqueeze(-2))
        trace = moment.diagonal(dim1=-2, dim2=-1).sum(-1)
        share = torch.where(trace > cloud.floor, 1 / torch.where(trace > cloud.floor, trace, 1), 0)
        inner = inner + axes.mT @ moment @ axes * share[:, None, None]
    block = ~kept.unsqueeze(1) & ~kept.unsqueeze(2)
    above = 2 * len(others) + len(index) - index.to(axes.dtype)  # keeps what is determined first, and in its order
    found, turn = eigh(torch.where(block, inner, 0) + torch.diag_embed(above * kept))
    found, turn = found.flip(-1), turn.flip(-1)
    least = torch.where(kept, values, torch.inf).amin(1, keepdim=True)
    scale = _FRACTION * torch.where(least.isfinite(), least, 1) / len(others)
    return torch.where(kept, values, found * scale), axes @ turn


def undetermined(
    symmetry: Symmetry, inputs: Inputs, axes: Float[Tensor, "b d d"], rank: Int[Tensor, " b"], others: list[Cloud]
) -> Bool[Tensor, " b"]:
    """Where two or more axes are arbitrary and an input shows them: a vector across them, a tensor, a line."""
    d = axes.shape[-1]
    thin = rank <= d - 2
    if other_inputs_turn(symmetry, inputs):
        return thin
    null = axes * (torch.arange(d, device=axes.device) >= rank.unsqueeze(1)).unsqueeze(1)
    shown = torch.zeros_like(thin)
    for cloud in others:
        across = cloud.mean((cloud.points @ cloud.layout.spread(cloud.action, null)).square().sum(-1))
        whole = cloud.mean(cloud.points.square().sum(-1))
        shown = shown | (across > torch.maximum(1e-12 * whole, cloud.floor))
    return thin & shown

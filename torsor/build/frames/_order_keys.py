"""What nodes are sorted by: classes of equal features, spectral keys, and the lexicographic order of both."""

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

TIE = 0.75
"""Features that differ by less than eps to this power, relative to the largest, are tied: 6e-6 in float32."""
_BITS = 52  # of an integer that float64 holds exactly


def feature_classes(columns: Shaped[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """Features as ranks of classes: a new class begins where the gap to the next smaller value exceeds rounding."""
    if not columns.is_floating_point() or not columns.numel():
        return columns.double()
    tolerance = torch.finfo(columns.dtype).eps ** TIE * columns.abs().amax((1, 2), keepdim=True).double()
    return gap_classes(columns.double(), tolerance)


def gap_classes(columns: Float[Tensor, "b n c"], tolerance: Tensor | float) -> Float[Tensor, "b n c"]:
    """Values as ranks of classes, column by column: a new class begins where the gap exceeds the tolerance."""
    ordered, order = columns.mT.contiguous().sort(dim=-1)  # much faster than along another axis
    ranks = (ordered.diff(dim=-1, prepend=ordered[..., :1]) > tolerance).cumsum(-1)
    return torch.empty_like(ordered).scatter(-1, order, ranks.to(ordered.dtype)).mT


def laplacian_classes(adjacency: Float[Tensor, "b n n"], tol: float) -> Float[Tensor, "b n k"]:
    """For each node the length of its projection on every eigenspace of the Laplacian, as ranks of classes, packed.

    The projection does not depend on the choice of a basis. Eigenvalues, and lengths, that differ by less than `tol`
    are equal. Puny et al. 2021 (arXiv 2110.03336), section 3.2.
    """
    laplacian = torch.diag_embed(adjacency.sum(-1)) - adjacency
    values, vectors = torch.linalg.eigh(laplacian)
    space = (values.diff(dim=-1, prepend=values[:, :1]) > tol).cumsum(-1)
    squares = torch.zeros_like(vectors).scatter_add(2, space.unsqueeze(1).expand(vectors.shape), vectors.square())
    return _packed(gap_classes(squares.sqrt(), tol), adjacency.shape[-1])


def _packed(ranks: Float[Tensor, "b n m"], base: int) -> Float[Tensor, "b n k"]:
    """Ranks below a base, as many columns in one as a float64 can hold: rows stay in the same lexicographic order."""
    width = int(_BITS / math.log2(max(base, 2)))
    ranks = torch.nn.functional.pad(ranks, (0, -ranks.shape[-1] % width))
    powers = torch.tensor([base**i for i in range(width)], dtype=ranks.dtype, device=ranks.device)
    return ranks.unflatten(-1, (-1, width)) @ powers.flip(0)


def lexicographic(
    keys: Float[Tensor, "b n c"], start: Int[Tensor, "b n"] | None = None
) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
    """The order that sorts the rows of keys, and the number of the class of equal rows at each place of it.

    Equal rows keep the order in which they stand at the start.
    """
    b, n = keys.shape[:2]
    order = torch.arange(n, device=keys.device).expand(b, n) if start is None else start
    for column in reversed(keys.unbind(-1)):
        order = order.gather(1, column.gather(1, order).argsort(dim=1, stable=True))
    ranked = keys.gather(1, order.unsqueeze(-1).expand(*order.shape, keys.shape[-1]))
    changes = (ranked[:, 1:] != ranked[:, :-1]).any(-1)
    return order, torch.nn.functional.pad(changes.cumsum(1), (1, 0))

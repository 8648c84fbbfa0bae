"""Learned canonicalisation: one frame per input, from a small equivariant network."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.frames._axes import assemble, centred, proper_part, rms
from torsor.build.frames._cloud import floating_dtype, read_clouds
from torsor.build.frames._frameset import FrameSet
from torsor.groups import Sim
from torsor.symmetry import Inputs, Symmetry


class LearnedFrame(nn.Module):
    """A frame of O, SO, E, SE or Sim from vectors that an equivariant network gives: K = 1, trained with the rest.

    Gram-Schmidt makes axes of `d` vectors per sample (`d - 1` for SO and SE, the determinant sets the last); the origin
    is the centroid, the scale of similarities the RMS radius. `FrameAveraging` over this frame is learned
    canonicalisation: exact whatever the weights are, as far as `net` is equivariant in its own precision. Discontinuous
    where the vectors become dependent; such samples are marked ambiguous.

    Arguments:
        net: called with the inputs as the network itself; gives vectors `(B, >= d, d)` that turn with the inputs and do
            not feel translations. `VectorHead` is one.
        min_sine: sines of angles between the vectors below which a sample is ambiguous.
        weights: name of an input with one non-negative invariant weight per point, for the centroid.

    Raises:
        ValueError: the network gives too few vectors, or vectors of another dimension.

    Source: Kaba, Mondal, Zhang, Bengio, Ravanbakhsh 2023 (arXiv 2211.06489).

    >>> import torch
    >>> from torsor import E, Point, Symmetry
    >>> from torsor.build import FrameAveraging
    >>> sym = Symmetry(E(3), Point(), Point())
    >>> model = FrameAveraging(torch.nn.Linear(3, 3), sym, LearnedFrame(VectorHead(3)))
    >>> x = torch.randn(4, 10, 3)
    >>> torch.allclose(model(x) + 1, model(x + 1), atol=1e-4)
    True
    """

    exact = True

    def __init__(self, net: Callable[..., Tensor], *, min_sine: float = 1e-3, weights: str | None = None) -> None:
        super().__init__()
        if not callable(net):
            raise TypeError(f"net must give vectors of the inputs; got {net!r}")
        self.net = net
        self.min_sine = min_sine
        self.weights = weights

    def forward(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        proper = proper_part(group)
        clouds, centre = centred(group, read_clouds(symmetry, inputs, None, self.weights))
        vectors = symmetry.call(self.net, inputs)
        size, d = clouds[0].layout.size, group.n
        if vectors.ndim != 3 or vectors.shape[0] != size or vectors.shape[1] < d - proper or vectors.shape[2] != d:
            raise ValueError(
                f"net must give at least {d - proper} vectors per sample, ({size}, {d - proper}, {d}) for {group};"
                f" got shape {tuple(vectors.shape)}"
            )
        axes, sine = gram_schmidt(vectors.double()[:, : d - proper])
        if proper:
            axes = torch.cat([axes, _completing(axes)], 1)
        scale = rms(clouds[0]) if isinstance(group, Sim) else None
        elements = assemble(group, axes.mT.unsqueeze(1), centre, scale).to(floating_dtype(symmetry, inputs))
        weights = torch.ones_like(elements[..., 0, 0])
        rank = torch.full_like(sine, d, dtype=torch.long)
        return FrameSet(group, elements, weights, sine.detach(), rank, sine.detach() < self.min_sine)


class VectorHead(nn.Module):
    """Vectors of a point cloud that turn with it and feel neither translations nor the order of the points.

    `v_c = sum_ij phi_c(|y_i|, |y_j|, y_i . y_j) y_i` with centred points `y` in units of their RMS radius and a small
    perceptron `phi`: smooth, and without parity, so that it serves O(d) as well as SO(d).

    Arguments:
        d: dimension of the points, and number of vectors.
        hidden: width of the perceptron.
        field: name of the points where inputs have names; by default the first input.

    Shapes: `(B, n, d)`, perhaps with a mask `(B, n)`, to `(B, d, d)`, one vector per row; other arguments are ignored.

    Raises:
        ValueError: points of another shape, such as ragged ones.
    """

    def __init__(self, d: int, hidden: int = 32, field: str | None = None) -> None:
        super().__init__()
        self.field = field
        self.phi = nn.Sequential(nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, d))

    def forward(self, *inputs: Any, **named: Any) -> Float[Tensor, "b d d"]:
        """The vectors of a batch of clouds."""
        every = (*inputs, *named.values())
        points = every[0] if self.field is None else named[self.field]
        if points.ndim != 3:
            raise ValueError(f"VectorHead takes points (B, n, d); got shape {tuple(points.shape)}")
        masks = [x for x in every if x.dtype == torch.bool and x.shape == points.shape[:2]]
        real = masks[0].unsqueeze(-1) if masks else torch.ones_like(points[..., :1], dtype=torch.bool)
        points, count = points.masked_fill(~real, 0), real.sum(1, keepdim=True).to(points.dtype)
        y = (points - points.sum(1, keepdim=True) / count).masked_fill(~real, 0)
        square = y.square().sum(-1)
        mean = square.sum(1)[:, None, None] / count
        y = y / torch.where(mean > 0, mean, 1).sqrt()
        gram = y @ y.mT
        length = gram.diagonal(dim1=-2, dim2=-1)
        pairs = torch.broadcast_tensors(length.unsqueeze(2), length.unsqueeze(1), gram)
        weights = self.phi(torch.stack(pairs, -1)) * (real & real.mT).unsqueeze(-1)
        return torch.einsum("bijc,bid->bcd", weights, y) / count**2


def gram_schmidt(vectors: Float[Tensor, "b k d"]) -> tuple[Float[Tensor, "b k d"], Float[Tensor, " b"]]:
    """Orthonormal rows, and the smallest sine of the angle of a vector with those before it; 0 rows stay 0."""
    rows: list[Tensor] = []
    sine = torch.ones_like(vectors[:, 0, 0])
    for vector in vectors.unbind(1):
        rest = vector
        for _ in range(2):  # twice is enough: once leaves errors of rounding over the sine
            for row in rows:
                rest = rest - (rest * row).sum(-1, keepdim=True) * row
        whole, left = vector.norm(dim=-1), rest.norm(dim=-1)
        sine = torch.minimum(sine, left.detach() / torch.where(whole > 0, whole, 1).detach())
        rows.append(rest / torch.where(left > 0, left, 1).unsqueeze(-1))
    return torch.stack(rows, 1), sine


def prior_matching(frames: FrameSet) -> Tensor:
    """`mean |R - 1|_F^2`: pulls learned frames to the pose in which a pretrained network was trained.

    Source: Mondal, Panigrahi, Kaba, Rajeswar, Ravanbakhsh 2023 (arXiv 2310.18405).
    """
    R = frames.R
    return (R - torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)).square().sum((-2, -1)).mean()


def _completing(axes: Float[Tensor, "b k d"]) -> Float[Tensor, "b 1 d"]:
    """The row that makes `d - 1` orthonormal rows a matrix of determinant 1: its cofactors."""
    d = axes.shape[-1]
    minors = [torch.linalg.det(axes[..., [j for j in range(d) if j != i]]) for i in range(d)]
    signs = torch.tensor([(-1) ** (d - 1 + i) for i in range(d)], dtype=axes.dtype, device=axes.device)
    return (torch.stack(minors, -1) * signs).unsqueeze(1)

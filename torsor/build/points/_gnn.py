"""Message passing averaged over frames, with new frames for every layer."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torsor.actions import Action, Mask, Point, Scalar, Vector
from torsor.build.backbones import MLP
from torsor.build.backbones._message_passing import Round
from torsor.build.backbones._mlp import check_sizes
from torsor.build.frames import FrameAveraging
from torsor.build.frames._frameset import FrameLike
from torsor.build.points._clouds import linear_part
from torsor.groups import SE, SO, E, O
from torsor.symmetry import Symmetry


class FrameEquivariantLayer(nn.Module):
    """A layer on hidden features, averaged over frames of the features themselves.

    Features `(B, n, 3 c)` are taken for `c` vectors per node; the frames are the principal axes of all `n c` vectors of
    a sample. They are not centred: their mean is an equivariant vector, which the layer may use.

    Arguments:
        layer: from features `(B, n, 3 c)`, and the invariants by keyword, to `(B, n, 3 c')`.
        group: `O(3)`, or `SO(3)` where reflections are no symmetry.
        invariants: further arguments, which rotations do not move, with their actions: `Scalar(per="edge")` for
            features of pairs, a `Mask()`.
        frame, samples: as `FrameAveraging` takes them.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.3.

    >>> import torch
    >>> from torsor.build import FrameEquivariantLayer
    >>> layer = FrameEquivariantLayer(torch.nn.Linear(12, 6))
    >>> layer(torch.randn(4, 5, 12)).shape
    torch.Size([4, 5, 6])
    """

    def __init__(
        self,
        layer: Callable[..., Tensor],
        group: O | SO = O(3),  # noqa: B008 (frozen)
        *,
        invariants: Mapping[str, Action] | None = None,
        frame: FrameLike | None = None,
        samples: int | None = None,
    ) -> None:
        super().__init__()
        law = Symmetry(group, {"h": Vector(), **(invariants or {})}, Vector())
        self.averaged = FrameAveraging(_OnVectors(layer, group.n), law, frame, samples=samples)

    def forward(self, h: Float[Tensor, "b n f"], **invariants: Tensor) -> Float[Tensor, "b n g"]:
        """The new features."""
        d = self.averaged.symmetry.group.n
        if h.shape[-1] % d:
            raise ValueError(f"h must be (B, n, {d} c), c vectors for each node; got shape {tuple(h.shape)}")
        return self.averaged(h.unflatten(-1, (-1, d)), **invariants).flatten(-2)


class _OnVectors(nn.Module):
    """A layer on flat features that is called with vectors."""

    def __init__(self, layer: Callable[..., Tensor], d: int) -> None:
        super().__init__()
        self.layer, self.d = layer, d

    def forward(self, h: Tensor, **invariants: Tensor) -> Tensor:
        return self.layer(h.flatten(-2), **invariants).unflatten(-1, (-1, self.d))


class FAGNN(nn.Module):
    """Message passing on the complete graph whose every layer is averaged over frames: FA-GNN.

    The first layer sees positions and velocities in the frames of the positions, and gives `channels` vectors per node;
    every other layer sees them in the frames of these vectors. Edges know the product of charges and the squared
    distance. Any number of nodes, padded or not.

    Arguments:
        group: `E(3)`, or `SE(3)` where reflections are no symmetry.
        channels: hidden vectors per node; the width of the layers is three times as large.
        layers: rounds of messages, at least 2.
        frame: of the positions, and of the hidden vectors; by default the principal axes, all signs.
        samples: frames per layer in training; None means all.

    Shapes: `positions` and `velocities (B, n, 3)`, `charges (B, n, 1)`, perhaps a mask `(B, n)`, to positions
    `(B, n, 3)`; padded nodes come out as zeros.

    Raises:
        TypeError: another group.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.3.

    >>> import torch
    >>> from torsor.build import FAGNN
    >>> x = {"positions": torch.randn(4, 5, 3), "velocities": torch.randn(4, 5, 3), "charges": torch.ones(4, 5, 1)}
    >>> FAGNN()(**x).shape
    torch.Size([4, 5, 3])
    """

    def __init__(
        self,
        group: E | SE = E(3),  # noqa: B008 (frozen)
        *,
        channels: int = 20,
        layers: int = 4,
        frame: FrameLike | None = None,
        samples: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(2, layers=layers)
        check_sizes(channels=channels)
        rotations, width = linear_part(group), group.n * channels
        pairs = {"edges": Scalar(per="edge"), "mask": Mask()}
        scene = {"positions": Point(), "velocities": Vector(), **pairs}
        lift = _First(2 * group.n, width, group.n)
        self.first = FrameAveraging(lift, Symmetry(group, scene, Vector()), frame, samples=samples)
        self.hidden = nn.ModuleList(
            FrameEquivariantLayer(_Layer(width), rotations, invariants=pairs, frame=frame, samples=samples)
            for _ in range(layers - 2)
        )
        readout = _Layer(width, group.n)
        self.last = FrameEquivariantLayer(readout, rotations, invariants=pairs, frame=frame, samples=samples)

    def forward(
        self,
        positions: Float[Tensor, "b n 3"],
        velocities: Float[Tensor, "b n 3"],
        charges: Float[Tensor, "b n 1"],
        mask: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n 3"]:
        """Positions later."""
        if charges.shape != (*positions.shape[:2], 1) or velocities.shape != positions.shape:
            raise ValueError(
                f"velocities and charges must be {tuple(positions.shape)} and {(*positions.shape[:2], 1)}; got"
                f" {tuple(velocities.shape)} and {tuple(charges.shape)}"
            )
        if mask is None:
            mask = torch.ones_like(positions[..., 0], dtype=torch.bool)
        else:  # padding may hold anything
            positions, velocities, charges = (
                x.masked_fill(~mask.unsqueeze(-1), 0) for x in (positions, velocities, charges)
            )
        distance = (positions.unsqueeze(2) - positions.unsqueeze(1)).square().sum(-1, keepdim=True)
        edges = torch.cat([charges.unsqueeze(2) * charges.unsqueeze(1), distance], -1)
        pairs = {"edges": edges, "mask": mask}
        h = self.first(positions, velocities, **pairs).flatten(-2)
        for layer in self.hidden:
            h = layer(h, **pairs)
        return (positions + self.last(h, **pairs)) * mask.unsqueeze(-1)


class _First(nn.Module):
    """Hidden vectors from positions and velocities."""

    def __init__(self, in_features: int, width: int, d: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(in_features, width)
        self.layer = _Layer(width)
        self.d = d

    def forward(self, positions: Tensor, velocities: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        h = self.encoder(torch.cat([positions, velocities], -1))
        return self.layer(h, edges, mask).unflatten(-1, (-1, self.d))


class _Layer(nn.Module):
    """A round of messages, with a residual; perhaps a perceptron behind it."""

    def __init__(self, width: int, out_features: int | None = None) -> None:
        super().__init__()
        self.round = Round(width, 2)
        self.decoder = MLP(width, out_features, width, layers=1) if out_features else nn.Identity()

    def forward(self, h: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        linked = mask.unsqueeze(1) & ~torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        return self.decoder(self.round(h, edges, linked.unsqueeze(-1).to(h.dtype)))

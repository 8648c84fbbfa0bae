"""Two small networks whose products are Gaunt products, with or without the bracket."""

import torch
from torch import Tensor, nn

from torsor.build.so3 import GauntConv, GauntProductBasis, Linear, Radial


class VectorNet(nn.Module):
    """A number from three vectors: scalars of order three, multiplied by a function of the scalars of order two.

    Without the bracket there is no pseudo-scalar, and what is left is a function of scalars.
    """

    def __init__(self, channels: int, bracket: bool) -> None:
        super().__init__()
        features = f"{channels}x1o"
        self.channels, self.bracket = channels, bracket
        self.mix = Linear("3x1o", features)
        kept = f"{channels}x0e+{channels}x0o" if bracket else f"{channels}x0e"
        self.basis = GauntProductBasis(features, kept, order=3, antisymmetric=bracket)
        self.readout = nn.Sequential(nn.Linear(channels, 32), nn.SiLU(), nn.Linear(32, channels if bracket else 1))

    def forward(self, vectors: Tensor) -> Tensor:
        found = self.basis(self.mix(vectors.flatten(1)))
        even = self.readout(found[:, : self.channels])
        return (even * found[:, self.channels :]).mean(1, keepdim=True) if self.bracket else even


class ShapeNet(nn.Module):
    """Logits from a set of points: two layers of messages between all pairs, products at each point, their sum."""

    def __init__(self, classes: int, channels: int, bracket: bool, reach: float) -> None:
        super().__init__()
        C = channels

        def irreps(lmax: int, pseudo: bool) -> str:
            signs = ("eo", "oe") if pseudo else ("eo",)
            return "+".join(f"{C}x{l}{sign[l % 2]}" for sign in signs for l in range(lmax + 1))

        self.channels, self.radial = C, Radial(reach)
        number = self.radial.number
        scalars, hidden = irreps(0, False), irreps(1, bracket)
        sums, ends = (irreps(2, False), hidden), (hidden, irreps(0, bracket))
        self.start = nn.Parameter(torch.randn(C))
        self.convs = nn.ModuleList(
            [
                GauntConv(scalars, 2, sums[0], number, zero_edge="zero"),
                GauntConv(hidden, 2, sums[1], number, antisymmetric="auto" if bracket else False),
            ]
        )
        bases = [GauntProductBasis(a, b, 3, antisymmetric=bracket) for a, b in zip(sums, ends)]
        self.bases = nn.ModuleList(bases)
        width = bases[1].irreps_out.dim()
        self.readout = nn.Sequential(nn.Linear(width + C, 32), nn.SiLU(), nn.Linear(32, classes))

    def forward(self, positions: Tensor) -> Tensor:
        B, n, _ = positions.shape
        source, target = (~torch.eye(n, dtype=torch.bool, device=positions.device)).nonzero().unbind(1)
        index = torch.stack([source, target]).unsqueeze(1) + n * torch.arange(B, device=positions.device)[:, None]
        index = index.flatten(1)
        points = positions.flatten(0, 1)
        vec = points[index[0]] - points[index[1]]
        radial = self.radial(vec.norm(dim=-1))
        h = self.start.expand(B * n, -1)
        kept = []
        for conv, basis in zip(self.convs, self.bases):
            h = basis(conv(h, index, vec, radial))
            kept.append(h)
        scalars = torch.cat([kept[0][:, : self.channels], kept[1]], 1)
        return self.readout(scalars.unflatten(0, (B, n)).mean(1))

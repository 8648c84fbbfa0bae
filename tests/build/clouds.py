"""Point clouds and networks that tests of frames share."""

import math

import torch
from torch import nn

from torsor import SO, Line, Point, Scalar, Symmetry, Tensor, Vector, _tree
from torsor.build.frames import PCAFrame, RobustFrame

DEGENERATE = {
    "cube": torch.tensor([[a, b, c] for a in (-1.0, 1) for b in (-1.0, 1) for c in (-1.0, 1)]),
    "octahedron": torch.cat([torch.eye(3), -torch.eye(3)]),
    "tetrahedron": torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
    "square": torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]),
    "isotropic": None,
    "line": torch.tensor([[0.0, 0, 0], [1, 1, 2], [2, 2, 4], [3, 3, 6], [-5, -5, -10]]),
    "coincident": torch.ones(4, 3),
}
"""Sets of points with repeated eigenvalues; only the non-zero repetitions leave principal axes undetermined."""


def degenerate(name: str) -> torch.Tensor:
    """One of the sets above in float64, `(n, 3)`."""
    if name != "isotropic":
        return DEGENERATE[name].double()
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x = x - x.mean(0)
    values, axes = torch.linalg.eigh(x.mT @ x)
    return x @ axes @ torch.diag(values.rsqrt())


class Backbone(nn.Module):
    """A network without any symmetry but that of permutations, with an output of every kind."""

    def __init__(self, kinds: str = "svpt", d: int = 3, hidden: int = 16) -> None:
        super().__init__()
        self.kinds, self.d = kinds, d
        self.pair = nn.Sequential(nn.Linear(2 * d, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, 1 + 2 * d + d * d)

    def forward(self, x, mask=None):
        n, d = x.shape[1], self.d
        pairs = torch.cat([x[:, :, None].expand(-1, -1, n, -1), x[:, None].expand(-1, n, -1, -1)], -1)
        weight = torch.ones_like(pairs[..., 0]) if mask is None else (mask[:, :, None] & mask[:, None]).to(x.dtype)
        mean = (self.head(self.pair(pairs)) * weight[..., None]).sum((1, 2)) / weight.sum((1, 2))[:, None]
        s, v, p, t = mean.split([1, d, d, d * d], -1)
        out = {"s": s[:, 0], "v": v, "p": p, "t": t.unflatten(-1, (d, d)), "l": v}
        return {kind: out[kind] for kind in self.kinds}


def all_signs(z: torch.Tensor, a: float, proper: bool) -> torch.Tensor:
    """The average of `sum_i exp(a sum_k z_ik)` over sign patterns in closed form, for `(n, d)` in its own axes."""
    cosh = (a * z).cosh().prod(-1)
    return (cosh + (a * z).sinh().prod(-1) * proper).sum()


HELIX = torch.tensor(
    [[math.cos(t), math.sin(t), 0.3 * t] for t in torch.linspace(0, 9, 24).tolist()], dtype=torch.float64
)

KINDS = {"s": Scalar(), "v": Vector(), "p": Point(), "t": Tensor(2), "l": Line()}
FRAMES = {
    "all": PCAFrame(),
    "skew": PCAFrame(signs="skew"),
    "robust": RobustFrame(),
    "fields": PCAFrame(fields=("x", "u")),
}


def symmetry(group, kinds="svpt", extra=None) -> Symmetry:
    return Symmetry(group, {"x": Point(), **(extra or {})}, {kind: KINDS[kind] for kind in kinds})


@torch.no_grad()
def error(model, sym: Symmetry, inputs, rounds: int = 3) -> dict[str, float]:
    """Largest |f(gx) - g f(x)| of each output over some random elements, relative to the terms that are averaged."""
    worst = dict.fromkeys(sym.output_names, 0.0)
    for _ in range(rounds):
        g = sym.sample(inputs)
        moved = sym.act(g, inputs)
        p, q = sym.call(model, moved), sym.act_output(g, sym.call(model, inputs), inputs)
        distances = _tree.leaves(sym.distance(p, q, moved))
        terms = _tree.leaves(sym.call(getattr(model, "net", model), moved))
        for name, distance, term in zip(sym.output_names, distances, terms, strict=True):
            worst[name] = max(worst[name], float(distance.max() / term.abs().max()))
    return worst


def degenerate_batch(name: str) -> torch.Tensor:
    """One of the sets above four times, turned and shifted, `(4, n, 3)`."""
    x = degenerate(name)
    turn = SO(3).sample(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x @ turn.mT + torch.randn(4, 1, 3, dtype=torch.float64)

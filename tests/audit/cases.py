"""One list of functions that are equivariant on paper. A new group or action joins by adding a line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torsor import Symmetry
from torsor.actions import (
    Batch,
    Edges,
    Irreps,
    Line,
    Mask,
    Nodes,
    Pairs,
    Point,
    PseudoScalar,
    PseudoVector,
    Scalar,
    Shared,
    T,
    Tensor,
    Vector,
)
from torsor.groups import (
    SE,
    SL,
    SO,
    Affine,
    Cyclic,
    Dihedral,
    E,
    GLPlus,
    Lorentz,
    O,
    Scaling,
    Sim,
    Symmetric,
    Translation,
    Trivial,
    U,
)

B, N = 6, 5


@dataclass(frozen=True)
class Case:
    """A symmetry, a function that has it, and inputs of a dtype."""

    name: str
    symmetry: Symmetry
    function: Callable[..., Any]
    inputs: Callable[[torch.dtype], Any]

    def __str__(self) -> str:
        return self.name


def normal(*shape: int, seed: int = 0) -> Callable[[torch.dtype], torch.Tensor]:
    def make(dtype: torch.dtype) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)

    return make


def every(*makers: Callable) -> Callable[[torch.dtype], tuple]:
    return lambda dtype: tuple(make(dtype) for make in makers)


CLOUD, VELOCITIES, CHARGES = normal(B, N, 3), normal(B, N, 3, seed=1), normal(B, N, 1, seed=2)
SCENE = every(CLOUD, VELOCITIES, CHARGES)
MASK = torch.arange(N) < torch.tensor([3, 5, 4, 1, 2, 5])[:, None]
NODE_SAMPLE = torch.arange(B).repeat_interleave(N)[MASK.flatten()]
SENDERS, RECEIVERS = torch.where(NODE_SAMPLE[:, None] == NODE_SAMPLE)


def repel(x, v, q):
    """Charged particles push each other away."""
    d = x.unsqueeze(-2) - x.unsqueeze(-3)
    weight = (q * q.mT).tanh() / (1 + d.square().sum(-1))
    return x + v * q + (weight.unsqueeze(-1) * d).sum(-2)


def masked(x, mask):
    real = mask.unsqueeze(-1).to(x.dtype)
    centre = (x * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
    away = (x - centre) * real
    return {"points": (centre + away * away.square().sum(-1, keepdim=True)) * real, "size": away.square().sum((1, 2))}


def ragged(x, batch, edge_index):
    i, j = edge_index
    push = torch.zeros_like(x).index_add(0, i, (x[i] - x[j]) / (1 + (x[i] - x[j]).square().sum(-1, keepdim=True)))
    return {"points": x + push, "size": x.new_zeros(B).index_add(0, batch, push.square().sum(-1))}


def products(u, v):
    cross = torch.linalg.cross(u, v)
    return {
        "cross": cross,
        "triple": (cross * u.roll(1, 1)).sum(-1),
        "outer": u.unsqueeze(-1) * v.unsqueeze(-2),
        "axis": -u,
    }


def lorentz(p):
    metric = torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=p.dtype)
    gram = torch.einsum("bni,i,bmi->bnm", p, metric, p)
    return gram, torch.einsum("bnm,bmi->bni", gram.tanh(), p)


def gate(x):
    scalars, vectors, tensors = x.split([2, 6, 5], -1)
    return torch.cat([scalars.tanh(), scalars[..., :1] * vectors, tensors * scalars[..., 1:]], -1)


def network(h, adjacency):
    return torch.tanh(adjacency @ h + h)


def spread(x):
    return x - x.mean(1, keepdim=True)


SPACE, PERMUTATIONS = (
    Symmetry(E(3), (Point(), Vector(), Scalar()), Point()),
    Symmetry(Symmetric(N), (Nodes(-2),) * 3, Nodes(-2)),
)

EXACT = [
    Case("E(3), charges", SPACE, repel, SCENE),
    Case("SE(3), charges", Symmetry(SE(3), (Point(), Vector(), Scalar()), Point()), repel, SCENE),
    Case("E(3) x S(5), charges", SPACE * PERMUTATIONS, repel, SCENE),
    Case(
        "E(3), masked",
        Symmetry(E(3), (Point(), Mask()), {"points": Point(), "size": Scalar(per="sample")}),
        masked,
        lambda dtype: (CLOUD(dtype) * MASK.unsqueeze(-1), MASK),
    ),
    Case(
        "E(3), ragged",
        Symmetry(
            E(3),
            {"x": Point(), "batch": Batch(), "edge_index": Edges()},
            {"points": Point(), "size": Scalar(per="sample")},
        ),
        ragged,
        lambda dtype: {
            "x": CLOUD(dtype)[MASK],
            "batch": NODE_SAMPLE,
            "edge_index": torch.stack([SENDERS, RECEIVERS]),
        },
    ),
    Case(
        "O(3), products",
        Symmetry(
            O(3),
            (Vector(), Vector()),
            {"cross": PseudoVector(), "triple": PseudoScalar(), "outer": Tensor(2), "axis": Line()},
        ),
        products,
        every(CLOUD, VELOCITIES),
    ),
    Case("SO(3), cross", Symmetry(SO(3), (Vector(), Vector()), Vector()), torch.linalg.cross, every(CLOUD, VELOCITIES)),
    Case("SO(3), irreps", Symmetry(SO(3), Irreps("2x0e+2x1o+1x2e"), Irreps("2x0e+2x1o+1x2e")), gate, normal(B, N, 13)),
    Case(
        "SO(2), rotate by 90 degrees",
        Symmetry(SO(2), Vector(), Vector()),
        lambda x: torch.stack([-x[..., 1], x[..., 0]], -1),
        normal(B, 2),
    ),
    Case("O(2), norms", Symmetry(O(2), Vector(), Scalar()), lambda x: x.norm(dim=-1), normal(B, N, 2)),
    Case("SE(2), centroid", Symmetry(SE(2), Point(), Point()), lambda x: x.mean(1), normal(B, N, 2)),
    Case("T(3), displacements", Symmetry(Translation(3), Point(), Vector()), spread, CLOUD),
    Case("scalings", Symmetry(Scaling(3), Vector(), Vector()), lambda x: x.norm(dim=1, keepdim=True) + x, CLOUD),
    Case(
        "Sim(2), normalised",
        Symmetry(Sim(2), Point(), Scalar()),
        lambda x: spread(x).norm(dim=-1) / spread(x).square().mean((1, 2)).sqrt().unsqueeze(-1),
        normal(B, N, 2),
    ),
    Case(
        "GL+(2), metric and its inverse",
        Symmetry(GLPlus(2), Tensor(0, 2), Tensor(2, 0)),
        lambda m: torch.linalg.inv(m),
        lambda dtype: normal(B, 2, 2)(dtype) + 3 * torch.eye(2, dtype=dtype),
    ),
    Case("SL(2), area", Symmetry(SL(2), Vector(), Scalar()), torch.linalg.det, normal(B, 2, 2)),
    Case("Aff(2), centroid", Symmetry(Affine(2), Point(), Point()), lambda x: x + spread(x) / 2, normal(B, N, 2)),
    Case("Lorentz, momenta", Symmetry(Lorentz(1, 3), Vector(), (Scalar(), Vector())), lorentz, normal(B, N, 4)),
    Case(
        "U(2), amplitudes",
        Symmetry(U(2), Vector(), Vector()),
        lambda z: z * z.abs().square().sum(-1, keepdim=True),
        lambda dtype: torch.complex(normal(B, 2)(dtype), normal(B, 2, seed=1)(dtype)),
    ),
    Case(
        "O(3), T(2)",
        Symmetry(O(3), T(2), T(2)),
        lambda m: (m.unflatten(-1, (3, 3)) @ m.unflatten(-1, (3, 3)).mT).flatten(-2),
        normal(B, 9),
    ),
    Case(
        "C5, plane",
        Symmetry(Cyclic(5), Vector(), Vector()),
        lambda x: x * x.square().sum(-1, keepdim=True),
        normal(B, N, 2),
    ),
    Case(
        "D6, plane",
        Symmetry(Dihedral(6), Vector(), Vector()),
        lambda x: x * x.square().sum(-1, keepdim=True),
        normal(B, N, 2),
    ),
    Case(
        "S(5), graph", Symmetry(Symmetric(N), (Nodes(-2), Pairs()), Nodes(-2)), network, every(CLOUD, normal(B, N, N))
    ),
    Case("trivial", Symmetry(Trivial(3), Vector(), Vector()), torch.sin, CLOUD),
    Case(
        "E(3), nested, shared",
        Symmetry(E(3), ({"pos": Point(), "x": [Scalar(), Vector()]}, Shared()), (Scalar(), [Point()])),
        lambda d, t: (spread(d["pos"]).square().sum((1, 2)) * t, [d["pos"] + d["x"][1] * d["x"][0]]),
        lambda dtype: (
            {"pos": CLOUD(dtype), "x": [CHARGES(dtype), VELOCITIES(dtype)]},
            torch.tensor(2.0, dtype=dtype),
        ),
    ),
    Case("O(3), module", Symmetry(O(3), Vector(), Vector()), nn.Identity(), CLOUD),
]

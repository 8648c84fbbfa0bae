"""Soft equivariance: the solver of equivariant maps against a dense SVD, the penalty against the network's own step."""

import torch

from benchmarks._harness import Row, milliseconds
from torsor.actions import Scalar, T, V
from torsor.actions._constraints import constraints
from torsor.actions._kernel import _solve
from torsor.groups import O, embed
from torsor.learn import Fixed, PERegularizer, SoftEMLP

BATCH, CHANNELS = 500, 128
CANDIDATES = tuple(embed(O(2), axes, 3) for axes in ((0, 1), (1, 2), (0, 2)))


def run() -> list[Row]:
    return [_solver(2, 15, bar=None), _solver(3, 1, bar=0.5), _penalty(), _memory()]


def _solver(rank: int, repeats: int, bar: float | None) -> Row:
    """All maps T(rank) -> T(rank) that commute with O(3)."""
    group, factors = O(3), rank * (V,)

    def by_svd() -> torch.Tensor:
        eye = torch.eye(3 ** (2 * rank), dtype=torch.float64)
        stacked = torch.cat([c.apply(eye) for c in constraints(group, factors, factors)])
        _, values, vectors = torch.linalg.svd(stacked, full_matrices=True)
        return vectors[int((values > 1e-9).sum()) :]

    ours, dense = milliseconds(
        lambda: _solve(group, factors, factors, "auto", None), by_svd, repeats=repeats, warmup=min(repeats, 2) - 1
    )
    unknowns = 3 ** (2 * rank)
    return Row(
        f"maps T{rank} -> T{rank} of O(3), {unknowns} unknowns", ours, dense, "dense SVD of the constraints", bar=bar
    )


def _network() -> tuple[SoftEMLP, PERegularizer]:
    net = SoftEMLP(5 * Scalar() + 5 * V, T(2), CANDIDATES, channels=CHANNELS, layers=3)
    return net, PERegularizer(net, strengths=Fixed(1.0))


def _penalty() -> Row:
    net, per = _network()
    x = torch.randn(BATCH, 20)

    def step() -> None:
        net.zero_grad()
        net(x).square().mean().backward()

    def penalty() -> None:
        net.zero_grad()
        per().backward()

    ours, own = milliseconds(penalty, step)
    what = f"penalty of three groups, forward and backward, batch {BATCH}"
    return Row(what, ours, own, "the network's own step", bar=0.4)


def _memory() -> Row:
    """What the penalty keeps for its backward pass, over the weights."""
    net, per = _network()
    kept = 0

    def pack(t: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        if t.numel() and not t.is_leaf:
            kept += t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        per()
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    mb = 2.0**20
    return Row("memory that the penalty keeps for its gradient", kept / mb, weights / mb, "the weights", "MB", bar=3.0)

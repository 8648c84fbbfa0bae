"""Frame averaging against the network itself, against the loop over frames, and against frame-averaging-pytorch."""

import warnings

import torch
from torch import nn

from benchmarks._harness import Row, milliseconds, peak_megabytes
from torsor import E, Point, Scalar, Symmetry, Vector
from torsor.build import FrameAveraging
from torsor.build.backbones import MessagePassing
from torsor.build.frames import PCAFrame

SCENES, POINTS = 256, 64


@torch.no_grad()
def run() -> list[Row]:
    return [*_perceptron(), *_message_passing(), _memory()]


def _perceptron() -> list[Row]:
    x = torch.randn(SCENES, POINTS, 3)
    net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 3))
    folded = x.repeat(8, 1, 1)
    symmetry = Symmetry(E(3), Point(), Point())
    every = FrameAveraging(net, symmetry)
    one = FrameAveraging(net, symmetry, PCAFrame(signs="skew"))
    known = every.frames(x)

    def loop() -> torch.Tensor:
        total = torch.zeros_like(x)
        for k in range(8):
            frame = known.columns(k, k + 1)
            z = frame.canonicalize(x, Point())[:, 0]
            total += frame.restore(net(z).unsqueeze(1), Point(), reduce=False)[:, 0] / 8
        return total

    peer = _peer(net)
    calls = [lambda: net(folded), lambda: every(x), lambda: every(x, frames=known), lambda: one(x), loop]
    plain, full, cached, single, looped, *theirs = milliseconds(
        *calls, *([lambda: peer(x)] if peer else []), repeats=31
    )
    rows = [
        Row("FrameAveraging, 8 frames, (256, 64, 3), MLP 3-64-3", full, plain, "the network on 8 copies", bar=1.25),
        Row("the same, frames computed before", cached, plain, "the network on 8 copies", bar=1.1),
        Row("the same, one canonical frame", single, full, "all 8 frames", bar=0.2),
        Row("the same, 8 frames", full, looped, "the loop over frames"),
    ]
    if theirs:
        rows.append(Row("the same, 8 frames", full, theirs[0], "frame-averaging-pytorch", bar=1.05))
    return rows


def _message_passing() -> list[Row]:
    x = {"positions": torch.randn(100, 5, 3), "velocities": torch.randn(100, 5, 3), "charges": torch.randn(100, 5, 1)}
    slots = {"positions": Point(), "velocities": Vector(), "charges": Scalar()}
    net = MessagePassing(hidden=72)
    symmetry = Symmetry(E(3), slots, Point())
    stochastic = FrameAveraging(net, symmetry, samples=1).train()
    every = FrameAveraging(net, symmetry)

    @torch.enable_grad()
    def step(model: nn.Module) -> None:
        model(**x).square().mean().backward()

    plain, sampled, full, plain_step, sampled_step = milliseconds(
        lambda: net(**x), lambda: stochastic(**x), lambda: every(**x), lambda: step(net), lambda: step(stochastic),
        repeats=61,
    )  # fmt: skip
    size = f"100 scenes, MPNN of {sum(p.numel() for p in net.parameters()) // 1000}k parameters"
    return [
        Row(f"stochastic frames, k = 1, {size}", sampled, plain, "one call", bar=1.25),
        Row("the same, forward and backward", sampled_step, plain_step, "one call, forward and backward", bar=1.25),
        Row("all 8 frames, the same network", full, plain, "one call"),
    ]


def _memory() -> Row:
    """Peak memory of the pass over all frames at once and one after another."""
    code = (
        "from torch import nn\nfrom torsor import E, Point, Symmetry\nfrom torsor.build import FrameAveraging\n"
        "net = nn.Sequential(nn.Linear(3, 256), nn.ReLU(), nn.Linear(256, 3))\n"
        "x = torch.randn(512, 256, 3)\n"
        "with torch.no_grad():\n"
        "    FrameAveraging(net, Symmetry(E(3), Point(), Point()), chunk={chunk})(x)\n"
    )
    return Row(
        "peak memory, chunk=1, (512, 256, 3), MLP 3-256-3",
        peak_megabytes(code.format(chunk=1)),
        peak_megabytes(code.format(chunk=None)),
        "all 8 frames at once",
        unit="MB",
        bar=0.25,
    )


def _peer(net: nn.Module) -> nn.Module | None:
    try:
        from frame_averaging_pytorch import FrameAverage
    except ImportError:
        return None
    warnings.filterwarnings("ignore", module="frame_averaging_pytorch")
    return FrameAverage(net, dim=3)

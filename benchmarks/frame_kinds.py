"""What each kind of frame costs: a PointNet averaged over it, against the same network called once."""

import torch

from benchmarks._harness import Row, milliseconds
from torsor import E, Point, Scalar, Symmetric, Symmetry, Translation
from torsor.actions import Nodes
from torsor.build import FrameAveraging
from torsor.build.backbones import PointNet
from torsor.build.frames import (
    LearnedFrame,
    MinimalFrame,
    PCAFrame,
    RobustFrame,
    SortFrame,
    TranslationFrame,
    VectorHead,
)

CLOUDS, POINTS = 64, 64


@torch.no_grad()
def run() -> list[Row]:
    x = torch.randn(CLOUDS, POINTS, 3)
    net = PointNet({"x": 3}, 1).eval()
    cloud = Symmetry(E(3), {"x": Point()}, Scalar(per="sample"))
    shifts = Symmetry(Translation(3), {"x": Point()}, Scalar(per="sample"))
    order = Symmetry(Symmetric(POINTS), {"x": Nodes(-2)}, Scalar(per="sample"))
    pca = PCAFrame(on_degenerate="ignore")
    averaged = {
        "TranslationFrame, 1 copy": FrameAveraging(net, shifts, TranslationFrame()),
        "SortFrame, 1 copy": FrameAveraging(net, order, SortFrame()),
        'PCAFrame(signs="skew"), 1 copy': FrameAveraging(net, cloud, PCAFrame(signs="skew")),
        "PCAFrame, samples=1, 1 copy in training": FrameAveraging(net, cloud, pca, samples=1).train(),
        "MinimalFrame, 1 copy": FrameAveraging(net, cloud, MinimalFrame()),
        "LearnedFrame(VectorHead(3)), 1 copy": FrameAveraging(net, cloud, LearnedFrame(VectorHead(3))),
        "PCAFrame, 8 copies": FrameAveraging(net, cloud, pca),
        'PCAFrame(on_degenerate="robust"), 8 copies': FrameAveraging(net, cloud),
        'PCAFrame(signs="soft"), 8 copies': FrameAveraging(net, cloud, PCAFrame(signs="soft")),
        f"RobustFrame, {_copies(cloud, x, RobustFrame())} copies": FrameAveraging(net, cloud, RobustFrame()),
    }
    pairs = {name: milliseconds(lambda f=f: f(x=x), lambda: net(x=x), repeats=15) for name, f in averaged.items()}
    return [Row(name, taken, once, "one call") for name, (taken, once) in pairs.items()]


def _copies(symmetry: Symmetry, x: torch.Tensor, frame: RobustFrame) -> int:
    """How many elements the largest of the frames has: each pair of outer points with eight patterns of signs."""
    return frame(symmetry, {"x": x}).weights.shape[1]

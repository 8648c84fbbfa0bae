"""What each kind of frame costs: a PointNet averaged over it, against the same network called once."""

import torch

from benchmarks._harness import Row, milliseconds
from torsor import E, Point, Scalar, Symmetric, Symmetry, Translation
from torsor.actions import Nodes
from torsor.build import FrameAveraging
from torsor.build.backbones import PointNet
from torsor.build.frames import LearnedFrame, PCAFrame, RobustFrame, SortFrame, TranslationFrame, VectorHead

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
        'LearnedFrame(VectorHead("x")), 1 copy': FrameAveraging(net, cloud, LearnedFrame(VectorHead("x"))),
        "PCAFrame, 8 copies": FrameAveraging(net, cloud, pca),
        'PCAFrame(on_degenerate="robust"), 8 copies': FrameAveraging(net, cloud),
        'PCAFrame(signs="soft"), 8 copies': FrameAveraging(net, cloud, PCAFrame(signs="soft")),
        f"RobustFrame, {8 * _pairs(x, RobustFrame())} copies": FrameAveraging(net, cloud, RobustFrame()),
    }
    once, *all_of_them = milliseconds(lambda: net(x=x), *[lambda f=f: f(x=x) for f in averaged.values()], repeats=15)
    return [Row(name, taken, once, "one call") for name, taken in zip(averaged, all_of_them, strict=True)]


def _pairs(x: torch.Tensor, frame: RobustFrame) -> int:
    """How many pairs of points the largest of the frames weighs, each with eight patterns of signs."""
    return FrameAveraging(torch.nn.Identity(), Symmetry(E(3), Point(), Point()), frame).frames(x).size // 8

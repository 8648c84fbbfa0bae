"""Models that have a symmetry by construction."""

from torsor.build import backbones, frames, points
from torsor.build.frames import FrameAveraging, GroupAverage
from torsor.build.points import FADGCNN, FAGNN, FALocalPointNet, FAPointNet, FrameEquivariantLayer

__all__ = [
    "FADGCNN",
    "FAGNN",
    "FALocalPointNet",
    "FAPointNet",
    "FrameAveraging",
    "FrameEquivariantLayer",
    "GroupAverage",
    "backbones",
    "frames",
    "points",
]

"""Models that have a symmetry by construction."""

from torsor.build import backbones, frames, graphs, points
from torsor.build.frames import FrameAveraging, GroupAverage
from torsor.build.graphs import FAGIN, FAMLP
from torsor.build.points import FADGCNN, FAGNN, FALocalPointNet, FAPointNet, FrameEquivariantLayer

__all__ = [
    "FADGCNN",
    "FAGIN",
    "FAGNN",
    "FAMLP",
    "FALocalPointNet",
    "FAPointNet",
    "FrameAveraging",
    "FrameEquivariantLayer",
    "GroupAverage",
    "backbones",
    "frames",
    "graphs",
    "points",
]

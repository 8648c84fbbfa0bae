"""Models on point clouds that have a symmetry of space by construction: plain networks averaged over frames."""

from torsor.build.points._clouds import FADGCNN, LOCAL_FRAME, FALocalPointNet, FAPointNet
from torsor.build.points._gnn import FAGNN, FrameEquivariantLayer
from torsor.build.points._patches import Patchwise, plane_fit

__all__ = [
    "FADGCNN",
    "FAGNN",
    "LOCAL_FRAME",
    "FALocalPointNet",
    "FAPointNet",
    "FrameEquivariantLayer",
    "Patchwise",
    "plane_fit",
]

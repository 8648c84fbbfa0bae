"""Models that have a symmetry by construction."""

from torsor.build import backbones, frames
from torsor.build.frames import FrameAveraging, GroupAverage

__all__ = ["FrameAveraging", "GroupAverage", "backbones", "frames"]

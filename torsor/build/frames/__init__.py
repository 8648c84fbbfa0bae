"""Frames, and networks averaged over them."""

from torsor.build.frames._averaging import FrameAveraging, GroupAverage, default_frame
from torsor.build.frames._frameset import Frame, FrameSet
from torsor.build.frames._pca import PCAFrame
from torsor.build.frames._robust import RobustFrame
from torsor.build.frames._simple import AllElements, ProductFrame, ScaleFrame, SortFrame, TranslationFrame

__all__ = [
    "AllElements",
    "Frame",
    "FrameAveraging",
    "FrameSet",
    "GroupAverage",
    "PCAFrame",
    "ProductFrame",
    "RobustFrame",
    "ScaleFrame",
    "SortFrame",
    "TranslationFrame",
    "default_frame",
]

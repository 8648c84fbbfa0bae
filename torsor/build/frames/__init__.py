"""Frames, and networks averaged over them."""

from torsor.build.frames._affine import AffineFrame
from torsor.build.frames._averaging import FrameAveraging, GroupAverage, default_frame
from torsor.build.frames._frameset import Frame, FrameSet
from torsor.build.frames._learned import LearnedFrame, VectorHead, prior_matching
from torsor.build.frames._lorentz import LorentzFrame
from torsor.build.frames._minimal import MinimalFrame
from torsor.build.frames._moments import PolarFrame
from torsor.build.frames._orders import CanonicalOrder, LaplacianOrder
from torsor.build.frames._pca import PCAFrame
from torsor.build.frames._permset import PermSet
from torsor.build.frames._precompute import precompute_frames
from torsor.build.frames._robust import RobustFrame
from torsor.build.frames._simple import AllElements, ProductFrame, ScaleFrame, SortFrame, TranslationFrame
from torsor.build.frames._unitary import UnitaryFrame

__all__ = [
    "AffineFrame",
    "AllElements",
    "CanonicalOrder",
    "Frame",
    "FrameAveraging",
    "FrameSet",
    "GroupAverage",
    "LaplacianOrder",
    "LearnedFrame",
    "LorentzFrame",
    "MinimalFrame",
    "PCAFrame",
    "PermSet",
    "PolarFrame",
    "ProductFrame",
    "RobustFrame",
    "ScaleFrame",
    "SortFrame",
    "TranslationFrame",
    "UnitaryFrame",
    "VectorHead",
    "default_frame",
    "precompute_frames",
    "prior_matching",
]

"""What a group element does to a tensor: actions, and the algebra of linear representations."""

from torsor.actions._action import Action, Element, apply_matrix, over_middle_axes
from torsor.actions._fields import Line, Point, PseudoScalar, PseudoVector, Tensor, act_on_points
from torsor.actions._image import Image, pixel_grid
from torsor.actions._joint import Jointly, jointly
from torsor.actions._layout import Batch, Edges, Layout, Mask, Shared
from torsor.actions._permutation import Nodes, Pairs
from torsor.actions._rep import Rep, Scalar, Vector

Displacement = Vector
"""The difference of two positions: moved as a vector."""

__all__ = [
    "Action",
    "Batch",
    "Displacement",
    "Edges",
    "Element",
    "Image",
    "Jointly",
    "Layout",
    "Line",
    "Mask",
    "Nodes",
    "Pairs",
    "Point",
    "PseudoScalar",
    "PseudoVector",
    "Rep",
    "Scalar",
    "Shared",
    "Tensor",
    "Vector",
    "act_on_points",
    "apply_matrix",
    "jointly",
    "over_middle_axes",
    "pixel_grid",
]

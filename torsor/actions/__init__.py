"""What a group element does to a tensor: actions, and the algebra of linear representations."""

from torsor.actions._action import Action, Element, apply_matrices, apply_matrix, over_middle_axes
from torsor.actions._basis import EquivariantBasis, equivariant_basis
from torsor.actions._fields import Line, Point, PseudoScalar, PseudoVector, Tensor, act_on_points
from torsor.actions._grid_rep import Grid
from torsor.actions._image import Image, pixel_grid
from torsor.actions._irreps import Irrep, Irreps
from torsor.actions._joint import Jointly, jointly
from torsor.actions._kernel import AmbiguousRank
from torsor.actions._layout import Batch, Edges, Layout, Mask, Shared
from torsor.actions._permutation import Nodes, Pairs
from torsor.actions._rep import Perm, Regular, Rep, Scalar, T, V, Vector
from torsor.actions._uniform import uniform_rep
from torsor.actions._wigner import spherical_harmonics, wigner_3j, wigner_D

Displacement = Vector
"""The difference of two positions: moved as a vector."""

__all__ = [
    "Action",
    "AmbiguousRank",
    "Batch",
    "Displacement",
    "Edges",
    "Element",
    "EquivariantBasis",
    "Grid",
    "Image",
    "Irrep",
    "Irreps",
    "Jointly",
    "Layout",
    "Line",
    "Mask",
    "Nodes",
    "Pairs",
    "Perm",
    "Point",
    "PseudoScalar",
    "PseudoVector",
    "Regular",
    "Rep",
    "Scalar",
    "Shared",
    "T",
    "Tensor",
    "V",
    "Vector",
    "act_on_points",
    "apply_matrices",
    "apply_matrix",
    "equivariant_basis",
    "jointly",
    "over_middle_axes",
    "pixel_grid",
    "spherical_harmonics",
    "uniform_rep",
    "wigner_3j",
    "wigner_D",
]

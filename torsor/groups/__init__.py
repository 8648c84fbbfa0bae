"""Which transformations there are: groups, their Haar measures, exponentials, logarithms and decompositions."""

from torsor.groups import linalg, measure
from torsor.groups._affine import SE, Affine, AffineGroup, E, SAffine, SemidirectProduct, Sim, Translation
from torsor.groups._conformal import Conformal
from torsor.groups._decompositions import KAK, LQ, QR, Levi, Polar
from torsor.groups._embed import Embedding, embed
from torsor.groups._errors import LogDomainError, NonCompactError, NotInGroupError
from torsor.groups._finite import Cyclic, Dihedral, FiniteGroup, FiniteMatrices, Trivial
from torsor.groups._group import Element, Group
from torsor.groups._isometries import Lorentz, Sp
from torsor.groups._linear import GL, SL, GLPlus, Scaling
from torsor.groups._matrix import GroupOfMatrices
from torsor.groups._matrix_group import MatrixGroup, join
from torsor.groups._orthogonal import SO, O
from torsor.groups._product import DirectProduct
from torsor.groups._projective import Projective2D
from torsor.groups._subgroup import Subgroup
from torsor.groups._symmetric import Symmetric
from torsor.groups._unitary import SU, U

__all__ = [
    "GL",
    "KAK",
    "LQ",
    "QR",
    "SE",
    "SL",
    "SO",
    "SU",
    "Affine",
    "AffineGroup",
    "Conformal",
    "Cyclic",
    "Dihedral",
    "DirectProduct",
    "E",
    "Element",
    "Embedding",
    "FiniteGroup",
    "FiniteMatrices",
    "GLPlus",
    "Group",
    "GroupOfMatrices",
    "Levi",
    "LogDomainError",
    "Lorentz",
    "MatrixGroup",
    "NonCompactError",
    "NotInGroupError",
    "O",
    "Polar",
    "Projective2D",
    "SAffine",
    "Scaling",
    "SemidirectProduct",
    "Sim",
    "Sp",
    "Subgroup",
    "Symmetric",
    "Translation",
    "Trivial",
    "U",
    "embed",
    "join",
    "linalg",
    "measure",
]

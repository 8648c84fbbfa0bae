"""Which transformations there are: groups, their Haar measures, exponentials, logarithms and decompositions."""

from torsor.groups import linalg
from torsor.groups._affine import SE, Affine, AffineGroup, E, Translation
from torsor.groups._errors import LogDomainError, NonCompactError, NotInGroupError
from torsor.groups._finite import Cyclic, Dihedral, Symmetric, Trivial
from torsor.groups._group import Element, Group
from torsor.groups._linear import GLPlus
from torsor.groups._orthogonal import SO, O
from torsor.groups._product import DirectProduct

__all__ = [
    "SE",
    "SO",
    "Affine",
    "AffineGroup",
    "Cyclic",
    "Dihedral",
    "DirectProduct",
    "E",
    "Element",
    "GLPlus",
    "Group",
    "LogDomainError",
    "NonCompactError",
    "NotInGroupError",
    "O",
    "Symmetric",
    "Translation",
    "Trivial",
    "linalg",
]

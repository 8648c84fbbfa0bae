"""Symmetry for models on geometric data: find it, build it, learn it, audit it, study it.

The root exports the language (groups, actions, `Symmetry`) and the verbs as modules:

>>> import torsor
>>> from torsor import E, Point, Symmetry, Vector
>>> Symmetry(E(3), inputs=(Point(), Vector()), output=Point()).group.name
'E(3)'

Everything is imported on first use, so that `import torsor` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_GROUPS = (
    "GLPlus O SE SL SO Affine Cyclic Dihedral DirectProduct E Lorentz MatrixGroup Scaling SemidirectProduct Sim "
    "Symmetric Translation Trivial"
).split()
_ACTIONS = (
    "Batch Displacement Edges Image Irreps Line Mask Nodes Pairs Point PseudoScalar PseudoVector Scalar Shared "
    "Tensor Vector"
).split()
_HOME = {
    **dict.fromkeys(_GROUPS, "torsor.groups"),
    **dict.fromkeys(_ACTIONS, "torsor.actions"),
    "Symmetry": "torsor.symmetry",
}
_MODULES = "actions audit build data find groups learn persistence study symmetry testing".split()

if TYPE_CHECKING:
    from torsor import actions, audit, build, data, find, groups, learn, persistence, study, symmetry, testing
    from torsor.actions import (
        Batch,
        Displacement,
        Edges,
        Image,
        Irreps,
        Line,
        Mask,
        Nodes,
        Pairs,
        Point,
        PseudoScalar,
        PseudoVector,
        Scalar,
        Shared,
        Tensor,
        Vector,
    )
    from torsor.groups import (
        SE,
        SL,
        SO,
        Affine,
        Cyclic,
        Dihedral,
        DirectProduct,
        E,
        GLPlus,
        Lorentz,
        MatrixGroup,
        O,
        Scaling,
        SemidirectProduct,
        Sim,
        Symmetric,
        Translation,
        Trivial,
    )
    from torsor.symmetry import Symmetry

__all__ = [
    "SE",
    "SL",
    "SO",
    "Affine",
    "Batch",
    "Cyclic",
    "Dihedral",
    "DirectProduct",
    "Displacement",
    "E",
    "Edges",
    "GLPlus",
    "Image",
    "Irreps",
    "Line",
    "Lorentz",
    "Mask",
    "MatrixGroup",
    "Nodes",
    "O",
    "Pairs",
    "Point",
    "PseudoScalar",
    "PseudoVector",
    "Scalar",
    "Scaling",
    "SemidirectProduct",
    "Shared",
    "Sim",
    "Symmetric",
    "Symmetry",
    "Tensor",
    "Translation",
    "Trivial",
    "Vector",
    "actions",
    "audit",
    "build",
    "data",
    "find",
    "groups",
    "learn",
    "persistence",
    "study",
    "symmetry",
    "testing",
]


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _MODULES:
        try:
            value = import_module(f"torsor.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"torsor.{name}":
                raise
            raise AttributeError(f"module 'torsor' has no attribute {name!r}") from error
    else:
        raise AttributeError(f"module 'torsor' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})

"""Models of other people: files and objects that become callables on tensors, without running anything from a file."""

from torsor.audit.targets._ase import ase_target, make_calculator
from torsor.audit.targets._export import export_target
from torsor.audit.targets._load import load
from torsor.audit.targets._numpy import on_arrays
from torsor.audit.targets._onnx import onnx_target
from torsor.audit.targets._sklearn import sklearn_target
from torsor.audit.targets._target import Target

__all__ = [
    "Target",
    "ase_target",
    "export_target",
    "load",
    "make_calculator",
    "on_arrays",
    "onnx_target",
    "sklearn_target",
]

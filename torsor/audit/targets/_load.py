"""Which adapter a name on the command line means."""

from inspect import Parameter, isclass, signature
from pathlib import Path
from typing import Any

from torch import nn

from torsor._imports import import_path
from torsor.audit.targets._ase import ase_target
from torsor.audit.targets._chunks import one_by_one
from torsor.audit.targets._export import export_target
from torsor.audit.targets._numpy import on_arrays
from torsor.audit.targets._onnx import onnx_target
from torsor.audit.targets._sklearn import is_estimator, sklearn_target
from torsor.audit.targets._target import Target, of_callable

_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin", ".dill", ".cloudpickle")
_WEIGHTS = (".safetensors", ".npz", ".npy", ".h5")


def load(name: str, *, arrays: bool = False, single: bool = False) -> Target:
    """The model that a name on the command line means.

    `model.onnx` (extra `onnx`), `model.pt2` of `torch.export.save`, `ase:module:Calculator(arguments)` or a named one
    such as `ase:emt` (extra `molecules`), or an import path `package.module:name` to a function, a module, a fitted
    estimator of scikit-learn, or what makes one of these: classes and functions without arguments are called, and so
    is whatever the path ends with `()`. A module or function of one's own runs; nothing from a file does.

    Arguments:
        name: what to load.
        arrays: the callable takes NumPy arrays.
        single: the model takes one sample, without a batch axis; a module then counts as a plain callable.

    Raises:
        ValueError: a pickle, a file of weights alone, or a name that means nothing that can be audited.
        ImportError: an extra is missing; names it.

    >>> load("torch:sin").kind
    'callable'
    >>> load("model.pkl")
    Traceback (most recent call last):
    ...
    ValueError: 'model.pkl' is a pickle, and unpickling runs whatever its author wrote into it. ...
    """
    suffix = Path(name).suffix.lower()
    if suffix == ".onnx":
        return onnx_target(name, single=single)
    if suffix == ".pt2":
        return export_target(name, single=single)
    if suffix in _PICKLES:
        raise ValueError(
            f"{name!r} is a pickle, and unpickling runs whatever its author wrote into it. Save the model with"
            " torch.export.save (.pt2) or as ONNX; or keep weights as safetensors and name what builds the model and"
            " loads them, as in my_model:build"
        )
    if suffix in _WEIGHTS:
        raise ValueError(
            f"{name!r} holds arrays and no model: name what builds the model and loads them, as in my_model:build"
        )
    if name.startswith("ase:"):
        return ase_target(name)
    return _imported(name, arrays, single)


def _imported(name: str, arrays: bool, single: bool) -> Target:
    called = name.endswith("()")
    found = import_path(name.removesuffix("()"))
    ready = isinstance(found, nn.Module) or is_estimator(found)
    if called or isclass(found) or (not ready and _takes_nothing(found)):
        found = found()
    if is_estimator(found):
        return sklearn_target(name, found)
    if not callable(found):
        raise ValueError(f"{name!r} must name a function, a module or what makes one; got {type(found).__name__}")
    if single:
        found = one_by_one(on_arrays(found) if arrays else found)
        return Target(name, "arrays" if arrays else "callable", found, gradient=not arrays)
    return Target(name, "arrays", on_arrays(found)) if arrays else of_callable(name, found)


def _takes_nothing(function: Any) -> bool:
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return all(p.default is not Parameter.empty for p in parameters if p.kind not in kinds) and not any(
        p.kind in kinds for p in parameters
    )

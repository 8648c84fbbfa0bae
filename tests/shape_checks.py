"""Shapes in signatures are checked while the tests run, by jaxtyping and beartype, and cost nothing elsewhere.

jaxtyping's own import hook wraps every function for good, and `torch.compile(fullgraph=True)` cannot see through such a
wrapper even when its checks are disabled. This hook wraps the annotated functions and methods of a package once a
module was executed, builds the checked twin on the first call, and asks one flag at each call which of the two to use:
with the flag off nothing of jaxtyping or beartype remains on the path.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any

import beartype
import jaxtyping

# An int is a float to every type checker (PEP 484); beartype has to be told.
TYPECHECKER = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


class Switch:
    on = True


def checked(function: FunctionType) -> Callable:
    """The function with its annotations checked on every call while the switch is on."""

    def twin() -> Callable:
        if "checked" not in built:
            built["checked"] = jaxtyping.jaxtyped(function, typechecker=TYPECHECKER)
        return built["checked"]

    built: dict[str, Callable] = {}

    @functools.wraps(function)
    def choose(*args, **kwargs):
        __tracebackhide__ = True
        if Switch.on:
            return twin()(*args, **kwargs)
        return function(*args, **kwargs)

    return choose


def check(home: ModuleType | type, module: str) -> None:
    """Replace the functions that `module` defines in `home`, a module or one of its classes, by checked ones."""
    for name, value in list(vars(home).items()):
        if isinstance(value, type) and value.__module__ == module and value is not home:
            if value.__qualname__ == getattr(home, "__qualname__", "") + "." * isinstance(home, type) + name:
                check(value, module)
        elif (replacement := _checked_attribute(value, module)) is not None:
            setattr(home, name, replacement)


def _checked_attribute(value: Any, module: str) -> Any:
    if isinstance(value, staticmethod | classmethod) and _is_checkable(value.__func__, module):
        return type(value)(checked(value.__func__))
    if isinstance(value, property) and value.fget is not None and _is_checkable(value.fget, module):
        return value.getter(checked(value.fget))
    return checked(value) if _is_checkable(value, module) else None


def _is_checkable(value: Any, module: str) -> bool:
    if not isinstance(value, FunctionType) or value.__module__ != module or not value.__annotations__:
        return False
    return not hasattr(value, "__wrapped__")  # a decorator such as contextmanager returns something else than annotated


class _CheckingLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        check(module, module.__name__)


class _Finder(MetaPathFinder):
    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.package and not fullname.startswith(self.package + "."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _CheckingLoader(spec.loader.name, spec.loader.path)
        return spec


def install(package: str) -> None:
    """Check the shapes of everything that is imported from `package` from now on."""
    if any(name == package or name.startswith(package + ".") for name in sys.modules):
        raise RuntimeError(f"{package} was imported before its shape checks were installed")
    sys.meta_path.insert(0, _Finder(package))


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """No checks inside this context."""
    before, Switch.on = Switch.on, False
    try:
        yield
    finally:
        Switch.on = before

"""Python that a user names on the command line or in a study file of their own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def import_path(path: str, folder: str | Path = ".") -> Any:
    """What an import path such as `my_model:build` names; modules are also looked for in `folder`.

    Raises:
        ValueError: if the path cannot be read, or names nothing.

    >>> import_path("math:sqrt")(9.0)
    3.0
    """
    module, name = _split(path)
    with _searching(folder):
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise ValueError(f"{path!r}: there is no module {error.name!r} on the path or in {folder}") from None
    try:
        return reduce(getattr, name.split("."), found)
    except AttributeError:
        raise ValueError(f"{path!r}: module {module!r} has no {name!r}") from None


def source_digest(path: str, folder: str | Path = ".") -> str:
    """A hash of the file of the module that an import path names: edited code is a new configuration."""
    module, _ = _split(path)
    with _searching(folder):
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return sha256(Path(spec.origin).read_bytes()).hexdigest()[:20]


def _split(path: str) -> tuple[str, str]:
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"import path {path!r} must look like 'package.module:name'")
    return module, name


@contextmanager
def _searching(folder: str | Path) -> Iterator[None]:
    """`folder` is the first place where modules are looked for."""
    entry = str(Path(folder).absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)

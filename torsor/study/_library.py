"""The studies that come with torsor, and those that users bring."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from torsor.study._protocol import Record, Study
from torsor.study._store import Store
from torsor.study._words import nearest


def builtin_names() -> list[str]:
    """The names of the builtin studies.

    >>> from torsor.study import builtin_names
    >>> "nbody" in builtin_names()
    True
    """
    from torsor.study import builtin

    found = [module.name for module in iter_modules(builtin.__path__) if not module.name.startswith("_")]
    return sorted(name.replace("_", "-") for name in found)


def builtin_study(name: str) -> Study:
    """The builtin study of a name.

    Raises:
        ValueError: if there is none; lists those that there are.

    >>> from torsor.study import builtin_study
    >>> builtin_study("nbody").name
    'nbody'
    """
    known = builtin_names()
    if name not in known:
        raise ValueError(f"there is no study {name!r}{nearest(name, known)}; builtin: {', '.join(known)}")
    return import_module(f"torsor.study.builtin.{name.replace('-', '_')}").study


def find_study(target: str) -> Study:
    """A builtin study by its name, or the user's own by the path of its file.

    Raises:
        ValueError: there is neither such a study nor such a file, or the file cannot be used.
    """
    if Path(target).suffix == ".toml" or Path(target).is_file():
        from torsor.study._own import OwnStudy

        return OwnStudy.read(target)
    return builtin_study(target)


def recorded(study: Study, scale: str, folder: Path) -> list[Record]:
    """What a results folder knows of the trials of a study; nothing if it has no results."""
    if not (folder / "results.sqlite").exists():
        return []
    store = Store(folder)
    return [store.record(trial) for trial in study.trials(scale)]

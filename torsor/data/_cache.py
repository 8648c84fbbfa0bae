"""Arrays that are costly to make, kept in a folder of the user with a checksum beside them."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from torsor.data import _durable

logger = logging.getLogger("torsor.data")

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """Where generated data are kept: `$TORSOR_CACHE`, else `torsor` in the cache folder of the system's convention.

    >>> os.environ["TORSOR_CACHE"] = "/somewhere"
    >>> cache_folder().as_posix()
    '/somewhere'
    >>> del os.environ["TORSOR_CACHE"]
    """
    if own := os.environ.get("TORSOR_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torsor"


def grown(path: Path, size: int, make: Callable[[int, int], Arrays]) -> Arrays:
    """The first `size` rows of arrays that are kept in a `.npz` file, which grows when more are asked for than it has.

    The file is written whole or not at all, with `NAME.sha256` beside it. A file that is damaged is renamed to
    `NAME.corrupt` with a logged warning, and its rows are made again. Processes that want the same file wait for each
    other instead of making it twice.

    Arguments:
        path: the file.
        size: how many rows.
        make: `make(start, stop)` gives these rows of every array.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        kept = _load(path)
        have = len(next(iter(kept.values()))) if kept else 0
        if have < size:
            new = make(have, size)
            kept = {name: np.concatenate([kept[name], rows]) if kept else rows for name, rows in new.items()}
            _save(path, kept)
    assert kept is not None
    return {name: rows[:size] for name, rows in kept.items()}


def _load(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    seal = _seal(path)
    expected = seal.read_text().strip() if seal.exists() else "nothing: the checksum is missing"
    if (found := _durable.checksum(path)) != expected:
        aside = _durable.set_aside(path)
        logger.warning(
            "%s is damaged: its SHA-256 is %s, not %s. Kept as %s; making it again", path, found, expected, aside
        )
        return None
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _save(path: Path, arrays: Arrays) -> None:
    def fill(part: Path) -> None:
        with open(part, "wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        # The seal goes first: a kill between the two leaves the old file under a new seal, which counts as damaged,
        # and never a new file that nobody has checked.
        _durable.write(_seal(path), lambda seal: seal.write_text(_durable.checksum(part) + "\n"))

    _durable.write(path, fill)


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")

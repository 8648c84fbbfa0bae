"""Files that are whole or not there, that know when they were damaged, and that are never thrown away then."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a file beside `path`, and put it in place once it is whole.

    A process that is killed meanwhile leaves `path` as it was. Another `fill` never sees the same temporary file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "a.txt", lambda part: part.write_text("whole"))
    ...     [found.name for found in Path(folder).iterdir()]
    ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fill(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "empty").write_bytes(b"")
    ...     checksum(Path(folder) / "empty")[:16]
    'e3b0c44298fc1c14'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to `NAME.corrupt`, or `NAME.corrupt-2` and so on, and say where it is now.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         _ = (Path(folder) / "a").write_text("damaged")
    ...         set_aside(Path(folder) / "a").name
    'a.corrupt'
    'a.corrupt-2'
    """
    aside, count = path.with_name(f"{path.name}.corrupt"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.corrupt-{count}")
    return path.rename(aside)

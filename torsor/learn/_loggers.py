"""Where the numbers of each epoch go: loggers and the progress bar."""

import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torsor.data import _durable


@runtime_checkable
class Logger(Protocol):
    """What `fit` tells the numbers of each epoch: `log(values)`, where `values["epoch"]` counts from 1.

    Optional: `on_fit_start(history)` before the first epoch, with the epochs that a resumed training has behind it;
    `close()` after the last. Loggers of Lightning, which have `log_metrics(metrics, step)`, are taken as they are.
    """

    def log(self, values: Mapping[str, Any]) -> None:
        """Called after every epoch."""
        ...


class CSVLogger:
    """One row per epoch in a CSV file. A resumed training goes on in the same file, without gaps or repetition.

    Arguments:
        path: of the file; folders are made.

    >>> import tempfile, pathlib
    >>> from torsor import learn
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> logger = learn.CSVLogger(path)
    >>> logger.on_fit_start([])
    >>> logger.log({"epoch": 1, "train": 0.5})
    >>> path.read_text().split()
    ['epoch,train', '1,0.5']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_fit_start(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Start the file, with the epochs that are done."""
        self._write(history)

    def log(self, values: Mapping[str, Any]) -> None:
        """Append a row; a number that was not there before gets a column of its own."""
        if not set(values) <= set(self._columns):
            rows: list[Mapping[str, Any]] = []
            if self.path.exists():
                with self.path.open(newline="") as file:
                    rows = list(csv.DictReader(file))
            self._write([*rows, values])
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(values)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._columns = list(dict.fromkeys(name for row in rows for name in row))

        def fill(part: Path) -> None:
            with part.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                if self._columns:
                    writer.writeheader()
                writer.writerows(rows)

        _durable.write(self.path, fill)


class TensorBoardLogger:
    """Scalars for TensorBoard, one per number and epoch. Needs the extra `torsor[tensorboard]`.

    Arguments:
        folder: the log directory.

    Raises:
        ImportError: tensorboard is not installed; says how to get it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoardLogger needs tensorboard: pip install torsor[tensorboard]") from error
        self._make = SummaryWriter
        self.folder = Path(folder)
        self._writer: Any = None

    def on_fit_start(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Open the log; steps after the last epoch of `history` are hidden, as they are made again."""
        self._writer = self._make(str(self.folder), purge_step=len(history) + 1)

    def log(self, values: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch."""
        for name, value in values.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, int(values["epoch"]))

    def close(self) -> None:
        """Write out what is pending."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def shown(visible: bool, epochs: int, done: int):
    """A progress bar on stderr, as a function to call after every epoch."""
    if not visible:
        yield lambda entry: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} epochs"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs, completed=done)

        def show(entry: Mapping[str, Any]) -> None:
            words = " ".join(f"{key} {entry[key]:.4g}" for key in ("train", "valid") if key in entry)
            bar.update(task, completed=entry["epoch"], description=words)

        yield show


@contextmanager
def logged(loggers: Sequence[Any], history: Sequence[Mapping[str, Any]]):
    """All loggers, opened, as one function to call after every epoch; closed whatever happens."""
    for logger in loggers:
        if callable(begin := getattr(logger, "on_fit_start", None)):
            begin(history)

    def log(entry: Mapping[str, Any]) -> None:
        for logger in loggers:
            if hasattr(logger, "log"):
                logger.log(entry)
            else:
                logger.log_metrics({key: value for key, value in entry.items() if key != "epoch"}, entry["epoch"])

    try:
        yield log
    finally:
        for logger in loggers:
            if callable(end := getattr(logger, "close", None) or getattr(logger, "save", None)):
                end()

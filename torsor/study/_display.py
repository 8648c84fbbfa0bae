"""What a run tells on stderr: bars on a terminal, lines elsewhere."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from torsor.study._protocol import Record, Trial
from torsor.study._runner import Display

_MARKS = {"done": "[green]done[/]", "skipped": "[yellow]skipped[/]", "failed": "[red]failed[/]"}


class ConsoleDisplay(Display):
    """Progress bars on a terminal; one line per trial where there is none, so that a log stays readable."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._count = self._ended = 0

    def __enter__(self) -> "ConsoleDisplay":
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def begin(self, trials: Sequence[Trial]) -> None:
        self._count = len(trials)
        self.console.print(f"{self._count} trials")

    def update(self, trial: Trial, share: int | float, words: str) -> None:
        if trial.key not in self._tasks:
            self._tasks[trial.key] = self._progress.add_task(_title(trial), total=1.0, words="")
        self._progress.update(self._tasks[trial.key], completed=share, words=escape(words))

    def end(self, record: Record) -> None:
        task = self._tasks.pop(record.trial.key, None)
        if task is not None:
            self._progress.remove_task(task)
        self._ended += 1
        seconds = "" if record.seconds is None else f" {record.seconds:.1f} s"
        reason = f": {escape(record.reason)}" if record.reason else ""
        place = f"[{self._ended}/{self._count}]"
        line = f"{escape(place)} {_title(record.trial)} {_MARKS.get(record.status, record.status)}{seconds}{reason}"
        self.console.print(line, highlight=False, soft_wrap=True)

    def warn(self, words: str) -> None:
        self.console.print(f"[yellow]{escape(words)}[/]", soft_wrap=True)


def _title(trial: Trial) -> str:
    return f"{escape(trial.name)}, seed {trial.seed}"

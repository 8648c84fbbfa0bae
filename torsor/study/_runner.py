"""Runs the trials of a study: each an independent job on an executor, none twice, none lost."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from typing import Any

from torsor.study._allocator import keep_freed_memory
from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Table
from torsor.study._protocol import SCALES, Record, SkippedError, Study, Trial, Workspace
from torsor.study._store import Store

_POLL = 0.25  # seconds between two looks at what others do
_TRACE_LINES = 30


@dataclass(frozen=True)
class StudyResult:
    """What `run_study` gives: the records, the ledger, the answer and where the page is."""

    study: str
    scale: str
    page: Path
    records: tuple[Record, ...]
    claims: tuple[Claim, ...]
    answer: Answer
    tables: tuple[Table, ...]

    @property
    def complete(self) -> bool:
        """True if every trial ended, or was skipped for a stated reason."""
        return all(record.status == "done" or (record.status == "skipped" and record.reason) for record in self.records)

    def to_json(self) -> dict[str, Any]:
        """The object that `torsor study --json` prints."""
        return {
            "study": self.study,
            "scale": self.scale,
            "page": str(self.page),
            "trials": [record.to_json() for record in self.records],
            "claims": [claim.to_json() for claim in self.claims],
        }


def run_study(
    study: Study,
    scale: str = "desk",
    folder: str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    workers: int | None = None,
    on: str = "local",
    fresh: bool = False,
    display: "Display | None" = None,
    command: str = "",
) -> StudyResult:
    """Run what is still to run of a study, and write its page.

    Finished trials are read from `folder/results.sqlite` and not run again; trials that were cut off go on from their
    checkpoint. Several processes may work on one folder at a time.

    Arguments:
        study: the study.
        scale: "smoke" (seconds), "desk" (minutes) or "paper".
        folder: where results go; default `results/NAME`.
        seeds: replace the study's own.
        workers: 1 runs in this process, more in as many local processes; by default what the study says.
        on: "local", or "ray" for a Ray cluster whose machines share `folder`.
        fresh: run finished trials again; their old rows are kept under another key.
        display: told what happens; silent by default.
        command: how to run the study again, for the page.

    Raises:
        ValueError: unknown scale or executor, workers below one, two trials that are the same, what the study refuses.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}")
    if workers is None:
        workers = min(study.workers(scale), os.cpu_count() or 1)
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    display = display or Display()
    folder = Path(folder if folder is not None else Path("results") / study.name).absolute()
    trials = tuple(study.trials(scale, seeds))
    if len({trial.key for trial in trials}) < len(trials):
        raise ValueError(f"study {study.name!r} has two trials with the same name, seed and configuration")
    store = Store(folder, warn=display.warn)
    if fresh:
        store.forget(trials)
    if any(store.record(trial).status != "done" for trial in trials):
        study.check(scale)
    with _executor(on, workers, len(trials)) as executor:
        _run_all(study, trials, store, executor, display)
    records = tuple(store.record(trial) for trial in trials)
    claims = tuple(study.claims(records, scale))
    from torsor.study._page import write_page

    page = write_page(study, scale, records, folder / f"{study.name}-{scale}.html", command=command)
    answer, tables = study.answer(records, scale), tuple(study.tables(records, scale))
    return StudyResult(study.name, scale, page, records, claims, answer, tables)


class Display:
    """What a run tells: silent here; the command line draws it."""

    def begin(self, trials: Sequence[Trial]) -> None:
        """The run begins."""

    def update(self, trial: Trial, share: int | float, words: str) -> None:
        """A trial is under way."""

    def end(self, record: Record) -> None:
        """A trial has ended, now or in an earlier run."""

    def warn(self, words: str) -> None:
        """Something that the user should know."""


def _run_all(study: Study, trials: Sequence[Trial], store: Store, executor: Executor, display: Display) -> None:
    display.begin(trials)
    here = isinstance(executor, _Here)
    waiting = list(trials)
    running: dict[Future[bool], Trial] = {}
    while waiting or running:
        for trial in list(waiting):
            record = store.record(trial)
            if record.status == "done":
                waiting.remove(trial)
                display.end(record)
            elif record.status != "running" and not (here and running):
                waiting.remove(trial)
                tell = _tell_both(store, display, trial) if here else None
                running[executor.submit(_job, study, trial, store.folder, tell)] = trial
        finished, _ = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
        for future in finished:
            trial = running.pop(future)
            try:
                ended = future.result()
            except BrokenExecutor as error:
                display.warn(f"a worker process died (out of memory?); the same command goes on from here: {error}")
                return
            if ended:
                display.end(store.record(trial))
            else:
                waiting.append(trial)  # another process has it: look again until that process ends
        if waiting and not running:
            time.sleep(_POLL)
        for trial in (*running.values(), *waiting):
            share, words = store.progress(trial.key)
            if share or words:
                display.update(trial, share, words)


def _job(study: Study, trial: Trial, folder: Path, tell: Callable[[int | float, str], None] | None) -> bool:
    """Run one trial and commit its end; False if another process has it."""
    store = Store(folder)
    with store.claim(trial) as mine:
        if not mine:
            return False
        space = Workspace(folder, trial.key, tell or store.teller(trial.key))
        began = time.perf_counter()
        status, reason, metrics = "done", "", {}
        try:
            metrics = study.run(trial, space)
        except SkippedError as error:
            status, reason = "skipped", str(error)
        except Exception as error:
            trace = traceback.format_exc().strip().splitlines()[-_TRACE_LINES:]
            status, reason = "failed", f"{type(error).__name__}: {error}"
            metrics = {"trace": "\n".join(trace)}
        store.finish(trial, status, metrics, reason, time.perf_counter() - began)
        if status != "failed":
            rmtree(space.checkpoint, ignore_errors=True)
        return True


def _tell_both(store: Store, display: Display, trial: Trial) -> Callable[[int | float, str], None]:
    note = store.teller(trial.key)

    def tell(share: int | float, words: str) -> None:
        note(share, words)
        display.update(trial, share, words)

    return tell


class _Here(Executor):
    """Runs each job at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Ray(Executor):
    """Runs each job as a Ray task."""

    def __init__(self) -> None:
        try:
            ray = import_module("ray")
        except ImportError:
            raise ValueError("on='ray' needs Ray, which is not installed: pip install 'torsor[ray]'") from None
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        self._task = ray.remote(lambda fn, args, kwargs: fn(*args, **kwargs))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._task.remote(fn, args, kwargs).future()


@contextmanager
def _executor(on: str, workers: int, jobs: int) -> Any:
    if on == "ray":
        executor: Executor = _Ray()
    elif on != "local":
        raise ValueError(f"on must be 'local' or 'ray'; got {on!r}")
    elif workers == 1:
        executor = _Here()
    else:
        threads = max(1, (os.cpu_count() or 1) // workers)
        executor = ProcessPoolExecutor(
            max(1, min(workers, jobs)), get_context("spawn"), initializer=_enter_worker, initargs=(threads, os.getpid())
        )
    try:
        yield executor
    except BaseException:
        for process in list((getattr(executor, "_processes", None) or {}).values()):
            process.terminate()  # or leaving Python would wait until their trials end
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _enter_worker(threads: int, parent: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    torch.set_num_threads(threads)
    keep_freed_memory()
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process when the one that started it is gone: a killed study must not go on behind the user's back."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)

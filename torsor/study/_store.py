"""`results.sqlite`: every trial of a results folder, and the right to run it.

A trial is claimed by an operating-system lock on a file of its own, so a process that is killed gives it back at once,
and by a row, so that everybody sees its state. Its result is committed in one transaction.
"""

import json
import math
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from torsor.study import _environment
from torsor.study._protocol import Record, Trial

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE trials (
    key TEXT PRIMARY KEY, study TEXT NOT NULL, name TEXT NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, metrics TEXT NOT NULL, versions TEXT NOT NULL, commit_id TEXT NOT NULL,
    owner TEXT NOT NULL, attempts INTEGER NOT NULL, share REAL NOT NULL, words TEXT NOT NULL,
    started TEXT NOT NULL, ended TEXT NOT NULL, seconds REAL)
"""
_COLUMNS = "status, reason, metrics, versions, commit_id, started, ended, seconds"
_REPORT_EVERY = 0.5  # seconds between two notes on the progress of a trial


class Store:
    """The results of a folder.

    Arguments:
        folder: made if it is not there. A `results.sqlite` that cannot be read is renamed, never overwritten.
        warn: called with one sentence when that happens.
    """

    def __init__(self, folder: str | Path, warn: Callable[[str], None] = lambda words: None) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "results.sqlite"
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "locks" / "results.lock"):
            try:
                self._prepare()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and not _is_unreadable(error):
                    raise
                aside = self._set_aside()
                warn(f"{self.path} cannot be read ({error}); it is kept as {aside.name} and a new one is begun")
                self._prepare()

    def record(self, trial: Trial) -> Record:
        """What is known of a trial; "running" means that a live process has it."""
        with self._connect() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM trials WHERE key = ?", (trial.key,)).fetchone()
        if row is None:
            return Record(trial, "waiting")
        status, reason, metrics, versions, commit, started, ended, seconds = row
        if status == "running" and not self._is_locked(trial.key):
            status, reason = "waiting", "interrupted"
        return Record(trial, status, reason, json.loads(metrics), json.loads(versions), commit, started, ended, seconds)

    def progress(self, key: str) -> tuple[float, str]:
        """The share done of a trial, and the words that it gave."""
        with self._connect() as db:
            return db.execute("SELECT share, words FROM trials WHERE key = ?", (key,)).fetchone() or (0.0, "")

    def attempts(self, trial: Trial) -> int:
        """How often a trial was started."""
        with self._connect() as db:
            row = db.execute("SELECT attempts FROM trials WHERE key = ?", (trial.key,)).fetchone()
        return row[0] if row else 0

    @contextmanager
    def claim(self, trial: Trial) -> Iterator[bool]:
        """Hold a trial while it runs: True if it is ours to run, False if another process has it or has finished it."""
        lock = FileLock(self._lock(trial.key))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            mine = self.record(trial).status != "done"
            if mine:
                self._begin(trial)
            yield mine
        finally:
            lock.release()

    def finish(self, trial: Trial, status: str, metrics: dict[str, Any], reason: str, seconds: float) -> None:
        """Commit the end of a trial, whole or not at all."""
        with self._connect() as db:
            db.execute(
                "UPDATE trials SET status=?, reason=?, metrics=?, ended=?, seconds=?, share=1 WHERE key=?",
                (status, reason, json.dumps(_plain(metrics), allow_nan=False), _now(), seconds, trial.key),
            )

    def teller(self, key: str) -> Callable[[int | float, str], None]:
        """A function that notes the progress of a trial, at most twice a second."""
        last = -math.inf

        def tell(share: int | float, words: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _REPORT_EVERY:
                last = now
                with self._connect() as db:
                    db.execute("UPDATE trials SET share=?, words=? WHERE key=?", (share, words, key))

        return tell

    def forget(self, trials: Sequence[Trial]) -> None:
        """Set finished results aside, so that the trials run again; their rows stay in the file under another key."""
        with self._connect() as db:
            for trial in trials:
                db.execute(
                    "UPDATE trials SET key = key || '~' || hex(randomblob(4)), status = 'superseded' WHERE key = ?",
                    (trial.key,),
                )

    def _begin(self, trial: Trial) -> None:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        facts = (json.dumps(_environment.versions()), _environment.commit(), owner, _now())
        with self._connect() as db:
            db.execute(
                "INSERT INTO trials VALUES (?,?,?,?,?,'running','','{}',?,?,?,1,0,'',?,'',NULL)"
                " ON CONFLICT(key) DO UPDATE SET status='running', reason='', metrics='{}', versions=excluded.versions,"
                " commit_id=excluded.commit_id, owner=excluded.owner, attempts=attempts+1, share=0, words='',"
                " started=excluded.started, ended='', seconds=NULL",
                (trial.key, trial.study, trial.name, trial.seed, json.dumps(trial.config, sort_keys=True), *facts),
            )

    def _lock(self, key: str) -> Path:
        return self.folder / "locks" / f"{key}.lock"

    def _is_locked(self, key: str) -> bool:
        lock = FileLock(self._lock(key))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        return False

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            yield db

    def _prepare(self) -> None:
        with self._connect() as db:
            (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if health != "ok":
                raise sqlite3.DatabaseError(health)
            (found,) = db.execute("PRAGMA user_version").fetchone()
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found not in (0, _SCHEMA_VERSION) or (found == 0 and tables):
                raise sqlite3.DatabaseError(f"it was not written by this version of torsor: schema {found}")
            db.execute("PRAGMA journal_mode=WAL")
            if not tables:
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def _set_aside(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        aside = self.path.with_name(f"{self.path.name}.unreadable-{stamp}-{os.getpid()}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        return aside


def _is_unreadable(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""What every study is: trials that can be run one by one, and what is concluded from their records."""

import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table

if TYPE_CHECKING:
    from torch import nn

SCALES = ("smoke", "desk", "paper")


class SkippedError(Exception):
    """Raised by a trial or a treatment that cannot run here, with the reason in words; not a failure."""


@dataclass(frozen=True)
class Trial:
    """One job of a study.

    Arguments:
        study: the name of the study.
        name: the row of the table that it belongs to, such as "augmented".
        seed: its seed.
        config: all that decides the result, as JSON values. A changed configuration is a new trial.

    >>> from torsor.study import Trial
    >>> a = Trial("demo", "plain", 0, {"epochs": 3})
    >>> a.key == Trial("demo", "plain", 0, {"epochs": 3}).key, a.key == Trial("demo", "plain", 0, {"epochs": 4}).key
    (True, False)
    """

    study: str
    name: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The hash of everything above: the identity of the trial in `results.sqlite`."""
        whole = {"study": self.study, "name": self.name, "seed": self.seed, "config": self.config}
        return hashlib.sha256(json.dumps(whole, sort_keys=True, allow_nan=False).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Record:
    """What became of a trial: `status` is "done", "skipped", "failed", "running" or "waiting"."""

    trial: Trial
    status: str
    reason: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    started: str = ""
    ended: str = ""
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One flat dictionary of JSON values."""
        trial = self.trial
        return {
            "name": trial.name,
            "seed": trial.seed,
            "key": trial.key,
            "config": dict(trial.config),
            "status": self.status,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "versions": dict(self.versions),
            "commit": self.commit,
            "started": self.started,
            "ended": self.ended,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Workspace:
    """What a running trial may write to: a checkpoint that outlives a kill, its weights, and a word on its progress.

    Arguments:
        folder: the results folder of the study.
        key: the key of the trial.
        tell: called with the share done (0 to 1) and a few words.
    """

    folder: Path
    key: str
    tell: Callable[[int | float, str], None] = lambda share, words: None

    @property
    def checkpoint(self) -> Path:
        """Where the trial keeps its state while it trains; removed when it ends."""
        return self.folder / "checkpoints" / self.key

    @property
    def weights(self) -> Path:
        """Where the weights of the trial go."""
        return self.folder / "weights" / f"{self.key}.safetensors"

    def save(self, model: "nn.Module") -> None:
        """Write the weights as safetensors: whole or not at all."""
        from safetensors.torch import save_model

        self.weights.parent.mkdir(parents=True, exist_ok=True)
        part = self.weights.with_suffix(f".part{os.getpid()}")
        save_model(model, str(part))
        part.replace(self.weights)


class Study(ABC):
    """A question, the trials that answer it, and the claims that are tested on the way.

    A subclass says what its trials are and runs one of them; the runner does the rest (processes, results, page). It
    must be picklable, since trials may run in other processes. All conclusions are functions of the records, which
    may lack any trial: `claims([], scale)` is the ledger before anything was measured.

    >>> from torsor.study import Study, Trial
    >>> class Coin(Study):
    ...     name, question = "coin", "Is the coin fair?"
    ...     def trials(self, scale, seeds=None):
    ...         return [Trial("coin", "toss", seed) for seed in seeds or range(3)]
    ...     def run(self, trial, space):
    ...         return {"heads": trial.seed % 2}
    >>> [Coin().run(trial, None)["heads"] for trial in Coin().trials("smoke")]
    [0, 1, 0]
    """

    name: str
    question: str
    paper: int | None = None  # its row in `torsor papers`

    @abstractmethod
    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> Sequence[Trial]:
        """The trials of a scale, with other seeds than its own if given."""

    @abstractmethod
    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        """The metrics of one trial, as JSON values.

        Raises:
            SkippedError: if the trial cannot run here.
        """

    def check(self, scale: str) -> None:  # noqa: B027, as most studies have nothing to refuse
        """Refuse what no trial could run with, before the first one starts. Default: nothing to refuse.

        Raises:
            ValueError: with what has to change.
        """

    def workers(self, scale: str) -> int:
        """How many local processes its trials make good use of; 1 runs them in the process that asks."""
        return 1

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        """The ledger: every claim of the paper, measured or not."""
        return []

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        """The figures of the page."""
        return []

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        """The tables of the page, the main one first. Default: the mean of every number, row by row."""
        return [means(records)]

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        """The answer in words. Default: how many trials ended and how many claims hold."""
        claims = self.claims(records, scale)
        tested = [claim for claim in claims if claim.holds is not None]
        if not tested:
            return Answer(f"{len(done(records))} of {len(records)} trials ended.")
        broken = tuple(f"Does not hold: {claim.text}" for claim in tested if not claim.holds)
        return Answer(f"{len(tested) - len(broken)} of {len(tested)} tested claims hold.", broken)


def done(records: Iterable[Record], name: str | None = None) -> list[Record]:
    """The records of finished trials, of one row if named."""
    return [record for record in records if record.status == "done" and name in (None, record.trial.name)]


def values(records: Iterable[Record], name: str, key: str) -> list[float]:
    """The finite numbers that finished trials of a row have under a key."""
    found = [record.metrics.get(key) for record in done(records, name)]
    return [float(x) for x in found if isinstance(x, int | float) and math.isfinite(x)]


def mean(records: Iterable[Record], name: str, key: str) -> float | None:
    """The mean over the trials of a row; None where there is none."""
    found = values(records, name, key)
    return math.fsum(found) / len(found) if found else None


def names(records: Iterable[Record]) -> list[str]:
    """The rows, in the order of their first trial."""
    return list(dict.fromkeys(record.trial.name for record in records))


def means(records: Sequence[Record], caption: str = "Mean over the trials") -> Table:
    """The mean of every number that the trials have, row by row."""
    keys = dict.fromkeys(
        key
        for record in done(records)
        for key, value in record.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    columns = (Column("name", "trial"), *(Column(key, key.replace("_", " ")) for key in keys))
    rows = tuple({"name": name} | {key: mean(records, name, key) for key in keys} for name in names(records))
    return Table(caption, columns, rows)

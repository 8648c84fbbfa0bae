"""A study whose trials leave a mark in a file when they begin and when they end, for tests that count and kill."""

import os
import signal
import sys
import time
from pathlib import Path

from torsor.study import Claim, Figure, SkippedError, Study, Trial, run_study


class Marks(Study):
    """Trials that take a moment; some are skipped or fail on demand."""

    name, question = "marks", "Does every trial run once?"

    def __init__(self, log: Path, count: int = 4, seconds: float = 0.0, bad: str = "") -> None:
        self.log, self.count, self.seconds, self.bad = Path(log), count, seconds, bad

    def trials(self, scale, seeds=None):
        return [Trial("marks", f"row {i % 2}", i, {"scale": scale}) for i in (seeds or range(self.count))]

    def run(self, trial, space):
        self.mark("begin", trial)
        for step in range(10):
            space.tell(step / 10, f"step {step}")
            time.sleep(self.seconds / 10)
        if trial.seed == 1 and self.bad == "skip":
            raise SkippedError("there is no second coin")
        if trial.seed == 1 and self.bad == "fail":
            raise RuntimeError("the second coin is broken")
        if trial.seed == 1 and self.bad == "die":
            os._exit(9)
        self.mark("end", trial)
        return {"heads": trial.seed % 2, "pid": os.getpid(), "nothing": float("nan")}

    def mark(self, what, trial):
        with self.log.open("a") as file:
            file.write(f"{what} {trial.seed}\n")

    def seeds(self, what):
        """The seeds of the trials that left a mark, in order."""
        if not self.log.exists():
            return []
        pairs = [line.split() for line in self.log.read_text().splitlines() if line.endswith(tuple("0123456789"))]
        return sorted(int(seed) for word, seed in pairs if word == what)

    def claims(self, records, scale):
        return [Claim("Coins are fair.", "everybody", 0.5, None, "= 0.5", None, scale)]

    def figures(self, records, scale):
        trace = {"type": "scatter", "mode": "lines+markers", "name": "coin", "x": [1, 2, 3], "y": [0, 1, 0]}
        return [Figure("Coins", "Heads come up.", [trace])]


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which a suite run in the background has inherited ignored
    folder, log, count, seconds, workers = sys.argv[1:]
    result = run_study(Marks(Path(log), int(count), float(seconds)), "smoke", folder, workers=int(workers))
    sys.exit(0 if result.complete else 1)

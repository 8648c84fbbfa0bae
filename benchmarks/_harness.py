"""How everything here is measured: alternating repeats on fixed threads, medians, a ratio against a named peer.

A benchmark is a module with a function `run() -> list[Row]`; `python -m benchmarks` finds it by its place.
"""

import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

THREADS = 1


@dataclass(frozen=True)
class Row:
    """One comparison: what was measured, what the named peer needs for the same, and the bar for their ratio."""

    what: str
    ours: float
    peer: float
    peer_name: str
    unit: str = "ms"
    bar: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def holds(self) -> bool | None:
        return None if self.bar is None else self.ratio <= self.bar

    def record(self) -> dict:
        return {**asdict(self), "ratio": self.ratio, "holds": self.holds}


def milliseconds(*calls: Callable[[], object], repeats: int = 15, warmup: int = 3) -> list[float]:
    """Median wall time of each call in ms. The calls take turns, so that a busy machine burdens all of them alike."""
    import torch

    torch.set_num_threads(THREADS)
    for call in calls:
        for _ in range(warmup):
            call()
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for call, taken in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                taken.append(1e3 * (time.perf_counter() - start))
    finally:
        gc.enable()
    return [statistics.median(taken) for taken in times]


PEAK = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""
"""Defines the peak of resident memory in bytes, on Linux. `ru_maxrss` would begin at that of the parent process."""


def peak_megabytes(code: str) -> float:
    """Peak resident memory in MB of a fresh interpreter that runs `code`, less what importing torch alone takes."""
    report = f"\n{PEAK}\nprint(peak())"
    lean, full = (fresh_python(part + report) for part in ("import torch", "import torch\n" + code))
    return (float(full) - float(lean)) / 1e6


def fresh_python(code: str) -> str:
    """What a new interpreter prints last when it runs `code`, on the fixed number of threads."""
    prelude = f"import os; os.environ['OMP_NUM_THREADS'] = '{THREADS}'\n"
    done = subprocess.run([sys.executable, "-c", prelude + code], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line each."""
    lines = []
    for row in rows:
        verdict = "" if row.bar is None else f"  bar {row.bar:g}x: {'holds' if row.holds else 'MISSED'}"
        lines.append(
            f"{row.what:<58} {row.ours:>10.4g} {row.unit:<3} {row.ratio:>7.2f}x {row.peer_name} "
            f"({row.peer:.4g} {row.unit}){verdict}"
        )
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Where the numbers come from."""
    import torch

    return {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": THREADS,
    }


def to_json(results: dict[str, Sequence[Row]]) -> str:
    """All results and the machine that gave them."""
    rows = [{"benchmark": name, **row.record()} for name, found in results.items() for row in found]
    return json.dumps({**machine(), "rows": rows}, indent=2)

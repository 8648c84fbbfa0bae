"""Importing torsor, and its whole language, against importing torch."""

import os
import statistics
import subprocess
import sys
import time

from benchmarks._harness import THREADS, Row

REPEATS = 7
STATEMENTS = {
    "peer": "import torch",
    "import torsor": "import torch, torsor",
    "from torsor import E, Symmetry, Point": "from torsor import E, Symmetry, Point",
    "import torsor.build, torsor.audit": "import torsor.build, torsor.audit",
}


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs the statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env={**os.environ, "OMP_NUM_THREADS": str(THREADS)})
    return time.perf_counter() - start


def run() -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():  # files into the page cache, bytecode onto the disk
        seconds(statement)
    for _ in range(REPEATS):
        for name, statement in STATEMENTS.items():
            times[name].append(1e3 * seconds(statement))
    median = {name: statistics.median(taken) for name, taken in times.items()}
    peer = median.pop("peer")
    return [Row(name, taken, peer, "import torch", bar=1.2) for name, taken in median.items()]

"""Excursion laws against the O(n^2) recurrence, against direct simulation, and against RIND of WAFO."""

import time

import numpy as np
import torch
from scipy.signal import lfilter

from benchmarks._harness import Row, milliseconds
from torsor.persistence import SechDiffusion, SquaredExponential, iia, simulate_exponent
from torsor.persistence._renewal import renew

# measured in an environment of its own (numpy 2.2, Numba fallback), CPU time at the fastest setting: RIND of py3wafo
# 0.4.0 at 61 points of the density of the squared exponential
RIND_SECONDS = 1.2
ONE_PERCENT = 0.01


def run() -> list[Row]:
    return [*_solver(), _simulation(), _rind()]


def _solver() -> list[Row]:
    rows = []
    for n, repeats in ((4096, 15), (16_000, 7)):
        t = torch.linspace(0, 60, n, dtype=torch.float64)
        F_X = 1 - t / torch.expm1(t**2).sqrt()
        F_X[0] = 0
        w = F_X.diff().numpy()
        c = 0.5 * (w + np.append(w[1:], 0))
        denominator, source = np.concatenate([[1 - w[0] / 4], -c / 2]), 0.5 * F_X.numpy()

        def recurrence(denominator=denominator, source=source, n=n):
            # 1 / a(z) applied to the source: the recurrence of a recursive filter with n coefficients
            return lfilter([1.0], denominator[:n], source)

        assert float(np.abs(renew(0.5 * F_X, F_X).numpy() - recurrence()).max()) < 1e-12
        ours, peer = milliseconds(lambda F_X=F_X: renew(0.5 * F_X, F_X), recurrence, repeats=repeats, warmup=1)
        bar = 1 / 8 if n == 16_000 else None
        rows.append(Row(f"renewal equation, n = {n}", ours, peer, "the O(n^2) recurrence (scipy lfilter)", bar=bar))
    t = torch.linspace(0, 60, 1 << 18, dtype=torch.float64)
    F_X = 1 - t / torch.expm1(t**2).sqrt()
    F_X[0] = 0
    big, small = milliseconds(lambda: renew(0.5 * F_X, F_X), lambda: renew(0.5 * F_X[:4096], F_X[:4096]), repeats=3)
    rows.append(Row("renewal equation, n = 262144", big, small, "n = 4096"))
    return rows


def _simulation() -> Row:
    """What a run of simulation costs, scaled to the samples that give an error of one per cent; both in CPU time."""
    cov = SechDiffusion(2)

    taken, errors = [], []
    for seed in range(3):
        start = time.process_time()
        found = simulate_exponent(
            cov, n_samples=1 << 25, generator=torch.Generator().manual_seed(seed), dtype=torch.float32
        )
        taken.append(time.process_time() - start)
        errors.append(found.stderr / found.value)
    needed = (float(np.median(errors)) / ONE_PERCENT) ** 2
    law = []
    for _ in range(15):
        start = time.process_time()
        float(iia(cov).exponent)
        law.append(1e3 * (time.process_time() - start))
    return Row(
        "law and exponent of diffusion, d = 2, CPU", float(np.median(law)), 1e3 * float(np.median(taken)) * needed,
        "simulation to 1 % of the exponent", bar=1 / 100,
    )  # fmt: skip


def _rind() -> Row:
    t = torch.linspace(0, 12, 61, dtype=torch.float64)
    cov = SquaredExponential()
    taken = []
    for _ in range(15):
        start = time.process_time()
        iia(cov).pdf(t)
        taken.append(1e3 * (time.process_time() - start))
    return Row(
        "density at 61 points, squared exponential, CPU", float(np.median(taken)), 1e3 * RIND_SECONDS,
        "RIND of py3wafo 0.4.0, recorded", bar=1 / 50,
    )  # fmt: skip

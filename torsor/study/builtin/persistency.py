"""How long stationary processes keep their sign: excursion laws from the covariance alone, against simulation.

Source: Bengtsson, Podgórski 2024 (arXiv 2401.01805).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, Study, Trial, Workspace, done

if TYPE_CHECKING:
    from torch import Tensor

    from torsor.persistence import Covariance

# name -> exact exponent, or what the literature says, and the bar for the relative error of the approximation
PROCESSES = {
    "diffusion, d = 1": (None, 0.1205, (0.0, 0.01)),
    "diffusion, d = 2": (3 / 16, 3 / 16, (0.0, 0.01)),
    "diffusion, d = 3": (None, 0.2382, (0.0, 0.025)),
    "random acceleration": (1 / 4, 1 / 4, (0.04, 0.08)),
    "squared exponential": (None, None, (0.0, 0.025)),
    "Matérn 3/2": (None, None, (0.04, 0.08)),
    "Matérn 5/2": (None, None, (0.0, 0.01)),
}
CERTIFICATES, EXPONENTS, SLEPIAN = "certificates", "exponents", "Slepian simulation"
TABLE = {  # the root of the integral equation, by an independent computation to 12 digits
    "diffusion, d = 1": 0.120327978842,
    "diffusion, d = 2": 0.186210712979,
    "diffusion, d = 3": 0.235774477540,
    "diffusion, d = 4": 0.276914508963,
    "diffusion, d = 5": 0.312777001658,
    "diffusion, d = 6": 0.344959440662,
    "diffusion, d = 10": 0.451334684981,
    "random acceleration": 0.264668571132,
    "squared exponential": 0.411497153976,
    "Matérn 3/2": 0.583179282602,
    "Matérn 5/2": 0.489766299363,
    "Matérn 7/2": 0.462620142187,
}
# name -> (whether E_0 is monotone, whether the law is valid)
VALID = {
    **{f"exp(-t²/2) cos({a:g} t)": (a < 0.5, a < 2) for a in (0.2, 0.5, 1.0, 2.0, 3.0)},
    **{f"damped oscillator, w = {w:g}": (False, w < 8) for w in (0.5, 1.0, 2.0, 4.0, 8.0)},
    "two lengths, 0.1 and 1": (False, True),
    "sin(t) / t": (False, False),
}
_PATHS, _LENGTH, _STEP = 8, 1 << 17, 0.02  # of a batch; the step in units of lambda2^-1/2
_CHUNK = 4  # batches at a time
_WINDOW = (3.0, 6.0)  # mean intervals
_TIMES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
_RECORDED = (0.8789, 0.6015, 0.3899, 0.2605, 0.1723, 0.1142)
_THETA, _KS, _SF, _DIGITS = 0.0015, 0.02, 0.012, 1e-10
_PAPER = "Bengtsson, Podgórski 2024 (arXiv 2401.01805)"
_MC = "torsor, simulation"


class Persistency(Study):
    """Seven processes: the exponent and the law of the approximation, and exact simulation of the process itself."""

    name = "persistency"
    question = "How long does a stationary process keep its sign, and how far can independent intervals be trusted?"
    paper = 14

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        batches = {"smoke": 1, "desk": 600, "paper": 1200}[scale]
        length = 1 << 14 if scale == "smoke" else _LENGTH
        paths = 2000 if scale == "smoke" else 200_000
        config = {"batches": batches, "length": length, "step": _STEP, "window": list(_WINDOW)}
        found = [Trial(self.name, EXPONENTS, 0), Trial(self.name, CERTIFICATES, 0, {"n": 16384})]
        for seed in (0,) if seeds is None else seeds:
            found.append(Trial(self.name, SLEPIAN, seed, {"paths": paths}))
            found += [Trial(self.name, process, seed, config) for process in PROCESSES]
        return found

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if trial.name == EXPONENTS:
            return _exponents()
        if trial.name == CERTIFICATES:
            return _certificates(trial.config["n"])
        if trial.name == SLEPIAN:
            return _slepian(trial.config["paths"], trial.seed)
        return _simulation(trial, space)

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (
            Column("name", "process"),
            Column("theta_iia", "θ, approximation", digits=5),
            Column("theta_mc", "θ, simulation", digits=5),
            Column("stderr", "its error", digits=2),
            Column("theta_extrapolated", "for vanishing steps", digits=5),
            Column("exact", "θ, exact", digits=5),
            Column("relative", "error of the approximation", "%", digits=2),
            Column("ks", "largest difference of the laws", digits=2),
            Column("excursions", "excursions", digits=3),
            Column("certificate", "certificate"),
        )
        rows = []
        for name, (exact, _, _) in PROCESSES.items():
            metrics = _metrics(records, name)
            if metrics:
                relative = 100 * _relative(metrics, exact)
                rows.append({**metrics, "name": name, "exact": exact, "relative": relative})
        found = [Table("Persistency exponents, in units of the input's time, and excursion laws", columns, tuple(rows))]
        certificates = _metrics(records, CERTIFICATES)
        if certificates:
            columns = (
                Column("name", "covariance"),
                Column("rise", "rise of the clipped Slepian mean"),
                Column("status", "certificate"),
                Column("first", "first negative density at"),
            )
            rows = [{"name": name, **row} for name, row in certificates["rows"].items()]
            found.append(Table("Covariances that are not monotone, or have such means", columns, tuple(rows)))
        slepian = _metrics(records, SLEPIAN)
        if slepian:
            columns = (Column("t", "t"), Column("simulated", "simulated"), Column("law", "approximation", digits=4))
            rows = [
                {"t": t, "simulated": s, "law": p}
                for t, s, p in zip(_TIMES, slepian["simulated"], slepian["law"], strict=True)
            ]
            found.append(
                Table("Survival of the squared exponential, by paths of the Slepian model", columns, tuple(rows))
            )
        return found

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        traces = []
        for index, name in enumerate(PROCESSES):
            metrics = _metrics(records, name)
            if not metrics:
                continue
            common = {"type": "scatter", "x": metrics["curve_t"], "legendgroup": name}
            color = f"c{index}"
            points = {"mode": "markers", "name": name, "marker": {"size": 5, "color": color}}
            line = {"mode": "lines", "showlegend": False, "name": name, "line": {"color": color, "width": 2}}
            positive = [s if s > 0 else None for s in metrics["curve_simulated"]]
            traces += [common | points | {"y": positive}, common | line | {"y": metrics["curve_law"]}]
        if not traces:
            return []
        layout = {
            "xaxis": {"title": {"text": "length over its mean"}},
            "yaxis": {"type": "log", "exponentformat": "power", "title": {"text": "share of longer excursions"}},
        }
        words = "Points: exact simulation. Lines: the independent interval approximation, from the covariance alone."
        return [Figure("Excursion laws against simulation", words, traces, layout)]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        simulated = {name: m for name in PROCESSES if (m := _metrics(records, name))}
        enough = scale != "smoke"  # a smoke run has too few excursions for the bars

        def claim(text: str, source: str, paper: Any, measured: Any, bar: str, holds: bool | None) -> Claim:
            return Claim(text, source, paper, measured, bar, None if measured is None else holds, scale)

        found = []
        table = _metrics(records, EXPONENTS)
        error = table.get("error")
        found.append(
            claim(
                "The integral equation gives the exponents of twelve processes to ten digits.",
                "torsor, independent computation to 12 digits", None, error, f"<= {_DIGITS:g}",
                error is not None and error <= _DIGITS,
            )
        )  # fmt: skip
        for name, (exact, _, _) in PROCESSES.items():
            if exact is not None:
                m = simulated.get(name)
                holds = m is not None and abs(m["theta_mc"] - exact) <= _THETA
                text = f"Simulation reaches the exact exponent of {_the(name)}."
                measured = m and m["theta_mc"]
                bar = f"within {_THETA:g}"
                found.append(claim(text, "exact", exact, measured, bar, holds if enough else None))
        whole = len(simulated) == len(PROCESSES)
        worst = max(m["ks"] for m in simulated.values()) if whole else None
        found.append(
            claim(
                "The law is within 0.02 of simulation for all seven processes (Kolmogorov distance).",
                _MC, 0.0168, worst, f"<= {_KS:g}", (worst is not None and worst <= _KS) if enough else None,
            )
        )  # fmt: skip
        for name, (exact, reference, (low, high)) in PROCESSES.items():
            m = simulated.get(name)
            value = _relative(m, exact) if m else None
            paper = None if reference is None else abs(TABLE[name] / reference - 1)
            text = f"The exponent of the approximation of {_the(name)}: relative error."
            bar = f"<= {high:g}" if not low else f"{low:g} to {high:g}"
            holds = (value is not None and low <= value <= high) if enough else None
            found.append(
                claim(text, _PAPER if reference is None else f"{_PAPER}; exact or literature", paper, value, bar, holds)
            )
        slepian = _metrics(records, SLEPIAN)
        pairs = zip(slepian.get("simulated", ()), slepian.get("law", ()), strict=True)
        gap = max((abs(a - b) for a, b in pairs), default=None)
        found.append(
            claim(
                "Paths of the Slepian model survive as the law says, at t = 1 to 6 (squared exponential).",
                _PAPER, 0.0075, gap, f"<= {_SF:g}", (gap is not None and gap <= _SF) if enough else None,
            )
        )  # fmt: skip
        recorded = max((abs(a - b) for a, b in zip(_RECORDED, slepian.get("law", ()), strict=False)), default=None)
        found.append(
            claim(
                "The law takes the recorded values there.", "torsor, recorded", None, recorded, "<= 1e-4",
                recorded is not None and recorded <= 1e-4,
            )
        )  # fmt: skip
        certificates = _metrics(records, CERTIFICATES)
        rows = certificates.get("rows", {})
        agree = [(row["monotone"], row["valid"]) == VALID[name] for name, row in rows.items()]
        right = sum(agree) if agree else None
        found.append(
            claim(
                "A covariance that is not monotone may have a valid law: the certificates tell which have.",
                f"{_PAPER}, against the last sentence of its abstract", None, right, f"{len(VALID)} of {len(VALID)}",
                right == len(VALID),
            )
        )  # fmt: skip
        return found

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        claims = self.claims(records, scale)
        tested = [c for c in claims if c.holds is not None]
        broken = tuple(f"Does not hold: {c.text}" for c in tested if not c.holds)
        rows = [(name, m) for name in PROCESSES if (m := _metrics(records, name))]
        if not rows or scale == "smoke":
            return Answer(f"{sum(c.holds is True for c in tested)} of {len(tested)} tested claims hold.", broken)
        errors = sorted((_relative(m, PROCESSES[name][0]), name) for name, m in rows)
        return Answer(
            f"From the covariance alone: exponents {100 * errors[0][0]:.1f} to {100 * errors[-1][0]:.1f} % off.",
            (f"Best for {_the(errors[0][1])}, worst for {_the(errors[-1][1])}.", *broken),
        )


study = Persistency()


def _the(name: str) -> str:
    return name.replace(", d =", " in d =") if name.startswith("diffusion") else f"the {name} process"


def _metrics(records: Sequence[Record], name: str) -> dict[str, Any]:
    found = done(records, name)
    return dict(found[0].metrics) if found else {}


def _relative(metrics: dict[str, Any], exact: float | None) -> float:
    return abs(metrics["theta_iia"] / (exact or metrics["theta_mc"]) - 1)


def _covariance(name: str) -> "Covariance":
    from torsor import persistence as p

    if name.startswith("diffusion"):
        return p.SechDiffusion(float(name.split("=")[1]))
    if name.startswith("Matérn"):
        return p.Matern(int(name.split()[1].split("/")[0]) / 2)
    return p.RandomAcceleration() if name == "random acceleration" else p.SquaredExponential()


def _exponents() -> dict[str, Any]:
    from torsor.persistence import persistency_exponent

    values = {name: float(persistency_exponent(_covariance(name))) for name in TABLE}
    return {"error": max(abs(values[name] - theta) for name, theta in TABLE.items()), "values": values}


def _uncertain(name: str) -> "Covariance":
    import torch

    from torsor import persistence as p

    if name.startswith("exp"):
        a = float(name.split("(")[-1].split()[0])
        return p.FromFunction(lambda t: torch.exp(-(t**2) / 2) * torch.cos(a * t), 1 + a**2)
    if name.startswith("damped"):
        return p.DampedOscillator(float(name.split("=")[1]))
    if name.startswith("two"):
        return p.ConvexSum([p.SquaredExponential(0.1), p.SquaredExponential()], [0.5, 0.5])
    omega = torch.linspace(0, 1, 200, dtype=torch.float64)
    return p.FromSpectrum(omega, torch.ones_like(omega))


def _certificates(n: int) -> dict[str, Any]:
    import warnings

    from torsor.persistence import iia

    rows = {}
    for name in VALID:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that laws are invalid is what is asked here
            found = iia(_uncertain(name), n=n).certificate
        rows[name] = {
            "rise": found.max_rise_E0,
            "monotone": found.max_rise_E0 <= 1e-10,
            "status": found.status,
            "valid": found.status in ("proved", "numerical"),
            "first": found.first_negative_t,
        }
    return {"rows": rows}


def _slepian(paths: int, seed: int) -> dict[str, Any]:
    import torch

    from torsor.persistence import SquaredExponential, iia, slepian_paths

    cov, generator, step = SquaredExponential(), torch.Generator().manual_seed(seed), 0.02
    t = step * torch.arange(round(_TIMES[-1] / step) + 1, dtype=torch.float64)
    ends = [round(s / step) + 1 for s in _TIMES]
    alive = torch.zeros(len(_TIMES), dtype=torch.float64)
    for first in range(0, paths, 10_000):
        x = slepian_paths(cov, t, min(10_000, paths - first), generator=generator)
        alive += torch.stack([(x[:, 1:end] > 0).all(1).sum() for end in ends])
    return {
        "simulated": (alive / paths).tolist(),
        "law": iia(cov).sf(torch.tensor(_TIMES, dtype=torch.float64)).tolist(),
    }


def _simulation(trial: Trial, space: Workspace) -> dict[str, Any]:
    import torch

    from torsor.persistence import excursions, iia, simulate_gaussian

    config, cov = trial.config, _covariance(trial.name)
    generator = torch.Generator().manual_seed(trial.seed)
    dt = config["step"] * float(cov.unit)
    mean = cov.mean_interval / dt  # in steps
    size = int(40 * mean)
    fine, coarse = [], []
    for first in range(0, config["batches"], _CHUNK):
        batches = min(_CHUNK, config["batches"] - first)
        x = simulate_gaussian(cov, config["length"], dt, _PATHS * batches, generator=generator, dtype=torch.float32)
        fine.append(_histogram(excursions(x).lengths, size))
        coarse.append(_histogram(excursions(x[:, ::2]).lengths, size))
        space.tell((first + batches) / config["batches"], "simulating")
    law = iia(cov)
    counts, twice = torch.stack(fine), torch.stack(coarse)
    start, end = (w * mean for w in config["window"])
    theta, stderr = _rate(counts, start, end)
    theta_twice = _rate(twice, start / 2, end / 2)[0] / 2
    power = 4 if cov.order > 1.5 else 2**1.5
    total = counts.sum(0)
    cdf = total.cumsum(0) / total.sum()
    # a run of k samples is one of k to k + 1 steps, seen with the chance that the grid leaves
    middles = (torch.arange(size, dtype=torch.float64) + 0.5) * dt
    gap = (cdf - law.cdf(middles)).abs()
    places = torch.arange(0, int(8 * mean), max(1, int(8 * mean) // 60))
    return {
        "theta_iia": float(law.exponent),
        "theta_mc": theta / dt,
        "stderr": stderr / dt,
        "theta_extrapolated": (theta + (theta - theta_twice) / (power - 1)) / dt,
        "ks": float(gap.max()),
        "excursions": float(total.sum()),
        "certificate": law.certificate.status,
        "curve_t": ((places + 0.5) / mean).tolist(),
        "curve_simulated": (1 - cdf[places]).clamp(min=0).tolist(),
        "curve_law": law.sf(middles[places]).tolist(),
    }


def _histogram(lengths: "Tensor", size: int) -> "Tensor":
    import torch

    return torch.bincount(lengths.round().long().clamp(max=size - 1), minlength=size).double()


def _rate(counts: "Tensor", start: float, end: float) -> tuple[float, float]:
    """The rate at which excursions end between two lengths, and its error over the chunks; all in steps."""
    import torch

    start, end = math.floor(start) + 0.5, math.floor(end) + 0.5  # whole steps, counted from the middle of one
    k = torch.arange(counts.shape[1], dtype=torch.float64)
    late = k > start
    ends = (counts * (late & (k < end))).sum(1)
    time = (counts * torch.where(late, k.clamp(max=end) - start, 0.0)).sum(1)
    rate = float(ends.sum() / time.sum()) if float(time.sum()) else math.nan
    if len(counts) < 2:
        return rate, rate / max(1.0, float(ends.sum())) ** 0.5
    return rate, float((ends - rate * time).std() * len(counts) ** 0.5 / time.sum())

"""How long levels are exceeded: laws at levels and in steps against simulation, and a test for runs that are too long.

Sources: Bengtsson, Podgórski 2024 (arXiv 2401.01805); Bengtsson 2024 (arXiv 2410.06000) for levels.
"""

from collections.abc import Sequence
from typing import Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, Study, Trial, Workspace, done

# level -> recorded Kolmogorov distances above and below; bars are 1.5 times these
LEVELS: dict[float, tuple[float, float | None]] = {
    0.0: (0.012, 0.012),
    0.5: (0.0085, 0.011),
    1.0: (0.008, 0.009),
    2.0: (0.0136, None),
}
# phi -> survival ratio of the law, simulated one, recorded largest difference of the laws
AUTOREGRESSIONS = {
    0.3: (0.60724, 0.60674, 0.0004),
    0.5: (0.69383, 0.69260, 0.0013),
    0.7: (0.79567, 0.79404, 0.0023),
    0.9: (0.92018, 0.91905, 0.0043),
    0.98: (0.98192, 0.98188, 0.0043),
}
ALARMS = {0.5: (0.029, 0.019, 0.915), 0.7: (0.035, 0.032, 1.0), 0.9: (0.031, 0.033, 1.0)}  # true acf, fit, naive
POWER = {30: 0.15, 40: 0.75, 60: 1.00}  # recorded for runs longer than 40 alone; a run of 40 has p = 0.048
_FALSE, _POWER, _NAIVE, _CDF = (0.01, 0.07), 0.97, 0.85, 0.005
_SLACK, _SERIES, _NOMINAL, _PHI = 1.5, 2000, 0.05, 0.7
_LEVEL_SOURCE = "Bengtsson 2024 (arXiv 2410.06000); torsor, simulation"
_TEST_SOURCE = "torsor, simulation"


class Exceedance(Study):
    """Levels of the squared exponential, autoregressions, and alarms on series with and without a breach."""

    name = "exceedance"
    question = "How long is a level exceeded, and when is a run too long to be usual wandering?"
    paper = 14

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        batches = {"smoke": 2, "desk": 160, "paper": 1200}[scale]
        steps = {"smoke": 1 << 18, "desk": 1 << 26, "paper": 1 << 29}[scale]
        repeats = 20 if scale == "smoke" else 1500
        found = []
        for seed in (0,) if seeds is None else seeds:
            found += [Trial(self.name, _level(u), seed, {"level": u, "batches": batches}) for u in LEVELS]
            found += [
                Trial(self.name, _auto(phi), seed, {"phi": phi, "steps": steps * (4 if phi > 0.9 else 1)})
                for phi in AUTOREGRESSIONS
            ]
            found += [
                Trial(self.name, _test(phi), seed, {"phi": phi, "repeats": repeats, "n": _SERIES}) for phi in ALARMS
            ]
        return found

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if "level" in trial.config:
            return _run_level(trial, space)
        return _run_test(trial, space) if "repeats" in trial.config else _run_autoregression(trial, space)

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        levels = [m | {"name": f"{u:g}"} for u in LEVELS if (m := _metrics(records, _level(u)))]
        autos = [m | {"name": f"{phi:g}"} for phi in AUTOREGRESSIONS if (m := _metrics(records, _auto(phi)))]
        tests = [m | {"name": f"{phi:g}"} for phi in ALARMS if (m := _metrics(records, _test(phi)))]
        return [
            Table(
                "The squared exponential above and below levels, in standard deviations and units of its length",
                (
                    Column("name", "level"),
                    Column("mean_above", "mean above", digits=4),
                    Column("ks_above", "largest difference, above", digits=2),
                    Column("theta_above", "θ above", digits=4),
                    Column("mean_below", "mean below", digits=4),
                    Column("ks_below", "largest difference, below", digits=2),
                    Column("theta_below", "θ below", digits=4),
                    Column("certificate", "certificate"),
                ),
                tuple(levels),
            ),
            Table(
                "Runs of autoregressions, in steps",
                (
                    Column("name", "φ"),
                    Column("ratio_law", "survival ratio, law", digits=5),
                    Column("ratio_simulated", "simulated", digits=5),
                    Column("sup", "largest difference of the laws", digits=2),
                    Column("mean_law", "mean, law", digits=5),
                    Column("mean_simulated", "simulated", digits=5),
                ),
                tuple(autos),
            ),
            Table(
                f"Share of series of {_SERIES} steps with an alarm, nominally {_NOMINAL:g}",
                (
                    Column("name", "φ"),
                    Column("true", "clean, true autocorrelation"),
                    Column("fit", "clean, fitted"),
                    Column("own", "clean, own autocorrelation"),
                    Column("naive", "clean, independent signs"),
                    *(Column(f"power_{w}", f"{w} steps forced") for w in POWER),
                    *(Column(f"power_fit_{w}", f"{w} steps forced, fitted") for w in POWER),
                ),
                tuple(tests),
            ),
        ]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        found = []
        for side in ("above", "below"):
            traces = []
            for index, u in enumerate(LEVELS):
                metrics = _metrics(records, _level(u))
                if metrics:
                    common = {"type": "scatter", "x": metrics[f"curve_t_{side}"], "name": f"level {u:g}"}
                    color = f"c{index}"
                    points = {"mode": "markers", "marker": {"size": 5, "color": color}}
                    line = {"mode": "lines", "showlegend": False, "line": {"color": color, "width": 2}}
                    simulated = [s if s > 0 else None for s in metrics[f"curve_simulated_{side}"]]
                    traces += [common | points | {"y": simulated}, common | line | {"y": metrics[f"curve_law_{side}"]}]
            if traces:
                layout = {
                    "xaxis": {"title": {"text": "length over its mean"}},
                    "yaxis": {
                        "type": "log",
                        "exponentformat": "power",
                        "title": {"text": "share of longer excursions"},
                    },
                }
                words = "Points: exact simulation. Lines: the law from the covariance and the level."
                found.append(Figure(f"Excursions {side} a level", words, traces, layout))
        return found

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        enough = scale != "smoke"
        found = []

        def claim(text: str, source: str, paper: Any, measured: Any, bar: str, holds: bool) -> None:
            tested = measured is not None and enough
            found.append(Claim(text, source, paper, measured, bar, bool(holds) if tested else None, scale))

        for u, recorded in LEVELS.items():
            m = _metrics(records, _level(u))
            for side, value in zip(("above", "below"), recorded, strict=True):
                if value is not None:
                    ks = m.get(f"ks_{side}")
                    text = f"The law {side} level {u:g} is as close to simulation as recorded (Kolmogorov distance)."
                    bar = _SLACK * value
                    claim(text, _LEVEL_SOURCE, value, ks, f"<= {bar:.4g}", ks is not None and ks <= bar)
        for phi, (ratio, _, sup) in AUTOREGRESSIONS.items():
            m = _metrics(records, _auto(phi))
            gap = m.get("sup")
            text = f"Run lengths of the autoregression with φ = {phi:g} follow the law."
            claim(text, _TEST_SOURCE, sup, gap, f"<= {_CDF:g}", gap is not None and gap <= _CDF)
            value = m.get("ratio_law")
            text = f"Its survival ratio is the tabulated one (φ = {phi:g})."
            claim(text, _TEST_SOURCE, ratio, value, "within 1e-5", value is not None and abs(value - ratio) <= 1e-5)
        low, high = _FALSE
        for phi, (true, fit, naive) in ALARMS.items():
            m = _metrics(records, _test(phi))
            words = ("with the true autocorrelation", "with a fitted autoregression")
            for key, value, how in zip(("true", "fit"), (true, fit), words, strict=True):
                share = m.get(key)
                text = f"False alarms of the longest-run test at φ = {phi:g}, {how}, nominally 0.05."
                claim(
                    text, _TEST_SOURCE, value, share, f"{low:g} to {high:g}", share is not None and low <= share <= high
                )
            share = m.get("naive")
            text = f"The rule for independent signs fires on most clean series at φ = {phi:g}."
            claim(text, _TEST_SOURCE, naive, share, f">= {_NAIVE:g}", share is not None and share >= _NAIVE)
        power = _metrics(records, _test(_PHI)).get("power_60")
        text = f"A sign forced for 60 steps is found at φ = {_PHI:g}."
        claim(text, _TEST_SOURCE, POWER[60], power, f">= {_POWER:g}", power is not None and power >= _POWER)
        return found

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        claims = self.claims(records, scale)
        tested = [c for c in claims if c.holds is not None]
        broken = tuple(f"Does not hold: {c.text}" for c in tested if not c.holds)
        test = _metrics(records, _test(_PHI))
        if not tested or not test:
            return Answer(f"{len(done(records))} of {len(records)} trials ended.")
        return Answer(
            f"{len(tested) - len(broken)} of {len(tested)} tested claims hold.",
            (
                f"At φ = {_PHI:g} the longest-run test raises {100 * test['true']:.1f} % false alarms, the rule for"
                f" independent signs {100 * test['naive']:.0f} %; a breach of 60 steps is found in"
                f" {100 * test['power_60']:.0f} % of the series.",
                *broken,
            ),
        )


study = Exceedance()


def _level(u: float) -> str:
    return f"level {u:g}"


def _auto(phi: float) -> str:
    return f"autoregression {phi:g}"


def _test(phi: float) -> str:
    return f"alarms {phi:g}"


def _metrics(records: Sequence[Record], name: str) -> dict[str, Any]:
    found = done(records, name)
    return dict(found[0].metrics) if found else {}


def _run_level(trial: Trial, space: Workspace) -> dict[str, Any]:
    import torch

    from torsor.persistence import SquaredExponential, excursions, iia, simulate_gaussian

    cov, level, dt = SquaredExponential(), trial.config["level"], 0.02
    generator = torch.Generator().manual_seed(trial.seed)
    above = iia(cov, level=level)
    laws = {"above": above, "below": above.other_side}
    size = {side: int(30 * float(law.mean) / dt) for side, law in laws.items()}
    counts = {side: torch.zeros(n, dtype=torch.float64) for side, n in size.items()}
    for first in range(0, trial.config["batches"], 4):
        x = simulate_gaussian(cov, 1 << 17, dt, 32, generator=generator, dtype=torch.float32)
        runs = excursions(x, level)
        for side in laws:
            lengths = runs.side(side).lengths.long().clamp(max=size[side] - 1)
            counts[side] += torch.bincount(lengths, minlength=size[side])
        space.tell(min(1.0, (first + 4) / trial.config["batches"]), "simulating")
    found: dict[str, Any] = {"certificate": above.certificate.status}
    for side, law in laws.items():
        total = counts[side]
        cdf = total.cumsum(0) / total.sum()
        middles = (torch.arange(len(cdf), dtype=torch.float64) + 0.5) * dt
        mean = float(law.mean)
        last = min(len(cdf), int(8 * mean / dt))
        places = torch.arange(0, last, max(1, last // 60))
        found |= {
            f"mean_{side}": mean,
            f"theta_{side}": float(law.exponent),
            f"ks_{side}": float((cdf - law.cdf(middles)).abs().max()),
            f"excursions_{side}": float(total.sum()),
            f"curve_t_{side}": (middles[places] / mean).tolist(),
            f"curve_simulated_{side}": (1 - cdf[places]).clamp(min=0).tolist(),
            f"curve_law_{side}": law.sf(middles[places]).tolist(),
        }
    return found


def _run_autoregression(trial: Trial, space: Workspace) -> dict[str, Any]:
    import math

    import torch

    from torsor.persistence import AR1, excursions, iia_discrete, simulate_gaussian

    phi, steps = trial.config["phi"], trial.config["steps"]
    law, generator = iia_discrete(AR1(phi)), torch.Generator().manual_seed(trial.seed)
    size, length = 40 * int(float(law.mean)) + 40, min(steps, 1 << 20)
    counts = torch.zeros(size, dtype=torch.float64)
    for first in range(0, steps, 4 * length):
        x = simulate_gaussian(AR1(phi), length, batch=4, generator=generator, dtype=torch.float32)
        counts += torch.bincount(excursions(x).lengths.long().clamp(max=size - 1), minlength=size)
        space.tell(min(1.0, (first + 4 * length) / steps), "simulating")
    cdf = counts.cumsum(0) / counts.sum()
    k = torch.arange(size, dtype=torch.float64)
    # the geometric tail: the share of runs beyond the memory of the process that survive one more step
    start = int(max(3 * float(law.mean), 3 / (1 - phi)))
    alive = counts.flip(0).cumsum(0).flip(0)  # runs of at least k steps
    ratio = float(alive[start + 2 :].sum() / alive[start + 1 : -1].sum())
    return {
        "ratio_law": math.exp(-float(law.exponent)),
        "ratio_simulated": ratio,
        "sup": float((cdf - law.cdf(k)).abs().max()),
        "mean_law": float(law.mean),
        "mean_simulated": float((counts * k).sum() / counts.sum()),
        "runs": float(counts.sum()),
    }


def _run_test(trial: Trial, space: Workspace) -> dict[str, Any]:
    import torch

    from torsor.persistence import AR1, persistence_test, simulate_gaussian

    phi, repeats, n = trial.config["phi"], trial.config["repeats"], trial.config["n"]
    generator = torch.Generator().manual_seed(trial.seed)
    series = simulate_gaussian(AR1(phi), n, batch=repeats, generator=generator)
    acf = AR1(phi).sign_acf()
    independent = torch.zeros(60, dtype=torch.float64)
    independent[0] = 1

    def alarms(**options: Any) -> float:
        return sum(persistence_test(x, side="both", alpha=_NOMINAL, **options).alarm for x in series) / repeats

    found = {"true": alarms(acf=acf)}
    space.tell(0.2, "fitted")
    found |= {"fit": alarms(null="gaussian-fit"), "naive": alarms(acf=independent)}
    space.tell(0.4, "own autocorrelation")
    found["own"] = alarms()
    if phi == _PHI:
        clean = series.clone()
        for place, window in enumerate(POWER):
            space.tell(0.6 + 0.1 * place, f"{window} steps forced")
            series[:] = clean
            series[:, n // 2 : n // 2 + window] = series[:, n // 2 : n // 2 + window].abs()
            found[f"power_{window}"] = alarms(acf=acf)
            found[f"power_fit_{window}"] = alarms(null="gaussian-fit")
    return found

"""A potential of 3BPA from Clebsch-Gordan or from Gaunt products: errors away from the training data, and time.

Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 4.3.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._numbers import show
from torsor.study._protocol import Record, SkippedError, Study, Trial, Workspace, done, mean

if TYPE_CHECKING:
    from torsor.data import Dataset, Samples

E3NN, CG, GAUNT, BRACKET = "CG by e3nn", "CG", "Gaunt", "Gaunt + bracket"
PRODUCTS = {E3NN: "e3nn", CG: "cg", GAUNT: "gaunt", BRACKET: "gaunt+bracket"}
COST = "time of a step"
TEMPERATURES = (300, 600, 1200)
_PAPER = "Luo et al. 2024 (arXiv 2401.10216), Table 3"
_STRONG = {300: 100.0, 600: 170.0, 1200: 380.0}  # meV / angstrom: a CG model above is no measure
_WARM_UP = 20  # steps
# Energies in meV and forces in meV / angstrom of MACE and of MACE-Gaunt, on published 3BPA.
_TABLE = {
    "300 K": ((3.0, 8.8), (2.9, 9.2)), "600 K": ((9.7, 21.8), (10.6, 22.2)), "1200 K": ((29.8, 62.0), (30.4, 63.1)),
    "dihedral slices": ((7.8, 16.5), (9.9, 17.7)),
}  # fmt: skip
_ELSEWHERE = (
    ("OC20, EquiformerV2 of degree 4 with Gaunt self-mixing: error of forces.", "21.4 -> 20.9 meV/Å",
     "energies 284 -> 277 meV, within thresholds 1.51 -> 1.82 %"),
    ("OC20, EquiformerV2 of degree 6 with Gaunt self-mixing: error of forces.", "20.5 -> 20.1 meV/Å",
     "energies 285 -> 276 meV, within thresholds 1.67 -> 1.95 %"),
    ("n-body, SEGNN with Gaunt products: mean squared error.", "about 0.0050 -> 0.0048", "read off a bar chart"),
    ("3BPA, 43.7 times faster than e3nn where MACE is 33.2 times, with 5.8 % of the memory to its 32.8 %.",
     "43.7x, 5.8 %", "on the paper's GPU"),
)  # fmt: skip


class Potential(Study):
    """Two layers, 16 channels, degree 3: the same network, with one kind of product or the other."""

    name = "potential"
    question = "Do Gaunt products cost a potential accuracy, and what do they save?"
    paper = 7

    def __init__(self, labels: str = "xtb") -> None:
        self.labels = labels

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        model = {"channels": 16, "lmax": 3, "hidden_lmax": 1, "layers": 2, "order": 3, "cutoff": 5.0}
        config: dict[str, Any] = {
            "labels": self.labels, "train": 300, "test": 100, "steps": 800, "batch": 5, "lr": 1e-2, "model": model,
            "rounds": 7,
        }  # fmt: skip
        chosen: Sequence[int] = (0, 1, 2)
        if scale == "smoke":
            small = {**model, "channels": 2, "lmax": 2}
            config |= {"labels": "pairs", "train": 10, "test": 4, "steps": 4, "model": small, "rounds": 1}
            chosen = (0,)
        if scale == "paper":
            wide = {**model, "channels": 256, "hidden_lmax": 2}
            config |= {"labels": "dft", "train": 450, "test": 50, "steps": 180_000, "model": wide}
        chosen = chosen if seeds is None else seeds
        nets = [Trial(self.name, name, seed, {**config, "product": name}) for name in PRODUCTS for seed in chosen]
        return [*nets, Trial(self.name, COST, 0, config)]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        config = trial.config
        if trial.name == COST:
            return _cost(config)
        import torch

        from torsor import learn

        _needs(config["product"])
        tests = _tests(config)
        torch.manual_seed(trial.seed)
        model = _model(config, config["product"], next(iter(tests.values())))
        data = next(iter(tests.values()))
        per_epoch = -(-config["train"] // config["batch"])
        epochs = -(-config["steps"] // per_epoch)
        warm_up = _WARM_UP / (epochs * per_epoch)
        result = learn.fit(
            model, data.train, learn.energies_and_forces(energy=0.1, forces=10.0),
            epochs=epochs, batch_size=config["batch"], lr=config["lr"], clip=10.0, seed=trial.seed,
            schedule=functools.partial(_warmed, warm_up), optimizer=functools.partial(torch.optim.Adam, amsgrad=True),
            checkpoint=space.checkpoint,
        )  # fmt: skip
        space.save(model)
        found: dict[str, Any] = {}
        for name, test in tests.items():
            energy, force = _errors(model, test.test, config["batch"])
            found |= {f"energy_{name}": energy, f"force_{name}": force}
        parameters = sum(p.numel() for p in model.parameters())
        return found | {"parameters": parameters, "cpu_per_step": result.cpu_seconds / (epochs * per_epoch)}

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = [Column("name", "products"), Column("parameters", "parameters", digits=5)]
        columns += [Column(f"force_{T}", f"forces at {T} K, meV/Å") for T in TEMPERATURES]
        columns += [Column(f"energy_{T}", f"energy at {T} K, meV") for T in TEMPERATURES]
        columns += [Column("cpu_per_step", "CPU s per step"), Column("cost", "side by side, s per step")]
        rows = []
        for name in PRODUCTS:
            if done(records, name):
                keys = [column.key for column in columns[1:-1]]
                row = {key: mean(records, name, key) for key in keys}
                rows.append({"name": name, **row, "cost": _step(records, name)})
        words = "Root mean square errors, means over seeds; training data at 300 K. Steps side by side: in one process."
        return [Table(words, tuple(columns), tuple(rows))]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        lines = []
        for name in PRODUCTS:
            found = [mean(records, name, f"force_{T}") for T in TEMPERATURES]
            if found[0] is not None:
                lines.append(
                    {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(TEMPERATURES), "y": found}
                )
        layout = {"xaxis": {"title": {"text": "temperature of the test, K"}},
                  "yaxis": {"title": {"text": "error of forces, meV/Å"}, "rangemode": "tozero"}}  # fmt: skip
        return [Figure("Errors away from the training data", "Learned at 300 K.", lines, layout)]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        peer = E3NN if done(records, E3NN) else CG
        claims = []

        def add(text: str, source: str, paper: Any, measured: Any, bar: str, good: bool | None) -> None:
            tested = scale == "desk" and measured is not None
            claims.append(Claim(text, source, paper, measured, bar, good if tested else None, scale))

        for T in TEMPERATURES:
            (_, theirs), (_, published) = _TABLE[f"{T} K"]
            ratio = _ratio(mean(records, GAUNT, f"force_{T}"), mean(records, peer, f"force_{T}"))
            add(f"At {T} K Gaunt products are as accurate as {peer}.", _PAPER, round(published / theirs, 3), ratio,
                "ratio of force errors <= 1.15", ratio is not None and ratio <= 1.15)  # fmt: skip
        for T, bar in _STRONG.items():
            strong = mean(records, peer, f"force_{T}")
            add(f"The model with {peer} is a fair measure at {T} K.", "torsor", None, strong,
                f"<= {bar:g} meV/Å", strong is not None and strong <= bar)  # fmt: skip
        for other, bar in ((E3NN, 0.6), (CG, None)):
            ratio = _ratio(_step(records, GAUNT), _step(records, other))
            add(f"A training step with Gaunt products against {other}.", "torsor", None, ratio,
                f"CPU time ratio <= {bar}" if bar else "printed, no bar",
                None if bar is None else ratio is not None and ratio <= bar)  # fmt: skip
        errors = [mean(records, name, f"force_{T}") for name in (GAUNT, peer) for T in TEMPERATURES]
        known = [error for error in errors if error is not None]
        whole = len(known) == len(errors)
        add("Errors rise with the temperature for both.", _PAPER, "8.8 < 21.8 < 62.0",
            "; ".join(show(error, 3) for error in known) if whole else None, "300 K < 600 K < 1200 K",
            whole and all(known[i] < known[i + 1] for i in (0, 1, 3, 4)))  # fmt: skip
        return [*claims, *_ledger()]

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        peer = E3NN if done(records, E3NN) else CG
        errors = {name: mean(records, name, "force_300") for name in (GAUNT, peer)}
        if None in errors.values():
            return Answer(f"{len(done(records))} of {len(records)} trials ended.")
        reasons = [f"Force error at 300 K: {', '.join(f'{name} {show(e, 3)}' for name, e in errors.items())} meV/Å."]
        ratios = {other: _ratio(_step(records, GAUNT), _step(records, other)) for other in (E3NN, CG)}
        reasons += [f"A step takes {show(r, 2)} of that of {other}." for other, r in ratios.items() if r is not None]
        best = min(errors, key=lambda name: errors[name] or math.inf)
        found = f"{best} has the lower error of forces at 300 K."
        return Answer(found, tuple(reasons), best if scale == "desk" else None)


study = Potential()


def _ledger() -> list[Claim]:
    """What the paper measured with data or machines that are not at hand."""
    found = [
        Claim(f"3BPA by DFT, {where}: MACE with Gaunt products against MACE.", _PAPER,
              f"E {mace[0]} -> {gaunt[0]} meV, F {mace[1]} -> {gaunt[1]} meV/Å", None,
              "256 channels, 2000 epochs, a GPU for a day", None, "paper")
        for where, (mace, gaunt) in _TABLE.items()
    ]  # fmt: skip
    paper = _PAPER.split(",")[0]
    return found + [Claim(text, paper, value, None, bar, None, "paper") for text, value, bar in _ELSEWHERE]


def _warmed(warm_up: float, share: float) -> float:
    """The cosine after a linear start."""
    return min(1.0, share / warm_up + 0.05) * (1 + math.cos(math.pi * share)) / 2


def _needs(name: str) -> None:
    """Refuse e3nn's products where e3nn is not."""
    if PRODUCTS[name] == "e3nn":
        try:
            import e3nn.o3  # noqa: F401
        except ImportError:
            raise SkippedError("e3nn is not installed: pip install 'torsor[e3nn]'") from None


def _tests(config: Mapping[str, Any]) -> "dict[str, Dataset]":
    """The training data with the test set of each temperature."""
    from torsor.data import acac, bpa

    labels, sizes = config["labels"], (config["train"], 0, config["test"])
    try:
        if labels == "acac":
            return {"300": acac(*sizes)}
        kelvin = (300,) if labels == "dft" else TEMPERATURES
        return {str(T): bpa(*sizes, labels=labels, temperature=T) for T in kelvin}
    except (ImportError, FileNotFoundError) as error:
        raise SkippedError(str(error)) from error


def _model(config: Mapping[str, Any], name: str, data: "Dataset") -> Any:
    from torsor.build.so3 import GauntPotential

    species = sorted(set(data.train.inputs["species"].flatten().tolist()))  # type: ignore[call-overload]
    return GauntPotential(species, tensor_product=PRODUCTS[name], **config["model"])  # type: ignore[arg-type]


def _errors(model: Any, samples: "Samples", batch: int) -> tuple[float, float]:
    """Root mean square errors of the energy in meV and of components of the forces in meV / angstrom."""
    from torsor import learn

    found = learn.evaluate(model, samples, learn.energies_and_forces(), batch_size=batch)
    return 1000 * found["energy_mse"] ** 0.5, 1000 * found["forces_mse"] ** 0.5


def _cost(config: Mapping[str, Any]) -> dict[str, Any]:
    """CPU time of a training step of every product, in turns in one process, the least of the rounds."""
    import time

    import torch

    from torsor import learn

    data = next(iter(_tests(config).values()))
    batch, objective = data.train[: config["batch"]], learn.energies_and_forces()
    steps = {}
    for name in PRODUCTS:
        try:
            _needs(name)
        except SkippedError:
            continue
        torch.manual_seed(0)
        model = _model(config, name, data)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, amsgrad=True)

        def step(model: Any = model, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            objective(model, batch)[0].backward()
            optimizer.step()

        step()
        steps[name] = step
    least = dict.fromkeys(steps, math.inf)
    for _ in range(config["rounds"]):
        for name, step in steps.items():
            began = time.process_time()
            step()
            least[name] = min(least[name], time.process_time() - began)
    return least


def _step(records: Sequence[Record], name: str) -> float | None:
    return mean(records, COST, name)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None

"""The mean cosine of three vectors with rotations broken, scaling broken, or both: what is found, what it gains.

Source: Kim et al. 2023 (arXiv 2306.00356), section 5.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Table
from torsor.study._protocol import Record, Study, Trial, Workspace, done, mean

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset

BROKEN = ("scaling", "rotation", "both")
METHODS = ("MLP", "soft network, no penalty", "EMLP of SO(3)", "soft, power rule", "soft, evidence")
FOUND = "found on the law"
_PAPER = "Kim et al. 2023 (arXiv 2306.00356), section 5"


class Cosine(Study):
    """Candidates are SO(3) and scaling; each of them holds in one of the three laws."""

    name = "cosine"
    question = "Rotations or scaling, or neither: does training tell which of two symmetries is broken?"
    paper = 4

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        sizes = {
            "smoke": {"samples": 40, "epochs": 3, "channels": 12, "layers": 1},
            "desk": {"samples": 300, "epochs": 100, "channels": 48, "layers": 2},
            "paper": {"samples": 1000, "epochs": 2000, "channels": 128, "layers": 3},
        }[scale]
        chosen = ({"smoke": (0,), "desk": (0,), "paper": tuple(range(5))}[scale]) if seeds is None else seeds
        nets = [
            Trial(self.name, f"{method}, {broken} broken", s, {"method": method, "broken": broken, **sizes})
            for broken in BROKEN
            for method in METHODS
            for s in chosen
        ]
        laws = [Trial(self.name, f"{FOUND}, {broken} broken", 0, {"broken": broken}) for broken in ("none", *BROKEN)]
        return [*nets, *laws]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if "method" not in trial.config:
            return _found(trial.config["broken"])
        import torch

        from torsor import learn
        from torsor.data import cosine

        config, n = trial.config, trial.config["samples"]
        data = cosine(n, n, 1000, broken=config["broken"], seed=trial.seed)
        torch.manual_seed(trial.seed)
        model, objective, per = _method(config, data)
        how = {"epochs": config["epochs"], "batch_size": 100, "lr": 3e-3, "seed": trial.seed}
        learn.fit(model, data.train, objective, valid=data.valid, **how)
        with torch.no_grad():
            out = learn.predict(model, data.test.inputs)
        found = {"test_error": float((out - data.test.targets).square().mean())}
        return found if per is None else found | {"strengths": per.strengths.tolist()}

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (Column("name", "method"), *(Column(b, f"{b} broken") for b in BROKEN))
        rows = [{"name": m} | {b: mean(records, f"{m}, {b} broken", "test_error") for b in BROKEN} for m in METHODS]
        spectrum = []
        for broken in ("none", *BROKEN):
            for r in done(records, f"{FOUND}, {broken} broken"):
                c = r.metrics["candidates"]
                spectrum.append({"name": broken, "found": r.metrics["name"], "rotation": c[0], "scaling": c[1]})
        names = (Column("name", "broken"), Column("found", "exact symmetry"))
        levels = (Column("rotation", "level of SO(3)", digits=2), Column("scaling", "level of scaling", digits=2))
        return [
            Table("Test error, means over seeds.", columns, tuple(rows)),
            Table("What `find.lie_algebra` reads off the laws.", names + levels, tuple(spectrum)),
        ]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        expected = {"none": "so(3) + scaling", "scaling": "so(3)", "rotation": "scaling", "both": "none"}
        read = {b: r.metrics["name"] for b in expected for r in done(records, f"{FOUND}, {b} broken")}
        right = [read.get(b) == name for b, name in expected.items()]
        return [
            Claim("One singular value decomposition reads off each law which of the two symmetries holds.", "torsor",
                  None, f"{sum(right)} of 4" if len(read) == 4 else None, "4 of 4",
                  all(right) if len(read) == 4 else None, scale),
            *(_claim(records, broken, scale) for broken in BROKEN),
        ]  # fmt: skip

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        reasons = []
        for b in BROKEN:
            errors = {m: e for m in METHODS if (e := mean(records, f"{m}, {b} broken", "test_error")) is not None}
            if errors:
                reasons.append(f"{b} broken: {min(errors, key=lambda m: errors[m])} is the most accurate.")
        if not reasons:
            return Answer("No treatment can be recommended: no trial ended.")
        return Answer(
            "Which of two symmetries is broken is read off the law itself, before any training.", tuple(reasons)
        )


study = Cosine()


def _claim(records: Sequence[Record], broken: str, scale: str) -> Claim:
    soft, plain = (mean(records, f"{m}, {broken} broken", "test_error") for m in ("soft, evidence", "MLP"))
    ratio = soft / plain if soft is not None and plain else None
    return Claim(
        f"With {broken} broken a soft network is more accurate than a plain one.",
        _PAPER,
        None,
        ratio,
        "test error ratio < 1",
        None if ratio is None or scale == "smoke" else ratio < 1,
        scale,
    )


def _found(broken: str) -> dict[str, Any]:
    import torch

    from torsor import find
    from torsor.actions import Scalar, V
    from torsor.data import cosine_law
    from torsor.groups import SO, Scaling

    law = cosine_law(broken)
    X = torch.randn(200, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def flat(x: torch.Tensor) -> torch.Tensor:
        return law(x.unflatten(1, (3, 3)))

    found = find.lie_algebra(flat, X, 3 * V, Scalar(), d=3, candidates=[SO(3), Scaling(3)])
    return {"name": found.name, "levels": found.levels.tolist(), "candidates": [b.level for b in found.breaking]}


def _method(config: Mapping[str, Any], data: "Dataset") -> "tuple[nn.Module, Any, Any]":
    """Network, objective and penalty of a method."""
    import warnings

    from torsor import learn
    from torsor.actions import Scalar, V
    from torsor.build.backbones import for_dataset
    from torsor.groups import SO, Scaling

    reps, sizes = (3 * V, Scalar()), {key: config[key] for key in ("channels", "layers")}
    if config["method"] == "MLP":
        return for_dataset("mlp", data, hidden=2 * config["channels"], layers=config["layers"]), learn.mse, None
    if config["method"] == "EMLP of SO(3)":
        net = learn.EMLP(*reps, SO(3), **sizes)
    else:
        net = learn.SoftEMLP(*reps, (SO(3), Scaling(3)), **sizes, outer=False)
    model = learn.OnSlots(net, data.symmetry, (1,))
    rules = {"soft, power rule": learn.PowerRule(0.01), "soft, evidence": learn.EvidenceRule(start_at=0.01)}
    if config["method"] not in rules:
        return model, learn.mse, None
    with warnings.catch_warnings():  # that the penalty of scaling depends on the units: here it does on purpose
        warnings.simplefilter("ignore")
        per = learn.PERegularizer(model, strengths=rules[config["method"]])
    return model, learn.regularised(learn.mse, per), per

"""Moments of inertia whose symmetry is broken about one axis: hard, soft and no constraint, and what soft ones find.

Source: Kim et al. 2023 (arXiv 2306.00356), section 5.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, Trial, Workspace, done, mean
from torsor.study.builtin import _inertia_cases, _planted

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset

POWER, EVIDENCE, FREE = "soft, power rule", "soft, evidence", "soft network, no penalty"
PAPER_START, FREE_START = "soft, power rule, the paper's start", "soft network, no penalty, the paper's start"
RPP, RELAXED = "RPP on O(3)", "relaxed weights on O(3)"
RIGHT, WRONG = "EMLP of O(2)xy", "EMLP of O(3)"
LINEAR = "linear: {0} samples, tau {1:g}"
_ELSEWHERE = (FREE, WRONG, POWER, EVIDENCE)  # rows that run on other laws too
_HIDDEN = [12, 8, 4]
_NAMES = ("O(2)xy", "O(2)yz", "O(2)xz")
_PAPER = "Kim et al. 2023 (arXiv 2306.00356)"


class Inertia(Comparison):
    """The law keeps O(2) about z of O(3). Candidates of the soft networks are O(2) about z, x and y.

    Soft networks start equivariant under all candidates, as large as free ones; the start of the paper is beside it.
    """

    name = "inertia"
    question = "A symmetry that is broken about one axis: who finds it, and what does it gain?"
    paper = 4

    def plan(self, scale: str) -> Plan:
        desk = Plan(
            data={"train": 300, "valid": 300, "test": 1000, "points": 3, "alpha": -1.0, "axis": "z"},
            backbone={"hidden": 128, "layers": 3},
            arms=_arms({"hidden": _HIDDEN, "layers": 2}, lambda_0=3.0),
            seeds=(0, 1, 2),
            epochs=500,
            batch_size=100,
            lr=3e-3,
            audit_samples=64,
            test_draws=1,
        )
        if scale == "smoke":
            data = {**desk.data, "train": 40, "valid": 20, "test": 40}
            small = {"hidden": [4, 2, 1], "layers": 1}
            short = replace(desk, seeds=(0,), epochs=4, batch_size=20, audit_samples=8)
            return replace(short, data=data, arms=_arms(small, lambda_0=3.0))
        if scale == "paper":
            data = {**desk.data, "train": 1000, "valid": 1000, "points": 5}
            arms = _arms({"channels": 128, "layers": 3, "max_rank": 3}, lambda_0=100.0)
            return replace(desk, data=data, arms=arms, seeds=tuple(range(5)), epochs=8000, batch_size=500, lr=1e-3)
        return desk

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2

    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        from torsor.data import inertia

        return inertia(**{"seed": 0, **data})

    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        from torsor.build.backbones import for_dataset

        return for_dataset("mlp", dataset, **backbone)

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        count = 2 if scale == "smoke" else 40
        linear = [
            Trial(self.name, LINEAR.format(n, tau), 0, {"samples": n, "tau": tau, "seeds": count, "lambda_0": 3.0})
            for n, tau in _planted.SETTINGS
        ]
        cases = [] if scale == "smoke" else _inertia_cases.trials(self.name, self.plan(scale), _ELSEWHERE)
        return [*super().trials(scale, seeds), *cases, *linear]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if "tau" in trial.config:
            return _planted.run(trial.config)
        return super().run(trial, space)

    def measured(self, model: "nn.Module", dataset: "Dataset", trial: Trial) -> dict[str, Any]:
        """Residuals of the candidates, and the equivariance error of the network under each."""
        import torch

        from torsor import audit, learn

        less: dict[str, Any] = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
        inputs = dataset.test[torch.arange(min(64, len(dataset.test)))].inputs
        laws = [replace(dataset.symmetry, group=group) for group in _planted.groups()]
        errors = [audit.equivariance(model, law, inputs, samples=4, **less).error for law in laws]
        found: dict[str, Any] = {"candidate_errors": errors}
        if trial.config["treatment"] == "soft":
            per = learn.PERegularizer(model, strengths=learn.Fixed(0.0))
            found["residuals"] = per.residuals().sum(0).tolist()
        return found

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        nets = _networks(records)
        return [
            *super().tables(nets, scale),
            _found_table(records),
            _inertia_cases.table(records, _NAMES),
            _linear_table(records),
        ]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        return [*super().figures(_networks(records), scale), *_strength_figures(records)]

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        answer = super().answer(_networks(records), scale)
        found = []
        for name in (EVIDENCE, POWER):
            rows = [_last_strengths(r) for r in done(records, name)]
            rows = [row for row in rows if row is not None]
            if rows:
                right = sum(row.index(max(row)) == 0 for row in rows)
                found.append(f"{name} puts O(2)xy, the symmetry that holds, first in {right} of {len(rows)} runs.")
        return replace(answer, reasons=(*answer.reasons, *found))

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        return [
            *(claim for name in (POWER, EVIDENCE) for claim in _network_claims(records, name, scale)),
            *(
                _ratio(
                    f"The paper: a soft network is more accurate than RPP; {name}.",
                    _PAPER,
                    records,
                    name,
                    RPP,
                    1.0,
                    scale,
                )
                for name in (POWER, EVIDENCE)
            ),
            *_inertia_cases.claims(records, FREE, (POWER, EVIDENCE), scale),
            *_linear_claims(records, scale),
            Claim(
                "At the scale of the paper, 8000 epochs and 5 seeds, soft networks beat EMLP, RPP and MLP.",
                f"{_PAPER}, section 5",
                None,
                None,
                "lowest test error",
                None,
                "paper",
            ),
        ]


study = Inertia()


def _arms(sizes: Mapping[str, Any], lambda_0: float) -> list[Arm]:
    soft = {"candidates": "axes", **sizes}
    return [
        Arm("plain", "MLP"),
        Arm("soft", FREE, options={"strengths": "none", **soft}),
        Arm("emlp", WRONG, options={"group": "O(3)", **sizes}),
        Arm("emlp", RIGHT, options=dict(sizes)),
        Arm("emlp", RPP, options={"group": "O(3)", "prior": "rpp", **sizes}),
        Arm("emlp", RELAXED, options={"group": "O(3)", "prior": "relaxed", **sizes}),
        Arm("soft", FREE_START, options={"strengths": "none", "start": "orthogonal", **soft}),
        Arm("soft", PAPER_START, options={"strengths": "power", "lambda_0": lambda_0, "start": "orthogonal", **soft}),
        Arm("soft", POWER, options={"strengths": "power", "lambda_0": lambda_0, **soft}),
        Arm("soft", EVIDENCE, options={"strengths": "evidence", "lambda_0": 1.0, **soft}),
    ]


def _networks(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if not {"tau", "case"} & set(record.trial.config)]


def _last_strengths(record: Record) -> list[float] | None:
    found = _inertia_cases.last_strengths(record)
    return found if len(found) == len(_NAMES) else None


def _numbered(kind: str, rows: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean of each column, under `kind0`, `kind1`, ..."""
    return {f"{kind}{i}": math.fsum(column) / len(column) for i, column in enumerate(zip(*rows, strict=True))}


def _found_table(records: Sequence[Record]) -> Table:
    columns = [Column("name", "treatment")]
    for kind, words in (("R", "penalty R"), ("lambda", "strength"), ("error", "equivariance error")):
        columns += [Column(f"{kind}{i}", f"{words}, {name}", digits=2) for i, name in enumerate(_NAMES)]
    rows = []
    for name in dict.fromkeys(r.trial.name for r in _networks(records)):
        found = done(records, name)
        rows.append(
            {"name": name}
            | _numbered("R", [r.metrics["residuals"] for r in found if "residuals" in r.metrics])
            | _numbered("lambda", [s for r in found if (s := _last_strengths(r))])
            | _numbered("error", [r.metrics["candidate_errors"] for r in found])
        )
    return Table("What was found: O(2)xy holds, the other two do not. Means over seeds.", tuple(columns), tuple(rows))


def _linear_table(records: Sequence[Record]) -> Table:
    columns = (Column("name", "task"), *(Column(name, name) for name in _planted.METHODS))
    rows = []
    for n, tau in _planted.SETTINGS:
        found = done(records, LINEAR.format(n, tau))
        if found:
            rows.append({"name": LINEAR.format(n, tau), **found[0].metrics["errors"]})
    caption = (
        "One linear map with a closed solution: squared error of the weight, mean over seeds. tau is how far it is from"
        " O(2)xy; ridge is the best one in hindsight."
    )
    return Table(caption, columns, tuple(rows))


def _strength_figures(records: Sequence[Record]) -> list[Figure]:
    found = []
    for treatment in (POWER, EVIDENCE):
        for record in done(records, treatment)[:1]:
            history = record.metrics.get("history") or []
            keys = [key for key in (history[-1] if history else {}) if key.startswith("strength_")]
            traces = [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "x": [entry["epoch"] for entry in history],
                    "y": [entry.get(key) for entry in history],
                }
                for key, name in zip(keys, _NAMES, strict=False)
            ]
            layout = {
                "xaxis": {"title": {"text": "epoch"}},
                "yaxis": {"type": "log", "exponentformat": "power", "title": {"text": "strength"}},
            }
            words = "The strength of each candidate while the network trains; O(2)xy is the one that holds."
            found.append(Figure(f"Strengths: {treatment}", words, traces, layout))
    return found


def _network_claims(records: Sequence[Record], name: str, scale: str) -> list[Claim]:
    runs = done(records, name)
    ratios = [min(r.metrics["residuals"][1:]) / max(r.metrics["residuals"][0], 1e-12) for r in runs]
    rows = [s for r in runs if (s := _last_strengths(r)) is not None]
    right = sum(row.index(max(row)) == 0 for row in rows)
    tested = bool(runs) and scale != "smoke"
    return [
        _ratio(f"{name}: more accurate than without penalty.", "torsor", records, name, FREE, 0.5, scale),
        _ratio(f"{name}: more accurate than the wrong hard constraint.", _PAPER, records, name, WRONG, 0.3, scale),
        Claim(
            f"{name}: the weights keep the symmetry that holds and leave the others.",
            "torsor",
            None,
            min(ratios) if ratios else None,
            "R of the best broken candidate / R of O(2)xy >= 3, smallest of the seeds",
            min(ratios) >= 3 if tested else None,
            scale,
        ),
        Claim(
            f"{name}: the largest strength is that of the symmetry that holds.",
            _PAPER,
            None,
            f"{right} of {len(rows)}" if rows else None,
            "all seeds",
            right == len(rows) if rows and tested else None,
            scale,
        ),
    ]


def _ratio(text: str, source: str, records: Sequence[Record], above: str, below: str, bar: float, scale: str) -> Claim:
    one, other = mean(records, above, "test_error"), mean(records, below, "test_error")
    measured = None if one is None or not other else one / other
    holds = None if measured is None or scale == "smoke" else measured <= bar
    return Claim(text, source, None, measured, f"test error ratio <= {bar:g}", holds, scale)


def _linear_claims(records: Sequence[Record], scale: str) -> list[Claim]:
    found = {key: done(records, LINEAR.format(*key)) for key in _planted.SETTINGS}
    errors = {key: rows[0].metrics["errors"] for key, rows in found.items() if rows}
    first = [rows[0].metrics for rows in found.values() if rows]
    whole = len(errors) == len(found) and scale != "smoke"
    picks = [f"{m['first']['power rule']} and {m['first']['evidence']} of {m['seeds']}" for m in first]
    all_right = all(count == m["seeds"] for m in first for count in m["first"].values())
    softest = [max(e["power rule"], e["evidence"]) / e["ridge"] for e in errors.values()]
    exact = [e["evidence"] / e["hard O(2)xy"] for (_, tau), e in errors.items() if tau == 0]
    broken = [e["evidence"] / e["hard O(2)xy"] for (_, tau), e in errors.items() if tau == 1]
    return [
        Claim("One linear map: both rules put the group that holds first.", "torsor", None,
              "; ".join(picks) or None, "all seeds", all_right if whole else None, scale),
        Claim("One linear map: soft penalties beat the best ridge in hindsight.", "torsor", None,
              max(softest, default=None), "error ratio < 1", max(softest) < 1 if whole else None, scale),
        Claim("One linear map, exact symmetry: the evidence is as good as the right hard constraint.", "torsor", None,
              max(exact, default=None), "error ratio <= 1.15", max(exact) <= 1.15 if whole else None, scale),
        Claim("One linear map, symmetry broken: the evidence beats the right hard constraint.", "torsor", None,
              max(broken, default=None), "error ratio < 1", max(broken) < 1 if whole else None, scale),
    ]  # fmt: skip

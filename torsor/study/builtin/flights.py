"""Flights: real motion, whose symmetry gravity breaks a little; linear maps that learn which one is left.

Stands in for the Waymo recordings of Kim et al. 2023 (arXiv 2306.00356), section 5, which need a registration.
"""

from collections.abc import Sequence
from typing import Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Table
from torsor.study._protocol import Record, SkippedError, Study, Trial, Workspace, mean, values

METHODS = ("least squares", "ridge by evidence", "hard O(3)", "hard O(2)xy", "soft, evidence")
SEEN = "another run on the same recordings"


class Flights(Study):
    """The next six positions of an aircraft from the last six, by a linear map 6V -> 6V."""

    name = "flights"
    question = "Real motion: does a soft penalty find the symmetry that gravity leaves, and what does it gain?"
    paper = 4

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        number = {"smoke": 1, "desk": 5, "paper": 20}[scale]
        chosen = tuple(range(number)) if seeds is None else seeds
        return [Trial(self.name, method, s, {"windows": 25}) for method in METHODS for s in chosen]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        import torch

        from torsor.actions import V, equivariant_basis
        from torsor.data import flights
        from torsor.groups import O, embed
        from torsor.learn import fit_linear

        try:
            data = flights(dtype=torch.float64)
        except FileNotFoundError as error:
            raise SkippedError(str(error)) from error
        generator = torch.Generator().manual_seed(trial.seed)
        train = data.train[torch.randperm(len(data.train), generator=generator)[: trial.config["windows"]]]
        (x,), y, (u,), v = train.inputs, train.targets, data.test.inputs, data.test.targets
        axes = [embed(O(2), axes, 3) for axes in ((0, 1), (1, 2), (0, 2))]
        found: dict[str, Any] = {}
        if trial.name == "least squares":
            W = torch.linalg.lstsq(x, y, driver="gelsd").solution.mT
        elif trial.name.startswith("hard"):
            group = O(3) if trial.name == "hard O(3)" else axes[0]
            Q = equivariant_basis(group, 6 * V, 6 * V).dense()
            design = torch.einsum("roi,ni->nor", Q, x).flatten(0, 1)
            solution = torch.linalg.lstsq(design, y.flatten()[:, None], driver="gelsd").solution
            W = torch.einsum("r,roi->oi", solution.squeeze(1), Q)
        else:
            fit = fit_linear(x, y, 6 * V, 6 * V, axes if trial.name == "soft, evidence" else ())
            W = fit.weight
            found = {"log_evidence": fit.log_evidence, "strengths": fit.strengths.tolist()}
        return {"test_error": float((u @ W.mT - v).square().mean()), "windows": len(data.train), **found}

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (Column("name", "method"), Column("error", "test error"), Column("evidence", "log evidence"))
        rows = [
            {"name": n, "error": mean(records, n, "test_error"), "evidence": mean(records, n, "log_evidence")}
            for n in METHODS
        ]
        return [Table("Mean squared error with 25 windows to learn from; means over draws.", columns, tuple(rows))]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        soft, ridge = (mean(records, n, "test_error") for n in ("soft, evidence", "ridge by evidence"))
        ratio = soft / ridge if soft is not None and ridge else None
        gains = [
            a - b
            for a, b in zip(
                values(records, "soft, evidence", "log_evidence"),
                values(records, "ridge by evidence", "log_evidence"),
                strict=False,
            )
        ]
        return [
            Claim("With 25 windows a soft penalty is more accurate than ridge.", SEEN, 0.53, ratio,
                  "test error ratio <= 0.6", None if ratio is None or scale == "smoke" else ratio <= 0.6, scale),
            Claim("The evidence for the symmetry is overwhelming.", "torsor", None, min(gains, default=None),
                  "gain > 100 nats", min(gains) > 100 if gains and scale != "smoke" else None, scale),
        ]  # fmt: skip

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        errors = {n: e for n in METHODS if (e := mean(records, n, "test_error")) is not None}
        if not errors:
            return Answer("No recordings: every trial was skipped.", ("pip install --no-deps traffic==2.13",))
        best = min(errors, key=lambda name: errors[name])
        return Answer(f"{best} predicts best with 25 windows.", recommended=best)


study = Flights()

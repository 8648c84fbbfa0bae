"""Moments of inertia with nothing broken, or broken about another axis: does what is found follow the law?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torsor.study._claim import Claim
from torsor.study._comparison import Plan
from torsor.study._exhibits import Column, Table
from torsor.study._protocol import Record, Trial, done, mean

CASES: Mapping[str, Mapping[str, Any]] = {"unbroken": {"alpha": 0.0}, "about x": {"axis": "x"}}
"""What is changed in the data."""
_RIGHT = {"about x": 1}
"""The number of the candidate that holds alone."""


def trials(study: str, plan: Plan, arms: Sequence[str]) -> list[Trial]:
    """The arms of the plan that are named here, on the data of each case, with the first seed."""
    common = {key: value for key, value in asdict(plan).items() if key not in ("arms", "seeds", "decide_by", "data")}
    chosen = [arm for arm in plan.arms if arm.name in arms]
    return [
        Trial(
            study,
            f"{case}: {arm.name}",
            plan.seeds[0],
            common
            | {"data": {**plan.data, **change}, "treatment": arm.treatment, "options": dict(arm.options)}
            | {"train_size": None, "case": case},
        )
        for case, change in CASES.items()
        for arm in chosen
        if case in ("unbroken",) or arm.treatment == "soft"
    ]


def table(records: Sequence[Record], candidates: Sequence[str]) -> Table:
    """Test errors and strengths in all cases."""
    columns = [Column("name", "data: treatment"), Column("error", "test error")]
    columns += [Column(f"lambda{i}", f"strength, {name}", digits=2) for i, name in enumerate(candidates)]
    rows = []
    for name in dict.fromkeys(r.trial.name for r in records if "case" in r.trial.config):
        strengths = next((s for r in done(records, name) if (s := last_strengths(r))), [])
        error = mean(records, name, "test_error")
        rows.append({"name": name, "error": error} | {f"lambda{i}": s for i, s in enumerate(strengths)})
    return Table("Other laws: all candidates hold; O(2)yz holds alone.", tuple(columns), tuple(rows))


def claims(records: Sequence[Record], free: str, soft: Sequence[str], scale: str) -> list[Claim]:
    """That soft networks gain where all candidates hold, and that the strengths follow the axis."""
    found = []
    for name in soft:
        one, other = (mean(records, f"unbroken: {arm}", "test_error") for arm in (name, free))
        ratio = one / other if one is not None and other else None
        found.append(
            Claim(f"Nothing broken; {name}: more accurate than without penalty.", "torsor", None, ratio,
                  "test error ratio <= 0.5", None if ratio is None or scale == "smoke" else ratio <= 0.5, scale)
        )  # fmt: skip
        rows = [s for r in done(records, f"about x: {name}") if (s := last_strengths(r))]
        first = [row.index(max(row)) for row in rows]
        found.append(
            Claim(f"Broken about x; {name}: the largest strength is that of O(2)yz.", "torsor", None,
                  f"{first.count(_RIGHT['about x'])} of {len(rows)}" if rows else None, "all seeds",
                  None if not rows or scale == "smoke" else set(first) == {_RIGHT["about x"]}, scale)
        )  # fmt: skip
    return found


def last_strengths(record: Record) -> list[float]:
    """The strengths of the candidates after the last epoch; empty where there are none."""
    history = record.metrics.get("history") or [{}]
    return [value for key, value in history[-1].items() if key.startswith("strength_")]

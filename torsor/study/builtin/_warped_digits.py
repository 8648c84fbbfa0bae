"""What the studies of warped digits share: data, networks, rows, and the sentences about them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._exhibits import Column, Figure, Table
from torsor.study._protocol import Record, Trial, done, mean, names

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset
    from torsor.symmetry import Transformation

_COUNTS, _LIMIT, _AUDITED = (2, 4, 8, 16, 32), 64, 16  # elements and images that errors are taken apart with

TWIN, CONVOLVED = "group convolution, trivial group", "group convolution"


class WarpedDigitsStudy(Comparison):
    """Centred digits to learn from; tested as they are, and warped by a law that training has not seen."""

    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        from torsor import data as data_sets

        options = {key: value for key, value in data.items() if key != "name"}
        return getattr(data_sets, data["name"])(**options, centred="all")

    def law(self, dataset: "Dataset", config: Mapping[str, Any]) -> "Transformation":
        return dataset.law  # type: ignore[attr-defined]

    def audited(self, dataset: "Dataset") -> "Transformation":
        return dataset.law  # type: ignore[attr-defined]

    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        from torsor.build.backbones import GlobalCNN
        from torsor.build.lie import InvariantNet

        options = dict(backbone)
        make = {"cnn": partial(GlobalCNN, 1), "invariants": partial(InvariantNet, 1), "group": group_network}
        return make[options.pop("net")](dataset.classes, **options)  # type: ignore[operator]

    def measured(self, model: "nn.Module", dataset: "Dataset", trial: Trial) -> dict[str, Any]:
        """The error on upright digits of the validation set; and where that of the invariance comes from, for networks
        that draw group elements."""
        import torch

        from torsor import audit
        from torsor._tree import leaves
        from torsor.groups import Affine
        from torsor.study._measure import error_on_test

        measured: dict[str, Any] = {
            "upright_valid_error": error_on_test(model, replace(dataset, test=dataset.valid)).mean
        }
        plan, law = getattr(model, "plan", None), self.law(dataset, trial.config)
        posed = getattr(model, "frame", None) is not None
        if plan is None or plan.proposal is None or posed or not isinstance(law.symmetry.group, Affine):  # type: ignore[attr-defined]
            return measured
        images = leaves(dataset.test.inputs)[0][:_AUDITED]
        generator = torch.Generator().manual_seed(0)
        moves = law.sample(images, generator=generator)
        found = audit.error_sources(model, plan, images, moves, counts=_COUNTS, limit=_LIMIT, generator=generator)
        parts = {"truncation": found.truncation, "pixels": found.pixels}
        sources = {"elements": _COUNTS, "all": found.total, "sampling": found.estimator, **parts}
        return {**measured, "error_sources": sources}

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        rows = names([record for record in records if record.metrics.get("error_sources")])
        return [*super().figures(records, scale), *(sources_figure(records, row) for row in rows)]

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2  # small networks: two processes beat two threads


def group_network(
    classes: int, *, width: float = 0.0, ball: float = 0.0, angle: float = 0.5, n: int = 4,
    resample: str = "train", method: str = "iid", n_eval: int | None = None,
    trivial: bool = False, paper: bool = False, **options: Any,
) -> "nn.Module":  # fmt: skip
    """`AffineNetSmall`, or the network of the paper, on elements `exp(Y) R`: log-normal `Y` of a width, or `Y` without
    trace in a ball."""
    from torsor.build.lie import AffineNetSmall, AffineResNet, SamplePlan
    from torsor.groups import SO, Trivial
    from torsor.groups.measure import HaarBall, LogNormalSPD, PolarProposal, UniformCompact, Window

    kind = AffineResNet if paper else AffineNetSmall
    if trivial:
        return kind(SamplePlan(Trivial(2)), 1, classes, **options)
    law = Window(SO(2), angle) if angle < math.pi else UniformCompact(SO(2))
    if width or ball:
        law = PolarProposal(HaarBall(ball) if ball else LogNormalSPD(width), law)
    plan = SamplePlan(law, n, resample=resample, method=method, n_eval=n_eval)  # type: ignore[arg-type]
    return kind(plan, 1, classes, **options)


def group_arm(label: str, **options: Any) -> Arm:
    """A row with `group_network`: four rotations by at most half a radian, drawn anew; eight of them in evaluation."""
    network = {"net": "group", "channels": (12, 12, 24), "n": 4, "n_eval": 8, "method": "lattice", "max_stretch": 1.0}
    return Arm("plain", label, backbone=network | options)


def accuracy(records: Sequence[Record], row: str, key: str = "transformed_error") -> float | None:
    """Percent of right answers, mean over seeds."""
    error = mean(records, row, key)
    return None if error is None else 100 * (1 - error)


def judged(records: Sequence[Record], scale: str) -> bool:
    """Whether bars apply: MNIST, at desk or paper scale."""
    data = [record.trial.config.get("data", {}) for record in records]
    return scale != "smoke" and bool(data) and all(d.get("source") == "mnist" for d in data)


def at_least(text: str, row: str, bar: float, records: Sequence[Record], scale: str) -> Claim:
    """A row reaches so many percent on the warped test set, in the mean over seeds."""
    reached = _by_seed(records, row)
    return _claim(text, list(reached.values()), bar, "%", records, scale)


def gain(text: str, row: str, other: str, bar: float, records: Sequence[Record], scale: str) -> Claim:
    """A row is better than another by so many points on the warped test set, in the mean over the seeds of both."""
    one, two = _by_seed(records, row), _by_seed(records, other)
    return _claim(text, [one[seed] - two[seed] for seed in one if seed in two], bar, "points", records, scale)


def _by_seed(records: Sequence[Record], row: str) -> dict[int, float]:
    """Percent of right answers on the warped test set."""
    return {record.trial.seed: 100 * (1 - record.metrics["transformed_error"]) for record in done(records, row)}


def _claim(text: str, found: list[float], bar: float, unit: str, records: Sequence[Record], scale: str) -> Claim:
    centre = math.fsum(found) / len(found) if found else None
    words = f"{centre:.2f} ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else centre
    holds = centre >= bar if centre is not None and judged(records, scale) else None
    return Claim(text, "torsor", None, words, f">= {bar:g} {unit} in the mean over seeds", holds, scale)


def desk_plan(name: str, arms: Sequence[Arm], **options: Any) -> Plan:
    """The plan of all of them at desk scale: MNIST where it is on this machine, else the digits of scikit-learn."""
    from torsor.data import sources

    if sources()["mnist"].present:
        data = {"train": 2000, "valid": 500, "test": 2000, "source": "mnist"}
    else:
        data = {"train": 1000, "valid": 297, "test": 500, "source": "digits"}
    return Plan(
        data={"name": name, **data, "seed": 1, **options},
        backbone={"net": "cnn"},
        arms=arms,
        seeds=(0, 1, 2),
        epochs=8,
        batch_size=64,
        lr=1e-2,
        schedule="one_cycle",
        test_draws=1,
        audit_samples=32,
        decide_by="transformed",
    )


def sources_figure(records: Sequence[Record], row: str) -> Figure:
    """Where the error of the invariance of a row comes from, against the number of elements; mean over seeds."""
    found = [record.metrics["error_sources"] for record in done(records, row) if record.metrics.get("error_sources")]
    elements = list(found[0]["elements"])

    def average(part: str) -> list[float]:
        runs = [x[part] if isinstance(x[part], list | tuple) else [x[part]] * len(elements) for x in found]
        return [sum(column) / len(runs) for column in zip(*runs, strict=True)]

    parts = {part: average(part) for part in ("all", "sampling", "truncation", "pixels")}
    traces = [
        {"type": "scatter", "mode": "lines+markers", "name": part, "x": elements, "y": values, "line": {"dash": dash}}
        for (part, values), dash in zip(parts.items(), ("solid", "solid", "dash", "dot"), strict=True)
    ]
    axis = {"type": "log", "tickvals": elements, "title": {"text": "elements"}}
    columns = (Column("elements", "elements"), *(Column(part, part, digits=2) for part in parts))
    rows = [dict(zip(("elements", *parts), line, strict=True)) for line in zip(elements, *parts.values(), strict=True)]
    return Figure(
        f"Where the error comes from: {row}",
        "How much the logits of upright digits change under warps of the test, relative to their size: in all; by the"
        " few elements that are drawn; because elements leave the sampled region; by pixels.",
        traces,
        {"xaxis": axis, "yaxis": {"type": "log", "exponentformat": "power", "title": {"text": "relative change"}}},
        Table(f"Sources of error: {row}", columns, tuple(rows)),
    )


def sweep_figure(records: Sequence[Record], rows: Mapping[str, float], title: str, x: str) -> Figure:
    """Right answers on upright and on warped digits, against the number that a row belongs to; mean over seeds."""
    points = [
        {"row": row, "x": at, "upright": accuracy(records, row, "test_error"), "warped": accuracy(records, row)}
        for row, at in rows.items()
        if done(records, row)
    ]
    traces = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": [p["x"] for p in points],
         "y": [p[name] for p in points]}
        for name in ("upright", "warped")
    ]  # fmt: skip
    columns = (
        Column("row", "treatment"),
        Column("x", x),
        Column("upright", "upright", "%", 4),
        Column("warped", "warped", "%", 4),
    )
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": "right answers in %"}}}
    return Figure(title, f"{title}: percent of right answers.", traces, layout, Table(title, columns, tuple(points)))

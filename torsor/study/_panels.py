"""The tables and figures of a comparison."""

import math
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

from markupsafe import Markup

from torsor.study._exhibits import Column, Figure, Table
from torsor.study._numbers import show
from torsor.study._protocol import Record, done, mean, names, values
from torsor.study._verdict import Standing, standings

Number = int | float
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
_COLORS = 8
_FLOOR = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": {"color": "c7", "width": 1.5, "dash": "dash"}}


def treatments(records: Sequence[Record], recommended: str | None) -> Table:
    """The table of the treatments: errors with intervals, equivariance, size, time, memory."""
    test = {row.name: row for row in standings(records)}
    moved = {row.name: row for row in standings(records, "transformed")}
    rows = [
        {
            "name": name,
            "test": test[name].interval if name in test else None,
            "moved": moved[name].interval if name in moved else None,
            "equivariance": _equivariance(records, name),
            "parameters": _whole(mean(records, name, "parameters")),
            "epochs": _whole(mean(records, name, "epochs")),
            "cpu": mean(records, name, "cpu_seconds"),
            "seconds": mean(records, name, "train_seconds"),
            "inference": mean(records, name, "inference_ms"),
            "memory": mean(records, name, "memory_mb"),
            "trials": len(done(records, name)),
        }
        for name in names(records)
    ]
    batch = next((record.metrics.get("inference_batch") for record in done(records)), None)
    unit = _unit(records)
    columns = (
        Column("name", "treatment"),
        Column("test", "test error", unit),
        Column("moved", "test error, transformed", unit),
        Column("equivariance", "equivariance error", digits=2),
        Column("parameters", "parameters"),
        Column("epochs", "epochs"),
        Column("cpu", "training, CPU", "s", 2),
        Column("seconds", "training, wall", "s", 2),
        Column("inference", "inference", f"ms per {batch}" if batch else "ms", 2),
        Column("memory", "memory of a step", "MB", 2),
        Column("trials", "trials"),
    )
    caption = (
        "Mean over seeds with 95 % intervals (seeds and test samples). "
        "Transformed: moved by group elements that no training has seen."
    )
    return Table(caption, columns, tuple(rows), recommended)


def equivariance(records: Sequence[Record]) -> Table:
    """What the audit says of each row, in words."""
    rows = []
    for name in names(records):
        found = done(records, name)
        if found:
            worst = max(found, key=lambda record: record.metrics.get("equivariance_error") or 0.0)
            rows.append(
                {
                    "name": name,
                    "verdict": worst.metrics.get("equivariance_verdict"),
                    "error": _equivariance([worst], name),
                    "words": worst.metrics.get("equivariance_words"),
                    "law": worst.metrics.get("equivariance_law"),
                }
            )
    columns = (
        Column("name", "treatment"),
        Column("verdict", "verdict"),
        Column("error", "relative error", digits=2),
        Column("words", "in words"),
        Column("law", "elements drawn"),
    )
    return Table("Equivariance, as audited on test samples; the worst seed of each row.", columns, tuple(rows))


def figures(records: Sequence[Record], floor: float | None = None) -> list[Figure]:
    """Errors side by side and against cost, learning curves, data efficiency, equivariance against group distance.

    `floor` is drawn where errors are: no model can do better on these data.
    """
    if not done(records):
        return []
    found = [
        _errors(records),
        _cost(records, "cpu_seconds", "CPU seconds of training", "Error against computing time", floor),
        _learning(records),
        _distance(records),
    ]
    if len({record.metrics.get("epochs") for record in done(records)}) > 1:
        found.insert(1, _cost(records, "epochs", "epochs", "Error against epochs", floor))
    if len({record.metrics.get("train_samples") for record in done(records)}) > 1:
        found.append(_efficiency(records))
    return [figure for figure in found if figure is not None]


def _errors(records: Sequence[Record]) -> Figure:
    test = {row.name: row for row in standings(records)}
    moved = {row.name: row for row in standings(records, "transformed")}
    order = [name for name in names(records) if name in test][::-1]

    def dots(rows: dict[str, Standing], label: str, symbol: str, color: str) -> dict[str, Any]:
        chosen = [rows[name] for name in order]
        return {
            "type": "scatter",
            "mode": "markers",
            "name": label,
            "x": [row.error for row in chosen],
            "y": order,
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [row.high - row.error for row in chosen],
                "arrayminus": [row.error - row.low for row in chosen],
                "thickness": 1.5,
                "width": 4,
            },
            "marker": {"size": 10, "symbol": symbol, "color": color},
        }

    bounds = [x for row in (*test.values(), *moved.values()) for x in (row.low, row.high)]
    wide = max(bounds) > 8 * min(row.error for row in test.values())
    table = Table(
        "Error of each treatment",
        (Column("name", "treatment"), Column("test", "test error"), Column("moved", "test error, transformed")),
        tuple({"name": name, "test": test[name].interval, "moved": moved[name].interval} for name in order[::-1]),
    )
    return Figure(
        "Error, as it is and transformed",
        "The test error of each treatment with 95 % intervals, as the test set is and moved by unseen group elements.",
        [dots(test, "test set", "circle", "c0"), dots(moved, "test set, transformed", "diamond-open", "c1")],
        {
            "xaxis": {
                "title": {"text": _with_unit("test error", records)},
                **(_log_axis(bounds) if wide else {"rangemode": "tozero"}),
            },
            "yaxis": {"type": "category", "tickvals": order, "ticktext": [_wrapped(name) for name in order]},
        },
        table,
    )


def _cost(records: Sequence[Record], key: str, unit: str, title: str, floor: float | None) -> Figure:
    traces, rows = [], []
    for index, name in enumerate(names(records)):
        found = [record.metrics for record in done(records, name)]
        pairs = [(metrics[key], metrics["test_error"]) for metrics in found if metrics.get(key)]
        if pairs:
            marker = {"size": 11, "symbol": _SYMBOLS[index % len(_SYMBOLS)], "color": _color(index)}
            x, y = [list(column) for column in zip(*pairs, strict=True)]
            traces.append({"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker})
            rows.extend({"name": name, "cost": cost, "error": error} for cost, error in pairs)
    columns = (Column("name", "treatment"), Column("cost", unit), Column("error", "test error"))
    description = f"The test error of every trial against its {unit}; lower and further left is better."
    if floor is not None:
        description += (
            f" The dashed line is the floor that the data put under every equivariant model, {show(floor, 2)}."
        )
    layout = {
        "xaxis": {"title": {"text": unit}, **_log_axis([row["cost"] for row in rows])},
        "yaxis": {"title": {"text": _with_unit("test error", records)}, "rangemode": "tozero"},
        "shapes": [] if floor is None else [_FLOOR | {"y0": floor, "y1": floor}],
    }
    return Figure(title, description, traces, layout, Table(title, columns, tuple(rows)))


def _learning(records: Sequence[Record]) -> Figure | None:
    def curve(record: Record) -> tuple[list[Number], list[Number]]:
        points = [(e["epoch"], e["valid"]) for e in record.metrics.get("history", ()) if e.get("valid") is not None]
        return [p[0] for p in points], [p[1] for p in points]

    return _lines(
        records,
        curve,
        "Learning curves",
        "Validation error after each epoch; one line for each trial, one color for each treatment.",
        "epoch",
        "validation error",
    )


def _distance(records: Sequence[Record]) -> Figure | None:
    def curve(record: Record) -> tuple[list[Number], list[Number]]:
        distances, errors = record.metrics.get("equivariance_curve") or ([], [])
        return list(distances), [max(error, 1e-17) for error in errors]

    return _lines(
        records,
        curve,
        "Equivariance error against distance in the group",
        "How far each model is from equivariance, for elements at a growing distance from the identity.",
        "distance from the identity",
        "relative equivariance error",
        log=True,
    )


def _efficiency(records: Sequence[Record]) -> Figure | None:
    treatments_ = dict.fromkeys(str(record.trial.config.get("treatment")) for record in done(records))
    traces, rows = [], []
    for index, treatment in enumerate(treatments_):
        sizes: dict[int, list[float]] = {}
        for record in done(records):
            if record.trial.config.get("treatment") == treatment:
                sizes.setdefault(record.metrics["train_samples"], []).append(record.metrics["test_error"])
        points = sorted((size, math.fsum(errors) / len(errors)) for size, errors in sizes.items())
        marker = {"size": 9, "symbol": _SYMBOLS[index % len(_SYMBOLS)], "color": _color(index)}
        x, y = [list(column) for column in zip(*points, strict=True)]
        line = {"type": "scatter", "mode": "lines+markers", "line": {"color": _color(index)}}
        traces.append(line | {"name": treatment, "x": x, "y": y, "marker": marker})
        rows.extend({"name": treatment, "size": size, "error": error} for size, error in points)
    columns = (Column("name", "treatment"), Column("size", "training samples"), Column("error", "test error"))
    return Figure(
        "Data efficiency",
        "The test error, mean over seeds, against the number of training samples.",
        traces,
        {
            "xaxis": {"title": {"text": "training samples"}, **_log_axis([row["size"] for row in rows])},
            "yaxis": {"title": {"text": "test error"}, **_log_axis([row["error"] for row in rows])},
        },
        Table("Data efficiency", columns, tuple(rows)),
    )


def _lines(
    records: Sequence[Record],
    curve: Callable[[Record], tuple[list[Number], list[Number]]],
    title: str,
    description: str,
    x: str,
    y: str,
    log: bool = True,
) -> Figure | None:
    traces, rows = [], []
    for index, name in enumerate(names(records)):
        for first, record in enumerate(done(records, name)):
            horizontal, vertical = curve(record)
            if horizontal:
                line = {"color": _color(index), "width": 2}
                marker = {"color": _color(index), "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 6}
                mode = "lines" if len(horizontal) > 20 else "lines+markers"
                trace = {"type": "scatter", "mode": mode, "name": name, "legendgroup": name, "showlegend": first == 0}
                traces.append(trace | {"x": horizontal, "y": vertical, "line": line, "marker": marker})
                rows.append({"name": name, "seed": str(record.trial.seed), "x": horizontal[-1], "y": vertical[-1]})
    if not traces:
        return None
    columns = (Column("name", "treatment"), Column("seed", "seed"), Column("x", f"last {x}"), Column("y", y))
    kind = {"type": "log", "exponentformat": "power"} if log else {}
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, **kind}}
    return Figure(title, description, traces, layout, Table(title, columns, tuple(rows)))


def _equivariance(records: Sequence[Record], name: str) -> tuple[float, float, float] | None:
    errors = values(records, name, "equivariance_error")
    intervals = [record.metrics.get("equivariance_interval") for record in done(records, name)]
    intervals = [interval for interval in intervals if interval]
    if not errors or len(intervals) < len(errors):
        return None
    return math.fsum(errors) / len(errors), min(low for low, _ in intervals), max(high for _, high in intervals)


def _unit(records: Sequence[Record]) -> str:
    """What errors are measured in."""
    return str(next((record.metrics["error_unit"] for record in done(records) if "error_unit" in record.metrics), ""))


def _with_unit(words: str, records: Sequence[Record]) -> str:
    return f"{words} ({unit})" if (unit := _unit(records)) else words


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _log_axis(numbers: Sequence[Number]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 of each power of ten, so that a narrow one has room for them."""
    positive = [x for x in numbers if x > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [show(tick, 2) for tick in ticks]}


def _wrapped(name: str) -> Markup:
    """A name in short lines, for the axis of a narrow figure."""
    return Markup("<br>").join(wrap(name, 18) or [name])


def _color(index: int) -> str:
    return f"c{index % _COLORS}"

"""The figures of the gallery, as small SVG files: matplotlib, with text as text."""

from pathlib import Path
from typing import Any

COLOURS = ("#3366aa", "#cc6633", "#4d8f3c", "#8a5aa8")


def potentials(found: dict[str, Any], path: Path) -> None:
    """Errors of forces by kind of element for each model, over the floor of rounding."""
    kinds = ("rotations", "reflections", "translations")
    rows = {}
    for model, report in found.items():
        parts = {r["elements"]: r for r in report["records"] if r["output"] == "forces"}
        rows[model] = [(kind, parts[kind]) for kind in kinds]
    _dots(rows, path, "relative error of the forces")


def changes(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Errors of probabilities under single changes of photographs."""
    rows = {model: [(row["change"], row) for row in report] for model, report in found.items()}
    _dots(rows, path, "relative error of the probabilities")


def _dots(rows: dict[str, list[tuple[str, dict[str, Any]]]], path: Path, label: str) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "torsor", "font.size": 10}
    import matplotlib.pyplot as plt

    names = [name for name, _ in next(iter(rows.values()))]
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.55 * len(names)), layout="constrained")
    for k, (model, parts) in enumerate(rows.items()):
        heights = [i + 0.16 * (k - (len(rows) - 1) / 2) for i in range(len(parts))]
        tiny = 1e-9  # where nothing changes at all
        errors = [max(part["error"], tiny) for _, part in parts]
        lows = [max(part["low"], tiny) for _, part in parts]
        highs = [max(part["high"], tiny) for _, part in parts]
        axes.hlines(heights, lows, highs, color=COLOURS[k % 4], lw=2)
        axes.plot(errors, heights, "o", color=COLOURS[k % 4], label=model, ms=5)
        floors = [part["floor"] for _, part in parts]
        axes.plot(floors, heights, "|", color=COLOURS[k % 4], ms=9, mew=1.5)
    axes.plot([], [], "|", color="#555", ms=9, mew=1.5, label="floor of each")
    axes.set(xscale="log", xlabel=label, yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)

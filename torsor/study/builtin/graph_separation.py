"""Graphs: which orders of the nodes let a network tell graphs apart, and know a graph again when it is renumbered.

Sources: Puny et al. 2021 (arXiv 2110.03336), section 4.2; graphs of Balcilar et al. 2021 (arXiv 2106.04319) and
Abboud et al. 2021 (arXiv 2010.01179).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, SkippedError, Study, Trial, Workspace, done, mean, values

if TYPE_CHECKING:
    from torsor.data import Dataset, Samples
    from torsor.symmetry import Symmetry

CLASSIFIED = {
    "GIN, no places": None,
    "GIN + places, any order": "any",
    "GIN + places, canonical labelling": "canonical",
    "GIN + places, Laplacian keys, ties at random": "keys",
    "GIN + places, Laplacian keys, canonical ties": "keys, canonical",
}
"""What is trained on EXP-classify: the name of a row, and the order in which its network sees the nodes."""

SEPARATED = {
    "random GIN, no places": ("GIN", None),
    "random GIN + places, any order": ("GIN", "any"),
    "random GIN + places, Laplacian keys, ties at random": ("GIN", "keys"),
    "random GIN + places, Laplacian keys, canonical ties": ("GIN", "keys, canonical"),
    "random MLP, Laplacian keys, canonical ties": ("MLP", "keys, canonical"),
}
"""What is left untrained, and asked whether its outputs differ for different graphs, and for copies of one graph."""

_NONE, _ANY, _PLAIN, _TIED, _BEST = CLASSIFIED
_RANDOM, _RANDOM_ANY, _RANDOM_TIED, _RANDOM_BEST, _RANDOM_MLP = SEPARATED
_SETS = {"few": "graph8c", "regular": "SR25", "formulas": "EXP"}
_NETWORKS = {"smoke": (8, 8, 2), "desk": (20, 20, 5), "paper": (100, 100, 100)}  # random ones, for each of the sets
_PAPER = "Puny et al. 2021 (arXiv 2110.03336), section 4.2"
_REFINED = 478  # pairs of connected graphs on 8 nodes after three rounds of colour refinement; 312 when it has ended
_GUESSING = 0.55
_CONTROL, _CONTROL_ANY = 4055, 11116  # graphs whose frame is larger than their automorphism group; all but K8


class GraphSeparation(Study):
    """Networks on graphs that know the place of each node in an order, for several orders.

    Trained: is the formula of a graph of EXP satisfiable? Colour refinement, and so a plain graph network, cannot know.
    Untrained: how many pairs of different graphs no random network separates, and, as a control that decides what the
    first number is worth, how many graphs are told from their own renumbered copies.
    """

    name = "graph-separation"
    question = "Which order of its nodes lets a network tell graphs apart, and know each of them again?"
    paper = 1

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        data = {"nodes": 6 if scale == "smoke" else 8, "pairs": 12 if scale == "smoke" else 600}
        data["published"] = scale == "paper" or (scale == "desk" and _published())
        sizes = {"smoke": (2, 8, 1), "desk": (100, 64, 3), "paper": (500, 64, 3)}
        epochs, hidden, layers = sizes[scale]
        net = {"hidden": hidden, "layers": layers, "epochs": epochs, "batch_size": 32, "lr": 1e-3}
        drawn = {"networks": dict(zip(_SETS, _NETWORKS[scale], strict=True)), "hidden": 64 if scale == "paper" else 32}
        chosen = {"smoke": (1,), "desk": (11,), "paper": tuple(range(1, 11))}[scale] if seeds is None else seeds
        random = [Trial(self.name, row, 0, data | drawn) for row in SEPARATED]
        return [*random, *(Trial(self.name, row, seed, data | net) for row in CLASSIFIED for seed in chosen)]

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        config = trial.config
        if config["published"] and not _published():
            raise SkippedError(
                "needs the published graphs: put exp.npz in $TORSOR_DATA/graphs (`torsor data list` says more)"
            )
        return _separated(trial, space) if trial.name in SEPARATED else _classified(trial, space)

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        trained = (
            Column("name", "network"),
            Column("accuracy", "test accuracy"),
            Column("seeds", "seed by seed"),
            Column("renumbered", "the same, renumbered"),
            Column("changed", "answers that renumbering changes"),
            Column("cpu", "training, CPU", "s", 2),
        )
        rows = [
            {
                "name": row,
                "accuracy": mean(records, row, "accuracy"),
                "seeds": ", ".join(f"{x:.3f}" for x in values(records, row, "accuracy")) or None,
                "renumbered": mean(records, row, "accuracy_renumbered"),
                "changed": mean(records, row, "changed"),
                "cpu": mean(records, row, "cpu_seconds"),
            }
            for row in CLASSIFIED
        ]
        counts = [Column("name", "network")]
        for key, name in _SETS.items():
            counts.append(Column(f"{key}_unseparated", f"{name}: pairs not separated{_of(records, key, 'pairs')}"))
            counts.append(Column(f"{key}_torn", f"{name}: told from their copies{_of(records, key, 'graphs')}"))
        found = [{"name": row} | {c.key: _count(records, row, c.key) for c in counts[1:]} for row in SEPARATED]
        return [
            Table("EXP-classify: share of right answers, mean over seeds", trained, tuple(rows), _BEST),
            Table(
                "Separation by random networks. Pairs of different graphs should be separated, copies should not:"
                " where copies are told apart, the first number says nothing.",
                tuple(counts),
                tuple(found),
                _RANDOM_BEST,
            ),
        ]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        rows = [row for row in CLASSIFIED if values(records, row, "accuracy")]
        if not rows:
            return []
        bars = {"type": "bar", "orientation": "h", "name": "mean over seeds", "y": rows[::-1]}
        bars["x"] = [mean(records, row, "accuracy") for row in rows[::-1]]
        each = [(row, x) for row in rows[::-1] for x in values(records, row, "accuracy")]
        dots = {"type": "scatter", "mode": "markers", "name": "each seed", "y": [row for row, _ in each]}
        dots |= {"x": [x for _, x in each], "marker": {"size": 8, "symbol": "circle-open"}}
        curves = [
            {"type": "scatter", "mode": "lines", "name": row, "x": [e for e, _ in r.metrics["curve"]],
             "y": [a for _, a in r.metrics["curve"]]}
            for row in rows for r in done(records, row)[:1]
        ]  # fmt: skip
        return [
            Figure(
                "Accuracy of each order",
                "Test accuracy on EXP-classify; a half is guessing.",
                [bars, dots],
                {
                    "xaxis": {"title": {"text": "test accuracy"}, "range": [0, 1.02]},
                    "yaxis": {"type": "category", "tickvals": rows, "ticktext": [_wrapped(row) for row in rows]},
                },
            ),
            Figure(
                "Accuracy while they learn",
                "Accuracy on the validation graphs after each epoch, first seed. Orders that carry the geometry of the"
                " graph are learned from sooner.",
                curves,
                {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "validation accuracy"}}},
            ),
        ]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        told = scale != "smoke"
        exact = [_RANDOM_BEST, _RANDOM_MLP]

        def claim(
            text: str, source: str, paper: float | str | None, measured: float | None, bar: str, holds: bool
        ) -> Claim:
            tested = measured is not None and (told or bar == "0")  # what is exact is so at any scale
            return Claim(text, source, paper, measured, bar, holds if tested else None, scale)

        def accuracy(row: str, text: str, source: str, paper: str | None, least: float, most: float) -> Claim:
            found = mean(records, row, "accuracy")
            bar = f">= {least:.2f}" if least else f"<= {most:.2f}"
            return claim(text, source, paper, found, bar, found is not None and least <= found <= most)

        def total(rows: Sequence[str], what: str, sets: Sequence[str] = tuple(_SETS)) -> int | None:
            found = [_count(records, row, f"{key}_{what}") for row in rows for key in sets]
            return None if None in found else sum(found)  # type: ignore[arg-type]

        def count(
            text: str, source: str, paper: int | None, measured: int | None, least: int, most: int, bar: str
        ) -> Claim:
            return claim(text, source, paper, measured, bar, measured is not None and least <= measured <= most)

        few, formulas = ("few",), ("formulas",)
        return [
            count("A plain graph network leaves pairs of graphs on 8 nodes unseparated.", f"{_PAPER}: graph8c, GIN",
                  386, total([_RANDOM], "unseparated", few), _REFINED, 61_788_286, f">= {_REFINED}"),
            count("A plain graph network separates no pair of EXP.", f"{_PAPER}: EXP, GIN",
                  600, total([_RANDOM], "unseparated", formulas), 600, 600, "600"),
            count("In the canonical order of its frame a perceptron separates all pairs of graph8c, SR25 and EXP.",
                  f"{_PAPER}: graph8c and EXP, FA-MLP", 0, total([_RANDOM_MLP], "unseparated"), 0, 0, "0"),
            count("In the canonical order of its frame a GIN with places separates all pairs of graph8c, SR25 and EXP.",
                  f"{_PAPER}: graph8c and EXP, FA-GIN+ID", 0, total([_RANDOM_BEST], "unseparated"), 0, 0, "0"),
            count("And neither tells any graph from a renumbered copy of itself.", "torsor: the control",
                  None, total(exact, "torn"), 0, 0, "0"),
            count("With ties broken at random, separation is no evidence: graphs differ from their own copies.",
                  "torsor: the frame is larger than the automorphism group", None,
                  total([_RANDOM_TIED], "torn", few), _CONTROL - 5, _CONTROL + 5, f"{_CONTROL} +- 5 of 11117"),
            count("Nor is it with any order: all graphs but the complete one differ from their own copies.",
                  "torsor", None, total([_RANDOM_ANY], "torn", few),
                  _CONTROL_ANY - 5, _CONTROL_ANY, f"{_CONTROL_ANY} - 5 of 11117"),
            accuracy(_NONE, "A plain graph network guesses on EXP-classify.", f"{_PAPER}: EXP-classify, GIN",
                     "50 %", 0, 0.55),
            accuracy(_ANY, "Places in any order do not help: it guesses.", f"{_PAPER}: EXP-classify, GA-GIN+ID",
                     "50 %", 0, 0.55),
            accuracy(_TIED, "One element of the frame of Laplacian keys is enough to learn EXP-classify.",
                     f"{_PAPER}: EXP-classify, FA-GIN+ID", "100 %", 0.97, 1),
            accuracy(_BEST, "So is the canonical order of the same keys, which is exact.",
                     f"{_PAPER}: EXP-classify, FA-GIN+ID", "100 %", 0.97, 1),
        ]  # fmt: skip

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        best, plain = (mean(records, row, "accuracy") for row in (_BEST, _NONE))
        if best is None or plain is None:
            return super().answer(records, scale)
        learned = [r for r in CLASSIFIED if (mean(records, r, "accuracy") or 0) > _GUESSING]
        exact = [r for r in learned if values(records, r, "changed") and not any(values(records, r, "changed"))]
        reasons = [f"Of those that learned something, renumbering changes no answer of: {'; '.join(exact) or 'none'}."]
        torn = _count(records, _RANDOM_TIED, "few_torn")
        if torn is not None:
            reasons.append(f"With ties at random {torn:,} graphs of graph8c differ from their own copies.")
        if scale == "smoke":
            reasons.append("Smoke scale only shows that everything runs.")
        return Answer(
            f"Laplacian keys with canonical ties: {best:.1%} of EXP-classify is right, {plain:.1%} without an order.",
            tuple(reasons),
            _BEST if scale != "smoke" and _BEST in exact else None,
        )


study = GraphSeparation()


def _published() -> bool:
    from torsor.data._graphs import graph_folder
    from torsor.data._graphs_exp import FILE

    return (graph_folder() / FILE).is_file()


def _formulas(config: Any, dtype: Any = None) -> "Dataset":
    from torsor.data import exp_graphs

    return exp_graphs(config["pairs"], root=None if config["published"] else "none", dtype=dtype)


def _separated(trial: Trial, space: Workspace) -> dict[str, Any]:
    from torsor.study.builtin._separating import separate

    kind, order = SEPARATED[trial.name]
    metrics: dict[str, Any] = {}
    for i, (key, (samples, symmetry)) in enumerate(_collections(trial.config).items()):
        space.tell(i / len(_SETS), _SETS[key])
        networks, hidden = trial.config["networks"][key], trial.config["hidden"]
        found = separate(kind, order, samples, symmetry, networks, hidden, trial.seed)
        metrics |= {f"{key}_{name}": number for name, number in found.items()}
    return metrics


def _collections(config: Any) -> "dict[str, tuple[Samples, Symmetry]]":
    """The graphs to separate, with the numbers of the pairs where not all are compared."""
    import torch

    from torsor import Pairs, Scalar, Symmetric, Symmetry
    from torsor.data import Samples, connected_graphs, strongly_regular_25

    found = {}
    for key, graphs in (("few", connected_graphs(config["nodes"])), ("regular", strongly_regular_25())):
        symmetry = Symmetry(Symmetric(graphs.shape[1]), {"adjacency": Pairs()}, Scalar(per="sample"))
        found[key] = Samples({"adjacency": graphs}), symmetry
    data = _formulas(config, torch.float64)
    parts = list(data.splits.values())
    inputs = {name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs}  # type: ignore[index]
    number = torch.arange(2 * config["pairs"]) // 2  # no split cuts a pair in two
    return found | {"formulas": (Samples(inputs, number), data.symmetry)}


def _classified(trial: Trial, space: Workspace) -> dict[str, Any]:
    from torsor import learn
    from torsor.study._comparison import Teller
    from torsor.study.builtin._separating import classify

    config = trial.config
    how = {name: config[name] for name in ("epochs", "batch_size", "lr")}
    loggers = [Teller(space, config["epochs"])]
    fit = partial(learn.fit, seed=trial.seed, loggers=loggers, checkpoint=space.checkpoint, **how)
    size = {"hidden": config["hidden"], "layers": config["layers"]}
    model, metrics = classify(CLASSIFIED[trial.name], _formulas(config), fit, size, trial.seed)
    space.save(model)
    return metrics


def _count(records: Sequence[Record], row: str, key: str) -> int | None:
    found = mean(records, row, key)
    return None if found is None else round(found)


def _of(records: Sequence[Record], key: str, what: str) -> str:
    sizes = [_count(records, row, f"{key}_{what}") for row in SEPARATED]
    known = [size for size in sizes if size is not None]
    return f", of {known[0]:,}" if known else ""


def _wrapped(row: str) -> Any:
    from markupsafe import Markup, escape

    return Markup("<br>").join(escape(part) for part in row.split(", ", 1))

"""What Gaunt products cannot see: three tasks that only handedness decides, with and without the bracket.

Sources: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216); Xie et al. 2025 (arXiv 2506.13523).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._numbers import show
from torsor.study._protocol import Record, Study, Trial, Workspace, done, mean, values

if TYPE_CHECKING:
    from torch import Tensor, nn

    from torsor.data import Dataset

TRIPLE, MIRROR, BLOCKS = "triple product", "mirror images", "tetris"
TASKS = (TRIPLE, MIRROR, BLOCKS)
GAUNT, BRACKET = "Gaunt", "Gaunt + bracket"
METHODS = (GAUNT, BRACKET)
_SOURCE = "Xie et al. 2025 (arXiv 2506.13523)"


class Chirality(Study):
    """The same networks, data and steps, with the Gaunt product alone and with its antisymmetric half."""

    name = "chirality"
    question = "Can a network of Gaunt products tell a shape from its mirror image, and what does it take?"
    paper = 7

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        sizes = {
            "smoke": {"train": 10, "test": 20, "steps": {TRIPLE: 2, MIRROR: 1, BLOCKS: 1}, "channels": 2},
            "desk": {"train": 500, "test": 2000, "steps": {TRIPLE: 600, MIRROR: 150, BLOCKS: 150}, "channels": 8},
            "paper": {"train": 500, "test": 2000, "steps": {TRIPLE: 4000, MIRROR: 600, BLOCKS: 600}, "channels": 16},
        }[scale]
        chosen = ({"smoke": (0,), "desk": (0, 1, 2), "paper": tuple(range(10))}[scale]) if seeds is None else seeds
        return [
            Trial(self.name, f"{task}: {method}", seed, {**sizes, "task": task, "method": method,
                                                         "steps": sizes["steps"][task]})
            for task in TASKS
            for method in METHODS
            for seed in chosen
        ]  # fmt: skip

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        import torch

        from torsor import learn

        config = trial.config
        data = _data(config, trial.seed)
        torch.manual_seed(trial.seed)
        model = _model(config, data)
        batch = min(50, len(data.train))
        per_epoch = -(-len(data.train) // batch)
        objective = learn.mse if data.task == "regression" else learn.cross_entropy
        result = learn.fit(
            model, data.train, objective, epochs=-(-config["steps"] // per_epoch), batch_size=batch, lr=1e-2,
            clip=1.0, seed=trial.seed, checkpoint=space.checkpoint,
        )  # fmt: skip
        with torch.no_grad():
            out = torch.cat([learn.predict(model, data.test[part].inputs) for part in _parts(len(data.test))])
        space.save(model)
        return _scores(out, data.test.targets, config["task"]) | {
            "parameters": sum(p.numel() for p in model.parameters()),
            "cpu_seconds": result.cpu_seconds,
        }

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (
            Column("name", "network"), Column("r2", "triple product, R²"), Column("mirror", "mirror images, accuracy"),
            Column("tetris", "Tetris, accuracy"), Column("six", "its six achiral shapes"),
            Column("gap", "largest difference of logits of the chiral pair"),
        )  # fmt: skip
        rows = [
            {
                "name": method,
                "r2": mean(records, f"{TRIPLE}: {method}", "r2"),
                "mirror": mean(records, f"{MIRROR}: {method}", "accuracy"),
                "tetris": mean(records, f"{BLOCKS}: {method}", "accuracy"),
                "six": mean(records, f"{BLOCKS}: {method}", "achiral_accuracy"),
                "gap": max(values(records, f"{BLOCKS}: {method}", "pair_gap"), default=None),
            }
            for method in METHODS
        ]
        return [Table("Test scores, means over seeds; 0.5 and 0 are chance.", columns, tuple(rows))]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        bars = []
        for method in METHODS:
            keys = ((TRIPLE, "r2"), (MIRROR, "accuracy"), (BLOCKS, "accuracy"))
            found = [mean(records, f"{task}: {method}", key) for task, key in keys]
            if any(v is not None for v in found):
                names = [f"{task}, {'R²' if key == 'r2' else key}" for task, key in keys]
                bars.append({"type": "bar", "name": method, "x": names, "y": found})
        words = "The same data and steps. Without the bracket nothing that a mirror changes can be told."
        return [Figure("Handedness", words, bars, {"yaxis": {"title": {"text": "test score"}}})]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        def found(task: str, method: str, key: str) -> list[float]:
            return values(records, f"{task}: {method}", key)

        def claim(text: str, numbers: list[float], bar: str, good: Any, worst: Any) -> Claim:
            measured = worst(numbers) if numbers else None
            tested = numbers and scale != "smoke"
            return Claim(text, _SOURCE, None, measured, bar, all(map(good, numbers)) if tested else None, scale)

        far = lambda v: max(v, key=lambda a: abs(a - 0.5))  # noqa: E731
        return [
            claim("Gaunt products alone explain nothing of a triple product.",
                  found(TRIPLE, GAUNT, "r2"), "R² <= 0.02, every seed", lambda v: v <= 0.02, max),
            claim("With the bracket the triple product is learned from the same data.",
                  found(TRIPLE, BRACKET, "r2"), "R² >= 0.98, every seed", lambda v: v >= 0.98, min),
            claim("Gaunt products alone are at chance on mirror images.",
                  found(MIRROR, GAUNT, "accuracy"), "accuracy 0.5 +- 0.03, every seed", lambda v: abs(v - 0.5) <= 0.03,
                  far),
            claim("With the bracket mirror images are told apart.",
                  found(MIRROR, BRACKET, "accuracy"), "accuracy >= 0.98, every seed", lambda v: v >= 0.98, min),
            claim("Tetris: Gaunt products give the chiral pair the same logits.",
                  found(BLOCKS, GAUNT, "pair_gap"), "<= 1e-6 relative", lambda v: v <= 1e-6, max),
            claim("Tetris: they get the other six shapes right.",
                  found(BLOCKS, GAUNT, "achiral_accuracy"), "accuracy 1", lambda v: v == 1, min),
            claim("Tetris: with the bracket all eight shapes are right.",
                  found(BLOCKS, BRACKET, "accuracy"), "accuracy 1", lambda v: v == 1, min),
        ]  # fmt: skip

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        if not done(records):
            return Answer(f"0 of {len(records)} trials ended.")
        reasons, solved = [], []
        for task, key in ((TRIPLE, "r2"), (MIRROR, "accuracy"), (BLOCKS, "accuracy")):
            without, with_it = (mean(records, f"{task}: {method}", key) for method in METHODS)
            if without is not None and with_it is not None:
                solved.append(with_it >= 0.98)
                word = "R²" if key == "r2" else key
                reasons.append(f"{task}: {word} {show(without)} without the bracket, {show(with_it)} with it.")
        adds = bool(solved) and all(solved)
        added = "The bracket adds it." if adds else "The bracket had too little training here."
        return Answer(
            "Gaunt products of true tensors give true tensors: what a mirror changes is out of their reach, however "
            f"long they are trained. {added}",
            tuple(reasons),
            BRACKET if adds and scale != "smoke" else None,
        )


study = Chirality()


def _data(config: Any, seed: int) -> "Dataset":
    from torsor.data import mirror_images, tetris, triple_product

    if config["task"] == BLOCKS:
        return tetris(max(config["test"] // 2, 8), seed=seed)
    make = triple_product if config["task"] == TRIPLE else mirror_images
    return make(config["train"], config["test"], seed=seed)


def _model(config: Any, data: "Dataset") -> "nn.Module":
    from torsor.study.builtin._chirality_nets import ShapeNet, VectorNet

    bracket = config["method"] == BRACKET
    if config["task"] == TRIPLE:
        return VectorNet(config["channels"], bracket)
    return ShapeNet(data.classes or 0, config["channels"], bracket, reach=6.0)


def _parts(size: int, most: int = 250) -> list[slice]:
    return [slice(start, start + most) for start in range(0, size, most)]


def _scores(out: "Tensor", targets: "Tensor", task: str) -> dict[str, float]:
    if task == TRIPLE:
        return {"r2": float(1 - (out - targets).square().sum() / (targets - targets.mean()).square().sum())}
    right = (out.argmax(1) == targets).to(out.dtype)
    found = {"accuracy": float(right.mean())}
    if task == BLOCKS:
        pair = out[targets < 2].double()
        gaps = pair[targets[targets < 2] == 0].mean(0) - pair[targets[targets < 2] == 1].mean(0)
        found |= {
            "achiral_accuracy": float(right[targets >= 2].mean()),
            "pair_gap": float(gaps.abs().max() / pair.abs().max()),
        }
    return found

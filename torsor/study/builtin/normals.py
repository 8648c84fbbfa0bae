"""Normals of surfaces: frames of the whole cloud, frames of each neighbourhood, and the plane fit that learns nothing.

Source: Puny et al. 2022 (arXiv 2110.03336), section 4.1 and Table 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torsor.study import _panels
from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._numbers import show
from torsor.study._protocol import Record, Trial, Workspace, mean, values
from torsor.study.builtin import _normals_claims
from torsor.study.builtin._normals_claims import LOCAL, LOCAL_STOCHASTIC, LOCAL_VECTORS, PLANE_FIT

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset

_LOCAL = (LOCAL, LOCAL_STOCHASTIC)
_ROTATIONS = {"group": "SO(3)"}
_VALUES = ("line", "vector")
_SMOKE = ("plain", LOCAL, "FA-PointNet", "FA-Local-PointNet", "FA-DGCNN")
_TWICE = ("plain", LOCAL)  # rows with two seeds at desk scale
_DESK = ("plain", "augmented", *_LOCAL, "PointNet", "FA-PointNet")


class Normals(Comparison):
    """Clouds of points on surfaces; the line of the normal at every point; upright in training, rotated in the test."""

    name = "normals"
    question = "Normals of surfaces from points: what do frames gain, of the whole cloud and of each neighbourhood?"
    paper = 1

    def plan(self, scale: str) -> Plan:
        desk = Plan(
            data={
                "source": "generated",
                "train": 200,
                "valid": 30,
                "test": 100,
                "points": 256,
                "noise": 0.01,
                "seed": 2,
            },
            backbone=_patches(),
            arms=_arms(_DESK, hidden=32, neighbours=10, averaged="stochastic_frames"),
            seeds=(21, 22),  # neither these nor these clouds had a part in the choice of widths and rates
            epochs=60,
            batch_size=4,
            lr=4e-3,
            test_group="SO(3)",
            test_draws=1,
            audit_samples=8,
            decide_by="transformed",
        )
        if scale == "smoke":
            data = {"source": "generated", "train": 8, "valid": 4, "test": 8, "points": 24, "noise": 0.01}
            arms = _arms(_SMOKE, hidden=8, neighbours=6, averaged="stochastic_frames")
            return replace(desk, data=data, arms=arms, seeds=(1,), epochs=2, audit_samples=4)
        if scale == "paper":
            data = _paper_data()
            arms = _arms(None, hidden=64, neighbours=40, averaged="frame_averaged")
            return replace(desk, data=data, arms=arms, epochs=250, batch_size=32, lr=1e-3, schedule="constant")
        return desk

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2  # small networks: two processes beat two threads

    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        from torsor.data import ABCMeshes, normals

        options = {key: value for key, value in data.items() if key != "source"}
        return ABCMeshes(**options) if data["source"] == "abc" else normals(**options)

    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        from torsor.build import FALocalPointNet
        from torsor.build.backbones import DGCNN, PointNet

        options = dict(backbone)
        net = options.pop("net")
        if net == "patches":
            return _patchwise(**options)
        if net == "PointNet":
            return PointNet(per="node", **options)
        if net == "DGCNN":
            return DGCNN(**options)
        return FALocalPointNet(**options)

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        plan = self.plan(scale)
        fit = {"data": plan.data, "test_group": plan.test_group, "test_draws": plan.test_draws, "neighbours": 16}
        found = super().trials(scale, seeds)
        if scale == "desk" and seeds is None:  # the others would take the time and change no claim
            found = [trial for trial in found if trial.seed == plan.seeds[0] or trial.name in _TWICE]
        return [*found, Trial(self.name, PLANE_FIT, 0, fit)]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if trial.name == PLANE_FIT:
            return self._plane_fit(trial.config)
        metrics = super().run(trial, space)
        if "frames" in trial.config["backbone"]:
            metrics["error_other_mean"] = self._other_mean(trial.config, space)
        return metrics

    def _plane_fit(self, config: Mapping[str, Any]) -> dict[str, Any]:
        from torsor.study import _measure
        from torsor.study._words import parse_group

        dataset, model = self.dataset(config["data"]), _plane(config["neighbours"])
        law = replace(dataset.symmetry, group=parse_group(config["test_group"]))
        test = _measure.error_on_test(model, dataset)
        moved = _measure.error_on_test(model, dataset, law, config["test_draws"])
        milliseconds, batch = _measure.inference_time(model, dataset)
        return {
            "test_error": test.mean,
            "transformed_error": moved.mean,
            "error_unit": _measure.error_unit(dataset),
            "parameters": 0,
            "cpu_seconds": 0.0,
            "inference_ms": milliseconds,
            "inference_batch": batch,
            "test_samples": len(dataset.test),
            "test_blocks": test.blocks,
            "transformed_blocks": moved.blocks,
        }

    def _other_mean(self, config: Mapping[str, Any], space: Workspace) -> float:
        """The test error of a trained network whose frames are averaged the other way: vectors or lines."""
        from safetensors.torch import load_model

        from torsor.study import _measure

        dataset = self.dataset(config["data"])
        other = _VALUES[1 - _VALUES.index(config["backbone"].get("values", "line"))]
        model = self.backbone({**config["backbone"], "values": other}, dataset)
        load_model(model, str(space.weights))
        return _measure.error_on_test(model, dataset).mean

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        main, *others = super().tables(records, scale)
        signs = _means_of_frames(records)
        return [main, *([signs] if signs.rows else []), *others]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        found = _panels.figures([record for record in records if record.trial.name != PLANE_FIT])
        fit = mean(records, PLANE_FIT, "transformed_error")
        if not found or fit is None:
            return found
        line = {"type": "line", "yref": "paper", "x0": fit, "x1": fit, "y0": 0, "y1": 1, "line": {"dash": "dash"}}
        words = f"{found[0].description} The dashed line is the plane fit, {show(fit)}, which learns nothing."
        return [replace(found[0], description=words, layout={**found[0].layout, "shapes": [line]}), *found[1:]]

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        answer = super().answer(records, scale)
        fit = mean(records, PLANE_FIT, "transformed_error")
        if fit is None:
            return answer
        return replace(answer, reasons=(*answer.reasons, f"A plane through 16 neighbours, unlearned: {show(fit)}."))

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        return _normals_claims.claims(records, scale)


study = Normals()


def _patches(**options: Any) -> dict[str, Any]:
    return {"net": "patches", "neighbours": 16, "hidden": 128, **options}


def _arms(rows: Sequence[str] | None, hidden: int, neighbours: int, averaged: str) -> list[Arm]:
    """These rows, or all; `averaged` is the treatment that trains networks averaged over the frames of whole clouds."""
    points = {"net": "PointNet", "hidden": 2 * hidden}
    graph = {"net": "DGCNN", "hidden": hidden, "neighbours": neighbours}
    local = {"net": "FALocalPointNet", "hidden": hidden}  # 20 neighbours, 42 channels, as in the paper
    every = [
        Arm("plain"),
        Arm("augmented", options=_ROTATIONS),
        Arm("plain", LOCAL, backbone=_patches(frames="all")),
        Arm("plain", LOCAL_STOCHASTIC, backbone=_patches(frames="one in training")),
        Arm("plain", LOCAL_VECTORS, backbone=_patches(frames="all", values="vector")),
        Arm("plain", "PointNet", backbone=points),
        Arm("augmented", "PointNet, augmented", options=_ROTATIONS, backbone=points),
        Arm(averaged, "FA-PointNet", backbone=points),
        Arm("plain", "FA-Local-PointNet", backbone=local),
        Arm("plain", "DGCNN", backbone=graph),
        Arm("augmented", "DGCNN, augmented", options=_ROTATIONS, backbone=graph),
        Arm(averaged, "FA-DGCNN", backbone=graph),
    ]
    return [arm for arm in every if rows is None or arm.name in rows]


def _paper_data() -> dict[str, Any]:
    """The shapes of ABC where there are any, and generated ones otherwise."""
    from torsor.data import sources

    if sources()["abc"].present:
        return {"source": "abc", "points": 512}
    return {"source": "generated", "train": 2000, "valid": 200, "test": 500, "points": 512, "noise": 0.01}


def _patchwise(neighbours: int, hidden: int, frames: str = "", values: str = "line") -> "nn.Module":
    """A perceptron on the neighbourhood of each point, averaged over its frames if `frames` says how many."""
    from torsor import E, Line, Point, Symmetry, Vector
    from torsor.build import FrameAveraging
    from torsor.build.backbones import MLP, Flattened
    from torsor.build.points import LOCAL_FRAME, Patchwise

    net = Flattened(MLP(3 * neighbours, 3, hidden), (3,))
    if not frames:
        return Patchwise(net, neighbours)
    law = Symmetry(E(3), Point(), Line() if values == "line" else Vector())
    samples = None if frames == "all" else 1
    averaged = FrameAveraging(net, law, LOCAL_FRAME, samples=samples, check_values=False)
    return Patchwise(averaged, neighbours)


def _plane(neighbours: int) -> "nn.Module":
    from torch import nn

    from torsor.build.points import plane_fit

    class PlaneFit(nn.Module):
        def forward(self, points):
            return plane_fit(points, neighbours)

    return PlaneFit()


def _means_of_frames(records: Sequence[Record]) -> Table:
    """What a network gives whose frames are averaged as in its training, and the other way."""
    columns = (
        Column("name", "treatment"),
        Column("trained", "averaged as", digits=2),
        Column("same", "error, averaged so"),
        Column("other", "error, averaged the other way"),
    )
    rows = [
        {
            "name": name,
            "trained": "vectors" if name == LOCAL_VECTORS else "lines",
            "same": mean(records, name, "test_error"),
            "other": mean(records, name, "error_other_mean"),
        }
        for name in (*_LOCAL, LOCAL_VECTORS)
        if values(records, name, "error_other_mean")
    ]
    return Table("The sign of a normal is open: frames are averaged as lines or as vectors.", columns, tuple(rows))

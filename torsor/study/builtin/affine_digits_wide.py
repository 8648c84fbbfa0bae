"""Digits under warps without a logarithm: a chart that covers the group, and one that does not.

Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 3, whose point affNIST cannot test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Plan
from torsor.study._protocol import Record, Trial, Workspace, mean
from torsor.study.builtin._warped_digits import WarpedDigitsStudy, accuracy, desk_plan, group_arm

POLAR, LOGARITHM = "group convolution, polar chart", "group convolution, elements with a logarithm"


class AffineDigitsWide(WarpedDigitsStudy):
    """Upright digits to learn from, all rotations and wide stretches in the test; 6 and 9 are one class."""

    name = "affine-digits-wide"
    question = "Warps beyond the reach of the logarithm: does it matter that the chart covers the whole group?"
    paper = 2

    def plan(self, scale: str) -> Plan:
        desk = desk_plan("affnist_wide", _arms(channels=(12, 12, 24), n=8), size=48)
        if scale == "smoke":
            data = {"name": "affnist_wide", "train": 48, "valid": 16, "test": 32, "source": "digits"}
            return replace(desk, data=data, arms=_arms(channels=(4, 4), n=2), seeds=(0,), epochs=1, audit_samples=4)
        if scale == "paper":
            data = {**desk.data, "train": 50_000, "valid": 10_000, "test": 10_000, "source": "mnist"}
            return replace(desk, data=data, arms=_arms(channels=(40, 40, 40), n=10), epochs=50, batch_size=128)
        return desk

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        one, two = accuracy(records, POLAR), accuracy(records, LOGARITHM)
        found = None if one is None or two is None else one - two
        return [
            Claim(
                "Sampling the whole group gains over dropping elements without a logarithm.",
                "torsor: the paper's central point, which affNIST does not test",
                None,
                found,
                "reported, no bar",
                None,
                scale,
            ),
            Claim(
                "About one warp in nine has no real logarithm.",
                "torsor",
                None,
                mean(records, POLAR, "share_without_log"),
                "0.107 +- 0.02",
                None
                if (share := mean(records, POLAR, "share_without_log")) is None or scale == "smoke"
                else abs(share - 0.107) <= 0.02,
                scale,
            ),
        ]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        metrics = super().run(trial, space)
        if trial.name == POLAR:
            metrics["share_without_log"] = self._without_log(trial.config["data"])
        return metrics

    def _without_log(self, data: Mapping[str, Any]) -> float:
        """The share of the warps of the test law whose linear part has no real logarithm."""
        import torch

        from torsor.groups import GLPlus
        from torsor.groups.linalg import logm

        dataset = self.dataset(data)
        generator = torch.Generator().manual_seed(0)
        g = self.law(dataset, {}).sample(dataset.test.inputs, generator=generator)
        return float(logm(GLPlus(2).project(g[:, :2, :2]), on_failure="nan").isnan().flatten(1).any(1).double().mean())


study = AffineDigitsWide()


def _arms(channels: tuple[int, ...], n: int) -> list[Arm]:
    law = {"ball": 0.7, "angle": math.pi, "n": n, "n_eval": 2 * n, "method": "rqmc"}
    kernels = {"stride": 2, "rank": 1, "support_radius": 3.0, "max_stretch": 1.65, "angle_window": 0.4}
    group = {"channels": channels, **law, **kernels, "group_window": 0.3}
    whole = {"pose": "spd", "angle": math.pi, "n": n, "n_eval": 2 * n, "method": "lattice"}
    return [
        Arm("plain"),
        Arm("augmented", "augmented, law of the test", options={"law": True}),
        Arm("orbit_pooled", "pose + orbits of all rotations", options=whole),
        group_arm(POLAR, **group),
        group_arm(LOGARITHM, **group, chart="log"),
    ]

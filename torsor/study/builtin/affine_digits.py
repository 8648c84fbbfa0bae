"""Affine digits: poses, orbits and convolutions on the affine group, learned from upright digits.

Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 5.
"""

from collections.abc import Sequence
from dataclasses import replace

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Plan
from torsor.study._protocol import Record, values
from torsor.study.builtin._warped_digits import (
    CONVOLVED,
    TWIN,
    WarpedDigitsStudy,
    accuracy,
    at_least,
    desk_plan,
    gain,
    judged,
)

POSE, POSE_SCALE = "canonical pose", "canonical pose, scale only"
ORBIT, BOTH = "orbits of GL+(2)", "pose + orbits of rotations"
NARROW, WIDE = "pose + orbits, ±0.2", "pose + orbits, full circle"
_PAPER = "Mironenco, Forré 2024 (arXiv 2310.11366), Table 1"


class AffineDigits(WarpedDigitsStudy):
    """2000 upright digits to learn from; tested upright, and moved by the affine maps of affNIST."""

    name = "affine-digits"
    question = "Upright digits to learn from, affine warps in the test: which way of handling GL+(2) gets furthest?"
    paper = 2

    def plan(self, scale: str) -> Plan:
        desk = desk_plan("affnist", _arms())
        if scale == "smoke":
            data = {"name": "affnist", "train": 64, "valid": 20, "test": 40, "source": "digits"}
            return replace(desk, data=data, arms=_arms(small=True), seeds=(0,), epochs=1, audit_samples=8)
        if scale == "paper":
            data = {"name": "affnist", "train": 50_000, "valid": 10_000, "test": 10_000, "source": "mnist"}
            return replace(desk, data=data, arms=_paper_arms(), epochs=50, batch_size=128, lr=2e-4, weight_decay=5e-3,
                           schedule="cosine", test_draws=32)  # fmt: skip
        return desk

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        return [
            gain("Pooling over orbits of GL+(2) beats the plain network on affine warps.", ORBIT, "plain", 2.0,
                  records, scale),
            at_least("A canonical pose for the stretch and orbits for the rotation reach 96 %.", BOTH, 96.0, records,
                      scale),
            _drop(records, scale),
            gain("A convolution on the group beats its twin on the trivial group, of the same size and budget.",
                  CONVOLVED, TWIN, 2.0, records, scale),
            Claim(
                "The paper's network reaches about 98 % on affNIST.",
                _PAPER,
                "about 98 %",
                accuracy(records, "AffineResNet") if scale == "paper" else None,
                ">= 97.5 %",
                None if scale != "paper" or not values(records, "AffineResNet", "transformed_error")
                else (accuracy(records, "AffineResNet") or 0) >= 97.5,
                "paper",
            ),
        ]  # fmt: skip


study = AffineDigits()


def _arms(small: bool = False) -> list[Arm]:
    turned = {"pose": "spd", "angle": 0.5, "n": 4}
    channels = (4, 4) if small else (12, 12, 24)
    group = {"net": "group", "channels": channels, "max_stretch": 1.0}
    arms = [
        Arm("plain"),
        Arm("augmented", "augmented, law of the test", options={"law": True}),
        Arm("canonical_pose", POSE),
        Arm("canonical_pose", POSE_SCALE, options={"factor": "scale"}),
        Arm("orbit_pooled", ORBIT, options={"width": 0.15, "angle": 0.5, "n": 2 if small else 6}),
        Arm("orbit_pooled", BOTH, options=turned),
        Arm("orbit_pooled", NARROW, options={**turned, "angle": 0.2}),
        Arm("orbit_pooled", WIDE, options={**turned, "angle": 3.2, "n": 4 if small else 8}),
        Arm("plain", "differential invariants", backbone={"net": "invariants"}),
        Arm("plain", TWIN, backbone={**group, "trivial": True}),
        Arm("plain", CONVOLVED, backbone={**group, "n": 2 if small else 4, "angle": 0.5}),
    ]
    return arms


def _paper_arms() -> list[Arm]:
    net = {"net": "group", "paper": True, "width": 0.158, "angle": 3.2, "n": 10}
    return [
        Arm("plain"),
        Arm("orbit_pooled", BOTH, options={"pose": "spd", "angle": 0.5, "n": 4}),
        Arm("plain", "AffineResNet", backbone=net),
    ]


def _drop(records: Sequence[Record], scale: str) -> Claim:
    clean, warped = accuracy(records, BOTH, "test_error"), accuracy(records, BOTH)
    found = None if clean is None or warped is None else clean - warped
    holds = found <= 2.5 if found is not None and judged(records, scale) else None
    return Claim("It loses little from upright digits to warped ones.", "torsor", None, found, "<= 2.5 points", holds,
                 scale)  # fmt: skip

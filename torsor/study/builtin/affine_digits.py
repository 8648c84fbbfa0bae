"""Affine digits: poses, orbits and convolutions on the affine group, learned from upright digits.

Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 5.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Plan
from torsor.study._exhibits import Figure
from torsor.study._protocol import Record, done, mean, values
from torsor.study.builtin._warped_digits import (
    CONVOLVED,
    TWIN,
    WarpedDigitsStudy,
    accuracy,
    at_least,
    desk_plan,
    gain,
    group_arm,
    judged,
    sweep_figure,
)

POSE, POSE_SCALE = "canonical pose", "canonical pose, scale only"
ORBIT, BOTH = "orbits of GL+(2)", "pose + orbits of rotations"
POSED = "pose + group convolution"
NARROW, WIDER, WIDE = "pose + orbits, ±0.2", "pose + orbits, ±0.8", "pose + orbits, full circle"
_HALF_WIDTHS = {POSE: 0.0, NARROW: 0.2, BOTH: 0.5, WIDER: 0.8, WIDE: math.pi}  # windows, in radians
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
            _chosen(records, scale),
            gain("A convolution on rotations by at most 0.5 rad, with a kernel 0.1 rad wide (close to pooling over"
                 " orbits), beats its twin without rotations, of the same size and budget.", CONVOLVED, TWIN, 2.0,
                 records, scale),
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

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        title = "How wide a window of rotations, after a canonical pose"
        sweep = sweep_figure(records, _HALF_WIDTHS, title, "half width of the window in radians")
        return [*super().figures(records, scale), sweep]


study = AffineDigits()


def _arms(small: bool = False) -> list[Arm]:
    turned = {"pose": "spd", "angle": 0.5, "n": 4, "n_eval": 8, "method": "lattice"}
    whole = {"width": 0.15, "angle": 0.5, "n": 2 if small else 6, "n_eval": 4 if small else 16, "method": "rqmc"}
    size = {"channels": (4, 4), "n_eval": 4} if small else {}
    return [
        Arm("plain"),
        Arm("augmented", "augmented, law of the test", options={"law": True}),
        Arm("canonical_pose", POSE),
        Arm("canonical_pose", POSE_SCALE, options={"factor": "scale"}),
        Arm("orbit_pooled", ORBIT, options=whole),
        Arm("orbit_pooled", BOTH, options=turned),
        Arm("orbit_pooled", NARROW, options={**turned, "angle": 0.2}),
        Arm("orbit_pooled", WIDER, options={**turned, "angle": 0.8, "n": 6, "n_eval": 12}),
        Arm("orbit_pooled", WIDE, options={**turned, "angle": math.pi, "n": 8, "n_eval": 16}),
        Arm("plain", "differential invariants", backbone={"net": "invariants"}),
        group_arm(TWIN, trivial=True, **size),
        group_arm(CONVOLVED, **size),
        replace(group_arm(POSED, **size), treatment="canonical_pose"),
    ]


def _paper_arms() -> list[Arm]:
    net = {"net": "group", "paper": True, "width": 0.158, "angle": math.pi, "n": 10}
    return [
        Arm("plain"),
        Arm("orbit_pooled", BOTH, options={"pose": "spd", "angle": 0.5, "n": 4, "n_eval": 8, "method": "lattice"}),
        Arm("plain", "AffineResNet", backbone=net),
    ]


def _drop(records: Sequence[Record], scale: str) -> Claim:
    clean, warped = accuracy(records, BOTH, "test_error"), accuracy(records, BOTH)
    found = None if clean is None or warped is None else clean - warped
    holds = found <= 2.5 if found is not None and judged(records, scale) else None
    return Claim("It loses little from upright digits to warped ones.", "torsor", None, found, "<= 2.5 points", holds,
                 scale)  # fmt: skip


def _chosen(records: Sequence[Record], scale: str) -> Claim:
    """The widest window that costs no more than a standard error of upright validation digits: blind to the test."""
    errors = {row: error for row in _HALF_WIDTHS if (error := mean(records, row, "upright_valid_error")) is not None}
    text, found, holds = "So does the widest window that upright validation digits do not object to", None, None
    if len(errors) == len(_HALF_WIDTHS):
        best, count = min(errors.values()), done(records, BOTH)[0].trial.config["data"].get("valid", 0)
        bar = best + math.sqrt(best * (1 - best) / max(count, 1))
        row = max((row for row, error in errors.items() if error <= bar), key=lambda row: _HALF_WIDTHS[row])
        text, found = f"{text}, ±{_HALF_WIDTHS[row]:.2g}: no knowledge of the test", accuracy(records, row)
        holds = found >= 96.5 if found is not None and judged(records, scale) else None
    return Claim(f"{text}.", "torsor", None, found, ">= 96.5 %", holds, scale)

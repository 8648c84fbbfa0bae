"""Affine digits: what makes a group convolution gain on its twin without a group, or lose to it.

Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 5, where none of this was taken apart.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Plan
from torsor.study._protocol import Record
from torsor.study.builtin._warped_digits import CONVOLVED, TWIN, WarpedDigitsStudy, desk_plan, gain, group_arm

ALONE, BLURRED, SPREAD = "elements alone", "window of 0.2 rad", "window of 0.2 rad, mixed from the start"
FEW, FIXED, RANDOM = "4 elements in the test", "8 fixed elements", "independent elements"
TWIN_LONG, LONG = f"{TWIN}, twice the epochs", "twice the epochs"
TWIN_EQUAL = f"{TWIN}, four times the epochs"  # about as much computing time as four elements take
TWIN_SLOW, SLOW = f"{TWIN}, lr 0.003", "lr 0.003"


class AffineDigitsAblation(WarpedDigitsStudy):
    """The group convolution of affine-digits, with one thing changed in each row."""

    name = "affine-digits-ablation"
    question = "A group convolution against its twin on the trivial group: which choice wins, and which one loses?"
    paper = 2

    def plan(self, scale: str) -> Plan:
        desk = desk_plan("affnist", _arms())
        if scale == "smoke":
            data = {"name": "affnist", "train": 64, "valid": 20, "test": 40, "source": "digits"}
            arms = _arms(channels=(4, 4))[::5]
            return replace(desk, data=data, arms=arms, seeds=(0,), epochs=1, audit_samples=8)
        if scale == "paper":
            data = {"name": "affnist", "train": 50_000, "valid": 10_000, "test": 10_000, "source": "mnist"}
            return replace(desk, data=data, epochs=50, batch_size=128, test_draws=32)
        return desk

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        known = (records, scale)
        return [
            gain("The convolution beats its twin.", CONVOLVED, TWIN, 2.0, *known),
            gain("So it does with twice the epochs for both.", LONG, TWIN_LONG, 2.0, *known),
            gain("Against a twin with as much computing time it still gains.", CONVOLVED, TWIN_EQUAL, 0.0, *known),
            gain("Few elements in the test cost accuracy: sampling was a cause.", CONVOLVED, FEW, 0.5, *known),
            gain("So do wide windows that average over neighbours from the start.", CONVOLVED, SPREAD, 0.5, *known),
            gain("So does a slow learning rate, from which both suffer.", CONVOLVED, SLOW, 0.5, *known),
            gain("Mixing elements gains over leaving each alone: over orbits.", CONVOLVED, ALONE, 0.0, *known),
        ]


study = AffineDigitsAblation()


def _arms(**options: Any) -> list[Arm]:
    return [
        group_arm(TWIN, trivial=True, **options),
        group_arm(CONVOLVED, **options),
        replace(group_arm(TWIN_LONG, trivial=True, **options), epochs=16),
        replace(group_arm(LONG, **options), epochs=16),
        replace(group_arm(TWIN_EQUAL, trivial=True, **options), epochs=32),
        replace(group_arm(TWIN_SLOW, trivial=True, **options), lr=3e-3),
        replace(group_arm(SLOW, **options), lr=3e-3),
        group_arm(FEW, n_eval=4, **options),
        group_arm(RANDOM, method="iid", **options),
        group_arm(FIXED, resample="never", n=8, n_eval=None, **options),
        group_arm("2 elements in training", n=2, **options),
        group_arm("8 elements in training", n=8, **options),
        group_arm(ALONE, angle_window=0.01, **options),
        group_arm(BLURRED, angle_window=0.2, **options),
        group_arm("window of 0.4 rad", angle_window=0.4, **options),
        group_arm(SPREAD, angle_window=0.2, atom=False, **options),
        group_arm("window of 0.2 rad, elements in ±0.8", angle=0.8, n=6, n_eval=12, angle_window=0.2, **options),
        group_arm("SL(2), stretches to 1.24", ball=0.3, method="rqmc", n_eval=16, max_stretch=1.25, **options),
        group_arm("GL+(2), stretches of 0.1", width=0.1, method="rqmc", n_eval=16, max_stretch=1.75, **options),
    ]

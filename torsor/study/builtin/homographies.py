"""Digits seen under homographies: SL(3) acting on the plane.

Sources: MacDonald, Ramasinghe, Lucey 2022 (arXiv 2111.08251) for the data; Mironenco, Forré 2024 (arXiv 2310.11366).
"""

from collections.abc import Sequence
from dataclasses import replace

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Plan
from torsor.study._protocol import Record
from torsor.study.builtin._warped_digits import WarpedDigitsStudy, at_least, desk_plan, gain, group_arm

POSE, BOTH, INVARIANT = "canonical pose", "pose + orbits of rotations", "differential invariants"
SEEN = "pose + orbits of homographies"
CONVOLVED = "group convolution, GL+(2)"


class Homographies(WarpedDigitsStudy):
    """Upright digits to learn from; tested upright, and under the homographies of homNIST."""

    name = "homographies"
    question = "Homographies in the test: how far do poses, orbits and convolutions of the affine group carry?"
    paper = 2

    def plan(self, scale: str) -> Plan:
        desk = desk_plan("homnist", _arms(channels=(12, 12, 24), n=4))
        if scale == "smoke":
            data = {"name": "homnist", "train": 48, "valid": 16, "test": 32, "source": "digits"}
            return replace(desk, data=data, arms=_arms(channels=(4, 4), n=2), seeds=(0,), epochs=1, audit_samples=4)
        if scale == "paper":
            data = {"name": "homnist", "train": 50_000, "valid": 10_000, "test": 10_000, "source": "mnist"}
            arms = _arms(channels=(40, 40, 40), n=10)
            return replace(desk, data=data, arms=arms, epochs=50, batch_size=128, test_draws=32)
        return desk

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        return [
            gain("A pose and orbits, which know the affine part only, beat the plain network.",
                 BOTH, "plain", 2.0, records, scale),
            gain("Orbits of homographies gain over orbits of rotations.", SEEN, BOTH, 0.5, records, scale),
            replace(
                at_least("The best treatment reaches what the paper reports for its network, trained on all of MNIST.",
                         SEEN, 98.3, records, scale),
                source="Mironenco, Forré 2024 (arXiv 2310.11366), Table 2: homNIST", paper_value="98.30 ± 0.10 %",
            ),
        ]  # fmt: skip


study = Homographies()


def _arms(channels: tuple[int, ...], n: int) -> list[Arm]:
    group = {"channels": channels, "n": n, "n_eval": 2 * n, "width": 0.1, "angle": 0.4, "max_stretch": 2.0}
    turned = {"pose": "spd", "angle": 0.5, "n": n, "n_eval": 2 * n, "method": "lattice"}
    seen = {**turned, "width": 0.1, "perspective": 0.1, "n": 2 * n, "n_eval": 4 * n, "method": "rqmc"}
    return [
        Arm("plain"),
        Arm("augmented", "augmented, law of the test", options={"law": True}),
        Arm("canonical_pose", POSE),
        Arm("orbit_pooled", BOTH, options=turned),
        Arm("orbit_pooled", SEEN, options=seen),
        Arm("plain", INVARIANT, backbone={"net": "invariants"}),
        group_arm(CONVOLVED, **group, method="rqmc"),
    ]

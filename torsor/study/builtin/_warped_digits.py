"""What the studies of warped digits share: data, networks, rows, and the sentences about them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._protocol import Record, mean

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset
    from torsor.symmetry import Transformation

TWIN, CONVOLVED = "group convolution, trivial group", "group convolution"


class WarpedDigitsStudy(Comparison):
    """Centred digits to learn from; tested as they are, and warped by a law that training has not seen."""

    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        from torsor import data as data_sets

        options = {key: value for key, value in data.items() if key != "name"}
        return getattr(data_sets, data["name"])(**options, centred="all")

    def law(self, dataset: "Dataset", config: Mapping[str, Any]) -> "Transformation":
        return dataset.law  # type: ignore[attr-defined]

    def audited(self, dataset: "Dataset") -> "Transformation":
        return dataset.law  # type: ignore[attr-defined]

    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        from torsor.build.backbones import GlobalCNN
        from torsor.build.lie import InvariantNet

        options = dict(backbone)
        make = {"cnn": partial(GlobalCNN, 1), "invariants": partial(InvariantNet, 1), "group": group_network}
        return make[options.pop("net")](dataset.classes, **options)  # type: ignore[operator]

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2  # small networks: two processes beat two threads


def group_network(
    classes: int, *, width: float = 0.0, angle: float = 0.5, n: int = 4, resample: str = "train", method: str = "iid",
    n_eval: int | None = None, trivial: bool = False, paper: bool = False, **options: Any,
) -> "nn.Module":  # fmt: skip
    """`AffineNetSmall`, or the network of the paper, on elements `exp(Y) R` with stretches of a width."""
    import math

    from torsor.build.lie import AffineNetSmall, AffineResNet, SamplePlan
    from torsor.groups import SO, Trivial
    from torsor.groups.measure import LogNormalSPD, PolarProposal, UniformCompact, Window

    kind = AffineResNet if paper else AffineNetSmall
    if trivial:
        return kind(SamplePlan(Trivial(2)), 1, classes, **options)
    law = Window(SO(2), angle) if angle < math.pi else UniformCompact(SO(2))
    if width:
        law = PolarProposal(LogNormalSPD(width), law)
    plan = SamplePlan(law, n, resample=resample, method=method, n_eval=n_eval)  # type: ignore[arg-type]
    return kind(plan, 1, classes, **options)


def accuracy(records: Sequence[Record], row: str, key: str = "transformed_error") -> float | None:
    """Percent of right answers, mean over seeds."""
    error = mean(records, row, key)
    return None if error is None else 100 * (1 - error)


def judged(records: Sequence[Record], scale: str) -> bool:
    """Whether bars apply: MNIST, at desk or paper scale."""
    data = [record.trial.config.get("data", {}) for record in records]
    return scale != "smoke" and bool(data) and all(d.get("source") == "mnist" for d in data)


def at_least(text: str, row: str, bar: float, records: Sequence[Record], scale: str) -> Claim:
    """A row reaches so many percent on the warped test set."""
    found = accuracy(records, row)
    holds = found >= bar if found is not None and judged(records, scale) else None
    return Claim(text, "torsor", None, found, f">= {bar:g} %", holds, scale)


def gain(text: str, row: str, other: str, bar: float, records: Sequence[Record], scale: str) -> Claim:
    """A row is better than another by so many points on the warped test set."""
    one, two = accuracy(records, row), accuracy(records, other)
    found = None if one is None or two is None else one - two
    holds = found >= bar if found is not None and judged(records, scale) else None
    return Claim(text, "torsor", None, found, f">= {bar:g} points", holds, scale)


def desk_plan(name: str, arms: Sequence[Arm], **options: Any) -> Plan:
    """The plan of all of them at desk scale: MNIST where it is on this machine, else the digits of scikit-learn."""
    from torsor.data import sources

    if sources()["mnist"].present:
        data = {"train": 2000, "valid": 500, "test": 2000, "source": "mnist"}
    else:
        data = {"train": 1000, "valid": 297, "test": 500, "source": "digits"}
    return Plan(
        data={"name": name, **data, **options},
        backbone={"net": "cnn"},
        arms=arms,
        seeds=(0, 1, 2),
        epochs=8,
        batch_size=64,
        lr=3e-3,
        schedule="one_cycle",
        test_draws=1,
        audit_samples=32,
        decide_by="transformed",
    )

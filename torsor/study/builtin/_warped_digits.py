"""What the studies of warped digits share: data, networks, rows, and the sentences about them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torsor.study._comparison import Comparison

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

        options = dict(backbone)
        if options.pop("net") == "cnn":
            return GlobalCNN(1, dataset.classes, **options)  # type: ignore[arg-type]
        return group_network(dataset.classes, **options)  # type: ignore[arg-type]

    def workers(self, scale: str) -> int:
        return 1 if scale == "smoke" else 2  # small networks: two processes beat two threads


def group_network(
    classes: int, *, width: float = 0.0, angle: float = 0.5, n: int = 4, resample: str = "train", method: str = "iid",
    trivial: bool = False, paper: bool = False, **options: Any,
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
    return kind(SamplePlan(law, n, resample=resample, method=method), 1, classes, **options)  # type: ignore[arg-type]


def digit_source() -> str:
    """MNIST where it is on this machine, else the digits of scikit-learn."""
    from torsor.data import sources

    return "mnist" if sources()["mnist"].present else "digits"

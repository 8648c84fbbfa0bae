"""A study from a user's own file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torsor._imports import import_path, source_digest
from torsor.study._comparison import Arm, Comparison, Plan, as_called
from torsor.study._file import StudyFile, read_study_file
from torsor.study._protocol import SkippedError
from torsor.study._treatment import known_treatments, objective_of
from torsor.study._words import parse_symmetry

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset


@dataclass(frozen=True, eq=False)
class OwnStudy(Comparison):
    """The comparison that a study file describes.

    Arguments:
        name: the name of the results folder and the page.
        question: the title of the file.
        file: the file, checked.
        folder: where it lies; paths and modules in it are looked for there.
    """

    name: str
    question: str
    file: StudyFile
    folder: Path

    @classmethod
    def read(cls, path: str | Path) -> "OwnStudy":
        """The study of a file.

        Raises:
            StudyFileError: with the line and what is allowed there.
        """
        path = Path(path)
        file = read_study_file(path)
        return cls(file.name or path.stem, file.title, file, path.absolute().parent)

    def plan(self, scale: str) -> Plan:
        from torsor.study import _sources

        file, change = self.file, self.file.scales.get(scale)  # type: ignore[call-overload]

        def chosen(key: str) -> Any:
            value = getattr(change, key, None)
            return getattr(file, key) if value is None else value

        build, call = file.backbone.build, file.data.callable
        return Plan(
            data=file.data.model_dump(exclude_defaults=True)
            | {"symmetry": file.symmetry.model_dump() if file.symmetry else None}
            | {"contents": _sources.fingerprint(file.data, self.folder)}
            | {"source": source_digest(call, self.folder) if call else ""},
            backbone=file.backbone.model_dump(exclude_defaults=True)
            | {"source": source_digest(build, self.folder) if build else ""},
            arms=_arms(file, chosen("train_sizes")),
            seeds=chosen("seeds"),
            epochs=chosen("epochs"),
            batch_size=chosen("batch_size"),
            lr=chosen("lr"),
            weight_decay=file.weight_decay,
            schedule=file.schedule,
            patience=file.patience,
            test_group=file.test.group,
            test_draws=file.test.draws,
            audit_samples=file.test.audit_samples,
            decide_by=file.test.decide_by,
        )

    def check(self, scale: str) -> None:
        """Try data, network and treatments on two samples.

        Raises:
            ValueError: they cannot be made, or do not fit each other.
        """
        import torch

        plan, name = self.plan(scale), self.file.backbone.build or self.file.backbone.name
        dataset = self.dataset(plan.data)
        with _refusing(f"[backbone] {name} cannot be made"):
            net = self.backbone(plan.backbone, dataset).eval()
        dataset = as_called(dataset, net)
        with _refusing(f"[backbone] {name} does not fit [data]"), torch.no_grad():
            objective_of(dataset)(net, dataset.train[torch.arange(min(2, len(dataset.train)))])
        for arm in plan.arms:
            with _refusing(f"treatment {arm.name}"), suppress(SkippedError):
                known_treatments()[arm.treatment].build(
                    lambda: self.backbone(plan.backbone, dataset), dataset, arm.options
                )

    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        from torsor.study import _sources

        words = self.file.symmetry
        symmetry = parse_symmetry(words.group, words.inputs, words.output) if words else None
        return _sources.load_dataset(self.file.data, symmetry, self.folder, self.question)

    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        import torch
        from torch import nn

        from torsor.build.backbones import for_dataset

        options = self.file.backbone.options
        if self.file.backbone.build is None:
            net = for_dataset(str(self.file.backbone.name), dataset, **options)
        else:
            net = import_path(self.file.backbone.build, self.folder)(**options)
        if not isinstance(net, nn.Module):
            raise TypeError(f"{self.file.backbone.build} must return a torch.nn.Module; got {type(net).__name__}")
        return net.to(getattr(torch, self.file.data.dtype))


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Whatever goes wrong inside is a fault of what the user gave, and said so."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{what}: {kind}{error}") from error


def _arms(file: StudyFile, sizes: Sequence[int]) -> list[Arm]:
    def arm(treatment: Any, size: int | None) -> Arm:
        label = (treatment.label or treatment.name) + (f", {size} samples" if size else "")
        return Arm(treatment.name, label, treatment.epochs, treatment.options, size)

    return [arm(treatment, size) for treatment in file.treatments for size in (sizes or [None])]

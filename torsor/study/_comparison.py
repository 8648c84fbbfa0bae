"""The usual study: one data set, several treatments, several seeds."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial, reduce
from inspect import Parameter, signature
from operator import mul
from typing import TYPE_CHECKING, Any

from torsor.study import _panels, _verdict
from torsor.study._exhibits import Answer, Figure, Table
from torsor.study._protocol import Record, Study, Trial, Workspace
from torsor.study._treatment import known_treatments
from torsor.study._words import parse_group

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset
    from torsor.learn import FitResult
    from torsor.symmetry import Transformation

_MOST_POINTS = 60  # of a learning curve on the page


@dataclass(frozen=True)
class Arm:
    """One row of a comparison: a treatment and what is its own.

    Arguments:
        treatment: its name.
        label: the name of the row; the treatment's by default.
        epochs: passes over the data, if not those of the plan.
        options: given to the treatment.
        train_size: how many training samples it sees; None means all.
        backbone: describes its network, if not that of the plan.
        lr: its learning rate, if not that of the plan.
    """

    treatment: str
    label: str = ""
    epochs: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    train_size: int | None = None
    backbone: Mapping[str, Any] | None = None
    lr: float | None = None

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.label or self.treatment


@dataclass(frozen=True)
class Plan:
    """All that decides a comparison; every field but `arms` and `seeds` is part of each trial's configuration.

    Arguments:
        data: describes the data set, for `Comparison.dataset`.
        backbone: describes the network, for `Comparison.backbone`.
        arms: the rows.
        seeds: every arm runs with each.
        epochs, batch_size, lr, weight_decay, schedule, patience: as `torsor.learn.fit` takes them.
        test_group: the group that moves the transformed test set; None means the group of the data set's symmetry.
        test_draws: how many elements each test sample is moved by.
        audit_samples: how many test samples the audit sees.
        decide_by: which error decides the recommendation: "test" or "transformed".
    """

    data: Mapping[str, Any]
    backbone: Mapping[str, Any]
    arms: Sequence[Arm]
    seeds: Sequence[int] = (0, 1)
    epochs: int = 100
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "cosine"
    patience: int | None = None
    test_group: str | None = None
    test_draws: int = 2
    audit_samples: int = 128
    decide_by: str = "test"


class Comparison(Study):
    """A data set, treatments and seeds: trained, tested in and out of distribution, audited and compared.

    A subclass says what the plan of a scale is, and makes the data set and the backbone that the plan describes. More
    claims, figures or sentences are added by extending the methods of `Study`.
    """

    @abstractmethod
    def plan(self, scale: str) -> Plan:
        """What is compared at a scale."""

    @abstractmethod
    def dataset(self, data: Mapping[str, Any]) -> "Dataset":
        """The data set that `plan.data` describes."""

    @abstractmethod
    def backbone(self, backbone: Mapping[str, Any], dataset: "Dataset") -> "nn.Module":
        """A fresh network, as `plan.backbone` describes it."""

    def law(self, dataset: "Dataset", config: Mapping[str, Any]) -> "Transformation":
        """How the test set is moved for the transformed error: by the group of the plan, or by that of the data."""
        group = config["test_group"]
        return dataset.symmetry if group is None else replace(dataset.symmetry, group=parse_group(group))

    def audited(self, dataset: "Dataset") -> "Transformation":
        """What the audit moves inputs by."""
        return dataset.symmetry

    def measured(self, model: "nn.Module", dataset: "Dataset", trial: Trial) -> dict[str, Any]:
        """What else is measured of a trained model, in evaluation; nothing by default."""
        return {}

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        plan = self.plan(scale)
        common = {key: value for key, value in asdict(plan).items() if key not in ("arms", "seeds", "decide_by")}
        return [
            Trial(
                self.name,
                arm.name,
                seed,
                common
                | {"treatment": arm.treatment, "options": dict(arm.options), "train_size": arm.train_size}
                | {"epochs": arm.epochs or plan.epochs, "lr": arm.lr or plan.lr}
                | ({} if arm.backbone is None else {"backbone": dict(arm.backbone)}),
            )
            for arm in plan.arms
            for seed in (plan.seeds if seeds is None else seeds)
        ]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        import torch

        from torsor.study import _measure

        config = trial.config
        dataset = self.dataset(config["data"])
        torch.manual_seed(trial.seed)
        dataset = as_called(dataset, self.backbone(config["backbone"], dataset))
        train = dataset.train
        if config["train_size"] is not None:
            train = train[torch.arange(min(config["train_size"], len(train)))]
        dataset = replace(dataset, train=train)
        torch.manual_seed(trial.seed)
        build = known_treatments()[config["treatment"]].build
        model, objective = build(lambda: self.backbone(config["backbone"], dataset), dataset, config["options"])
        fit = self._fit(trial, space, model, objective, dataset)
        space.save(model)
        space.tell(1.0, "testing")
        test = _measure.error_on_test(model, dataset)
        moved = _measure.error_on_test(model, dataset, self.law(dataset, config), config["test_draws"])
        inference_ms, inference_batch = _measure.inference_time(model, dataset)
        return {
            "error_unit": _measure.error_unit(dataset),
            "test_error": test.mean,
            "transformed_error": moved.mean,
            **_audited(model, self.audited(dataset), dataset, config["audit_samples"]),
            **self.measured(model.eval(), dataset, trial),
            "parameters": sum(p.numel() for p in model.parameters()),
            "epochs": fit.epochs_run,
            "best_epoch": fit.best_epoch,
            "valid_error": fit.best_valid,
            "train_seconds": fit.seconds,
            "cpu_seconds": fit.cpu_seconds,
            "inference_ms": inference_ms,
            "inference_batch": inference_batch,
            "memory_mb": _measure.training_memory(model, objective, dataset, config["batch_size"]),
            "train_samples": len(dataset.train),
            "test_samples": len(dataset.test),
            "test_blocks": test.blocks,
            "transformed_blocks": moved.blocks,
            "history": thinned(fit.history),
        }

    def _fit(
        self, trial: Trial, space: Workspace, model: "nn.Module", objective: Any, dataset: "Dataset"
    ) -> "FitResult":
        from torsor import learn

        config = trial.config
        how = {key: config[key] for key in ("epochs", "batch_size", "lr", "weight_decay", "schedule", "patience")}
        loggers = [Teller(space, config["epochs"])]
        fit = partial(learn.fit, model, dataset.train, objective, valid=dataset.valid, seed=trial.seed, loggers=loggers)
        try:
            return fit(**how, checkpoint=space.checkpoint)
        except learn.CheckpointError:  # left by another version of the code: start again
            return fit(**how, checkpoint=space.checkpoint, resume=False)

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        return [_panels.treatments(records, self.answer(records, scale).recommended), _panels.equivariance(records)]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        return _panels.figures(records)

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        answer = _verdict.recommend(records, self.plan(scale).decide_by)
        if scale == "smoke":
            return replace(answer, reasons=(*answer.reasons, "Smoke scale only shows that everything runs."))
        return answer


class Teller:
    """A logger of `torsor.learn.fit` that tells the runner how far a trial is."""

    def __init__(self, space: Workspace, epochs: int) -> None:
        self.space, self.epochs = space, epochs

    def log(self, values: Mapping[str, Any]) -> None:
        """Called after every epoch."""
        epoch = int(values.get("epoch", 0))
        valid = values.get("valid")
        words = f"epoch {epoch}" + (f", validation {valid:.4g}" if isinstance(valid, float) else "")
        self.space.tell(min(1.0, epoch / self.epochs), words)


def as_called(dataset: "Dataset", model: "nn.Module | Callable[..., Any]") -> "Dataset":
    """The data set with its inputs by name if the model has parameters of these names, and in their order if not."""
    inputs = dataset.train.inputs
    if not isinstance(inputs, dict) or accepts_names(model, list(inputs)):
        return dataset
    parts = [replace(part, inputs=tuple(part.inputs.values())) for part in dataset.symmetry.factors]
    splits = {
        split: replace(samples, inputs=tuple(samples.inputs.values())) for split, samples in dataset.splits.items()
    }
    return replace(dataset, symmetry=reduce(mul, parts), **splits)


def accepts_names(model: "nn.Module | Callable[..., Any]", inputs: Sequence[str]) -> bool:
    """Whether a model can be called with keywords of these names."""
    function = getattr(model, "forward", model)
    parameters = signature(function).parameters.values()
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return True
    named = {p.name for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
    return set(inputs) <= named


def thinned(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A learning curve with at most sixty points, the last one kept."""
    step = max(1, -(-len(history) // _MOST_POINTS))
    return [dict(entry) for i, entry in enumerate(history) if i % step == 0 or i == len(history) - 1]


def _audited(model: "nn.Module", symmetry: "Transformation", dataset: "Dataset", samples: int) -> dict[str, Any]:
    import torch

    from torsor import audit

    inputs = dataset.test[torch.arange(min(samples, len(dataset.test)))].inputs
    generator = torch.Generator().manual_seed(0)
    model.eval()
    report = audit.equivariance(model, symmetry, inputs, generator=generator)
    low, high = (float(x) for x in report.interval)
    curve = report.curve
    return {
        "equivariance_error": float(report.error),
        "equivariance_interval": [low, high],
        "equivariance_verdict": report.verdict,
        "equivariance_words": report.words,
        "equivariance_law": report.law,
        "equivariance_curve": [list(curve.distances), list(curve.errors)] if curve else [[], []],
        "equivariance_axis": curve.axis if curve else "",
    }

"""The one training loop."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from torsor import _tree
from torsor.data import Samples
from torsor.learn import _checkpoint, _randomness
from torsor.learn._evaluate import check_samples
from torsor.learn._loggers import logged, shown
from torsor.learn._objective import Objective
from torsor.learn._training import Training, hook

_SAVING_SHARE = 0.02  # of the time may go into checkpoints


@dataclass(frozen=True)
class FitResult:
    """What became of a training.

    Arguments:
        epochs_run: passes over the data, those before an interruption included.
        best_epoch: the epoch whose weights the model has now; the last one where there was no validation.
        best_valid: the validation loss after that epoch; None where there was no validation.
        history: the numbers of each epoch: `epoch`, `train`, `valid`, `lr`, `seconds`, and what the objective logs
            as `train_...` and `valid_...`.
        seconds: time spent in epochs.
        cpu_seconds: processor time spent in epochs.
        stopped: whether patience ended it before the last epoch.
    """

    epochs_run: int
    best_epoch: int
    best_valid: float | None
    history: list[dict[str, Any]]
    seconds: float
    cpu_seconds: float
    stopped: bool


def fit(
    model: nn.Module,
    data: Samples,
    objective: Objective,
    *,
    valid: Samples | None = None,
    epochs: int,
    batch_size: int,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: Literal["cosine", "one_cycle", "constant"] | Callable[[float], float] = "cosine",
    patience: int | None = None,
    clip: float | None = None,
    seed: int = 0,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    loggers: Sequence[Any] = (),
    progress: bool = False,
    precision: str | None = None,
    fabric: Any = None,
) -> FitResult:
    """Train a model in place. Afterwards it has the weights with the best validation loss, in evaluation mode.

    The same seed gives the same result on the same machine, also if the training was killed in between and called
    again with its checkpoint. Whatever the global random number generators are, they are the same afterwards.

    Arguments:
        model: trained in place; it goes to the device of Fabric and comes back.
        data: the training samples, or anything with `len`, `[indices] -> batch` and batches with `inputs`, `targets`
            and `to(device=...)`.
        objective: what is minimised: `mse`, `cross_entropy`, `augmented(...)` or another `Objective`.
        valid: samples that choose the best weights and end the training early. Nothing is learned from them.
        epochs: passes over the data.
        batch_size: samples per step, over all devices; the last batch of an epoch may be smaller.
        lr: the learning rate at the start.
        weight_decay: decoupled, as in AdamW.
        schedule: how the learning rate goes: `"cosine"` down to 0; `"one_cycle"` up from 1/25 in the first 30 percent,
            then the same; `"constant"`; or a function from the share of the training that is done, 0 to 1, to a factor.
        patience: stop after this many epochs without a better validation loss; None never stops early.
        clip: the largest norm that the gradient of the model may have; longer ones are scaled down to it.
        seed: of the order of the samples and of all global random number generators.
        optimizer: makes the optimiser, called with groups of parameters, `lr` and `weight_decay`.
        checkpoint: a folder for the state of the training, written as safetensors and JSON between epochs, as often
            as takes two percent of the time.
        resume: go on from the checkpoint if there is one; False starts again.
        loggers: told the numbers of each epoch, such as `CSVLogger(path)`; those of Lightning serve too.
        progress: show a progress bar on stderr.
        precision: as Fabric names it, such as `"bf16-mixed"`; by default the model's own.
        fabric: a `lightning_fabric.Fabric` with devices and strategy, launched by the caller; by default one GPU if
            there is one, else the processor. Its callbacks have `on_train_epoch_end(epoch, model)` called, where
            `epoch.log(name, value)` adds to the numbers of the epoch: `torsor.audit.EquivarianceCallback`.

    Raises:
        ValueError: an argument is wrong, or the checkpoint belongs to another training; names it.
        DivergedError: a loss is NaN or infinite; names epoch and step. The last checkpoint stays valid.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> x = torch.randn(64, 3)
    >>> data = Samples(x, x @ torch.ones(3, 1))
    >>> result = learn.fit(torch.nn.Linear(3, 1), data, learn.mse, valid=data, epochs=50, batch_size=16, lr=0.1)
    >>> result.epochs_run, result.best_valid < 1e-3
    (50, True)
    """
    check_samples("data", data)
    if valid is not None:
        check_samples("valid", valid)
    _check(epochs, batch_size, lr, weight_decay, patience, valid, clip)
    if fabric is None:
        fabric = _default_fabric(precision)
    elif precision is not None:
        raise ValueError("precision belongs to fabric where one is given: Fabric(precision=...)")
    folder = None if checkpoint is None else Path(checkpoint)
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "schedule": _name(schedule),
        "patience": patience,
        "clip": clip,
        "seed": seed,
        "optimizer": _name(optimizer),
        "objective": _name(objective),
        "precision": str(fabric.strategy.precision.precision),
        "devices": fabric.world_size,
    }
    if folder is not None:
        settings |= {"data": _fingerprint(data), "valid": valid and _fingerprint(valid), "model": _outline(model)}
    with _randomness.own_randomness(fabric.device), _returned(model):
        _randomness.seed_all(seed + fabric.global_rank)
        make = partial(optimizer, lr=lr, weight_decay=weight_decay)
        training = Training(fabric, model, objective, make, _schedule(schedule), seed, clip)
        hook(objective, "on_fit_start")(training.wrapped, data, epochs)
        if folder is not None and resume:
            _go_on(training, folder, settings)
        _run(training, data, valid, epochs, batch_size, patience, folder, settings, loggers, progress)
        training.restore_best()
        model.eval()
    return FitResult(
        epochs_run=training.epoch,
        best_epoch=training.epoch if valid is None else training.best_epoch,
        best_valid=training.best_valid,
        history=training.history,
        seconds=training.seconds,
        cpu_seconds=training.cpu_seconds,
        stopped=training.stopped,
    )


def _run(
    training: Training,
    data: Samples,
    valid: Samples | None,
    epochs: int,
    batch_size: int,
    patience: int | None,
    folder: Path | None,
    settings: Mapping[str, Any],
    loggers: Sequence[Any],
    progress: bool,
) -> None:
    rank_zero = training.fabric.is_global_zero
    saved, cost = None, 0.0
    with (
        shown(progress and rank_zero, epochs, training.epoch) as show,
        logged(loggers if rank_zero else (), training.history) as log,
    ):
        while training.epoch < epochs and not training.stopped:
            entry = training.run_epoch(data, valid, epochs, batch_size)
            training.fabric.call("on_train_epoch_end", _Epoch(entry), training.model)
            training.stopped = patience is not None and training.epoch - training.best_epoch >= patience
            last = training.epoch == epochs or training.stopped
            began = time.perf_counter()
            due = saved is None or cost <= _SAVING_SHARE * (began - saved)
            if folder is not None and rank_zero and (last or due):
                _checkpoint.save(folder, training.state_dict(), {"settings": settings, "epoch": training.epoch})
                saved = time.perf_counter()
                cost = saved - began
            log(entry)
            show(entry)


@dataclass(frozen=True)
class _Epoch:
    """What callbacks of Fabric get of an epoch, in the place of a trainer."""

    entry: dict[str, Any]

    def log(self, name: str, value: Any) -> None:
        """Add a number to those of the epoch."""
        self.entry[name] = float(value)


def _go_on(training: Training, folder: Path, settings: Mapping[str, Any]) -> None:
    found = training.fabric.broadcast(_checkpoint.load(folder) if training.fabric.is_global_zero else None)
    if found is None:
        return
    state, summary = found
    before = summary.get("settings", {})
    if different := [key for key in settings if before.get(key) != settings[key]]:
        words = "; ".join(f"{key} was {before.get(key)} and is {settings[key]}" for key in different)
        raise _checkpoint.CheckpointError(
            f"the checkpoint in {folder} belongs to another training: {words}."
            " Take another checkpoint folder, or resume=False to start again in this one"
        )
    training.load_state_dict(state)


def _check(
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    patience: int | None,
    valid: Samples | None,
    clip: float | None,
) -> None:
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1), ("patience", patience, 1)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"{name} must be an integer; got {value!r}")
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}; got {value}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr must be positive; got {lr}")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be at least 0; got {weight_decay}")
    if clip is not None and not (math.isfinite(clip) and clip > 0):
        raise ValueError(f"clip must be positive; got {clip}")
    if patience is not None and valid is None:
        raise ValueError("patience needs valid: samples that tell when the model gets no better")


def _schedule(schedule: str | Callable[[float], float]) -> Callable[[float], float]:
    if callable(schedule):
        return schedule
    known = {"cosine": _fall, "one_cycle": _one_cycle, "constant": lambda share: 1.0}
    if schedule not in known:
        raise ValueError(f'schedule must be "cosine", "one_cycle", "constant" or a function; got {schedule!r}')
    return known[schedule]


def _fall(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _one_cycle(share: float) -> float:
    """Smith and Topin 2019 (arXiv 1708.07120): up from 1/25 in 30 percent of the training, then down to 0."""
    return 1 - 0.96 * _fall(share / 0.3) if share < 0.3 else _fall((share - 0.3) / 0.7)


def _default_fabric(precision: str | None) -> Any:
    from lightning_fabric import Fabric

    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return Fabric(accelerator=accelerator, devices=1, precision=precision or "32-true")  # type: ignore[arg-type]


def _name(thing: Any) -> str:
    if isinstance(thing, partial):
        options = ", ".join(f"{key}={value!r}" for key, value in sorted(thing.keywords.items()))
        return f"{_name(thing.func)}({options})"
    return thing if isinstance(thing, str) else getattr(thing, "__qualname__", type(thing).__qualname__)


def _fingerprint(data: Samples) -> str:
    """The number of samples, and a hash of three of them."""
    from safetensors.torch import save

    few = data[torch.tensor([0, len(data) // 2, len(data) - 1])]
    leaves = _tree.leaves((few.inputs, few.targets))
    content = save({str(i): x.clone(memory_format=torch.contiguous_format) for i, x in enumerate(leaves)})
    return f"{len(data)} samples, {hashlib.sha256(content).hexdigest()[:12]}"


def _outline(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        digest.update(f"{name}{tuple(p.shape)}".encode())
    return f"{sum(p.numel() for p in model.parameters())} parameters, {digest.hexdigest()[:12]}"


@contextmanager
def _returned(model: nn.Module):
    """The model goes back to the device from which it came."""
    home = next((p.device for p in model.parameters()), None)
    try:
        yield
    finally:
        if home is not None:
            model.to(home)

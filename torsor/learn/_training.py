"""A training in progress: everything that changes while it runs, and what a checkpoint of it holds."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torsor.data import Samples
from torsor.learn import _randomness
from torsor.learn._evaluate import Means, batches, evaluate
from torsor.learn._objective import Objective, Step


class DivergedError(ArithmeticError):
    """A loss is NaN or infinite."""


class Training:
    """Model, objective and optimiser, and how far they are."""

    def __init__(
        self,
        fabric: Any,
        model: nn.Module,
        objective: Objective,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[float], float],
        seed: int,
        clip: float | None = None,
    ) -> None:
        self.clip = clip
        self.fabric, self.model, self.objective, self.schedule = fabric, model, objective, schedule
        hook(objective, "to")(fabric.device)
        mine = {id(p) for p in model.parameters()}
        self.own = [p for p in hook(objective, "parameters")() or () if id(p) not in mine and p.requires_grad]
        groups = [[p for p in model.parameters() if p.requires_grad], self.own]
        if not any(groups):
            raise ValueError("model must have parameters to train; it has none that requires a gradient")
        self.optimizer = optimizer([{"params": group} for group in groups if group])
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.wrapped, self.stepper = fabric.setup(model, self.optimizer)
        self.seed, self.order = seed, torch.Generator().manual_seed(seed)
        self.epoch, self.step = 0, 0
        self.best: dict[str, Any] | None = None
        self.best_epoch, self.best_valid = 0, None
        self.history: list[dict[str, Any]] = []
        self.seconds, self.cpu_seconds = 0.0, 0.0
        self.stopped = False

    def run_epoch(self, data: Samples, valid: Samples | None, epochs: int, batch_size: int) -> dict[str, Any]:
        """Train on all samples once and score the validation samples.

        Raises:
            DivergedError: a loss is not finite.
        """
        began, began_cpu = time.perf_counter(), time.process_time()
        self.epoch += 1
        if self.fabric.world_size > 1:  # a checkpoint holds the generators of one process: those of others start anew
            _randomness.seed_all(self.seed + self.epoch * self.fabric.world_size + self.fabric.global_rank)
        per_epoch = -(-len(data) // batch_size)
        self.wrapped.train()
        hook(self.objective, "train")()
        means = Means()
        for batch in batches(data, torch.randperm(len(data), generator=self.order), batch_size, self._share):
            rate = self.schedule(self.step / (per_epoch * epochs))
            loss, logs = self._make_step(batch.to(device=self.fabric.device), rate)
            means.add({"train": loss, **{f"train_{name}": value for name, value in logs.items()}}, len(batch))
        entry: dict[str, Any] = {"epoch": self.epoch, **self._over_devices(means.values())}
        entry["lr"] = self.optimizer.param_groups[0]["lr"]
        if valid is not None:
            entry |= self._validate(valid, batch_size)
        entry.update(hook(self.objective, "on_epoch_end")(self.epoch, epochs) or {})
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.process_time() - began_cpu
        entry["seconds"] = self.seconds
        self.history.append(entry)
        return entry

    def restore_best(self) -> None:
        """Give the model, and the parameters of the objective, the weights with the best validation loss."""
        if self.best is not None:
            self.model.load_state_dict(self.best["model"])
            with torch.no_grad():
                for p, best in zip(self.own, self.best["own"], strict=True):
                    p.copy_(best)

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "own": self.own,
            "objective": hook(self.objective, "state_dict")(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_valid": self.best_valid,
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "stopped": self.stopped,
            "order": self.order.get_state(),
            "random": _randomness.capture(self.fabric.device),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        if state["objective"] is not None:
            hook(self.objective, "load_state_dict")(state["objective"])
        with torch.no_grad():
            for p, value in zip(self.own, state["own"], strict=True):
                p.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        for name in "best best_epoch best_valid epoch step history seconds cpu_seconds stopped".split():
            setattr(self, name, state[name])
        self.order.set_state(state["order"])
        _randomness.restore(state["random"], self.fabric.device)

    def _make_step(self, batch: Samples, rate: float) -> tuple[Tensor, Mapping[str, Any]]:
        self.step += 1
        for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = base * rate
        loss, logs = scored(self.objective, self.wrapped, batch)
        if not bool(torch.isfinite(loss.detach())):
            raise DivergedError(
                f"the training loss is {float(loss.detach())} in epoch {self.epoch}, step {self.step} (learning rate"
                f" {self.optimizer.param_groups[0]['lr']:.3g}); try a smaller lr, and look at the data for outliers"
            )
        self.stepper.zero_grad()
        self.fabric.backward(loss)
        if self.fabric.world_size > 1:
            for p in self.own:
                p.grad = None if p.grad is None else self.fabric.all_reduce(p.grad)
        if self.clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.stepper, max_norm=self.clip, error_if_nonfinite=False)
        self.stepper.step()
        hook(self.objective, "on_step_end")(Step(self.epoch, self.step, loss.detach(), logs))
        return loss, logs

    def _validate(self, valid: Samples, batch_size: int) -> dict[str, float]:
        with _randomness.own_randomness(self.fabric.device):  # the same draws in every epoch, and none from training
            _randomness.seed_all(self.seed)
            found = evaluate(self.wrapped, valid, self.objective, batch_size, device=self.fabric.device)
        found = self.fabric.broadcast(found)
        score = found.pop("loss")
        if not torch.isfinite(torch.tensor(score)):
            raise DivergedError(f"the validation loss is {score} after epoch {self.epoch}, step {self.step}")
        if self.best_valid is None or score < self.best_valid:
            self.best_valid, self.best_epoch = score, self.epoch
            self.best = {
                "model": copy.deepcopy(self.model.state_dict()),
                "own": [p.detach().clone() for p in self.own],
            }
        return {"valid": score, **{f"valid_{name}": value for name, value in found.items()}}

    def _share(self, part: Tensor) -> Tensor:
        """The part of a batch that this process sees; the first samples come twice where it cannot be divided."""
        world = self.fabric.world_size
        if world == 1:
            return part
        size = -(-len(part) // world)
        return part.repeat(world)[self.fabric.global_rank * size :][:size]

    def _over_devices(self, means: dict[str, float]) -> dict[str, float]:
        if self.fabric.world_size == 1:
            return means
        both = self.fabric.all_reduce(torch.tensor(list(means.values()), dtype=torch.float64))
        return dict(zip(means, both.tolist(), strict=True))


def scored(objective: Objective, model: Callable[..., Any], batch: Samples) -> tuple[Tensor, Mapping[str, Any]]:
    """The loss and the logs of an objective.

    Raises:
        TypeError: the objective does not return the two.
        ValueError: the loss is not one number.
    """
    result = objective(model, batch)
    if not isinstance(result, Sequence) or len(result) != 2 or not isinstance(result[1], Mapping):
        raise TypeError(f"objective must return (loss, dict of logs); got {type(result).__name__}")
    loss, logs = result
    if not isinstance(loss, Tensor):
        raise TypeError(f"objective must return a tensor as its loss; got {type(loss).__name__}")
    if loss.ndim != 0:
        raise ValueError(f"objective must return one number as its loss; got shape {tuple(loss.shape)}")
    return loss, logs


def hook(objective: Objective, name: str) -> Callable[..., Any]:
    """An optional method of an objective; where it has none, a function that does nothing."""
    return getattr(objective, name, lambda *args: None)

"""Objectives: what training minimises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from torsor import _tree
from torsor._tree import Tree
from torsor.data import Samples
from torsor.symmetry import Inputs, Symmetry, Transformation

Logs = Mapping[str, Any]


@runtime_checkable
class Objective(Protocol):
    """What `fit` minimises: `objective(model, batch) -> (loss, logs)`.

    The loss is a tensor of one number. The logs are a dict; those of its values that are numbers are averaged over the
    epoch and logged, all of them reach `on_step_end`. A plain function will do. An objective that has a state of its
    own adds what it needs of the following, all of it optional:

    - `validate(model, batch) -> (loss, logs)`: what the validation samples are scored by, instead of the objective
      itself: the task without penalties and augmentation.
    - `on_fit_start(model, data, epochs)`: once, before the first step.
    - `on_step_end(step)`: after each step of the optimiser, with a `Step`: dual variables move here.
    - `on_epoch_end(epoch, epochs)`: after each epoch, counted from 1; may return a dict of numbers to log.
    - `parameters()`: parameters that are trained with those of the model.
    - `state_dict()`, `load_state_dict(state)`: what a checkpoint must hold: tensors, numbers, words, containers.
    - `train(mode)`, `to(device)`: as a `torch.nn.Module` has them. Every module with a suitable `forward` is an
      objective.
    """

    def __call__(self, model: Callable[..., Tree], batch: Samples, /) -> tuple[Tensor, Logs]:
        """The loss of a batch, and what is logged."""
        ...


@dataclass(frozen=True)
class Step:
    """A step of the optimiser that was just made, for `on_step_end`.

    Arguments:
        epoch: counted from 1.
        step: counted from 1 over the whole training.
        loss: of the batch, before the step.
        logs: what the objective returned with it.
    """

    epoch: int
    step: int
    loss: Tensor
    logs: Logs


def predict(model: Callable[..., Tree], inputs: Inputs) -> Tree:
    """The model's outputs for inputs as `Samples` hold them, positional or by keyword.

    >>> import torch
    >>> from torsor import learn
    >>> learn.predict(torch.add, (torch.ones(2), torch.ones(2)))
    tensor([2., 2.])
    """
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def mse(model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
    """The mean squared error over all numbers of the targets.

    Raises:
        ValueError: an output has another shape than its target: nothing is broadcast.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> loss, logs = learn.mse(torch.nn.Identity(), Samples(torch.ones(4, 3), torch.zeros(4, 3)))
    >>> loss
    tensor(1.)
    """
    pairs = matched(predict(model, batch.inputs), batch.targets)
    numbers = sum(y.numel() for _, y in pairs)
    return torch.stack([(out - y).square().sum() for out, y in pairs]).sum() / max(numbers, 1), {}


@dataclass(frozen=True)
class square_error:
    """The mean squared error in the space in which the outputs of a symmetry are compared.

    The same as `mse` for numbers, vectors and points; for a `Line` it is `1 - cos^2` of the angle, whatever the signs.

    Arguments:
        symmetry: whose output actions say what the outputs are.

    Raises:
        ValueError: an output has another shape than its target: nothing is broadcast.

    >>> import torch
    >>> from torsor import O, Line, Symmetry, Vector, learn
    >>> from torsor.data import Samples
    >>> objective = learn.square_error(Symmetry(O(3), Vector(), Line()))
    >>> x = torch.tensor([[1.0, 0.0, 0.0]])
    >>> objective(torch.nn.Identity(), Samples(x, -2 * x))[0], objective(torch.nn.Identity(), Samples(x, x.roll(1)))[0]
    (tensor(0.), tensor(1.))
    """

    symmetry: Symmetry

    def __call__(self, model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
        """The error of a batch."""
        pairs = matched(predict(model, batch.inputs), batch.targets)
        actions = zip(self.symmetry.output_actions, pairs, strict=True)
        errors = [action.square_error(out, y) for action, (out, y) in actions]
        return torch.stack([e.sum() for e in errors]).sum() / max(sum(e.numel() for e in errors), 1), {}


def cross_entropy(model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
    """The cross entropy of logits `(B, classes)` with integer labels `(B,)`; logs the accuracy.

    Raises:
        ValueError: the output is not `(B, classes)`, or a label is no class.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    >>> learn.cross_entropy(torch.nn.Identity(), Samples(logits, torch.tensor([0, 0])))[1]["accuracy"]
    tensor(0.5000)
    """
    logits, labels = predict(model, batch.inputs), batch.targets
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"output must be logits ({len(labels)}, classes); the model returned {got}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise ValueError(
            f"targets must be classes 0 to {logits.shape[1] - 1}, as the model has {logits.shape[1]} logits;"
            f" got {int(labels.min())} to {int(labels.max())}"
        )
    accuracy = (logits.argmax(1) == labels).to(logits.dtype).mean()
    return torch.nn.functional.cross_entropy(logits, labels), {"accuracy": accuracy.detach()}


def matched(out: Tree, targets: Tree) -> list[tuple[Tensor, Tensor]]:
    """The outputs with their targets.

    Raises:
        ValueError: the two differ in structure or in a shape.

    >>> import torch
    >>> matched(torch.ones(4), torch.ones(4, 1))
    Traceback (most recent call last):
    ValueError: output must have the shape of its target, (4, 1); the model returned (4,)
    """
    names = _tree.names(targets)
    parts = _tree.match(_tree.flatten(targets)[1], out)
    if parts is None or not all(isinstance(part, Tensor) for part in parts):
        raise ValueError(
            f"output must have the structure of the targets, {_outline(targets)}; the model returned {_outline(out)}"
        )
    pairs = list(zip(parts, _tree.leaves(targets), strict=True))
    for name, (y, target) in zip(names, pairs, strict=True):
        if y.shape != target.shape:
            label = f"output {name}" if name else "output"
            raise ValueError(
                f"{label} must have the shape of its target, {tuple(target.shape)}; the model returned {tuple(y.shape)}"
            )
    return pairs


class augmented:
    """An objective on randomly transformed samples: one element per sample, drawn anew at every step.

    Inputs and targets are moved; validation sees the samples as they are.

    Arguments:
        objective: what is minimised.
        transformation: a `Symmetry`, or anything else that can `sample`, `act` and `act_output`.
        generator: where the elements are drawn from; by default torch's own, which `fit` seeds.

    >>> import torch
    >>> from torsor import O, Scalar, Symmetry, Vector, learn
    >>> from torsor.data import Samples
    >>> norm = lambda x: x.norm(dim=-1, keepdim=True)
    >>> x = torch.randn(10, 3)
    >>> objective = learn.augmented(learn.mse, Symmetry(O(3), Vector(), Scalar()))
    >>> float(objective(norm, Samples(x, norm(x)))[0]) < 1e-10
    True
    """

    def __init__(
        self, objective: Objective, transformation: Transformation, generator: torch.Generator | None = None
    ) -> None:
        self.objective = objective
        self.transformation = transformation
        self.generator = generator

    def __call__(self, model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
        """The objective of the transformed batch."""
        law = self.transformation
        g = law.sample(batch.inputs, generator=self.generator)
        moved = replace(batch, inputs=law.act(g, batch.inputs), targets=law.act_output(g, batch.targets, batch.inputs))
        return self.objective(model, moved)

    def validate(self, model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
        """The objective of the batch as it is."""
        return getattr(self.objective, "validate", self.objective)(model, batch)

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator and of the objective."""
        state = {} if self.generator is None else {"generator": self.generator.get_state()}
        inner = getattr(self.objective, "state_dict", None)
        return state if inner is None else {**state, "objective": inner()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        if self.generator is not None:
            self.generator.set_state(state["generator"])
        if "objective" in state:
            self.objective.load_state_dict(state["objective"])  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "objective":
            raise AttributeError(name)
        return getattr(self.objective, name)  # the other hooks are the objective's own


def _outline(tree: Tree) -> str:
    named = zip(_tree.names(tree), _tree.leaves(tree), strict=True)
    return ", ".join(f"{name or 'tensor'} {tuple(getattr(x, 'shape', ()))}" for name, x in named) or "nothing"

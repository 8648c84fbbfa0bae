"""What is measured of a trained model."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor._tree import leaves
from torsor.actions import Action
from torsor.study._memory import peak_memory

if TYPE_CHECKING:
    from torsor.data import Dataset, Samples
    from torsor.symmetry import Transformation

BLOCKS = 40  # a test error is kept as the means of this many blocks of samples: two models are compared in pairs
_CHUNK = 512  # samples per forward pass
_TIMINGS = 7
_TIMED_BATCH = 100
_SEED = 20_240_229  # the transformations of the test set are the same for every model


@dataclass(frozen=True)
class Errors:
    """The error of a model on a test set: its mean, and the means of blocks of samples that are the same for all."""

    mean: float
    blocks: list[float] = field(default_factory=list)


def sample_errors(out: Any, targets: Any, task: str, actions: Sequence[Action]) -> Float[Tensor, " b"]:
    """The error of each sample: its mean squared error, or 0 and 1 for right and wrong classes.

    Arguments:
        out, targets: of a batch.
        task: of the data set.
        actions: of the outputs: they say in which space outputs are compared.
    """
    if task == "classification":
        return (out.argmax(-1) != targets).double()
    pairs = zip(actions, leaves(out), leaves(targets), strict=True)
    squares = [action.square_error(a.double(), b.double()) for action, a, b in pairs]
    total = torch.stack([square.reshape(len(square), -1).sum(1) for square in squares]).sum(0)
    return total / sum(math.prod(square.shape[1:]) for square in squares)


def error_unit(dataset: "Dataset") -> str:
    """What the errors of a data set are measured in, in words."""
    if dataset.task == "classification":
        return "share wrong"
    return " and ".join(dict.fromkeys(action.error_unit for action in dataset.symmetry.output_actions))


def summarise(errors: Float[Tensor, " b"]) -> Errors:
    """The mean of the errors and of their blocks.

    Raises:
        ArithmeticError: if an error is not finite: a model that gives NaN has failed, whatever its other errors are.
    """
    if not errors.isfinite().all():
        raise ArithmeticError(f"{int((~errors.isfinite()).sum())} of {len(errors)} test errors are not finite")
    return Errors(float(errors.mean()), [float(errors[i::BLOCKS].mean()) for i in range(min(BLOCKS, len(errors)))])


def error_on_test(
    model: nn.Module, dataset: "Dataset", symmetry: "Transformation | None" = None, draws: int = 1
) -> Errors:
    """The error on the test set as it is, or moved by random elements that no training has seen.

    Arguments:
        model: the model, in any mode.
        dataset: its test set and task.
        symmetry: how the test set is moved; None leaves it.
        draws: how many elements each sample is moved by.
    """
    generator = torch.Generator().manual_seed(_SEED)
    total = []
    with _evaluation(model):
        for _ in range(draws):
            found = []
            for batch in _chunks(dataset.test):
                inputs, targets = batch.inputs, batch.targets
                if symmetry is not None:
                    g = symmetry.sample(inputs, generator=generator)
                    inputs = symmetry.act(g, inputs)
                    if dataset.task == "regression":
                        targets = symmetry.act_output(g, targets, batch.inputs)
                out = dataset.symmetry.call(model, inputs)
                found.append(sample_errors(out, targets, dataset.task, dataset.symmetry.output_actions))
            total.append(torch.cat(found))
    return summarise(torch.stack(total).mean(0))


def inference_time(model: nn.Module, dataset: "Dataset") -> tuple[float, int]:
    """The median time in milliseconds of one forward pass in evaluation, and the size of its batch."""
    batch = dataset.test[torch.arange(min(_TIMED_BATCH, len(dataset.test)))]
    times = []
    with _evaluation(model):
        for _ in range(_TIMINGS):
            began = time.perf_counter()
            dataset.symmetry.call(model, batch.inputs)
            times.append(time.perf_counter() - began)
    return 1000 * sorted(times)[_TIMINGS // 2], len(batch)


def training_memory(model: nn.Module, objective: Any, dataset: "Dataset", batch_size: int) -> float:
    """The megabytes that tensors take at the peak of one training step."""
    batch = dataset.train[torch.arange(min(batch_size, len(dataset.train)))]
    model.train()
    with torch.random.fork_rng(devices=[]):
        peak = peak_memory(lambda: objective(model, batch)[0].backward())
    model.zero_grad(set_to_none=True)
    model.eval()
    return peak / 1e6


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode comes back afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _chunks(samples: "Samples") -> "list[Samples]":
    return [samples[torch.arange(i, min(i + _CHUNK, len(samples)))] for i in range(0, len(samples), _CHUNK)]

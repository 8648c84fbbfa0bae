"""The mean of an objective over samples, without training."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from torsor.data import Samples
from torsor.learn._objective import Objective


def evaluate(
    model: Callable[..., Any],
    data: Samples,
    metric: Objective,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """The mean of a metric over samples, in evaluation mode and without gradients.

    Arguments:
        model: a module or another callable; the mode of a module is the same afterwards.
        data: the samples.
        metric: `metric(model, batch) -> (value, logs)`, such as `mse`; where it has a `validate`, that is used.
        batch_size: samples per call of the model.
        device: where the batches go; by default that of the first parameter of a module.

    Returns:
        The mean value as `"loss"`, and the means of all numbers in the logs by their names.

    Raises:
        ValueError: no samples, or a batch size below 1.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> learn.evaluate(torch.nn.Identity(), Samples(torch.ones(4, 3), torch.zeros(4, 3)), learn.mse)
    {'loss': 1.0}
    """
    check_samples("data", data)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    validate = getattr(metric, "validate", metric)
    if device is None and isinstance(model, nn.Module):
        device = next((p.device for p in model.parameters()), None)
    means = Means()
    with evaluation(model, metric):
        for batch in batches(data, torch.arange(len(data)), batch_size):
            value, logs = validate(model, batch if device is None else batch.to(device=device))
            means.add({"loss": value, **logs}, len(batch))
    return means.values()


def check_samples(name: str, data: Samples) -> None:
    """Refuse an empty set of samples.

    Raises:
        ValueError: names the argument.
    """
    if len(data) == 0:
        raise ValueError(f"{name} must hold at least one sample; got none")


def batches(
    data: Samples, order: Tensor, batch_size: int, share: Callable[[Tensor], Tensor] = lambda part: part
) -> Iterator[Samples]:
    """The samples in an order, a batch at a time; of each batch the share of this process."""
    for part in order.split(batch_size):
        yield data[share(part)]


class Means:
    """Weighted means of numbers by name; what is no number is left out. Sums stay on the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._weights: dict[str, int] = {}

    def add(self, named: Mapping[str, Any], weight: int) -> None:
        """Count some values with a weight."""
        for name, value in named.items():
            if isinstance(value, Tensor) and value.numel() == 1:
                value = value.detach().reshape(()).double()
            elif isinstance(value, bool) or not isinstance(value, int | float):
                continue
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._weights[name] = self._weights.get(name, 0) + weight

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(total) / self._weights[name] for name, total in self._sums.items()}


@contextmanager
def evaluation(*objects: Any):
    """Modules in evaluation mode, no gradients; their modes come back afterwards."""
    modules = [part for thing in objects if isinstance(thing, nn.Module) for part in thing.modules()]
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode

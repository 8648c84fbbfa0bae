"""Networks that stand in for the function behind data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torsor.symmetry import Inputs

HIDDEN, LAYERS, BATCH = 128, 2, 64
"""Of the networks: width, hidden layers, samples per step."""


@dataclass(frozen=True, eq=False)
class StandIn:
    """Two networks that were trained on the two halves of the data.

    Arguments:
        networks: both, in evaluation.
        r2: the coefficient of determination of their mean, on a tenth of the data that neither has seen.
    """

    networks: tuple[nn.Module, nn.Module]
    r2: float

    def call(self, *args: Any, **kwargs: Any) -> Tensor:
        """The mean of both."""
        one, other = self.networks
        return (one(*args, **kwargs) + other(*args, **kwargs)) / 2


def stand_in(X: Inputs, Y: Tensor, seed: int = 0, epochs: int = 300) -> StandIn:
    """Networks trained on data: a multilayer perceptron on all inputs side by side, in units of their deviations.

    Raises:
        ValueError: fewer than 20 samples, targets that are all 0, or values that are not finite.
    """
    from torsor import learn
    from torsor.data import Samples

    data = Samples(X, Y)
    if len(data) < 20:
        raise ValueError(f"data must hold at least 20 samples for a network to stand in; got {len(data)}")
    if not bool(Y.any()):
        raise ValueError("data must have targets that are not all 0: every transformation is a symmetry of 0")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    unseen, rest = data[order[: len(data) // 10]], order[len(data) // 10 :]
    networks = []
    for number, half in enumerate((rest[::2], rest[1::2])):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + number)
            net = _Standardised(data[rest])
        learn.fit(net, data[half], learn.mse, epochs=epochs, batch_size=BATCH, lr=3e-3, seed=2 * seed + number)
        networks.append(net)
    found = StandIn((networks[0], networks[1]), 0.0)
    with torch.no_grad():
        left = (learn.predict(found.call, unseen.inputs) - unseen.targets).square().sum()
        spread = (unseen.targets - unseen.targets.mean(0)).square().sum()
    return StandIn(found.networks, float(1 - left / spread))


class _Standardised(nn.Module):
    """A perceptron between standardised inputs and targets."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        from torsor import _tree
        from torsor.build.backbones import MLP

        x = torch.cat([t.reshape(len(t), -1) for t in _tree.leaves(data.inputs)], 1)
        y = data.targets.reshape(len(data), -1)
        self.shape = tuple(data.targets.shape[1:])
        self.net = MLP(x.shape[1], y.shape[1], HIDDEN, LAYERS).to(x)
        for name, value in (("x", x), ("y", y)):
            self.register_buffer(f"{name}_mean", value.mean(0))
            self.register_buffer(f"{name}_scale", value.std(0).clamp(min=1e-12))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        from torsor import _tree

        x = torch.cat([t.reshape(len(t), -1) for t in _tree.leaves((args, kwargs))], 1)
        y = self.net((x - self.x_mean) / self.x_scale)  # type: ignore[operator]
        return (y * self.y_scale + self.y_mean).reshape(len(y), *self.shape)  # type: ignore[operator]

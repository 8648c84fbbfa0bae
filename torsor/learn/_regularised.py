"""Training with a penalty: an objective for `fit` that adds it and lets its strengths move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from torsor.data import Samples
from torsor.learn._curvature import Curvature, curvature
from torsor.learn._objective import Logs, Objective
from torsor.learn._per import PERegularizer
from torsor.learn._sampled import SampledRegularizer


class regularised:
    """An objective with the penalty added, for `torsor.learn.fit`: it calls `epoch_end`, with what the rule asks for.

    Validation sees the objective alone.

    Arguments:
        objective: what is minimised.
        per: a `PERegularizer` or a `SampledRegularizer`.
        likelihood: of the curvature that `EvidenceRule` needs: `"gaussian"` or `"categorical"`.
        batch_size: samples per batch when the curvature is measured.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.actions import V
    >>> from torsor.data import Samples
    >>> from torsor.groups import O, embed
    >>> layer = learn.SoftLinear(V, V, [embed(O(2), (0, 1), 3), embed(O(2), (1, 2), 3)])
    >>> per = learn.PERegularizer(layer, strengths=learn.PowerRule(1.0))
    >>> x = torch.randn(64, 3)
    >>> y = x * torch.tensor([1.0, 1.0, 3.0])
    >>> _ = learn.fit(layer, Samples(x, y), learn.regularised(learn.mse, per), epochs=40, batch_size=16, lr=0.05)
    >>> bool(per.strengths[0] > per.strengths[1])
    True
    """

    def __init__(
        self,
        objective: Objective,
        per: PERegularizer | SampledRegularizer,
        likelihood: str = "gaussian",
        batch_size: int = 256,
    ) -> None:
        self.objective, self.per, self.likelihood, self.batch_size = objective, per, likelihood, batch_size
        self._data: Samples | None = None

    def __call__(self, model: Callable[..., Any], batch: Samples) -> tuple[Tensor, Logs]:
        """The loss and the penalty of a batch."""
        loss, logs = self.objective(model, batch)
        penalty = self.per(batch.inputs, model) if isinstance(self.per, SampledRegularizer) else self.per()
        return loss + penalty, {**logs, "task": loss.detach(), "penalty": penalty.detach()}

    def validate(self, model: Callable[..., Any], batch: Samples) -> tuple[Tensor, Logs]:
        """The objective alone."""
        return getattr(self.objective, "validate", self.objective)(model, batch)

    def on_fit_start(self, model: nn.Module, data: Samples, epochs: int) -> None:
        """Remember the training samples, on which the curvature is measured."""
        self._data = data

    def on_epoch_end(self, epoch: int, epochs: int) -> dict[str, float]:
        """Let the strengths move."""
        if not self.per.rule.wants(epoch, epochs):
            return self.per.epoch_end(epoch, epochs)
        return self.per.epoch_end(epoch, epochs, curvature=self._curvature())

    def to(self, device: Any) -> None:
        """Move the strengths."""
        self.per.to(device)

    def state_dict(self) -> dict[str, Any]:
        """The state of the penalty."""
        return dict(self.per.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.per.load_state_dict(state)

    def _curvature(self) -> Curvature:
        assert self._data is not None
        assert isinstance(self.per, PERegularizer)
        size, device = self.batch_size, self.per.strengths.device
        batches = (self._data[slice(i, i + size)].to(device=device) for i in range(0, len(self._data), size))
        return curvature(self.per.model, batches, self.likelihood, layers=self.per.layers)


class with_prior:
    """An objective less the log prior of a model that has one, such as `RPPEMLP`. Validation sees the objective alone.

    Arguments:
        objective: what is minimised.
        net: has `log_prior()`.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.actions import V
    >>> from torsor.data import Samples
    >>> from torsor.groups import O
    >>> layer, x = learn.RPPLinear(V, V, O(3)), torch.randn(8, 3)
    >>> bool(learn.with_prior(learn.mse, layer)(layer, Samples(x, x))[0] > learn.mse(layer, Samples(x, x))[0])
    True
    """

    def __init__(self, objective: Objective, net: nn.Module) -> None:
        self.objective, self.net = objective, net

    def __call__(self, model: Callable[..., Any], batch: Samples) -> tuple[Tensor, Logs]:
        """The loss less the log prior."""
        loss, logs = self.objective(model, batch)
        return loss - self.net.log_prior(), logs  # type: ignore[operator]

    def validate(self, model: Callable[..., Any], batch: Samples) -> tuple[Tensor, Logs]:
        """The objective alone."""
        return getattr(self.objective, "validate", self.objective)(model, batch)

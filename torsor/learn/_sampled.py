"""The usual penalty: the squared difference of `f(g x)` and `g f(x)` at random elements, for any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.learn._strengths import Fixed, StrengthRule, Strengths, check_rule, end_of_epoch
from torsor.symmetry import Inputs, Symmetry


class SampledRegularizer(nn.Module):
    """`sum_g lambda_g E |f(g x) - g f(x)|^2`, sampled: for any model, at the points of the batch alone.

    It needs no representations of hidden layers; each symmetry costs `n` more calls of the model, where
    `PERegularizer` costs the same whatever the data are and sees the whole group.

    Arguments:
        model: called with the inputs of a batch.
        symmetries: the candidates, with their actions on inputs and output.
        n: elements for each sample and symmetry.
        strengths: `Fixed(...)` or `PowerRule(lambda_0)`.
        generator: where elements are drawn from; by default torch's own.

    Raises:
        ValueError: no symmetries, n below 1, or a rule that needs more than residuals.

    >>> import torch
    >>> from torsor import O, Symmetry, Vector, learn
    >>> per = learn.SampledRegularizer(torch.nn.Linear(3, 3, bias=False), [Symmetry(O(3), Vector(), Vector())])
    >>> bool(per(torch.randn(8, 3)) > 0)
    True
    """

    strengths: Tensor

    def __init__(
        self,
        model: nn.Module,
        symmetries: Sequence[Symmetry],
        n: int = 1,
        strengths: StrengthRule | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not symmetries or any(not isinstance(s, Symmetry) for s in symmetries):
            raise ValueError(f"symmetries must hold at least one torsor.Symmetry; got {symmetries!r}")
        if n < 1:
            raise ValueError(f"n must be at least 1 element; got {n}")
        self.rule: StrengthRule = check_rule(strengths, Fixed(1.0))
        if getattr(self.rule, "has_ridge", False):
            raise ValueError(f"strengths must be Fixed or PowerRule: {self.rule} needs layers with representations")
        self._model, self.symmetries, self.n, self.generator = (model,), tuple(symmetries), n, generator
        like = next(model.parameters(), torch.ones(()))
        self.register_buffer("strengths", self.rule.start(len(symmetries)).groups.to(like))
        self.history: list[dict[str, Any]] = []
        self._seen: list[Tensor] = []

    @property
    def groups(self) -> tuple[Any, ...]:
        """The groups of the symmetries."""
        return tuple(s.group for s in self.symmetries)

    def forward(self, inputs: Inputs, model: Callable[..., Any] | None = None) -> Float[Tensor, ""]:
        """The penalty at the inputs of a batch; `model` stands for the model where it is wrapped."""
        found = self.residuals(inputs, model)
        if self.training:
            self._seen.append(found.detach())
        return (self.strengths * found).sum()

    def residuals(self, inputs: Inputs, model: Callable[..., Any] | None = None) -> Float[Tensor, " groups"]:
        """The mean over the batch of the squared difference, for each symmetry."""
        f = self._model[0] if model is None else model
        found = []
        for symmetry in self.symmetries:
            out, total = symmetry.call(f, inputs), None
            for _ in range(self.n):
                g = symmetry.sample(inputs, generator=self.generator)
                moved = symmetry.call(f, symmetry.act(g, inputs))
                distance = symmetry.distance(moved, symmetry.act_output(g, out, inputs), inputs)
                square = _sum_of_leaves(distance)
                total = square if total is None else total + square
            assert total is not None
            found.append(total / self.n)
        return torch.stack(found)

    @torch.no_grad()
    def epoch_end(self, epoch: int, n_epochs: int, **stats: Any) -> dict[str, float]:
        """Record the mean residuals of the epoch and let the strengths move."""
        if not self._seen:
            raise ValueError("epoch_end needs an epoch: the penalty was not called since the last one")
        residuals = torch.stack(self._seen).mean(0)
        self._seen = []
        return end_of_epoch(self, residuals, epoch, n_epochs, **stats)

    @torch.no_grad()
    def set(self, strengths: Strengths) -> None:
        """Set the strengths."""
        self.strengths.copy_(strengths.groups)

    def get_extra_state(self) -> dict[str, Any]:
        """The history; the strengths are buffers."""
        return {"history": [dict(entry) for entry in self.history]}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.history = [dict(entry) for entry in state["history"]]


def _sum_of_leaves(distances: Any) -> Tensor:
    from torsor import _tree

    return torch.stack([d.square().mean() for d in _tree.leaves(distances)]).sum()

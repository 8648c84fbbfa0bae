"""Transformations that are no group: noise, colour, corruption. What needs inverses is left out for them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torsor import _tree
from torsor._tree import Tree
from torsor.actions import Scalar, Shared
from torsor.audit._subject import evaluating, without_graph
from torsor.groups import Trivial
from torsor.symmetry import Inputs, Symmetry, Transformation, as_inputs


@dataclass(frozen=True, eq=False)
class Ungrouped(Symmetry):
    """A transformation with the face of a symmetry: inputs and outputs are plain tensors, rows are samples."""

    transformation: Transformation = field(kw_only=True)

    def act(self, g: Any, inputs: Inputs) -> Inputs:
        """The inputs transformed."""
        return as_inputs(self.transformation.act(g, as_inputs(inputs)))

    def act_output(self, g: Any, out: Tree, inputs: Inputs) -> Tree:
        """What the transformation makes of an output."""
        return self.transformation.act_output(g, out, inputs)

    def sample(self, inputs: Inputs, proposal: Any = None, generator: torch.Generator | None = None) -> Any:
        """Parameters of one random transformation per sample."""
        return self.transformation.sample(as_inputs(inputs), generator=generator)


def ungrouped(f: Callable[..., Tree], transformation: Transformation, inputs: Inputs) -> Ungrouped:
    """The transformation as an audit wants it; calls `f` once to see what it returns."""

    def action(x: Any) -> Any:
        return Scalar() if isinstance(x, Tensor) and x.ndim else Shared()

    actions = _tree.map(action, inputs)
    with evaluating(f):
        out = without_graph(lambda: Symmetry(Trivial(), actions, Scalar()).call(f, inputs))
    return Ungrouped(Trivial(), actions, _tree.map(action, out), transformation=transformation)

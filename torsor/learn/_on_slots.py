"""Networks on one flat axis, called as a symmetry says: the representations of its inputs and its output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torsor import _tree
from torsor.actions import Action, PseudoScalar, PseudoVector, Rep, Scalar, T, V
from torsor.actions import Tensor as TensorAction
from torsor.groups import Embedding, Group, GroupOfMatrices
from torsor.groups import _affine as affine
from torsor.symmetry import Inputs, Symmetry, as_inputs


@dataclass(frozen=True)
class SlotReps:
    """What `slot_reps` gives.

    Arguments:
        rep_in, rep_out: of the inputs side by side, and of the output.
        group: that acts on them; the linear part of an affine group.
        centred: whether positions are taken from their centroid first, which is added to positions that come out.
    """

    rep_in: Rep
    rep_out: Rep
    group: Group
    centred: bool


def slot_reps(symmetry: Symmetry, inputs: Inputs, output: Tensor, classes: int | None = None) -> SlotReps:
    """The representations of the inputs and the output of a symmetry, flattened sample by sample.

    Arguments:
        symmetry: its actions must be those of tensors: scalars, vectors, points, tensors, representations.
        inputs, output: samples of them, for the shapes.
        classes: number of logits, where the output is a class number.

    Raises:
        TypeError: the group is none of matrices, or a value is no tensor of it; says which.

    >>> import torch
    >>> from torsor import E, Point, Scalar, Symmetry
    >>> found = slot_reps(Symmetry(E(3), (Point(), Scalar()), Point()), (torch.ones(2, 5, 3), torch.ones(2, 5, 1)),
    ...                   torch.ones(2, 5, 3))
    >>> found.rep_in, found.rep_out, found.group, found.centred
    (5*V + 5*Scalar(), 5*V, O(3), True)
    """
    slots = symmetry.slots(as_inputs(inputs))
    group = symmetry.group
    centred = isinstance(group, affine.AffineGroup)
    linear = group.linear_group if isinstance(group, affine.AffineGroup) else group
    if not isinstance(linear, GroupOfMatrices | Embedding):
        raise TypeError(f"{group} is no group of matrices that act on tensors")
    if len(symmetry.output_actions) != 1:
        raise TypeError("the output is more than one tensor")
    parts = [_rep(action, x, linear) for action, x in slots]
    out = classes * Scalar() if classes is not None else _rep(symmetry.output_actions[0], output, linear)
    feels = [a.feels_translation for a, _ in slots]
    if centred and not any(feels) and symmetry.output_actions[0].feels_translation:
        raise TypeError("the output is a position and no input is")
    return SlotReps(sum(parts, start=0 * Scalar()), out, linear, centred and any(feels))


class OnSlots(nn.Module):
    """A network from `rep_in` to `rep_out` that takes and returns what a symmetry speaks of.

    Arguments:
        net: takes (B, dim_in), returns (B, dim_out).
        symmetry: says what the inputs are.
        shape: of the output of one sample.
        centred: as in `SlotReps`.
    """

    def __init__(self, net: nn.Module, symmetry: Symmetry, shape: tuple[int, ...], centred: bool = False) -> None:
        super().__init__()
        self.net, self.symmetry, self.shape, self.centred = net, symmetry, tuple(shape), centred

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output for inputs by position or by keyword."""
        inputs: Inputs = kwargs or args
        slots = self.symmetry.slots(inputs)
        dtype = next(self.net.parameters()).dtype
        centre = self.symmetry.centroid(inputs) if self.centred else None
        rows = []
        for action, x in slots:
            if centre is not None and action.feels_translation:
                x = x - _beside(centre, x)
            rows.append(x.reshape(len(x), -1).to(dtype))
        out = self.net(torch.cat(rows, -1)).reshape(-1, *self.shape)
        if centre is not None and self.symmetry.output_actions[0].feels_translation:
            out = out + _beside(centre, out)
        return out


def _rep(action: Action, x: Any, group: GroupOfMatrices) -> Rep:
    if not isinstance(x, Tensor):
        raise TypeError(f"{action} is no tensor of {group}")
    size = math.prod(x.shape[1:])
    if isinstance(action, Rep):
        one = V if type(action) is type(V) else action
        return size * Scalar() if isinstance(action, Scalar) else (size // one.dim(group)) * one
    if isinstance(action, TensorAction):
        return (size // group.n ** (action.p + action.q)) * T(action.p, action.q)
    if isinstance(action, PseudoScalar) and getattr(group, "is_volume_preserving", False):
        return size * Scalar()
    if isinstance(action, PseudoVector) and getattr(group, "is_volume_preserving", False) and group.is_connected:
        return (size // group.n) * V
    if action.feels_translation:
        return (size // group.n) * V
    raise TypeError(f"{type(action).__name__} is no tensor of {group}")


def _beside(centre: Tensor, x: Tensor) -> Tensor:
    return centre.reshape(len(centre), *(1,) * (x.ndim - 2), centre.shape[-1]).to(x.dtype)


def output_shape(targets: Any, classes: int | None) -> tuple[int, ...]:
    """The shape of the output of one sample."""
    if classes is not None:
        return (classes,)
    leaves = _tree.leaves(targets)
    return tuple(leaves[0].shape[1:])

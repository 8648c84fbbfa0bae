"""What an error relative to the whole output cannot show: channels that are small beside others, and constants."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor import _tree
from torsor._slots import is_action
from torsor.actions import Element, Scalar
from torsor.audit._compare import LEAST_FLOOR, Comparison
from torsor.audit._verdict import BROKEN, EXACT


@dataclass(frozen=True)
class Channel:
    """A channel of scalars that is broken, measured against how much it varies over the inputs.

    Arguments:
        output: the output that it belongs to.
        place: its place on the last axis; None where the output has one channel.
        error: the relative error once the mean over the inputs is taken away.
    """

    output: str
    place: int | None
    error: float

    def __str__(self) -> str:
        if self.place is None:
            return (
                f"Measured against how much {self.output} varies over the inputs the error is {self.error:.2g}:"
                " a constant that is large beside this variation hides it."
            )
        return (
            f"Channel {self.place} of {self.output} alone is broken: {self.error:.2g} of how much it varies over the"
            " inputs; what is large beside it hides it."
        )


def broken_channels(comparison: Comparison, g: Element) -> tuple[Channel, ...]:
    """The worst channel of each output of scalars whose error, relative to its variation, is that of a broken one.

    A mean over the inputs says nothing about a symmetry, and a large channel nothing about a small one: each is
    compared without its mean, and with its own floor. Outputs that are constant, or nearly, are noted.
    """
    symmetry = comparison.symmetry
    actions = _tree.leaves(symmetry.output, is_action)
    if not any(isinstance(action, Scalar) for action in actions) or symmetry.batch_size(comparison.inputs) < 2:
        return ()
    there, moved_base, moved = comparison.sides(g)
    start = symmetry.act(symmetry.group.inverse(g), moved) if comparison.has_group else comparison.inputs
    again = comparison.subject(comparison.rounded(start))
    found = []
    columns = zip(
        symmetry.output_names, actions, *map(_tree.leaves, (comparison.base, there, moved_base, again)), strict=True
    )
    for name, action, *values in columns:
        if not isinstance(action, Scalar):
            continue
        base, p, q, back = (_channels(y) for y in values)
        mean = base.mean(0)
        least = LEAST_FLOOR * comparison.eps * base.square().mean(0).sqrt()
        if bool((((base - mean).abs() <= least) & ((p - mean).abs() <= least)).all()):
            comparison.notes.add(f"{name} is the same for all inputs, moved or not: a constant keeps every symmetry.")
            continue
        size = _rms(p - mean) + _rms(q - mean)
        size = torch.where(size > 0, size, 1)
        error, floor = _rms(p - q) / size, torch.maximum(_rms(back - base), least) / size
        if bool((EXACT * floor >= 1).all()):
            comparison.notes.add(
                f"{name} varies over the inputs by little more than rounding: whether that variation keeps the"
                " symmetry cannot be seen at this precision."
            )
            continue
        error = torch.where(error.isfinite() & (error > BROKEN) & (error > EXACT * floor), error, 0)
        worst = int(error.argmax())
        if float(error[worst]) > 0:
            found.append(Channel(name, worst if len(error) > 1 else None, float(error[worst])))
    return tuple(found)


def _channels(y: Tensor) -> Float[Tensor, "rows channels"]:
    """The values of each channel; numbers without a channel axis are one channel."""
    y = (y.abs() if y.is_complex() else y).double()
    return y.reshape(-1, y.shape[-1] if y.ndim > 1 else 1)


def _rms(x: Any) -> Float[Tensor, "channels"]:
    return x.square().mean(0).sqrt()

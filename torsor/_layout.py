"""How the samples of a batch are laid out: dense, padded with a mask, or ragged with a batch index."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor

from torsor import _tree
from torsor.actions import Action, Batch, Edges, Jointly, Layout, Mask, Nodes, Pairs, Shared
from torsor.groups import DirectProduct, Group, Symmetric

Level = Literal["node", "edge", "sample"]


@dataclass(frozen=True, eq=False)
class BatchLayout:
    """The layout roles among the inputs of one call, and what follows from them."""

    size: int
    """Number of samples, B."""
    nodes: int | None
    """Number of nodes in the whole batch, where there are edges to offset."""
    mask: Tensor | None
    batch: Tensor | None
    edges: Tensor | None

    def level(self, action: Action) -> Level:
        """What a row of the value belongs to."""
        if action.per is not None:
            return action.per
        return "sample" if self.mask is None and self.batch is None else "node"

    def rows(self, action: Action) -> int:
        """The length of the first axis of the value."""
        sample = self.sample_of_row(action)
        return self.size if sample is None else len(sample)

    def sample_of_row(self, action: Action) -> Tensor | None:
        """The sample that each row of a ragged value belongs to; None where rows are samples."""
        if self.batch is None or self.level(action) == "sample":
            return None
        if self.level(action) == "node":
            return self.batch
        if self.edges is None:
            raise ValueError(f'{action} counts per="edge", and no input is Edges()')
        return self.batch[self.edges[0]]

    def spread(self, action: Action, per_sample: Tensor) -> Tensor:
        """`(B, ...)` copied to the rows of a value."""
        sample = self.sample_of_row(action)
        return per_sample if sample is None else per_sample[sample]

    def sum(self, action: Action, per_row: Tensor) -> Tensor:
        """The sum of `(rows, ...)` over the rows of each sample, `(B, ...)`."""
        sample = self.sample_of_row(action)
        if sample is None:
            return per_row
        return per_row.new_zeros(self.size, *per_row.shape[1:]).index_add(0, sample, per_row)

    def norm(self, action: Action, z: Tensor) -> Tensor:
        """The L2 norm of each sample's part of a value, `(B,)`, in float64: squares of float32 leave its range."""
        square = (z.abs() if z.is_complex() else z).double().square()
        return self.sum(action, square.flatten(1).sum(1) if z.ndim > 1 else square).sqrt()

    def points(self, action: Action, x: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors on the last axis of a value, `(rows, m, d)`, and which of them are real, `(rows, m)`."""
        present = torch.ones(x.shape[:-1], dtype=x.dtype, device=x.device)
        if self.mask is not None and self.level(action) != "sample":
            present = zero_padding(action, torch.ones_like(x), self.mask)[..., 0]
            x = zero_padding(action, x, self.mask)
        flat = x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
        return flat, present.reshape(flat.shape[:2])

    def repeat(self, action: Action, x: Any, k: int) -> Any:
        """`k` copies of a value, copy-major; batch and node indices count on from copy to copy."""
        if isinstance(action, Shared) or k == 1:
            return x
        copies = torch.arange(k, device=x.device)
        if isinstance(action, Batch):
            return (x + self.size * copies.unsqueeze(1)).flatten()
        if isinstance(action, Edges):
            return (x.unsqueeze(1) + (self.nodes or 0) * copies.unsqueeze(1)).flatten(1)
        return x.unsqueeze(0).expand(k, *x.shape).flatten(0, 1)

    def move(self, action: Action, group: Group, g: Any, x: Any) -> Any:
        """A value moved by one element per sample."""
        if isinstance(action, Shared):
            return x
        if isinstance(action, Layout) or self.sample_of_row(action) is None:
            return action(group, g, x)
        if isinstance(action, Jointly) and isinstance(group, DirectProduct):
            for part, factor, element in zip(action.actions, group.factors, g, strict=True):
                x = self._move_rows(action, part, factor, element, x)
            return x
        return self._move_rows(action, action, group, g, x)

    def orbit(self, action: Action, group: Group, g: Any, x: Any, k: int) -> Any:
        """A value of a dense batch moved by `k` elements per sample, copy-major: `move` of `repeat`."""
        if isinstance(action, Layout):
            return self.move(action, group, g, self.repeat(action, x, k))
        return action.orbit(group, _unfolded(g, k), x).flatten(0, 1)

    def orbit_sum(self, action: Action, group: Group, g: Any, weights: Tensor, y: Tensor) -> Tensor:
        """`weighted_sum` of the values of a dense batch, `(k B, ...)`, after each is moved by an element of its own."""
        return action.orbit_sum(group, _unfolded(g, weights.shape[1]), weights.mT, _unfolded(y, weights.shape[1]))

    def weighted_sum(self, action: Action, weights: Tensor, z: Tensor) -> Tensor:
        """The sum over the copies of a value that lie copy-major in `z`, with weights `(B, k)`."""
        copies = _unfolded(z, weights.shape[1])
        factor = self.spread(action, weights).mT.to(z.dtype)
        return (copies * factor.reshape(*factor.shape, *(1,) * (copies.ndim - 2))).sum(0)

    def copies(self, k: int) -> "BatchLayout":
        """The layout of `k` copies of the batch, copy-major."""
        roles = ((Mask(), self.mask), (Batch(), self.batch), (Edges(), self.edges))
        repeated = [None if x is None else self.repeat(role, x, k) for role, x in roles]
        return BatchLayout(k * self.size, None if self.nodes is None else k * self.nodes, *repeated)

    def _move_rows(self, rows_of: Action, action: Action, group: Group, g: Any, x: Tensor) -> Tensor:
        if isinstance(action, Nodes | Pairs):
            return self._permute_rows(rows_of, action, group, g, x)
        batched = len(group.batch_shape(g)) > 0
        return action(group, _tree.map(lambda e: e[self.sample_of_row(rows_of)], g) if batched else g, x)

    def _permute_rows(self, rows_of: Action, action: Action, group: Group, g: Tensor, x: Tensor) -> Tensor:
        n = group.n
        if isinstance(action, Pairs) or self.level(rows_of) != "node" or len(x) != self.size * n:
            raise ValueError(
                f"{group} permutes the rows of a ragged batch where every sample has exactly {n} nodes, and pairs of"
                f" nodes are Edges there; got {action} on {len(x)} rows for {self.size} samples"
            )
        rows = x.reshape(self.size, n, -1)
        return Nodes(-2)(group, g, rows).reshape(x.shape)


def read_layout(slots: Sequence[tuple[Action, Any]]) -> BatchLayout:
    """The layout that the roles among some inputs describe."""
    role = {kind: next((x for a, x in slots if isinstance(a, kind)), None) for kind in (Mask, Batch, Edges)}
    values = [
        (a, x) for a, x in slots if not isinstance(a, Shared | Edges | Batch) and isinstance(x, Tensor) and x.ndim
    ]
    batch, mask = role[Batch], role[Mask]
    if batch is not None:
        per_sample = [x for a, x in values if a.per == "sample"]
        size = len(per_sample[0]) if per_sample else int(batch[-1]) + 1 if len(batch) else 0
        nodes = len(batch)
    else:
        if not values:
            raise ValueError("inputs must hold at least one tensor with a batch axis that is not Shared or Edges")
        size = len(values[0][1])
        per_node = next((x for a, x in values if a.per in (None, "node") and x.ndim > 1), None)
        nodes = size * per_node.shape[1] if per_node is not None and role[Edges] is not None else None
    return BatchLayout(size, nodes, mask, batch, role[Edges])


def shape_problem(layout: BatchLayout, action: Action, group: Group, shape: tuple[int, ...]) -> str | None:
    """Why values of this shape, the batch axis first, cannot be acted on, in words; None where they can."""
    if isinstance(action, Layout):
        return action.event_shape_problem(group, shape)
    if not shape:
        return "values must have a batch axis"
    if layout.batch is not None and layout.level(action) != "sample":
        if isinstance(action, Jointly) and isinstance(group, DirectProduct):
            parts = zip(action.actions, group.factors, strict=True)
            return next((p for a, f in parts if (p := shape_problem_of_rows(layout, a, f, shape))), None)
        return shape_problem_of_rows(layout, action, group, shape)
    return action.event_shape_problem(group, shape[1:])


def shape_problem_of_rows(layout: BatchLayout, action: Action, group: Group, shape: tuple[int, ...]) -> str | None:
    """`shape_problem` for the rows of a ragged batch, where the nodes are the rows."""
    if not isinstance(action, Nodes | Pairs):
        return action.event_shape_problem(group, shape[1:])
    if isinstance(action, Pairs) or not isinstance(group, Symmetric):
        return f"{action} under {group} has no meaning in a ragged batch: pairs of nodes are Edges there"
    if shape[0] != layout.size * group.n:
        return f"every sample must have the {group.n} nodes of {group}"
    return None


def node_axes(action: Action) -> tuple[int, ...]:
    """The axes of a padded value that count nodes."""
    if isinstance(action, Jointly):
        return next((node_axes(part) for part in action.actions if isinstance(part, Nodes | Pairs)), (1,))
    if isinstance(action, Nodes):
        return (action.axis,)
    if isinstance(action, Pairs):
        return action.axes
    return (1, 2) if action.per == "edge" else (1,)


def zero_padding(action: Action, x: Any, mask: Tensor) -> Any:
    """A value with zeros where the mask says that a node is not real."""
    if isinstance(action, Layout) or action.per == "sample":
        return x
    for axis in node_axes(action):
        axis = axis % x.ndim
        real = mask.reshape(len(mask), *(1,) * (axis - 1), mask.shape[1], *(1,) * (x.ndim - axis - 1))
        x = torch.where(real, x, torch.zeros((), dtype=x.dtype, device=x.device))
    return x


def check_sizes(layout: BatchLayout, named: Sequence[tuple[str, Action, Any]]) -> None:
    """Refuse values that disagree about the device or the number of samples.

    Raises:
        ValueError: names the argument, what it must be and what came.
    """
    device, first = None, ""
    for name, action, x in named:
        if isinstance(action, Shared):
            continue
        if device is None:
            device, first = x.device, name
        if x.device != device:
            raise ValueError(f"{name} is on {x.device} and {first} on {device}; all inputs must be on one device")
        if isinstance(action, Edges | Batch):
            if x.dtype not in (torch.int64, torch.int32):
                raise TypeError(f"{name} must be int64 or int32; got {x.dtype}")
            continue
        rows = layout.rows(action)
        if x.ndim == 0 or len(x) != rows:
            raise ValueError(
                f"{name} must have {rows} rows, one per {layout.level(action)}; got shape {tuple(x.shape)}"
            )
        if isinstance(action, Mask) and x.dtype != torch.bool:
            raise TypeError(f"{name} must be bool; got {x.dtype}")
        if layout.mask is not None and not isinstance(action, Mask) and layout.level(action) != "sample":
            n = layout.mask.shape[1]
            if x.ndim < 2 or any(x.shape[axis] != n for axis in node_axes(action)):
                raise ValueError(f"{name} must be (B, {n}, ...) like the Mask, or per='sample'; got {tuple(x.shape)}")


def check_values(layout: BatchLayout, named: Sequence[tuple[str, Action, Any]]) -> None:
    """Refuse NaN and infinity (padding aside), samples without nodes, indices out of order, edges between samples.

    Raises:
        ValueError: names the argument and the first bad sample.
    """
    for name, action, x in named:
        if isinstance(action, Shared):
            continue
        if isinstance(action, Mask) and not bool(x.any(1).all()):
            raise ValueError(f"{name}: sample {_first(~x.any(1))} has no points")
        if isinstance(action, Batch) and len(x):
            if int(x[0]) < 0 or bool((x.diff() < 0).any()):
                raise ValueError(f"{name} must count samples from 0 in ascending order")
            if int(x[-1]) >= layout.size:
                raise ValueError(f"{name} names sample {int(x[-1])}, and there are {layout.size} rows per sample")
            counts = torch.bincount(x, minlength=layout.size)
            if not bool(counts.all()):
                raise ValueError(f"{name}: sample {_first(counts == 0)} has no nodes")
        if isinstance(action, Edges) and x.numel() and layout.nodes is not None:
            low, high = int(x.min()), int(x.max())
            if low < 0 or high >= layout.nodes:
                raise ValueError(f"{name} must index the {layout.nodes} nodes of the batch; got {low} .. {high}")
            sample = x // max(layout.nodes // layout.size, 1) if layout.batch is None else layout.batch[x]
            if bool((sample[0] != sample[1]).any()):
                edge = _first(sample[0] != sample[1])
                raise ValueError(f"{name}: edge {edge} joins samples {int(sample[0, edge])} and {int(sample[1, edge])}")
        if layout.mask is not None and not isinstance(action, Mask) and layout.level(action) != "sample":
            x = zero_padding(action, x, layout.mask)
        if x.is_floating_point() and not _is_finite(x):
            row = _first(~torch.isfinite(x).flatten(1).all(1) if x.ndim > 1 else ~torch.isfinite(x))
            sample = layout.sample_of_row(action)
            raise ValueError(
                f"{name} must be finite; sample {row if sample is None else int(sample[row])} holds NaN or infinity"
            )


def _unfolded(g: Any, k: int) -> Any:
    """`(k B, ...)`, copy-major, as `(k, B, ...)`."""
    return _tree.map(lambda e: e.reshape(k, len(e) // k, *e.shape[1:]), g)


def _is_finite(x: Tensor) -> bool:
    return isfinite(float(x.detach().sum())) or bool(torch.isfinite(x).all())  # the sum is quick, and may overflow


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0, 0])

"""The inputs of a network on sets of nodes: named, of known sizes, dense or padded."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torsor.build.backbones._mlp import check_sizes


class NodeInputs:
    """What a network on sets takes: per-node inputs `(B, n, ...)`, inputs per sample `(B, ...)`, and perhaps a mask.

    Arguments:
        sizes: how many numbers each input has per node, or per sample; in the order of positional arguments.
        per_sample: the names of the inputs that belong to whole samples.
        mask: the name of the mask, which may be left out of a call.
    """

    def __init__(self, sizes: Mapping[str, int], per_sample: Sequence[str] = (), mask: str = "mask") -> None:
        check_sizes(**sizes)
        if unknown := set(per_sample) - set(sizes):
            raise ValueError(f"per_sample must name inputs, of {', '.join(sizes)}; got {', '.join(sorted(unknown))}")
        if not set(sizes) - set(per_sample):
            raise ValueError("inputs must hold at least one input with nodes, that is not in per_sample")
        if mask in sizes:
            raise ValueError(f"mask must be another name than those of the inputs; got {mask!r}")
        self.sizes = dict(sizes)
        self.per_sample = frozenset(per_sample)
        self.mask = mask

    @property
    def features(self) -> int:
        """The numbers per node that `read` gives."""
        return sum(self.sizes.values())

    def require(self, argument: str, names: Sequence[str]) -> None:
        """Refuse names that are no per-node inputs."""
        known = [name for name in self.sizes if name not in self.per_sample]
        for name in names:
            if name not in known:
                raise ValueError(f"{argument} must name inputs with nodes, of {', '.join(known)}; got {name!r}")

    def require_residual(self, residual: str | None, per: str, out_features: int) -> None:
        """Refuse a residual that cannot be added to the output."""
        if residual is None:
            return
        self.require("residual", [residual])
        if per != "node" or self.sizes[residual] != out_features:
            raise ValueError(
                f"residual must have the shape of the output, {out_features} per {per};"
                f" {residual!r} has {self.sizes[residual]} per node"
            )

    def read(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], dtype: torch.dtype
    ) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """The inputs as `(B, n, size)`, all of them side by side, and the mask.

        Raises:
            TypeError: an argument is missing, is one too many or comes twice.
            ValueError: an argument has the wrong number of values.
        """
        given = self._bind(args, kwargs)
        mask = given.pop(self.mask, None)
        b, n = next(given[name] for name in self.sizes if name not in self.per_sample).shape[:2]
        values = {}
        for name, size in self.sizes.items():
            x = given[name]
            rows = (b, 1) if name in self.per_sample else (b, n)
            if x.ndim == 0 or x.numel() != rows[0] * rows[1] * size:
                shape = f"({b}, {size})" if name in self.per_sample else f"({b}, {n}, {size})"
                raise ValueError(f"{name} must be {shape}; got shape {tuple(x.shape)}")
            x = x if x.is_floating_point() else x.to(dtype)
            values[name] = x.reshape(*rows, size).expand(b, n, size)
        if mask is not None and mask.shape != (b, n):
            raise ValueError(f"{self.mask} must be ({b}, {n}); got shape {tuple(mask.shape)}")
        return values, torch.cat(list(values.values()), -1), mask

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = [*self.sizes, self.mask]
        if len(args) > len(names):
            raise TypeError(f"takes the inputs {', '.join(names)}; got {len(args)} positional ones")
        given = dict(zip(names, args, strict=False))
        if twice := given.keys() & kwargs.keys():
            raise TypeError(f"got {', '.join(sorted(twice))} both by position and by keyword")
        given |= kwargs
        if wrong := [name for name in given if name not in names]:
            raise TypeError(f"takes the inputs {', '.join(names)}; got {', '.join(wrong)}")
        if missing := [name for name in self.sizes if name not in given]:
            raise TypeError(f"the input {missing[0]} is missing; takes {', '.join(names)}")
        return given


def pooled_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the nodes, `(B, f)` from `(B, n, f)`."""
    if mask is None:
        return x.mean(1)
    count = mask.sum(1, keepdim=True).clamp(min=1).to(x.dtype)
    return x.masked_fill(~mask.unsqueeze(-1), 0).sum(1) / count


def pooled_max(x: Tensor, mask: Tensor | None) -> Tensor:
    """The maximum over the nodes, `(B, f)` from `(B, n, f)`; 0 for samples without nodes."""
    if mask is None:
        return x.amax(1)
    largest = x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
    return largest.masked_fill(~mask.any(1, keepdim=True), 0)

"""Models that take one size of batch only, or one sample without a batch axis."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torsor import _tree


def in_chunks(function: Callable[..., Any], size: int | None) -> Callable[..., Any]:
    """A function that takes batches of exactly `size` rows, on batches of any size; the last rows are repeated.

    >>> in_chunks(lambda x: x.sum(1) if len(x) == 2 else 1 / 0, 2)(torch.ones(3, 4))
    tensor([4., 4., 4.])
    """
    if size is None:
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        rows = len(next(x for x in _tree.leaves((args, kwargs)) if isinstance(x, Tensor) and x.ndim))

        def chunk(start: int) -> Any:
            index = torch.arange(start, start + size).clamp(max=rows - 1)

            def pick(x: Any) -> Any:
                return x[index.to(x.device)] if isinstance(x, Tensor) and x.ndim and len(x) == rows else x

            part = _tree.map(pick, (args, kwargs))
            return function(*part[0], **part[1])

        found = [chunk(start) for start in range(0, rows, size)]
        return _tree.map(lambda *parts: torch.cat(parts)[:rows], *found)

    return call


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one sample as one of a batch: each sample on its own, and what comes back stacked.

    >>> one_by_one(lambda x: x.sum())(torch.ones(3, 4))
    tensor([4., 4., 4.])
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        rows = len(next(x for x in _tree.leaves((args, kwargs)) if isinstance(x, Tensor) and x.ndim))

        def sample(k: int) -> Any:
            one, named = _tree.map(lambda x: x[k] if isinstance(x, Tensor) and x.ndim else x, (args, kwargs))
            return function(*one, **named)

        return _tree.map(lambda *parts: torch.stack([torch.as_tensor(y) for y in parts]), *map(sample, range(rows)))

    return call

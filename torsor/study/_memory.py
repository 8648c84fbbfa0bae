"""The memory that one training step needs, counted tensor by tensor: the same on every run."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torsor._tree import leaves


def peak_memory(step: Callable[[], Any]) -> int:
    """The most bytes that tensors made during `step` hold at one time.

    >>> x = torch.zeros(1000, dtype=torch.float64)
    >>> peak_memory(lambda: (x + 1) + 2)
    16000
    """
    with _Counter() as counter:
        step()
    return counter.peak


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)}
        for tensor in leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage(), given)
        return out

    def _count(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive or key in given:
            return
        self._alive[key] = weakref.ref(storage, lambda _: self._free(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int) -> None:
        if self._alive.pop(key, None) is not None:
            self.now -= size

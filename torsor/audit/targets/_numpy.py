"""Callables on NumPy arrays as callables on tensors."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor import _tree


def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """A callable on NumPy arrays as one on tensors; what it returns comes back on the device of its inputs.

    Numbers come back in the precision that the function gives them, scalars as tensors without axes. There is no
    gradient through it.

    Raises:
        TypeError: when it is called and returns what is neither array, number nor a container of these.

    >>> import numpy as np, torch
    >>> on_arrays(lambda x: np.linalg.norm(x, axis=-1))(torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in _tree.leaves((args, kwargs)) if isinstance(x, Tensor)]
        device = tensors[0].device if tensors else torch.device("cpu")
        args, kwargs = _tree.map(array, (args, kwargs))
        return _tree.map(lambda y: tensor(y, device), function(*args, **kwargs))

    return call


def array(x: Any) -> Any:
    """A tensor as an array of its own memory; other values as they are."""
    return x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else x


def tensor(y: Any, device: torch.device | str = "cpu") -> Tensor:
    """An array or a number as a tensor.

    Raises:
        TypeError: it holds no numbers.
    """
    if isinstance(y, Tensor):
        return y
    found = np.asarray(y)
    if found.dtype.kind not in "biufc":
        raise TypeError(f"a function on arrays must return numbers; got {type(y).__name__} of {found.dtype}")
    return torch.from_numpy(np.array(found, order="C")).to(device)

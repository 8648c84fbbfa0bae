"""The function under audit: called the same way every time, without leaving a trace."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torsor import _tree


@dataclass(frozen=True, eq=False)
class Subject:
    """A function with the symmetry that says how to call it and what it must return.

    Calls get copies of the inputs and give copies of the outputs, so that neither a function that works in place nor
    one that returns the same buffer each time can spoil a comparison. Half precision comes back as float32: the
    comparison must not add rounding of its own.
    """

    function: Callable[..., Any]
    symmetry: Any

    def __call__(self, inputs: Any) -> Any:
        """The checked output, without gradient."""
        return without_graph(lambda: self.differentiably(inputs))

    def differentiably(self, inputs: Any) -> Any:
        """The checked output, on the graph of the inputs."""
        out = self.symmetry.call(self.function, _tree.map(_copy, inputs))
        self.symmetry.check_output(out, inputs)
        return _tree.map(_comparable, out)


def without_graph(call: Callable[[], Any]) -> Any:
    """What a call returns, without a graph; the call has one where it needs it: forces differentiate an energy.

    >>> x = torch.ones(2, requires_grad=True)
    >>> without_graph(lambda: torch.autograd.grad((x**3).sum(), x)[0])
    tensor([3., 3.])
    """
    try:
        with torch.no_grad():
            return call()
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
    with torch.enable_grad():
        return _tree.map(lambda y: y.detach() if isinstance(y, Tensor) else y, call())


def modules_of(function: Callable[..., Any]) -> list[nn.Module]:
    """The modules that a callable is, is a method of, or is a `functools.partial` of."""
    found: list[nn.Module] = []
    while isinstance(function, functools.partial):
        found += [a for a in (*function.args, *function.keywords.values()) if isinstance(a, nn.Module)]
        function = function.func
    owner = getattr(function, "__self__", None)
    return found + [m for m in (function, owner) if isinstance(m, nn.Module)]


@contextlib.contextmanager
def evaluating(function: Callable[..., Any]) -> Iterator[None]:
    """The modules of a callable in evaluation mode; afterwards every submodule is as it was."""
    before = [(part, part.training) for module in modules_of(function) for part in module.modules()]
    try:
        for module in modules_of(function):
            module.eval()
        yield
    finally:
        for part, training in before:
            part.training = training


def precision(function: Callable[..., Any], *trees: Any) -> float:
    """The coarsest `eps` among some tensors, the parameters of the modules of a function, and an active autocast."""
    tensors = [x for tree in trees for x in _tree.leaves(tree) if isinstance(x, Tensor)]
    tensors += [p for module in modules_of(function) for p in module.parameters()]
    dtypes = {x.dtype for x in tensors if x.is_floating_point() or x.is_complex()}
    device = tensors[0].device.type if tensors else "cpu"
    if torch.is_autocast_enabled(device):
        dtypes.add(torch.get_autocast_dtype(device))
    return max((torch.finfo(dtype).eps for dtype in dtypes), default=torch.finfo(torch.get_default_dtype()).eps)


def at_least_float32(x: Any) -> Any:
    """Half precision as float32, everything else as it is."""
    return x.float() if isinstance(x, Tensor) and x.is_floating_point() and x.element_size() < 4 else x


def _copy(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


def _comparable(y: Tensor) -> Tensor:
    return at_least_float32(y if y.requires_grad else y.clone())

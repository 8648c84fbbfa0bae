"""What every adapter makes of a model: a callable on tensors, and what an audit may ask of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

LARGEST = 2**32
"""Files above this many bytes, unpacked, are refused: 4 GiB."""


@dataclass(frozen=True, eq=False)
class Target:
    """A model under audit, wherever it came from.

    Arguments:
        name: what the user called it.
        kind: such as "module", "callable", "onnx".
        function: a callable on tensors. Where outputs have names it returns a dict of all of them.
        inputs: the names of its inputs in order; empty where they are those of the function's signature.
        outputs: the names of its outputs; empty where it returns what the symmetry says.
        dtype: the precision that it computes in; None where that follows the inputs.
        gradient: whether autograd may reach through it.
        float64: whether a float64 copy can be made.
        layers: whether it has layers to look at.
        choose: makes the function for some of the outputs, where computing all would be waste.
        shapes: of one sample of inputs and outputs by name, where the file says them; None where a size is free.
    """

    name: str
    kind: str
    function: Callable[..., Any]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    dtype: torch.dtype | None = None
    gradient: bool = False
    float64: bool = False
    layers: bool = False
    choose: Callable[[tuple[str, ...]], Callable[..., Any]] | None = None
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)

    def returning(self, names: Sequence[str] = ()) -> "Target":
        """The target with the structure of output that a symmetry has: a dict of `names`, or the only output bare.

        Raises:
            ValueError: a name is unknown, or there are several outputs and none is named.
        """
        if not self.outputs:
            return self
        listed = ", ".join(self.outputs)
        unknown = [name for name in names if name not in self.outputs]
        if unknown:
            raise ValueError(f"{self.name} has no output {unknown[0]!r}; it has {listed}")
        if not names and len(self.outputs) > 1:
            raise ValueError(
                f"{self.name} has the outputs {listed}: name those to audit, as in {self.outputs[0]}=scalar"
            )
        wanted: tuple[str, ...] = tuple(names) or self.outputs
        only = next(iter(wanted))
        compute = self.function if self.choose is None else self.choose(wanted)

        def function(*args: Any, **kwargs: Any) -> Any:
            found = compute(*args, **kwargs)
            return {name: found[name] for name in names} if names else found[only]

        return replace(self, function=function, outputs=wanted)


def of_callable(name: str, function: Callable[..., Any], kind: str = "callable") -> Target:
    """The target that a callable or a module is already.

    >>> of_callable("torch:sin", torch.sin).kind, of_callable("net", nn.Linear(2, 2)).layers
    ('callable', True)
    """
    if not isinstance(function, nn.Module):
        return Target(name, kind, function, gradient=True)
    dtype = next((p.dtype for p in function.parameters() if p.is_floating_point()), None)
    return Target(name, "module", function, dtype=dtype, gradient=True, float64=True, layers=True)


def checked_file(path: str | Path) -> Path:
    """A path that is a file of a size that can be read.

    Raises:
        ValueError: it is none, or it is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{str(path)!r}: there is no such file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{str(path)!r} must have at most {LARGEST} bytes; it has {path.stat().st_size}")
    return path

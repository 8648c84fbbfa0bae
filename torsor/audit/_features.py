"""What goes into and comes out of each submodule during one call."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torsor import _tree
from torsor.audit._subject import without_graph


@dataclass(frozen=True, eq=False)
class Features:
    """The tensors that one call of one submodule took and gave."""

    kind: str
    inputs: list[Tensor]
    outputs: list[Tensor]


def features_of(model: nn.Module, symmetry: Any, inputs: Any) -> dict[str, Features]:
    """The features of every submodule in the order in which they are called; a second call is `name (2)`."""
    found: dict[str, Features] = {}
    handles = []

    def watch(name: str, part: nn.Module) -> Any:
        def hook(module: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
            calls, label = 1, name
            while label in found:
                calls += 1
                label = f"{name} ({calls})"
            found[label] = Features(type(module).__name__, _tensors((args, kwargs)), _tensors(out))

        return part.register_forward_hook(hook, with_kwargs=True)

    def run() -> None:
        found.clear()  # of a call that failed for want of a graph
        symmetry.call(model, _tree.map(lambda x: x.clone() if isinstance(x, Tensor) else x, inputs))

    try:
        handles += [watch(name, part) for name, part in model.named_modules() if name]
        without_graph(run)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _tensors(tree: Any) -> list[Tensor]:
    return [x.detach().clone() for x in _tree.leaves(tree) if isinstance(x, Tensor)]

"""The networks of torsor by name, with the sizes that a data set asks for."""

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from torsor._tree import leaves
from torsor.actions import Point, Scalar
from torsor.build import backbones
from torsor.study._words import nearest

if TYPE_CHECKING:
    from torsor.data import Dataset

Shape = tuple[int, ...]


def named_backbone(name: str, dataset: "Dataset", options: Mapping[str, Any]) -> nn.Module:
    """A fresh network that takes the inputs of a data set and returns what its targets look like.

    Arguments:
        name: a key of `BACKBONES`.
        dataset: whose shapes it must fit.
        options: given to the network; they win over what the data set says.

    Raises:
        ValueError: an unknown name or option, or shapes that the network cannot take.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}{nearest(name, list(BACKBONES))}; allowed: {', '.join(BACKBONES)}")
    try:
        return BACKBONES[name](dataset, options)
    except TypeError as error:
        raise ValueError(f"backbone {name!r}: {error}") from error


def _mlp(dataset: "Dataset", options: Mapping[str, Any]) -> nn.Module:
    size = sum(prod(x.shape[1:]) for x in leaves(dataset.train.inputs))
    shape = _output_shape(dataset)
    return backbones.Flattened(backbones.MLP(**{"in_features": size, "out_features": prod(shape), **options}), shape)


def _message_passing(dataset: "Dataset", options: Mapping[str, Any]) -> nn.Module:
    inputs, actions = _named(dataset.train.inputs), _named(dataset.symmetry.inputs)
    nodes = {name: x for name, x in inputs.items() if x.ndim > 2}
    shape = _output_shape(dataset)
    per = "node" if len(shape) == 2 else "sample"
    points = [name for name in nodes if isinstance(actions[name], Point)]
    moves = isinstance(dataset.symmetry.output, Point)
    sizes: dict[str, Any] = {
        "inputs": {name: x.shape[-1] if x.ndim > 1 else 1 for name, x in inputs.items()},
        "out_features": shape[-1],
        "per": per,
        "points": points,
        "products": [name for name in nodes if type(actions[name]) is Scalar],
        "residual": points[0] if moves and per == "node" and points else None,
        "per_sample": [name for name in inputs if name not in nodes],
    }
    return backbones.MessagePassing(**sizes | dict(options))


def _output_shape(dataset: "Dataset") -> Shape:
    if dataset.classes is not None:
        return (dataset.classes,)
    if not isinstance(dataset.train.targets, Tensor):
        raise TypeError("it returns one tensor, and the targets are several; name a network of your own with build")
    return tuple(dataset.train.targets.shape[1:])


def _named(entries: Any) -> dict[str, Any]:
    return dict(entries) if isinstance(entries, Mapping) else {f"input_{i}": x for i, x in enumerate(entries)}


BACKBONES: dict[str, Callable[["Dataset", Mapping[str, Any]], nn.Module]] = {
    "mlp": _mlp,
    "message_passing": _message_passing,
}

"""Backbones by name, with the sizes that a data set asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from torsor._tree import leaves
from torsor.actions import Action, Batch, Edges, Image, Jointly, Mask, Point, Scalar
from torsor.build.backbones._cnn import GlobalCNN, SmallCNN
from torsor.build.backbones._message_passing import MessagePassing
from torsor.build.backbones._mlp import MLP, Flattened
from torsor.build.backbones._point_net import PointNet
from torsor.data import Dataset


def for_dataset(name: str, dataset: Dataset, **options: Any) -> nn.Module:
    """A fresh network that takes the inputs of a data set and returns what its targets look like.

    Arguments:
        name: one of `NAMES`: `"mlp"`, `"message_passing"`, `"pointnet"`, `"small_cnn"` or `"global_cnn"`.
        dataset: whose shapes and actions say what the inputs and outputs are. Points, vectors and scalars are told
            apart by their actions; inputs with three axes or more belong to nodes, others to samples, unless there is
            a `Mask` or their `per` says otherwise.
        options: given to the network, such as `hidden=64`; they win over what the data set says.

    Raises:
        ValueError: an unknown name or option, or data that the network cannot take; says which one can.

    >>> import torch
    >>> from torsor import E, Point, Scalar, Symmetry
    >>> from torsor.build import backbones
    >>> from torsor.data import Dataset, Samples
    >>> samples = Samples({"atoms": torch.randn(8, 5, 3)}, torch.randn(8, 1))
    >>> symmetry = Symmetry(E(3), {"atoms": Point()}, Scalar())
    >>> dataset = Dataset(name="energies", train=samples, valid=None, test=samples, symmetry=symmetry)
    >>> backbones.for_dataset("message_passing", dataset, hidden=16)(**samples.inputs).shape
    torch.Size([8, 1])
    """
    if name not in _MAKERS:
        raise ValueError(f"unknown backbone {name!r}; known are {', '.join(_MAKERS)}")
    try:
        return _MAKERS[name](dataset, options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"backbone {name!r} for {dataset.name}: {error}") from error


class Adapted(nn.Module):
    """A network that is called, and answers, as a data set wants it.

    Arguments:
        net: the network, called by keyword.
        names: of the positional arguments.
        shape: to which the last output axis is unfolded.
    """

    def __init__(self, net: nn.Module, names: Sequence[str], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.net = net
        self.names = tuple(names)
        self.shape = shape

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the network, of the shape."""
        out = self.net(**dict(zip(self.names, args, strict=False)), **kwargs)
        return out.reshape(*out.shape[:-1], *self.shape)


@dataclass(frozen=True)
class _Slot:
    """An input of a data set: its action, and its shape without the samples."""

    action: Action
    shape: tuple[int, ...]
    per_node: bool

    @property
    def size(self) -> int:
        return prod(self.shape[1:] if self.per_node else self.shape)

    def obeys(self, kind: type[Action]) -> bool:
        parts = self.action.actions if isinstance(self.action, Jointly) else (self.action,)
        return any(isinstance(part, kind) for part in parts)


def _slots(dataset: Dataset) -> dict[str, _Slot]:
    values, actions = dataset.train.inputs, dataset.symmetry.inputs
    names = list(values) if isinstance(values, dict) else [f"input_{i}" for i in range(len(values))]
    pairs = [(actions[key], values[key]) for key in (values if isinstance(values, dict) else range(len(values)))]
    masked = any(isinstance(action, Mask) for action, _ in pairs)
    slots = {}
    for name, (action, x) in zip(names, pairs, strict=True):
        if not isinstance(x, Tensor):
            raise ValueError(f"{name} must be one tensor; got {type(x).__name__}. mlp takes containers")
        if isinstance(action, Batch | Edges):
            raise ValueError(f"{name} is {action}: pad the samples and give a Mask instead")
        per_node = action.per == "node" or (action.per is None and (x.ndim > 2 or (masked and x.ndim == 2)))
        slots[name] = _Slot(action, tuple(x.shape[1:]), per_node)
    return slots


def _target(dataset: Dataset) -> tuple[int, ...]:
    if dataset.classes is not None:
        return (dataset.classes,)
    if not isinstance(dataset.train.targets, Tensor):
        raise ValueError("it returns one tensor, and the targets are several")
    return tuple(dataset.train.targets.shape[1:])


def _mlp(dataset: Dataset, options: dict[str, Any]) -> nn.Module:
    size, shape = sum(prod(x.shape[1:]) for x in leaves(dataset.train.inputs)), _target(dataset)
    return Flattened(MLP(**{"in_features": size, "out_features": prod(shape), **options}), shape)


def _on_nodes(dataset: Dataset, options: dict[str, Any], kind: Callable[..., nn.Module], **more: Any) -> nn.Module:
    names, shape = _slots(dataset), _target(dataset)
    masks = [name for name, slot in names.items() if isinstance(slot.action, Mask)]
    slots = {name: slot for name, slot in names.items() if name not in masks}
    nodes = {name: slot for name, slot in slots.items() if slot.per_node}
    if not nodes:
        raise ValueError("no input has nodes, (B, n, ...); mlp takes vectors and small_cnn images")
    n = next(iter(nodes.values())).shape[0]
    output = _Slot(dataset.symmetry.output, shape, per_node=False)
    per_node = len(shape) > 1 and shape[0] == n and output.action.per != "sample" and dataset.classes is None
    output = _Slot(output.action, shape, per_node)
    like = [name for name, slot in nodes.items() if slot.obeys(Point) and slot.size == output.size]
    sizes: dict[str, Any] = {
        "inputs": {name: slot.size for name, slot in slots.items()},
        "out_features": output.size,
        "per": "node" if per_node else "sample",
        "residual": like[0] if per_node and output.obeys(Point) and like else None,
        "per_sample": [name for name, slot in slots.items() if not slot.per_node],
        **({"mask": masks[0]} if masks else {}),
        **{key: [name for name, slot in nodes.items() if slot.obeys(law)] for key, law in more.items()},
    }
    net = kind(**sizes | options)
    tail = shape[1:] if per_node else shape
    fits = tail == (output.size,) and (not masks or list(names)[-1] == masks[0])
    return net if fits else Adapted(net, list(names), tail)


def _message_passing(dataset: Dataset, options: dict[str, Any]) -> nn.Module:
    return _on_nodes(dataset, options, MessagePassing, points=Point, products=Scalar)


def _pointnet(dataset: Dataset, options: dict[str, Any]) -> nn.Module:
    return _on_nodes(dataset, options, PointNet)


def _small_cnn(dataset: Dataset, options: dict[str, Any], kind: Callable[..., nn.Module] = SmallCNN) -> nn.Module:
    slots, shape = list(_slots(dataset).values()), _target(dataset)
    if len(slots) != 1 or not slots[0].obeys(Image) or dataset.symmetry.group.n != 2:
        raise ValueError("it takes one input, planar images (B, ..., H, W) with the action Image()")
    net = kind(**{"in_channels": prod(slots[0].shape[:-2]), "out_features": prod(shape), **options})
    return net if len(shape) == 1 else Adapted(net, ["images"], shape)


def _global_cnn(dataset: Dataset, options: dict[str, Any]) -> nn.Module:
    return _small_cnn(dataset, options, GlobalCNN)


_MAKERS: dict[str, Callable[[Dataset, dict[str, Any]], nn.Module]] = {
    "mlp": _mlp,
    "message_passing": _message_passing,
    "pointnet": _pointnet,
    "small_cnn": _small_cnn,
    "global_cnn": _global_cnn,
}
NAMES = tuple(_MAKERS)
"""What `for_dataset` can make."""

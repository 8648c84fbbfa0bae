"""What the study `graph-separation` measures: networks that see graphs in some order, untrained and trained."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from torsor import learn
from torsor.build import FAGIN, FAMLP
from torsor.build.backbones import GIN
from torsor.build.frames import CanonicalOrder, LaplacianOrder, PermSet
from torsor.data import Samples
from torsor.symmetry import Inputs, Symmetry

if TYPE_CHECKING:
    from torsor.data import Dataset
    from torsor.learn import FitResult

CLOSE = 1e-3  # outputs whose L1 distance is no larger do not separate: Balcilar et al. 2021 (arXiv 2106.04319)
_OUTPUTS = 10
_ROWS = 500  # graphs at a time: more do not fit into the cache


def any_order(symmetry: Symmetry, inputs: Inputs) -> PermSet:
    """The frame that is the whole symmetric group: all nodes are interchangeable."""
    found = LaplacianOrder()(symmetry, inputs)
    places = torch.arange(found.classes.shape[1]).expand(found.classes.shape)
    return replace(found, classes=torch.where(places < found.graphs.sizes.unsqueeze(1), 0, places))


ORDERS: dict[str, Callable[[Symmetry, Inputs], PermSet]] = {
    "any": any_order,
    "canonical": CanonicalOrder(keys=None),
    "keys": LaplacianOrder(),
    "keys, canonical": CanonicalOrder(),
}
"""Frames of graphs by name; a network sees each graph in one element of its frame, drawn anew each time."""


class Ordered(nn.Module):
    """A network and the order in which it sees graphs: none for a network that does not look at the order.

    With `frames` it takes the index of a graph along with the graph, and computes no frame again.
    """

    def __init__(
        self,
        kind: str,
        order: str | None,
        symmetry: Symmetry,
        outputs: int,
        frames: PermSet | None = None,
        *,
        hidden: int,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.order, self.symmetry, self.frames = order, symmetry, frames
        nodes, features = symmetry.group.n, 2 if "x" in symmetry.inputs else 0  # type: ignore[attr-defined]
        if order is None:
            self.net = GIN(features, outputs, hidden=hidden, layers=layers)
        else:
            build, padded = {"GIN": FAGIN, "MLP": FAMLP}[kind], "mask" in symmetry.inputs
            self.net = build(nodes, features, outputs, padded=padded, frame=ORDERS[order], hidden=hidden, layers=layers)

    def forward(self, index: Int[Tensor, " b"] | None = None, **inputs: Tensor) -> Float[Tensor, "b c"]:
        if self.order is None:
            return self.net(**inputs)
        if index is not None and self.frames is not None:
            return self.seen(inputs, self.frames[index])
        return self.seen(inputs, ORDERS[self.order](self.symmetry, inputs))

    def seen(self, inputs: Mapping[str, Tensor], frames: PermSet | None) -> Float[Tensor, "b c"]:
        """The outputs for graphs in an element of their frames."""
        return self.net(**inputs) if frames is None else self.net(**inputs, frames=frames.sample(1))


def separate(
    kind: str, order: str | None, data: Samples, symmetry: Symmetry, networks: int, hidden: int, seed: int
) -> dict[str, int]:
    """How many pairs of different graphs no network separates, and how many graphs some network separates from a copy.

    Networks are random, and copies are renumbered. Targets are the numbers of the pairs that are compared; all pairs
    are where there are no targets.
    """
    inputs = dict(data.inputs)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    copies = symmetry.act(symmetry.sample(inputs), inputs)
    frames = [None if order is None else ORDERS[order](symmetry, x) for x in (inputs, copies)]
    torn = torch.zeros(len(data), dtype=torch.bool)
    pairs: Tensor | None = None if isinstance(data.targets, tuple) else _mates(data.targets)
    compared = len(data) * (len(data) - 1) // 2 if pairs is None else len(pairs)
    for _ in range(networks):
        net = Ordered(kind, order, symmetry, _OUTPUTS, hidden=hidden).double()
        _enliven(net)
        out, other = (_outputs(net, x, f) for x, f in zip((inputs, copies), frames, strict=True))
        torn |= (out - other).abs().sum(1) > CLOSE
        pairs = _close(out) if pairs is None else pairs[(out[pairs[:, 0]] - out[pairs[:, 1]]).abs().sum(1) <= CLOSE]
    assert pairs is not None
    return {"pairs": compared, "unseparated": len(pairs), "graphs": len(data), "torn": int(torn.sum())}


def classify(
    order: str | None, data: "Dataset", fit: Callable[..., "FitResult"], size: Mapping[str, int], seed: int
) -> tuple[Ordered, dict[str, Any]]:
    """Train to classify graphs, with all frames computed before; the trained network, and what was measured."""
    parts = list(data.splits.values())
    whole = {name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs}  # type: ignore[index]
    frames = None if order is None else ORDERS[order](data.symmetry, whole)
    starts = torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
    numbered = [
        replace(part, inputs={**part.inputs, "index": torch.arange(end - len(part), end)})  # type: ignore[dict-item]
        for part, end in zip(parts, starts, strict=True)
    ]
    train, valid, test = numbered
    torch.manual_seed(seed)
    model = Ordered("GIN", order, data.symmetry, data.classes or 0, frames, **size)
    found = fit(model, train, learn.cross_entropy, valid=valid)
    g = data.symmetry.sample(data.test.inputs, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here = model(**test.inputs).argmax(1)  # type: ignore[arg-type]
        there = model(**data.symmetry.act(g, data.test.inputs)).argmax(1)
    return model, {
        "accuracy": float((here == data.test.targets).double().mean()),
        "accuracy_renumbered": float((there == data.test.targets).double().mean()),
        "changed": float((here != there).double().mean()),
        "best_epoch": found.best_epoch,
        "cpu_seconds": found.cpu_seconds,
        "curve": [[entry["epoch"], entry["valid_accuracy"]] for entry in found.history],
    }


@torch.no_grad()
def _outputs(net: Ordered, inputs: Mapping[str, Tensor], frames: PermSet | None) -> Float[Tensor, "b c"]:
    found = []
    for start in range(0, len(inputs["adjacency"]), _ROWS):
        part = slice(start, start + _ROWS)
        found.append(net.seen({name: x[part] for name, x in inputs.items()}, None if frames is None else frames[part]))
    return torch.cat(found)


def _enliven(net: nn.Module) -> None:
    """Give a network He's initialisation, as torch's own shrinks differences a thousandfold, and a random epsilon.

    Where epsilon is 0 a node counts as its own neighbour: a network that knows places then takes some orders for equal.
    """
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, GIN):
            nn.init.uniform_(module.own)


def _mates(numbers: Int[Tensor, " b"]) -> Int[Tensor, "p 2"]:
    """The pairs of samples that have the same number."""
    return torch.nonzero((numbers.unsqueeze(0) == numbers.unsqueeze(1)).triu(1))


def _close(out: Float[Tensor, "b c"]) -> Int[Tensor, "p 2"]:
    """All pairs of samples whose outputs are close."""
    found = []
    for start in range(0, len(out), _ROWS):
        near: Bool[Tensor, "r b"] = torch.cdist(out[start : start + _ROWS], out, p=1) <= CLOSE
        pairs = near.triu(start + 1).nonzero()
        found.append(pairs + torch.tensor([start, 0]))
    return torch.cat(found)

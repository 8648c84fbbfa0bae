"""Frames of permutations: one order of the nodes, and what is interchangeable in it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torsor import _tree
from torsor.actions import Nodes, Pairs
from torsor.build.frames._canonical import Backend, ColouredGraphs, orbits_of
from torsor.build.frames._frameset import FrameSet
from torsor.symmetry import Symmetry


@dataclass(frozen=True, eq=False)
class PermSet(FrameSet):
    """Frames of `Symmetric(n)`: elements `(B, K, n)`, whose entry `r` names the node that comes to place `r`.

    Attributes:
        classes: `(B, n)` number of the class of equal keys at each place, ascending; nodes of a class are
            interchangeable as far as the keys tell. Every padded node is a class of its own.
        graphs: the graphs in the order of the first element, with their classes as colours.
        backend: what looks for automorphisms.
        settled: whether ties are broken canonically, so that one element stands for the whole frame.
        orbits: whether averaged outputs of nodes and pairs are averaged over the automorphisms too.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 3.2.
    """

    classes: Int[Tensor, "b n"]
    graphs: ColouredGraphs
    backend: Backend = "auto"
    settled: bool = False
    orbits: bool = False

    @property
    def order(self) -> Int[Tensor, "b n"]:
        """One order of the nodes for each sample: the node at each place."""
        return self.elements[:, 0]

    @property
    def log10_size(self) -> Float[Tensor, " b"]:
        """The decimal logarithm of the number of elements of each frame, 0 where ties are broken canonically."""
        if self.settled:
            return torch.zeros(len(self), dtype=torch.float64, device=self.weights.device)
        return torch.lgamma(self._block_sizes() + 1).sum(1) / math.log(10)

    @cached_property
    def automorphisms(self) -> Float[Tensor, " b"]:
        """How many permutations leave each sample, adjacency and features, as it is."""
        found = [float(count) for _, count in self.graphs.automorphisms(self.backend)]
        return torch.tensor(found, dtype=torch.float64, device=self.weights.device)

    def __getitem__(self, index: Any) -> "PermSet":
        """The frames of some of the samples."""
        fields = ("weights", "gap", "rank", "ambiguous", "classes")
        parts = {name: getattr(self, name)[index] for name in fields}
        elements = _tree.map(lambda x: x[index], self.elements)
        return replace(self, elements=elements, graphs=self.graphs[index], **parts)

    def sample(self, k: int = 1, generator: torch.Generator | None = None) -> "PermSet":
        """`k` elements per sample, uniform over the frame: random within the ties. Unbiased, not exact."""
        b, n = self.classes.shape
        weights = self.weights.new_full((b, k), 1 / k)
        if self.settled:
            return replace(self, elements=self.order.unsqueeze(1).repeat(1, k, 1), weights=weights)
        device = self.classes.device
        where = None if generator is None else generator.device
        chance = torch.rand(b, k, n, dtype=torch.float64, generator=generator, device=where or device).to(device)
        places = (self.classes.unsqueeze(1) + chance).argsort(-1)  # the part after the point shuffles a class
        return replace(self, elements=self.order.unsqueeze(1).expand(b, k, n).gather(2, places), weights=weights)

    def enumerate(self, max_size: int = 5040) -> "PermSet":
        """All elements of every frame, with equal weights; shorter frames are padded with weight 0.

        Raises:
            ValueError: a frame has more elements than `max_size`.
        """
        largest = float(self.log10_size.max()) if len(self) else 0.0
        if largest > math.log10(max_size) + 1e-9:
            size = f"{10**largest:.0f}" if largest < 6 else f"about 10^{largest:.0f}"
            raise ValueError(
                f"a frame has {size} elements, more than max_size={max_size}; use CanonicalOrder or sample"
            )
        return self._enumerated(max_size)

    def _enumerated(self, max_size: int) -> "PermSet":
        """`enumerate`, with one element for frames that are too large; only those are ambiguous."""
        if self.settled or not len(self):
            return self
        small = self.log10_size <= math.log10(max_size) + 1e-9
        rows = [
            _within_classes(classes) if fits else [list(range(len(classes)))]
            for classes, fits in zip(self.classes.tolist(), small.tolist(), strict=True)
        ]
        most = max(map(len, rows))
        places = torch.tensor([row + row[:1] * (most - len(row)) for row in rows], device=self.classes.device)
        weights = torch.tensor([[1 / len(row)] * len(row) + [0.0] * (most - len(row)) for row in rows])
        elements = self.order.unsqueeze(1).expand(places.shape).gather(2, places)
        return replace(self, elements=elements, weights=weights.to(self.weights), ambiguous=self.ambiguous & ~small)

    def settle(self, symmetry: Symmetry, embedded: Any) -> Any:
        """Averaged outputs, averaged over the automorphisms of each sample as well where `orbits` asks for it."""
        if not self.orbits:
            return embedded
        return average_over_classes(symmetry, embedded, lambda: self._node_orbits, lambda: self._pair_orbits)

    def alone(self) -> FrameSet:
        """The elements and weights as a plain `FrameSet`: samples that need their orbits become ambiguous."""
        ambiguous = self.ambiguous | (self.automorphisms > 1) if self.orbits else self.ambiguous
        return FrameSet(self.group, self.elements, self.weights, self.gap, self.rank, ambiguous)

    @cached_property
    def _node_orbits(self) -> Int[Tensor, "b n"]:
        return self._orbits_of_tuples(1)

    @cached_property
    def _pair_orbits(self) -> Int[Tensor, "b nn"]:
        return self._orbits_of_tuples(2)

    def _orbits_of_tuples(self, length: int) -> Tensor:
        """The orbit of each node, or of each ordered pair of nodes, numbered for each sample."""
        b, n = self.classes.shape
        found = [orbits_of(g, n, length) for g, _ in self.graphs.automorphisms(self.backend)]
        by_place = torch.tensor(found, device=self.classes.device).reshape(b, *[n] * length)
        for axis in range(1, length + 1):
            place = self.order.argsort(1).reshape(b, *[n if a == axis else 1 for a in range(1, length + 1)])
            by_place = by_place.take_along_dim(place, axis)
        return by_place.reshape(b, n**length)

    def _block_sizes(self) -> Float[Tensor, "b n"]:
        ones = torch.ones(self.classes.shape, dtype=torch.float64, device=self.classes.device)
        return torch.zeros_like(ones).scatter_add(1, self.classes, ones)


def _within_classes(classes: list[int]) -> list[list[int]]:
    """All orders of the places that keep every class where it is."""
    blocks = [list(block) for _, block in itertools.groupby(range(len(classes)), key=classes.__getitem__)]
    choices = itertools.product(*(itertools.permutations(block) for block in blocks))
    return [list(itertools.chain.from_iterable(choice)) for choice in choices]


def average_over_classes(
    symmetry: Symmetry, embedded: Any, nodes: Callable[[], Tensor], pairs: Callable[[], Tensor]
) -> Any:
    """Outputs of nodes and of pairs, averaged over classes of nodes `(B, n)` and of pairs `(B, n n)`."""
    actions = iter(symmetry.output_actions)

    def average(y: Tensor) -> Tensor:
        action = next(actions)
        if isinstance(action, Nodes):
            axes, labels = (action.axis,), nodes()
        elif isinstance(action, Pairs):
            axes, labels = action.axes, pairs()
        else:
            return y
        moved = y.movedim(axes, tuple(range(1, len(axes) + 1)))
        return _class_means(moved, labels).movedim(tuple(range(1, len(axes) + 1)), axes)

    return _tree.map(average, embedded)


def _class_means(y: Float[Tensor, "b *x"], labels: Int[Tensor, "b m"]) -> Float[Tensor, "b *x"]:
    """Every value replaced by the mean of its class; the classes count over the first axes behind the batch."""
    b, m = labels.shape
    rows = y.reshape(b, m, -1)
    index = labels.unsqueeze(-1).expand(rows.shape)
    total = torch.zeros_like(rows).scatter_add(1, index, rows)
    count = torch.zeros_like(rows).scatter_add(1, index, torch.ones_like(rows)).clamp(min=1)
    return (total / count).gather(1, index).reshape(y.shape)

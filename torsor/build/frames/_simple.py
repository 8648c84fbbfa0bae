"""Frames that need no axes: translations, scalings, permutations, finite groups, products."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from torsor import _tree
from torsor.actions import Edges, Nodes, Pairs
from torsor.build.frames._axes import rms
from torsor.build.frames._cloud import floating_dtype, read_clouds
from torsor.build.frames._frameset import Frame, FrameSet, plain_frames
from torsor.build.frames._order_keys import feature_classes, lexicographic
from torsor.build.frames._permset import average_over_classes
from torsor.groups import Scaling, Symmetric, Translation
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class TranslationFrame:
    """The frame of translations: the centroid of the first `Point` input, one element.

    Arguments:
        weights: name of an input with one non-negative weight per point.
    """

    weights: str | None = None
    exact = True

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not isinstance(group, Translation):
            raise TypeError(f"TranslationFrame is for Translation(n); got {group}")
        cloud = read_clouds(symmetry, inputs, weights=self.weights)[0]
        if not cloud.action.feels_translation:
            raise ValueError("TranslationFrame needs a Point input")
        centre = cloud.mean(cloud.points).to(floating_dtype(symmetry, inputs))
        identity = torch.eye(group.n, dtype=centre.dtype, device=centre.device).expand(len(centre), -1, -1)
        elements = group.from_parts(identity, centre).unsqueeze(1)
        return plain_frames(group, elements, torch.ones_like(elements[..., 0, 0]), group.n)


@dataclass(frozen=True)
class ScaleFrame:
    """The frame of scalings about the origin: the RMS length of the first `Point` or `Vector` input, one element.

    Points that all lie at the origin have no scale: 1 is taken, and the sample is marked ambiguous.
    """

    weights: str | None = None
    exact = True

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not isinstance(group, Scaling):
            raise TypeError(f"ScaleFrame is for Scaling(n); got {group}")
        cloud = read_clouds(symmetry, inputs, weights=self.weights)[0]
        scale = rms(cloud).to(floating_dtype(symmetry, inputs))
        identity = torch.eye(group.n, dtype=scale.dtype, device=scale.device)
        elements = (torch.where(scale > 0, scale, 1)[:, None, None] * identity).unsqueeze(1)
        frames = plain_frames(group, elements, torch.ones_like(elements[..., 0, 0]), group.n)
        return FrameSet(group, elements, frames.weights, frames.gap, frames.rank, scale.detach() <= 0)


@dataclass(frozen=True)
class AllElements:
    """All elements of a finite group: the largest frame, and the group average (the Reynolds operator).

    Arguments:
        max_size: refuse groups with more elements than this.
    """

    max_size: int = 5040
    exact = True

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if group.order is None:
            raise TypeError(f"{group} is not finite: it has no average over all elements; use one of its frames")
        if group.order > self.max_size:
            raise ValueError(f"{group} has {group.order} elements, more than max_size={self.max_size}; use a frame")
        layout = symmetry.layout(inputs)
        dtype = floating_dtype(symmetry, inputs)
        device = next(x.device for _, x in symmetry.slots(inputs) if isinstance(x, Tensor))
        elements = group.elements(dtype=dtype, device=device)
        copies = _tree.map(lambda e: e.unsqueeze(0).expand(layout.size, *e.shape), elements)
        weights = torch.full((layout.size, group.order), 1 / group.order, dtype=dtype, device=device)
        return plain_frames(group, copies, weights, group.n)


@dataclass(frozen=True)
class SortFrame:
    """The frame of permutations that sorts the nodes lexicographically by their features, one element.

    The features are those of all inputs that act as `Nodes`, in the order of the arguments. Nodes with equal features
    are interchangeable; where there are `Pairs` or `Edges` they need not be, and the sample is marked ambiguous.
    Features that differ by rounding alone are tied; values decide within ties. Discontinuous where two nodes change
    places.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 3.2, for one feature.
    """

    exact = True

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not isinstance(group, Symmetric):
            raise TypeError(f"SortFrame is for Symmetric(n); got {group}")
        layout = symmetry.layout(inputs)
        slots = symmetry.slots(inputs)
        columns = [
            x.movedim(action.axis, -1).reshape(layout.size, -1, group.n).mT
            if layout.batch is None
            else x.reshape(layout.size, group.n, -1)
            for action, x in slots
            if isinstance(action, Nodes) and isinstance(x, Tensor)
        ]
        if not columns:
            raise ValueError("SortFrame needs an input that acts as Nodes")
        dtype = floating_dtype(symmetry, inputs)
        keys = torch.cat([feature_classes(column.detach()) for column in columns], -1)
        if layout.mask is not None:
            keys = torch.cat([(~layout.mask).unsqueeze(-1).double(), keys], -1)
        by_value, _ = lexicographic(torch.cat([column.detach().double() for column in columns], -1))
        order, classes = lexicographic(keys, by_value)
        tied = (classes[:, 1:] == classes[:, :-1]).any(1)
        related = any(isinstance(action, Pairs | Edges) for action, _ in slots)
        shown = any(isinstance(action, Nodes | Pairs) for action in symmetry.output_actions)
        weights = torch.ones(layout.size, 1, dtype=dtype, device=keys.device)
        plain = plain_frames(group, order.unsqueeze(1), weights, group.n)
        return SortedSet(
            group, plain.elements, weights, plain.gap, plain.rank, tied & related,
            classes=torch.zeros_like(classes).scatter(1, order, classes), tied=tied & shown & (not related),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SortedSet(FrameSet):
    """Orders of nodes by their features; nodes with equal features get the mean of their outputs.

    Attributes:
        classes: `(B, n)` the class of equal features of each node.
        tied: `(B,)` where outputs must be averaged over classes.
    """

    classes: Int[Tensor, "b n"]
    tied: Bool[Tensor, " b"]

    def __getitem__(self, index: Any) -> "SortedSet":
        """The frames of some of the samples."""
        plain = super().__getitem__(index)
        return SortedSet(**vars(plain), classes=self.classes[index], tied=self.tied[index])

    def settle(self, symmetry: Symmetry, embedded: Any) -> Any:
        """Averaged outputs, averaged further over the permutations of nodes with equal features."""
        if not bool(self.tied.any()):
            return embedded
        return average_over_classes(symmetry, embedded, lambda: self.classes, self._pair_classes)

    def _pair_classes(self) -> Int[Tensor, "b nn"]:
        """The class of each ordered pair of nodes, a node with itself apart, numbered from 0 for each sample."""
        n = self.classes.shape[1]
        same = torch.eye(n, dtype=torch.long, device=self.classes.device)
        labels = ((self.classes.unsqueeze(2) * n + self.classes.unsqueeze(1)) * 2 + same).flatten(1)
        ordered, order = labels.sort(1)
        rank = torch.nn.functional.pad((ordered.diff(dim=1) != 0).cumsum(1), (1, 0))
        return torch.zeros_like(rank).scatter(1, order, rank)

    def alone(self) -> FrameSet:
        """The frames without `settle`: samples that need it are ambiguous."""
        return FrameSet(self.group, self.elements, self.weights, self.gap, self.rank, self.ambiguous | self.tied)


@dataclass(frozen=True)
class ProductFrame:
    """The frame of a product of groups: `second` of what `first` has canonicalised, and so on.

    Permutations come last, whatever their place in the product. Every other frame must be invariant under the groups
    that come after it.

    Arguments:
        frames: one frame per factor of the symmetry, in the order of its factors.
    """

    frames: tuple[Frame, ...]

    def __init__(self, *frames: Frame) -> None:
        object.__setattr__(self, "frames", frames)

    @property
    def exact(self) -> bool:
        return all(frame.exact for frame in self.frames)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        parts = symmetry.factors
        if len(parts) != len(self.frames):
            raise ValueError(f"ProductFrame has {len(self.frames)} frames and the symmetry {len(parts)} factors")
        # frames of space do not depend on the order of the nodes, which they make known: permutations come last
        turns = sorted(range(len(parts)), key=lambda i: isinstance(parts[i].group, Symmetric))
        found = self.frames[turns[0]](parts[turns[0]], inputs).alone()
        chosen = {turns[0]: found.elements}
        weights, gap, rank, ambiguous = found.weights, found.gap, found.rank, found.ambiguous
        for i in turns[1:]:
            b, k = weights.shape
            canonical = symmetry.repeat(inputs, k)
            for j, elements in chosen.items():
                folded = elements.transpose(0, 1).flatten(0, 1)
                canonical = parts[j].act(parts[j].group.inverse(folded), canonical)
            then = self.frames[i](parts[i], canonical).alone()
            new = then.weights.shape[1]
            chosen = {j: elements.repeat_interleave(new, 1) for j, elements in chosen.items()}
            chosen[i] = _per_sample(then.elements, b).flatten(1, 2)
            weights = (weights.unsqueeze(2) * _per_sample(then.weights, b)).flatten(1)
            gap = torch.minimum(gap, _per_sample(then.gap, b).amin(1))
            ambiguous = ambiguous | _per_sample(then.ambiguous, b).any(1)
        return FrameSet(symmetry.group, tuple(chosen[i] for i in range(len(parts))), weights, gap, rank, ambiguous)


def _per_sample(folded: Tensor, b: int) -> Tensor:
    """`(K B, ...)`, copy-major, as `(B, K, ...)`."""
    return folded.reshape(-1, b, *folded.shape[1:]).transpose(0, 1) if b else folded.unsqueeze(1)

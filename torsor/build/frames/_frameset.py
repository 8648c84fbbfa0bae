"""Frames: for each input, a weighted set of group elements that moves along with the input."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor import _tree
from torsor.actions import Action, Element
from torsor.groups import Group
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True, eq=False)
class FrameSet:
    """The frames of a batch: `K` weighted group elements per sample.

    Attributes:
        group: the group of the elements.
        elements: batch axes `(B, K)`; a tuple with one entry per factor for product groups.
        weights: `(B, K)`, not negative, with sum 1 over `K`; 0 marks padding.
        gap: `(B,)` smallest relative distance of two eigenvalues that decide the frame; inf where none do.
        rank: `(B,)` number of dimensions that the points span.
        ambiguous: `(B,)` whether the input leaves the frame undetermined, so that exactness is lost there.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 2; weights after Dym, Lawrence, Siegel 2024 (arXiv 2402.16077).
    """

    group: Group
    elements: Element
    weights: Float[Tensor, "b k"]
    gap: Float[Tensor, " b"]
    rank: Int[Tensor, " b"]
    ambiguous: Bool[Tensor, " b"]

    @property
    def R(self) -> Float[Tensor, "b k d d"]:
        """The linear parts; for frames of principal axes the columns are the axes, largest variance first."""
        linear = self.group.linear(self.elements)
        return linear if self.s is None else linear / self.s[..., None, None]

    @property
    def t(self) -> Float[Tensor, "b k d"] | None:
        """The translations, or None."""
        return self.group.translation(self.elements)

    @property
    def s(self) -> Float[Tensor, "b k"] | None:
        """The scales where the group has them, or None."""
        if not hasattr(self.group, "scale"):
            return None
        return self.group.scale(self.elements)  # type: ignore[attr-defined]

    @property
    def w(self) -> Float[Tensor, "b k"]:
        """The weights."""
        return self.weights

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: Any) -> "FrameSet":
        """The frames of some of the samples."""
        parts = (self.weights, self.gap, self.rank, self.ambiguous)
        return FrameSet(self.group, _tree.map(lambda x: x[index], self.elements), *(x[index] for x in parts))

    def fold(self) -> Element:
        """The elements with one batch axis `(K B,)`, copy-major like `Symmetry.repeat`."""
        return _tree.map(lambda x: x.transpose(0, 1).flatten(0, 1), self.elements)

    def columns(self, start: int, stop: int) -> "FrameSet":
        """Some of the `K` elements of every sample, with their weights as they are."""
        elements = _tree.map(lambda x: x[:, start:stop], self.elements)
        return replace(self, elements=elements, weights=self.weights[:, start:stop])

    def sample(self, k: int = 1, generator: torch.Generator | None = None) -> "FrameSet":
        """`k` elements per sample, drawn with probability `weights`: unbiased for the average, not exact."""
        choice = torch.multinomial(self.weights.detach(), k, replacement=True, generator=generator)
        weights = torch.full_like(choice, 1, dtype=self.weights.dtype) / k
        return replace(self, elements=_take(self.elements, choice), weights=weights)

    def compact(self) -> "FrameSet":
        """Without the columns that are padding in all samples."""
        if not self.weights.numel():
            return self
        used = self.weights > 0
        order = used.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(used.sum(1).max())]
        return replace(self, elements=_take(self.elements, order), weights=self.weights.gather(1, order))

    def settle(self, symmetry: Symmetry, embedded: Any) -> Any:
        """Averaged outputs, in the space of `embed`, averaged further over what the elements alone leave open."""
        return embedded

    def alone(self) -> "FrameSet":
        """The frames without `settle`: samples that need it are ambiguous."""
        return self

    def canonicalize(self, x: Float[Tensor, "b *n"], action: Action) -> Float[Tensor, "b k *n"]:
        """A value seen from each frame: `g^-1 x`."""
        copies = x.unsqueeze(1).expand(x.shape[0], self.weights.shape[1], *x.shape[1:])
        return action(self.group, self.group.inverse(self.elements), copies)

    def restore(self, y: Float[Tensor, "b k *n"], action: Action, reduce: bool = True) -> Tensor:
        """A value in each frame, moved back: `g y`; with `reduce` their weighted mean, `(b, *n)`."""
        moved = action(self.group, self.elements, y)
        if not reduce:
            return moved
        z = action.embed(moved)
        return action.project((z * self.weights.reshape(*self.weights.shape, *(1,) * (z.ndim - 2)).to(z.dtype)).sum(1))


def plain_frames(group: Group, elements: Element, weights: Tensor, dimension: int) -> FrameSet:
    """A `FrameSet` that no eigenvalue decides: full rank, never ambiguous."""
    ones = torch.ones(len(weights), device=weights.device)
    return FrameSet(
        group, elements, weights, ones.to(weights.dtype) * torch.inf, ones.long() * dimension, ones.bool().logical_not()
    )


@runtime_checkable
class Frame(Protocol):
    """Any callable that gives each input its frames, with `frame(g x) = g frame(x)` as weighted sets."""

    @property
    def exact(self) -> bool:
        """Whether averages over these frames are exactly symmetric where no sample is ambiguous."""
        ...

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        """The frames of a batch of inputs."""
        ...


FrameLike = Frame | Callable[[Symmetry, Inputs], FrameSet]


def _take(elements: Element, index: Tensor) -> Element:
    def take(x: Tensor) -> Tensor:
        tail = x.shape[2:]
        return x.gather(1, index.reshape(*index.shape, *(1,) * len(tail)).expand(*index.shape, *tail))

    return _tree.map(take, elements)

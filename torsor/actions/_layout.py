"""Arguments that say how a batch is laid out. They are moved by permutations of the nodes at most."""

from dataclasses import dataclass

from torch import Tensor

from torsor.actions._action import Action, Element
from torsor.groups import DirectProduct, Group, Symmetric


@dataclass(frozen=True, repr=False)
class Layout(Action):
    """An argument that describes the batch: no transformation of space moves it."""

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        if isinstance(group, DirectProduct):
            for factor, element in zip(group.factors, g, strict=True):
                x = self(factor, element, x)
            return x
        return self.relabel(group, g, x) if isinstance(group, Symmetric) else x

    def relabel(self, group: Symmetric, g: Tensor, x: Tensor) -> Tensor:
        """What a permutation of the nodes of each sample does."""
        return x

    @property
    def is_discrete(self) -> bool:
        return True


@dataclass(frozen=True, repr=False)
class Mask(Layout):
    """Which nodes of a padded batch are real: bool `(B, n)`, True = real.

    Padded rows of the other per-node arguments are zero going in and zero coming out.
    """

    def relabel(self, group: Symmetric, g: Tensor, x: Tensor) -> Tensor:
        return x.take_along_dim(group.inverse(g), -1)

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 2 else "a Mask must be (B, n)"


@dataclass(frozen=True, repr=False)
class Batch(Layout):
    """Which sample each row of a ragged batch belongs to: integers `(N,)`, sorted, starting from 0."""

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 1 else "a Batch must be (N,)"


@dataclass(frozen=True, repr=False)
class Edges(Layout):
    """Node indices `(2, E)` that count the nodes of the whole batch, sample after sample.

    Offset where samples are repeated, relabelled where nodes are permuted.
    """

    def relabel(self, group: Symmetric, g: Tensor, x: Tensor) -> Tensor:
        sample = x.div(group.n, rounding_mode="floor")
        return g.reshape(-1, group.n)[sample, x % group.n] + group.n * sample

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 2 and shape[0] == 2 else "Edges must be (2, E)"


@dataclass(frozen=True, repr=False)
class Shared(Layout):
    """The same for all samples (a grid, a temperature, a flag): never moved, repeated or compared."""

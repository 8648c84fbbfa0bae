"""Direct products: one element per factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._group import Group


@dataclass(frozen=True, repr=False, init=False)
class DirectProduct(Group):
    """The product of groups that commute with each other; elements are tuples."""

    factors: tuple[Group, ...]

    def __init__(self, *factors: Group) -> None:
        for i, factor in enumerate(factors):
            if not isinstance(factor, Group):
                raise TypeError(f"factor {i} of DirectProduct must be a Group; got {type(factor).__name__}")
        object.__setattr__(self, "factors", factors)

    @property
    def name(self) -> str:
        return " x ".join(f.name for f in self.factors)

    @property
    def n(self) -> int:  # type: ignore[override]
        return sum(f.n for f in self.factors)

    @property
    def dim(self) -> int:
        return sum(f.dim for f in self.factors)

    @property
    def is_compact(self) -> bool:  # type: ignore[override]
        return all(f.is_compact for f in self.factors)

    def identity(self, *batch: int, dtype: torch.dtype | None = None, device: Any = None) -> tuple[Any, ...]:
        return tuple(f.identity(*batch, dtype=dtype, device=device) for f in self.factors)

    def batch_shape(self, g: tuple[Any, ...]) -> tuple[int, ...]:
        return self.factors[0].batch_shape(g[0])

    def compose(self, g: tuple[Any, ...], h: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(f.compose(a, b) for f, a, b in zip(self.factors, g, h, strict=True))

    def inverse(self, g: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(f.inverse(a) for f, a in zip(self.factors, g, strict=True))

    def linear(self, g: tuple[Any, ...]) -> Tensor:
        raise TypeError(f"{self} has no single linear part: take the one of a factor")

    def sample(
        self,
        *shape: int,
        proposal: Any = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> tuple[Any, ...]:
        return tuple(f.sample(*shape, generator=generator, dtype=dtype, device=device) for f in self.factors)

"""Proposals on GL(n), GL+(n) and SL(n) by polar factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.groups._group import Group
from torsor.groups._linear import GL, SL, GLPlus
from torsor.groups._orthogonal import SO, O
from torsor.groups.linalg import expm_sym, polar_log
from torsor.groups.measure._proposal import Proposal
from torsor.groups.measure._spd import SPDLaw


@dataclass(frozen=True)
class PolarProposal(Proposal):
    """g = exp(Y) R with independent factors: Haar measure of GL+(n) is the product of Haar measures of the factors.

    Arguments:
        spd: the law of Y.
        compact: the law of R, a proposal on SO(n) (or on O(n), for elements of either orientation).

    Raises:
        TypeError: spd is no law of symmetric matrices, compact no proposal on SO(n) or O(n).
        ValueError: spd is a law for another n.

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import LogNormalSPD, PolarProposal, Window
    >>> proposal = PolarProposal(LogNormalSPD(0.15), Window(SO(2), 0.6))
    >>> proposal.group, proposal.sample(8).g.shape
    (GLPlus(2), torch.Size([8, 2, 2]))
    """

    spd: SPDLaw
    compact: Proposal

    def __post_init__(self) -> None:
        if not isinstance(self.spd, SPDLaw):
            raise TypeError(f"spd of PolarProposal must be a law of symmetric matrices; got {self.spd!r}")
        group = getattr(self.compact, "group", None)
        if not isinstance(group, SO | O):
            raise TypeError(f"compact of PolarProposal must be a proposal on SO(n) or O(n); got {self.compact!r}")
        if self.spd.dimension not in (None, group.n):
            raise ValueError(f"spd of PolarProposal is a law for n = {self.spd.dimension}; got compact on {group}")

    @property
    def group(self) -> Group:  # type: ignore[override]
        n = self.compact.group.n
        if self.spd.traceless:
            return SL(n)
        return GL(n) if isinstance(self.compact.group, O) else GLPlus(n)

    def describe(self) -> str:
        return f"polar factors: {self.spd.describe()}, {self.compact.describe()}"

    @property
    def support(self) -> str:
        return f"exp(Y) R with R in: {self.compact.support}"

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        a, b = self.spd.cube(self.group.n), self.compact.cube
        return None if a is None or b is None else a + b

    def from_cube(self, u: Tensor) -> Tensor:
        k = self.spd.cube(self.group.n)
        Y = self.spd.from_cube(u[..., :k], self.group.n)
        return expm_sym(Y) @ self.compact.from_cube(u[..., k:])

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Tensor:
        Y = self.spd.draw(self.group.n, *shape, generator=generator, dtype=dtype, device=device)
        return expm_sym(Y) @ self.compact.draw(*shape, generator=generator, dtype=dtype, device=device)

    def log_prob(self, g: Tensor) -> Tensor:
        Y, R = polar_log(g)
        return self.spd.log_prob(Y) + self.compact.log_prob(R)

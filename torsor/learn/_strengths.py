"""How strongly each candidate symmetry is asked for: fixed, or by the power rule of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torsor.learn._per import PERegularizer


class Strengths(NamedTuple):
    """The penalty is `scale (sum_g groups_g R_g + ridge |w|^2 / 2)`."""

    groups: Tensor
    ridge: float = 0.0
    scale: float = 1.0


@runtime_checkable
class StrengthRule(Protocol):
    """What decides the strengths while a model trains."""

    def start(self, groups: int) -> Strengths:
        """The strengths of so many groups before anything was learned."""
        ...

    def wants(self, epoch: int, epochs: int) -> bool:
        """Whether the rule needs the curvature of the loss after this epoch."""
        ...

    def update(self, per: PERegularizer, epoch: int, epochs: int, **stats: Any) -> Strengths | None:
        """The strengths after an epoch, counted from 1; None leaves them as they are."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Strengths that stay: one for all groups, or one for each.

    Raises:
        ValueError: a strength is negative or not finite.

    >>> Fixed(0.3).start(2).groups
    tensor([0.3000, 0.3000])
    """

    strengths: float | Sequence[float]

    def __post_init__(self) -> None:
        given = self.strengths
        values = [float(given)] if isinstance(given, int | float) else [float(x) for x in given]
        if not values or any(not math.isfinite(x) or x < 0 for x in values):
            raise ValueError(f"strengths must be finite and at least 0; got {self.strengths}")

    def start(self, groups: int) -> Strengths:
        """The strengths."""
        given = self.strengths
        values = groups * [float(given)] if isinstance(given, int | float) else [float(x) for x in given]
        if len(values) != groups:
            raise ValueError(f"strengths must be one number, or one for each of {groups} groups; got {self.strengths}")
        return Strengths(torch.tensor(values))

    def wants(self, epoch: int, epochs: int) -> bool:
        """Never."""
        return False

    def update(self, per: PERegularizer, epoch: int, epochs: int, **stats: Any) -> Strengths | None:
        """They stay."""
        return None


@dataclass(frozen=True)
class PowerRule:
    """The rule of the paper: equal strengths at first, then each by how well its symmetry was kept.

    After the warm-up, once, `lambda_g = lambda_0 (min_h R_h / R_g)^p`, where `R_g` is the smallest value of the last
    epochs of the warm-up. The best kept symmetry keeps `lambda_0`. The rule sees ratios alone: where all candidates are
    wrong it looks like where all are right.

    Arguments:
        lambda_0: the strength at first, relative to the loss: a mean over outputs asks for a smaller one than a sum.
        p: the power; 2, or 5 for motion data in the paper.
        warmup: share of the training that is warm-up.
        window: epochs at the end of the warm-up that count.

    Raises:
        ValueError: `lambda_0` or `p` is not positive, `warmup` not in (0, 1], `window` not at least 1.

    Source: Kim et al. 2023 (arXiv 2306.00356), section 4.

    >>> PowerRule(3.0).reweighted(torch.tensor([0.0117, 0.0190, 0.0211])).round(decimals=2)
    tensor([3.0000, 1.1400, 0.9200])
    """

    lambda_0: float
    p: float = 2.0
    warmup: float = 0.25
    window: int = 50

    def __post_init__(self) -> None:
        for name in ("lambda_0", "p"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive; got {value}")
        if not 0 < self.warmup <= 1:
            raise ValueError(f"warmup must be a share in (0, 1]; got {self.warmup}")
        if self.window < 1:
            raise ValueError(f"window must be at least 1 epoch; got {self.window}")

    def start(self, groups: int) -> Strengths:
        """lambda_0 for all."""
        return Strengths(torch.full((groups,), float(self.lambda_0)))

    def wants(self, epoch: int, epochs: int) -> bool:
        """Never."""
        return False

    def update(self, per: PERegularizer, epoch: int, epochs: int, **stats: Any) -> Strengths | None:
        """The new strengths at the end of the warm-up."""
        if epoch != max(1, round(self.warmup * epochs)):
            return None
        recorded = torch.tensor([entry["residuals"] for entry in per.history[-self.window :]], dtype=torch.float64)
        return Strengths(self.reweighted(recorded.amin(0)))

    def reweighted(self, residuals: Tensor) -> Tensor:
        """`lambda_0 (min R / R_g)^p`; a symmetry without any residual keeps lambda_0."""
        ratio = residuals.min() / torch.where(residuals > 0, residuals, 1)
        return self.lambda_0 * torch.where(residuals > 0, ratio, 1).pow(self.p)


def check_rule(strengths: StrengthRule | None, default: StrengthRule) -> StrengthRule:
    """The rule, refused where it is none."""
    rule = default if strengths is None else strengths
    if not isinstance(rule, StrengthRule):
        raise TypeError(f"strengths must be a rule such as Fixed(0.3) or PowerRule(1.0); got {strengths!r}")
    return rule


def end_of_epoch(penalty: Any, residuals: Tensor, epoch: int, n_epochs: int, **stats: Any) -> dict[str, float]:
    """Record the residuals of a penalty and let its rule move its strengths; the numbers come back, for a log.

    Arguments:
        penalty: a `PERegularizer` or a `SampledRegularizer`.
        residuals: of the epoch, (groups,).
        epoch: counted from 1.
        n_epochs: of the whole training.
        stats: what the rule asks for.
    """
    penalty.history.append({"epoch": epoch, "residuals": residuals.tolist(), "strengths": penalty.strengths.tolist()})
    found = penalty.rule.update(penalty, epoch, n_epochs, **stats)
    if found is not None:
        penalty.set(found)
    numbers = {f"residual_{g}": float(r) for g, r in zip(penalty.groups, residuals, strict=True)}
    return numbers | {f"strength_{g}": float(s) for g, s in zip(penalty.groups, penalty.strengths, strict=True)}

"""Excursions of an error along a one-parameter orbit: isolated spikes, or broad bands?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.audit import Report
from torsor.persistence._laws import ExcursionLaw
from torsor.persistence._null import law_of_means
from torsor.persistence._run_test import _expected_longest
from torsor.symmetry import Inputs, Symmetry, as_inputs

ErrorFunction = Callable[[Any, Inputs], Tensor]
_FEWEST = 30
_SPIKE = 1.5  # steps: shorter arcs on average are spikes that the grid does not resolve


@dataclass(frozen=True, eq=False)
class OrbitPersistence(Report):
    """Where along its orbits an error exceeds a level, and for how long.

    Arguments:
        group: the group, by name.
        step: the step of the orbit parameter.
        periodic: whether the orbit closes: runs go round and none is censored.
        level: what counts as a violation.
        errors: `(B, n_steps)` along the orbits.
        arcs: lengths of the violations in steps.
        gaps: lengths of what lies between them.
        share: of the orbit that is above the level.
        always: samples that are above it all the way round.
        law: what the means after a crossing say about lengths of violations, if they are independent; None where there
            are fewer than 30.
        p_value: of the longest arc under that law.
        words: what follows.
    """

    group: str
    step: float
    periodic: bool
    level: float
    errors: Float[Tensor, "b n"]
    arcs: Float[Tensor, " arcs"]
    gaps: Float[Tensor, " gaps"]
    share: float
    always: int
    law: ExcursionLaw | None
    p_value: float | None
    words: str

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Violations along orbits of {self.group}: {len(self.arcs)} arcs above {self.level:.3g}"

    def records(self) -> list[dict[str, Any]]:
        """Arcs and gaps: how many, mean and longest, in the orbit parameter."""
        rows = []
        for name, lengths in (("violations", self.arcs), ("gaps", self.gaps)):
            some = len(lengths) > 0
            rows.append(
                {
                    "arcs": name,
                    "number": len(lengths),
                    "mean": self.step * float(lengths.mean()) if some else None,
                    "longest": self.step * float(lengths.max()) if some else None,
                }
            )
        return rows

    def facts(self) -> dict[str, str]:
        """The orbit, and the law behind the p-value."""
        facts = {"orbit": f"{self.errors.shape[1]} steps of {self.step:.4g}, {'closed' if self.periodic else 'open'}"}
        if self.law is not None:
            facts["law"] = f"independent intervals from the means after crossings; {self.law.certificate.reason}"
        return facts


def orbit_persistence(
    error_fn: ErrorFunction,
    symmetry: Symmetry,
    direction: Float[Tensor, " dim"],
    x: Any,
    level: float | None = None,
    n_steps: int = 256,
    *,
    length: float = 2 * math.pi,
) -> OrbitPersistence:
    """The excursions of an error above a level along the orbits `g(tau) x`, `g(tau) = exp(tau direction)`.

    Arguments:
        error_fn: `error_fn(g, inputs)` gives one error per sample, `(B,)`, for one element per sample;
            `equivariance_error(f, symmetry)` is one.
        symmetry: the group and the actions.
        direction: coordinates in the Lie algebra, `(dim,)`.
        x: a batch of inputs.
        level: what counts as a violation; twice the median error by default.
        n_steps: points on each orbit.
        length: of the orbit parameter. Where `exp(length direction)` is the identity the orbit closes, runs go round
            and none is censored; elsewhere the first and the last run of each orbit are left out.

    Raises:
        ValueError: a direction that does not fit, fewer than 8 steps, errors of another shape or not finite.

    >>> import torch
    >>> from torsor import SO, Scalar, Symmetry, Vector
    >>> from torsor.persistence import equivariance_error, orbit_persistence
    >>> sym = Symmetry(SO(2), Vector(), Scalar())
    >>> f = lambda v: torch.cos(3 * torch.atan2(v[..., 1:], v[..., :1])) + 2  # noqa: E731
    >>> v = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> found = orbit_persistence(equivariance_error(f, sym), sym, torch.ones(1, dtype=torch.float64), v, 0.1)
    >>> found.periodic, len(found.arcs) > 20
    (True, True)
    """
    group = symmetry.group
    direction = torch.as_tensor(direction, dtype=torch.float64)
    if direction.shape != (group.dim,) or not bool(direction.isfinite().all()) or not bool(direction.any()):
        raise ValueError(f"direction must be {group.dim} finite coordinates, not all zero; got {direction.tolist()}")
    if n_steps < 8:
        raise ValueError(f"n_steps must be at least 8; got {n_steps}")
    if not 0 < length < math.inf:
        raise ValueError(f"length must be positive and finite; got {length}")
    inputs = as_inputs(x)
    batch = symmetry.batch_size(inputs)
    end = group.matrix(group.exp(length * direction))
    periodic = bool(torch.allclose(end, torch.eye(len(end), dtype=end.dtype), atol=1e-9))
    step = length / n_steps if periodic else length / (n_steps - 1)
    with torch.no_grad():
        columns = []
        for k in range(n_steps):
            e = error_fn(group.exp((k * step * direction).expand(batch, -1)), inputs)
            if not isinstance(e, Tensor) or e.shape != (batch,):
                came = tuple(e.shape) if isinstance(e, Tensor) else type(e).__name__
                raise ValueError(f"error_fn must give one error per sample, ({batch},); got {came}")
            columns.append(e.double())
    errors = torch.stack(columns, 1)
    if not bool(errors.isfinite().all()):
        raise ValueError(f"errors must be finite; {int((~errors.isfinite()).sum())} are not")
    level = 2 * float(errors.median()) if level is None else float(level)
    above = errors >= level
    arcs, gaps = _arcs(above, periodic)
    law = _law(above, arcs, gaps, periodic) if min(len(arcs), len(gaps)) >= _FEWEST else None
    p = None
    if law is not None:
        tail = min(max(float(law.sf(arcs.max() - 1)), 0.0), 1 - 1e-15)
        p = -math.expm1(len(arcs) * math.log1p(-tail))
    share, always = float(above.double().mean()), int(above.all(1).sum())
    words = _words(arcs, step, share, always, law, p)
    return OrbitPersistence(str(group), step, periodic, level, errors, arcs, gaps, share, always, law, p, words)


def equivariance_error(f: Callable[..., Tensor], symmetry: Symmetry) -> ErrorFunction:
    """The relative error `|f(g x) - g f(x)| / (|f(g x)| + |g f(x)|)` of one output, as `orbit_persistence` takes it.

    Arguments:
        f: a model with one tensor as output.
        symmetry: how elements act on inputs and output.

    >>> import torch
    >>> from torsor import SO, Symmetry, Vector
    >>> from torsor.persistence import equivariance_error
    >>> sym = Symmetry(SO(2), Vector(), Vector())
    >>> error = equivariance_error(lambda v: 2 * v, sym)
    >>> v = torch.ones(3, 2, dtype=torch.float64)
    >>> bool((error(SO(2).exp(torch.ones(3, 1, dtype=torch.float64)), v) < 1e-12).all())
    True
    """

    def error(g: Any, inputs: Any) -> Tensor:
        there = symmetry.act(g, inputs)
        moved, expected = symmetry.call(f, there), symmetry.act_output(g, symmetry.call(f, inputs), inputs)
        sizes = symmetry.norm(moved, there) + symmetry.norm(expected, there)
        return symmetry.distance(moved, expected, there) / sizes.clamp(min=torch.finfo(sizes.dtype).tiny)

    return error


def _arcs(above: Tensor, periodic: bool) -> tuple[Tensor, Tensor]:
    """The lengths of complete runs above and below, in steps."""
    arcs: list[Tensor] = []
    for sign in (True, False):
        found = []
        for row in above:
            flips = (row != row.roll(1)).nonzero()[:, 0] if periodic else (row[1:] != row[:-1]).nonzero()[:, 0] + 1
            if len(flips) < 2:
                continue
            ends = torch.cat([flips[1:], flips[:1] + len(row)]) if periodic else flips[1:]
            starts = flips if periodic else flips[:-1]
            found.append((ends - starts)[row[starts] == sign])
        arcs.append(torch.cat(found).double() if found else torch.zeros(0, dtype=torch.float64))
    return arcs[0], arcs[1]


def _law(above: Tensor, arcs: Tensor, gaps: Tensor, periodic: bool) -> ExcursionLaw:
    """The law from the means of the signs after crossings, up to half of a closed orbit or a quarter of an open one."""
    signs = torch.where(above, 1.0, -1.0).double()
    n = signs.shape[1]
    mean = float(signs.mean())
    lags = n // 2 if periodic else n // 4
    unrolled = torch.cat([signs, signs[:, : lags + 1]], 1) if periodic else signs
    means = []
    for sign in (1.0, -1.0):
        row, column = ((unrolled[:, 1:] == sign) & (unrolled[:, :-1] == -sign)).nonzero(as_tuple=True)
        early = column + 1 + lags < unrolled.shape[1]
        row, column = row[early], column[early] + 1
        means.append(torch.stack([unrolled[row, column + k].mean() for k in range(lags + 1)]))
    changes = int((signs[:, 1:] != signs[:, :-1]).sum()) / 2
    return law_of_means(means[0], means[1], (arcs, gaps), mean, 2 / math.sqrt(max(1.0, changes)))


def _words(arcs: Tensor, step: float, share: float, always: int, law: ExcursionLaw | None, p: float | None) -> str:
    if not len(arcs):
        return f"No complete violation: {100 * share:.3g}% of the orbits are above the level."
    mean, longest = float(arcs.mean()), float(arcs.max())
    kind = "isolated spikes" if mean < _SPIKE else "bands"
    words = [
        f"{100 * share:.3g}% of the orbits violate the level, in {kind}: {len(arcs)} arcs of {step * mean:.3g} on"
        f" average, {step * longest:.3g} at most."
    ]
    if always:
        words.append(f"{always} samples violate it all the way round.")
    if law is not None and p is not None:
        usual = step * float(_expected_longest(law, len(arcs)))
        words.append(f"The longest of that many independent arcs would be {usual:.3g} (p = {p:.2g}).")
    return " ".join(words)

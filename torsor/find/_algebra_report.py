"""What a search for symmetries found: generators, how far each is broken, and the name of the algebra."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torsor.audit import Report
from torsor.find._components import Component
from torsor.find._identify import bracket_defect, name_of

ROUNDING = 1e4
"""Singular values up to so many units of rounding are zero."""
SMALL = 0.4
"""A level below this share of the next one marks an approximate symmetry: below the widest such gap, and 0.5."""
NEARLY = 0.1
"""How far the generators of an approximate symmetry may be from those of the algebra that is named."""

LEARNED = 0.5
"""A network with a smaller held-out R² says little about the data."""


@dataclass(frozen=True)
class Direction:
    """One generator, of unit Frobenius norm.

    Arguments:
        level: its singular value: the size of the change of `f(g x)` against `g f(x)` per unit of t in `exp(tA)`, over
            the size of f. 0 for an exact symmetry.
        interval: 95 % bootstrap interval of the level.
        generator: the matrix A, row by row.
        kind: "exact", "approximate" or "broken".
    """

    level: float
    interval: tuple[float, float]
    generator: tuple[tuple[float, ...], ...]
    kind: str


@dataclass(frozen=True)
class Breaking:
    """How far a candidate is broken.

    Arguments:
        group: its name.
        level: the largest level among unit generators of it; 0 for an exact symmetry. Where it is broken, a direction
            that was found near it may have a smaller one, which is no generator of the candidate.
        interval: 95 % bootstrap interval of the level.
        inside: whether its algebra lies in the one that was found, and its other components keep f too.
        jump: `|f(h x) - h f(x)| / |f(x)|`, the largest among the generators h of its other components, such as
            reflections; 0 for a connected group.
        error, error_se: equivariance error over the whole group with its standard error, where it was measured: it sees
            reflections and other components, which no generator sees.
    """

    group: str
    level: float
    interval: tuple[float, float]
    inside: bool
    jump: float = 0.0
    error: float | None = None
    error_se: float | None = None


@dataclass(frozen=True)
class AlgebraReport(Report):
    """The symmetries that `find.lie_algebra` and `find.symmetries` found.

    Arguments:
        directions: a basis of all generators, from the best kept to the worst.
        dim: how many are exact symmetries, up to `tol`.
        approximate: how many more are approximate ones.
        name: of the algebra of the exact ones, such as "so(3) + scaling".
        approximate_name: of the algebra of exact and approximate ones together.
        closure: how far the brackets of exact generators are from the algebra, relative; 0 on paper.
        tol: the largest level that counts as zero.
        floor: below this level nothing can be told, because the function was learned; None where it was given.
        r2: held-out coefficient of determination of the learned function; None where it was given.
        breaking: one for each candidate.
        components: orthogonal symmetries that no generator reaches, such as reflections: generators of all that were
            found; None where they were not looked for.
        count: of components, with that of the identity.
        words: the finding in sentences.
    """

    directions: tuple[Direction, ...]
    dim: int
    approximate: int
    name: str
    approximate_name: str
    closure: float
    tol: float
    floor: float | None
    r2: float | None
    breaking: tuple[Breaking, ...]
    words: str
    components: tuple[Component, ...] | None = None
    count: int = 1

    @property
    def title(self) -> str:  # type: ignore[override]
        return "Symmetries that were found"

    @property
    def levels(self) -> Tensor:
        """The levels of all directions, ascending, (directions,)."""
        return torch.tensor([d.level for d in self.directions], dtype=torch.float64)

    @property
    def algebra(self) -> Tensor:
        """An orthonormal basis of the exact symmetries, (dim, m, m)."""
        return self._generators(self.dim)

    @property
    def nearly(self) -> Tensor:
        """An orthonormal basis of exact and approximate symmetries together, (dim + approximate, m, m)."""
        return self._generators(self.dim + self.approximate)

    def records(self) -> list[dict[str, Any]]:
        rows = [
            {
                "what": f"generator {i + 1}",
                "kind": d.kind,
                "level": d.level,
                "low": d.interval[0],
                "high": d.interval[1],
            }
            | {"generator": _short(d.generator)}
            for i, d in enumerate(self.directions)
        ]
        for b in self.breaking:
            kind = "exact" if b.inside else "broken"
            row = {"what": b.group, "kind": kind, "level": b.level, "low": b.interval[0], "high": b.interval[1]}
            row |= {"jump": b.jump} if b.jump else {}
            rows.append(row if b.error is None else row | {"error": b.error, "±": b.error_se})
        for c in self.components or ():
            row = {"what": c.words, "kind": f"order {c.order}" if c.order else "", "jump": c.error}
            rows.append(row | {"generator": _short(c.matrix)})
        return rows

    def facts(self) -> dict[str, str]:
        found = {
            "level": "singular value: change of f(g x) against g f(x) per unit of t in exp(tA), |A| = 1, over |f|",
            "zero": f"up to {self.tol:.2g}",
            "closure": f"brackets leave the algebra by {self.closure:.2g}",
        }
        if self.r2 is not None and self.floor is not None:
            found["stand-in"] = f"a network learned from the data, held-out R² {self.r2:.4f};"
            found["stand-in"] += f" levels below {self.floor:.2g} cannot be told from zero"
        return found

    def _generators(self, count: int) -> Tensor:
        return torch.tensor([d.generator for d in self.directions], dtype=torch.float64)[:count]


def algebra_report(
    defect: Tensor,
    out: Tensor,
    basis: Tensor,
    tol: float | None,
    candidates: Sequence[Tensor],
    resamples: int,
    generator: torch.Generator | None,
    floor: float | None = None,
    r2: float | None = None,
    errors: Sequence[tuple[float, float]] = (),
    names: Sequence[str] = (),
    jumps: Sequence[float] = (),
    search: Callable[[Tensor, float], tuple[list[Component], int]] | None = None,
    verify: Callable[[Tensor, float], None] | None = None,
) -> AlgebraReport:
    """The report on the defects (n, ..., directions) of the generators in `basis` (directions, m, m), orthonormal.

    Given the exact generators and the limit, `verify` refuses what they have not kept and `search` finds components.
    """
    if tol is not None and not (math.isfinite(tol) and tol > 0):
        raise ValueError(f"tol must be positive; got {tol}")
    if not bool(defect.isfinite().all()):
        raise ValueError("f must have finite values and derivatives at X; it has NaN or infinity")
    eps = torch.finfo(defect.dtype).eps
    size = out.double().norm()
    if size == 0:
        raise ValueError("f must not vanish at all points of X: every transformation is a symmetry of 0")
    n, count = len(defect), defect.shape[-1]
    samples = defect.double().reshape(n, -1, count)
    values, vectors = _svd(samples, out)
    limit = ROUNDING * eps if tol is None else tol
    limit = limit if floor is None else max(limit, floor)
    kinds = _kinds(values, limit)
    generators = torch.einsum("kc,kij->cij", vectors, basis.double())
    intervals, spread = _bootstrap(samples, out, _spans(candidates, basis), resamples, generator)
    directions = tuple(
        Direction(float(s), pair, tuple(map(tuple, _signed(g).tolist())), kind)
        for s, pair, g, kind in zip(values, intervals, generators, kinds, strict=True)
    )
    dim, nearly = kinds.count("exact"), kinds.count("approximate")
    if verify is not None:
        verify(generators[:dim], limit)
    name, wider = name_of(generators[:dim]), name_of(generators[: dim + nearly], NEARLY)
    breaking = []
    for i, span in enumerate(_spans(candidates, basis)):
        level = _level(samples, out, span)
        error, se = errors[i] if errors else (None, None)
        jump = jumps[i] if jumps else 0.0
        breaking.append(Breaking(names[i], level, spread[i], max(level, jump) <= limit, jump, error, se))
    others, number = (None, 1) if search is None else search(generators[:dim], limit)
    words = _words(directions, dim, nearly, name, wider, breaking, r2, floor)
    if others:
        words += f" Beside the connected ones: {', '.join(c.words for c in others)}; {number} components."
    return AlgebraReport(
        directions, dim, nearly, name, wider, bracket_defect(generators[:dim]), limit, floor, r2, tuple(breaking),
        words, None if others is None else tuple(others), number,
    )  # fmt: skip


def _svd(samples: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values over the size of f, ascending, and the right singular vectors as columns."""
    count = samples.shape[-1]
    rows = samples.flatten(0, 1)
    if len(rows) < count:  # fewer equations than unknowns: what no equation sees has level 0
        rows = torch.cat([rows, rows.new_zeros(count - len(rows), count)])
    _, values, vectors = torch.linalg.svd(rows / out.double().norm(), full_matrices=False)
    return values.flip(0), vectors.mT.flip(1)


def _level(samples: Tensor, out: Tensor, span: Tensor) -> float:
    """The largest level in the span (directions, k) of a candidate's generators."""
    if span.shape[1] == 0:
        return 0.0
    return float(torch.linalg.matrix_norm((samples @ span).flatten(0, 1), 2) / out.double().norm())


def _spans(candidates: Sequence[Tensor], basis: Tensor) -> list[Tensor]:
    """Orthonormal coordinates (directions, k) of the algebra of each candidate, given by generators."""
    spans = []
    for X in candidates:
        coordinates = torch.einsum("kij,cij->kc", basis.double(), X.to(basis.device, torch.float64))
        spans.append(torch.linalg.qr(coordinates)[0] if len(X) else coordinates)
    return spans


def _bootstrap(
    samples: Tensor, out: Tensor, spans: list[Tensor], resamples: int, generator: torch.Generator | None
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """95 % intervals of the singular values and of the levels of candidates, from resampled points."""
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    count, n = samples.shape[-1], len(samples)
    squares = out.double().reshape(n, -1).square().sum(1)
    values, levels = [], []
    for _ in range(max(resamples, 1)):
        pick = torch.randint(n, (n,), generator=generator).bincount(minlength=n).to(squares)
        rows = (samples * (pick / (pick @ squares)).sqrt()[:, None, None]).flatten(0, 1)
        rows = torch.linalg.qr(rows, mode="r")[1]  # as many rows as directions: all that the levels need
        found = torch.linalg.svdvals(rows).flip(0)
        values.append(torch.cat([found.new_zeros(count - len(found)), found]))
        tops = [torch.linalg.matrix_norm(rows @ s, 2) if s.shape[1] else rows.new_zeros(()) for s in spans]
        levels.append(torch.stack(tops) if tops else rows.new_zeros(0))
    edges = torch.tensor([0.025, 0.975], dtype=torch.float64, device=samples.device)

    def pairs(draws: list[Tensor], width: int) -> list[tuple[float, float]]:
        if not width:
            return []
        low, high = torch.quantile(torch.stack(draws), edges, dim=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    return pairs(values, count), pairs(levels, len(spans))


def _kinds(values: Tensor, limit: float) -> list[str]:
    """Exact up to the limit; approximate below the widest gap above it, where that gap is wide."""
    exact = int((values <= limit).sum())
    rest = values[exact:]
    nearly = 0
    if len(rest) > 1:
        ratios = rest[:-1] / rest[1:]
        place = int(ratios.argmin())
        nearly = place + 1 if float(ratios[place]) <= SMALL and float(rest[place]) < 0.5 else 0
    return ["exact"] * exact + ["approximate"] * nearly + ["broken"] * (len(rest) - nearly)


def _words(
    directions: Sequence[Direction],
    dim: int,
    nearly: int,
    name: str,
    wider: str,
    breaking: Sequence[Breaking],
    r2: float | None,
    floor: float | None,
) -> str:
    exact = "Exact" if floor is None else "Not told from exact"
    said = [f"{exact}: {name} ({dim} of {len(directions)} generators)." if dim else "No exact symmetry."]
    if nearly:
        levels = ", ".join(f"{d.level:.2g}" for d in directions[dim : dim + nearly])
        said.append(f"Approximate: {nearly} more, together {wider}; broken at the levels {levels}.")
    if dim + nearly < len(directions):
        said.append(f"All others are broken, at {directions[dim + nearly].level:.2g} or more.")
    for b in breaking:
        broken = f"broken at the level {b.level:.2g}" if b.level > b.jump else f"broken by {b.jump:.2g} at one element"
        said.append(f"{b.group}: {exact.lower() if b.inside else broken}.")
    if r2 is not None:
        said.append(f"Read off a network with R² {r2:.4f}: levels below {floor:.2g} cannot be told from zero.")
        if r2 < LEARNED:
            said.append("It has learned too little to speak for the data.")
    return " ".join(said)


def _signed(generator: Tensor) -> Tensor:
    flat = generator.flatten()
    return generator * torch.where(flat[flat.abs().argmax()] < 0, -1.0, 1.0)


def _short(rows: Sequence[Sequence[float]]) -> str:
    return "; ".join(" ".join(f"{x:+.2f}".replace("+0.00", "0").replace("-0.00", "0") for x in row) for row in rows)

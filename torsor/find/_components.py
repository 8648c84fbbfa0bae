"""Symmetries that no generator sees: reflections, permutations of the axes, rotations by finite angles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAME = 1e-5
"""Distance below which two orthogonal matrices are one."""
NEAR = 1e-3
"""Distance below which two cosets meet."""
STEPS = 40
MOST = 400
"""Components that are counted."""
HIGHEST_ORDER = 24


@dataclass(frozen=True)
class Component:
    """An orthogonal symmetry outside the component of the identity.

    Arguments:
        matrix: (d, d), row by row; of its component the one that is nearest to the identity.
        error: `|f(h x) - h f(x)| / |f(x)|` over all points.
        order: the smallest power that lies in the component of the identity; 0 where it is above 24.
        words: what it is, in two and three dimensions.
    """

    matrix: tuple[tuple[float, ...], ...]
    error: float
    order: int
    words: str


def components(
    defect: Callable[[Tensor], Tensor], d: int, algebra: Tensor, tol: float, starts: int, generator: torch.Generator
) -> tuple[list[Component], int]:
    """Orthogonal matrices h with `f(h x) = h f(x)`, one for each generator of the components, and their number.

    From reflections and exchanges of the axes, and from Haar random starts, half of them reflections, the sum of
    squares of `defect` is brought down by damped Gauss-Newton steps on O(d); where it vanishes a symmetry is found.
    Those in one coset of the connected group of `algebra` are one: by Procrustes, the nearest elements of two cosets
    agree.

    Arguments:
        defect: `(f(h x) - h f(x)) / |f|` at h (d, d), on one axis; differentiable in h.
        d: dimension of the space.
        algebra: generators of the connected symmetries, (k, d, d).
        tol: largest error of a symmetry.
        starts: how many random ones.
        generator: of the starts.
    """
    turns = _antisymmetric(algebra)
    if len(turns) == d * (d - 1) // 2:
        starts = 0  # only a reflection is left to find, and all of them are one
    found: list[Tensor] = []
    for start in _starts(d, starts, generator):
        h, error = _descend(defect, start, tol)
        if error <= tol:
            found.append(_nearest(h, turns))
    found.sort(key=lambda h: float((h - torch.eye(d, dtype=h.dtype)).norm()))
    group = [torch.eye(d, dtype=torch.float64)]
    chosen: list[Tensor] = []
    for h in found:
        if not _among(h, group, turns):
            chosen.append(h)
            group = _generated(chosen, turns)
    return [
        Component(tuple(map(tuple, h.tolist())), float(defect(h).norm()), _order(h, turns), _words(h)) for h in chosen
    ], len(group)


def _starts(d: int, count: int, generator: torch.Generator) -> list[Tensor]:
    eye = torch.eye(d, dtype=torch.float64)
    axes = [e[:, None] for e in eye] + [
        (eye[i] - eye[j])[:, None] / 2**0.5 for i, j in itertools.combinations(range(d), 2)
    ]
    starts = [eye - 2 * v @ v.mT for v in axes]
    for number in range(count):
        h = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
        turned = (torch.linalg.det(h) < 0) == bool(number % 2)
        starts.append(h if turned else torch.cat([-h[:1], h[1:]]))
    return starts


def _descend(defect: Callable[[Tensor], Tensor], h: Tensor, tol: float) -> tuple[Tensor, float]:
    """A local minimum of `|defect(h)|` on O(d), by Levenberg and Marquardt."""
    basis = _rotations(len(h))
    residual, damping = defect(h), 1e-2
    for _ in range(STEPS if len(basis) else 0):  # on a line nothing turns
        columns = []
        for A in basis:

            def along(t: Tensor, A: Tensor = A, h: Tensor = h) -> Tensor:
                return defect(h + t * (A @ h))

            zero, one = torch.zeros((), dtype=h.dtype), torch.ones((), dtype=h.dtype)
            columns.append(torch.func.jvp(along, (zero,), (one,))[1].detach())
        J = torch.stack(columns, 1)
        gram, slope, before = J.mT @ J, J.mT @ residual, float(residual.norm())
        if before <= 1e-3 * tol or float(slope.norm()) <= 1e-9 * before:
            break
        for _ in range(8):
            step = torch.linalg.solve(gram + damping * torch.eye(len(gram), dtype=gram.dtype), -slope)
            tried = torch.matrix_exp(torch.einsum("k,kij->ij", step, basis)) @ h
            left = defect(tried)
            if float(left.norm()) < before:
                h, residual, damping = tried, left, max(damping / 5, 1e-12)
                break
            damping *= 5
        else:
            break
        if float(left.norm()) > 0.995 * before:  # a valley floor above zero
            break
    return h, float(residual.norm())


def _rotations(d: int) -> Tensor:
    """An orthonormal basis of so(d), (d (d - 1) / 2, d, d)."""
    basis = torch.zeros(d * (d - 1) // 2, d, d, dtype=torch.float64)
    for number, (i, j) in enumerate(itertools.combinations(range(d), 2)):
        basis[number, i, j], basis[number, j, i] = -(0.5**0.5), 0.5**0.5
    return basis


def _antisymmetric(algebra: Tensor) -> Tensor:
    """An orthonormal basis of the rotations among generators (k, d, d)."""
    if not len(algebra):
        return algebra
    flat = algebra.flatten(1)
    symmetric = (algebra + algebra.mT).flatten(1)
    left, values, _ = torch.linalg.svd(symmetric, full_matrices=True)
    whole = torch.cat([values, values.new_zeros(len(flat) - len(values))])
    kept = left[:, whole < SAME].mT @ flat
    return torch.linalg.qr(kept.mT)[0].mT.unflatten(1, algebra.shape[1:]) if len(kept) else algebra[:0]


def _nearest(h: Tensor, turns: Tensor) -> Tensor:
    """The element of `exp(span of turns) h` that is nearest to the identity: of the largest trace."""
    d = len(h)
    if not len(turns):
        return h
    if len(turns) == d * (d - 1) // 2:  # all rotations
        best = torch.eye(d, dtype=h.dtype)
        best[-1, -1] = torch.linalg.det(h).sign()
        return best
    best = _uphill(h, turns)
    for A in turns:  # from a turn of half the way round too, so that no local maximum holds it
        angles = torch.linspace(-math.pi, math.pi, 13, dtype=h.dtype)[1:] * 2**0.5
        rays = torch.matrix_exp(angles[:, None, None] * A) @ best
        far = _uphill(rays[int(rays.diagonal(dim1=1, dim2=2).sum(1).argmax())], turns)
        best = far if float(far.trace()) > float(best.trace()) + 1e-9 else best
    return best


def _uphill(h: Tensor, turns: Tensor) -> Tensor:
    """A local maximum of the trace on `exp(span of turns) h`, by Newton steps that are kept uphill."""
    products = (turns[:, None] @ turns + turns @ turns[:, None]) / 2
    for _ in range(50):
        slope = torch.einsum("kij,ji->k", turns, h)
        if float(slope.norm()) < 1e-12:
            break
        values, vectors = torch.linalg.eigh(torch.einsum("klij,ji->kl", products, h))
        step = vectors @ ((vectors.mT @ slope) / values.abs().clamp(min=0.3))
        tried = torch.matrix_exp(torch.einsum("k,kij->ij", step, turns)) @ h
        while float(tried.trace()) < float(h.trace()) - 1e-14 and float(step.norm()) > 1e-9:
            step = step / 2
            tried = torch.matrix_exp(torch.einsum("k,kij->ij", step, turns)) @ h
        h = tried
    return h


def _among(h: Tensor, group: Sequence[Tensor], turns: Tensor) -> bool:
    """Whether h lies in one of the cosets."""
    if not len(turns):
        return float((torch.stack(list(group)) - h).flatten(1).norm(dim=1).min()) < NEAR
    eye = torch.eye(len(h), dtype=h.dtype)
    return any(float((_nearest(h @ g.mT, turns) - eye).norm()) < NEAR for g in group)


def _generated(generators: Sequence[Tensor], turns: Tensor) -> list[Tensor]:
    """One element of each coset of the group that the generators make, up to `MOST`."""
    group = [torch.eye(len(generators[0]), dtype=generators[0].dtype)]
    fresh = list(group)
    while fresh and len(group) < MOST:
        products = [g @ h for h in fresh for g in generators]
        fresh = []
        for product in products:
            if not _among(product, group, turns):
                group.append(product)
                fresh.append(product)
    return group


def _order(h: Tensor, turns: Tensor) -> int:
    power = h
    for k in range(1, HIGHEST_ORDER + 1):
        if _among(power, [torch.eye(len(h), dtype=h.dtype)], turns):
            return k
        power = power @ h
    return 0


def _words(h: Tensor) -> str:
    """What an orthogonal matrix does."""
    d, flips = len(h), float(torch.linalg.det(h)) < 0
    values, vectors = torch.linalg.eigh((h + h.mT) / 2)
    if float((h - h.mT).abs().max()) < SAME:  # its own inverse
        turned = vectors[:, values < 0]
        if turned.shape[1] == d:
            return "inversion" if d > 2 else ("rotation by 180°" if d == 2 else "reflection")
        if turned.shape[1] == 1:
            return f"reflection along {_direction(turned[:, 0])}"
    if d > 3:
        return "reflection" if flips else "rotation"
    if d == 2:
        return f"rotation by {math.degrees(abs(math.atan2(float(h[1, 0]), float(h[0, 0])))):.3g}°"
    proper = -h if flips else h
    axis = torch.linalg.eigh((proper + proper.mT) / 2)[1][:, -1]
    angle = math.degrees(math.acos(max(-1.0, min(1.0, (float(proper.trace()) - 1) / 2))))
    turn = f"rotation by {angle:.3g}° about {_direction(axis)}"
    return f"inversion and {turn}" if flips else turn


def _direction(v: Tensor) -> str:
    v = v * torch.where(v[v.abs().argmax()] < 0, -1.0, 1.0)
    return "(" + ", ".join(f"{x:.2f}".replace("-0.00", "0.00") for x in v.tolist()) + ")"

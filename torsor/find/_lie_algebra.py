"""The Lie algebra of the symmetries of a function, from one singular value decomposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Rep
from torsor.find._algebra_report import AlgebraReport, algebra_report
from torsor.find._components import Component, components
from torsor.find._finite import check_finite_elements, check_repeats, check_seen
from torsor.groups import GL, Group
from torsor.groups._precision import full_precision


def lie_algebra(
    f: Callable[[Tensor], Tensor],
    X: Float[Tensor, "n dim_in"],
    rep_in: Rep,
    rep_out: Rep,
    d: int,
    *,
    candidates: Sequence[Group] | None = None,
    tol: float | None = None,
    resamples: int = 100,
    starts: int = 0,
    generator: torch.Generator | None = None,
) -> AlgebraReport:
    """Every linear one-parameter symmetry of a function, exact or approximate, without a list of candidates.

    For `f(exp(tA) x) = exp(tA) f(x)` the derivative `J_f(x) drho_in(A) x - drho_out(A) f(x)` vanishes, and it is linear
    in A in gl(d). Stacked over all x and divided by the size of f it is a matrix, whose null vectors are the symmetry
    algebra; a small singular value is an approximate symmetry, and says how far it is broken. Symmetries that no
    generator reaches, such as reflections and permutations of the axes, are searched among orthogonal matrices if
    `starts` says so.

    Arguments:
        f: takes (n, dim_in), returns (n, dim_out), row by row; differentiable, and the same each time. Only
            Jacobian-vector products are taken; what they call exact is tried at finite elements.
        X: where to look, in float32 or float64: a few times d^2 / dim_out points that the data visit.
        rep_in, rep_out: how matrices of R^d act on inputs and outputs. `T(2)` and `T(1, 1)` differ: for all of gl(d)
            nothing is identified as for orthogonal groups.
        d: dimension of the space.
        candidates: groups of R^d whose breaking is read off too.
        tol: largest singular value that counts as zero; by default 1e4 times the rounding error of the dtype.
        resamples: bootstrap resamples of the points, for the intervals of the singular values.
        starts: random orthogonal matrices from which symmetries without generators are searched, such as 16, beside the
            reflections and exchanges of axes; with 0 nothing is searched.
        generator: of the resamples and the starts; seeded with 0 by default.

    Raises:
        ValueError: shapes that do not fit, NaN, f is 0, tol is not positive; fewer different points than it takes to
            tell d^2 directions apart, or points in a plane; f changes from call to call, or has steps or detached
            parts, so that finite elements disagree with its derivative.
        TypeError: a candidate acts on another space, or X is neither float32 nor float64.

    Source: Otto et al. 2023 (arXiv 2311.00212), section 5, for the null space; Gruver et al. 2023 (arXiv 2210.02984)
    measure the same for a given A.

    >>> import torch
    >>> from torsor import find
    >>> from torsor.actions import Scalar, V
    >>> X = torch.randn(50, 4, dtype=torch.float64)
    >>> force = lambda x: x[:, 3:] * x[:, :3] / x[:, :3].square().sum(1, keepdim=True)
    >>> found = find.lie_algebra(force, X, V + Scalar(), V, d=3, starts=2)
    >>> found.dim, found.name
    (3, 'so(3)')
    >>> [c.words for c in found.components]
    ['reflection along (0.00, 0.00, 1.00)']
    """
    group = GL(d)
    for name, rep in (("rep_in", rep_in), ("rep_out", rep_out)):
        if not isinstance(rep, Rep):
            raise TypeError(f"{name} must be a Rep; got {type(rep).__name__}")
    if X.ndim != 2 or X.shape[1] != rep_in.dim(group) or len(X) == 0:
        raise ValueError(f"X must be (n, {rep_in.dim(group)}) for {rep_in} on R^{d}; got shape {tuple(X.shape)}")
    check_precision("X", X)
    if not bool(X.isfinite().all()):
        raise ValueError("X must be finite; it holds NaN or infinity")
    check_points(len(X.unique(dim=0)), rep_out.dim(group), d * d)
    v = torch.eye(d * d, dtype=torch.float64)
    like = {"dtype": X.dtype, "device": X.device}
    into = rep_in.dmatrix(group, v).to(**like)
    onto = rep_out.dmatrix(group, v).to(**like)
    f = _on_a_copy(f)
    with torch.no_grad():
        out = f(X)
    if not isinstance(out, Tensor) or tuple(out.shape) != (len(X), rep_out.dim(group)):
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"f must return ({len(X)}, {rep_out.dim(group)}) for {rep_out} on R^{d}; got {got}")
    defect = torch.stack([_defect(f, X, out, A, B) for A, B in zip(into, onto, strict=True)], -1)
    moved, turned = (torch.einsum("kij,nj->nik", m, x).flatten(0, 1) for m, x in ((into, X), (onto, out)))
    check_seen(moved, turned, lambda: torch.cat([into.flatten(1).mT, onto.flatten(1).mT]))
    basis = group.basis(torch.float64).to(X.device)
    spans, jumps = [], []
    size = out.norm()

    def jump(h: Tensor) -> Tensor:
        """`(f(h x) - h f(x)) / |f|`, on one axis."""
        moved = f(X @ rep_in.matrix(group, h).to(X).mT)
        return ((moved - out @ rep_out.matrix(group, h).to(X).mT) / size).flatten().double()

    for candidate in candidates or ():
        generators = candidate.basis(torch.float64)  # type: ignore[attr-defined]
        if tuple(generators.shape[1:]) != (d, d):
            raise TypeError(f"candidates must act on R^{d} by matrices; got {candidate}")
        spans.append(generators)
        with torch.no_grad():
            jumps.append(max((float(jump(h).norm()) for h in discrete_matrices(candidate)), default=0.0))
    names = [str(c) for c in candidates or ()]
    random = torch.Generator().manual_seed(0) if generator is None else generator

    def search(algebra: Tensor, limit: float) -> tuple[list[Component], int]:
        return components(jump, d, algebra.cpu(), limit, starts, random)

    def verify(exact: Tensor, limit: float) -> None:
        with torch.no_grad():
            check_finite_elements(jump, exact.to(X), limit)

    return algebra_report(
        defect, out, basis, tol, spans, resamples, random, names=names, jumps=jumps,
        search=search if starts else None, verify=verify,
    )  # fmt: skip


def check_precision(name: str, x: Tensor) -> None:
    """Refuse tensors whose rounding would hide every symmetry that is broken."""
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64; got {x.dtype}")


def check_points(points: int, outputs: int, directions: int) -> None:
    """Refuse fewer equations than unknowns: what no equation sees would pass for a symmetry."""
    if points * outputs < directions:
        raise ValueError(
            f"X must hold at least {-(-directions // outputs)} different points, to tell {directions} directions apart"
            f" by {outputs} numbers at each; got {points}"
        )


def discrete_matrices(group: Group) -> Tensor:
    """Generators of the components of a group as matrices of space, (k, d, d), in float64."""
    h = group.discrete_generators(torch.float64)
    if not isinstance(h, Tensor):
        raise TypeError(f"candidates must act by matrices or permutations of the axes; got {group}")
    if h.is_floating_point():
        return h
    return torch.nn.functional.one_hot(h.long()).mT.double()  # (g x)[g[i]] = x[i]


@full_precision
def _defect(f: Callable[[Tensor], Tensor], X: Tensor, out: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """`J_f(x) A x - B f(x)` for each row, (n, dim_out)."""
    again, moved = torch.func.jvp(f, (X,), (X @ A.mT,))[:2]
    check_repeats(out, again)
    return (moved - out @ B.mT).detach()


def _on_a_copy(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """f, which may change its argument."""
    return lambda x: f(x.clone())

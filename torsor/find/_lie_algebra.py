"""The Lie algebra of the symmetries of a function, from one singular value decomposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Rep
from torsor.find._algebra_report import AlgebraReport, algebra_report
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
    generator: torch.Generator | None = None,
) -> AlgebraReport:
    """Every linear one-parameter symmetry of a function, exact or approximate, without a list of candidates.

    For `f(exp(tA) x) = exp(tA) f(x)` the derivative `J_f(x) drho_in(A) x - drho_out(A) f(x)` vanishes, and it is linear
    in A in gl(d). Stacked over all x and divided by the size of f it is a matrix, whose null vectors are the symmetry
    algebra; a small singular value is an approximate symmetry, and says how far it is broken.

    Arguments:
        f: takes (n, dim_in), returns (n, dim_out), row by row; differentiable. Only Jacobian-vector products are taken.
        X: where to look: a few times d^2 / dim_out points that the data visit.
        rep_in, rep_out: how matrices of R^d act on inputs and outputs. `T(2)` and `T(1, 1)` differ: for all of gl(d)
            nothing is identified as for orthogonal groups.
        d: dimension of the space.
        candidates: groups of R^d whose breaking is read off too.
        tol: largest singular value that counts as zero; by default 1e4 times the rounding error of the dtype.
        resamples: bootstrap resamples of the points, for the intervals of the singular values.
        generator: of the resamples; seeded with 0 by default.

    Raises:
        ValueError: shapes that do not fit, NaN, f is 0, or tol is not positive.
        TypeError: a candidate acts on another space.

    Source: Otto et al. 2023 (arXiv 2311.00212), section 5, for the null space; Gruver et al. 2023 (arXiv 2210.02984)
    measure the same for a given A.

    >>> import torch
    >>> from torsor import find
    >>> from torsor.actions import Scalar, V
    >>> X = torch.randn(50, 4, dtype=torch.float64)
    >>> force = lambda x: x[:, 3:] * x[:, :3] / x[:, :3].square().sum(1, keepdim=True)
    >>> found = find.lie_algebra(force, X, V + Scalar(), V, d=3)
    >>> found.dim, found.name
    (3, 'so(3)')
    """
    group = GL(d)
    for name, rep in (("rep_in", rep_in), ("rep_out", rep_out)):
        if not isinstance(rep, Rep):
            raise TypeError(f"{name} must be a Rep; got {type(rep).__name__}")
    if X.ndim != 2 or X.shape[1] != rep_in.dim(group) or len(X) == 0:
        raise ValueError(f"X must be (n, {rep_in.dim(group)}) for {rep_in} on R^{d}; got shape {tuple(X.shape)}")
    if not bool(X.isfinite().all()):
        raise ValueError("X must be finite; it holds NaN or infinity")
    v = torch.eye(d * d, dtype=torch.float64)
    like = {"dtype": X.dtype, "device": X.device}
    into = rep_in.dmatrix(group, v).to(**like)
    onto = rep_out.dmatrix(group, v).to(**like)
    with torch.no_grad():
        out = f(X)
    if not isinstance(out, Tensor) or tuple(out.shape) != (len(X), rep_out.dim(group)):
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"f must return ({len(X)}, {rep_out.dim(group)}) for {rep_out} on R^{d}; got {got}")
    defect = torch.stack([_defect(f, X, out, A, B) for A, B in zip(into, onto, strict=True)], -1)
    basis = group.basis(torch.float64).to(X.device)
    spans = []
    for candidate in candidates or ():
        generators = candidate.basis(torch.float64)  # type: ignore[attr-defined]
        if tuple(generators.shape[1:]) != (d, d):
            raise TypeError(f"candidates must act on R^{d} by matrices; got {candidate}")
        spans.append(generators)
    names = [str(c) for c in candidates or ()]
    return algebra_report(defect, out, basis, tol, spans, resamples, generator, names=names)


@full_precision
def _defect(f: Callable[[Tensor], Tensor], X: Tensor, out: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """`J_f(x) A x - B f(x)` for each row, (n, dim_out)."""
    moved = torch.func.jvp(f, (X,), (X @ A.mT,))[1]
    return (moved - out @ B.mT).detach()

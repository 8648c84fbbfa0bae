"""The symmetries of a function, a model or data, given how matrices act on inputs and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torsor import _tree
from torsor.find._algebra_report import AlgebraReport, algebra_report
from torsor.find._components import Component, components
from torsor.find._finite import check_finite_elements, check_repeats, check_seen
from torsor.find._lie_algebra import check_points, check_precision
from torsor.find._stand_in import StandIn, stand_in
from torsor.groups import GL, Affine, Group
from torsor.symmetry import Inputs, Symmetry, as_inputs

SPACES = (3, 2, 4, 1, 5, 6)
"""Dimensions of space that are tried, in this order, where nobody says."""


def symmetries(
    f: Callable[..., Any] | tuple[Any, Any],
    X: Inputs | None = None,
    inputs: Any = None,
    output: Any = None,
    *,
    candidates: Sequence[Symmetry | Group] = (),
    d: int | None = None,
    tol: float | None = None,
    samples: int = 8,
    resamples: int = 100,
    starts: int = 4,
    epochs: int = 300,
    seed: int = 0,
) -> AlgebraReport:
    """Which transformations of space leave a function, a model or data as they are, and how exactly.

    `lie_algebra` with the actions of a `Symmetry`: of all matrices of R^d, and of translations too where an input or
    the output is a `Point`. For each candidate the equivariance error over the whole group is measured beside it, which
    sees reflections and permutations of the axes, as no generator does.

    Data (X, Y) in place of a function: two networks are trained on halves of it, and their mean stands in. Where their
    derivatives differ the data do not say what the symmetry is: that is the floor of the levels.

    Arguments:
        f: takes the inputs and returns one tensor, sample by sample, differentiable; or a pair of inputs and targets.
        X: the inputs, as `inputs` says; None where `f` is a pair.
        inputs, output: actions, as in `Symmetry`.
        candidates: groups, or symmetries, whose breaking is measured.
        d: dimension of the space; by default that of the candidates, else the one that the shapes fit.
        tol: largest level that counts as zero.
        samples: elements for each input in the equivariance errors.
        resamples: of the bootstrap.
        starts: random orthogonal matrices from which symmetries that no generator reaches are searched, beside the
            reflections and exchanges of axes; 0 leaves the search out, and so does a function learned from data.
        epochs: passes over the data in the training of the networks that stand in for it.
        seed: of everything that is random.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a space that the shapes leave open.
        TypeError: arguments of the wrong kind.

    Source: as `lie_algebra`.

    >>> import torch
    >>> from torsor import O, Point, Vector, find
    >>> x = torch.randn(60, 2, 3, dtype=torch.float64)
    >>> def pull(x):  # of one point on another
    ...     away = x[:, 1] - x[:, 0]
    ...     return away / away.square().sum(1, keepdim=True)
    >>> found = find.symmetries(pull, x, Point(per="node"), Vector(), candidates=[O(3)])
    >>> found.name, found.breaking[0].inside
    ('so(3) + translations', True)
    """
    learned: StandIn | None = None
    if isinstance(f, tuple):
        if X is not None or len(f) != 2:
            raise TypeError("f must be a function, with X its inputs; or the pair (X, Y) of data, without X")
        X = as_inputs(f[0])
        learned = stand_in(X, f[1], seed, epochs)
        f = learned.call
    if X is None or inputs is None or output is None:
        raise TypeError("symmetries needs X, and the actions of inputs and output")
    X = as_inputs(X)
    f = _on_copies(f)
    named = [c if isinstance(c, Symmetry) else Symmetry(c, inputs, output) for c in candidates]
    law = _everything(X, inputs, output, _space(X, inputs, output, named, d))
    basis = law.group.basis(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    if learned is None:
        out, defect = _defects(f, law, X, basis)
        floor = r2 = None
    else:
        out, defect, floor = _defects_of_two(learned, law, X, basis)
        r2 = learned.r2
    basis = basis / basis.flatten(1).norm(dim=1)[:, None, None]
    errors = [_error(f, s, X, samples, seed) for s in named]
    jumps = [_jump(f, s, X) for s in named]
    groups = [_in_space(s.group, law.group) for s in named]
    names = [str(s.group) for s in named]

    def search(algebra: Tensor, limit: float) -> tuple[list[Component], int]:
        d = law.group.n  # type: ignore[attr-defined]
        turns = [A for A in algebra.cpu() if float(A[:d, d:].norm()) < 1e-3]  # without translations
        linear = torch.stack(turns)[:, :d, :d] if turns else torch.zeros(0, d, d, dtype=torch.float64)
        return components(_defect_at(f, law, X), d, linear, limit, starts, generator)

    @torch.no_grad()
    def verify(exact: Tensor, limit: float) -> None:
        check_finite_elements(_change_at(f, law, X), exact, limit)

    looked = search if starts and learned is None else None
    tried = verify if learned is None else None
    return algebra_report(
        defect, out, basis, tol, groups, resamples, generator, floor, r2, errors, names, jumps, looked, tried
    )


def _different(law: Symmetry, X: Inputs, n: int) -> int:
    """How many of n samples differ; n where their rows are not one for each sample."""
    rows = [x.reshape(len(x), -1).double() for _, x in law.slots(X) if isinstance(x, Tensor) and x.ndim and len(x) == n]
    return len(torch.cat(rows, 1).unique(dim=0)) if rows else n


def _everything(X: Inputs, inputs: Any, output: Any, d: int) -> Symmetry:
    """The symmetry under all matrices, and under translations where there are points."""
    plain = Symmetry(GL(d), inputs, output)
    actions = [a for a, _ in plain.slots(X)] + plain.output_actions
    return Symmetry(Affine(d, GL(d)), inputs, output) if any(a.feels_translation for a in actions) else plain


def _defects(f: Callable[..., Any], law: Symmetry, X: Inputs, basis: Tensor) -> tuple[Tensor, Tensor]:
    """f(X), (n, k), and the derivative of `f(g x) - g f(x)` along each generator, (n, k, directions)."""
    law.check(X, values=True)
    for _, x in law.slots(X):
        if _is_real(x):
            check_precision("X", x)
    with torch.no_grad():
        out = law.call(f, X)
    law.check_output(out, X)
    if not isinstance(out, Tensor):
        raise TypeError(f"f must return one tensor; got {type(out).__name__}")
    check_points(_different(law, X, len(out)), out[0].numel(), len(basis))
    leaf = next(x for _, x in law.slots(X) if _is_real(x))
    eye = torch.eye(basis.shape[-1], dtype=leaf.dtype, device=leaf.device)
    time = torch.zeros((), dtype=leaf.dtype, device=leaf.device)

    def along(A: Tensor, values: Tensor, inputs: Inputs, call: bool) -> tuple[Tensor, ...]:
        """The derivatives of `f(g x)`, of inputs and of the values that move with them; f only where it is called."""

        def curve(t: Tensor) -> tuple[Tensor, ...]:
            g = eye + t * A
            moved = law.act(g, inputs)
            onto = law.act_output(g, values, inputs)
            return (law.call(f, moved) if call else onto), _numbers(law, moved), onto

        here, change = torch.func.jvp(curve, (time,), (torch.ones_like(time),))[:2]
        if call:
            check_repeats(values, here[0])
        return tuple(c.detach() for c in change)

    columns, moved, turned = [], [], []
    for A in basis.to(leaf):
        change, inputs, onto = along(A, out, X, True)
        columns.append((change - onto).reshape(len(onto), -1))
        moved.append(inputs)
        turned.append(onto.flatten())

    def anywhere() -> Tensor:
        """At random numbers in place of inputs and values."""
        with torch.random.fork_rng(devices=[]):
            random = _tree.map(lambda x: torch.randn_like(x) if _is_real(x) else x, (X, out))
        rows = [along(A, random[1], random[0], False)[1:] for A in basis.to(leaf)]
        return torch.stack([torch.cat([x, y.flatten()]) for x, y in rows], -1)

    check_seen(torch.stack(moved, -1), torch.stack(turned, -1), anywhere)
    size = float(basis[0].norm())
    return out.detach().reshape(len(out), -1), torch.stack(columns, -1) / size


def _numbers(law: Symmetry, X: Inputs) -> Tensor:
    """All inputs that are real numbers, on one axis."""
    return torch.cat([x.flatten() for _, x in law.slots(X) if _is_real(x)])


def _is_real(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _on_copies(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, which may change its arguments."""

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _tree.map(lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs))
        return f(*args, **kwargs)

    return call


def _change_at(f: Callable[..., Any], law: Symmetry, X: Inputs) -> Callable[[Tensor], Tensor]:
    """`(f(g x) - g f(x)) / |f|` on one axis, as a function of an element g."""
    with torch.no_grad():
        out = law.call(f, X)
    size = out.double().norm()

    def change(g: Tensor) -> Tensor:
        g = g.to(out)
        return ((law.call(f, law.act(g, X)) - law.act_output(g, out, X)) / size).flatten().double()

    return change


def _defect_at(f: Callable[..., Any], law: Symmetry, X: Inputs) -> Callable[[Tensor], Tensor]:
    """The same as a function of a matrix of space h."""
    change, more = _change_at(f, law, X), law.group.matrix_dim - law.group.n  # type: ignore[attr-defined]
    return lambda h: change(torch.block_diag(h, *torch.eye(more, dtype=h.dtype)))


@torch.no_grad()
def _jump(f: Callable[..., Any], symmetry: Symmetry, X: Inputs) -> float:
    """The largest `|f(h x) - h f(x)| / |f(x)|` among the generators h of the components of a group."""
    group, found = symmetry.group, [0.0]
    out = symmetry.call(f, X)
    rows = group.batch_shape(symmetry.sample(X, generator=torch.Generator().manual_seed(0)))[0]
    h = group.discrete_generators(out.dtype, out.device)
    for i in range(group.batch_shape(h)[0]):
        one = _tree.map(lambda t, i=i: t[i].expand(rows, *t.shape[1:]), h)
        moved = symmetry.call(f, symmetry.act(one, X)) - symmetry.act_output(one, out, X)
        found.append(float(moved.double().norm() / out.double().norm()))
    return max(found)


def _defects_of_two(learned: StandIn, law: Symmetry, X: Inputs, basis: Tensor) -> tuple[Tensor, Tensor, float]:
    """The mean of the defects of both networks, and the largest level of half their difference: the floor."""
    (out, one), (other_out, other) = (_defects(net, law, X, basis) for net in learned.networks)
    mean = (out + other_out) / 2
    half = ((one - other) / 2).double().flatten(0, 1)
    floor = float(torch.linalg.matrix_norm(half, 2) / mean.double().norm())
    return mean, (one + other) / 2, floor


def _error(f: Any, symmetry: Symmetry, X: Inputs, samples: int, seed: int) -> tuple[float, float]:
    from torsor import audit

    less: dict[str, Any] = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
    device = next(x.device for _, x in symmetry.slots(X) if isinstance(x, Tensor))
    generator = torch.Generator(device).manual_seed(seed)
    found = audit.equivariance(f, symmetry, X, samples=samples, generator=generator, **less)
    return found.error, (found.interval[1] - found.interval[0]) / 3.92  # 95 % intervals


def _space(X: Inputs, inputs: Any, output: Any, candidates: Sequence[Symmetry], d: int | None) -> int:
    if d is not None:
        return d
    if candidates:
        return candidates[0].group.n  # type: ignore[attr-defined]
    fitting = []
    for n in SPACES:
        try:
            Symmetry(GL(n), inputs, output).check(X)
            fitting.append(n)
        except (TypeError, ValueError):
            continue
    if len(fitting) != 1:
        raise ValueError(f"d must say the dimension of the space: the shapes of X fit {fitting or 'none of the usual'}")
    return fitting[0]


def _in_space(group: Group, whole: Group) -> Tensor:
    """The generators of a candidate as matrices of the size of `whole`."""
    X = group.basis(torch.float64)  # type: ignore[attr-defined]
    m = whole.matrix_dim  # type: ignore[attr-defined]
    if X.shape[-1] == m - 1:  # linear, beside translations
        X = torch.nn.functional.pad(X, (0, 1, 0, 1))
    if X.shape[-1] != m:
        raise TypeError(f"candidates must act on the space of {whole}; got {group}")
    return X

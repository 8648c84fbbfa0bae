"""Group elements for audits: which one, what kind, how far out, and which part of it."""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor import _tree
from torsor.actions import Element
from torsor.groups import AffineGroup, DirectProduct, Group, Symmetric

_FEW = 48
"""Finite groups of up to this many elements are gone through one by one."""


def pick(g: Element, sample: int) -> Element:
    """The element of one sample, without its batch axis."""
    return _tree.map(lambda t: t[sample], g)


def choose(mask: Bool[Tensor, "samples"], g: Element, h: Element) -> Element:
    """`g` for the samples of the mask, `h` for the others."""
    return _tree.map(lambda a, b: torch.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), g, h)


def each(group: Group, like: Element) -> Iterator[Element]:
    """Every element of a small finite group in turn, for all samples at once; nothing for other groups.

    Arguments:
        group: any group.
        like: elements, one per sample, whose dtype and device to take.
    """
    if group.dim == 0 and group.order is not None and group.order <= _FEW:
        leaf, samples = _tree.leaves(like)[0], group.batch_shape(like)[0]
        elements = group.elements(leaf.dtype if leaf.is_floating_point() else None, leaf.device)
        for k in range(group.order):
            yield _tree.map(lambda t, k=k: t[k].expand(samples, *t.shape[1:]), elements)


def describe(group: Group, g: Element) -> str:
    """One element in words.

    >>> import torch
    >>> from torsor.groups import SE
    >>> describe(SE(2), SE(2).from_parts(torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.tensor([3.0, 4.0])))
    'rotation by 90 degrees, translation by 5'
    """
    if isinstance(group, DirectProduct):
        return " and ".join(describe(f, h) for f, h in zip(group.factors, g, strict=True))
    if isinstance(group, Symmetric):
        return f"permutation {g.tolist()}" if group.n <= 24 else f"permutation of {group.n}"
    if _linear(group, g) is None:
        return f"element of {group}"
    _, stretch, shift = reach(group, g).tolist()
    angles = _angles(group.linear(g)).sort(descending=True).values.tolist()
    small = 1e3 * torch.finfo(g.dtype).eps
    mirrored = float(group.parity(g)) < 0
    words = ["reflection"] if mirrored else []
    angle = max(angles[mirrored:], default=0.0)  # a mirror is one eigenvalue -1
    if angle > small:
        words.append(f"rotation by {math.degrees(angle):.3g} degrees")
    if stretch > small:
        words.append(f"stretch by up to {math.exp(stretch):.3g}")
    if shift > small:
        words.append(f"translation by {shift:.3g}")
    return ", ".join(words) or "identity"


def parts(group: Group) -> dict[str, Callable[[Element], Element]]:
    """The kinds of element that a group has, each with the map that reduces any element to that kind.

    Each factor of a product; translations; the linear part; with mirrors among the elements, rotations and reflections
    apart. Empty where there is only one kind.

    >>> from torsor.groups import E, SO
    >>> list(parts(E(3))), list(parts(SO(3)))
    (['rotations', 'reflections', 'translations'], [])
    """
    if isinstance(group, DirectProduct):
        return _parts_of_product(group)
    if _linear(group, group.identity()) is None:
        return {}
    linear = group.linear_group if isinstance(group, AffineGroup) else group
    still = _without_translation(group)
    kinds: dict[str, Callable[[Element], Element]] = {}
    mirrors = [m for m in group.discrete_generators() if float(group.parity(m)) < 0]
    if mirrors:
        names = ("rotations", "reflections") if linear.is_orthogonal else ("orientation kept", "orientation reversed")
        for name, sign in zip(names, (1, -1), strict=True):
            kinds[name] = functools.partial(_with_parity, group, mirrors[0], sign, still)
    elif isinstance(group, AffineGroup) and linear.order != 1:
        kinds["rotations" if linear.is_orthogonal else "linear maps"] = still
    if isinstance(group, AffineGroup) and kinds:
        kinds["translations"] = lambda g: group.from_parts(
            linear.identity(*group.batch_shape(g)).to(g), g[..., :-1, -1]
        )
    return kinds


@dataclass(frozen=True, eq=False)
class Support:
    """The part of a group in which worst cases are sought: what a few hundred draws of a law reach.

    Turning angle, largest log singular value and length of the translation, for each factor of the group. A law whose
    draws turn nearly all the way round, as Haar's do, sets no limit to the angle.
    """

    group: Group
    limit: Float[Tensor, "reach"]

    def contains(self, g: Element) -> Bool[Tensor, "samples"]:
        """Which elements lie inside."""
        return (reach(self.group, g) <= self.limit * (1 + 1e-3) + 1e-6).all(-1)

    def clip(self, g: Element) -> Element:
        """The elements with translations cut to the longest one inside."""
        return _clip(self.group, g, iter(self.limit.reshape(-1, 3)))

    def __str__(self) -> str:
        names = ("angle up to {:.3g} rad", "stretch up to {:.3g}", "translation up to {:.3g}")
        words = []
        for factor, row in zip(_factors(self.group), self.limit.reshape(-1, 3).tolist(), strict=True):
            row[1] = math.exp(row[1]) if row[1] > 1e-3 else math.inf
            said = [n.format(v) for n, v in zip(names, row, strict=True) if 0 < v < math.inf]
            words.append(f"all of {factor}" if factor.is_finite or not said else " and ".join(said))
        return "; ".join(words)


def support(group: Group, draws: Element) -> Support:
    """The support that many draws of a law reveal."""
    limit = reach(group, draws).amax(0).reshape(-1, 3)
    limit[:, 0] = torch.where(limit[:, 0] > 0.9 * math.pi, math.inf, limit[:, 0])
    return Support(group, limit.reshape(-1))


def reach(group: Group, g: Element) -> Float[Tensor, "*batch reach"]:
    """Turning angle, largest log singular value and length of the translation, for each factor of the group."""
    if isinstance(group, DirectProduct):
        return torch.cat([reach(f, h) for f, h in zip(group.factors, g, strict=True)], -1)
    linear = _linear(group, g)
    if linear is None:
        return torch.zeros(*group.batch_shape(g), 3, device=_tree.leaves(g)[0].device)
    angle, singular = _angles(linear).amax(-1), torch.linalg.svdvals(linear)
    shift = group.translation(g)
    length = torch.zeros_like(angle) if shift is None else shift.norm(dim=-1)
    return torch.stack([angle, singular.log().abs().amax(-1), length], -1)


def _angles(linear: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """The angles of the eigenvalues of the orthogonal polar factor."""
    left, _, right = torch.linalg.svd(linear)
    return torch.linalg.eigvals(left @ right).angle().abs()


def _linear(group: Group, g: Element) -> Tensor | None:
    """The linear parts; None where elements are no matrices, as for permutations."""
    try:
        return group.linear(g)
    except TypeError:
        return None


def _factors(group: Group) -> list[Group]:
    return [leaf for f in group.factors for leaf in _factors(f)] if isinstance(group, DirectProduct) else [group]


def _clip(group: Group, g: Element, limits: Iterator[Tensor]) -> Element:
    if isinstance(group, DirectProduct):
        return tuple(_clip(f, h, limits) for f, h in zip(group.factors, g, strict=True))
    longest = next(limits)[2]
    shift = None if _linear(group, g) is None else group.translation(g)
    if shift is None:
        return g
    length = shift.norm(dim=-1, keepdim=True)
    cut = shift * (longest / length.clamp(min=torch.finfo(g.dtype).tiny)).clamp(max=1)
    return group.from_parts(group.linear(g), cut)  # type: ignore[attr-defined]


def _without_translation(group: Group) -> Callable[[Element], Element]:
    return lambda g: group.from_parts(group.linear(g))  # type: ignore[attr-defined]


def _with_parity(group: Group, mirror: Tensor, sign: int, still: Callable[[Element], Element], g: Tensor) -> Tensor:
    flipped = group.compose(g, mirror.to(g).expand_as(g))
    return still(torch.where((group.parity(g) * sign > 0)[..., None, None], g, flipped))


def _parts_of_product(group: DirectProduct) -> dict[str, Callable[[Element], Element]]:
    kinds: dict[str, Callable[[Element], Element]] = {}
    for place, factor in enumerate(group.factors):
        name = factor.name if factor.name not in kinds else f"{factor.name} [{place}]"
        alone = functools.partial(_alone, group, place)
        kinds[name] = alone
        for kind, reduce in parts(factor).items():
            kinds[f"{name}: {kind}"] = functools.partial(_alone_reduced, alone, place, reduce)
    return kinds


def _alone(group: DirectProduct, place: int, g: tuple) -> tuple:
    def still(factor: Group, h: Tensor) -> Tensor:
        dtype = h.dtype if h.is_floating_point() else None
        return factor.identity(*factor.batch_shape(h), dtype=dtype, device=h.device)

    rows = zip(group.factors, g, strict=True)
    return tuple(h if i == place else still(factor, h) for i, (factor, h) in enumerate(rows))


def _alone_reduced(alone: Callable, place: int, reduce: Callable, g: tuple) -> tuple:
    return tuple(reduce(h) if i == place else h for i, h in enumerate(alone(g)))

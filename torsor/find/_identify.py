"""The name of a Lie algebra of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

SAME = 1e-3


def bracket_defect(generators: Tensor) -> float:
    """How far the brackets of orthonormal generators (k, m, m) are from their span, over the largest bracket."""
    if len(generators) < 2:
        return 0.0
    products = generators[:, None] @ generators
    brackets = (products - products.transpose(0, 1)).flatten(0, 1).flatten(1)
    flat = generators.flatten(1)
    outside = brackets - brackets @ flat.mT @ flat
    largest = brackets.norm(dim=1).max()
    return float(outside.norm(dim=1).max() / largest) if largest > 1e-12 else 0.0


def killing_form(generators: Tensor) -> Tensor:
    """`tr(ad_i ad_j)`, (k, k), of an algebra with orthonormal generators."""
    products = generators[:, None] @ generators
    ad = torch.einsum("ijab,kab->ikj", products - products.transpose(0, 1), generators)
    return torch.einsum("ikl,jlk->ij", ad, ad)


def name_of(generators: Tensor, same: float = SAME) -> str:
    """What an algebra is called: by its dimension, its multiples of the identity and its Killing form.

    Arguments:
        generators: orthonormal, (k, m, m).
        same: how far an entry may be from that of an algebra.

    >>> import torch
    >>> from torsor.groups import SO, Scaling
    >>> turns = SO(3).basis(torch.float64) / 2**0.5
    >>> name_of(torch.cat([turns, torch.eye(3).double()[None] / 3**0.5]))
    'so(3) + scaling'
    >>> name_of(turns[:1]), name_of(turns[:0])
    ('so(2)', 'none')
    """
    if not len(generators):
        return "none"
    m = generators.shape[-1]
    if bracket_defect(generators) > same:
        return f"{len(generators)} generators that are no algebra"
    if bool((generators[:, -1].abs() < same).all()) and m > 1:
        return _affine(generators, same)
    return _linear(generators, same)


def _linear(generators: Tensor, same: float) -> str:
    m = generators.shape[-1]
    one = torch.eye(m, dtype=generators.dtype, device=generators.device)[None] / m**0.5
    rest = _without(generators, one, same)
    if len(rest) == len(generators):
        return _without_scaling(generators, same)
    if len(rest) == m * m - 1:
        return f"gl({m})"
    return f"{_without_scaling(rest, same)} + scaling" if len(rest) else "scaling"


def _without_scaling(generators: Tensor, same: float) -> str:
    k, m = len(generators), generators.shape[-1]
    antisymmetric = bool((generators + generators.mT).abs().max() < same)
    if antisymmetric and k == m * (m - 1) // 2:
        return f"so({m})"
    if k == m * m - 1 and bool(torch.einsum("kii->k", generators).abs().max() < same):
        return f"sl({m})"
    if k == 1:
        if antisymmetric:
            turning = int((torch.linalg.svdvals(generators[0]) > same).sum())
            return "so(2)" if turning == 2 else "one rotation of several planes"
        return "one generator"
    values = torch.linalg.eigvalsh(killing_form(generators))
    scale = values.abs().max().clamp(min=1e-12)
    negative, positive = int((values < -same * scale).sum()), int((values > same * scale).sum())
    if scale < same:
        return f"abelian of dimension {k}" if _commute(generators, same) else f"nilpotent of dimension {k}"
    if negative + positive < k:
        return f"algebra of dimension {k}, not semisimple"
    semisimple = {(3, 0): "so(3)", (6, 0): "so(4)", (10, 0): "so(5)", (1, 2): "sl(2)", (3, 3): "so(1, 3)"}
    known = semisimple.get((negative, positive))
    return known or f"semisimple algebra of dimension {k} (Killing form {negative} -, {positive} +)"


def _commute(generators: Tensor, same: float) -> bool:
    """Whether all generators commute."""
    products = generators[:, None] @ generators
    return bool((products - products.transpose(0, 1)).abs().max() < same)


def _affine(generators: Tensor, same: float) -> str:
    """Homogeneous generators: their linear parts and the translations among them."""
    m = generators.shape[-1]
    shifts = torch.zeros(m - 1, m, m, dtype=generators.dtype, device=generators.device)
    for i in range(m - 1):
        shifts[i, i, -1] = 1
    rest = _without(generators, shifts, same)
    moved = len(generators) - len(rest)
    linear = _orthonormal(rest[:, :-1, :-1], same)
    words = [] if not len(linear) else [_linear(linear, same)]
    if len(rest) and not _has_centre(rest, moved, same):
        words[-1] += " with a shift along it"
    if moved == m - 1:
        words.append("translations")
    elif moved:
        words.append(f"{moved} of {m - 1} translations")
    return " + ".join(words)


def _has_centre(rest: Tensor, moved: int, same: float) -> bool:
    """Whether generators (k, m, m) that are no translations leave one point where it is; with translations beside them
    any shift of theirs is taken for one of those."""
    if moved:
        return True
    rows, shifts = rest[:, :-1, :-1].flatten(0, 1), rest[:, :-1, -1].flatten()
    centre = torch.linalg.lstsq(rows, -shifts[:, None], driver="gelsd").solution
    return bool((rows @ centre + shifts[:, None]).abs().max() < same)


def _without(generators: Tensor, others: Tensor, same: float) -> Tensor:
    """An orthonormal basis of the span of the generators less those of `others` that lie in it."""
    flat, given = generators.flatten(1), others.flatten(1)
    inside = given @ flat.mT
    _, values, right = torch.linalg.svd(inside, full_matrices=True)
    held = int((values > 1 - same).sum())
    return (right[held:] @ flat).unflatten(1, generators.shape[1:])


def _orthonormal(matrices: Tensor, same: float) -> Tensor:
    if not len(matrices):
        return matrices
    _, values, right = torch.linalg.svd(matrices.flatten(1), full_matrices=False)
    return right[values > same].unflatten(1, matrices.shape[1:])

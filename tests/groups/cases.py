"""One line per group that every group must get right: a new group joins all property tests by adding its line."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torsor.groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    Affine,
    Conformal,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    GLPlus,
    Group,
    Lorentz,
    MatrixGroup,
    O,
    Projective2D,
    SAffine,
    Scaling,
    SemidirectProduct,
    Sim,
    Sp,
    Subgroup,
    Symmetric,
    Translation,
    Trivial,
    U,
    embed,
    join,
)

SHEAR = [[[0.0, 1.0], [0.0, 0.0]]]
TRIANGULAR = [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]

GROUPS: list[Group] = [
    Trivial(3),
    Cyclic(1),
    Cyclic(5),
    Dihedral(1),
    Dihedral(4),
    Symmetric(1),
    Symmetric(5),
    Translation(1),
    Translation(3),
    Scaling(1),
    Scaling(3),
    SO(1),
    SO(2),
    SO(3),
    SO(4),
    SO(5),
    O(1),
    O(2),
    O(3),
    O(4),
    SE(1),
    SE(2),
    SE(3),
    SE(4),
    E(1),
    E(2),
    E(3),
    E(4),
    Conformal(3, reflections=True),
    Sim(1),
    Sim(2),
    Sim(3),
    Sim(3, reflections=True),
    GL(1),
    GL(2),
    GL(3),
    GLPlus(1),
    GLPlus(2),
    GLPlus(3),
    SL(1),
    SL(2),
    SL(3),
    Affine(1),
    Affine(2),
    Affine(3),
    Affine(2, linear=GL(2)),
    SAffine(2),
    SAffine(3),
    Lorentz(1, 1),
    Lorentz(1, 3),
    Lorentz(1, 2, component="proper"),
    Lorentz(1, 3, component="orthochronous"),
    Lorentz(1, 3, component="full"),
    Sp(2),
    Sp(4),
    Projective2D(),
    U(1),
    U(3),
    SU(2),
    SU(3),
    SemidirectProduct(2, Cyclic(4)),
    SemidirectProduct(2, Scaling(2)),
    DirectProduct(SO(3), Symmetric(4)),
    DirectProduct(Symmetric(3), Translation(2)),
    DirectProduct(Cyclic(3), Dihedral(2)),
    DirectProduct(DirectProduct(Cyclic(2), SO(2)), O(1)),
    Subgroup(Cyclic(6), (0, 2, 4)),
    Subgroup(Symmetric(3), (0, 3, 4)),
    Subgroup(DirectProduct(Cyclic(2), Symmetric(2)), (0, 3)),
    embed(O(2), (0, 1), 3),
    embed(SE(2), (2, 0), 3),
    embed(Cyclic(3), (1, 2), 3),
    MatrixGroup(SHEAR, name="shears"),
    MatrixGroup(TRIANGULAR, name="triangular"),
    MatrixGroup(discrete=[[[0.0, -1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]]], name="D4 by generators"),
    MatrixGroup([[[0.0, -2.0], [2.0, 0.0]]], [[[1.0, 0.0], [0.0, -1.0]]], name="O(2) by generators"),
    join(embed(SO(2), (0, 1), 3), embed(SO(2), (1, 2), 3)),
    join(Translation(2), SemidirectProduct(2, Cyclic(2))),
]

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
DTYPES = list(TOLERANCE)

every_group = pytest.mark.parametrize("group", GROUPS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])


def draw(group: Group, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """Elements of moderate size, from every component that `sample` or the discrete generators reach."""
    generator = torch.Generator().manual_seed(seed)
    try:
        law = None if group.is_compact else group.default_proposal()
    except TypeError:
        g = group.exp(0.3 * torch.randn(*shape, group.dim, generator=generator, dtype=dtype))
        for h in group.discrete_generators(dtype):
            g = group.compose(g, h) if torch.rand(1, generator=generator) < 0.5 else g
        return g
    return group.sample(*shape, proposal=law, generator=generator, dtype=dtype)


def near(group: Group, *shape: int, seed: int = 0, size: float = 0.4, dtype: torch.dtype = torch.float64) -> Any:
    """Elements of the identity component that have a logarithm."""
    generator = torch.Generator().manual_seed(seed)
    return group.exp(size * torch.randn(*shape, group.dim, generator=generator, dtype=dtype))


def parts(g: Any) -> list[torch.Tensor]:
    """The tensors of an element."""
    return [t for part in g for t in parts(part)] if isinstance(g, tuple) else [g]


def gap(g: Any, h: Any) -> float:
    """How far two elements are apart, relative to their size; shapes and dtypes must agree."""
    worst = 0.0
    for a, b in zip(parts(g), parts(h), strict=True):
        assert a.shape == b.shape, (a.shape, b.shape)
        assert a.dtype == b.dtype, (a.dtype, b.dtype)
        if a.numel():
            kind = torch.complex128 if a.is_complex() else torch.float64
            worst = max(worst, float((a.to(kind) - b.to(kind)).abs().max() / (1 + b.abs().max())))
    return worst

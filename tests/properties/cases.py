"""One list of actions. A new action joins by adding a line."""

from dataclasses import dataclass

import torch

from torsor.actions import (
    Action,
    Image,
    Irreps,
    Jointly,
    Line,
    Nodes,
    Pairs,
    Point,
    PseudoScalar,
    PseudoVector,
    Scalar,
    Tensor,
    V,
    Vector,
)
from torsor.groups import (
    SE,
    SL,
    SO,
    Affine,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    GLPlus,
    Group,
    Lorentz,
    O,
    Scaling,
    Sim,
    Symmetric,
    Translation,
)


@dataclass(frozen=True)
class Case:
    """A group, an action and the shape of one value, without batch axes."""

    group: Group
    action: Action
    shape: tuple[int, ...]
    exact: bool = True
    """False where pixels are resampled."""

    def __str__(self) -> str:
        return f"{self.group}-{self.action}-{self.shape}"


CASES = [
    Case(E(3), Scalar(), (2,)),
    Case(E(3), Point(), (5, 3)),
    Case(E(3), Vector(), (3,)),
    Case(E(3), PseudoScalar(), ()),
    Case(E(3), PseudoVector(), (4, 3)),
    Case(E(3), Tensor(2), (3, 3)),
    Case(E(3), Irreps("2x0e+1x0o+1x1o+1x1e+1x2e"), (14,)),
    Case(E(2), Point(), (2, 3, 2)),
    Case(E(1), Point(), (4, 1)),
    Case(SE(3), Point(), (5, 3)),
    Case(SE(2), Vector(), (5, 2)),
    Case(SO(3), Tensor(1, 1), (2, 3, 3)),
    Case(SO(3), Irreps("1x0e+1x1o+1x3o"), (6, 11)),
    Case(SO(2), Tensor(3), (2, 2, 2)),
    Case(SO(5), Vector(), (5,)),
    Case(O(3), PseudoVector(), (3,)),
    Case(O(3), Line(), (4, 3)),
    Case(O(3), V + 2 * V**2, (21,)),
    Case(O(2), PseudoScalar(), (3,)),
    Case(Translation(3), Point(), (5, 3)),
    Case(Scaling(3), Point(), (5, 3)),
    Case(Sim(3), Point(), (5, 3)),
    Case(Sim(2, reflections=True), Vector(), (2,)),
    Case(GLPlus(2), Tensor(1, 1), (2, 2)),
    Case(GLPlus(3), V.dual, (3,)),
    Case(SL(3), Tensor(0, 2), (3, 3)),
    Case(Affine(2), Point(), (5, 2)),
    Case(Lorentz(1, 3), Vector(), (6, 4)),
    Case(Cyclic(5), Vector(), (3, 2)),
    Case(Dihedral(4), PseudoScalar(), (3,)),
    Case(Cyclic(4), Image(), (2, 5, 5)),
    Case(Dihedral(4), Image(), (1, 6, 6)),
    Case(Cyclic(4), Image(field=Vector()), (2, 5, 5)),
    Case(Symmetric(5), Nodes(-2), (5, 3)),
    Case(Symmetric(5), Nodes(-1), (2, 5)),
    Case(Symmetric(4), Pairs(), (4, 4)),
    Case(DirectProduct(E(3), Symmetric(5)), Jointly((Point(), Nodes(-2))), (5, 3)),
    Case(DirectProduct(SO(3), Symmetric(4)), Jointly((Scalar(), Pairs())), (4, 4)),
    Case(SO(2), Image(), (1, 9, 9), exact=False),
    Case(SE(3), Image(), (1, 7, 7, 7), exact=False),
]

EXACT = [case for case in CASES if case.exact]


def draw(case: Case, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64, seed: int = 0):
    """A value and two elements with these batch axes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((*batch, *case.shape), generator=generator, dtype=dtype)
    g, h = (case.group.sample(*batch, generator=generator, dtype=dtype) for _ in range(2))
    return x, g, h

"""What each group says about itself."""

import pytest
import torch

from tests.groups.cases import GROUPS, draw, every_group
from torsor.groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    Affine,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    GLPlus,
    Lorentz,
    MatrixGroup,
    O,
    Projective2D,
    SAffine,
    Scaling,
    SemidirectProduct,
    Sim,
    Sp,
    Symmetric,
    Translation,
    Trivial,
    U,
    embed,
    join,
)

#        group           dim  compact orthogonal abelian connected unimodular onto affine
FACTS = [
    (Trivial(2), 0, 1, 1, 1, 1, 1, 1, 0),
    (Cyclic(4), 0, 1, 1, 1, 0, 1, 0, 0),
    (Dihedral(2), 0, 1, 1, 1, 0, 1, 0, 0),
    (Dihedral(3), 0, 1, 1, 0, 0, 1, 0, 0),
    (Symmetric(3), 0, 1, 1, 0, 0, 1, 0, 0),
    (Translation(3), 3, 0, 0, 1, 1, 1, 1, 1),
    (Scaling(3), 1, 0, 0, 1, 1, 1, 1, 0),
    (SO(2), 1, 1, 1, 1, 1, 1, 1, 0),
    (SO(3), 3, 1, 1, 0, 1, 1, 1, 0),
    (SO(5), 10, 1, 1, 0, 1, 1, 1, 0),
    (O(1), 0, 1, 1, 1, 0, 1, 0, 0),
    (O(2), 1, 1, 1, 0, 0, 1, 0, 0),
    (SE(1), 1, 0, 0, 1, 1, 1, 1, 1),
    (SE(2), 3, 0, 0, 0, 1, 1, 1, 1),
    (SE(3), 6, 0, 0, 0, 1, 1, 1, 1),
    (E(1), 1, 0, 0, 0, 0, 1, 0, 1),
    (E(3), 6, 0, 0, 0, 0, 1, 0, 1),
    (Sim(2), 4, 0, 0, 0, 1, 0, 1, 1),
    (Sim(3, reflections=True), 7, 0, 0, 0, 0, 0, 0, 1),
    (GL(1), 1, 0, 0, 1, 0, 1, 0, 0),
    (GL(3), 9, 0, 0, 0, 0, 1, 0, 0),
    (GLPlus(1), 1, 0, 0, 1, 1, 1, 1, 0),
    (GLPlus(3), 9, 0, 0, 0, 1, 1, 0, 0),
    (SL(1), 0, 1, 0, 1, 1, 1, 1, 0),
    (SL(2), 3, 0, 0, 0, 1, 1, 0, 0),
    (Affine(1), 2, 0, 0, 0, 1, 0, 1, 1),
    (Affine(2), 6, 0, 0, 0, 1, 0, 0, 1),
    (SAffine(2), 5, 0, 0, 0, 1, 1, 0, 1),
    (Lorentz(1, 1), 1, 0, 0, 1, 1, 1, 1, 0),
    (Lorentz(1, 3), 6, 0, 0, 0, 1, 1, 1, 0),
    (Lorentz(1, 3, component="full"), 6, 0, 0, 0, 0, 1, 0, 0),
    (Sp(4), 10, 0, 0, 0, 1, 1, 0, 0),
    (Projective2D(), 8, 0, 0, 0, 1, 1, 0, 0),
    (U(1), 1, 1, 0, 1, 1, 1, 1, 0),
    (U(2), 4, 1, 0, 0, 1, 1, 1, 0),
    (SU(3), 8, 1, 0, 0, 1, 1, 1, 0),
    (SemidirectProduct(2, Cyclic(4)), 2, 0, 0, 0, 0, 1, 0, 1),
    (DirectProduct(SO(3), Symmetric(3)), 3, 1, 1, 0, 0, 1, 0, 0),
    (DirectProduct(SO(2), Sim(1)), 3, 0, 0, 0, 1, 0, 1, 0),
    (embed(SO(2), (0, 1), 3), 1, 1, 1, 1, 1, 1, 1, 0),
    (embed(SE(2), (0, 1), 3), 3, 0, 0, 0, 1, 1, 1, 1),
    (MatrixGroup([[[0.0, 1.0], [0.0, 0.0]]]), 1, 0, 0, 1, 1, 1, 0, 0),
    (join(SO(3), O(3)), 3, 1, 1, 0, 0, 1, 0, 0),
]


@pytest.mark.parametrize("row", FACTS, ids=lambda row: str(row[0]))
def test_facts(row):
    group = row[0]
    known = (
        group.dim,
        group.is_compact,
        group.is_orthogonal,
        group.is_abelian,
        group.is_connected,
        group.is_unimodular,
        group.exp_is_surjective,
        group.is_affine,
    )
    assert known == row[1:]


@every_group
def test_facts_agree_with_what_the_elements_do(group):
    g, h = draw(group, 20), draw(group, 20, seed=1)
    e = group.identity(20, dtype=torch.float64)
    if group.is_abelian:
        assert group.contains(group.compose(g, h)).all()
        from tests.groups.cases import gap

        assert gap(group.compose(g, h), group.compose(h, g)) <= 1e-12
    if group.is_connected:
        assert (group.parity(g) == 1).all()
    assert group.is_finite == (group.order is not None)
    assert not group.is_finite or group.dim == 0
    if group.is_unimodular:
        assert (group.log_modular(g) == 0).all() or group.log_modular(g).abs().max() <= 1e-12
    if isinstance(g, tuple) or g.is_complex() or not g.is_floating_point():
        return
    assert g.shape[-1] == group.matrix_dim
    assert e.shape[-1] == group.n + group.is_affine or group.name == "Projective2D()"
    if group.is_orthogonal:
        assert (g.mT @ g - e).abs().max() <= 1e-12
    if group.name != "Projective2D()":
        det = torch.linalg.det(group.linear(g))
        assert torch.equal(det.sign(), group.parity(g))
        if group.is_volume_preserving:
            assert (det.abs() - 1).abs().max() <= 1e-11
        t = group.translation(g)
        assert (t is None) == (not group.is_affine)
        assert torch.equal(group.from_parts(group.linear(g), t), g)


@pytest.mark.parametrize("group", [g for g in GROUPS if not g.is_unimodular], ids=str)
def test_modular_function_is_not_constant_where_a_group_is_not_unimodular(group):
    assert group.log_modular(draw(group, 20)).abs().max() > 1e-3


def test_names():
    assert repr(SO(3)) == "SO(3)"
    assert repr(Affine(2, linear=SL(2))) == "Affine(2, SL(2))"
    assert repr(Lorentz(1, 3, component="full")) == "Lorentz(1, 3, 'full')"
    assert repr(DirectProduct(SO(3), DirectProduct(O(1), Symmetric(2)))) == "SO(3) x (O(1) x Symmetric(2))"
    assert repr(embed(O(2), (0, 1), 3)) == "embed(O(2), (0, 1), 3)"


def test_equal_groups_are_one_key():
    assert {SO(3): 1}[SO(3)] == 1
    assert SO(3) != O(3)
    assert SO(2) != SO(3)
    assert Cyclic(4) != Dihedral(4)
    assert Sim(2) != Sim(2, reflections=True)
    assert Affine(2) == Affine(2, linear=GLPlus(2))


COMPONENTS = {
    "proper_orthochronous": [True, False, False, False],
    "orthochronous": [True, True, False, False],
    "proper": [True, False, False, True],
    "full": [True, True, True, True],
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_of_lorentz_groups(component):
    G = Lorentz(1, 3, component=component)
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # identity, P, T, PT
    mirrors = torch.diag_embed(torch.cat([signs, torch.ones(4, 2, dtype=torch.float64)], -1))
    boosts = G.exp(0.5 * torch.randn(4, 6, dtype=torch.float64))
    assert G.contains(boosts @ mirrors).tolist() == COMPONENTS[component]
    g = G.sample(200, dtype=torch.float64)
    assert G.contains(g).all()
    reached = {(int(t), int(d)) for t, d in zip(g[:, 0, 0].sign(), torch.linalg.det(g).sign(), strict=True)}
    assert len(reached) == sum(COMPONENTS[component])

"""Groups from generators, groups on some of the axes, homographies."""

import pytest
import torch

from tests.groups.cases import draw, gap, near
from torsor.groups import (
    SE,
    SL,
    SO,
    Cyclic,
    E,
    MatrixGroup,
    O,
    Projective2D,
    Scaling,
    SemidirectProduct,
    Sp,
    Translation,
    Trivial,
    embed,
    join,
)

f64 = torch.float64


def test_embedded_elements_leave_the_other_axes_alone():
    G = embed(SO(2), axes=(2, 0), n=4)
    g = G.exp(torch.tensor([torch.pi / 2], dtype=f64))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=f64)
    torch.testing.assert_close(g @ x, torch.tensor([3.0, 2.0, -1.0, 4.0], dtype=f64))
    assert G.linear(g).shape == (4, 4)
    assert not G.contains(SO(4).sample(dtype=f64))


def test_embedded_affine_groups_translate_along_their_axes():
    G = embed(SE(2), axes=(2, 0), n=3)
    g = G.exp(torch.tensor([0.0, 5.0, 7.0], dtype=f64))
    torch.testing.assert_close(G.translation(g), torch.tensor([7.0, 0.0, 5.0], dtype=f64))
    assert torch.equal(G.from_parts(G.linear(g), G.translation(g)), g)
    assert not G.contains(Translation(3).exp(torch.tensor([0.0, 1.0, 0.0], dtype=f64)))


@pytest.mark.parametrize(
    ("groups", "same"),
    [
        ([embed(SO(2), (0, 1), 3), embed(SO(2), (1, 2), 3)], SO(3)),
        ([embed(O(2), (0, 1), 3), embed(O(2), (1, 2), 3), embed(O(2), (0, 2), 3)], O(3)),
        ([embed(SO(3), (0, 1, 2), 4), embed(SO(2), (2, 3), 4)], SO(4)),
        ([SO(2), MatrixGroup([[[1.0, 0.0], [0.0, -1.0]]])], SL(2)),
        ([Translation(3), embed(SE(2), (0, 1), 3), embed(SE(2), (1, 2), 3)], SE(3)),
        ([SE(2), SemidirectProduct(2, O(2))], E(2)),
    ],
    ids=lambda x: str(x),
)
def test_joined_groups_are_the_groups_they_generate(groups, same):
    G = join(*groups)
    assert (G.dim, G.n, G.is_affine, G.is_compact) == (same.dim, same.n, same.is_affine, same.is_compact)
    assert (G.is_connected, G.is_unimodular) == (same.is_connected, same.is_unimodular)
    basis = G.basis(f64)
    assert gap(same.hat(same.vee(basis)), basis) <= 1e-12
    torch.testing.assert_close(basis.flatten(1) @ basis.flatten(1).mT, torch.eye(G.dim, dtype=f64))
    g = near(same, 10)
    assert G.contains(g, atol=1e-9).all()
    assert same.contains(draw(G, 10), atol=1e-9).all()


def test_groups_that_do_nothing_generate_one_that_does_nothing():
    assert join(Trivial(3), Trivial(3)) == Trivial(3)
    assert join(Trivial(3), SO(3)).dim == 3


def test_membership_by_generators_sees_components_and_strangers():
    G = MatrixGroup(SO(2).basis(), O(2).discrete_generators(), name="O(2)")
    assert G.contains(O(2).sample(20, dtype=f64), atol=1e-9).all()
    assert not G.contains(1.1 * torch.eye(2, dtype=f64))
    rotations = MatrixGroup(SO(2).basis())
    g = O(2).sample(50, dtype=f64)
    assert torch.equal(rotations.contains(g, atol=1e-9), O(2).parity(g) > 0)


def test_generators_are_kept_as_they_were_given():
    basis = torch.tensor([[[0.0, -2.0], [2.0, 0.0]]])
    G = MatrixGroup(basis, name="fast")
    assert torch.equal(G.basis(), basis)
    torch.testing.assert_close(G.exp(torch.tensor([0.5])), SO(2).exp(torch.tensor([1.0])))
    assert MatrixGroup(basis.numpy(), name="fast") == G
    assert MatrixGroup(basis, name="slow") != G


def test_facts_of_generated_groups():
    lattice = MatrixGroup(discrete=[[[2.0, 0.0], [0.0, 0.5]]], name="powers")
    assert (lattice.order, lattice.is_compact, lattice.is_finite) == (None, False, False)
    assert lattice.is_volume_preserving
    stretch = MatrixGroup([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    assert (stretch.is_unimodular, stretch.is_volume_preserving, stretch.is_abelian) == (False, False, False)
    assert MatrixGroup(Sp(2).basis()).is_unimodular
    assert MatrixGroup(Scaling(2).basis()).is_abelian
    quarter = MatrixGroup(discrete=Cyclic(4).elements()[1:2], name="C4")
    assert (quarter.order, quarter.is_abelian, quarter.is_compact) == (4, True, True)


def test_homographies_move_points():
    G = Projective2D()
    g, h = near(G, 2, 1)[:, None], near(G, 2, 1, seed=1)[:, None]
    x = torch.randn(7, 2, dtype=f64)
    torch.testing.assert_close(G.move(g, G.move(h, x)), G.move(G.compose(g, h), x))
    torch.testing.assert_close(G.move(G.inverse(g), G.move(g, x)), x.expand(2, 1, 7, 2))
    shift = torch.eye(3, dtype=f64)
    shift[:2, 2] = torch.tensor([3.0, 4.0])
    torch.testing.assert_close(G.move(shift, x), x + torch.tensor([3.0, 4.0], dtype=f64))

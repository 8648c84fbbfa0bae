"""Finite groups: lists, tables, permutations, subgroups."""

import math

import pytest
import torch

from tests.groups.cases import GROUPS, gap, parts
from torsor.groups import (
    SO,
    Cyclic,
    Dihedral,
    DirectProduct,
    MatrixGroup,
    O,
    Subgroup,
    Symmetric,
    Translation,
    Trivial,
    embed,
)

FINITE = [g for g in GROUPS if g.is_finite]
every_finite_group = pytest.mark.parametrize("group", FINITE, ids=str)
f64 = torch.float64


@every_finite_group
def test_list_of_elements(group):
    g = group.elements(f64)
    assert group.batch_shape(g) == (group.order,)
    assert torch.equal(group.index_of(g), torch.arange(group.order))
    assert group.contains(g).all()
    first = tuple(t[0] for t in parts(g))
    assert gap(first, tuple(parts(group.identity(dtype=f64)))) <= 1e-15


@every_finite_group
def test_multiplication_table_is_that_of_a_group(group):
    table, order = group.multiplication_table(), torch.arange(group.order)
    assert table.shape == (group.order, group.order)
    assert torch.equal(table.sort(0).values, order[:, None].expand_as(table))
    assert torch.equal(table.sort(1).values, order.expand_as(table))
    assert torch.equal(table[0], order)
    assert torch.equal(table[table], table[:, table].movedim(0, 0))
    inverses = group.index_of(group.inverse(group.elements(f64)))
    assert (table[order, inverses] == 0).all()
    assert bool((table == table.mT).all()) == group.is_abelian


@every_finite_group
def test_samples_are_uniform(group):
    n = 400 * group.order
    counts = torch.bincount(group.index_of(group.sample(n)), minlength=group.order)
    chi = ((counts - 400.0) ** 2 / 400).sum()
    assert chi <= group.order + 6 * math.sqrt(2 * group.order)


@every_finite_group
def test_generators_generate_all_of_it(group):
    table = group.multiplication_table()
    generators = group.index_of(group.discrete_generators(f64))
    found = {0}
    while True:
        larger = found | {int(table[h, g]) for h in generators.tolist() for g in found}
        if larger == found:
            break
        found = larger
    assert found == set(range(group.order))


def test_rotations_of_the_square_have_exact_entries():
    assert set(Dihedral(4).elements().flatten().tolist()) == {0.0, 1.0, -1.0}
    assert set(Cyclic(8).elements(f64)[::2].flatten().tolist()) == {0.0, 1.0, -1.0}


def test_sense_of_rotation():
    quarter = Cyclic(4).elements()[1]
    assert torch.equal(quarter @ torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(Cyclic(5).elements(f64)[1], SO(2).exp(torch.tensor([2 * math.pi / 5], dtype=f64)))
    torch.testing.assert_close(Dihedral(3).elements()[3], torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    assert Dihedral(3).parity(Dihedral(3).elements()).tolist() == [1, 1, 1, -1, -1, -1]


def test_permutations_move_x_i_to_place_g_i():
    S, g, h = Symmetric(4), torch.tensor([1, 2, 0, 3]), torch.tensor([3, 1, 0, 2])
    x = torch.tensor([10.0, 11.0, 12.0, 13.0])

    def move(g, x):
        y = torch.empty_like(x)
        y[g] = x
        return y

    assert torch.equal(move(g, move(h, x)), move(S.compose(g, h), x))
    assert S.compose(g, h).tolist() == [3, 2, 1, 0]
    assert S.compose(h, g).tolist() == [1, 0, 3, 2]
    assert torch.equal(move(g, x), x[S.inverse(g)])
    assert torch.equal(S.matrix(g) @ x, move(g, x))
    assert torch.equal(S.matrix(S.compose(g, h)), S.matrix(g) @ S.matrix(h))
    assert S.parity(g) == 1
    assert S.parity(torch.tensor([1, 0, 2, 3])) == -1


def test_parity_of_permutations_is_their_determinant():
    S = Symmetric(5)
    g = S.elements()
    torch.testing.assert_close(S.parity(g), torch.linalg.det(S.matrix(g)))


def test_index_of_a_permutation_needs_no_list():
    S = Symmetric(20)
    assert S.index_of(S.identity()) == 0
    assert S.index_of(S.identity().flip(0)) == math.factorial(20) - 1


def test_nearest_permutation_is_the_ranking():
    assert Symmetric(4).project(torch.tensor([0.3, -2.0, 9.0, 1.0])).tolist() == [1, 0, 3, 2]


def test_permutations_have_no_linear_part_but_matrices():
    with pytest.raises(TypeError, match="has no linear part"):
        Symmetric(3).linear(torch.arange(3))
    assert Symmetric(3).translation(torch.arange(3)) is None


def test_permutations_refuse_what_is_no_list_of_indices(plain):
    with pytest.raises(TypeError, match="must be a tensor of indices"):
        Symmetric(3).inverse(torch.randn(3))
    with pytest.raises(ValueError, match=r"g must be \(..., 3\) for Symmetric\(3\); got shape \(4,\)"):
        Symmetric(3).inverse(torch.arange(4))
    assert Symmetric(3).contains(torch.tensor([[0, 1, 1], [2, 1, 0]])).tolist() == [False, True]
    with pytest.raises(ValueError, match="too many"):
        Symmetric(12).elements()


def test_subgroups():
    A3 = Subgroup(Symmetric(3), (4, 0, 3))
    assert A3.order == 3
    assert A3.parity(A3.elements()).tolist() == [1, 1, 1]
    assert A3.contains(Symmetric(3).elements()).tolist() == [True, False, False, True, True, False]
    with pytest.raises(ValueError, match="is not closed"):
        Subgroup(Symmetric(3), (0, 1, 2))
    with pytest.raises(ValueError, match="contain 0"):
        Subgroup(Cyclic(4), (1, 2))
    with pytest.raises(TypeError, match="must be a finite group"):
        Subgroup(SO(3), (0,))


def test_groups_that_are_not_finite_have_no_lists():
    for group in (SO(2), Translation(1), DirectProduct(SO(2), Cyclic(3))):
        assert group.order is None
        for method in (group.elements, group.multiplication_table):
            with pytest.raises(TypeError, match="not finite"):
                method()
        with pytest.raises(TypeError, match="not finite"):
            group.index_of(group.identity())


def test_orders():
    assert [g.order for g in (Trivial(2), SO(1), O(1), Cyclic(6), Dihedral(6), Symmetric(4))] == [1, 1, 2, 6, 12, 24]
    assert DirectProduct(Cyclic(2), Symmetric(3)).order == 12
    assert embed(Dihedral(3), (0, 2), 3).order == 6
    turns = [[[0, -1.0, 0], [1, 0, 0], [0, 0, 1]], [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]]
    cube = MatrixGroup(discrete=turns, name="rotations of the cube")
    assert cube.order == 24
    assert cube.is_compact
    assert not cube.is_abelian

"""Reflections, permutations and finite rotations: found without a list, and asked of every candidate."""

import math

import pytest
import torch

from torsor import Scalar, Vector, find
from torsor.actions import V
from torsor.groups import SO, Cyclic, O, Symmetric, embed


def points(n=12, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def searched(f, d=3, starts=6, **how):
    return find.lie_algebra(f, points(d=d), V, V, d, starts=starts, resamples=2, **how)


def test_the_cube_is_found():
    found = searched(lambda x: x**3)
    assert (found.dim, found.count) == (0, 48)
    for component in found.components:
        h = torch.tensor(component.matrix, dtype=torch.float64)
        assert torch.allclose(h.abs().sort()[0], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), atol=1e-6)
        assert component.error < 1e-11
        assert torch.allclose(torch.linalg.matrix_power(h, component.order), torch.eye(3).double(), atol=1e-6)


def test_of_squares_the_permutations_are_left():
    found = searched(lambda x: x**2, candidates=[Symmetric(3), O(3)], starts=1)
    assert found.count == 6
    assert [b.inside for b in found.breaking] == [True, False]
    turned = searched(lambda x: x**2 * torch.tensor([1.0, 1.0, 2.0]), candidates=[Symmetric(3)], starts=0)
    assert turned.components is None
    assert not turned.breaking[0].inside
    assert turned.breaking[0].level == 0  # no generator sees it
    assert "broken by" in turned.words


def test_beside_rotations_about_an_axis_there_is_one_reflection():
    def law(x):
        return torch.cat([x[:, :2], x[:, 2:] ** 2], 1) * x[:, :2].square().sum(1, keepdim=True)

    found = searched(law, candidates=[embed(O(2), (0, 1), 3), O(3)], starts=4)
    assert (found.name, found.count, len(found.components)) == ("so(2)", 2, 1)
    assert found.components[0].words.startswith("reflection along")
    assert [b.inside for b in found.breaking] == [True, False]


def test_three_fold_symmetry_in_the_plane():
    def swirl(x):
        return torch.stack([x[:, 0] ** 2 - x[:, 1] ** 2, -2 * x[:, 0] * x[:, 1]], 1)

    found = searched(swirl, 2, candidates=[Cyclic(3), Cyclic(4)])
    assert found.count == 6
    assert [b.inside for b in found.breaking] == [True, False]


def test_a_reflection_is_asked_of_candidates_that_have_one():
    def cross(x):
        return torch.linalg.cross(x[:, :3], x[:, 3:])

    found = find.lie_algebra(cross, points(d=6), 2 * V, V, 3, candidates=[SO(3), O(3)], starts=2, resamples=2)
    assert found.name == "so(3)"
    assert found.components == ()
    assert [b.inside for b in found.breaking] == [True, False]
    assert math.isclose(found.breaking[1].jump, 2.0)


def test_the_front_searches_too():
    found = find.symmetries(
        lambda a, s: a * a.square().sum(1, keepdim=True) * s,
        (points(), points(d=1)),
        (Vector(), Scalar()),
        Vector(),
        candidates=[O(3)],
        resamples=2,
        d=3,
    )
    assert (found.name, found.count) == ("so(3)", 2)
    assert found.components[0].words == "reflection along (0.00, 0.00, 1.00)"
    assert found.records()[-1]["kind"] == "order 2"


def test_nothing_is_found_where_there_is_nothing():
    found = searched(lambda x: torch.tanh(x @ points(3, seed=1) + 1), starts=2)
    assert (found.dim, found.count, found.components) == (0, 1, ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_points_in_a_type_that_tells_nothing_apart_are_refused(dtype, plain):
    with pytest.raises(TypeError, match="X must be float32 or float64"):
        find.lie_algebra(lambda x: x, points().to(dtype), V, V, 3)


def test_a_repeated_point_is_one_point():
    with pytest.raises(ValueError, match="at least 3 different points"):
        find.lie_algebra(lambda x: x, points(1).expand(40, 3), V, V, 3)
    with pytest.raises(ValueError, match="at least 3 different points"):
        find.symmetries(lambda x: x, points(1).expand(40, 3), Vector(), Vector(), d=3)


def test_targets_that_are_all_zero_say_nothing():
    with pytest.raises(ValueError, match="not all 0"):
        find.symmetries((points(40), torch.zeros(40, 3).double()), None, Vector(), Vector(), d=3)

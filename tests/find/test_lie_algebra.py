"""The algebra of a law: rediscovered without candidates, and the level at which it is broken."""

import pytest
import torch

from torsor import find
from torsor.actions import Scalar, T, V
from torsor.data import inertia_law

REPS = 5 * Scalar() + 5 * V


def points(n=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mass = torch.nn.functional.softplus(torch.randn(n, 5, generator=generator, dtype=torch.float64))
    return torch.cat([mass, torch.randn(n, 15, generator=generator, dtype=torch.float64)], 1)


def found(alpha, **options):
    return find.lie_algebra(inertia_law(5, alpha), points(), REPS, T(2), d=3, **options)


def test_rotations_and_a_scaling_that_nobody_listed_are_found_on_the_inertia_law():
    report = found(0.0)
    assert report.dim == 4
    assert report.name == "so(3) + scaling"
    assert report.levels[:4].max() <= 1e-14
    assert report.levels[4:].min() >= 1.4
    assert report.closure < 1e-12


@pytest.mark.parametrize(("alpha", "level"), [(0.01, 0.0022), (0.1, 0.0211), (0.3, 0.056), (-1.0, 0.36)])
def test_the_level_of_breaking_is_read_off(alpha, level):
    report = found(alpha)
    assert report.dim == 2
    assert report.name == "so(2) + scaling"
    assert report.levels[:2].max() <= 1e-14
    assert report.levels[2:4].tolist() == pytest.approx([level, level], rel=0.15)
    assert report.approximate == 2
    if alpha != -1:  # with a whole column struck out the other two generators are rotations no more
        assert report.approximate_name == "so(3) + scaling"

"""Excursions of errors along orbits."""

import json
import math

import pytest
import torch

from torsor import SO, Scalar, Symmetry, Translation, Vector
from torsor.actions import Point
from torsor.persistence import equivariance_error, orbit_persistence

PLANE = Symmetry(SO(2), Vector(), Scalar())
ONE = torch.ones(1, dtype=torch.float64)


def cloud(n):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def bumps(k):
    """An error that is above 1/2 on k arcs of the circle, each a quarter of its share."""

    def error(g, inputs):
        (x,) = inputs
        moved = (g @ x[..., None])[..., 0]
        return (torch.cos(k * torch.atan2(moved[:, 1], moved[:, 0])) > math.cos(math.pi / 4)).double()

    return error


@pytest.mark.parametrize("k", [1, 3, 8])
def test_arcs_on_a_closed_orbit_are_counted_round_the_circle(k):
    found = orbit_persistence(bumps(k), PLANE, ONE, cloud(10), 0.5, n_steps=160)
    assert found.periodic
    assert (len(found.arcs), len(found.gaps)) == (10 * k, 10 * k)
    assert found.share == pytest.approx(0.25, abs=0.03)
    assert found.step * float(found.arcs.mean()) == pytest.approx(2 * math.pi / k / 4, rel=0.1)
    assert int(found.arcs.sum() + found.gaps.sum()) == 10 * 160  # nothing is censored


def test_invariant_functions_have_no_arcs():
    found = orbit_persistence(
        equivariance_error(lambda v: v.norm(dim=-1, keepdim=True), PLANE), PLANE, ONE, cloud(5), 1e-9, n_steps=32
    )
    assert len(found.arcs) == 0
    assert found.words.startswith("No complete violation: 0%")


def test_open_orbits_leave_out_their_first_and_last_run():
    line = Symmetry(Translation(1), Point(), Scalar())
    x = torch.zeros(2, 3, 1, dtype=torch.float64)

    def error(g, inputs):
        return torch.sin(line.group.translation(g)[..., 0])

    found = orbit_persistence(error, line, ONE, x, 0.0, n_steps=151, length=6 * math.pi)
    assert not found.periodic
    assert len(found.arcs) == 4  # of two samples with three half-waves above, one of them at the start
    assert found.step == pytest.approx(6 * math.pi / 150)
    assert found.step * float(found.gaps.mean()) == pytest.approx(math.pi, rel=0.02)


def test_spikes_and_bands_are_told_apart():
    def spikes(g, inputs):
        noise = torch.rand(200, generator=generator, dtype=torch.float64)
        return noise

    generator = torch.Generator().manual_seed(0)
    found = orbit_persistence(spikes, PLANE, ONE, cloud(200), 0.9, n_steps=64)
    assert "isolated spikes" in found.words
    assert found.law is not None
    assert float(found.arcs.mean()) == pytest.approx(1 / 0.9, rel=0.05)
    assert found.p_value > 1e-3
    assert "in bands" in orbit_persistence(bumps(2), PLANE, ONE, cloud(40), 0.5).words


def test_the_law_of_independent_intervals_fits_what_it_came_from(generator):
    omega = torch.arange(1, 25, dtype=torch.float64)
    phase = 2 * math.pi * torch.rand(100, 24, generator=generator, dtype=torch.float64)
    size = torch.exp(-((omega / 8) ** 2) / 2)

    def field(g, inputs):
        angle = torch.atan2(g[:, 1, 0], g[:, 0, 0])
        return (size * torch.cos(omega * angle[:, None] + phase)).sum(1)

    found = orbit_persistence(field, PLANE, ONE, cloud(100), 1.5, n_steps=256)
    assert float(found.law.mean) == pytest.approx(float(found.arcs.mean()), rel=0.1)
    k = torch.tensor([2.0, 5.0, 10.0], dtype=torch.float64)
    empirical = torch.stack([(found.arcs > t).double().mean() for t in k])
    torch.testing.assert_close(found.law.sf(k), empirical, rtol=0, atol=0.08)


def test_reports_print_and_serialise():
    found = orbit_persistence(bumps(3), PLANE, ONE, cloud(20), 0.5)
    assert "Violations along orbits of SO(2): 60 arcs above 0.5" in str(found)
    assert json.loads(found.to_json())["records"][0]["number"] == 60
    assert "<table>" in found.to_html()


def test_rotations_of_space_close_as_well():
    space = Symmetry(SO(3), Vector(), Vector())
    v = torch.randn(6, 3, dtype=torch.float64)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    found = orbit_persistence(
        equivariance_error(lambda v: v * torch.tensor([1.0, 2.0, 1.0]), space), space, axis, v, n_steps=64
    )
    assert found.periodic
    assert found.level == pytest.approx(2 * float(found.errors.median()))


def test_the_p_value_of_the_longest_arc_counts_all_arcs():
    found = orbit_persistence(bumps(4), PLANE, ONE, cloud(40), 0.5, n_steps=64)
    tail = float(found.law.sf(found.arcs.max() - 1))
    assert found.p_value == pytest.approx(1 - (1 - tail) ** 160)

import math

import numpy as np
import pytest
import torch

from torsor import E
from torsor.data import resolve_charges, simulate_charges


def scenes(count: int, seed: int = 0, n: int = 5, d: int = 3):
    g = torch.Generator().manual_seed(seed)
    x, v = (torch.randn(count, n, d, generator=g, dtype=torch.float64) for _ in range(2))
    q = torch.randint(0, 2, (count, n, 1), generator=g).double() * 2 - 1
    return x, v / v.norm(dim=-1, keepdim=True) / 2, q


def close_scenes(count: int):
    """Scenes in which somebody is so near that the published bound on the force matters."""
    x, v, q = scenes(count)
    x[:, 1] = x[:, 0] + torch.tensor([0.05, 0.06, 0.02])
    return x, v, q


def energy(x, v, q):
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 1)
    apart = (x[..., i, :] - x[..., j, :]).norm(dim=-1)
    return v.square().sum((-2, -1)) / 2 + (q[..., i, 0] * q[..., j, 0] / apart).sum(-1)


def published(x, v, q, steps, dt=1e-3, bound=100.0):
    """The loop of the published program, for one scene of arrays (3, n), force by force."""
    x, v, edges = x.T.copy(), v.T.copy(), q @ q.T

    def force():
        square = (x.T**2).sum(1)[:, None] + (x.T**2).sum(1)[None] - 2 * x.T @ x
        np.fill_diagonal(square, 1)
        sizes = edges / square**1.5
        np.fill_diagonal(sizes, 0)
        total = (sizes[None] * np.stack([np.subtract.outer(x[k], x[k]) for k in range(3)])).sum(-1)
        return np.clip(total, -bound, bound)

    v += dt * force()
    for step in range(1, steps + 1):
        x += dt * v
        if step == steps:
            return x.T, v.T
        v += dt * force()


def test_the_simulator_follows_the_published_program():
    x, v, q = close_scenes(4)
    end_x, end_v = simulate_charges(x, v, q, 150)
    for k in range(4):
        expected_x, expected_v = published(x[k].numpy(), v[k].numpy(), q[k].numpy(), 150)
        np.testing.assert_allclose(end_x[k], expected_x, atol=1e-9)
        np.testing.assert_allclose(end_v[k], expected_v, atol=1e-9)


def test_two_runs_in_a_row_are_one_run_bit_for_bit():
    x, v, q = scenes(20)
    whole = simulate_charges(x, v, q, 70)
    parts = simulate_charges(*simulate_charges(x, v, q, 30), q, 40)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts))


@pytest.mark.parametrize("advance", [lambda *s: simulate_charges(*s, 40), lambda *s: resolve_charges(*s, 0.3)])
def test_a_scene_does_not_feel_which_others_are_computed_beside_it(advance):
    x, v, q = scenes(50)
    whole = advance(x, v, q)
    few = advance(x[7:10], v[7:10], q[7:10])
    assert all(torch.equal(a[7:10], b) for a, b in zip(whole, few))


def test_batch_axes_and_dtype_are_kept_and_the_arguments_untouched():
    x, v, q = scenes(6, n=3, d=2)
    args = [t.float().reshape(2, 3, *t.shape[1:]) for t in (x, v, q)]
    before = [t.clone() for t in args]
    for end, _ in (simulate_charges(*args, 5), resolve_charges(*args, 0.01)):
        assert end.shape == (2, 3, 3, 2)
        assert end.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(args, before))
    single = simulate_charges(x[0], v[0], q[0], 5)[0]
    torch.testing.assert_close(single.float(), simulate_charges(*args, 5)[0][0, 0])


def test_no_step_and_no_time_change_nothing_and_one_particle_goes_straight():
    x, v, q = scenes(3)
    assert torch.equal(simulate_charges(x, v, q, 0)[0], x)
    assert torch.equal(resolve_charges(x, v, q, 0.0)[0], x)
    alone = x[:, :1], v[:, :1], q[:, :1]
    torch.testing.assert_close(simulate_charges(*alone, 100)[0], x[:, :1] + 0.1 * v[:, :1])
    torch.testing.assert_close(resolve_charges(*alone, 0.1)[0], x[:, :1] + 0.1 * v[:, :1])


@pytest.mark.parametrize("clip", ["norm", None])
def test_without_the_bound_on_components_the_simulator_is_symmetric(clip):
    x, v, q = close_scenes(8)
    g = E(3).sample(8, dtype=torch.float64)
    turn, shift = E(3).linear(g), E(3).translation(g)
    end, _ = simulate_charges(x, v, q, 60, clip=clip)
    moved, _ = simulate_charges(x @ turn.mT + shift[:, None], v @ turn.mT, q, 60, clip=clip)
    torch.testing.assert_close(moved, end @ turn.mT + shift[:, None], rtol=0, atol=1e-11)


def test_the_bound_on_components_breaks_rotations_and_both_bounds_bound():
    x, v, q = close_scenes(8)
    turn = torch.linalg.qr(torch.randn(8, 3, 3, dtype=torch.float64))[0]
    end, end_v = simulate_charges(x, v, q, 1)
    moved, _ = simulate_charges(x @ turn.mT, v @ turn.mT, q, 1)
    assert ((moved @ turn - end).abs().amax((1, 2)) > 1e-6).all()
    kick = (end_v - v) / 1e-3
    assert kick.abs().max() == pytest.approx(100)
    kick = (simulate_charges(x, v, q, 1, clip="norm", max_force=30.0)[1] - v) / 1e-3
    assert kick.norm(dim=-1).max() == pytest.approx(30)


@pytest.mark.parametrize("radius", [1.0, 1e-3])
def test_circles_close_however_narrow_they_are(radius):
    speed = math.sqrt(1 / (4 * radius))
    x = torch.tensor([[radius, 0.0], [-radius, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.0, speed], [0.0, -speed]], dtype=torch.float64)
    q = torch.tensor([[1.0], [-1.0]])
    end_x, end_v = resolve_charges(x, v, q, 2 * math.pi * radius / speed)
    torch.testing.assert_close(end_x, x, rtol=0, atol=1e-7 * radius)
    torch.testing.assert_close(end_v, v, rtol=0, atol=1e-7 * speed)


def test_energy_is_conserved_through_close_encounters():
    start = scenes(32)
    end = resolve_charges(*start, 1.0)
    drift = (energy(*end, start[2]) - energy(*start)).abs()
    assert drift.median() < 1e-7
    assert drift.max() < 1e-4
    assert (simulate_charges(*start, 1000)[0] - end[0]).abs().median() < 1e-2  # the same law


def test_a_narrow_ellipse_closes():
    start, speed = 1.0, 0.05  # of each from the centre, at the far point; the nearest distance is 0.01
    axis = 1 / (1 / start - 2 * speed**2)
    period = 2 * math.pi * math.sqrt(axis**3 / 2)
    x = torch.tensor([[start, 0.0], [-start, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.0, speed], [0.0, -speed]], dtype=torch.float64)
    q = torch.tensor([[1.0], [-1.0]])
    end, _ = resolve_charges(x, v, q, 3 * period)
    torch.testing.assert_close(end, x, rtol=0, atol=1e-6)


def test_the_resolved_flow_is_symmetric_to_rounding():
    x, v, q = scenes(16)
    g = E(3).sample(16, dtype=torch.float64)
    turn, shift = E(3).linear(g), E(3).translation(g)
    order = torch.randperm(5)
    end, _ = resolve_charges(x, v, q, 0.5)
    moved, _ = resolve_charges((x @ turn.mT + shift[:, None])[:, order], (v @ turn.mT)[:, order], q[:, order], 0.5)
    error = (moved - (end @ turn.mT + shift[:, None])[:, order]).abs()
    assert error.median() < 1e-14  # of the step sizes too: they alone would leave 1e-12
    assert error.max() < 1e-9


def test_a_head_on_collision_of_opposite_charges_is_reported():
    x = torch.tensor([[0.5, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    with pytest.raises(RuntimeError, match="simulation 0: two particles come too close"):
        resolve_charges(x, 0 * x, torch.tensor([[1.0], [-1.0]]), 2.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"velocities": torch.zeros(2, 4, 3)}, "velocities must be \\(2, 5, 3\\)"),
        ({"charges": torch.zeros(2, 5)}, "charges must be \\(2, 5, 1\\)"),
        ({"charges": torch.full((2, 5, 1), torch.nan)}, "charges must be finite"),
        ({"positions": torch.zeros(2, 5, 3)}, "positions must be distinct"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"clip": "box"}, 'clip must be "component", "norm" or None'),
    ],
)
def test_bad_scenes_are_refused(plain, changes, words):
    x, v, q = scenes(2)
    with pytest.raises(ValueError, match=words):
        simulate_charges(**{"positions": x, "velocities": v, "charges": q, "steps": 1, **changes})


def test_bad_times_and_tolerances_are_refused(plain):
    with pytest.raises(ValueError, match="time must be at least 0"):
        resolve_charges(*scenes(1), -1.0)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        resolve_charges(*scenes(1), 1.0, tolerance=0.0)
    with pytest.raises(ValueError, match="positions must be \\(..., n, d\\)"):
        resolve_charges(torch.zeros(3), torch.zeros(3), torch.zeros(3), 1.0)

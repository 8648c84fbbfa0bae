"""Simulation: the law of the paths, crossings, exponents, and what the Slepian model says about them."""

import math

import pytest
import torch

from torsor.persistence import (
    AR1,
    SechDiffusion,
    SquaredExponential,
    excursions,
    iia,
    iia_discrete,
    simulate_exponent,
    simulate_gaussian,
    slepian_mean,
    slepian_paths,
)
from torsor.persistence._simulate import window_counts


def test_paths_have_the_covariance_of_the_process(generator):
    cov, dt, batch, n = SquaredExponential(), 0.1, 400, 1001
    x = simulate_gaussian(cov, n, dt, batch, generator=generator)
    assert x.shape == (batch, n)
    for lag in (0, 1, 10, 30):
        products = (x[:, lag:] * x[:, : n - lag]).mean(1)
        error = float(products.mean() - cov(torch.tensor([lag * dt], dtype=torch.float64)))
        assert abs(error) < 5 * float(products.std()) / batch**0.5, lag


def test_the_two_paths_of_one_transform_are_independent(generator):
    x = simulate_gaussian(SquaredExponential(), 512, 0.1, 401, generator=generator)
    assert x.shape == (401, 512)
    products = (x[:200] * x[201:401]).mean(1)
    assert abs(float(products.mean())) < 5 * float(products.std()) / 200**0.5


def test_the_same_generator_gives_the_same_paths():
    first, second = (
        simulate_gaussian(AR1(0.5), 100, batch=3, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
        for _ in range(2)
    )
    assert first.dtype == torch.float32
    assert torch.equal(first, second)


@pytest.mark.parametrize("cov", [SquaredExponential(), SechDiffusion(2)])
def test_zeros_come_at_the_rate_of_rice(cov, generator):
    dt, n, batch = 0.02 * float(cov.unit), 20_001, 64
    x = simulate_gaussian(cov, n, dt, batch, generator=generator)
    zeros = ((x[:, 1:] > 0) != (x[:, :-1] > 0)).double().sum(1) / (dt * (n - 1))
    assert abs(float(zeros.mean()) - 1 / cov.mean_interval) < 4 * float(zeros.std()) / batch**0.5


def test_slepian_paths_have_the_clipped_mean(generator):
    cov, t, n = SquaredExponential(), torch.linspace(0.2, 3, 8, dtype=torch.float64), 40_000
    signs = slepian_paths(cov, t, n, generator=generator).sign()
    error = signs.mean(0) - slepian_mean(cov, t).E_plus
    assert bool((error.abs() < 4.5 / n**0.5).all())


def test_slepian_paths_start_at_zero_and_go_up(generator):
    t = torch.tensor([0.0, 0.01], dtype=torch.float64)
    x = slepian_paths(SquaredExponential(), t, 1000, generator=generator)
    assert float(x[:, 0].abs().max()) < 1e-6
    assert float((x[:, 1] > 0).double().mean()) > 0.99


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_simulated_excursions_follow_the_law(level, generator):
    cov, dt = SquaredExponential(), 0.05
    x = simulate_gaussian(cov, 1 << 15, dt, 64, generator=generator)
    law = iia(cov, level=level)
    for side, law_of_side in (("above", law), ("below", law.other_side)):
        runs = excursions(x, level, dt=dt, interpolate=True).side(side)
        t = torch.linspace(0.5, 15, 30, dtype=torch.float64)
        assert float((runs.sf(t) - law_of_side.sf(t)).abs().max()) < 0.025


def test_simulated_runs_of_an_autoregression_follow_the_law(generator):
    runs = excursions(simulate_gaussian(AR1(0.7), 1 << 16, batch=16, generator=generator))
    k = torch.arange(1, 30, dtype=torch.float64)
    law = iia_discrete(AR1(0.7))
    assert float((runs.sf(k) - law.sf(k)).abs().max()) < 0.005
    assert float(runs.lengths.mean()) == pytest.approx(float(law.mean), rel=0.01)


@pytest.mark.slow
def test_the_exponent_of_two_dimensional_diffusion_is_three_sixteenths():
    found = simulate_exponent(SechDiffusion(2), n_samples=1 << 27, generator=torch.Generator().manual_seed(0))
    assert abs(found.value - 3 / 16) < 4 * found.stderr
    assert found.stderr < 0.0015


def test_exponents_from_simulation_come_with_their_error():
    found = simulate_exponent(
        SquaredExponential(), dt=0.05, n_samples=1 << 22, generator=torch.Generator().manual_seed(0)
    )
    assert abs(found.value - 0.42) < 4 * found.stderr
    assert 0 < found.stderr < 0.02
    assert abs(found.dt_extrapolated - found.value) < 0.02
    assert not math.isnan(found.dt_extrapolated)


def test_rates_in_a_window_are_counted_from_the_middle_of_a_step(generator):
    rate, n = 0.3, 200_000
    u = torch.rand(n, generator=generator, dtype=torch.float64)
    steps = (-torch.log(u) / rate + torch.rand(n, generator=generator, dtype=torch.float64)).floor()
    ends, time = window_counts(steps, 5.0, 12.0)
    assert float(ends / time) == pytest.approx(2 * math.tanh(rate / 2) * 1.0, rel=0.05)

"""Persistency exponents: the table, levels, invariances, gradients, and where there is none."""

import copy
import math

import pytest
import torch

from tests.persistence.processes import EXPONENTS
from torsor.persistence import (
    ConvexSum,
    DampedOscillator,
    FromFunction,
    FromSpectrum,
    Matern,
    RandomAcceleration,
    RationalQuadratic,
    SechDiffusion,
    SquaredExponential,
    SumOfExponentials,
    Tabulated,
    persistency_exponent,
)

GRID = torch.linspace(0, 30, 1201, dtype=torch.float64)


@pytest.mark.parametrize("name", EXPONENTS)
def test_exponents_of_the_table_to_ten_digits(name):
    cov, theta = EXPONENTS[name]
    found = persistency_exponent(cov)
    assert found.kind == "exponential"
    assert float(found.value) == pytest.approx(theta, abs=1e-10)
    assert found.residual < 1e-12


@pytest.mark.parametrize(("level", "above", "below"), [(0.5, 0.6440, 0.2415), (1.0, 0.9424, 0.1271)])
def test_exponents_at_levels_to_four_digits(level, above, below):
    cov = SquaredExponential()
    assert float(persistency_exponent(cov, level)) == pytest.approx(above, abs=5e-5)
    assert float(persistency_exponent(cov, level, side="below")) == pytest.approx(below, abs=5e-5)
    assert float(persistency_exponent(cov, -level)) == pytest.approx(below, abs=5e-5)


def test_a_law_has_at_most_the_exponent_of_jensen():
    for cov, _ in EXPONENTS.values():
        assert float(persistency_exponent(cov)) <= 2 * math.log(2) / cov.mean_interval


@pytest.mark.parametrize("ell", [0.01, 3.0, 1e4])
def test_slower_time_divides_the_exponent(ell):
    for cov in (SquaredExponential(), Matern(1.5), SechDiffusion(2)):
        slow = float(persistency_exponent(cov.scale(ell)))
        assert slow * ell == pytest.approx(float(persistency_exponent(cov)), rel=1e-10)


@pytest.mark.parametrize(
    ("name", "cov", "theta", "error"),
    [
        ("function", FromFunction(lambda t: 1 / torch.cosh(t / 2)), 0.186210712979, 1e-7),
        ("rough function", FromFunction(lambda t: (1 + t) * torch.exp(-t)), 0.583179282602 / math.sqrt(3), 1e-6),
        ("exponentials", SumOfExponentials([1.5, -0.5], [0.5, 1.5]), 0.264668571132, 1e-9),
        ("samples", Tabulated(GRID, torch.exp(-(GRID**2) / 2)), 0.411497153976, 1e-5),
        ("samples with a tail", Tabulated(GRID[:601], 1 / torch.cosh(GRID[:601] / 2)), 0.186210712979, 1e-5),
        ("spectrum", FromSpectrum(GRID / 2, torch.exp(-(GRID**2) / 8)), 0.411497153976, 1e-7),
        ("general Matern", Matern(2.5000001), 0.489766299363, 1e-6),
        ("whole Matern", Matern(3.0), None, None),
    ],
)
def test_covariances_of_every_kind_agree_with_closed_forms(name, cov, theta, error):
    found = float(persistency_exponent(cov))
    if theta is None:  # between its neighbours
        assert float(persistency_exponent(Matern(3.5))) < found < float(persistency_exponent(Matern(2.5)))
    else:
        assert found == pytest.approx(theta, abs=error)


def test_a_component_without_weight_changes_nothing():
    cov = SquaredExponential()
    both = ConvexSum([cov, DampedOscillator(8.0)], [1.0, 0.0])
    assert float(persistency_exponent(both)) == pytest.approx(float(persistency_exponent(cov)), abs=1e-12)


def test_power_laws_have_no_exponent_and_say_so():
    found = persistency_exponent(RationalQuadratic(1.0))
    assert (float(found), found.kind) == (0.0, "none")
    assert "slower than any exponential" in found.reason
    heavy = persistency_exponent(FromFunction(lambda t: (1 + t**2 / 2) ** -1))
    assert (float(heavy), heavy.kind) == (0.0, "none")


def test_an_integral_that_stays_below_its_target_has_no_exponent():
    # E_0 ~ t^-2 exp(-t), and small from the start: the integral is finite at the decay rate
    found = persistency_exponent(DampedOscillator(4.0))
    assert found.kind == "none"
    assert "below its target" in found.reason


def test_partial_survival_goes_from_nothing_to_persistency():
    cov = SechDiffusion(2)
    rates = [float(persistency_exponent(cov, crossing_weight=p)) for p in (1.0, 0.5, 0.0, -0.5)]
    assert rates[0] == 0
    assert rates == sorted(rates)
    assert rates[2] == float(persistency_exponent(cov))


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_gradients_of_the_exponent_agree_with_differences(level):
    def theta(length):
        return persistency_exponent(Matern(2.5, length), level).value

    length = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(theta(length), length)
    difference = float(theta(1.3 + 1e-4) - theta(1.3 - 1e-4)) / 2e-4
    assert float(slope) == pytest.approx(difference, rel=1e-6)


def test_a_spectrum_can_be_designed_by_the_gradient_of_its_exponent():
    omega = torch.linspace(0, 12, 300, dtype=torch.float64)
    width = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    for _ in range(3):  # Newton's method
        theta = persistency_exponent(FromSpectrum(omega, torch.exp(-0.5 * (omega / width) ** 2))).value
        (slope,) = torch.autograd.grad(theta, width)
        width = (width - (theta - 0.3) / slope).detach().requires_grad_()
    assert float(width.detach()) == pytest.approx(0.3 / 0.411497153976, rel=1e-6)  # proportional to the width


def test_random_acceleration_is_the_sum_of_its_exponentials():
    t = torch.linspace(0, 30, 301, dtype=torch.float64)
    pieces, whole = SumOfExponentials([1.5, -0.5], [0.5, 1.5]), RandomAcceleration()
    for method in ("forward", "derivative", "one_minus_r"):
        torch.testing.assert_close(getattr(pieces, method)(t), getattr(whole, method)(t), rtol=1e-12, atol=1e-15)


def test_a_spectrum_is_known_for_half_the_time_after_which_its_sum_repeats():
    assert FromSpectrum(GRID, torch.exp(-GRID)).support == pytest.approx(math.pi / 0.025)


def test_gradients_reach_what_a_function_closes_over():
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    theta = persistency_exponent(FromFunction(lambda t: 1 / torch.cosh(rate * t))).value
    (slope,) = torch.autograd.grad(theta, rate)
    assert float(slope) == pytest.approx(2 * 0.186210712979, rel=1e-6)  # proportional to the rate


@pytest.mark.parametrize("name", EXPONENTS)
def test_exponents_in_float32(name):
    cov, theta = EXPONENTS[name]
    assert float(persistency_exponent(copy.deepcopy(cov).float())) == pytest.approx(theta, abs=1e-5)


def test_a_general_matern_has_the_same_exponent_in_float32():
    assert float(persistency_exponent(Matern(2.3).float())) == pytest.approx(
        float(persistency_exponent(Matern(2.3))), abs=1e-5
    )


@pytest.mark.parametrize("ell", [1e-12, 1e12])
def test_exponents_of_extreme_units_lose_no_digits(ell):
    assert float(persistency_exponent(SquaredExponential(ell))) * ell == pytest.approx(0.411497153976, abs=1e-11)

"""What the room refuses, and in which words."""

import math

import pytest
import torch

from torsor import SO, Scalar, Symmetry, Vector
from torsor.persistence import (
    AR1,
    ConvexSum,
    DampedOscillator,
    FromFunction,
    FromSpectrum,
    Matern,
    OrnsteinUhlenbeck,
    RunMonitor,
    SechDiffusion,
    SquaredExponential,
    SumOfExponentials,
    Tabulated,
    alert_table,
    clipped_covariance,
    empirical_slepian,
    equivariance_error,
    exceedance_table,
    excursions,
    gaussian_level,
    iia,
    iia_classical,
    iia_discrete,
    orbit_persistence,
    persistence_test,
    persistency_exponent,
    sign_acf,
    simulate_exponent,
    simulate_gaussian,
    slepian_mean,
    slepian_paths,
)

pytestmark = pytest.mark.usefixtures("plain")

SE = SquaredExponential()
LAW = iia(SE)
GRID = torch.linspace(0, 10, 101, dtype=torch.float64)
R = torch.exp(-(GRID**2) / 2)
NOISE = torch.randn(400, generator=torch.Generator().manual_seed(0))
NAN = torch.tensor([1.0, math.nan, -1.0])
SYM = Symmetry(SO(2), Vector(), Scalar())
V = torch.randn(4, 2, dtype=torch.float64)


def zero(g, x):
    return torch.zeros(4)


CASES = {
    # covariances
    "r(0) is not 1": (
        lambda: FromFunction(lambda t: 2 * torch.exp(-(t**2))),
        r"normalise the covariance; got r\(0\)=2",
    ),
    "r(0) of samples": (lambda: Tabulated(GRID, 0.9 * R), r"normalise the covariance; got r\(0\)=0.9"),
    "r(0) of exponentials": (lambda: SumOfExponentials([1.0, 1.0], [1.0, 2.0]), r"got r\(0\)=2"),
    "|r| > 1": (lambda: iia(FromFunction(lambda t: torch.cosh(t) - t**2, 1.0)), r"\|r\(t\)\| must be at most 1; got r"),
    "|r| > 1 in samples": (lambda: Tabulated(GRID, torch.where(GRID == 5, 1.5, R)), r"\|r\| must be at most 1"),
    "no derivative": (lambda: FromFunction(lambda t: torch.exp(-t)), "not differentiable: use iia_discrete"),
    "no derivative in samples": (lambda: Tabulated(GRID, torch.exp(-GRID)), "use iia_discrete"),
    "exponentials with a slope": (
        lambda: SumOfExponentials([0.5, 0.5], [1.0, 2.0]),
        "sum c_i a_i = 0.*use iia_discrete",
    ),
    "Ornstein-Uhlenbeck": (lambda: iia(OrnsteinUhlenbeck()), "lambda2 of OrnsteinUhlenbeck is infinite.*iia_discrete"),
    "rough Matern": (lambda: Matern(1.0), "nu must be above 1.*use iia_discrete"),
    "a jump at zero": (lambda: FromFunction(lambda t: torch.where(t > 0, 0.5 * torch.exp(-t), 1.0)), "jumps at zero"),
    "constant": (lambda: FromFunction(torch.ones_like), "constant"),
    "periodic": (lambda: iia(FromFunction(torch.cos)), "periodic covariance has no decaying E_0.*1 again at t=3.14"),
    "periodic, whole turns": (
        lambda: persistency_exponent(FromFunction(lambda t: torch.exp(torch.cos(3 * t) - 1))),
        "periodic covariance.*t=2.09",
    ),
    "NaN in r": (
        lambda: iia(FromFunction(lambda t: torch.where(t > 3, math.nan, torch.exp(-(t**2))))),
        "r must be finite",
    ),
    "NaN in samples": (lambda: Tabulated(GRID, torch.where(GRID == 5, math.nan, R)), "t and r must be finite"),
    "r of another shape": (lambda: FromFunction(lambda t: torch.ones(3)), r"one number per time, \(1,\); got \(3,\)"),
    "coarse samples": (lambda: Tabulated(GRID[::12], R[::12]), "finer near 0|give lambda2"),
    "few samples": (lambda: Tabulated(GRID[:5], R[:5]), r"n >= 8; got \(5,\)"),
    "samples out of order": (lambda: Tabulated(GRID.flip(0), R), "t must increase from 0"),
    "lengths below zero": (lambda: SquaredExponential(-1.0), "length must be positive and finite; got -1"),
    "no dimension": (lambda: SechDiffusion(0), "d must be positive"),
    "no frequency": (lambda: DampedOscillator(0.0), "w must be positive"),
    "no scale": (lambda: SE.scale(math.inf), "ell must be positive and finite"),
    "weights that are no shares": (lambda: ConvexSum([SE, SE], [0.5, 0.6]), "2 non-negative numbers of sum 1"),
    "a negative spectrum": (lambda: FromSpectrum(GRID, -R), "S must be non-negative"),
    "one line": (lambda: FromSpectrum(GRID, (GRID == 5).double()), "three frequencies"),
    "phi of 1": (lambda: AR1(1.0), r"phi must be in \(0, 1\); got 1"),
    # laws
    "level": (lambda: iia(SE, level=math.inf), "level must be finite.*got inf"),
    "level of nowhere": (lambda: iia(SE, level=-40.0), "level must be within 8 standard deviations; got -40"),
    "half precision": (lambda: iia(SquaredExponential().half()), "float32 or float64; got torch.float16"),
    "another lambda2": (
        lambda: FromFunction(lambda t: torch.exp(-(t**2) / 2), 4.0),
        "lambda2 must be that of r, which starts with 1; got 4",
    ),
    "flat at zero": (lambda: FromFunction(lambda t: torch.exp(-(t**3))), "flatter at t=0 than any covariance"),
    "smooth Matern": (lambda: Matern(50.0), "nu must be at most 20, or a half-integer up to 80.5; got 50"),
    "time NaN": (lambda: LAW.sf(NAN), "t must be numbers; got nan"),
    "level NaN": (lambda: slepian_mean(SE, GRID, math.nan), "level must be finite"),
    "few points": (lambda: iia(SE, n=8), "n must be a whole number of at least 16; got 8"),
    "horizon": (lambda: iia(SE, horizon=-1.0), 'horizon must be "auto" or positive and finite; got -1.0'),
    "horizon beyond": (lambda: iia(FromSpectrum(GRID, R), horizon=1e3), "where the covariance ends; got 1000"),
    "side": (lambda: iia(SE, side="left"), "side must be one of above, below; got 'left'"),
    "on_invalid": (lambda: iia(SE, on_invalid="keep"), "on_invalid must be one of raise, warn, project"),
    "negative times": (lambda: slepian_mean(SE, -GRID), "t must be finite and non-negative"),
    "no times": (lambda: slepian_mean(SE, GRID[:0]), "not empty"),
    "times of two axes": (lambda: clipped_covariance(SE, GRID[None]), r"t must be of shape \(times,\)"),
    "weights below -1": (lambda: persistency_exponent(SE, crossing_weight=-1.0), "crossing_weight must be above -1"),
    "p of 1": (lambda: LAW.quantile(torch.ones(1)), r"p must be in \[0, 1\)"),
    "no draws": (lambda: LAW.sample(0), "n must be at least 1; got 0"),
    "short R": (lambda: iia_classical(R[:8], 0.1), "at least 16 samples"),
    "R(0)": (lambda: iia_classical(0.5 * R, 0.1), "got R.0.=0.5"),
    # sequences
    "A_1 of 1": (lambda: iia_discrete(torch.tensor([1.0, 1.0, 1.0])), r"acf\[1\] must be between -1 and 1; got 1"),
    "A_1 of -1": (lambda: iia_discrete(torch.tensor([1.0, -1.0, 1.0])), "between -1 and 1; got -1"),
    "A_0": (lambda: iia_discrete(torch.tensor([2.0, 0.5, 0.1])), r"acf\[0\]=1; got acf\[0\]=2"),
    "NaN in the acf": (lambda: iia_discrete(torch.tensor([1.0, math.nan, 0.1])), "acf must be finite"),
    "short acf": (lambda: iia_discrete(torch.ones(2)), "at least 3 lags"),
    "both": (lambda: iia_discrete(R, E=(R, -R)), "either acf or E"),
    "E that does not start at 1": (lambda: iia_discrete(E=(0.5 * R, -R)), "E must start at 1 and -1; got 0.5"),
    "E of two shapes": (lambda: iia_discrete(E=(R, -R[:50])), "two tensors of one shape"),
    # data
    "constant x": (lambda: sign_acf(torch.ones(100)), "never crosses the level 0: it is above throughout"),
    "constant x in a test": (lambda: persistence_test(torch.ones(100)), "at least 30 complete runs"),
    "NaN in x": (lambda: excursions(NAN), "x must be finite; 1 of its values"),
    "empty x": (lambda: excursions(torch.zeros(3, 0)), r"x must be of shape \(\*batch, n\)"),
    "dt": (lambda: excursions(NOISE, dt=0.0), "dt must be positive"),
    "few runs": (lambda: persistence_test(NOISE[:60]), "at least 30 complete runs above the level; got 1"),
    "two axes in a test": (lambda: persistence_test(NOISE.reshape(2, -1)), "one series"),
    "alpha": (lambda: persistence_test(NOISE, alpha=1.0), "alpha must be in"),
    "bootstrap alone": (lambda: persistence_test(NOISE, null="bootstrap"), "needs a reference"),
    "both sides of a high level": (lambda: persistence_test(NOISE, 1.0, side="both"), "take one side"),
    "a fit at a high level": (lambda: persistence_test(NOISE, 0.8, null="gaussian-fit"), "symmetric"),
    "lag": (lambda: sign_acf(NOISE, max_lag=400), "max_lag must be from 1 to 399; got 400"),
    "no early change": (lambda: empirical_slepian(NOISE, max_lag=399), "must change to"),
    "no levels": (lambda: alert_table(NOISE, []), "levels must not be empty"),
    "level outside": (lambda: gaussian_level(NOISE, 100.0), "level must be within x"),
    "table at no level": (lambda: exceedance_table(SE, [math.nan]), "level must be finite"),
    "monitor in time": (lambda: RunMonitor(LAW), "law must be in steps"),
    "monitor without drift": (lambda: RunMonitor(iia_discrete(AR1(0.5)), drift=1.0), "drift must be above 1"),
    "monitor of nothing": (lambda: RunMonitor(iia_discrete(AR1(0.5))).update(math.nan), "got nan"),
    # simulation
    "one point": (lambda: simulate_gaussian(SE, 1), "n must be at least 2"),
    "no embedding": (
        lambda: simulate_gaussian(FromFunction(lambda t: 1 - 1.8 * t**2 / (1 + t**2), 3.6), 64, 0.5),
        "no positive circulant embedding.*smallest eigenvalue -",
    ),
    "window": (lambda: simulate_exponent(SE, window=(2.0, 1.0)), "window must be"),
    "no paths": (lambda: slepian_paths(SE, GRID, 0), "n_paths must be at least 1"),
    # orbits
    "direction": (
        lambda: orbit_persistence(zero, SYM, torch.ones(2), V),
        "direction must be 1 finite coordinates",
    ),
    "few steps": (lambda: orbit_persistence(zero, SYM, torch.ones(1), V, n_steps=4), "n_steps must be at least 8"),
    "errors of another shape": (
        lambda: orbit_persistence(lambda g, x: torch.zeros(3), SYM, torch.ones(1), V),
        r"one error per sample, \(4,\); got \(3,\)",
    ),
    "errors that are not finite": (
        lambda: orbit_persistence(lambda g, x: zero(g, x) / 0, SYM, torch.ones(1), V),
        "errors must be finite",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_words(name):
    call, words = CASES[name]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: iia(torch.exp), "cov must be a Covariance, such as FromFunction"),
        (lambda: LAW.sf(1.0), "t must be a tensor; got float"),
        (lambda: FromFunction(3.0), "r must be a function of t; got float"),
        (lambda: slepian_mean(SE, torch.arange(5)), "t must be a floating-point tensor; got torch.int64"),
        (lambda: iia_discrete(torch.ones(5, dtype=torch.int64)), "floating-point"),
        (lambda: excursions(torch.ones(5, dtype=torch.complex64)), "x must be a real tensor"),
        (lambda: excursions([1.0, -1.0]), "x must be a real tensor; got list"),
    ],
)
def test_wrong_types_are_refused_in_words(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_equivariance_error_is_zero_for_nothing():
    error = equivariance_error(lambda v: 0 * v[..., :1], SYM)
    assert error(SO(2).exp(torch.ones(4, 1, dtype=torch.float64)), V).tolist() == [0.0] * 4

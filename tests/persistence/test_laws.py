"""Excursion laws: closed forms, exact means, certificates, sampling, float32, discrete time."""

import math
import pickle
from dataclasses import replace

import pytest
import torch

from tests.persistence.processes import PROCESSES
from torsor.persistence import (
    AR1,
    ConvexSum,
    DampedOscillator,
    FromFunction,
    FromSpectrum,
    Matern,
    OrnsteinUhlenbeck,
    RandomAcceleration,
    RationalQuadratic,
    SechDiffusion,
    SquaredExponential,
    Tabulated,
    clipped_covariance,
    iia,
    iia_classical,
    iia_discrete,
    persistency_exponent,
    slepian_mean,
)
from torsor.persistence._exponent import exponent_of_masses
from torsor.persistence._renewal import divide, renew

T = torch.linspace(0, 40, 4001, dtype=torch.float64)


def f64(*x):
    return torch.tensor(x, dtype=torch.float64)


def switched(E0, step):
    """The distribution function of T for samples of E_0."""
    return renew(0.5 * (1 - E0), 1 - E0)


# ------------------------------------------------------------------------------------------------------------- oracles
def test_an_exponential_mean_gives_an_exponential_law_with_second_order():
    errors = []
    for step in (0.01, 0.005):
        t = step * torch.arange(round(20 / step) + 1, dtype=torch.float64)
        errors.append(float((switched(torch.exp(-t), step) - (1 - torch.exp(-t / 2))).abs().max()))
    assert errors[0] <= 1e-5
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_the_law_of_a_critically_damped_mean():
    E0 = (1 + T) * torch.exp(-T)
    low, high = 1 - 0.5**0.5, 1 + 0.5**0.5
    sf = (torch.exp(-low * T) / low - torch.exp(-high * T) / high) / (2 * (high - low))
    torch.testing.assert_close(1 - switched(E0, 0.01), sf, rtol=0, atol=1e-5)
    theta = exponent_of_masses(T[:-1] + 0.005, -E0.diff())
    assert float(theta) == pytest.approx(0.292893, abs=1e-5)


@pytest.mark.parametrize("cov", [SechDiffusion(2), FromFunction(lambda t: 1 / torch.cosh(t / 2))])
def test_the_clipped_slepian_mean_of_two_dimensional_diffusion(cov):
    E = slepian_mean(cov, T).E_plus
    torch.testing.assert_close(E, 1 / torch.cosh(T / 2), rtol=0, atol=1e-9 if isinstance(cov, FromFunction) else 1e-12)


def test_the_clipped_slepian_mean_of_random_acceleration():
    closed = (3 * torch.exp(-T) / (4 - torch.exp(-T))).sqrt()
    torch.testing.assert_close(slepian_mean(RandomAcceleration(), T).E_plus, closed, rtol=0, atol=1e-12)


def test_the_clipped_slepian_mean_of_a_squared_exponential_down_to_tiny_times():
    t = torch.logspace(-12, 0, 200, dtype=torch.float64)
    closed = t / torch.expm1(t**2).sqrt()
    torch.testing.assert_close(slepian_mean(SquaredExponential(), t).E_plus, closed, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_mean_interval_is_that_of_rice(name):
    cov = PROCESSES[name]
    law = iia(cov)
    assert float(law.mean) == pytest.approx(math.pi / float(cov.lambda2) ** 0.5, rel=1e-5)
    assert law.certificate.status == ("numerical" if name in ("Matern 5/2", "Matern 7/2") else "proved")


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("cov", [SquaredExponential(), Matern(2.5)])
def test_means_at_levels_are_those_of_rice(level, cov):
    rate = float(cov.lambda2) ** 0.5 / (2 * math.pi) * math.exp(-0.5 * level**2)
    law = iia(cov, level=level)
    share = 0.5 * math.erfc(level / math.sqrt(2))
    assert float(law.mean) == pytest.approx(share / rate, rel=1e-4)
    assert float(law.other_side.mean) == pytest.approx((1 - share) / rate, rel=1e-4)


def test_the_survival_function_of_two_dimensional_diffusion():
    # by an independent Laplace inversion
    sf = f64(0.942806762, 0.471190180, 0.185703341, 0.028848077)
    torch.testing.assert_close(iia(SechDiffusion(2)).sf(f64(1, 5, 10, 20)), sf, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cov", [SquaredExponential(), SechDiffusion(2), RationalQuadratic(2.0), Matern(3.5)])
def test_densities_start_with_the_slope_of_the_fourth_moment(cov):
    slope = float((cov.lambda4 - cov.lambda2**2) / (8 * cov.lambda2))
    t = 0.01 * float(cov.unit)
    law = iia(cov, horizon=20 * t, n=4001)
    assert float(law.pdf(f64(t))) / t == pytest.approx(slope, rel=0.01 if cov.order == 2 else 0.05)


@pytest.mark.parametrize("cov", [RandomAcceleration(), Matern(1.5), DampedOscillator(0.5)])
def test_rough_densities_start_above_zero(cov):
    assert float(iia(cov).pdf(f64(0.0))) == pytest.approx(float(cov.c3 / cov.lambda2), rel=1e-3)


def test_tails_decay_with_the_exponent():
    for cov, level in ((SquaredExponential(), 0.0), (SquaredExponential(), 1.0), (RandomAcceleration(), 0.0)):
        law = iia(cov, level=level)
        theta = float(law.exponent)
        a, b = law.sf(f64(6 / theta, 8 / theta)).log().tolist()
        assert (a - b) / (2 / theta) == pytest.approx(theta, rel=1e-3)


def test_levels_at_zero_are_the_plain_law():
    above = iia(SquaredExponential(), level=1e-9)
    torch.testing.assert_close(above.cdf(T), iia(SquaredExponential()).cdf(T), rtol=0, atol=1e-7)


@pytest.mark.parametrize("level", [0.3, 1.5])
def test_above_a_level_is_below_its_opposite(level):
    cov = SechDiffusion(2)
    above, below = iia(cov, level=level), iia(cov, level=-level, side="below")
    assert (above.side, above.other_side.side) == ("above", "below")
    torch.testing.assert_close(above.cdf(T), below.cdf(T), rtol=0, atol=1e-10)


def test_the_classical_approximation_is_the_same_law():
    cov = SechDiffusion(2)
    t = torch.linspace(0, 120, 12001, dtype=torch.float64)
    classical = iia_classical(clipped_covariance(cov, t), 0.01)
    torch.testing.assert_close(classical.cdf(T), iia(cov).cdf(T), rtol=0, atol=1e-5)
    assert float(classical.exponent) == pytest.approx(float(persistency_exponent(cov)), abs=1e-5)


def test_laws_scale_with_time():
    law, slow = iia(Matern(1.5)), iia(Matern(1.5).scale(7.0))
    torch.testing.assert_close(slow.cdf(7 * T), law.cdf(T), rtol=0, atol=1e-10)


def test_a_component_without_weight_changes_no_law():
    cov = SquaredExponential()
    both = ConvexSum([DampedOscillator(8.0), cov], [0.0, 1.0])
    torch.testing.assert_close(iia(both).cdf(T), iia(cov).cdf(T), rtol=0, atol=1e-12)


def test_samples_and_spectra_give_the_law_of_the_function():
    cov, fine = SquaredExponential(), torch.linspace(0, 12, 481, dtype=torch.float64)
    omega = torch.linspace(0, 12, 500, dtype=torch.float64)
    for other in (Tabulated(fine, cov(fine)), FromSpectrum(omega, torch.exp(-(omega**2) / 2))):
        law = iia(other, horizon=12.0)
        torch.testing.assert_close(law.cdf(T[:1200]), iia(cov).cdf(T[:1200]), rtol=0, atol=2e-5)


def test_float32_is_good_to_four_digits():
    law = iia(SquaredExponential().float(), horizon=40.0)
    assert law.values.dtype == torch.float32
    torch.testing.assert_close(law.cdf(T[:3000]).double(), iia(SquaredExponential()).cdf(T[:3000]), rtol=0, atol=1e-4)


def test_division_of_power_series_agrees_with_long_division():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(70, generator=g, dtype=torch.float64) for _ in range(2))
    b[0] = 3
    q = divide(a, b)
    back = torch.stack([(q[: k + 1] * b[: k + 1].flip(0)).sum() for k in range(70)])
    torch.testing.assert_close(back, a, rtol=0, atol=1e-13)


# -------------------------------------------------------------------------------------------------------- certificates
def cosine(a):
    return FromFunction(lambda t: torch.exp(-(t**2) / 2) * torch.cos(a * t), 1 + a**2)


@pytest.mark.parametrize(
    ("cov", "monotone", "first_negative"),
    [
        (cosine(0.2), True, None),
        (cosine(0.5), False, None),
        (cosine(1.0), False, None),
        (cosine(2.0), False, 11.0),
        (cosine(3.0), False, math.nan),
        *((DampedOscillator(w), False, None) for w in (0.5, 1.0, 2.0, 4.0)),
        (DampedOscillator(8.0), False, math.nan),
        (ConvexSum([SquaredExponential(0.1), SquaredExponential()], [0.5, 0.5]), False, None),
    ],
)
@pytest.mark.filterwarnings("ignore:the excursion law is invalid")
def test_certificates_of_covariances_that_are_not_monotone(cov, monotone, first_negative):
    found = iia(cov, n=16384).certificate
    assert (found.max_rise_E0 <= 1e-10) == monotone
    if first_negative is None:
        assert (found.status, found.first_negative_t) == ("numerical", None)
    else:
        assert found.status == "invalid"
        if not math.isnan(first_negative):  # in units of lambda2^-1/2
            assert found.first_negative_t * float(cov.lambda2) ** 0.5 == pytest.approx(first_negative, abs=0.1)


def test_a_monotone_covariance_may_have_a_mean_that_rises():
    cov = ConvexSum([SquaredExponential(0.1), SquaredExponential()], [0.5, 0.5])
    assert iia(cov).certificate.max_rise_E0 == pytest.approx(0.0147, abs=1e-4)


def test_narrow_bands_are_invalid():
    omega = torch.linspace(0, 1, 200, dtype=torch.float64)  # r(t) = sin t / t
    with pytest.warns(UserWarning, match="density is negative"):
        law = iia(FromSpectrum(omega, torch.ones_like(omega)))
    assert law.certificate.status == "invalid"


def test_invalid_laws_are_raised_warned_about_or_projected():
    cov = DampedOscillator(8.0)
    with pytest.raises(ValueError, match=r"no valid excursion law: .* density is negative from t="):
        iia(cov, on_invalid="raise")
    with pytest.warns(UserWarning, match="the excursion law is invalid"):
        kept = iia(cov)
    grid = torch.linspace(0, 3, 500, dtype=torch.float64)
    assert float(kept.pdf(grid).min()) < -0.01
    with pytest.raises(ValueError, match="uncertified=True"):
        kept.sample(10)
    cut = iia(cov, on_invalid="project")
    assert cut.projected
    assert float(cut.pdf(grid).min()) >= 0
    assert float(cut.cdf(f64(1e6))) == pytest.approx(1.0)
    assert cut.sample(10, generator=torch.Generator().manual_seed(0)).shape == (10,)


# ------------------------------------------------------------------------------------------------ quantiles and samples
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_quantiles_undo_the_distribution_function(level):
    law = iia(SechDiffusion(2), level=level)
    p = torch.linspace(0.001, 0.999, 200, dtype=torch.float64)
    torch.testing.assert_close(law.cdf(law.quantile(p)), p, rtol=0, atol=1e-10)
    far = law.quantile(f64(1 - 1e-12))
    assert float(law.sf(far)) == pytest.approx(1e-12, rel=1e-3)


def test_gradients_of_quantiles_agree_with_scaling():
    length = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    q = iia(SquaredExponential(length)).quantile(f64(0.95))
    (slope,) = torch.autograd.grad(q.sum(), length)
    assert float(slope) == pytest.approx(float(q.detach()) / 2, rel=1e-4)  # quantiles are proportional to the length


@pytest.mark.parametrize(
    "law",
    [iia(SechDiffusion(2)), iia(SquaredExponential(), level=1.0), iia_discrete(AR1(0.9))],
    ids=["level 0", "level 1", "steps"],
)
def test_samples_have_the_mean_and_the_distribution_of_the_law(law, generator):
    n = 50_000
    x = law.sample(n, generator=generator)
    assert abs(float(x.mean() - law.mean)) < 4 * float(law.var) ** 0.5 / n**0.5
    for p in (0.1, 0.5, 0.9, 0.99):
        q = law.quantile(f64(p))
        at = float(law.cdf(q))
        assert abs(float((x <= q).double().mean()) - at) < 4 * (at * (1 - at) / n) ** 0.5


def test_the_variance_is_that_of_the_survival_function():
    law = iia(SechDiffusion(2))
    t = torch.linspace(0, 400, 400_001, dtype=torch.float64)
    second = 2 * torch.trapezoid(t * law.sf(t), t)
    assert float(law.var) == pytest.approx(float(second - law.mean**2), rel=1e-5)


def test_what_is_left_of_the_current_excursion_has_the_survival_function_as_density():
    law = iia(SechDiffusion(2))
    left = law.forward_recurrence()
    torch.testing.assert_close(left.pdf(T[1:2000]), (law.sf(T) / law.mean)[1:2000], rtol=0, atol=1e-5)
    assert float(left.mean) == pytest.approx(float((law.var + law.mean**2) / (2 * law.mean)), rel=1e-4)
    runs = iia_discrete(AR1(0.9)).forward_recurrence()
    assert float(runs.values[-1]) == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------------------- discrete time
@pytest.mark.parametrize(
    ("phi", "ratio"), [(0.3, 0.60724), (0.5, 0.69383), (0.7, 0.79567), (0.9, 0.92018), (0.98, 0.98192)]
)
def test_autoregressions_have_the_tabulated_survival_ratio_and_the_exact_mean(phi, ratio):
    law = iia_discrete(AR1(phi))
    assert math.exp(-float(law.exponent)) == pytest.approx(ratio, abs=5e-6)
    assert float(law.mean) == pytest.approx(2 / (1 - 2 / math.pi * math.asin(phi)), rel=1e-10)
    assert float(law.values[-1]) == pytest.approx(1, abs=1e-10)


def test_fine_grids_of_a_smooth_process_give_its_continuous_law():
    cov, step = SechDiffusion(2), 0.01
    t = step * torch.arange(12_000, dtype=torch.float64)
    law = iia_discrete(clipped_covariance(cov, t))
    torch.testing.assert_close(law.cdf(T[::100] / step), iia(cov).cdf(T[::100]), rtol=0, atol=3e-3)
    assert float(law.exponent) / step == pytest.approx(0.18621, abs=1e-4)


def test_symmetric_means_give_the_law_of_the_autocorrelation():
    A = AR1(0.7).sign_acf()
    E0 = -A.diff() / (1 - A[1])
    law, twin = iia_discrete(A), iia_discrete(E=(E0, -E0))
    n = min(len(law.values), len(twin.values))
    torch.testing.assert_close(twin.values[:n], law.values[:n], rtol=0, atol=1e-12)
    torch.testing.assert_close(twin.other_side.values[:n], law.values[:n], rtol=0, atol=1e-12)


def test_independent_signs_have_geometric_runs():
    A = torch.zeros(40, dtype=torch.float64)
    A[0] = 1
    law = iia_discrete(A)
    k = torch.arange(1, 20, dtype=torch.float64)
    torch.testing.assert_close(law.pdf(k), 0.5**k, rtol=0, atol=1e-12)


def test_ornstein_uhlenbeck_is_an_autoregression():
    assert OrnsteinUhlenbeck(2.0, 0.5).phi == pytest.approx(math.exp(-1))


@pytest.mark.parametrize("level", [4.0, 8.0])
def test_rare_levels_have_laws_of_a_size_that_can_be_held(level):
    cov = SquaredExponential()
    above = iia(cov, level=level)
    below = above.other_side
    assert max(len(above.values), len(below.values)) <= (1 << 17) + 1
    share = 0.5 * math.erfc(level / math.sqrt(2))
    interval = 2 * math.pi * math.exp(0.5 * level**2)
    assert float(above.mean) == pytest.approx(share * interval, rel=1e-4)
    assert float(below.mean) == pytest.approx((1 - share) * interval, rel=1e-4)
    assert float(below.exponent) == pytest.approx(
        1 / float(below.mean), rel=1e-2
    )  # excursions come like a Poisson process
    assert below.certificate.status == "numerical"


def test_autocorrelations_that_end_early_keep_their_mean():
    for n in (4, 10, 30):
        law = iia_discrete(AR1(0.95).sign_acf()[:n])
        assert float(law.mean) == pytest.approx(float(iia_discrete(AR1(0.95)).mean), rel=1e-9)
    assert float(iia_discrete(f64(1, 0, 0)).mean) == pytest.approx(2)


def test_moments_of_steps_continue_beyond_the_grid():
    whole = iia_discrete(AR1(0.9))
    cut = replace(whole, values=whole.values[:30], divisor=None)
    assert float(cut.mean) == pytest.approx(float(whole.mean), rel=1e-3)
    assert float(cut.var) == pytest.approx(float(whole.var), rel=1e-2)


@pytest.mark.parametrize(
    "law", [iia(SquaredExponential()), iia(SquaredExponential(), level=1.0), iia_discrete(AR1(0.5))]
)
def test_laws_can_be_pickled(law):
    back = pickle.loads(pickle.dumps(law))
    assert torch.equal(back.values, law.values)
    assert back.other_side.side == "below"
    assert back.other_side.other_side.side == "above"


def test_long_memory_is_warned_about():
    with pytest.warns(UserWarning, match="long memory: r is still 0.5 after 60 mean intervals"):
        iia(FromFunction(lambda t: 0.5 + 0.5 * torch.exp(-(t**2) / 2)))

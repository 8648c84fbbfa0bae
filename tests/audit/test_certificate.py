"""Bounds on probabilities."""

import math

import pytest
import torch

from torsor import Symmetry, audit
from torsor.actions import Scalar, Vector
from torsor.audit._measure import bootstrap
from torsor.audit.certificate import Certificate, clopper_pearson, scenario
from torsor.groups import SO

QUICK = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)


@pytest.mark.parametrize(
    ("k", "n", "delta", "bound"),
    [(0, 20, 0.05, 0.139108), (0, 59, 0.05, 0.049508), (3, 50, 0.05, 0.147837), (1, 30, 0.01, 0.201590)],
)
def test_clopper_pearson_has_its_table_values(k: int, n: int, delta: float, bound: float):
    assert clopper_pearson(k, n, delta) == pytest.approx(bound, abs=1e-6)


def test_with_no_event_the_bound_has_a_closed_form_and_with_all_it_is_one():
    assert clopper_pearson(0, 37, 0.1) == pytest.approx(1 - 0.1 ** (1 / 37), rel=1e-12)
    assert clopper_pearson(7, 7, 0.1) == 1.0


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_bound_holds_as_often_as_it_says(p: float):
    """Exactly: the probability of the draws whose bound lies below the truth is at most delta."""
    n, delta = 40, 0.05
    weight = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    fails = sum(w for k, w in enumerate(weight) if clopper_pearson(k, n, delta) < p)
    assert fails <= delta


@pytest.mark.parametrize(("k", "n", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (0, 0, 0.1), (1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_refused(k: int, n: int, delta: float):
    with pytest.raises(ValueError, match=r"must"):
        clopper_pearson(k, n, delta)


def first_coordinate(x):
    return 1 + x[:, 0]


def audited(samples: int = 5, **options) -> audit.EquivarianceReport:
    angle = torch.rand(100, dtype=torch.float64) * 2 * math.pi
    x = torch.stack([angle.cos(), angle.sin()], -1)
    return audit.equivariance(
        first_coordinate, Symmetry(SO(2), Vector(), Scalar()), x, samples=samples, **QUICK, **options
    )


@pytest.mark.parametrize("samples", [1, 5])
def test_the_certificate_counts_one_pair_per_input_because_only_these_are_independent(samples: int):
    certificate = audited(samples, tolerance=0.3, confidence=0.9).certificate
    assert isinstance(certificate, Certificate)
    assert (certificate.n, certificate.epsilon) == (100, 0.3)
    assert certificate.delta == pytest.approx(0.1)
    exceeded = int(certificate.statement.split("(")[1].split(" ")[0])
    assert 0 < exceeded < 100
    assert certificate.violation_bound == pytest.approx(clopper_pearson(exceeded, 100, 0.1))


def test_the_certificate_prints_its_assumption():
    report = audited()
    assert "independent" in report.certificate.assumption
    assert "Haar measure of SO(2)" in report.certificate.assumption
    assert report.certificate.assumption in str(report)


def test_the_bound_covers_the_true_probability():
    """P(error > 1/4) over fresh pairs, from many draws, lies below the bound."""
    angle, turn = torch.rand(2, 100_000, dtype=torch.float64) * 2 * math.pi
    before, after = 1 + angle.cos(), 1 + (angle + turn).cos()
    truth = float(((after - before).abs() / (after + before) > 0.25).double().mean())
    assert truth < audited(tolerance=0.25).certificate.violation_bound < truth + 0.25


def test_bootstrap_intervals_cover_about_as_often_as_they_say():
    """30 samples of a skewed law, 400 times: a percentile interval of level 0.95 covers in about 0.93 of them."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(400, 30, generator=generator, dtype=torch.float64).square()
    intervals = bootstrap(draws, 0.95, generator)
    covered = sum(low < 1 / 3 < high for low, high in intervals) / 400
    assert 0.89 < covered < 0.97


def test_the_bootstrap_resamples_inputs_and_not_pairs():
    """More elements per input do not narrow the interval as if there were more inputs."""
    few, many = audited(4), audited(64)
    assert (many.interval[1] - many.interval[0]) > 0.5 * (few.interval[1] - few.interval[0])


def test_one_sample_says_nothing_about_others():
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    report = audit.equivariance(first_coordinate, Symmetry(SO(2), Vector(), Scalar()), x, **QUICK)
    assert report.interval == (0.0, 1.0)


def test_the_scenario_bound_is_the_probability_that_the_largest_of_n_is_exceeded():
    # uniform draws exceed their largest with probability 1 - max, and P(1 - max > p) = (1 - p)^n exactly
    bound = scenario([0.5] * 100, 0.05, "x", "y").violation_bound
    assert (1 - bound) ** 100 == pytest.approx(0.05)
    assert bound < math.log(20) / 100
    draws = torch.rand(4000, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    missed = (1 - draws.amax(1) > bound).double().mean()
    assert abs(float(missed) - 0.05) < 0.015


@pytest.mark.parametrize(("values", "delta"), [([], 0.05), ([0.1], 0.0), ([0.1], 1.0)])
def test_scenario_refuses_what_has_no_bound(values, delta):
    with pytest.raises(ValueError, match="values must|delta must"):
        scenario(values, delta, "x", "y")

"""Runs in data: extraction, censoring, autocorrelation of signs, the longest-run test, the monitor, tables."""

import math

import pytest
import torch

from torsor.persistence import (
    AR1,
    RunMonitor,
    SquaredExponential,
    alert_table,
    empirical_slepian,
    exceedance_table,
    excursions,
    gaussian_level,
    iia,
    iia_discrete,
    law_of_signs,
    persistence_test,
    sign_acf,
    simulate_gaussian,
)

X = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0, 0.0, 2.0, -3.0, -1.0])


def series(phi, n, seed=0, batch=1):
    x = simulate_gaussian(AR1(phi), n, batch=batch, generator=torch.Generator().manual_seed(seed))
    return x if batch > 1 else x[0]


def test_complete_runs_are_found_and_equality_is_above():
    runs = excursions(X)
    assert (runs.lengths.tolist(), runs.above.tolist()) == ([3.0, 2.0], [False, True])
    assert not runs.censored.any()


def test_the_last_run_is_kept_as_censored_for_kaplan_and_meier():
    runs = excursions(X, censor="km", dt=0.5)
    assert runs.lengths.tolist() == [1.5, 1.0, 1.0]
    assert runs.censored.tolist() == [False, False, True]


def test_crossings_between_samples_are_placed_on_a_line():
    x = torch.tensor([-1.0, 3.0, 3.0, -1.0, -1.0])
    assert excursions(x, interpolate=True).lengths.tolist() == [2.5]


def test_runs_of_several_series_do_not_join():
    x = torch.stack([X, -X])
    assert excursions(x).lengths.tolist() == [3.0, 2.0, 4.0, 1.0]  # minus zero is above as well
    assert len(excursions(x[0]).lengths) + len(excursions(x[1]).lengths) == len(excursions(x).lengths)


def test_kaplan_meier_is_the_product_over_deaths():
    runs = excursions(torch.tensor([1.0, -1, 1, 1, -1, -1, 1, 1]), censor="km")
    # lengths 1, 2, 2 and a censored 2
    assert runs.lengths.tolist() == [1.0, 2.0, 2.0, 2.0]
    sf = runs.sf(torch.tensor([0.5, 1.0, 2.0]))
    assert sf.tolist() == pytest.approx([1.0, 0.75, 0.25])


def test_kaplan_meier_removes_the_bias_of_short_series():
    law = iia_discrete(AR1(0.95))
    runs = excursions(series(0.95, 60, batch=4000), censor="km")
    k = torch.tensor([5.0, 15.0, 25.0], dtype=torch.float64)
    assert float((runs.sf(k) - law.sf(k)).abs().max()) < 0.04
    plain = excursions(series(0.95, 60, batch=4000))
    assert float(plain.sf(k[1:2])) < float(law.sf(k[1:2])) - 0.05


def test_the_autocorrelation_of_signs_is_the_arcsine():
    A = sign_acf(series(0.8, 1 << 18), max_lag=5)
    torch.testing.assert_close(A, AR1(0.8).sign_acf()[:6], rtol=0, atol=0.01)
    x = series(0.8, 500)
    signs = torch.where(x >= 0, 1.0, -1.0).double()
    direct = torch.stack([(signs[k:] * signs[: 500 - k]).mean() for k in range(8)])
    torch.testing.assert_close(sign_acf(x, max_lag=7), direct, rtol=0, atol=1e-12)


def test_monotone_transforms_change_nothing():
    x = series(0.8, 5000)
    assert torch.equal(sign_acf(x, 0.5), sign_acf(torch.exp(x), math.exp(0.5)))
    assert persistence_test(x, 0.5) == persistence_test(torch.exp(x), math.exp(0.5))


def test_means_after_changes_give_the_law_of_runs_at_a_high_level():
    x = series(0.9, 1 << 19)
    law = law_of_signs(x, 1.0)
    runs = excursions(x, 1.0)
    k = torch.arange(1, 30, dtype=torch.float64)
    assert float((runs.side("above").sf(k) - law.sf(k)).abs().max()) < 0.02
    assert float((runs.side("below").sf(k) - law.other_side.sf(k)).abs().max()) < 0.02


@pytest.mark.parametrize("null", ["discrete-iia", "gaussian-fit"])
@pytest.mark.parametrize("acf", [None, AR1(0.7)])
def test_clean_series_rarely_alarm_and_long_breaches_do(null, acf):
    x = series(0.7, 2000, seed=3, batch=20)
    options = {"side": "both", "null": null, "acf": acf}
    assert sum(persistence_test(row, **options).alarm for row in x) <= 4
    x[:, 900:970] = x[:, 900:970].abs()
    assert sum(persistence_test(row, **options).alarm for row in x) >= 18


def test_the_rule_for_independent_signs_alarms_on_clean_series():
    x = series(0.9, 2000, seed=3, batch=20)
    independent = torch.eye(40, dtype=torch.float64)[0]
    assert all(persistence_test(row, side="both", acf=independent).alarm for row in x)


def test_means_after_changes_are_those_of_the_signs():
    x = series(0.9, 3000)
    signs = torch.where(x >= 1, 1.0, -1.0).double()
    starts = [i for i in range(1, 2990) if signs[i] > 0 > signs[i - 1]]
    plus, minus = empirical_slepian(x, 1.0, max_lag=10)
    assert float(plus[7]) == pytest.approx(sum(float(signs[i + 7]) for i in starts if i + 10 < 3000) / len(starts))
    assert (float(plus[0]), float(minus[0])) == (1.0, -1.0)


def test_one_side_of_a_high_level_is_tested_alone():
    x = series(0.9, 20_000, seed=5)
    found = persistence_test(x, 1.0)
    assert found.p_value > 0.01
    assert found.n_runs == len(excursions(x, 1.0).side("above").lengths)
    x[5000:5150] = x[5000:5150].abs() + 1
    assert persistence_test(x, 1.0).alarm
    assert not persistence_test(-x, 1.0).alarm


def test_the_longest_run_is_expected_where_it_is_found():
    x = series(0.8, 4000, seed=1, batch=40)
    found = [persistence_test(row, side="both", acf=AR1(0.8)) for row in x]
    observed = sum(f.observed for f in found) / 40
    assert observed == pytest.approx(found[0].expected_longest, rel=0.1)


@pytest.mark.parametrize("statistic", ["mean", "ks"])
def test_other_statistics_see_other_changes(statistic, generator):
    options = {"side": "both", "statistic": statistic, "acf": AR1(0.7), "generator": generator}
    assert persistence_test(series(0.7, 4000, seed=2), **options).p_value > 0.05
    assert persistence_test(series(0.8, 4000, seed=2), **options).p_value < 0.01


def test_runs_of_a_reference_are_a_null_of_their_own():
    usual, x = series(0.7, 20_000, seed=0), series(0.7, 2000, seed=1)
    assert not persistence_test(x, side="both", null="bootstrap", reference=usual).alarm
    x[900:970] = x[900:970].abs()
    assert persistence_test(x, side="both", null="bootstrap", reference=usual).alarm


def test_the_monitor_alarms_in_a_long_run_and_rarely_otherwise():
    phi, between = 0.7, 300.0
    monitor = RunMonitor(iia_discrete(AR1(phi)), side="both", runs_between_alarms=between)
    x = series(phi, 30_000, seed=4)
    alarms = sum(monitor.update(value) for value in x.tolist())
    runs = len(excursions(x).lengths)
    assert alarms <= 1.5 * runs / between
    assert pytest.approx(2 / math.pi * math.asin(phi), abs=0.01) == monitor.A1
    for side, value, heard in (("above", 1.0, True), ("above", -1.0, False), ("both", -1.0, True)):
        monitor = RunMonitor(iia_discrete(AR1(phi)), side=side, runs_between_alarms=between)
        assert any(monitor.update(value) for _ in range(60)) == heard


def test_the_monitor_sees_runs_that_are_all_somewhat_longer():
    monitor = RunMonitor(iia_discrete(AR1(0.5)), drift=1.3, runs_between_alarms=1000.0)
    assert any(monitor.update(value) for value in series(0.9, 2000, seed=4).tolist())


def test_exceedance_tables_agree_with_rice():
    rows = exceedance_table(SquaredExponential(2.0), [0.0, 1.0])
    for row in rows:
        assert row["rate"] * row["mean"] == pytest.approx(row["share"], rel=1e-5)
        assert row["median"] < row["mean"] < row["q95"]
    assert rows[0]["severity"] == pytest.approx(math.sqrt(2 / math.pi))
    assert rows[1]["severity"] == pytest.approx(0.5251353, abs=1e-6)  # phi(1) / Phi(-1) - 1


def test_alert_tables_leave_rare_levels_untested():
    x = series(0.9, 5000)
    common, rare = alert_table(x, [0.0, 3.0])
    assert common["p_value"] is not None
    assert rare["p_value"] is None
    assert rare["share"] < 0.01


def test_lognormal_data_meet_their_gaussian_law_at_the_mapped_level(generator):
    cov, dt = SquaredExponential(), 0.05
    x = simulate_gaussian(cov, 1 << 15, dt, 32, generator=generator).exp()
    u = gaussian_level(x, math.e)
    assert u == pytest.approx(1.0, abs=0.05)
    runs = excursions(x, math.e, dt=dt).side("above")
    t = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert float((runs.sf(t) - iia(cov, level=u).sf(t)).abs().max()) < 0.03


def test_the_p_value_of_the_longest_run_is_that_of_the_formula():
    x = series(0.7, 2000, seed=3)
    x[900:940] = x[900:940].abs() + 0.1
    x[899], x[940] = -1.0, -1.0
    law, A1 = iia_discrete(AR1(0.7)), 2 / math.pi * math.asin(0.7)
    for side, share in (("both", 0.5), ("above", 0.25)):
        found = persistence_test(x, side=side, acf=AR1(0.7))
        assert found.observed == 40
        N = 2000 * (1 - A1) * share
        F = float(law.cdf(torch.tensor([39.0], dtype=torch.float64)))
        assert found.p_value == pytest.approx(1 - F**N, rel=1e-6)
    # 39 steps of either sign are no alarm at 5 %, 40 are
    assert persistence_test(x, side="both", acf=AR1(0.7)).alarm
    x[939] = -1.0
    assert not persistence_test(x, side="both", acf=AR1(0.7)).alarm


def test_few_runs_above_a_level_do_not_make_false_alarms():
    # hazards taken from a handful of runs, or means cut where their noise begins, alarmed in 29 % of these
    x = series(0.7, 6000, seed=7, batch=12)
    assert sum(persistence_test(row, 2.0).alarm for row in x) <= 1
    x[:, 3000:3025] = x[:, 3000:3025].abs() + 2
    assert sum(persistence_test(row, 2.0).alarm for row in x) >= 10


def test_after_an_alarm_the_monitor_is_quiet_until_the_next_run():
    monitor = RunMonitor(iia_discrete(AR1(0.5)), runs_between_alarms=100.0)
    alarms = [monitor.update(1.0) for _ in range(200)]
    first = alarms.index(True)
    assert sum(alarms) == 1, "one breach, one alarm"
    monitor.update(-1.0)
    again = [monitor.update(1.0) for _ in range(first + 2)]
    assert sum(again) == 1
    # what it takes: a score of log(100) / rate + drift, at least
    assert first > 10

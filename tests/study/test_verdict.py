"""The recommendation: what is better, what only looks better, and what failed."""

import random

import pytest

from torsor.study import Record, Trial
from torsor.study._verdict import distinguishable, recommend, seed_spread, standings


def records(rows, seeds=(0, 1), noise=0.02, blocks=0.05):
    """Finished trials: `rows` maps a name to (error, cpu seconds), or to a status with a reason."""
    found = []
    for name, what in rows.items():
        for seed in seeds:
            trial = Trial("s", name, seed)
            if isinstance(what[0], str):
                found.append(Record(trial, what[0], what[1]))
                continue
            draw = random.Random(f"{name}{seed}")
            shared = random.Random("blocks")
            error = what[0] * (1 + noise * (1 if seed % 2 else -1))
            spread = [error * (1 + blocks * shared.gauss(0, 1) + 0.005 * draw.gauss(0, 1)) for _ in range(40)]
            metrics = {"test_error": error, "test_blocks": spread, "cpu_seconds": what[1]}
            metrics |= {"transformed_error": error * (what[2] if len(what) > 2 else 1)}
            metrics |= {"transformed_blocks": [x * (what[2] if len(what) > 2 else 1) for x in spread]}
            metrics |= {"equivariance_error": 1e-7, "equivariance_verdict": "exact"}
            found.append(Record(trial, "done", metrics=metrics))
    return found


def test_the_lowest_error_wins_if_it_can_be_told_apart():
    answer = recommend(records({"plain": (1.0, 1.0), "better": (0.5, 9.0)}))
    assert answer.recommended == "better"
    assert "50% below plain" in answer.headline
    assert any("2 times as much" in reason for reason in answer.reasons)
    assert any("exact up to rounding" in reason for reason in answer.reasons)


def test_of_two_that_cannot_be_told_apart_the_cheaper_is_chosen():
    answer = recommend(records({"dear": (0.50, 9.0), "cheap": (0.505, 1.0), "plain": (1.0, 0.5)}))
    assert answer.recommended == "cheap"
    assert "cannot be told from the lowest" in answer.headline
    assert any("not distinguishable" in reason for reason in answer.reasons)


def test_noise_over_seeds_makes_rows_indistinguishable():
    quiet = records({"a": (0.5, 1.0), "b": (0.6, 1.0)}, noise=0.01)
    loud = records({"a": (0.5, 1.0), "b": (0.6, 1.0)}, noise=0.3)
    assert distinguishable(quiet, "a", "b")
    assert not distinguishable(loud, "a", "b")


def test_noise_that_test_samples_share_does_not_hide_a_difference():
    rows = records({"a": (0.5, 1.0), "b": (0.6, 1.0)}, noise=0.001, blocks=0.9)
    assert distinguishable(rows, "a", "b")
    a, b = standings(rows)
    assert a.high > b.low, "the intervals overlap, and still the pairs tell them apart"


def test_a_difference_below_one_percent_is_none():
    assert not distinguishable(records({"a": (0.5, 1.0), "b": (0.503, 1.0)}, noise=0, blocks=0), "a", "b")


def test_ties_at_equal_cost_go_to_the_first_in_the_study():
    rows = {"first": (0.501, 1.1), "second": (0.5, 1.0)}
    assert recommend(records(rows)).recommended == "first"
    assert recommend(records(dict(reversed(rows.items())))).recommended == "second"


def test_the_other_test_set_is_told_when_it_says_something_else():
    rows = {"plain": (0.5, 1.0, 4.0), "exact": (0.7, 1.0)}
    answer = recommend(records(rows))
    assert answer.recommended == "plain"
    assert any("On the transformed test set another one is better: exact" in reason for reason in answer.reasons)
    assert recommend(records(rows), by="transformed").recommended == "exact"


def test_failures_and_skips_are_left_out_and_said():
    answer = recommend(records({"plain": (1.0, 1.0), "bad": ("failed", "boom"), "none": ("skipped", "no group")}))
    assert answer.recommended == "plain"
    assert "bad has no results and is not compared: boom." in answer.reasons
    assert "none has no results and is not compared: no group." in answer.reasons
    assert "only treatment with results" in answer.headline


def test_without_results_nothing_is_recommended():
    answer = recommend(records({"bad": ("failed", "boom")}))
    assert answer.recommended is None
    assert "no trial ended" in answer.headline


def test_one_seed_is_said_to_be_one():
    answer = recommend(records({"plain": (1.0, 1.0), "better": (0.5, 1.0)}, seeds=(0,)))
    assert any("one seed only" in reason for reason in answer.reasons)


def test_the_spread_over_seeds_is_pooled_with_its_quantile():
    spread, quantile = seed_spread(records({"a": (0.5, 1.0), "b": (5.0, 1.0)}, noise=0.1), "test_error")
    assert spread == pytest.approx(0.1 * 2**0.5, rel=0.02)
    assert quantile == pytest.approx(4.303, abs=1e-3)  # Student's t, two degrees of freedom


def test_noise_over_test_samples_makes_rows_indistinguishable():
    few = [records({"a": (0.5, 1.0), "b": (0.6, 1.0)}, noise=0.0, blocks=0.0) for _ in range(2)]
    draw = random.Random(7)
    for record in few[1]:  # errors of single samples scatter independently, with the same mean over the seeds
        record.metrics["test_blocks"][:] = [x * (1 + draw.gauss(0, 3)) for x in record.metrics["test_blocks"]]
    assert distinguishable(few[0], "a", "b")
    assert not distinguishable(few[1], "a", "b")

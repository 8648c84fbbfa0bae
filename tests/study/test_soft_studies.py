"""The studies of soft equivariance: at smoke scale every trial ends, and their ledgers name every claim."""

import pytest

from torsor.study import builtin_study, run_study


@pytest.fixture(scope="module")
def inertia(tmp_path_factory):
    return run_study(builtin_study("inertia"), "smoke", tmp_path_factory.mktemp("inertia"))


def test_inertia_runs_through(inertia):
    assert inertia.complete
    assert {claim.verdict for claim in inertia.claims} == {"not tested"}
    page = inertia.page.read_text()
    for words in ("What was found", "One linear map with a closed solution", "Strengths: soft, evidence"):
        assert words in page


@pytest.mark.parametrize("name", ["inertia", "discover", "cosine", "flights"])
def test_nothing_is_claimed_before_anything_was_measured(name):
    study = builtin_study(name)
    assert {claim.verdict for claim in study.claims([], "desk")} == {"not tested"}
    assert study.answer([], "desk").recommended is None
    assert study.trials("paper")


def test_discover_finds_rotations_scaling_and_the_level_of_breaking(tmp_path):
    result = run_study(builtin_study("discover"), "smoke", tmp_path)
    assert result.complete
    tested = [claim for claim in result.claims if claim.holds is not None]
    assert len(tested) == 6
    assert all(claim.holds for claim in tested), [claim for claim in tested if not claim.holds]
    assert "so(3) + scaling" in result.answer.headline
    assert "so(2) + translations" in result.answer.reasons[-1]


def test_cosine_reads_off_the_law_which_symmetry_is_broken(tmp_path):
    result = run_study(builtin_study("cosine"), "smoke", tmp_path)
    assert result.complete
    assert result.claims[0].holds


def test_flights_are_skipped_with_the_reason_or_run_through(tmp_path):
    result = run_study(builtin_study("flights"), "smoke", tmp_path)
    assert result.complete
    reasons = {record.reason for record in result.records if record.status == "skipped"}
    assert all("pip install --no-deps traffic==2.13" in reason for reason in reasons)

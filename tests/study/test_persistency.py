"""The studies of excursions: what smoke scale can say holds, and what it cannot is not claimed."""

import pytest

from torsor.study import builtin_study, run_study
from torsor.study._protocol import Workspace
from torsor.study.builtin import exceedance, persistency


# both studies at smoke scale take about ten seconds
@pytest.fixture(scope="module")
def results(tmp_path_factory):
    names = ("persistency", "exceedance")
    return {name: run_study(builtin_study(name), "smoke", tmp_path_factory.mktemp(name)) for name in names}


@pytest.mark.slow
def test_every_trial_ends(results):
    assert all(result.complete for result in results.values())


@pytest.mark.slow
def test_claims_without_simulation_hold_at_any_scale(results):
    tested = [claim for claim in results["persistency"].claims if claim.holds is not None]
    assert [claim.verdict for claim in tested] == ["holds"] * 3
    assert {claim.verdict for claim in results["exceedance"].claims} == {"not tested"}


def test_what_needs_no_simulation_holds(tmp_path):
    study, space = persistency.study, Workspace(tmp_path, "trial")
    for trial in study.trials("smoke")[:2]:
        metrics = study.run(trial, space)
        if "error" in metrics:
            assert metrics["error"] <= 1e-10
        else:
            assert all(
                (row["monotone"], row["valid"]) == persistency.VALID[name] for name, row in metrics["rows"].items()
            )


@pytest.mark.parametrize("study", [persistency.study, exceedance.study])
def test_nothing_is_claimed_before_anything_was_measured(study):
    for scale in ("smoke", "desk"):
        assert {claim.verdict for claim in study.claims([], scale)} == {"not tested"}
        study.answer([], scale)
        study.figures([], scale)


@pytest.mark.slow
def test_pages_show_the_laws_against_simulation(results):
    assert "Excursion laws against simulation" in results["persistency"].page.read_text()
    page = results["exceedance"].page.read_text()
    assert "Excursions above a level" in page
    assert "Share of series of 2000 steps with an alarm" in page


@pytest.mark.slow
def test_a_missed_bar_is_shown_as_such(results):
    study = persistency.study
    claims = study.claims(results["persistency"].records, "desk")  # as if these few excursions were a desk run
    assert {claim.holds for claim in claims} == {True, False}
    assert any(
        reason.startswith("Does not hold") for reason in study.answer(results["persistency"].records, "desk").reasons
    )

"""The study of degenerate point sets: its trials say what is true, and its answer follows from them."""

import pytest

from torsor.study import builtin_study, run_study


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run_study(builtin_study("degeneracy"), "smoke", tmp_path_factory.mktemp("degeneracy"))


def test_every_claim_is_tested_and_holds(result):
    assert result.complete
    assert [claim.verdict for claim in result.claims] == ["holds"] * 5


def test_the_answer_names_the_frames_that_were_exact_and_continuous(result):
    assert result.answer.recommended == "robust"
    exact, smooth = result.answer.reasons
    assert "principal axes, robust at degeneracies" in exact
    assert "canonical" not in exact
    assert smooth == "Without a jump there: robust."


def test_nothing_is_claimed_before_anything_was_measured():
    study = builtin_study("degeneracy")
    assert {claim.verdict for claim in study.claims([], "desk")} == {"not tested"}
    assert study.answer([], "desk").recommended is None


def test_the_page_has_both_figures(result):
    page = result.page.read_text()
    assert "on the way through a cube" in page
    assert "Jumps at the cube" in page

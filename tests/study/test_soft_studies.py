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


@pytest.mark.parametrize("name", ["inertia"])
def test_nothing_is_claimed_before_anything_was_measured(name):
    study = builtin_study(name)
    assert {claim.verdict for claim in study.claims([], "desk")} == {"not tested"}
    assert study.answer([], "desk").recommended is None
    assert study.trials("paper")

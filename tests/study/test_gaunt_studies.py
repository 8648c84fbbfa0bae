"""The studies of Gaunt products: at smoke scale every trial ends or says why not, and the ledgers name every claim."""

import pytest

from torsor.study import Record, builtin_study, run_study
from torsor.study.builtin import chirality, potential


@pytest.mark.parametrize(("name", "words"), [("chirality", "Handedness"), ("potential", "away from the training data")])
def test_the_whole_path_runs_through(name, words, tmp_path, monkeypatch):
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    result = run_study(builtin_study(name), "smoke", tmp_path / "out")
    assert result.complete, [record.reason for record in result.records]
    assert all(record.reason for record in result.records if record.status == "skipped")
    assert {claim.verdict for claim in result.claims} == {"not tested"}
    assert words in result.page.read_text()


@pytest.mark.parametrize("name", ["chirality", "potential"])
def test_nothing_is_claimed_before_anything_was_measured(name):
    study = builtin_study(name)
    assert {claim.verdict for claim in study.claims([], "desk")} == {"not tested"}
    assert study.answer([], "desk").recommended is None
    assert study.trials("paper")


def records(study, metrics):
    return [Record(trial, "done", metrics=metrics(trial)) for trial in study.trials("desk")]


def test_claims_of_chirality_hold_or_fall_with_the_numbers():
    def metrics(solved):
        def of(trial):
            good = solved and trial.config["method"] == chirality.BRACKET
            return {"r2": float(good), "accuracy": 1.0 if good else 0.5, "pair_gap": 0.0, "achiral_accuracy": 1.0}

        return of

    study = builtin_study("chirality")
    assert {claim.verdict for claim in study.claims(records(study, metrics(True)), "desk")} == {"holds"}
    fallen = [claim.text for claim in study.claims(records(study, metrics(False)), "desk") if claim.holds is False]
    assert len(fallen) == 3
    assert all("bracket" in text for text in fallen)
    answers = [study.answer(records(study, metrics(solved)), "desk") for solved in (True, False)]
    assert [answer.recommended for answer in answers] == [chirality.BRACKET, None]
    assert ["adds it" in str(answer) for answer in answers] == [True, False]


def test_claims_of_the_potential_hold_or_fall_with_the_numbers():
    def metrics(worse, slower):
        def of(trial):
            if trial.name == potential.COST:
                return {potential.E3NN: 0.2, potential.CG: 0.1, potential.GAUNT: 0.1 * slower}
            factor = worse if trial.config["product"] == potential.GAUNT else 1.0
            forces = {f"force_{T}": factor * f for T, f in ((300, 80.0), (600, 140.0), (1200, 300.0))}
            return forces | {"cpu_per_step": 0.1}

        return of

    study = builtin_study("potential")
    good = study.claims(records(study, metrics(1.0, 1.0)), "desk")
    assert {claim.holds for claim in good} == {True, None}
    bad = [claim.text for claim in study.claims(records(study, metrics(1.5, 2.0)), "desk") if claim.holds is False]
    assert len(bad) == 4


def test_a_trial_without_its_data_says_what_to_install(monkeypatch, tmp_path):
    from torsor.study import SkippedError
    from torsor.study._protocol import Workspace

    monkeypatch.delenv("TORSOR_DATA", raising=False)
    study = potential.Potential(labels="dft")
    trial = next(trial for trial in study.trials("desk") if trial.name == potential.GAUNT)
    with pytest.raises(SkippedError, match="TORSOR_DATA"):
        study.run(trial, Workspace(tmp_path, trial.key))

"""The study of normals: what it asks and claims, that claims can fail, and that its smoke scale goes all the way."""

import pytest

from torsor.build import FALocalPointNet, FrameAveraging
from torsor.build.points import Patchwise
from torsor.study import Record, builtin_study, run_study
from torsor.study.builtin._normals_claims import LOCAL, LOCAL_STOCHASTIC, LOCAL_VECTORS, PLANE_FIT

ERRORS = {  # upright, rotated, frames averaged the other way
    "plain": (0.214, 0.402), "augmented": (0.267, 0.292), LOCAL: (0.158, 0.1582, 0.17),
    LOCAL_STOCHASTIC: (0.161, 0.1612, 0.401), LOCAL_VECTORS: (0.158, 0.158, 0.328), "PointNet": (0.207, 0.449),
    "FA-PointNet": (0.158, 0.1582), "FA-Local-PointNet": (0.097, 0.0975), "DGCNN": (0.070, 0.193),
    "FA-DGCNN": (0.067, 0.0675), "PointNet, augmented": (0.258, 0.258), "DGCNN, augmented": (0.121, 0.121),
    PLANE_FIT: (0.228, 0.228),
}  # fmt: skip


@pytest.fixture
def study():
    return builtin_study("normals")


def finished(study, scale="desk", changes=None, source="generated"):
    """Records as a run could leave them."""
    found = []
    for trial in study.trials(scale):
        upright, rotated, *other = (ERRORS | (changes or {}))[trial.name]
        metrics = {"test_error": upright, "transformed_error": rotated, "cpu_seconds": 1.0, "epochs": 40}
        metrics |= {"test_blocks": [upright] * 40, "transformed_blocks": [rotated] * 40, "train_samples": 200}
        metrics |= {"error_other_mean": other[0]} if other else {}
        trial.config["data"]["source"] = source
        found.append(Record(trial, "done", metrics=metrics))
    return found


def verdicts(study, scale, **how):
    return {claim.text: claim.holds for claim in study.claims(finished(study, scale, **how), scale)}


def test_the_protocol_is_that_of_the_calibration(study):
    for trial in study.trials("desk"):
        data = trial.config["data"]
        assert [data[key] for key in ("train", "points", "noise")] == [200, 256, 0.01]
        assert trial.config["test_group"] == "SO(3)"
        if trial.name == PLANE_FIT:
            assert trial.config["neighbours"] == 16
        else:
            assert trial.config["epochs"] == 60
            assert trial.config["backbone"]["net"] != "patches" or trial.config["backbone"]["neighbours"] == 16


def test_the_paper_scale_is_that_of_the_paper(study):
    trials = [trial for trial in study.trials("paper") if trial.name != PLANE_FIT]
    assert {"FA-PointNet", "FA-Local-PointNet", "FA-DGCNN", "PointNet", "DGCNN"} <= {trial.name for trial in trials}
    for trial in trials:
        config = trial.config
        assert (config["data"]["points"], config["batch_size"], config["lr"], config["epochs"]) == (512, 32, 1e-3, 250)


def test_nothing_is_tested_before_anything_ran(study):
    claims = study.claims([], "desk")
    assert len(claims) == 12
    assert all(claim.holds is None and claim.measured is None for claim in claims)
    assert [claim.paper_value for claim in claims if claim.scale == "paper"] == [0.163, 0.098, 0.069]
    assert study.figures([], "desk") == []


def test_the_claims_hold_where_the_numbers_are_those_of_the_calibration_and_the_paper(study):
    found = study.claims(finished(study, "paper", source="abc"), "paper")
    assert [claim.holds for claim in found] == [True] * 12
    assert [claim.measured for claim in found[:3]] == pytest.approx([5e-4, 0.1582 / 0.228, 0.1612 / 0.228])


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({LOCAL: (0.158, 0.160, 0.2)}, "is the same on rotated clouds"),
        ({"FA-DGCNN": (0.158, 0.160)}, "is the same on rotated clouds"),
        ({PLANE_FIT: (0.19, 0.19)}, "beats the plane fit"),
        ({LOCAL_STOCHASTIC: (0.23, 0.23, 0.4)}, "So does training on one"),
        ({"augmented": (0.18, 0.18)}, "beat augmentation"),
        ({"plain": (0.214, 0.22)}, "loses on rotated ones"),
        ({LOCAL_STOCHASTIC: (0.161, 0.161, 0.17)}, "mean of vectors cancels"),
        ({LOCAL_VECTORS: (0.158, 0.158, 0.16)}, "no longer its equal"),
        ({"PointNet": (0.17, 0.17)}, "FA-PointNet beats PointNet"),
        ({"DGCNN": (0.07, 0.07)}, "FA-DGCNN beats DGCNN"),
        ({"FA-PointNet": (0.2, 0.2)}, "FA-PointNet reaches the error of the paper"),
        ({"FA-Local-PointNet": (0.2, 0.2)}, "FA-Local-PointNet reaches the error of the paper"),
        ({"FA-DGCNN": (0.1, 0.1)}, "FA-DGCNN reaches the error of the paper"),
    ],
)
def test_a_claim_that_does_not_hold_is_said_not_to(study, changes, broken):
    found = verdicts(study, "paper", changes=changes, source="abc")
    (text,) = (text for text in found if broken in text)
    assert found[text] is False


def test_only_the_shapes_of_abc_test_the_numbers_of_the_paper(study):
    assert [claim.holds for claim in study.claims(finished(study, "paper"), "paper")][-3:] == [None] * 3
    assert [claim.holds for claim in study.claims(finished(study, "desk", source="abc"), "desk")][-3:] == [None] * 3


def test_smoke_tests_no_bar_that_needs_training(study):
    assert [claim.holds for claim in study.claims(finished(study, "smoke"), "smoke")] == [True, *[None] * 11]


def test_the_networks_are_what_the_rows_say(study):
    nets = {t.name: study.backbone(t.config["backbone"], None) for t in study.trials("paper") if t.name != PLANE_FIT}
    assert isinstance(nets["plain"], Patchwise)
    assert not isinstance(nets["plain"].net, FrameAveraging)
    assert nets[LOCAL].net.samples is None
    assert nets[LOCAL_STOCHASTIC].net.samples == 1
    assert isinstance(nets["FA-Local-PointNet"], FALocalPointNet)


def test_the_smoke_scale_goes_all_the_way(plain, study, tmp_path, monkeypatch):
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    result = run_study(study, "smoke", tmp_path)
    assert [record.reason for record in result.records if record.status != "done"] == []
    assert result.claims[0].holds
    by_name = {record.trial.name: record.metrics for record in result.records}
    assert by_name[LOCAL]["equivariance_verdict"] == "exact"
    assert by_name["plain"]["equivariance_verdict"] != "exact"
    assert by_name[LOCAL]["error_other_mean"] != by_name[LOCAL]["test_error"]
    assert by_name[PLANE_FIT]["parameters"] == 0
    page = result.page.read_text()
    assert "The dashed line is the plane fit" in page
    assert "averaged the other way" in page

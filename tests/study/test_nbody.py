"""The n-body study: what it asks, what it claims, and that its smoke scale goes all the way."""

import pytest

from torsor.build import FAGNN
from torsor.build.backbones import MessagePassing
from torsor.study import Record, builtin_study
from torsor.study.builtin.nbody import FA_GNN, FLOOR, LONG_AUGMENTED, LONG_STOCHASTIC

ERRORS = {
    "plain": (0.033, 8.0), "augmented": (0.0268, 7.0), "canonical_frame": (0.0291, 6.0),
    "stochastic_frames": (0.0254, 17.0), "frame_averaged": (0.0187, 48.0), LONG_AUGMENTED: (0.0151, 25.0),
    LONG_STOCHASTIC: (0.0148, 45.0), FA_GNN: (0.0200, 60.0),
}  # fmt: skip


@pytest.fixture
def study():
    return builtin_study("nbody")


def finished(study, scale="desk", changes=()):
    """Records as a run could leave them."""
    found = []
    for trial in study.trials(scale):
        if trial.name == FLOOR:
            metrics = {"floor": 0.0021}
        else:
            error, seconds = (ERRORS | dict(changes))[trial.name]
            metrics = {"test_error": error, "transformed_error": error, "cpu_seconds": seconds}
            metrics |= {"equivariance_error": 1e-7, "test_blocks": [error] * 40, "transformed_blocks": [error] * 40}
            metrics |= {"train_samples": 300, "epochs": trial.config["epochs"]}
        found.append(Record(trial, "done", metrics=metrics))
    return found


def test_the_protocol_is_that_of_few_scenes(study):
    trials = [trial for trial in study.trials("desk") if trial.name != FLOOR]
    assert {trial.seed for trial in trials} == {1, 2}
    for trial in trials:
        config = trial.config
        assert (config["data"]["train"], config["data"]["test"]) == (300, 1000)
        assert (config["batch_size"], config["lr"], config["schedule"]) == (100, 2e-3, "cosine")
        if trial.name != FA_GNN:
            assert config["backbone"] == {"hidden": 40, "layers": 3}
        assert config["epochs"] == 200 or trial.name in (LONG_AUGMENTED, LONG_STOCHASTIC)


def test_the_paper_scale_is_that_of_the_paper(study):
    config = next(trial for trial in study.trials("paper") if trial.name == "frame_averaged").config
    assert (config["data"]["train"], config["epochs"], config["lr"]) == (3000, 10_000, 1e-3)
    config = next(trial for trial in study.trials("paper") if trial.name == FA_GNN).config
    assert config["backbone"] == {"net": "FA-GNN", "channels": 20, "layers": 4}  # all 8 frames


@pytest.mark.parametrize(("error", "holds"), [(0.006, True), (0.0064, False)])
def test_the_error_of_the_paper_is_that_of_its_own_network(study, error, holds):
    records = finished(study, "paper", {FA_GNN: (error, 9000.0)}.items())
    claim = study.claims(records, "paper")[-1]
    assert (claim.measured, claim.holds) == (error, holds)


def test_the_slowest_row_has_one_seed_unless_seeds_are_asked_for(study):
    def seeds(**how):
        return [trial.seed for trial in study.trials("desk", **how) if trial.name == FA_GNN]

    assert seeds() == [1]
    assert seeds(seeds=(3, 4)) == [3, 4]


def test_the_backbone_of_an_arm_is_its_own(study):
    (trial,) = (t for t in study.trials("smoke") if t.name == FA_GNN)
    model = study.backbone(trial.config["backbone"], None)
    assert isinstance(model, FAGNN)
    assert isinstance(study.backbone({"hidden": 8, "layers": 1}, None), MessagePassing)


def test_nothing_is_tested_before_anything_ran(study):
    claims = study.claims([], "desk")
    assert len(claims) == 7
    assert all(claim.holds is None and claim.measured is None for claim in claims)
    assert [claim.paper_value for claim in claims if claim.scale == "paper"] == [0.0057]


def test_the_claims_hold_where_the_numbers_are_those_of_the_calibration(study):
    claims = study.claims(finished(study), "desk")
    assert [claim.holds for claim in claims] == [True] * 6 + [None]
    assert claims[1].measured == pytest.approx(0.0187 / 0.033)
    assert claims[2].measured == pytest.approx(0.0187 / 0.0268)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"frame_averaged": (0.030, 48.0)}, [1, 2]),
        ({"augmented": (0.02, 7.0)}, [2]),
        ({LONG_AUGMENTED: (0.02, 25.0)}, [3]),
        ({LONG_AUGMENTED: (0.0151, 99.0)}, [3]),
        ({LONG_STOCHASTIC: (0.0148, 60.0)}, [4]),
    ],
)
def test_a_claim_that_does_not_hold_is_said_not_to(study, changes, broken):
    claims = study.claims(finished(study, changes=changes.items()), "desk")
    assert [i for i, claim in enumerate(claims) if claim.holds is False] == broken


def test_smoke_tests_no_bar_that_needs_training(study):
    assert [claim.holds for claim in study.claims(finished(study, "smoke"), "smoke")] == [True, *[None] * 6]


def test_the_answer_tells_both_budgets_and_the_floor(study):
    answer = study.answer(finished(study), "desk")
    words = " ".join(answer.reasons)
    assert "At equal epochs frame_averaged has the lowest error, 0.0187." in words
    assert f"{LONG_AUGMENTED} reaches 0.0151 in 25 CPU seconds." in words
    assert "No equivariant model can get below 0.0021" in words


def test_the_floor_is_drawn_and_is_no_row_of_the_table(study):
    records = finished(study)
    costs = [f for f in study.figures(records, "desk") if f.title.startswith("Error against")]
    assert len(costs) == 2
    assert all(figure.layout["shapes"][0]["y0"] == 0.0021 for figure in costs)
    assert FLOOR not in [row["name"] for row in study.tables(records, "desk")[0].rows]

"""A comparison from end to end: a user's data and model in, measured treatments out."""

import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.study.conftest import STUDY, arrays
from torsor import learn
from torsor.study import _treatment, find_study, known_treatments, run_study, treatment
from torsor.study._comparison import accepts_names, thinned


def only(*names):
    """The study file with these treatments alone."""
    return STUDY.replace('["plain", "augmented", "frame_averaged", "group_averaged"]', str(list(names)))


def run(path, **options):
    result = run_study(find_study(str(path)), "desk", path.parent / "results", **options)
    assert [r.reason for r in result.records if r.status == "failed"] == []
    return result


def test_a_study_of_ones_own_measures_everything_that_the_page_shows(own):
    result = run(own())
    by_name = {record.trial.name: record for record in result.records}
    skipped = by_name.pop("group_averaged")
    assert (skipped.status, "infinitely many elements" in skipped.reason) == ("skipped", True)
    for record in by_name.values():
        metrics = record.metrics
        assert (metrics["epochs"], metrics["train_samples"], metrics["test_samples"]) == (3, 42, 9)
        assert metrics["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
        assert min(metrics[k] for k in ("test_error", "transformed_error", "inference_ms", "memory_mb")) > 0
        assert min(metrics[k] for k in ("train_seconds", "cpu_seconds")) > 0
        low, high = metrics["equivariance_interval"]
        assert low <= metrics["equivariance_error"] <= high
        weights = load_file(result.page.parent / "weights" / f"{record.trial.key}.safetensors")
        assert sum(w.numel() for w in weights.values()) == metrics["parameters"]
        assert not (result.page.parent / "checkpoints" / record.trial.key).exists()
    assert by_name["frame_averaged"].metrics["equivariance_verdict"] == "exact"
    assert by_name["frame_averaged"].metrics["memory_mb"] > 4 * by_name["plain"].metrics["memory_mb"]
    assert by_name["plain"].metrics["equivariance_verdict"] != "exact"
    same = by_name["frame_averaged"].metrics
    assert same["transformed_error"] == pytest.approx(same["test_error"], rel=1e-4)
    assert result.complete


def test_the_same_seed_gives_the_same_numbers(own):
    path = own(only("augmented", "stochastic_frames"))
    first = run(path)
    again = run(path, fresh=True)
    timed = {"train_seconds", "cpu_seconds", "inference_ms", "history"}
    for a, b in zip(first.records, again.records, strict=True):
        assert {k: v for k, v in a.metrics.items() if k not in timed} == {
            k: v for k, v in b.metrics.items() if k not in timed
        }


class Faltering:
    """Mean squared error that notes each epoch in a file, and breaks off after the third of the first run."""

    def __init__(self, notes):
        self.notes = notes

    def __call__(self, model, batch):
        return learn.mse(model, batch)

    def on_epoch_end(self, epoch, epochs):
        first = not self.notes.exists() or "broke" not in self.notes.read_text()
        with self.notes.open("a") as file:
            file.write(f"{epoch} ")
            if epoch == 3 and first:
                file.write("broke ")
                raise KeyboardInterrupt


def test_a_trial_that_was_cut_off_goes_on_from_its_checkpoint(own, tmp_path, monkeypatch):
    monkeypatch.setattr(_treatment, "_TREATMENTS", known_treatments())
    notes = tmp_path / "notes"

    @treatment("faltering", "breaks off once")
    def faltering(backbone, dataset, options):
        return backbone(), Faltering(notes)

    path = own(only("faltering").replace("epochs = 3", "epochs = 6"))
    with pytest.raises(KeyboardInterrupt):
        run(path)
    result = run(path)
    first, second = notes.read_text().split("broke")
    assert first.split() == ["1", "2", "3"]
    assert second.split()[0] in ("2", "3")
    assert second.split()[-1] == "6"
    assert result.records[0].metrics["epochs"] == 6
    assert len(result.records[0].metrics["history"]) == 6


def test_all_treatments_are_tested_on_the_same_transformed_samples(own):
    """An exact model is as good on moved samples only if targets move with the inputs."""
    record = run(own(only("frame_averaged"))).records[0]
    a, b = record.metrics["test_blocks"], record.metrics["transformed_blocks"]
    assert a == pytest.approx(b, rel=1e-3)


def test_inputs_go_in_order_to_a_model_that_has_other_names_for_them(own):
    run(own(only("plain"), arguments="first, second"))


def test_names_are_accepted_where_the_model_has_them():
    class Net(torch.nn.Module):
        def forward(self, x, v=None):
            return x

    assert accepts_names(Net(), ["x", "v"])
    assert accepts_names(lambda **inputs: None, ["x"])
    assert not accepts_names(Net(), ["x", "w"])
    assert not accepts_names(lambda x, /: x, ["x"])


def test_other_data_another_model_or_other_epochs_are_new_trials(own):
    def keys(path):
        return {trial.key for trial in find_study(str(path)).trials("desk")}

    path = own()
    before = keys(path)
    assert keys(path) == before
    own(y=arrays()["y"] + 1)
    other_data = keys(path)
    own(arguments="v, x")
    other_model = keys(path)
    own(STUDY.replace("epochs = 3", "epochs = 4"))
    other_epochs = keys(path)
    assert all(before.isdisjoint(other) for other in (other_data, other_model, other_epochs))


def test_a_scale_changes_what_its_section_says(own):
    study = find_study(str(own(STUDY + "\n[scales.smoke]\nepochs = 1\nseeds = [4, 5]\n")))
    assert {(t.config["epochs"], t.seed) for t in study.trials("smoke")} == {(1, 4), (1, 5)}
    assert {(t.config["epochs"], t.seed) for t in study.trials("desk")} == {(3, 0)}


def test_several_sizes_give_a_figure_of_data_efficiency(own):
    result = run(own(only("plain").replace("seeds = [0]", "seeds = [0]\ntrain_sizes = [10, 40]")))
    assert [r.metrics["train_samples"] for r in result.records] == [10, 40]
    assert "Data efficiency" in result.page.read_text()


def test_data_sets_and_backbones_of_torsor_go_by_name(own):
    text = """
title = "Turned digits?"
treatments = ["plain", "group_averaged"]
epochs = 1
seeds = [0]
[data]
name = "digits"
options = { group = "C(4)", train = 64, valid = 16, test = 32 }
[backbone]
name = "mlp"
options = { hidden = 16 }
[test]
audit_samples = 8
draws = 1
"""
    by_name = {record.trial.name: record.metrics for record in run(own(text)).records}
    assert by_name["group_averaged"]["equivariance_verdict"] == "exact"
    assert 0.3 < by_name["plain"]["test_error"] <= 1
    assert by_name["plain"]["test_error"] * 32 == pytest.approx(round(by_name["plain"]["test_error"] * 32))


def test_a_finite_group_is_averaged_whole(own):
    record = run(own(only("group_averaged").replace('group = "E(3)"', 'group = "Trivial(3)"'))).records[0]
    assert record.metrics["equivariance_verdict"] == "exact"


def refused(path, words):
    """The study is refused, and nothing of a trial is there."""
    with pytest.raises(ValueError) as error:
        run_study(find_study(str(path)), "desk", path.parent / "results")
    assert words in str(error.value)
    assert not list((path.parent / "results").glob("*.html"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"augmented"', '{ name = "augmented", options = { groop = "SO(3)" } }',
         "treatment augmented: unknown option 'groop' of the treatment, did you mean \"group\"?"),
        ("their_model:build", "their_model:nothing", "[backbone] their_model:nothing cannot be made"),
        ("their_model:build", "no_model:build", "there is no module 'no_model' on the path"),
        ("hidden = 8", "width = 8", "unexpected keyword argument 'width'"),
        ("hidden = 8", "hidden = -1", "[backbone] their_model:build cannot be made: RuntimeError"),
        ('"E(3)"', '"SO(2)"', "x: the last axis must have the 2 coordinates of SO(2)"),
        ('output = "point"', 'output = { y = "point" }', "output must be {y: Point}; got tensor"),
    ],
)  # fmt: skip
def test_what_no_trial_could_run_with_is_refused_before_the_first(own, old, new, words):
    assert old in STUDY
    refused(own(STUDY.replace(old, new)), words)


def test_a_network_that_does_not_take_the_inputs_is_refused_before_the_first_trial(own):
    refused(own(arguments="x, v, a"), "[backbone] their_model:build does not fit [data]: TypeError")


def test_a_network_that_does_not_give_the_targets_is_refused_before_the_first_trial(own):
    text = STUDY.replace('output = "point"', 'output = "scalar"')
    refused(own(text, y=np.zeros((60, 4, 2))), "output must have the shape of its target")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": None}, "has no 'y'; it has x, v"),
        ({"y": np.zeros((7, 4, 3))}, "targets has 7 samples and inputs.x has 60"),
        ({"x": np.full((60, 4, 3), np.nan)}, "inputs.x"),
        ({"x": np.array(["a"] * 60)}, "must hold numbers"),
    ],
)
def test_data_that_do_not_fit_are_named(own, change, words):
    refused(own(**change), words)


def test_inputs_are_matched_with_their_actions_by_name(own):
    swapped = (
        only("plain").replace('inputs = ["x", "v"]', 'inputs = ["v", "x"]').replace("epochs", 'name = "s"\nepochs')
    )
    study = find_study(str(own(swapped)))
    dataset = study.dataset(study.plan("desk").data)
    assert list(dataset.train.inputs) == list(dataset.symmetry.inputs) == ["x", "v"]
    study = find_study(str(own(STUDY.replace('inputs = ["x", "v"]', 'inputs = ["x", "y"]'))))
    with pytest.raises(ValueError, match=r"\[data\] has the inputs x, y, and \[symmetry\] has x, v"):
        study.dataset({})
    study = find_study(str(own(STUDY.replace('{ x = "point", v = "vector" }', '["point", "vector"]'))))
    assert isinstance(study.dataset({}).train.inputs, tuple)


def test_double_precision_reaches_the_model(own):
    record = run(own(only("plain").replace("[data]", '[data]\ndtype = "float64"'))).records[0]
    weights = load_file(own().parent / "results" / "weights" / f"{record.trial.key}.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float64}


def test_a_missing_data_file_is_named_before_anything_runs(own):
    path = own(STUDY.replace("data.npz", "nothing.npz"))
    with pytest.raises(ValueError, match=r"nothing\.npz: No such file"):
        run_study(find_study(str(path)), "desk", path.parent / "results")


def test_a_pickle_in_an_npz_is_not_loaded(own):
    refused(own(x=np.array([print] * 60, dtype=object)), "cannot be read")


def test_tables_tensors_and_python_are_sources_too(own, tmp_path):
    path, data = own(), {name: torch.from_numpy(a).float() for name, a in arrays().items()}
    from safetensors.torch import save_file

    save_file(data, tmp_path / "data.safetensors")
    torch.save(data, tmp_path / "data.pt")
    columns = {f"{name}{i}": a[:, 0, i].numpy() for name, a in data.items() for i in range(3)}
    rows = [",".join(columns), *(",".join(f"{x:.9g}" for x in row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    (tmp_path / "their_data.py").write_text(
        "import torch\nfrom torsor.data import Samples\n"
        "def load(n):\n    d = torch.load('data.pt', weights_only=True)\n"
        "    return Samples({'x': d['x'][:n], 'v': d['v'][:n]}, d['y'][:n])\n".replace(
            "'data.pt'", repr(str(tmp_path / "data.pt"))
        )
    )
    three = {name: [f"{name}{i}" for i in range(3)] for name in "xvy"}
    sources = {
        "safetensors": 'file = "data.safetensors"\ninputs = ["x", "v"]\ntargets = "y"',
        "pt": 'file = "data.pt"\ninputs = { x = "x", v = "v" }\ntargets = "y"',
        "csv": f'file = "data.csv"\ninputs = {{ x = {three["x"]}, v = {three["v"]} }}\ntargets = {three["y"]}',
        "python": 'callable = "their_data:load"\noptions = { n = 60 }',
    }
    section = re.compile(r'file = .*?targets = "y"', re.DOTALL)
    sets = {}
    for kind, words in sources.items():
        study = find_study(str(own(section.sub(lambda _, words=words: words, STUDY))))
        sets[kind] = study.dataset(study.plan("desk").data)
    sys.modules.pop("their_data")
    study = find_study(str(path))
    whole = study.dataset(study.plan("desk").data)
    for kind, dataset in sets.items():
        assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (42, 9, 9)
        row = (slice(None), 0) if kind == "csv" else slice(None)  # a table holds one vector per sample
        for name in "xv":
            torch.testing.assert_close(dataset.train.inputs[name], whole.train.inputs[name][row])
        torch.testing.assert_close(dataset.test.targets, whole.test.targets[row])


def test_a_treatment_is_registered_by_its_name_once():
    first = known_treatments()["plain"].build
    with pytest.raises(ValueError, match="treatment 'plain' is taken"):
        treatment("plain", "another")(lambda backbone, dataset, options: None)
    assert known_treatments()["plain"].build is first


def test_a_learning_curve_is_thinned_and_keeps_its_end():
    history = [{"epoch": i} for i in range(1, 1001)]
    kept = thinned(history)
    assert len(kept) <= 61
    assert kept[-1] == {"epoch": 1000}
    assert thinned(history[:5]) == history[:5]


def test_each_test_sample_is_moved_as_often_as_the_file_says(own):
    errors = []
    for draws in (1, 8):
        text = only("plain").replace("[test]", f"[test]\ndraws = {draws}")
        record = run(own(text)).records[0]
        errors.append(record.metrics["transformed_error"])
        assert record.trial.config["test_draws"] == draws
    assert errors[0] != pytest.approx(errors[1], rel=1e-6)

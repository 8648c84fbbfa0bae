"""A training that is interrupted and goes on is the training that was never interrupted; nothing is lost on the way."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from torsor import O, Symmetry, Vector, learn
from torsor.data import Samples
from torsor.learn import _checkpoint

pytestmark = pytest.mark.usefixtures("plain")  # thousands of small calls


class Stop(Exception):
    pass


class StopAfter:
    """A logger that ends the training after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def log(self, values):
        if values["epoch"] == self.epoch:
            raise Stop


class Dual:
    """An objective with a dual variable, parameters of its own and a random generator."""

    def __init__(self):
        self.weight = nn.Parameter(torch.ones(()))
        self.dual = 0.0
        self.generator = torch.Generator().manual_seed(5)

    def __call__(self, model, batch):
        loss, logs = learn.mse(model, batch)
        noise = torch.rand((), generator=self.generator)
        return loss * (1 + self.dual) + (self.weight - noise).square(), dict(logs)

    def on_step_end(self, step):
        self.dual = max(0.0, self.dual + 0.01 * (float(step.loss) - 0.1))

    def on_epoch_end(self, epoch, epochs):
        return {"dual": self.dual}

    def parameters(self):
        return [self.weight]

    def state_dict(self):
        return {"dual": self.dual, "generator": self.generator.get_state()}

    def load_state_dict(self, state):
        self.dual = state["dual"]
        self.generator.set_state(state["generator"])


def data(n=24):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 3, generator=generator)
    return Samples(x, x.cross(x.roll(1, -1), dim=-1))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def law():
    return Symmetry(O(3), Vector(), Vector())


OBJECTIVES = {
    "mse": lambda: learn.mse,
    "augmented": lambda: learn.augmented(learn.mse, law()),
    "augmented from a generator": lambda: learn.augmented(learn.mse, law(), torch.Generator().manual_seed(9)),
    "dual": Dual,
    "augmented dual": lambda: learn.augmented(Dual(), law(), torch.Generator().manual_seed(9)),
}


def train(model, objective, **options):
    settings = {"valid": data(10), "epochs": 6, "batch_size": 7, "lr": 0.05, "seed": 4} | options
    return learn.fit(model, data(), objective, **settings)


def without_times(result):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]
    return rows, result.best_epoch, result.best_valid, result.epochs_run, result.stopped


def saving_always(monkeypatch):
    monkeypatch.setattr("torsor.learn._fit._SAVING_SHARE", float("inf"))


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path, monkeypatch, kind, stop):
    saving_always(monkeypatch)
    whole, straight = network(), OBJECTIVES[kind]()
    expected = train(whole, straight)
    with pytest.raises(Stop):
        train(network(), OBJECTIVES[kind](), checkpoint=tmp_path / "state", loggers=[StopAfter(stop)])
    model, objective = network(), OBJECTIVES[kind]()
    with torch.no_grad():  # what a resumed model starts from does not matter
        model[0].weight.zero_()
    torch.rand(7)
    result = train(model, objective, checkpoint=tmp_path / "state")
    assert without_times(result) == without_times(expected)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    if isinstance(straight, Dual):
        assert torch.equal(straight.weight, objective.weight)
        assert straight.dual == objective.dual > 0


@pytest.mark.parametrize(
    "optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam]
)
def test_the_state_of_any_optimiser_is_kept(tmp_path, monkeypatch, optimizer):
    saving_always(monkeypatch)
    whole, model = network(), network()
    expected = train(whole, learn.mse, optimizer=optimizer, lr=1e-3)
    with pytest.raises(Stop):
        train(network(), learn.mse, optimizer=optimizer, lr=1e-3, checkpoint=tmp_path, loggers=[StopAfter(3)])
    result = train(model, learn.mse, optimizer=optimizer, lr=1e-3, checkpoint=tmp_path)
    assert without_times(result) == without_times(expected)


def test_patience_goes_on_counting(tmp_path, monkeypatch):
    saving_always(monkeypatch)
    options = {"epochs": 40, "patience": 3, "lr": 0.3, "schedule": "constant"}
    expected = train(network(), learn.mse, **options)
    assert expected.stopped
    stop = StopAfter(expected.epochs_run - 1)
    with pytest.raises(Stop):
        train(network(), learn.mse, checkpoint=tmp_path, loggers=[stop], **options)
    assert without_times(train(network(), learn.mse, checkpoint=tmp_path, **options)) == without_times(expected)


def test_a_finished_training_is_not_run_again(tmp_path):
    model, again = network(), network()
    expected = train(model, learn.mse, checkpoint=tmp_path)

    def forbidden(model, batch):
        raise AssertionError("trained again")

    forbidden.__qualname__ = "mse"
    assert without_times(train(again, forbidden, checkpoint=tmp_path)) == without_times(expected)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_without_resume_the_training_starts_again(tmp_path):
    first = train(network(), learn.mse, checkpoint=tmp_path)
    lines = []

    class Lines:
        def log(self, values):
            lines.append(values["epoch"])

    second = train(network(), learn.mse, checkpoint=tmp_path, resume=False, loggers=[Lines()])
    assert lines == [1, 2, 3, 4, 5, 6]
    assert without_times(first) == without_times(second)


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    written = []
    save = _checkpoint.save

    def counted(folder, state, summary):
        written.append(summary["epoch"])
        save(folder, state, summary)

    monkeypatch.setattr(_checkpoint, "save", counted)
    monkeypatch.setattr("torsor.learn._fit._SAVING_SHARE", 1e-12)
    train(network(), learn.mse, checkpoint=tmp_path)
    assert written == [1, 6]  # the first, so that a kill finds something, and the last


def test_a_checkpoint_is_two_files_of_safetensors_and_json(tmp_path):
    train(network(), learn.mse, checkpoint=tmp_path / "state")
    index, tensors = sorted((tmp_path / "state").iterdir())
    assert json.loads(index.read_text())["settings"]["batch_size"] == 7
    from safetensors.torch import load_file

    assert "state.model.0.weight" in load_file(tensors)


@pytest.mark.parametrize("write", range(1, 5))
def test_a_crash_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch, write):
    """Every write of the second save fails in turn: before and after the bytes of each file are on the disk."""
    saving_always(monkeypatch)
    with pytest.raises(Stop):
        train(network(), learn.mse, checkpoint=tmp_path, loggers=[StopAfter(1)])
    calls = []

    def failing(original):
        def call(*args, **kwargs):
            calls.append(original)
            if len(calls) == write:
                raise OSError("no space left on device")
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        patch.setattr(Path, "replace", failing(Path.replace))
        with pytest.raises(OSError, match="no space left"):
            train(network(), learn.mse, checkpoint=tmp_path)
    state, summary = _checkpoint.load(tmp_path)
    assert (state["epoch"], summary["epoch"]) == (1, 1)
    assert without_times(train(network(), learn.mse, checkpoint=tmp_path)) == without_times(train(network(), learn.mse))
    assert len(list(tmp_path.iterdir())) == 2  # nothing half-written stays


def test_a_killed_process_loses_nothing(tmp_path):
    script = """
        import os, signal, sys, warnings
        import torch
        from tests.learn.test_checkpoint import network, train, saving_always
        from torsor import learn
        import torsor.learn._fit as fit
        fit._SAVING_SHARE = float("inf")
        class Kill:
            def log(self, values):
                if values["epoch"] == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
        torch.set_num_threads(1)
        train(network(), learn.mse, checkpoint=sys.argv[1], loggers=[Kill()])
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    killed = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert _checkpoint.load(tmp_path)[1]["epoch"] == 3
    assert without_times(train(network(), learn.mse, checkpoint=tmp_path)) == without_times(train(network(), learn.mse))


DAMAGE = {
    "index cut": lambda index, tensors: index.write_text(index.read_text()[:100]),
    "index empty": lambda index, tensors: index.write_bytes(b""),
    "index no object": lambda index, tensors: index.write_text("[1, 2]"),
    "index of another format": lambda index, tensors: index.write_text('{"format": 99}'),
    "index without a state": lambda index, tensors: index.write_text('{"format": 1}'),
    "tensors cut": lambda index, tensors: tensors.write_bytes(tensors.read_bytes()[:-20]),
    "tensors changed": lambda index, tensors: tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x7f"),
    "tensors gone": lambda index, tensors: tensors.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_kept_aside_with_a_warning(tmp_path, damage):
    folder = tmp_path / "state"
    expected = train(network(), learn.mse, checkpoint=folder)
    (folder / "mine.txt").write_text("not ours")
    for round_ in ("", "-2"):
        index, tensors = folder / "checkpoint.json", next(folder.glob("tensors-*.safetensors"))
        DAMAGE[damage](index, tensors)
        content = index.read_bytes()
        with pytest.warns(UserWarning, match=r"the checkpoint in .* cannot be read \(.*kept there as checkpoint.json"):
            result = train(network(), learn.mse, checkpoint=folder)
        assert without_times(result) == without_times(expected)
        assert (folder / f"checkpoint.json.corrupt{round_}").read_bytes() == content
        assert (folder / "mine.txt").read_text() == "not ours"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": 9}, "epochs was 6 and is 9"),
        ({"batch_size": 5}, "batch_size was 7 and is 5"),
        ({"lr": 0.01}, "lr was 0.05 and is 0.01"),
        ({"weight_decay": 0.1}, "weight_decay was 0.0 and is 0.1"),
        ({"schedule": "constant"}, "schedule was cosine and is constant"),
        ({"patience": 3}, "patience was None and is 3"),
        ({"seed": 5}, "seed was 4 and is 5"),
        ({"optimizer": torch.optim.SGD}, "optimizer was AdamW and is SGD"),
        ({"precision": "bf16-mixed"}, "precision was 32-true and is bf16-mixed"),
        ({"valid": data(11)}, "valid was 10 samples, .* and is 11 samples"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_left_alone(tmp_path, changed, words):
    train(network(), learn.mse, checkpoint=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(learn.CheckpointError, match=f"belongs to another training: {words}.*resume=False"):
        train(network(), learn.mse, checkpoint=tmp_path, **changed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_data_another_objective_and_another_model_are_noticed(tmp_path):
    train(network(), learn.mse, checkpoint=tmp_path)
    settings = {"valid": data(10), "epochs": 6, "batch_size": 7, "lr": 0.05, "seed": 4, "checkpoint": tmp_path}
    moved = Samples((data().inputs[0] + 1,), data().targets)
    with pytest.raises(learn.CheckpointError, match="training: data was 24 samples, .* and is 24 samples, "):
        learn.fit(network(), moved, learn.mse, **settings)
    with pytest.raises(learn.CheckpointError, match="training: objective was mse and is augmented"):
        learn.fit(network(), data(), learn.augmented(learn.mse, law()), **settings)
    with pytest.raises(learn.CheckpointError, match="training: model was 75 parameters, .* and is 12 parameters"):
        learn.fit(nn.Linear(3, 3), data(), learn.mse, **settings)


def test_any_state_of_plain_values_comes_back(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    state = {
        "numbers": [1, 2.5, -0.0, float("inf"), float("-inf"), True, None, "word", 10**30],
        "nested": {"a.b": tied, "a": {"b": tied.mT}, 7: (1, (2, [3])), "dict": {"tuple": "word"}},
        "tensors": [torch.tensor(3), torch.zeros(0, 4), torch.ones(2, dtype=torch.bfloat16), torch.tensor([True])],
        "empty": [{}, (), []],
    }
    _checkpoint.save(tmp_path, state, {"note": "here"})
    back, summary = _checkpoint.load(tmp_path)
    assert summary["note"] == "here"
    assert repr(back) == repr(state)
    for a, b in zip(back["tensors"], state["tensors"], strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_what_is_not_plain_is_refused_with_its_place(tmp_path):
    with pytest.raises(TypeError, match=r"state.objective\[1\].x is a set"):
        _checkpoint.save(tmp_path, {"objective": [0, {"x": {1}}]}, {})
    with pytest.raises(TypeError, match="state.a has other keys"):
        _checkpoint.save(tmp_path, {"a": {1.5: 0}}, {})
    assert not list(tmp_path.iterdir())


def test_a_diverged_training_leaves_its_last_checkpoint(tmp_path, monkeypatch):
    saving_always(monkeypatch)

    def diverging(model, batch):
        loss, logs = learn.mse(model, batch)
        diverging.calls += model.training
        return (loss * float("nan") if diverging.calls > 10 else loss), logs

    diverging.calls = 0
    with pytest.raises(
        learn.DivergedError, match=r"training loss is nan in epoch 3, step 11 \(learning rate 0\.0\d+\)"
    ):
        train(network(), diverging, checkpoint=tmp_path)
    assert _checkpoint.load(tmp_path)[0]["epoch"] == 2

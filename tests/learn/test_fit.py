"""The one training loop: what it learns, what it repeats, when it stops, what it refuses."""

import json
import math
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from torsor import O, Symmetry, Vector, learn
from torsor.data import Samples

ROOT = Path(__file__).parents[2]


def linear(n=40, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=dtype)
    return Samples(x, x @ torch.arange(9.0, dtype=dtype).reshape(3, 3))


def network(dtype=None):
    torch.manual_seed(0)
    return nn.Linear(3, 3, dtype=dtype)


def train(model, objective=learn.mse, data=None, **options):
    settings = {"epochs": 5, "batch_size": 16, "lr": 0.1} | options
    return learn.fit(model, linear() if data is None else data, objective, **settings)


class TestWhatItLearns:
    def test_a_linear_map_is_found(self):
        model = network()
        result = train(model, valid=linear(20, seed=1), epochs=60, lr=1.0)
        torch.testing.assert_close(model.weight.T, torch.arange(9.0).reshape(3, 3), atol=1e-2, rtol=0)
        assert result.best_valid < 1e-4
        assert not result.stopped
        assert result.epochs_run == 60

    def test_the_model_ends_with_its_best_weights_in_evaluation_mode(self):
        valid = linear(20, seed=1)
        model = network()
        result = train(model, valid=valid, epochs=12, lr=4.0, schedule="constant")
        scores = [row["valid"] for row in result.history]
        assert result.best_valid == min(scores) < scores[-1]
        assert result.best_epoch == 1 + scores.index(min(scores))
        assert learn.evaluate(model, valid, learn.mse)["loss"] == pytest.approx(result.best_valid, rel=1e-6)
        assert not model.training

    def test_without_validation_the_last_weights_stay(self):
        model = network()
        result = train(model, epochs=3)
        assert (result.best_epoch, result.best_valid) == (3, None)
        assert "valid" not in result.history[-1]
        longer = network()
        train(longer, valid=linear(20, seed=1), epochs=3)
        torch.testing.assert_close(model.weight, longer.weight, rtol=0, atol=0)  # validation teaches nothing

    def test_no_epochs_change_nothing(self):
        model, before = network(), network()
        result = train(model, epochs=0, valid=linear())
        assert torch.equal(model.weight, before.weight)
        assert (result.epochs_run, result.best_epoch, result.best_valid, result.history) == (0, 0, None, [])

    def test_patience_ends_it(self):
        valid = Samples(linear().inputs, -linear().targets)  # the better the training, the worse the validation
        result = train(network(), valid=valid, epochs=50, patience=4)
        assert result.stopped
        assert result.epochs_run == result.best_epoch + 4

    def test_stochastic_depth_and_frames_draw_from_the_seed(self):
        def run(seed):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 3))
            return train(model, learn.augmented(learn.mse, Symmetry(O(3), Vector(), Vector())), seed=seed).history

        def losses(history):
            return [row["train"] for row in history]

        assert losses(run(1)) == losses(run(1)) != losses(run(2))

    def test_double_precision_stays_double(self):
        seen = set()

        def objective(model, batch):
            loss, logs = learn.mse(model, batch)
            seen.add(loss.dtype)
            return loss, logs

        model = network(torch.float64)
        train(model, objective, linear(dtype=torch.float64), valid=linear(dtype=torch.float64))
        assert seen == {torch.float64}
        assert model.weight.dtype == torch.float64

    def test_mixed_precision_comes_from_fabric(self):
        seen = set()

        class Watched(nn.Linear):
            def forward(self, x):
                out = super().forward(x)
                seen.add(out.dtype)
                return out

        model = Watched(3, 3)
        train(model, precision="bf16-mixed")
        assert seen == {torch.bfloat16}
        assert model.weight.dtype == torch.float32


class TestWhatItRepeats:
    def test_global_generators_are_as_they_were(self, plain):  # the shape checks draw from Python's own
        def draws():
            return random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002

        def seed():
            random.seed(3)
            np.random.seed(3)  # noqa: NPY002
            torch.manual_seed(3)

        model = network()
        seed()
        expected = draws()
        seed()
        train(model, learn.augmented(learn.mse, Symmetry(O(3), Vector(), Vector())))
        assert draws() == expected
        seed()
        with pytest.raises(learn.DivergedError):
            train(model, lambda model, batch: (learn.mse(model, batch)[0] * torch.rand(()) * np.nan, {}))
        assert draws() == expected

    def test_what_was_drawn_before_does_not_matter(self):
        first = train(network()).history
        model = network()
        torch.rand(5)
        assert [row["train"] for row in train(model).history] == [row["train"] for row in first]

    def test_validation_draws_the_same_in_every_epoch_and_nothing_from_training(self):
        def noisy(model, batch):
            loss, logs = learn.mse(model, batch)
            return loss * (1 + torch.rand(())), logs

        def still(model, batch):
            return torch.rand(()), {}

        class Objective:
            def __init__(self, validate):
                self.validate = validate

            def __call__(self, model, batch):
                return noisy(model, batch)

        alone = train(network(), Objective(noisy))
        result = train(network(), Objective(still), valid=linear(20))
        assert len({row["valid"] for row in result.history}) == 1
        assert [row["train"] for row in result.history] == [row["train"] for row in alone.history]

    def test_every_sample_comes_once_in_every_epoch_in_a_new_order(self):
        seen = []

        def objective(model, batch):
            seen.append(batch.inputs[0][:, 0])
            return learn.mse(model, batch)

        data = linear()
        train(network(), objective, data, epochs=2)
        assert [len(x) for x in seen] == [16, 16, 8] * 2
        first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
        assert torch.equal(first.sort().values, data.inputs[0][:, 0].sort().values)
        assert torch.equal(second.sort().values, first.sort().values)
        assert not torch.equal(first, second)


class TestSteps:
    def rates(self, schedule):
        rates = []

        class Watched(torch.optim.SGD):
            def step(self, *args, **kwargs):
                rates.append(self.param_groups[0]["lr"])
                return super().step(*args, **kwargs)

        train(network(), optimizer=Watched, epochs=2, lr=0.5, schedule=schedule)
        return rates

    def test_schedules(self):
        assert self.rates("constant") == [0.5] * 6
        assert self.rates(lambda share: share) == pytest.approx([0.5 * i / 6 for i in range(6)])
        assert self.rates("cosine") == pytest.approx([0.25 * (1 + math.cos(math.pi * i / 6)) for i in range(6)])

        up_and_down = self.rates("one_cycle")
        assert up_and_down[0] == pytest.approx(0.5 / 25)
        assert max(up_and_down) == up_and_down[2]
        assert up_and_down[5] == pytest.approx(0.25 * (1 + math.cos(math.pi * (5 / 6 - 0.3) / 0.7)))

    def test_weight_decay_reaches_the_optimiser(self):
        model, free = network(), network()
        train(model, weight_decay=0.5)
        train(free)
        assert model.weight.norm() < free.weight.norm()

    def test_the_mean_loss_counts_samples(self):
        result = train(network(), optimizer=torch.optim.SGD, lr=1e-12, epochs=1)
        expected = float(learn.mse(network(), linear())[0].detach())
        assert result.history[0]["train"] == pytest.approx(expected, rel=1e-5)

    def test_frozen_parameters_stay(self):
        model = network()
        model.bias.requires_grad_(False)
        before = model.bias.clone()
        train(model)
        assert torch.equal(model.bias, before)


class TestHooks:
    def test_they_are_called_in_order(self):
        calls = []

        class Recording(nn.Module):
            def forward(self, model, batch):
                calls.append(("forward", self.training, model.training, len(batch)))
                return learn.mse(model, batch)[0], {"size": len(batch), "info": ["any", "thing"]}

            def validate(self, model, batch):
                calls.append(("validate", self.training, model.training, torch.is_grad_enabled()))
                return learn.mse(model, batch)

            def on_fit_start(self, model, data, epochs):
                calls.append(("start", len(data), epochs))

            def on_step_end(self, step):
                assert step.logs["info"] == ["any", "thing"]
                assert not step.loss.requires_grad
                calls.append(("step", step.epoch, step.step))

            def on_epoch_end(self, epoch, epochs):
                calls.append(("epoch", epoch, epochs))
                return {"dual": 0.5}

        result = train(network(), Recording(), epochs=2, batch_size=32, valid=linear(5))
        one = [("forward", True, True, 32), ("step", 1, 1), ("forward", True, True, 8), ("step", 1, 2)]
        one += [("validate", False, False, False), ("epoch", 1, 2)]
        two = [(name, *rest) for name, *rest in one]
        two[1], two[3], two[5] = ("step", 2, 3), ("step", 2, 4), ("epoch", 2, 2)
        assert calls == [("start", 40, 2), *one, *two]
        assert result.history[0]["dual"] == 0.5
        assert result.history[0]["train_size"] == pytest.approx((32 * 32 + 8 * 8) / 40)
        assert "train_info" not in result.history[0]

    def test_parameters_of_the_objective_are_trained_and_restored_with_the_model(self):
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(()))
                self.states = []

            def forward(self, model, batch):
                return learn.mse(lambda x: model(x) * self.scale, batch)

            def on_epoch_end(self, epoch, epochs):
                self.states.append(float(self.scale.detach()))

        objective, model, valid = Scaled(), network(), linear(20, seed=1)
        result = train(model, objective, valid=valid, epochs=10, lr=20.0, schedule="constant")
        assert result.best_epoch < 10
        assert float(objective.scale.detach()) == objective.states[result.best_epoch - 1] != objective.states[-1]
        assert learn.evaluate(model, valid, objective)["loss"] == pytest.approx(result.best_valid, rel=1e-5)

    def test_parameters_that_model_and_objective_share_are_stepped_once(self):
        class Holding(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, model, batch):
                return learn.mse(model, batch)

        model, plain = network(), network()
        train(model, Holding(model))
        train(plain)
        assert torch.equal(model.weight, plain.weight)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"epochs": -1}, ValueError, "epochs must be at least 0; got -1"),
            ({"epochs": 1.5}, TypeError, "epochs must be an integer; got 1.5"),
            ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
            ({"lr": 0.0}, ValueError, "lr must be positive; got 0.0"),
            ({"lr": float("nan")}, ValueError, "lr must be positive; got nan"),
            ({"weight_decay": -1.0}, ValueError, "weight_decay must be at least 0; got -1.0"),
            ({"patience": 0, "valid": linear()}, ValueError, "patience must be at least 1; got 0"),
            ({"patience": 3}, ValueError, "patience needs valid"),
            (
                {"schedule": "linear"},
                ValueError,
                'schedule must be "cosine", "one_cycle", "constant" or a function; got \'linear\'',
            ),
            ({"data": Samples(torch.zeros(0, 3), torch.zeros(0, 3))}, ValueError, "data must hold at least one sample"),
            ({"valid": Samples(torch.zeros(0, 3), torch.zeros(0, 3))}, ValueError, "valid must hold at least one"),
        ],
    )
    def test_bad_arguments(self, plain, tmp_path, options, error, words):
        with pytest.raises(error, match=words):
            train(network(), checkpoint=tmp_path / "state", **options)
        assert not (tmp_path / "state").exists()

    def test_a_model_without_parameters(self, plain):
        with pytest.raises(ValueError, match="model must have parameters to train"):
            train(nn.Identity())

    def test_an_output_that_would_be_broadcast(self, plain):
        with pytest.raises(ValueError, match=r"output must have the shape of its target, \(16, 3\); .* \(16, 1\)"):
            train(nn.Linear(3, 1))

    @pytest.mark.parametrize(
        ("result", "error", "words"),
        [
            (lambda loss: loss, TypeError, r"objective must return \(loss, dict of logs\); got Tensor"),
            (lambda loss: (loss, 3), TypeError, r"objective must return \(loss, dict of logs\); got tuple"),
            (lambda loss: (3.0, {}), TypeError, "objective must return a tensor as its loss; got float"),
            (lambda loss: (loss.expand(2), {}), ValueError, r"one number as its loss; got shape \(2,\)"),
        ],
    )
    def test_objectives_that_return_something_else(self, plain, result, error, words):
        with pytest.raises(error, match=words):
            train(network(), lambda model, batch: result(learn.mse(model, batch)[0]))

    def test_a_validation_that_is_not_finite(self):
        class Objective:
            def __call__(self, model, batch):
                return learn.mse(model, batch)

            def validate(self, model, batch):
                return torch.tensor(float("inf")), {}

        with pytest.raises(learn.DivergedError, match="validation loss is inf after epoch 1, step 3"):
            train(network(), Objective(), valid=linear())

    def test_precision_beside_fabric(self, plain):
        from lightning_fabric import Fabric

        with pytest.raises(ValueError, match="precision belongs to fabric"):
            train(network(), fabric=Fabric(accelerator="cpu", devices=1), precision="bf16-mixed")


def python(script, *arguments):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_it_is_light():
    heavy = python("""
        import sys, torsor.learn, torsor.build.backbones
        heavy = "lightning_fabric", "rich", "safetensors", "tensorboard", "sklearn", "plotly", "pydantic"
        print([name for name in heavy if name in sys.modules])
    """)
    assert heavy.strip() == "[]"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """DistributedDataParallel over two processors: the same steps as one process with the whole batch."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import sys, json, torch
        from lightning_fabric import Fabric
        from tests.learn.test_fit import network, train, linear
        torch.set_num_threads(1)
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        model = network()
        result = train(model, valid=linear(7, seed=1), batch_size=8, fabric=fabric, checkpoint=sys.argv[1])
        assert result.epochs_run == 5
        print(json.dumps([model.weight.tolist(), result.best_valid]))
        """)
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "state")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=True)
    weights = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[[")]
    model = network()
    expected = train(model, valid=linear(7, seed=1), batch_size=8)
    assert len(weights) == 2
    for weight, best in weights:
        torch.testing.assert_close(torch.tensor(weight), model.weight.detach(), rtol=1e-4, atol=1e-5)
        assert best == pytest.approx(expected.best_valid, rel=1e-4)

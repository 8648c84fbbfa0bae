"""What training minimises: the losses, their traps, and augmentation."""

import pytest
import torch
from torch import nn

from torsor import E, Image, Point, Scalar, Symmetry, Vector, learn
from torsor.data import Samples
from torsor.symmetry import Transformation

SCENES = Symmetry(E(3), {"x": Point(), "v": Vector(), "q": Scalar()}, {"next": Point(), "energy": Scalar()})


def scenes(n=6, dtype=torch.float64):
    inputs = {"x": torch.randn(n, 5, 3, dtype=dtype), "v": torch.randn(n, 5, 3, dtype=dtype), "q": torch.randn(n, 5, 1)}
    return Samples(inputs, move(**inputs))


def move(x, v, q):
    """Equivariant under E(3)."""
    return {"next": x + v * q, "energy": v.square().sum((1, 2), keepdim=True)[:, 0]}


def shifted(x, v, q):
    out = move(x, v, q)
    return {"next": out["next"] + 1, "energy": out["energy"] + 2}


class TestMse:
    def test_is_the_mean_over_all_numbers_of_all_targets(self):
        loss, _ = learn.mse(shifted, scenes())
        torch.testing.assert_close(loss, torch.tensor((15 * 1.0 + 1 * 4.0) / 16, dtype=torch.float64))

    def test_agrees_with_torch_on_one_target(self):
        x, y = torch.randn(7, 3), torch.randn(7, 3)
        torch.testing.assert_close(learn.mse(nn.Identity(), Samples(x, y))[0], nn.functional.mse_loss(x, y))

    @pytest.mark.parametrize(("out", "target"), [((8,), (8, 1)), ((8, 1), (8,)), ((1, 3), (8, 3)), ((8, 1), (8, 3))])
    def test_never_broadcasts(self, plain, out, target):
        with pytest.raises(ValueError, match="output must have the shape of its target") as caught:
            learn.mse(lambda x: torch.zeros(out), Samples(torch.zeros(8, 2), torch.zeros(target)))
        assert str(target) in str(caught.value)
        assert str(out) in str(caught.value)

    def test_names_the_output_that_does_not_fit(self, plain):
        def wrong(x, v, q):
            return move(x, v, q) | {"energy": torch.zeros(6)}

        with pytest.raises(ValueError, match=r"output energy must have the shape of its target, \(6, 1\)"):
            learn.mse(wrong, scenes())

    @pytest.mark.parametrize(
        "out", [lambda y: y["next"], lambda y: list(y.values()), lambda y: y | {"more": y["next"]}]
    )
    def test_refuses_another_structure(self, plain, out):
        with pytest.raises(ValueError, match="output must have the structure of the targets"):
            learn.mse(lambda **x: out(move(**x)), scenes())


class TestCrossEntropy:
    def test_agrees_with_torch_and_counts_what_is_right(self):
        logits, labels = torch.randn(9, 4), torch.randint(0, 4, (9,))
        loss, logs = learn.cross_entropy(nn.Identity(), Samples(logits, labels))
        torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels))
        assert float(logs["accuracy"]) == pytest.approx(float((logits.argmax(1) == labels).float().mean()))

    @pytest.mark.parametrize(
        ("logits", "labels", "words"),
        [
            (torch.zeros(3), torch.zeros(3).long(), r"output must be logits \(3, classes\); the model returned \(3,\)"),
            (torch.zeros(3, 2), torch.tensor([0, 1, 2]), "targets must be classes 0 to 1, .* got 0 to 2"),
            (torch.zeros(3, 2), torch.tensor([0, 1, -1]), "targets must be classes 0 to 1, .* got -1 to 1"),
        ],
    )
    def test_refuses_what_is_no_classification(self, plain, logits, labels, words):
        with pytest.raises(ValueError, match=words):
            learn.cross_entropy(nn.Identity(), Samples(logits, labels))


class TestAugmented:
    def test_inputs_and_targets_move_together(self):
        loss, _ = learn.augmented(learn.mse, SCENES)(move, scenes())
        assert loss < 1e-25

    def test_a_function_without_the_symmetry_is_seen(self):
        def crooked(x, v, q):
            return move(x, v * torch.tensor([1.0, 1.0, 2.0], dtype=x.dtype), q)

        batch = scenes()
        batch = Samples(batch.inputs, crooked(**batch.inputs))
        assert learn.mse(crooked, batch)[0] == 0
        assert learn.augmented(learn.mse, SCENES)(crooked, batch)[0] > 1e-3

    def test_every_sample_and_every_step_draws_its_own_element(self):
        seen = []

        def watching(model, batch):
            seen.append(batch.inputs["v"])
            return learn.mse(model, batch)

        batch = scenes()
        same = Samples({name: x[:1].expand_as(x) for name, x in batch.inputs.items()}, batch.targets)
        objective = learn.augmented(watching, SCENES)
        for _ in range(2):
            objective(move, same)
        every = torch.cat([v.flatten(1) for v in seen])
        assert torch.cdist(every, every).fill_diagonal_(1).min() > 1e-3

    def test_draws_from_the_generator_that_it_is_given(self):
        def losses(seed):
            objective = learn.augmented(learn.mse, SCENES, torch.Generator().manual_seed(seed))
            state = torch.get_rng_state()
            found = [float(objective(lambda x, v, q: move(x + 1, v + 1, q), batch)[0]) for _ in range(3)]
            assert torch.equal(state, torch.get_rng_state())
            return found

        batch = scenes()
        assert losses(1) == losses(1)
        assert losses(1) != losses(2)

    def test_validation_sees_the_samples_as_they_are(self):
        batch = scenes()
        assert learn.augmented(learn.mse, SCENES).validate(shifted, batch)[0] == learn.mse(shifted, batch)[0]

    def test_any_transformation_will_do(self):
        class Scale:
            def sample(self, inputs, *, generator=None):
                return torch.rand(len(inputs[0]), 1, generator=generator) + 1

            def act(self, g, inputs):
                return (inputs[0] * g,)

            def act_output(self, g, out, inputs):
                return out * g

        assert isinstance(Scale(), Transformation)
        x = torch.randn(8, 3)
        objective = learn.augmented(learn.mse, Scale())
        assert objective(lambda x: 3 * x, Samples(x, 3 * x))[0] < 1e-10
        assert objective(lambda x: x.square(), Samples(x, x.square()))[0] > 1e-3

    def test_images_keep_their_labels(self):
        from torsor import Cyclic

        objective = learn.augmented(learn.cross_entropy, Symmetry(Cyclic(4), Image(), Scalar()))
        labels = torch.tensor([0, 1, 2, 1])
        seen = []

        def model(images):
            seen.append(images)
            return nn.functional.one_hot(labels, 3).float()

        assert objective(model, Samples(torch.randn(4, 1, 8, 8), labels))[1]["accuracy"] == 1

    def test_hooks_of_the_inner_objective_are_found(self):
        class Inner:
            def __init__(self):
                self.calls = []

            def __call__(self, model, batch):
                return learn.mse(model, batch)

            def validate(self, model, batch):
                return torch.tensor(7.0), {}

            def on_epoch_end(self, epoch, epochs):
                self.calls.append((epoch, epochs))

        objective = learn.augmented(Inner(), SCENES)
        objective.on_epoch_end(1, 3)
        assert objective.objective.calls == [(1, 3)]
        assert objective.validate(move, scenes())[0] == 7
        assert not hasattr(learn.augmented(learn.mse, SCENES), "on_epoch_end")


class TestEvaluate:
    def test_batches_of_any_size_give_the_same_mean(self):
        def still(x, v, q):  # an error of its own on every sample
            return move(x, 0 * v, q)

        batch = scenes(7)
        expected = float(learn.mse(still, batch)[0])
        for size in (1, 3, 7, 100):
            assert learn.evaluate(still, batch, learn.mse, size)["loss"] == pytest.approx(expected, rel=1e-12)

    def test_logs_are_averaged_and_words_are_left_out(self):
        def metric(model, batch):
            return torch.tensor(1.0), {"size": len(batch), "word": "x", "many": torch.ones(2), "flag": True}

        batch = scenes(7)
        assert learn.evaluate(move, batch, metric, 4) == {"loss": 1.0, "size": (4 * 4 + 3 * 3) / 7}

    def test_the_model_is_in_evaluation_mode_and_comes_back(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
        model[1].eval()

        def metric(model, batch):
            assert not torch.is_grad_enabled()
            assert not any(part.training for part in model.modules())
            return torch.tensor(0.0), {}

        learn.evaluate(model, Samples(torch.ones(3, 2), torch.ones(3, 2)), metric)
        assert [part.training for part in model.modules()] == [True, True, False, False]

    def test_refuses_nothing_and_no_batch(self, plain):
        empty = Samples(torch.zeros(0, 3), torch.zeros(0, 3))
        with pytest.raises(ValueError, match="data must hold at least one sample; got none"):
            learn.evaluate(nn.Identity(), empty, learn.mse)
        with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
            learn.evaluate(move, scenes(), learn.mse, 0)

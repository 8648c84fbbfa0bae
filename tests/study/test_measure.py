"""What is measured of a model is what the words say."""

import pytest
import torch

from torsor import Line, O, Scalar, Symmetry, Vector, learn
from torsor.data import Dataset, Samples
from torsor.study._measure import BLOCKS, error_on_test, sample_errors, summarise, training_memory
from torsor.study._memory import peak_memory
from torsor.study._treatment import objective_of


@pytest.fixture
def norms(generator):
    x = torch.randn(100, 3, dtype=torch.float64, generator=generator)
    samples = Samples(x, x.norm(dim=1, keepdim=True))
    return Dataset(name="norms", train=samples, valid=None, test=samples, symmetry=Symmetry(O(3), Vector(), Scalar()))


class Off(torch.nn.Module):
    """Right up to a constant where x points up, and wrong elsewhere."""

    def forward(self, x):
        return x.norm(dim=1, keepdim=True) + 0.5 * (x[:, 2:] > 0)


def test_squared_errors_are_means_over_the_numbers_of_a_sample():
    out, target = {"a": torch.ones(2, 3), "b": torch.zeros(2)}, {"a": torch.zeros(2, 3), "b": torch.full((2,), 3.0)}
    errors = sample_errors(out, target, "regression", [Scalar(), Scalar()])
    torch.testing.assert_close(errors, torch.tensor([3.0, 3.0]).double())


def test_errors_of_lines_are_those_of_their_angles():
    angle = torch.tensor([[0.0, 0.3], [1.0, torch.pi]])
    out = torch.stack([angle.cos(), angle.sin(), 0 * angle], -1) * torch.tensor([-2.0, 1.0]).unsqueeze(-1)
    target = torch.tensor([1.0, 0, 0]).expand(2, 2, 3)
    expected = angle.sin().square().mean(1).double()
    torch.testing.assert_close(sample_errors(out, target, "regression", [Line()]), expected, atol=1e-6, rtol=0)


def test_lines_are_trained_on_their_angles_and_all_else_on_squares(norms):
    assert objective_of(norms) is learn.mse
    law = Symmetry(O(3), Vector(), Line())
    x = norms.train.inputs[0]
    lines = Dataset("lines", Samples(x, -3 * x), None, Samples(x, x), law)
    loss, _ = objective_of(lines)(torch.nn.Identity(), lines.train)
    assert loss.abs() < 1e-12
    turned = Samples(x, torch.linalg.cross(x, torch.tensor([0.0, 0, 1]).double().expand_as(x)))
    loss, _ = objective_of(lines)(torch.nn.Identity(), turned)
    torch.testing.assert_close(loss, torch.tensor(1.0).double())


def test_errors_of_classes_are_their_shares():
    errors = sample_errors(torch.eye(3), torch.tensor([0, 1, 1]), "classification", [Scalar()])
    assert errors.tolist() == [0, 0, 1]


def test_blocks_average_to_the_mean():
    errors = torch.arange(100.0)
    found = summarise(errors)
    assert found.mean == 49.5
    assert len(found.blocks) == BLOCKS
    assert found.blocks[0] == (0 + 40 + 80) / 3


def test_an_error_that_is_not_finite_is_a_failure():
    with pytest.raises(ArithmeticError, match="1 of 3 test errors are not finite"):
        summarise(torch.tensor([1.0, torch.nan, 2.0]))


def test_the_transformed_test_set_is_the_same_for_every_model(norms):
    symmetry = norms.symmetry
    up = error_on_test(Off(), norms).mean
    assert 0.25 * 0.35 < up < 0.25 * 0.65
    first, again = (error_on_test(Off(), norms, symmetry, 2) for _ in range(2))
    assert first == again
    assert 0.25 * 0.4 < first.mean < 0.25 * 0.6
    assert first.blocks != error_on_test(Off(), norms).blocks


def test_targets_move_with_the_inputs(generator):
    x = torch.randn(50, 3, dtype=torch.float64, generator=generator)
    samples = Samples(x, 2 * x)
    dataset = Dataset(
        name="double", train=samples, valid=None, test=samples, symmetry=Symmetry(O(3), Vector(), Vector())
    )

    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    assert error_on_test(Double(), dataset, dataset.symmetry, 1).mean < 1e-28


def test_memory_counts_what_is_alive_at_the_same_time():
    x = torch.zeros(1000, dtype=torch.float64)
    assert peak_memory(lambda: x + 1) == 8000
    assert peak_memory(lambda: [x + 1, x + 2]) == 16000
    assert peak_memory(lambda: [(x + 1).sum() for _ in range(5)]) < 9000
    assert peak_memory(lambda: x.view(10, 100)) == 0


def test_memory_of_a_step_leaves_no_gradients_and_no_random_numbers_behind(norms):
    net = torch.nn.Linear(3, 1, dtype=torch.float64)
    state = torch.get_rng_state()

    def objective(model, batch):
        return (model(*batch.inputs) + torch.randn(1)).square().mean(), {}

    assert training_memory(net, objective, norms, 50) > 0
    assert net.weight.grad is None
    assert torch.equal(state, torch.get_rng_state())

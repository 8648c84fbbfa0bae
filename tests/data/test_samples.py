import dataclasses

import pytest
import torch

from torsor import O, Point, Scalar, Symmetry, Vector
from torsor.data import Dataset, Samples
from torsor.data._samples import unchecked

NORMS = Symmetry(O(3), Vector(), Scalar())


def norms(count: int) -> Samples:
    x = torch.randn(count, 3)
    return Samples(x, x.norm(dim=1, keepdim=True))


def test_samples_are_picked_by_slices_lists_numbers_and_masks():
    samples = Samples({"x": torch.arange(6.0).reshape(3, 2), "kind": torch.arange(3)}, (torch.arange(3),))
    for index in (slice(1, None), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True])):
        picked = samples[index]
        assert picked.inputs["x"].tolist() == [[2, 3], [4, 5]]
        assert picked.inputs["kind"].tolist() == picked.targets[0].tolist() == [1, 2]
    assert len(samples[[]]) == 0


def test_a_tensor_alone_is_one_positional_argument_and_targets_may_be_missing():
    samples = Samples(torch.ones(2, 3))
    assert isinstance(samples.inputs, tuple)
    assert samples.targets == ()
    assert repr(samples) == "Samples(inputs[0] (2, 3))"


def test_a_dtype_is_for_real_numbers_only():
    samples = Samples((torch.ones(2), torch.arange(2), torch.ones(2, dtype=torch.bool)), torch.ones(2)).to(
        torch.float64
    )
    assert [x.dtype for x in samples.inputs] == [torch.float64, torch.int64, torch.bool]
    assert samples.targets.dtype == torch.float64


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "words"),
    [
        (3.0, torch.ones(2), TypeError, "inputs must be a tuple"),
        ((), torch.ones(2), ValueError, "inputs must hold at least one tensor"),
        ({"x": [1.0]}, torch.ones(1), TypeError, "inputs.x\\[0\\] must be a tensor; got float"),
        (torch.ones(2), torch.tensor(1.0), ValueError, "targets must have the samples on its first axis"),
        (
            {"x": torch.ones(2), "y": torch.ones(3)},
            torch.ones(2),
            ValueError,
            "inputs.y has 3 samples and inputs.x has 2",
        ),
        (torch.ones(2), {"e": torch.ones(1)}, ValueError, "targets.e has 1 samples and inputs\\[0\\] has 2"),
        (torch.tensor([0.0, 1.0, torch.nan]), (), ValueError, "inputs\\[0\\] must be finite; sample 2"),
        (torch.ones(2), torch.tensor([[0.0], [torch.inf]]), ValueError, "targets must be finite; sample 1"),
    ],
)
def test_samples_that_do_not_fit_are_refused_by_name(plain, inputs, targets, error, words):
    with pytest.raises(error, match=words):
        Samples(inputs, targets)


@pytest.mark.parametrize("index", [0, torch.tensor(1), torch.zeros(2, 2, dtype=torch.long)])
def test_an_index_that_would_lose_the_axis_of_samples_is_refused(plain, index):
    with pytest.raises(TypeError, match="index must be a slice, a list or a tensor with one axis"):
        norms(4)[index]


def test_an_index_of_real_numbers_and_a_dtype_of_integers_are_refused(plain):
    with pytest.raises(TypeError, match="integers or booleans"):
        norms(4)[torch.tensor([0.5])]
    with pytest.raises(TypeError, match="dtype must be a floating one"):
        norms(4).to(torch.int32)


def test_unchecked_samples_look_at_no_values():
    assert torch.isnan(unchecked((torch.tensor([torch.nan]),), ()).inputs[0]).all()


def test_a_data_set_goes_to_another_precision_as_a_whole():
    dataset = Dataset("norms", norms(4), None, norms(2), NORMS).to(torch.float64)
    assert dataset.valid is None
    assert dataset.splits.keys() == {"train", "test"}
    assert {s.targets.dtype for s in dataset.splits.values()} == {torch.float64}


def test_classes_are_counted_over_all_splits():
    def labelled(labels):
        return Samples(torch.ones(len(labels), 3), torch.tensor(labels))

    dataset = Dataset("k", labelled([0, 1]), labelled([4]), labelled([2]), NORMS, "classification")
    assert dataset.classes == 5
    assert Dataset("norms", norms(4), None, norms(2), NORMS).classes is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"symmetry": O(3)}, TypeError, "symmetry must be a torsor.Symmetry"),
        ({"task": "ranking"}, ValueError, "task must be"),
        ({"train": (torch.ones(1, 3), torch.ones(1, 1))}, TypeError, "train must be torsor.data.Samples; got tuple"),
        ({"test": None}, TypeError, "test must be torsor.data.Samples; got NoneType"),
        ({"train": norms(0)}, ValueError, "train must hold at least one sample"),
        ({"symmetry": Symmetry(O(2), Vector(), Scalar())}, ValueError, "train: inputs\\[0\\]: the last axis"),
        ({"symmetry": Symmetry(O(3), Vector(), Point())}, ValueError, "train: output: the last axis"),
        ({"valid": Samples(torch.ones(2, 7, 3), torch.ones(2, 1))}, ValueError, "valid must look like train"),
        ({"task": "classification"}, ValueError, "train: targets of a classification must be class numbers"),
        (
            {"task": "classification", "train": Samples(torch.ones(2, 3), torch.ones(2))},
            TypeError,
            "train: targets of a classification must be integers",
        ),
        (
            {"task": "classification", "train": Samples(torch.ones(2, 3), torch.tensor([0, -1]))},
            ValueError,
            "must count from 0; got -1",
        ),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(plain, changes, error, words):
    dataset = Dataset("norms", norms(4), norms(1), norms(2), NORMS)
    with pytest.raises(error, match=words):
        dataclasses.replace(dataset, **changes)

import pytest
import torch
from sklearn.datasets import load_digits

from torsor import SO, Cyclic, Symmetry
from torsor.data import digits


def test_the_digits_are_the_real_ones_each_once():
    data = digits(Cyclic(4), train=1000, valid=297, test=500, turned="none", dtype=torch.float64)
    images = torch.cat([samples.inputs[0] for samples in data.splits.values()])[:, 0, 2:-2, 2:-2] * 16
    expected = torch.from_numpy(load_digits().images)
    assert torch.equal(images.flatten(1).sum(1).sort().values, expected.flatten(1).sum(1).sort().values)
    assert len(torch.unique(images.flatten(1), dim=0)) == len(torch.unique(expected.flatten(1), dim=0))
    labels = torch.cat([samples.targets for samples in data.splits.values()])
    assert torch.equal(labels.bincount(), torch.from_numpy(load_digits().target).bincount())


def test_only_the_test_set_is_turned():
    upright, turned = digits(Cyclic(4), turned="none"), digits(Cyclic(4))
    assert torch.equal(upright.train.inputs[0], turned.train.inputs[0])
    assert torch.equal(upright.test.targets, turned.test.targets)
    before, after = upright.test.inputs[0], turned.test.inputs[0]
    turns = torch.stack([torch.rot90(before, k, (-2, -1)) for k in range(4)])
    close = (turns - after).abs().amax((2, 3, 4)) < 1e-5
    assert close.any(0).all()
    share = close.double().mean(1)
    assert ((share - 0.25).abs() < 0.08).all()


def test_all_may_be_turned_and_sizes_do_not_change_the_test_set():
    few, many = digits(train=50, valid=0, test=100), digits(train=800, valid=0, test=100)
    assert torch.equal(few.test.targets, many.test.targets)
    assert torch.equal(few.train.inputs[0], many.train.inputs[0][:50])
    assert few.valid is None
    turned = digits(train=50, valid=0, test=100, turned="all")
    assert (turned.train.inputs[0] - few.train.inputs[0]).abs().amax((1, 2, 3)).min() > 1e-3


def test_padding_keeps_a_turned_digit_in_sight():
    data = digits(turned="none", padding=2)
    assert data.train.inputs[0].shape == (1000, 1, 12, 12)
    images = data.train.inputs
    g = SO(2).exp(torch.full((1000, 1), torch.pi / 4))
    (turned,) = Symmetry(SO(2), data.symmetry.inputs, data.symmetry.output).act(g, images)
    ink = turned.sum((1, 2, 3)) / images[0].sum((1, 2, 3))
    assert (ink - 1).abs().max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"turned": "train"}, "turned must be"),
        ({"padding": -1}, "padding must be at least 0"),
        ({"train": 0}, "train must be at least 1; got 0"),
        ({"valid": -1}, "valid must be at least 0"),
        ({"train": 1700}, "at most 1797 together; got 2497"),
        ({"group": SO(3)}, "group must act on the plane"),
    ],
)
def test_digits_that_do_not_exist_are_refused(plain, arguments, words):
    with pytest.raises(ValueError, match=words):
        digits(**arguments)

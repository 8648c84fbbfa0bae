"""Handedness tasks: what they claim about mirrors, turns and numbers."""

import pytest
import torch

from torsor.data import mirror_images, tetris, triple_product
from torsor.data._chirality import TETRIS


def distances(x):
    return torch.cdist(x, x).flatten(1).sort(1).values


def test_every_test_sample_has_its_mirror_image():
    for data, name in ((triple_product(5, 10), "vectors"), (mirror_images(5, 10), "positions")):
        x = data.test.inputs[name]
        assert torch.equal(x[5:], -x[:5])
        assert len({row.tobytes() for row in x.numpy()}) == 10
    assert torch.allclose(
        triple_product(5, 10).train.targets[:, 0], torch.linalg.det(triple_product(5, 10).train.inputs["vectors"])
    )


def test_both_classes_of_mirror_images_have_the_same_distances_and_other_orientations():
    data = mirror_images(200, 10, noise=0.0, dtype=torch.float64)
    x, y = data.train.inputs["positions"], data.train.targets
    assert (distances(x) - distances(x[:1])).abs().max() < 1e-6
    volume = torch.linalg.det(x[:, :3] - x[:, 3:4])
    assert (volume[y == 0].sign() == -volume[y == 1].sign()[0]).all()
    assert 60 < int(y.sum()) < 140


def test_the_blocks_are_all_that_four_cubes_make():
    x = torch.tensor(list(TETRIS.values()), dtype=torch.float64)
    assert (x[:, :, None] - x[:, None]).abs().sum(-1).eq(1).any(-1).all()  # every cube touches another
    found = distances(x)
    same = [(i, j) for i in range(8) for j in range(i) if torch.allclose(found[i], found[j])]
    assert same == [(1, 0)]
    data = tetris(16, dtype=torch.float64)
    assert torch.allclose(distances(data.test.inputs["positions"])[8:], distances(data.train.inputs["positions"]))


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_at_the_door():
    with pytest.raises(ValueError, match="test must be even"):
        triple_product(4, 3)
    with pytest.raises(ValueError, match="train must be 1"):
        mirror_images(0)
    with pytest.raises(ValueError, match="points must be 4"):
        mirror_images(points=3)
    with pytest.raises(ValueError, match="test must be 8"):
        tetris(4)

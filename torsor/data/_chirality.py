"""Tasks that only handedness decides: triple products, mirror images, and the blocks of Tetris in space."""

from __future__ import annotations

import torch
from torch import Tensor

from torsor.actions import Point, PseudoScalar, Scalar, Vector
from torsor.data._samples import Dataset, Samples
from torsor.groups import SE, SO, O
from torsor.symmetry import Symmetry

TETRIS = {
    "chiral": [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]],
    "its mirror image": [[1, 1, 1], [1, 1, 2], [2, 1, 1], [2, 0, 1]],
    "square": [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],
    "line": [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]],
    "corner": [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "L": [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]],
    "T": [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 1]],
    "zigzag": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0]],
}
"""The eight ways to join four unit cubes in space, by the corners of the cubes; the first two are mirror images."""


def triple_product(train: int = 500, test: int = 2000, *, seed: int = 0, dtype: torch.dtype | None = None) -> Dataset:
    """Three vectors and their triple product u . (v x w), which changes sign in a mirror.

    Input `vectors (B, 3, 3)`: normal; target `(B, 1)`. The test set holds every triple with its mirror image, so that
    what a mirror does not change explains none of it.

    Raises:
        ValueError: a number of samples below 1, or an odd one for the test.

    >>> data = triple_product(10, 4)
    >>> bool((data.test.targets[:2] == -data.test.targets[2:]).all())
    True
    """
    _check_sizes(train, test)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(train + test // 2, 3, 3, generator=generator, dtype=torch.float64)

    def samples(x: Tensor) -> Samples:
        return Samples({"vectors": x.to(dtype or torch.get_default_dtype())},
                       torch.linalg.det(x).unsqueeze(1).to(dtype or torch.get_default_dtype()))  # fmt: skip

    law = Symmetry(O(3), {"vectors": Vector()}, PseudoScalar())
    return Dataset(
        "triple-product", samples(x[:train]), None, samples(torch.cat([x[train:], -x[train:]])), law,
        units="none", source="generated", licence="none needed: generated",
        description="Three vectors and the volume that they span, with its sign.",
    )  # fmt: skip


def mirror_images(
    train: int = 500,
    test: int = 2000,
    *,
    points: int = 5,
    noise: float = 0.05,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """One shape or its mirror image, turned and disturbed: which of the two?

    Input `positions (B, points, 3)`; class 0 or 1. The shape is the same for every seed, the noise normal for every
    coordinate, where points are about one apart. The test set holds every sample with its mirror image.

    Raises:
        ValueError: a number of samples below 1, an odd one for the test, or fewer than four points.

    >>> mirror_images(10, 4).test.targets
    tensor([0, 0, 1, 1])
    """
    _check_sizes(train, test)
    if points < 4:
        raise ValueError(f"points must be 4 or more, as three lie in a plane; got {points}")
    shape = torch.randn(points, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    count = train + test // 2
    x = shape + noise * torch.randn(count, points, 3, generator=generator, dtype=torch.float64)
    R = SO(3).sample(count, generator=generator, dtype=torch.float64)
    x = (x - x.mean(1, keepdim=True)) @ R.mT
    labels = torch.randint(2, (train,), generator=generator)
    x[:train] = x[:train] * (1 - 2 * labels[:, None, None])
    half = test // 2
    dtype = dtype or torch.get_default_dtype()
    tested = torch.cat([x[train:], -x[train:]]), torch.arange(2).repeat_interleave(half)
    splits = [Samples({"positions": x.to(dtype)}, y) for x, y in ((x[:train], labels), tested)]
    law = Symmetry(SE(3), {"positions": Point()}, Scalar())
    return Dataset(
        "mirror-images", splits[0], None, splits[1], law, "classification",
        units="none", source="generated", licence="none needed: generated",
        description="A shape without mirror symmetry, or its mirror image, turned at random.",
    )  # fmt: skip


def tetris(test: int = 800, *, seed: int = 0, dtype: torch.dtype | None = None) -> Dataset:
    """The eight blocks of four cubes, upright to learn from and turned at random to test on.

    Input `positions (B, 4, 3)`; classes 0 to 7 in the order of the shapes, of which 0 and 1 are mirror images.

    Raises:
        ValueError: fewer test samples than shapes.

    Source: the shapes of Thomas et al. 2018 (arXiv 1802.08219), section 5.1.

    >>> tetris().train.inputs["positions"].shape
    torch.Size([8, 4, 3])
    """
    if test < len(TETRIS):
        raise ValueError(f"test must be {len(TETRIS)} or more; got {test}")
    dtype = dtype or torch.get_default_dtype()
    x = torch.tensor(list(TETRIS.values()), dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    labels = torch.arange(test) % len(TETRIS)
    R = SO(3).sample(test, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    upright = Samples({"positions": x.to(dtype)}, torch.arange(len(TETRIS)))
    turned = Samples({"positions": (x[labels] @ R.mT).to(dtype)}, labels)
    law = Symmetry(SE(3), {"positions": Point()}, Scalar())
    return Dataset(
        "tetris", upright, None, turned, law, "classification",
        units="the side of a cube", source="Thomas et al. 2018 (arXiv 1802.08219)", licence="none needed: generated",
        description="Four cubes joined in a row, a square, a corner and so on, by their centres.",
    )  # fmt: skip


def _check_sizes(train: int, test: int) -> None:
    if train < 1:
        raise ValueError(f"train must be 1 or more; got {train}")
    if test < 2 or test % 2:
        raise ValueError(f"test must be even and 2 or more: samples come with their mirror images; got {test}")

"""Real handwritten digits that ship with scikit-learn, as images that a group of the plane turns."""

from typing import Literal

import torch

from torsor.actions import Image, Scalar
from torsor.data._samples import Dataset, Samples
from torsor.groups import SO, Group
from torsor.symmetry import Symmetry

_COUNT = 1797
_SHADES = 16.0  # grey values are 0 to 16
_SEED = 0


def digits(
    group: Group | None = None,
    train: int = 1000,
    valid: int = 297,
    test: int = 500,
    *,
    turned: Literal["test", "all", "none"] = "test",
    padding: int = 2,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Handwritten digits on 8 x 8 pixels: upright ones to learn from, turned ones to test on.

    Input: an image `(B, 1, 12, 12)`, values 0 to 1; target: the digit `(B,)`; the logits are invariant. The digits are
    shuffled once and for all, and the splits are disjoint.

    Arguments:
        group: acts on the plane; `SO(2)` by default, `Cyclic(4)` for quarter turns without interpolation.
        train, valid, test: how many of the 1797. `valid` may be 0.
        turned: which splits are moved, each image by one element of its own, drawn with a fixed seed: the `"test"`
            set, `"all"` or `"none"`.
        padding: pixels of background around each image, so that nothing is turned out of sight.
        dtype: of the images; torch's default dtype by default.

    Raises:
        ValueError: more than 1797 digits, a group that does not act on the plane, an unknown word for `turned`.

    Source: Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits (UCI Machine Learning Repository,
        doi 10.24432/C50P49, CC BY 4.0), the part in `sklearn.datasets.load_digits`.

    >>> from torsor import Cyclic
    >>> data = digits(Cyclic(4), train=100, valid=0, test=50)
    >>> data, data.train.inputs[0].shape, data.classes
    (Dataset('digits', train=100, valid=0, test=50, classification, Cyclic(4)), torch.Size([100, 1, 12, 12]), 10)
    """
    if turned not in ("test", "all", "none"):
        raise ValueError(f'turned must be "test", "all" or "none"; got {turned!r}')
    if padding < 0:
        raise ValueError(f"padding must be at least 0; got {padding}")
    sizes = {"train": train, "valid": valid, "test": test}
    for split, size in sizes.items():
        if size < (split != "valid"):
            raise ValueError(f"{split} must be at least {int(split != 'valid')}; got {size}")
    if sum(sizes.values()) > _COUNT:
        raise ValueError(f"train, valid and test must be at most {_COUNT} together; got {sum(sizes.values())}")
    group = SO(2) if group is None else group
    if group.n != 2:
        raise ValueError(f"group must act on the plane, as SO(2) and Cyclic(4) do; got {group}")

    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).reshape(-1, 1, 8, 8).to(dtype or torch.get_default_dtype()) / _SHADES
    images = torch.nn.functional.pad(images, (padding,) * 4)
    generator = torch.Generator().manual_seed(_SEED)
    order = torch.randperm(_COUNT, generator=generator)
    symmetry = Symmetry(group, Image(), Scalar())
    splits: dict[str, Samples | None] = {}
    # From the end, so that the test set stays the same when more is learned from.
    chosen = {"test": order[_COUNT - test :], "train": order[:train], "valid": order[train : train + valid]}
    for split, index in chosen.items():
        inputs = (images[index],)
        if turned == "all" or turned == split:
            inputs = symmetry.act(symmetry.sample(inputs, generator=generator), inputs)
        splits[split] = Samples(inputs, torch.from_numpy(labels)[index].long()) if len(index) else None
    return Dataset(
        name="digits",
        **splits,  # pyright: ignore[reportArgumentType]
        symmetry=symmetry,
        task="classification",
        units="grey value, 0 (paper) to 1 (ink)",
        source="Alpaydin, Kaynak 1998, doi 10.24432/C50P49, as in scikit-learn",
        licence="CC BY 4.0",
        description="A handwritten digit on 8 x 8 pixels with a margin, and which digit it is.",
    )

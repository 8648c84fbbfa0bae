"""What a data set is: samples of inputs and targets, three splits, and the symmetry that they have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from torsor import _tree
from torsor._tree import Tree
from torsor.symmetry import Inputs, Symmetry, as_inputs

Task = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of a function with the outputs that it should have, samples on the first axis of every tensor.

    Arguments:
        inputs: the arguments, a tuple (positional) or a dict (keywords) of tensors or containers of tensors. One tensor
            alone means a tuple of one.
        targets: what the function should return, a tensor or any container of tensors.

    Raises:
        TypeError: where something other than a tensor stands in `inputs` or `targets`.
        ValueError: there is no tensor, or two tensors differ in the number of samples.

    >>> import torch
    >>> from torsor.data import Samples
    >>> samples = Samples({"positions": torch.zeros(10, 5, 3)}, torch.zeros(10, 5, 3))
    >>> len(samples), len(samples[:4]), samples[[1, 7]].targets.shape
    (10, 4, torch.Size([2, 5, 3]))
    >>> samples.to(torch.float64).inputs["positions"].dtype
    torch.float64
    """

    inputs: Inputs
    targets: Tree

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", as_inputs(self.inputs))
        if not isinstance(self.inputs, tuple | dict):
            raise TypeError(
                "inputs must be a tuple (positional arguments) or a dict (keywords) of tensors;"
                f" got {type(self.inputs).__name__}"
            )
        leaves = [*_named("inputs", self.inputs), *_named("targets", self.targets)]
        for side in ("inputs", "targets"):
            if not any(name.startswith(side) for name, _ in leaves):
                raise ValueError(f"{side} must hold at least one tensor; got {getattr(self, side)!r}")
        for name, value in leaves:
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} must be a tensor; got {type(value).__name__}")
            if value.ndim == 0:
                raise ValueError(f"{name} must have the samples on its first axis; got a tensor without axes")
            first, size = leaves[0][0], len(leaves[0][1])
            if len(value) != size:
                raise ValueError(
                    f"{name} has {len(value)} samples and {first} has {size}; all must have the same number"
                )

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

        return Samples(_tree.map(pick, self.inputs), _tree.map(pick, self.targets))

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Samples":
        """The samples on another device or in another precision; integers and booleans keep their dtype."""
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating one: it is for real numbers only; got {dtype}")

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return Samples(_tree.map(move, self.inputs), _tree.map(move, self.targets))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A task with its symmetry: what to learn from, what to stop on, what to test on.

    Arguments:
        name: a short name, as studies and tables print it.
        train, valid, test: the splits; `valid` may be None.
        symmetry: how the inputs and the targets transform.
        task: "regression", or "classification" where targets are class numbers.
        units: of inputs and targets, in words.
        source: who made the data, and where they are described.
        licence: under which they may be used.
        description: what a sample is, in a sentence or two.

    Raises:
        TypeError: a split is no `Samples`, or `symmetry` is no `Symmetry`.
        ValueError: an unknown task, an empty training set, or inputs that the symmetry does not fit.

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
        for split in ("train", "valid", "test"):
            samples = getattr(self, split)
            if samples is None and split == "valid":
                continue
            if not isinstance(samples, Samples):
                raise TypeError(f"{split} must be torsor.data.Samples; got {type(samples).__name__}")
            if split == "train" and len(samples) == 0:
                raise ValueError("train must hold at least one sample; got none")
            try:
                self.symmetry.check(samples.inputs)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{split}: {error}") from error

    def __repr__(self) -> str:
        sizes = [f"{split}={len(getattr(self, split) or ())}" for split in ("train", "valid", "test")]
        return f"Dataset({self.name!r}, {', '.join(sizes)}, {self.task}, {self.symmetry.group})"

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Dataset":
        """The data set on another device or in another precision."""
        valid = None if self.valid is None else self.valid.to(dtype, device)
        return replace(self, train=self.train.to(dtype, device), valid=valid, test=self.test.to(dtype, device))


def _named(side: str, tree: Tree) -> list[tuple[str, object]]:
    names = _tree.names(tree)
    return [
        (f"{side}{name}" if name.startswith("[") or not name else f"{side}.{name}", leaf)
        for name, leaf in zip(names, _tree.leaves(tree), strict=True)
    ]

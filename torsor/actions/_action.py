"""The protocol of an action: what a group element does to a tensor."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from torsor.groups import Group
from torsor.groups._precision import without_autocast

Element = Any
"""A group element with batch axes in front: a tensor, or a tuple of elements for a product group."""


@dataclass(frozen=True, repr=False)
class Action:
    """A left action `action(group, g, x) -> g x` of a group on tensors.

    The batch axes of `g` are the first axes of `x`, the axes that the law needs are the last, and what stands between
    is carried along: a `Vector` under elements `(B, 3, 3)` takes `(B, 3)`, `(B, n, 3)` or `(B, n, m, 3)`.
    `g` is cast to the dtype of `x`.

    Arguments:
        per: what a row of the tensor belongs to, `"node"`, `"edge"` or `"sample"`. By default a node where the inputs
            hold a `Mask` or a `Batch`, else a sample.
    """

    per: Literal["node", "edge", "sample"] | None = field(default=None, kw_only=True)

    error_unit: ClassVar[str] = "mean square"
    """What a mean of `square_error` is called."""

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        """The tensor moved by the element, of the same shape."""
        raise TypeError(f"{type(self).__name__} does not say how a group acts")

    def orbit(self, group: Group, g: Element, x: Tensor) -> Tensor:
        """The value moved by `K` elements per sample: `(K, B, ...)` from elements `(K, B)` and a value `(B, ...)`."""
        copies = group.batch_shape(g)[0]
        return self(group, g, x.unsqueeze(0).expand(copies, *x.shape))

    def orbit_sum(self, group: Group, g: Element, weights: Tensor, x: Tensor) -> Tensor:
        """`sum_k w_k embed(g_k x_k)`, `(B, ...)`: from elements and weights `(K, B)` and values `(K, B, ...)`."""
        z = self.embed(self(group, g, x))
        return (z * over_middle_axes(weights, z, 0).to(z.dtype)).sum(0)

    def embed(self, x: Tensor) -> Tensor:
        """The value in the linear space in which values may be averaged and compared."""
        return x

    def project(self, z: Tensor) -> Tensor:
        """The value nearest to a point of that linear space: `project(embed(x)) = x`."""
        return z

    def square_error(self, x: Tensor, y: Tensor) -> Tensor:
        """The squared differences of two values in the space of `embed`, of which errors are means."""
        difference = self.embed(x) - self.embed(y)
        return difference.abs().square() if difference.is_complex() else difference.square()

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        """Why a tensor of this shape cannot be acted on, in words; None where it can."""
        return None

    def __repr__(self) -> str:
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given)})"

    @property
    def feels_translation(self) -> bool:
        """Whether a translation of space moves the value."""
        return False

    @property
    def embedded(self) -> "Action":
        """The law of the values of `embed`."""
        return self

    @property
    def degree(self) -> int:
        """The highest power of the linear part in the law, in the linear space of `embed`."""
        return 0

    @property
    def is_discrete(self) -> bool:
        """Whether integer values are meaningful: labels and layouts are, vectors are not."""
        return False


def over_middle_axes(factor: Tensor, x: Tensor, tail: int) -> Tensor:
    """`factor` with singleton axes between its batch axes and its last `tail` axes, so that it broadcasts over `x`.

    >>> import torch
    >>> over_middle_axes(torch.ones(5, 3), torch.zeros(5, 7, 2, 3), tail=1).shape
    torch.Size([5, 1, 1, 3])
    """
    batch = factor.ndim - tail
    middle = (1,) * (x.ndim - batch - tail)
    return factor.reshape((*factor.shape[:batch], *middle, *factor.shape[batch:]))


@without_autocast
def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """`matrix @ x` on the last axis of `x`, over all axes between the batch axes and the last.

    >>> import torch
    >>> apply_matrix(2 * torch.eye(3).expand(5, 3, 3), torch.ones(5, 7, 3)).shape
    torch.Size([5, 7, 3])
    """
    batch = matrix.ndim - 2
    rows = x.unsqueeze(-2) if x.ndim == batch + 1 else x.flatten(batch, -2)
    moved = rows @ matrix.to(x.dtype).mT
    return moved.reshape(*moved.shape[:batch], *x.shape[batch:-1], matrix.shape[-2])


@without_autocast
def apply_matrices(matrix: Tensor, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """`matrix @ x + shift` on the last axis for `K` matrices per sample: `(K, B, i, j)` and `(B, ..., j)`.

    One wide product instead of `K B` narrow ones, whose overhead is larger than they are.

    >>> import torch
    >>> apply_matrices(torch.ones(8, 5, 2, 3), torch.ones(5, 7, 3)).shape
    torch.Size([8, 5, 7, 2])
    """
    k, b, i, j = matrix.shape
    rows = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)
    wide = matrix.to(x.dtype).permute(1, 3, 0, 2).reshape(b, j, k * i)
    if shift is None:
        moved = torch.bmm(rows, wide)
    else:
        moved = torch.baddbmm(shift.to(x.dtype).transpose(0, 1).reshape(b, 1, k * i), rows, wide)
    return moved.unflatten(-1, (k, i)).permute(2, 0, 1, 3).reshape(k, *x.shape[:-1], i)


@without_autocast
def sum_matrices(matrix: Tensor, weights: Tensor, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """`sum_k w_k (matrix_k @ x_k + shift_k)` on the last axis: `(K, B, i, j)`, `(K, B)` and `(K, B, ..., j)`.

    >>> import torch
    >>> sum_matrices(torch.ones(8, 5, 2, 3), torch.ones(8, 5), torch.ones(8, 5, 7, 3)).shape
    torch.Size([5, 7, 2])
    """
    k, b, i, j = matrix.shape
    middle = x.shape[2:-1]
    rows = x.reshape(k, b, math.prod(middle), j).permute(1, 2, 0, 3).reshape(b, math.prod(middle), k * j)
    wide = (weights[..., None, None] * matrix).to(x.dtype).permute(1, 0, 3, 2).reshape(b, k * j, i)
    if shift is None:
        summed = torch.bmm(rows, wide)
    else:
        summed = torch.baddbmm((weights.unsqueeze(-1) * shift).sum(0).unsqueeze(1).to(x.dtype), rows, wide)
    return summed.reshape(b, *middle, i)

"""Moments of inertia: a law with the symmetry O(3), and with as much of it broken as one likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from torsor.actions import Scalar, T, V
from torsor.data._samples import Dataset, Samples, check_sizes
from torsor.groups import O, embed
from torsor.symmetry import Symmetry

AXES = ("x", "y", "z", "-1")
SOURCE = "Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7; broken as in Kim et al. 2023 (arXiv 2306.00356)"


def inertia_law(points: int = 5, alpha: float = 0.0, axis: str = "z") -> Callable[[Tensor], Tensor]:
    """The moment of inertia of point masses, less symmetric by `alpha`: (n, 4 points) to (n, 9).

    `J = sum_i m_i (|r_i|^2 I - r_i r_i^T)`, and `alpha (J g) g^T` added to it for the unit vector g along the axis:
    what remains is O(2) about that axis. The axis "-1" adds `-(J x) x^T + (J y) y^T` instead, whatever alpha is, which
    leaves no rotation.

    Arguments:
        points: how many; inputs are their masses and then their positions.
        alpha: how much is broken; 0 leaves O(3).
        axis: "x", "y", "z" or "-1".

    Raises:
        ValueError: unknown axis, or no points.

    >>> import torch
    >>> inertia_law(1)(torch.tensor([[2.0, 0.0, 0.0, 1.0]])).unflatten(1, (3, 3))
    tensor([[[2., 0., 0.],
             [0., 2., 0.],
             [0., 0., 0.]]])
    """
    if axis not in AXES:
        raise ValueError(f"axis must be one of {', '.join(AXES)}; got {axis!r}")
    if points < 1:
        raise ValueError(f"points must be at least 1; got {points}")
    factors = {name: torch.eye(3)[i] for i, name in enumerate("xyz")}

    def law(x: Tensor) -> Tensor:
        mass, r = x[:, :points], x[:, points:].unflatten(1, (points, 3))
        eye = torch.eye(3, dtype=x.dtype, device=x.device)
        J = torch.einsum("nk,nk,ij->nij", mass, r.square().sum(-1), eye) - torch.einsum("nk,nki,nkj->nij", mass, r, r)
        if axis == "-1":
            signs = torch.tensor([-1.0, 1.0, 0.0], dtype=x.dtype, device=x.device)
            return (J + J * signs).flatten(1)
        g = factors[axis].to(J)
        return (J + alpha * (J @ g)[:, :, None] * g).flatten(1)

    return law


def inertia(
    train: int = 1000,
    valid: int = 1000,
    test: int = 1000,
    *,
    points: int = 5,
    alpha: float = -1.0,
    axis: Literal["x", "y", "z", "-1"] = "z",
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Point masses and their moment of inertia, with a symmetry that is broken as one likes.

    Input `x (B, 4 points)`: masses `softplus(N(0, 1))` and positions `N(0, I)`; target `(B, 9)`, see `inertia_law`. The
    symmetry of the data set is the one that holds exactly: O(3) for alpha = 0, O(2) about the axis else; for the axis
    "-1", which leaves none of the rotations, it is O(3), so that it can be seen to be broken.

    Arguments:
        train, valid, test: numbers of samples; `valid` may be 0.
        points, alpha, axis: as in `inertia_law`.
        seed: of the samples.
        dtype: of the tensors; torch's default dtype by default.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7; Kim et al. 2023 (arXiv 2306.00356), section 5.

    >>> from torsor.data import inertia
    >>> data = inertia(10, 0, 10)
    >>> data.train.inputs[0].shape, data.train.targets.shape, data.symmetry.group
    (torch.Size([10, 20]), torch.Size([10, 9]), embed(O(2), (0, 1), 3))
    """
    check_sizes(train, valid, test)
    law = inertia_law(points, alpha, axis)
    splits = {}
    for number, (split, size) in enumerate({"train": train, "valid": valid, "test": test}.items()):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        mass = torch.nn.functional.softplus(torch.randn(size, points, generator=generator, dtype=torch.float64))
        r = torch.randn(size, 3 * points, generator=generator, dtype=torch.float64)
        x = torch.cat([mass, r], 1)
        kind = dtype or torch.get_default_dtype()
        splits[split] = Samples(x.to(kind), law(x).to(kind)) if size else None
    group = O(3) if alpha == 0 or axis == "-1" else embed(O(2), tuple(i for i in range(3) if "xyz"[i] != axis), 3)
    return Dataset(
        name="inertia",
        **splits,
        symmetry=Symmetry(group, points * Scalar() + points * V, T(2)),
        units="none",
        source=SOURCE,
        licence="none needed: generated",
        description="Masses and positions of points, and their moment of inertia.",
    )

"""The mean cosine of three vectors: invariant under rotations and under scaling, with either broken as one likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from torsor.actions import Scalar, Vector
from torsor.data._samples import Dataset, Samples
from torsor.groups import SO, Scaling, join
from torsor.symmetry import Symmetry

BROKEN = ("none", "scaling", "rotation", "both")


def cosine_law(broken: str = "none", amount: float = 1.0) -> Callable[[Tensor], Tensor]:
    """The mean cosine of neighbours among three vectors, less what breaks a symmetry: (n, 3, 3) to (n, 1).

    `"scaling"` subtracts `amount` times the mean length, which rotations keep; `"rotation"` subtracts `amount` times
    the sum of the absolute values of the first four coordinates over that of the other five, which scaling keeps.

    Raises:
        ValueError: unknown word.

    >>> import torch
    >>> bool(cosine_law()(torch.eye(3)[None]) == 0)
    True
    """
    if broken not in BROKEN:
        raise ValueError(f"broken must be one of {', '.join(BROKEN)}; got {broken!r}")

    def law(x: Tensor) -> Tensor:
        y = torch.nn.functional.cosine_similarity(x, x.roll(-1, 1), dim=-1).mean(1, keepdim=True)
        if broken in ("scaling", "both"):
            y = y - amount * x.norm(dim=-1).mean(1, keepdim=True)
        if broken in ("rotation", "both"):
            flat = x.flatten(1).abs()
            y = y - amount * (flat[:, :4].sum(1) / flat[:, 4:].sum(1)).unsqueeze(1)
        return y

    return law


def cosine(
    train: int = 1000,
    valid: int = 1000,
    test: int = 1000,
    *,
    broken: Literal["none", "scaling", "rotation", "both"] = "none",
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Three vectors and their mean cosine, with symmetries that are broken as one likes.

    Input `x (B, 3, 3)`: vectors `N(0, I)`; target `(B, 1)`, see `cosine_law`. The symmetry of the data set is the one
    that holds exactly: rotations and scalings, or the one that is left; where both are broken it is SO(3), so that it
    can be seen to be broken.

    Arguments:
        train, valid, test: numbers of samples; `valid` may be 0.
        broken: as in `cosine_law`.
        seed: of the samples.
        dtype: of the tensors; torch's default dtype by default.

    Source: Kim et al. 2023 (arXiv 2306.00356), section 5; which coordinates break rotations is our choice.

    >>> from torsor.data import cosine
    >>> cosine(10, 0, 10, broken="scaling").symmetry.group
    SO(3)
    """
    law, splits = cosine_law(broken), {}
    for number, (split, size) in enumerate({"train": train, "valid": valid, "test": test}.items()):
        if size < (split != "valid"):
            raise ValueError(f"{split} must be at least {int(split != 'valid')}; got {size}")
        generator = torch.Generator().manual_seed(1000 * seed + number)
        x = torch.randn(size, 3, 3, generator=generator, dtype=torch.float64)
        kind = dtype or torch.get_default_dtype()
        splits[split] = Samples(x.to(kind), law(x).to(kind)) if size else None
    both = join(SO(3), Scaling(3), name="SO(3) with scaling")
    group = {"none": both, "scaling": SO(3), "rotation": Scaling(3), "both": SO(3)}[broken]
    return Dataset(
        name="cosine",
        **splits,
        symmetry=Symmetry(group, Vector(per="node"), Scalar(per="sample")),
        units="none",
        source="Kim et al. 2023 (arXiv 2306.00356), section 5",
        licence="none needed: generated",
        description="Three vectors, and the mean cosine of the angles between neighbours.",
    )

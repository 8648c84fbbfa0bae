"""Frames of the unitary groups."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torsor.build.frames._axes import check_policy, null_tolerance, tell_ambiguous
from torsor.build.frames._cloud import named_field
from torsor.build.frames._frameset import FrameSet
from torsor.groups import SU, U
from torsor.groups.linalg import eigh
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class UnitaryFrame:
    """The frame of a set of complex vectors: the eigenvectors of their second moment, one element of U(d) or SU(d).

    The phase of axis `k` makes `sum_i |z_ik|^2 z_ik` real and positive, with `z` the coordinates along the axes; for
    SU(d) the last axis is turned to determinant 1. Discontinuous where such a sum vanishes.

    Arguments:
        field: name of the complex `Vector` input; by default the first.
        gap_tol: relative distance of eigenvalues below which a sample is ambiguous.
        phase_tol: standardised third moment below which a sample is ambiguous. Vectors that span less than the space
            (less than a hyperplane, for SU) are ambiguous too.
        on_degenerate: for ambiguous samples: `"warn"` says how many, `"raise"` is a RuntimeError, `"ignore"`.

    Raises:
        TypeError: the group is neither U nor SU, or the vectors are real.

    >>> import torch
    >>> from torsor import Scalar, Symmetry, Vector
    >>> from torsor.groups import SU
    >>> x = torch.randn(3, 10, 2, dtype=torch.complex64)
    >>> UnitaryFrame()(Symmetry(SU(2), Vector(), Scalar()), x).elements.shape
    torch.Size([3, 1, 2, 2])
    """

    field: str | None = None
    gap_tol: float = 1e-4
    phase_tol: float = 1e-6
    on_degenerate: Literal["warn", "raise", "ignore"] = "warn"
    exact = True

    def __post_init__(self) -> None:
        check_policy(self.on_degenerate, ("warn", "raise", "ignore"), gap_tol=self.gap_tol, phase_tol=self.phase_tol)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not isinstance(group, U | SU):
            raise TypeError(f"UnitaryFrame is for U(n) and SU(n); got {group}")
        action, x = named_field(symmetry, inputs, self.field)
        if not x.is_complex():
            raise TypeError(f"UnitaryFrame needs complex vectors; got {x.dtype}")
        layout = symmetry.layout(inputs)
        points, present = layout.points(action, x.to(torch.complex128))
        points = points * present.unsqueeze(-1)

        def total(values: Tensor) -> Tensor:
            return layout.sum(action, values.sum(1))

        values, axes = eigh(total(points.unsqueeze(-1) * points.conj().unsqueeze(-2)))
        values, axes = values.flip(-1), axes.flip(-1)
        seen = points @ layout.spread(action, axes.conj())
        third, second = total(seen.abs().square() * seen), total(seen.abs().square())
        skewness = third.detach().abs() / torch.where(second > 0, second, 1).detach() ** 1.5
        present_count = total(present.real).clamp(min=1).unsqueeze(-1)
        skewness = skewness * present_count.sqrt()
        phased = third.abs() > 0
        phase = torch.where(phased, third / torch.where(phased, third.abs(), 1), 1)
        axes = axes * phase.unsqueeze(-2)
        null = values.detach() <= null_tolerance(x.real.dtype) * values.detach()[:, :1]
        free = (skewness < self.phase_tol) | null
        if isinstance(group, SU):
            axes = torch.cat([axes[..., :-1], axes[..., -1:] * torch.linalg.det(axes).conj()[:, None, None]], -1)
            free = free[:, :-1]
        gap = _gap(values.detach())
        ambiguous = (gap < self.gap_tol) | free.any(-1)
        tell_ambiguous(ambiguous, gap, self.on_degenerate, "unitary frames")
        rank = (~null).sum(-1)
        weights = torch.ones_like(gap).unsqueeze(1).to(x.real.dtype)
        return FrameSet(group, axes.unsqueeze(1).to(x.dtype), weights, gap, rank, ambiguous)


def _gap(values: Tensor) -> Tensor:
    if values.shape[1] == 1:
        return torch.full_like(values[:, 0], torch.inf)
    return (-values.diff(dim=1)).amin(1) / values[:, 0].clamp(min=torch.finfo(values.dtype).tiny)

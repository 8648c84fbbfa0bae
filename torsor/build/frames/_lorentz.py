"""Frames of the Lorentz groups."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.build.frames._axes import check_policy, cholesky, right_handed, sign_patterns, tell_ambiguous
from torsor.build.frames._cloud import floating_dtype, read_clouds
from torsor.build.frames._frameset import FrameSet
from torsor.groups import Lorentz
from torsor.groups.linalg import eigh
from torsor.symmetry import Inputs, Symmetry


@dataclass(frozen=True)
class LorentzFrame:
    """The frames of a set of four-momenta, or of other vectors of space-time: principal axes for the Minkowski form.

    With the second moment `M = C C^T` and `C^T eta C = U diag(l) U^T`, of which exactly one eigenvalue is positive, the
    axes are `C u_k / sqrt|l_k|`, the timelike one first: a tetrad, `V^T eta V = eta`, that moves along with the momenta
    and does not depend on their order. It is taken with all signs that the component of the group allows: `2^n` for
    the full group, half of them for the proper or the orthochronous one, a quarter for both.

    Arguments:
        field: name of the `Vector` input; by default the first.
        weights: name of an input with one non-negative invariant weight per vector.
        gap_tol: relative distance of spacelike eigenvalues below which a sample is ambiguous.
        on_degenerate: for ambiguous samples: `"warn"` says how many, `"raise"` is a RuntimeError, `"ignore"`.

    Raises:
        ValueError: the vectors of a sample do not span space-time.
        TypeError: the group is no Lorentz group.

    >>> import torch
    >>> from torsor import Lorentz, Scalar, Symmetry, Vector
    >>> sym = Symmetry(Lorentz(1, 3), Vector(), Scalar())
    >>> momenta = torch.randn(2, 6, 4) + torch.tensor([4.0, 0, 0, 0])
    >>> LorentzFrame()(sym, momenta).elements.shape
    torch.Size([2, 4, 4, 4])
    """

    field: str | None = None
    weights: str | None = None
    gap_tol: float = 1e-4
    on_degenerate: Literal["warn", "raise", "ignore"] = "warn"
    exact = True

    def __post_init__(self) -> None:
        check_policy(self.on_degenerate, ("warn", "raise", "ignore"), gap_tol=self.gap_tol)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> FrameSet:
        group = symmetry.group
        if not isinstance(group, Lorentz):
            raise TypeError(f"LorentzFrame is for Lorentz groups; got {group}")
        (cloud,) = read_clouds(symmetry, inputs, None if self.field is None else (self.field,), self.weights)
        root = cholesky(cloud.mean(cloud.points.unsqueeze(-1) * cloud.points.unsqueeze(-2)))
        eta = group.form(root.dtype, root.device)
        values, turns = eigh(root.mT @ eta @ root)
        values, turns = values.flip(-1), turns.flip(-1)  # the one positive eigenvalue comes first
        axes = root @ turns / values.abs().sqrt().unsqueeze(-2)
        if "orthochronous" in group.component:
            forward = torch.where(axes[:, :1, :1] < 0, -1, 1).to(axes.dtype)
            axes = torch.cat([axes[..., :1] * forward, axes[..., 1:]], -1)
        proper = group.component.startswith("proper")
        signs = sign_patterns(group.n, proper, axes)
        if "orthochronous" in group.component:
            signs = signs[signs[:, 0] > 0]
        axes = right_handed(axes) if proper else axes
        elements = axes.unsqueeze(1) * signs[:, None, :]
        gap = _spacelike_gap(values.detach())
        ambiguous = gap < self.gap_tol
        tell_ambiguous(ambiguous, gap, self.on_degenerate, "Lorentz frames")
        dtype = floating_dtype(symmetry, inputs)
        weights = torch.full_like(elements[..., 0, 0], 1 / len(signs))
        rank = torch.full_like(gap, group.n, dtype=torch.long)
        return FrameSet(group, elements.to(dtype), weights.to(dtype), gap, rank, ambiguous)


def _spacelike_gap(values: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """The smallest distance of two negative eigenvalues, relative to the largest of them."""
    if values.shape[1] < 3:
        return torch.full_like(values[:, 0], torch.inf)
    return (-values[:, 1:].diff(dim=1)).amin(1) / values[:, -1].abs()

"""The same correlations on point clouds: sums over points instead of pixels."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torsor.build.lie._convolution import _check_group, shares_of
from torsor.build.lie._kernels import GroupWindow, Linear, SpatialBasis
from torsor.build.lie._learned import GroupMixing
from torsor.build.lie._numerics import check_real, check_widths
from torsor.build.lie._sampling import GroupFeature, SamplePlan, as_plan
from torsor.groups import Group
from torsor.groups.measure import GroupSample, Proposal


class PointLifting(nn.Module):
    """Features of points, correlated with a kernel in every pose: `F(x_p, A) = mean_q k(A^-1 (x_q - x_p)) f(x_q)`.

    Exactly equivariant to translations, permutations and, up to the choice of elements, to `H`: points carry masses of
    their own, so that no determinant and no pixels come in.

    Arguments:
        plan: the elements `A`: a plan, a proposal or a group of matrices of R^n.
        in_channels, out_channels: of the features.
        radius: of the kernel at `A = 1`.
        resolution: functions of the kernel along each axis.

    Shapes: points `(B, P, n)`, features `(B, P, in)`, mask `(B, P)` to a `GroupFeature` with values `(B, out, N, P)`.

    Source: Finzi, Stanton, Izmailov, Wilson 2020 (arXiv 2002.12880), with the measures of Mironenco, Forré 2024.

    >>> import torch
    >>> from torsor.groups import SO
    >>> points, features = torch.randn(2, 20, 3), torch.ones(2, 20, 1)
    >>> feature = PointLifting(SamplePlan(SO(3), 4), 1, 8, radius=1.5)(points, features)
    >>> PointGroupConv(8, 5, n=3, radius=1.5)(points, feature).values.shape
    torch.Size([2, 5, 4, 20])
    """

    def __init__(
        self,
        plan: SamplePlan | Proposal | Group,
        in_channels: int,
        out_channels: int,
        *,
        radius: float,
        resolution: int = 3,
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_channels=out_channels)
        self.plan, self.in_channels = as_plan(plan), in_channels
        self.n = self.plan.group.n
        _check_group(self.plan.group, self.n)
        self.space = _PointKernel(self.n, in_channels, out_channels, radius, resolution)

    def forward(
        self,
        points: Float[Tensor, "b p n"],
        features: Float[Tensor, "b p c"],
        mask: Bool[Tensor, "b p"] | None = None,
        sample: GroupSample | None = None,
        generator: torch.Generator | None = None,
    ) -> GroupFeature:
        """The feature of a batch of clouds."""
        _check_cloud(points, features.shape[:2], self.n, mask)
        if features.ndim != 3 or features.shape[2] != self.in_channels:
            raise ValueError(f"features must be (batch, points, {self.in_channels}); got {tuple(features.shape)}")
        sample = self.plan(generator, points) if sample is None else sample
        lifted = features.unsqueeze(1).expand(-1, len(sample.g), -1, -1)
        return GroupFeature(self.space(points, lifted, mask, sample), sample)


class PointGroupConv(nn.Module):
    """The separable group correlation on points: channels and elements are mixed, then points.

    Arguments:
        in_channels, out_channels: of the features.
        n: dimension of space.
        radius, resolution: as in `PointLifting`.
        plan: the elements of the output; by default those of the input.
        group_window, angle_window, weighting, self_normalised: as in `GroupConv`.

    Shapes: points `(B, P, n)` and a `GroupFeature` with values `(B, in, M, P)` to one with `(B, out, N, P)`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        n: int,
        radius: float,
        resolution: int = 3,
        plan: SamplePlan | Proposal | Group | None = None,
        group_window: float | None = 0.15,
        angle_window: float | None = None,
        weighting: str = "haar",
        self_normalised: bool = True,
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_channels=out_channels)
        if weighting not in ("haar", "none"):
            raise ValueError(f'weighting must be "haar" or "none"; got {weighting!r}')
        self.n, self.in_channels = n, in_channels
        self.plan = None if plan is None else as_plan(plan)
        self.weighting, self.self_normalised = weighting, self_normalised
        self.window = GroupWindow(group_window, angle_window)
        self.mixing = GroupMixing("basis", n, in_channels, out_channels, 1, self.window)
        self.space = _PointKernel(n, out_channels, out_channels, radius, resolution)

    def forward(
        self,
        points: Float[Tensor, "b p n"],
        feature: GroupFeature,
        mask: Bool[Tensor, "b p"] | None = None,
        sample: GroupSample | None = None,
        generator: torch.Generator | None = None,
    ) -> GroupFeature:
        """The feature at the elements of the plan, at those that are given, or at those of the input."""
        values = feature.values
        if values.ndim != 4 or values.shape[1] != self.in_channels:
            raise ValueError(f"values must be (batch, {self.in_channels}, elements, points); got {tuple(values.shape)}")
        _check_cloud(points, torch.Size((len(values), values.shape[3])), self.n, mask)
        if sample is None:
            sample = feature.sample if self.plan is None else self.plan(generator, values)
        relative = sample.g_inv.unsqueeze(1) @ feature.sample.g
        share = shares_of(relative, feature.sample, self.window, self.weighting, self.self_normalised)
        mixing = self.mixing(relative)[:, :, 0] * share[..., None, None]  # n_out n_in out in
        mixed = torch.einsum("ijoc,bcjp->bipo", mixing.to(values.dtype), values)
        return GroupFeature(self.space(points, mixed, mask, sample), sample)


class _PointKernel(nn.Module):
    """`mean_q k(A_i^-1 (x_q - x_p)) f_i(x_q)` with a basis kernel."""

    def __init__(self, n: int, in_channels: int, out_channels: int, radius: float, resolution: int) -> None:
        super().__init__()
        if not 0 < radius < math.inf:
            raise ValueError(f"radius must be positive and finite; got {radius}")
        check_widths(resolution=resolution)
        self.basis = SpatialBasis(n, radius, resolution)
        self.linear = Linear(self.basis.size * in_channels, out_channels, math.sqrt(2 / in_channels))

    def forward(
        self, points: Tensor, features: Float[Tensor, "b i p c"], mask: Tensor | None, sample: GroupSample
    ) -> Float[Tensor, "b o i p"]:
        difference = points.unsqueeze(1) - points.unsqueeze(2)  # b p q n: from p to q
        seen = torch.einsum("imn,bpqn->bipqm", sample.g_inv.to(points.dtype), difference)
        values = self.basis(seen)
        if mask is not None:
            features = torch.where(mask[:, None, :, None], features, 0)
        real = torch.ones_like(points[..., 0]) if mask is None else mask.to(points.dtype)
        share = real / real.sum(1, keepdim=True).clamp(min=1)
        gathered = torch.einsum("bipqs,biqc,bq->bipsc", values, features, share)
        out = self.linear(gathered.flatten(-2)).permute(0, 3, 1, 2)
        return out if mask is None else out * mask[:, None, None, :].to(out.dtype)


def _check_cloud(points: Tensor, rows: torch.Size, n: int, mask: Tensor | None) -> None:
    if points.ndim != 3 or points.shape[2] != n or points.shape[:2] != rows:
        raise ValueError(f"points must be ({rows[0]}, {rows[1]}, {n}); got {tuple(points.shape)}")
    check_real(points, "points")
    if mask is not None and (mask.shape != points.shape[:2] or mask.dtype != torch.bool):
        raise ValueError(f"mask must be boolean, {tuple(points.shape[:2])}; got {mask.dtype}, {tuple(mask.shape)}")

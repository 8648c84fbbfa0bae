"""Correlations on a group R^n x H, by Monte Carlo over H: lifting, group, and separable ones."""

import math
import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions import pixel_grid
from torsor.build.lie._kernels import GroupWindow, KernelLike, is_builtin
from torsor.build.lie._learned import GroupMixing, joint_kernel, spatial_kernel
from torsor.build.lie._numerics import channels_last, check_real, check_widths, exactly
from torsor.build.lie._sampling import GroupFeature, SamplePlan, as_plan
from torsor.groups import Group
from torsor.groups.measure import GroupSample, Proposal

_CONVOLUTIONS = {2: nn.functional.conv2d, 3: nn.functional.conv3d}
_REACH = 1 + 1e-6


class _Convolution(nn.Module):
    """What lifting and group correlations share: the pixels of the kernel, and what may be called with what."""

    def __init__(
        self,
        n: int,
        in_channels: int,
        out_channels: int,
        support_radius: float,
        max_stretch: float,
        kernel: KernelLike,
        kernel_size: int | None,
        stride: int,
        padding: Literal["same", "valid"] | int,
        bias: bool,
        clip: Literal["raise", "warn", "ignore"],
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_channels=out_channels, stride=stride)
        for name, width in (("support_radius", support_radius), ("max_stretch", max_stretch)):
            if not 0 < width < math.inf:
                raise ValueError(f"{name} must be positive and finite; got {width}")
        size = 2 * math.ceil(support_radius * max_stretch) + 1 if kernel_size is None else kernel_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1 or (padding == "same" and size % 2 == 0):
            raise ValueError(f'kernel_size must be a number of pixels, odd where padding="same"; got {size!r}')
        if padding not in ("same", "valid") and (
            isinstance(padding, bool) or not isinstance(padding, int) or padding < 0
        ):
            raise ValueError(f'padding must be "same", "valid" or a number of pixels; got {padding!r}')
        if clip not in ("raise", "warn", "ignore"):
            raise ValueError(f'clip must be "raise", "warn" or "ignore"; got {clip!r}')
        self.n, self.in_channels, self.out_channels = n, in_channels, out_channels
        self.support_radius, self.kernel_size, self.stride, self.clip = support_radius, size, stride, clip
        self.padding = {"same": size // 2, "valid": 0}.get(padding, padding)  # type: ignore[arg-type, call-overload]
        self.kernel_name = kernel if isinstance(kernel, str) else getattr(kernel, "__name__", "function")
        self.builtin = is_builtin(kernel)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("pixels", pixel_grid((size,) * n, torch.zeros(())).flatten(0, -2), persistent=False)

    def _points(self, sample: GroupSample) -> Float[Tensor, "n_out p d"]:
        """The pixels of the window as each element sees them, `A^-1 u`."""
        self._check_reach(sample)
        return self.pixels.to(sample.g_inv) @ sample.g_inv.mT

    def _check_reach(self, sample: GroupSample) -> None:
        if not self.builtin or self.clip == "ignore" or torch.compiler.is_compiling():  # a graph has no warnings
            return
        stretch = float(torch.linalg.matrix_norm(sample.g.detach(), 2).max())
        reach = self.support_radius * stretch
        if reach > (self.kernel_size // 2 + 1) * _REACH:
            words = (
                f"an element stretches by {stretch:.3g}: a kernel of radius {self.support_radius:g} then reaches"
                f" {reach:.3g} pixels, and the window of {self.kernel_size} pixels ends at {self.kernel_size // 2};"
                " raise max_stretch, or narrow the proposal"
            )
            if self.clip == "raise":
                raise ValueError(f'{words} (clip="warn" cuts the kernel off)')
            warnings.warn(words, stacklevel=4)

    def _correlate(self, x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
        if groups > 1 and self.n == 2:  # on a CPU the backward pass of depthwise kernels is three times as fast so
            x = channels_last(x)
        return _CONVOLUTIONS[self.n](x, weight.to(x.dtype), stride=self.stride, padding=self.padding, groups=groups)

    def _finish(self, values: Float[Tensor, "b c n *spatial"]) -> Tensor:
        if self.bias is None:
            return values
        return values + self.bias.reshape(-1, *[1] * (self.n + 1)).to(values.dtype)

    def _check_space(self, spatial: torch.Size, what: str) -> None:
        if any(side + 2 * self.padding < self.kernel_size for side in spatial):  # type: ignore[operator]
            raise ValueError(f"{what} of {tuple(spatial)} pixels is smaller than the kernel of {self.kernel_size}")

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel={self.kernel_name!r},"
            f" support_radius={self.support_radius:g}, kernel_size={self.kernel_size}"
        )


class LiftingConv(_Convolution):
    """The correlation of an image with a kernel in every pose: `F(x, A) = |det A|^-1 sum_u k(A^-1 u) f(x + u)`.

    Equivariant to translations, and to `H` as far as pixels allow: `F(x, A)` of the moved image is that of the image at
    `(B^-1 x, B^-1 A)`. The factor of the determinant is what equivariance asks for.

    Arguments:
        plan: the elements `A`: a plan, a proposal or a group.
        in_channels, out_channels: of the image and of the feature.
        n: dimension of space, 2 or 3.
        support_radius: of the kernel at `A = 1`, in pixels.
        max_stretch: how far elements may stretch; decides the window, `2 ceil(support_radius max_stretch) + 1` pixels.
        kernel: `"basis"`, smooth functions with learned coefficients; `"siren"`, a sine network; or a function of
            `A^-1 u`, `(N, P, n)` in pixels, to `(N, P)` or `(N, P, out, in)`.
        kernel_size: the window in pixels, instead.
        stride, padding: as in `torch.nn.functional.conv2d`; `"same"` pads by half the window.
        bias: a learned constant per channel.
        clip: where an element stretches the kernel beyond the window: `"raise"`, or cut it off with `"warn"` and
            without a word with `"ignore"`.

    Shapes: `(B, in, H, W)` to a `GroupFeature` with values `(B, out, N, H', W')`.

    Raises:
        ValueError: a size is not positive, an image is smaller than the kernel or has other channels, an element
            stretches the kernel beyond the window.

    Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 4, with the determinant; Cohen, Welling 2016.

    >>> import torch
    >>> from torsor.groups import Cyclic
    >>> LiftingConv2d(Cyclic(4), 1, 8)(torch.zeros(2, 1, 16, 16)).values.shape
    torch.Size([2, 8, 4, 16, 16])
    """

    def __init__(
        self,
        plan: SamplePlan | Proposal | Group,
        in_channels: int,
        out_channels: int,
        *,
        n: int = 2,
        support_radius: float = 2.0,
        max_stretch: float = 1.5,
        kernel: KernelLike = "basis",
        kernel_size: int | None = None,
        stride: int = 1,
        padding: Literal["same", "valid"] | int = "same",
        bias: bool = False,
        clip: Literal["raise", "warn", "ignore"] = "raise",
    ) -> None:
        super().__init__(
            n, in_channels, out_channels, support_radius, max_stretch, kernel, kernel_size, stride, padding, bias, clip
        )
        self.plan = as_plan(plan)
        _check_group(self.plan.group, n)
        self.kernel = spatial_kernel(kernel, self, in_channels * out_channels, in_channels)

    def forward(
        self,
        x: Float[Tensor, "b c *spatial"],
        sample: GroupSample | None = None,
        generator: torch.Generator | None = None,
    ) -> GroupFeature:
        """The feature of a batch of images, at the elements of the plan or at those that are given."""
        if x.ndim != self.n + 2 or x.shape[1] != self.in_channels:
            axes = "height, width" if self.n == 2 else "depth, height, width"
            raise ValueError(f"x must be (batch, {self.in_channels}, {axes}); got {tuple(x.shape)}")
        check_real(x, "x")
        self._check_space(x.shape[2:], "an image")
        with exactly(x):
            sample = self.plan(generator, x) if sample is None else sample
            kernel = self.kernel(self._points(sample))
            kernel = _as_weight(kernel, self.out_channels, self.in_channels)  # n_out p out in
            weight = kernel / torch.linalg.det(sample.g).abs().reshape(-1, 1, 1, 1)
        elements = len(sample.g)
        weight = weight.permute(2, 0, 3, 1).reshape(-1, self.in_channels, *[self.kernel_size] * self.n)
        out = self._correlate(x, weight)
        return GroupFeature(self._finish(out.unflatten(1, (self.out_channels, elements))), sample)


class GroupConv(_Convolution):
    """The correlation on the group: `F'(x, A) = sum_j w_j |det B_j|^-1 sum_u k(A^-1 u, A^-1 B_j) F(x + u, B_j)`.

    The sum over `j` is the Monte Carlo integral over Haar measure of `H`, with the weights of the sample.

    Arguments:
        in_channels, out_channels: of the features.
        plan: the elements `A` of the output; by default those of the input.
        n: dimension of space, 2 or 3.
        support_radius, max_stretch, kernel, kernel_size, stride, padding, bias, clip: as in `LiftingConv`; a function
            takes `(A^-1 u, A^-1 B)`, `(N, M, P, n)` and `(N, M, P, n, n)`, to `(N, M, P)` or `(N, M, P, out, in)`.
        group_window: width in `Y` of the Gaussian window around `A`, where `A^-1 B = exp(Y) R`; None for none. Narrower
            than the law of the elements, whose weights grow outwards as the inverse of its density.
        angle_window: its width in the angle of `R`; None for none.
        weighting: `"haar"`, the weights of the sample; `"none"`, all the same.
        self_normalised: divide by the sum of weights times windows: biased by O(1/N), but without the loss at the rim
            of the sampled region.
        separable: the kernel is a sum of `rank` products of a function of space and one of the group.
        rank: of separable kernels.
        atom: the kernel has a point mass at the identity of H besides its smooth part, which then starts at zero: the
            layer first treats each element alone, like pooling over an orbit, and learns to mix them. For kernels
            that are no functions, and outputs at the elements of the input.
        chart: coordinates of the group in a basis kernel: `"polar"`, `exp(Y) R`, which has all elements; `"log"`, the
            principal logarithm: elements `A^-1 B` without one are left out.
        relative: draw `h` near the identity instead and take `F(x, A h)`, interpolated from the elements where `F` is
            known: the sum then has no truncation of its own at the rim of the sampled region. For separable kernels.
        interpolation: width, in `Y` and in radians, of the Gaussian weights of that interpolation.

    Shapes: a `GroupFeature` with values `(B, in, M, H, W)` to one with `(B, out, N, H', W')`.

    Raises:
        ValueError: as `LiftingConv`; a separable kernel that is a function.

    Source: Mironenco, Forré 2024 (arXiv 2310.11366), section 4; Knigge, Romero, Bekkers 2022 (arXiv 2110.13059) for
        separable kernels.

    >>> import torch
    >>> from torsor.groups import Cyclic
    >>> feature = LiftingConv2d(Cyclic(4), 1, 8)(torch.zeros(2, 1, 16, 16))
    >>> GroupConv2d(8, 5, group_window=None)(feature).values.shape
    torch.Size([2, 5, 4, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        plan: SamplePlan | Proposal | Group | None = None,
        n: int = 2,
        support_radius: float = 2.0,
        max_stretch: float = 1.5,
        kernel: KernelLike = "basis",
        kernel_size: int | None = None,
        stride: int = 1,
        padding: Literal["same", "valid"] | int = "same",
        bias: bool = False,
        clip: Literal["raise", "warn", "ignore"] = "raise",
        group_window: float | None = 0.15,
        angle_window: float | None = None,
        weighting: Literal["haar", "none"] = "haar",
        self_normalised: bool = True,
        separable: bool = True,
        rank: int = 3,
        atom: bool = False,
        chart: Literal["polar", "log"] = "polar",
        relative: SamplePlan | Proposal | Group | None = None,
        interpolation: float = 0.15,
    ) -> None:
        super().__init__(
            n, in_channels, out_channels, support_radius, max_stretch, kernel, kernel_size, stride, padding, bias, clip
        )
        if weighting not in ("haar", "none"):
            raise ValueError(f'weighting must be "haar" or "none"; got {weighting!r}')
        check_widths(rank=rank)
        if chart not in ("polar", "log") or (chart == "log" and not (separable and kernel == "basis")):
            raise ValueError(f'chart must be "polar", or "log" for separable basis kernels; got {chart!r}')
        self.plan = None if plan is None else as_plan(plan)
        self.weighting, self.self_normalised = weighting, self_normalised
        self.window = GroupWindow(group_window, angle_window)
        self.separable = separable and self.builtin
        self.rank = rank if self.separable else 1
        if relative is not None and not self.separable:
            raise ValueError("relative needs a separable kernel")
        self.relative = None if relative is None else as_plan(relative)
        self.near = GroupWindow(interpolation, interpolation)
        if atom and not (self.builtin and plan is None):
            raise ValueError("atom needs a kernel that is no function, and no plan of its own")
        self.atom: Any = None
        if self.separable:
            self.mixing = GroupMixing(kernel, n, in_channels, out_channels, rank, self.window, chart, zero=atom)
            self.kernel = spatial_kernel(kernel, self, rank * out_channels, rank)
            if atom:
                self.atom = nn.Parameter(torch.randn(rank, out_channels, in_channels) / math.sqrt(in_channels))
        else:
            self.kernel = joint_kernel(kernel, self, in_channels * out_channels, in_channels, self.window, atom)
            if atom:
                self.atom = spatial_kernel(kernel, self, in_channels * out_channels, in_channels)

    def forward(
        self, feature: GroupFeature, sample: GroupSample | None = None, generator: torch.Generator | None = None
    ) -> GroupFeature:
        """The feature at the elements of the plan, at those that are given, or at those of the input."""
        if not isinstance(feature, GroupFeature):
            raise TypeError(f"feature must be a GroupFeature, as LiftingConv gives one; got {type(feature).__name__}")
        values = feature.values
        if values.ndim != self.n + 3 or values.shape[1] != self.in_channels:
            raise ValueError(
                f"values must be (batch, {self.in_channels}, elements, *pixels), {self.n + 3} axes; got"
                f" {tuple(values.shape)}"
            )
        known = feature.sample
        if values.shape[2] != len(known.g):
            raise ValueError(f"values are known at {values.shape[2]} elements, and the sample has {len(known.g)}")
        check_real(values, "values")
        self._check_space(values.shape[3:], "a feature")
        with exactly(values):
            if sample is None:
                sample = known if self.plan is None else self.plan(generator, values)
            if self.atom is not None and sample is not known:
                raise ValueError(
                    "a kernel with a point mass is known at the elements of the input only: give no sample"
                )
            weights = self._weights(sample, known, generator, values)
        if self.separable:
            return GroupFeature(self._finish(self._separable(values, *weights)), sample)
        return GroupFeature(self._finish(self._joint(values, *weights)), sample)

    def _weights(
        self, sample: GroupSample, known: GroupSample, generator: torch.Generator | None, values: Tensor
    ) -> tuple[Tensor, ...]:
        """The kernel at the elements of the output and of the input: mixing and depthwise weights, or one full one."""
        if self.relative is not None:
            mixing = self._relative_mixing(sample, known, self.relative(generator, values))
            return self._separable_weights(sample, mixing)
        relative = sample.g_inv.unsqueeze(1) @ known.g  # A_i^-1 B_j
        shares = shares_of(relative, known, self.window, self.weighting, self.self_normalised)
        shares = shares / torch.linalg.det(known.g).abs()
        if self.separable:
            return self._separable_weights(sample, self.mixing(relative) * shares[..., None, None, None])
        return self._joint_weights(sample, relative, shares)

    def _relative_mixing(self, sample: GroupSample, known: GroupSample, near: GroupSample) -> Tensor:
        """`sum_k w_k |det A_i h_k|^-1 K(h_k) S(A_i h_k, B_j)`, where `S` interpolates."""
        places = sample.g.unsqueeze(1) @ near.g
        away = (near.g_inv @ sample.g_inv.unsqueeze(1)).unsqueeze(2) @ known.g  # (A_i h_k)^-1 B_j
        weights = self.near(away)
        weights = weights / weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        weights = weights / torch.linalg.det(places).abs().unsqueeze(2)
        shares = shares_of(near.g.unsqueeze(0), near, self.window, self.weighting, self.self_normalised)[0]
        return torch.einsum("kroc,k,ikj->ijroc", self.mixing(near.g), shares, weights)

    def _separable_weights(
        self, sample: GroupSample, mixing: Float[Tensor, "n_out n_in rank out into"]
    ) -> tuple[Tensor, Tensor]:
        if self.atom is not None:
            mixing = mixing + _here(sample) * self.atom.to(mixing)
        space = self.kernel(self._points(sample)).unflatten(-1, (self.rank, self.out_channels))
        return mixing, space.permute(2, 3, 0, 1).reshape(
            -1, 1, *[self.kernel_size] * self.n
        )  # (rank out n_out) 1 *window

    def _separable(self, values: Tensor, mixing: Tensor, weight: Tensor) -> Tensor:
        mixed = torch.einsum("ijroc,bcj...->broi...", mixing.to(values.dtype), values)
        out = self._correlate(mixed.flatten(1, 3), weight, groups=len(weight))
        return out.unflatten(1, (self.rank, self.out_channels, len(mixing))).sum(1)

    def _joint_weights(self, sample: GroupSample, relative: Tensor, shares: Tensor) -> tuple[Tensor]:
        out_elements, in_elements = relative.shape[:2]
        points = self._points(sample)
        u = points.unsqueeze(1).expand(out_elements, in_elements, *points.shape[1:])
        h = relative.unsqueeze(2).expand(*u.shape, self.n)
        kernel = _as_weight(self.kernel(u, h).flatten(0, 1), self.out_channels, self.in_channels)
        kernel = kernel.unflatten(0, (out_elements, in_elements)) * shares[..., None, None, None]
        if self.atom is not None:
            alone = _as_weight(self.atom(points), self.out_channels, self.in_channels)
            kernel = kernel + _here(sample) * alone.unsqueeze(1)
        return (kernel.permute(3, 0, 4, 1, 2),)  # out n_out in n_in p

    def _joint(self, values: Tensor, kernel: Tensor) -> Tensor:
        out, elements, into, known, _ = kernel.shape
        weight = kernel.reshape(out * elements, into * known, *[self.kernel_size] * self.n)
        return self._correlate(values.flatten(1, 2), weight).unflatten(1, (out, elements))


def _here(sample: GroupSample) -> Float[Tensor, "n n 1 1 1"]:
    """The correlation with a point mass at the identity: each element alone, over its determinant."""
    return torch.diag(1 / torch.linalg.det(sample.g).abs())[..., None, None, None]


def shares_of(
    relative: Float[Tensor, "n_out n_in d d"],
    sample: GroupSample,
    window: GroupWindow,
    weighting: str,
    self_normalised: bool,
) -> Float[Tensor, "n_out n_in"]:
    """What each element of the input counts for each of the output: its weight times the window around the output."""
    even = torch.full_like(sample.log_weight, 1 / len(sample.log_weight))
    share = (sample.log_weight.exp() if weighting == "haar" else even) * window(relative)
    if not self_normalised:
        return share
    total = share.sum(1, keepdim=True)
    return share / torch.where(total > 0, total, 1)


class LiftingConv2d(LiftingConv):
    """`LiftingConv` in the plane."""

    def __init__(
        self, plan: SamplePlan | Proposal | Group, in_channels: int, out_channels: int, **options: Any
    ) -> None:
        super().__init__(plan, in_channels, out_channels, n=2, **options)


class LiftingConv3d(LiftingConv):
    """`LiftingConv` in space, on volumes `(B, C, D, H, W)`."""

    def __init__(
        self, plan: SamplePlan | Proposal | Group, in_channels: int, out_channels: int, **options: Any
    ) -> None:
        super().__init__(plan, in_channels, out_channels, n=3, **options)


class GroupConv2d(GroupConv):
    """`GroupConv` in the plane."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, n=2, **options)


class GroupConv3d(GroupConv):
    """`GroupConv` in space, on volumes."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, n=3, **options)


def _as_weight(values: Tensor, out: int, into: int) -> Float[Tensor, "n_out p out in"]:
    """Values of a kernel as matrices between channels; one number per point goes to all of them."""
    if values.ndim == 2:
        return values[..., None, None].expand(-1, -1, out, into)
    if values.ndim == 3:
        return values.unflatten(-1, (out, into))
    return values


def _check_group(group: Group, n: int) -> None:
    if group.n != n or getattr(group, "is_affine", False):
        raise ValueError(f"the elements of a plan must be matrices of R^{n}, without translations; got {group}")

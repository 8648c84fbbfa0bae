"""Frame averaging: any network, made exactly invariant or equivariant."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torsor import _tree
from torsor._tree import Tree
from torsor.actions import Element
from torsor.build.frames._affine import AffineFrame, linear_part
from torsor.build.frames._frameset import Frame, FrameLike, FrameSet
from torsor.build.frames._lorentz import LorentzFrame
from torsor.build.frames._pca import PCAFrame
from torsor.build.frames._simple import AllElements, ProductFrame, ScaleFrame, SortFrame, TranslationFrame
from torsor.build.frames._stabilizer import average_over_stabilizer
from torsor.build.frames._unitary import UnitaryFrame
from torsor.groups import (
    GL,
    SE,
    SO,
    SU,
    Affine,
    DirectProduct,
    E,
    Group,
    Lorentz,
    O,
    SAffine,
    Scaling,
    Sim,
    Symmetric,
    Translation,
    U,
)
from torsor.symmetry import Inputs, Symmetry

Reduce = Literal["mean", "max", "logsumexp"]


class FrameAveraging(nn.Module):
    """A network averaged over the frames of its input: `sum_k w_k g_k net(g_k^-1 x)`.

    Exactly invariant or equivariant, as the output actions of the symmetry say, whatever the network is; where the
    network is symmetric already, nothing changes. The `K` frames of a batch are folded into the batch axis, copy-major:
    one call of the network on `K B` samples.

    Arguments:
        net: any callable that takes the inputs of the symmetry and returns its outputs. It sees `K B` samples and must
            treat them alike.
        symmetry: the group, and how it acts on inputs and outputs.
        frame: what gives each input its frames; by default `default_frame(symmetry.group)`.
        samples: in training, draw this many frames per input at random instead of using all (stochastic frame
            averaging, Duval et al. 2023, arXiv 2305.05577): unbiased, cheaper, exact in evaluation only.
        reduce: `"mean"`; `"max"` or `"logsumexp"` over the frames, for outputs that do not move.
        chunk: evaluate this many frames at a time, which bounds memory.
        recompute: with `chunk` in training, keep no activations and compute them again in the backward pass.
        check_values: refuse NaN, infinity and samples without points at the door. Costs one pass over the inputs.

    Shapes: as the network's. `forward(..., frames=...)` takes frames that were computed before.

    Raises:
        ValueError: inputs or outputs do not fit the symmetry; names the argument.
        TypeError: the group has no frame.

    Source: Puny et al. 2021 (arXiv 2110.03336), equations (3) and (4).

    >>> import torch
    >>> from torsor import E, Point, Symmetry
    >>> net = torch.nn.Linear(3, 3)
    >>> equivariant = FrameAveraging(net, Symmetry(E(3), Point(), Point()))
    >>> x = torch.randn(4, 10, 3)
    >>> torch.allclose(equivariant(x) + 1, equivariant(x + 1), atol=1e-5)
    True
    """

    def __init__(
        self,
        net: Callable[..., Tree],
        symmetry: Symmetry,
        frame: FrameLike | None = None,
        *,
        samples: int | None = None,
        reduce: Reduce = "mean",
        chunk: int | None = None,
        recompute: bool = False,
        check_values: bool = True,
    ) -> None:
        super().__init__()
        if not callable(net):
            raise TypeError(f"net must be a module or another callable; got {net!r}")
        if not isinstance(symmetry, Symmetry):
            raise TypeError(f"symmetry must be a torsor.Symmetry, of a group and its actions; got {symmetry!r}")
        if frame is not None and (isinstance(frame, type) or not callable(frame)):
            raise TypeError(f"frame must be a frame such as PCAFrame(); got {frame!r}")
        for name, value in (("samples", samples), ("chunk", chunk)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} must be an integer; got {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        if reduce not in ("mean", "max", "logsumexp"):
            raise ValueError(f'reduce must be "mean", "max" or "logsumexp"; got {reduce!r}')
        if reduce != "mean":
            _require_scalars(symmetry, reduce)
            if chunk is not None:
                raise ValueError(f'chunk needs reduce="mean"; got {reduce!r}')
        if recompute and chunk is None:
            raise ValueError("recompute works on chunks: say how many frames at a time with chunk")
        self.net = net
        self.symmetry = symmetry
        self.frame = default_frame(symmetry.group) if frame is None else frame
        self.samples = samples
        self.reduce = reduce
        self.chunk = chunk
        self.recompute = recompute
        self.check_values = check_values

    @property
    def exact(self) -> bool:
        """Whether the next call is exactly symmetric on inputs that are not ambiguous."""
        return getattr(self.frame, "exact", True) and not (self.training and self.samples is not None)

    def frames(self, *args: Any, **kwargs: Any) -> FrameSet:
        """The frames of some inputs, for `forward(..., frames=...)` or to look at."""
        inputs = self._inputs(args, kwargs)
        self.symmetry.check(inputs, values=self.check_values)
        return self.frame(self.symmetry, inputs)

    def forward(self, *args: Any, frames: FrameSet | None = None, **kwargs: Any) -> Tree:
        """The averaged output; arguments as the network's."""
        inputs = self._inputs(args, kwargs)
        self.symmetry.check(inputs, values=self.check_values)
        if frames is None:
            frames = self.frame(self.symmetry, inputs)
        elif not isinstance(frames, FrameSet):
            raise TypeError(f"frames must be a FrameSet, as {type(self).__name__}.frames gives; got {frames!r}")
        elif len(frames) != self.symmetry.batch_size(inputs):
            raise ValueError(
                f"frames are for {len(frames)} samples and the inputs have {self.symmetry.batch_size(inputs)}"
            )
        if self.training and self.samples is not None:
            frames = frames.sample(self.samples)
        if self.reduce != "mean":
            return self._reduced(inputs, frames)
        k = frames.weights.shape[1]
        step = self.chunk or k
        total = None
        for start in range(0, k, step):
            part = frames.columns(start, min(start + step, k))
            if self.recompute and torch.is_grad_enabled():
                summed = checkpoint(self._summed, inputs, part, use_reentrant=False)
            else:
                summed = self._summed(inputs, part)
            total = summed if total is None else _tree.map(torch.add, total, summed)
        assert total is not None
        return self.symmetry.project(
            average_over_stabilizer(self.symmetry, frames, frames.settle(self.symmetry, total), inputs)
        )

    def _summed(self, inputs: Inputs, frames: FrameSet) -> Tree:
        """The weighted sum over some frames, in the space of `embed`."""
        g, out = self._in_frames(inputs, frames)
        return self.symmetry.orbit_sum(g, out, frames.weights, inputs)

    def _in_frames(self, inputs: Inputs, frames: FrameSet) -> tuple[Element, Tree]:
        """The elements of all frames, and what the network makes of the inputs seen from them, copy-major."""
        g = frames.fold()
        canonical = self.symmetry.orbit(self.symmetry.group.inverse(g), inputs, frames.weights.shape[1])
        out = self.symmetry.call(self.net, canonical)
        self.symmetry.check_output(out, canonical)
        return g, out

    def _reduced(self, inputs: Inputs, frames: FrameSet) -> Tree:
        k = frames.weights.shape[1]
        unused = frames.weights <= 0

        def reduce(y: Tensor) -> Tensor:
            copies = y.reshape(k, -1, *y.shape[1:])
            hidden = unused.mT.reshape(k, -1, *(1,) * (y.ndim - 1))
            if self.reduce == "max":
                return copies.masked_fill(hidden, -torch.inf).amax(0)
            log_weights = frames.weights.mT.log().reshape(hidden.shape).to(copies.dtype)
            return (copies + log_weights).logsumexp(0)

        return _tree.map(reduce, self._in_frames(inputs, frames)[1])  # outputs that do not move

    def _inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        wanted = self.symmetry.inputs
        if isinstance(wanted, dict):
            if len(args) > len(wanted):
                raise TypeError(f"takes {len(wanted)} inputs, {', '.join(wanted)}; got {len(args)} positional ones")
            named = dict(zip(wanted, args, strict=False))
            if twice := named.keys() & kwargs.keys():
                raise TypeError(f"got {', '.join(sorted(twice))} both by position and by keyword")
            return {**named, **kwargs}
        if kwargs:
            raise TypeError(f"takes {len(wanted)} positional inputs; got keyword {', '.join(kwargs)}")
        return args


def GroupAverage(net: Callable[..., Tree], symmetry: Symmetry, **options: Any) -> FrameAveraging:
    """A network averaged over all elements of a finite group (the Reynolds operator); options of `FrameAveraging`.

    >>> import torch
    >>> from torsor import Cyclic, Image, Scalar, Symmetry
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> invariant = GroupAverage(net, Symmetry(Cyclic(4), Image(), Scalar()))
    >>> x = torch.randn(2, 1, 8, 8)
    >>> torch.allclose(invariant(x), invariant(x.rot90(1, (-2, -1))), atol=1e-5)
    True
    """
    return FrameAveraging(net, symmetry, AllElements(), **options)


def default_frame(group: Group) -> Frame:
    """The frame that `FrameAveraging` takes where none is named.

    Principal axes with all signs for O, SO, E, SE and Sim, whitened ones for GL, GLPlus, SL and affine groups, with the
    axes of `RobustFrame` for ambiguous samples in 2 and 3 dimensions; tetrads for Lorentz groups, phased eigenvectors
    for U and SU; centroids for translations, RMS lengths for scalings, sorting for permutations, all elements of finite
    groups; one after another for products.

    Raises:
        TypeError: the group has no frame; names the groups that have one.
    """
    if isinstance(group, DirectProduct):
        return ProductFrame(*(default_frame(factor) for factor in group.factors))
    if isinstance(group, O | SO | E | SE | Sim):
        return PCAFrame(on_degenerate="robust" if group.n in (2, 3) else "warn")
    if isinstance(group, GL | Affine | SAffine):
        linear_part(group)
        return AffineFrame(on_degenerate="robust" if group.n in (2, 3) else "warn")
    if isinstance(group, Lorentz):
        return LorentzFrame()
    if isinstance(group, U | SU):
        return UnitaryFrame()
    if isinstance(group, Translation):
        return TranslationFrame()
    if isinstance(group, Scaling):
        return ScaleFrame()
    if isinstance(group, Symmetric):
        return SortFrame()
    if group.is_finite:
        return AllElements()
    raise TypeError(
        f"no frame is known for {group}; O, SO, E, SE, Sim, GL, GLPlus, SL, Affine, SAffine, Lorentz, U, SU,"
        " Translation, Scaling, Symmetric, finite groups and products of these have one"
    )


def _require_scalars(symmetry: Symmetry, reduce: str) -> None:
    for name, action in zip(symmetry.output_names, symmetry.output_actions, strict=True):
        if action.degree or action.feels_translation or not action.is_discrete:
            raise ValueError(f'reduce="{reduce}" is for outputs that do not move; {name} is {action}')

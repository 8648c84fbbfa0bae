"""Messages along edges: `z_dst += w (x_src (x) Y)`, without ever storing a message; derivatives of any order.

Features are stored components first here, (components, channels) for each entry, so that channels are vectors.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torsor.actions import Irreps
from torsor.build.so3._compiler import library
from torsor.build.so3._forms import is_batch
from torsor.build.so3._tables import constants

HIGHEST = 6
"""Degree of x up to which the kernel is unrolled."""
HIGHEST_OUT = 31
"""Degree of z up to which the kernel has room for a row of sums."""


class _CMessages(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("paths", "matrix", "entries", "dim_x", "dim_y", "dim_w", "dim_z")],
        *[(name, ctypes.c_void_p) for name in ("path", "entry_m", "entry_y", "coefficient")],
    ]


class Link(NamedTuple):
    """One path: channels, where x, Y, z and the weights start, and its coefficients (m1, m2, m3)."""

    channels: int
    x: int
    y: int
    z: int
    w: int
    block: np.ndarray


@dataclass(eq=False)
class Messages:
    """All paths of a product with one matrix per edge that is shared by the channels."""

    links: list[Link]
    dims: tuple[int, int, int, int]
    """Lengths of x, Y, w and z."""
    _c: dict = field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """The digest of what it holds."""
        digest = sha256(str((self.dims, [link[:5] + link.block.shape for link in self.links])).encode())
        for link in self.links:
            digest.update(link.block.tobytes())
        return digest.hexdigest()

    def c(self, dtype: torch.dtype) -> int:
        """The address of the C structure for this dtype."""
        if dtype not in self._c:
            paths, places, sources, values, size = [], [], [], [], 0
            for link in self.links:
                d1, _, d3 = link.block.shape
                m1, m2, m3 = np.nonzero(link.block)
                paths.append((link.channels, d1, d3, link.x, link.z, link.w, size))
                places.append(size + m1 * d3 + m3)
                sources.append(link.y + m2)
                values.append(link.block[m1, m2, m3])
                size += d1 * d3
            real = np.float32 if dtype == torch.float32 else np.float64
            keep = (
                np.array(paths, np.int64).reshape(-1, 7),
                np.concatenate([*places, []]).astype(np.int32),
                np.concatenate([*sources, []]).astype(np.int32),
                np.concatenate([*values, []]).astype(real),
            )
            dim_x, dim_y, dim_w, dim_z = self.dims
            entries = len(keep[1])
            struct = _CMessages(
                len(paths), size, entries, dim_x, dim_y, dim_w, dim_z, *[array.ctypes.data for array in keep]
            )
            self._c[dtype] = struct, keep
        return ctypes.addressof(self._c[dtype][0])


@dataclass(eq=False)
class Graph:
    """Edges with their ends: those of one receiver together, in `order`, from `start[n]` to `start[n + 1]`."""

    source: Tensor
    start: Tensor
    order: Tensor | None
    senders: int
    receivers: int

    @classmethod
    def of(cls, source: Tensor, target: Tensor, senders: int, receivers: int) -> Graph:
        source, target = source.long().contiguous(), target.long()
        for name, end, count in (("source", source, senders), ("target", target, receivers)):
            if len(end) and (int(end.min()) < 0 or int(end.max()) >= count):
                raise IndexError(f"{name} must be in 0..{count - 1}; got {int(end.min())}..{int(end.max())}")
        order = None if bool((target[1:] >= target[:-1]).all()) else target.argsort(stable=True)
        count = torch.bincount(target, minlength=receivers)
        return cls(source, torch.nn.functional.pad(count.cumsum(0), (1, 0)), order, senders, receivers)


def convolved(messages: Messages, graph: Graph | None, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The value of `Convolution`."""
    if x.is_cuda:
        from torsor.build.so3 import _triton

        return _triton.convolved(messages, graph, x, y, w)
    x, y, w = x.contiguous(), y.contiguous(), rows_of(w)
    z = x.new_zeros(len(y) if graph is None else graph.receivers, messages.dims[3])
    _library(x).convolve_real(
        messages.c(x.dtype), *_pointers(x, y, w), *_edges(graph), len(z), z.data_ptr(), torch.get_num_threads()
    )
    return z


def convolved_back(
    messages: Messages,
    graph: Graph | None,
    needs: tuple[bool, ...],
    x: Tensor,
    y: Tensor,
    w: Tensor,
    g: Tensor,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The derivatives of `<g, z>` with respect to x, Y and w, those that are needed."""
    if x.is_cuda:
        from torsor.build.so3 import _triton

        return _triton.convolved_back(messages, graph, needs, x, y, w, g)
    x, y, w, g = x.contiguous(), y.contiguous(), rows_of(w), g.contiguous()
    gx = torch.zeros_like(x) if needs[0] else None
    gy = torch.zeros_like(y) if needs[1] else None
    gw = w.new_empty(w.shape) if needs[2] else None
    _library(x).convolve_back_real(
        messages.c(x.dtype), *_pointers(x, y, w), g.data_ptr(), *_edges(graph), len(g), len(x),
        *[0 if t is None else t.data_ptr() for t in (gx, gy, gw)], torch.get_num_threads(),
    )  # fmt: skip
    return gx, gy, gw


def relaid(irreps: Irreps, back: bool, x: Tensor) -> Tensor:
    """The value of `Relayout`."""
    if x.is_cuda:
        (order,) = constants(_order, irreps, back, dtype=x.dtype, device=x.device)
        return x[:, order]
    blocks = relayout_blocks(irreps)
    x = x.contiguous()
    out = torch.empty_like(x)
    _library(x).relayout_real(
        x.data_ptr(), out.data_ptr(), len(x), x.shape[1], len(blocks), blocks.ctypes.data, int(back),
        torch.get_num_threads(),
    )  # fmt: skip
    return out


class Convolution(torch.autograd.Function):
    """`z[n] = sum over edges e into n of w_e (x_src(e) (x) Y_e)`; without a graph one message per row."""

    @staticmethod
    def forward(ctx: Any, messages: Messages, graph: Graph | None, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        ctx.messages, ctx.graph = messages, graph
        ctx.save_for_backward(x, y, w)
        return convolved(messages, graph, x, y, w)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, y, w = ctx.saved_tensors
        needs = tuple(ctx.needs_input_grad[2:])
        if is_batch(gradient):
            from torsor.build.so3._operators import convolve_back_op, ends, known

            found = convolve_back_op(known(ctx.messages), needs, x, y, w, gradient, *ends(ctx.graph))
            return None, None, *[grad if needed else None for grad, needed in zip(found, needs)]
        return None, None, *ConvolutionBack.apply(ctx.messages, ctx.graph, needs, x, y, w, gradient)


class ConvolutionBack(torch.autograd.Function):
    """The derivatives of `<gradient, z>` with respect to x, Y and w."""

    @staticmethod
    def forward(
        ctx: Any,
        messages: Messages,
        graph: Graph | None,
        needs: tuple[bool, ...],
        x: Tensor,
        y: Tensor,
        w: Tensor,
        g: Tensor,
    ) -> Any:
        ctx.messages, ctx.graph = messages, graph
        ctx.save_for_backward(x, y, w, g)
        return convolved_back(messages, graph, needs, x, y, w, g)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        # s = z(a, Y, w) g + z(x, b, w) g + z(x, Y, c) g with a, b, c the cotangents: derivatives of the same form
        *given, g = ctx.saved_tensors
        grads: list[Tensor | None] = [None] * 4
        for n, cotangent in enumerate(cotangents):
            if cotangent is None:
                continue
            factors = [cotangent if m == n else t for m, t in enumerate(given)]
            needs = tuple(m != n and ctx.needs_input_grad[3 + m] for m in range(3))
            parts: list[Tensor | None] = [None] * 3
            if any(needs):
                parts = list(ConvolutionBack.apply(ctx.messages, ctx.graph, needs, *factors, g))
            parts.append(Convolution.apply(ctx.messages, ctx.graph, *factors) if ctx.needs_input_grad[6] else None)
            grads = [new if old is None else old if new is None else old + new for old, new in zip(grads, parts)]
        return None, None, None, *grads


class Relayout(torch.autograd.Function):
    """e3nn's order, channels before components, to components before channels, or `back`."""

    @staticmethod
    def forward(ctx: Any, irreps: Irreps, back: bool, x: Tensor) -> Tensor:
        ctx.irreps, ctx.back = irreps, back
        return relaid(irreps, back, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if is_batch(gradient):
            from torsor.build.so3._operators import relayout_op

            return None, None, relayout_op(str(ctx.irreps), not ctx.back, gradient)
        return None, None, Relayout.apply(ctx.irreps, not ctx.back, gradient)


def _order(irreps: Irreps, back: bool) -> tuple[np.ndarray, ...]:
    """Where each entry of the new layout stands in the old one."""
    blocks = [(at, (d, n) if back else (n, d)) for at, n, d in relayout_blocks(irreps)]
    parts = [at + np.arange(a * b).reshape(a, b).T.ravel() for at, (a, b) in blocks]
    return (np.concatenate([np.empty(0, np.int64), *parts]),)


def relayout_blocks(irreps: Irreps) -> np.ndarray:
    """(offset, channels, components) of each entry."""
    blocks = [(where.start, count, ir.dim) for (count, ir), where in zip(irreps, irreps.slices())]
    return np.array(blocks, np.int64).reshape(-1, 3)


def _library(x: Tensor) -> Any:
    lib: Any = library(x.dtype)
    if not hasattr(lib, "typed"):
        p, n = ctypes.c_void_p, ctypes.c_int64
        lib.convolve_real.argtypes = [p, p, p, p, n, p, p, p, n, p, n]
        lib.convolve_back_real.argtypes = [p, p, p, p, n, p, p, p, p, n, n, p, p, p, n]
        lib.relayout_real.argtypes = [p, p, n, n, n, p, n, n]
        for call in (lib.convolve_real, lib.convolve_back_real, lib.relayout_real):
            call.restype = None
        lib.typed = True
    return lib


def rows_of(w: Tensor) -> Tensor:
    """Weights whose rows are contiguous; a row that serves all rows stays one."""
    return w if w.stride(-1) == 1 or w.shape[-1] == 1 else w.contiguous()


def _pointers(x: Tensor, y: Tensor, w: Tensor) -> tuple[int, ...]:
    return x.data_ptr(), y.data_ptr(), w.data_ptr(), w.stride(0)


def _edges(graph: Graph | None) -> tuple[int, int, int]:
    if graph is None:
        return 0, 0, 0
    return 0 if graph.order is None else graph.order.data_ptr(), graph.source.data_ptr(), graph.start.data_ptr()

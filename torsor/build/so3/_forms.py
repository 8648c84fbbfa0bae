"""Multilinear forms by channel, from tables of coefficients: values and derivatives of any order by one kernel.

A form is `sum c x_a y_b w_p z_k`, channel by channel, over entries (a, b, p, k, c); p is left out of a trilinear one.
Its derivative with respect to any of the tensors is a product of the others, and the derivative of that is one again.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor, is_legacy_batchedtensor  # pyright: ignore[reportMissingModuleSource]

from torsor.build.so3._compiler import library


@dataclass(frozen=True)
class Blocks:
    """How one tensor of a form is stored: blocks (offset, components, channel stride, component stride)."""

    blocks: tuple[tuple[int, int, int, int], ...]

    @property
    def components(self) -> int:
        return sum(n for _, n, _, _ in self.blocks)


@dataclass(eq=False)
class Form:
    """The entries of a form, sorted for each output when it is first computed.

    Tensors are numbered in the order of the columns of `places`: x, y, (w,) z.
    """

    places: np.ndarray
    """(entries, 3 or 4), integers."""
    values: np.ndarray
    sizes: tuple[int, ...]
    _programs: dict = field(default_factory=dict)

    def program(self, output: int, dtype: torch.dtype) -> _Program:
        key = output, dtype
        if key not in self._programs:
            self._programs[key] = _Program(self, output, dtype)
        return self._programs[key]


class _CForm(ctypes.Structure):
    _fields_ = [
        ("outputs", ctypes.c_int64),
        *[(name, ctypes.c_void_p) for name in ("run_start", "run_f", "run_g", "entry_start", "entry_s", "coefficient")],
    ]


class _CLeg(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("row_stride", "numel", "blocks", "components")],
        ("block", ctypes.c_void_p),
    ]


class _Program:
    """Runs of entries that share their output and all factors but one: z_o = sum_r F_f G_g (sum_e c S_s)."""

    def __init__(self, form: Form, output: int, dtype: torch.dtype) -> None:
        others = [n for n in range(form.places.shape[1]) if n != output]
        # the factor inside is the one that leaves the fewest runs
        inner = min(others, key=lambda s: len(np.unique(np.delete(form.places, s, axis=1), axis=0)))
        outer = [n for n in others if n != inner]
        self.roles = (outer[0], inner, outer[1] if len(outer) > 1 else None)
        keys = form.places[:, [output, *outer]]
        runs, of, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        # runs of one length together: the loops over them are predictable
        order = np.lexsort((runs[:, -1], counts, runs[:, 0]))
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order))
        runs, counts = runs[order], counts[order]
        entries = np.argsort(rank[of.reshape(-1)], kind="stable")
        starts = np.searchsorted(runs[:, 0], np.arange(form.sizes[output] + 1))
        self.outputs = form.sizes[output]
        self.run_start = starts.astype(np.int32)
        self.run_f = runs[:, 1].astype(np.int32)
        self.run_g = (runs[:, 2] if len(outer) > 1 else np.zeros(len(runs))).astype(np.int32)
        self.entry_start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self.entry_s = form.places[entries, inner].astype(np.int32)
        self.coefficient = form.values[entries].astype(np.float32 if dtype == torch.float32 else np.float64)
        arrays = (self.run_start, self.run_f, self.run_g, self.entry_start, self.entry_s, self.coefficient)
        self.c = _CForm(self.outputs, *[array.ctypes.data for array in arrays])
        self.address = ctypes.addressof(self.c)


@dataclass(eq=False)
class Layout:
    """A form together with how its tensors are stored: rows x channels x components."""

    form: Form
    legs: tuple[Blocks, ...]
    _plans: dict = field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """The digest of what it holds."""
        digest = sha256(str((self.form.sizes, self.legs, self.form.places.shape)).encode())
        digest.update(self.form.places.astype(np.int64).tobytes() + self.form.values.tobytes())
        return digest.hexdigest()

    def plan(self, output: int, dtype: torch.dtype) -> _Plan:
        key = output, dtype
        if key not in self._plans:
            self._plans[key] = _plan(self, output, dtype)
        return self._plans[key]


class _Plan(NamedTuple):
    """All that does not change from call to call."""

    call: Any
    program: _Program
    legs: tuple[tuple[int, int, int, int], ...]
    """For each role its tensor, number of blocks, components, and where the blocks are."""
    keep: Any


def _plan(layout: Layout, output: int, dtype: torch.dtype) -> _Plan:
    program = layout.form.program(output, dtype)
    lib = library(dtype)
    assert lib is not None
    call = lib.products_real
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 4]
    call.restype = None
    legs, keep = [], []
    for leg in (*program.roles, output):
        blocks = np.array(layout.legs[leg].blocks if leg is not None else (), np.int64).reshape(-1, 4)
        keep.append(blocks)
        legs.append((-1 if leg is None else leg, len(blocks), int(blocks[:, 1].sum()), blocks.ctypes.data))
    return _Plan(call, program, tuple(legs), keep)


def contract(layout: Layout, output: int, tensors: tuple[Tensor | None, ...], channels: int, length: int) -> Tensor:
    """One of the tensors of a form, (rows, length), from the others; `tensors[output]` is not looked at.

    A tensor with one row serves all rows.
    """
    if any(t is not None and t.is_cuda for t in tensors):
        from torsor.build.so3 import _triton

        return _triton.contract(layout, output, tensors, channels, length)
    given = [t for n, t in enumerate(tensors) if n != output and t is not None]
    dtype, rows = given[0].dtype, common_rows(given)
    plan = layout.plan(output, dtype)
    out = given[0].new_empty(rows, length)
    legs = (_CLeg * 4)()
    for place, (leg, blocks, components, address) in enumerate(plan.legs):
        tensor = out if leg == output else tensors[leg] if leg >= 0 else None
        if tensor is not None:
            stride = 0 if tensor.shape[0] == 1 else tensor.stride(0)
            numel = (tensor.shape[0] - 1) * stride + tensor.shape[1]
            legs[place] = (tensor.data_ptr(), stride, numel, blocks, components, address)
    plan.call(
        plan.program.address, ctypes.addressof(legs), plan.legs[2][0] >= 0, rows, channels, torch.get_num_threads()
    )
    return out


def is_batch(gradient: Tensor) -> bool:
    """Whether this stands for many gradients at once, which the kernels cannot read and the operators can."""
    return is_batchedtensor(gradient) or is_legacy_batchedtensor(gradient)


def common_rows(tensors: list[Tensor]) -> int:
    """The rows of a contraction: one serves any number, none included."""
    return next((t.shape[0] for t in tensors if t.shape[0] != 1), 1)


class Contraction(torch.autograd.Function):
    """`contract` with derivatives of any order."""

    @staticmethod
    def forward(
        ctx: Any, layout: Layout, output: int, channels: int, lengths: tuple[int, ...], *tensors: Tensor | None
    ) -> Tensor:
        ctx.layout, ctx.output, ctx.channels, ctx.lengths = layout, output, channels, lengths
        ctx.save_for_backward(*tensors)
        return contract(layout, output, tensors, channels, lengths[output])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        def contracted(n: int, others: list[Tensor | None]) -> Tensor:
            if is_batch(gradient):
                from torsor.build.so3._operators import contract_op, known

                tensors = [*others, None][:4]
                return contract_op(known(ctx.layout), n, ctx.channels, ctx.lengths, *tensors)
            return Contraction.apply(ctx.layout, n, ctx.channels, ctx.lengths, *others)

        return None, None, None, None, *derivatives(ctx, gradient.contiguous(), contracted)


def derivatives(
    ctx: Any, gradient: Tensor, contracted: Callable[[int, list[Tensor | None]], Tensor]
) -> list[Tensor | None]:
    """The gradients of the factors of a form: the form itself, contracted towards each of them in turn."""
    saved = ctx.saved_tensors  # once: a checkpoint unpacks them a single time
    tensors = list(saved)
    tensors[ctx.output] = gradient
    grads: list[Tensor | None] = []
    for n, tensor in enumerate(saved):
        if n == ctx.output or tensor is None or not ctx.needs_input_grad[4 + n]:
            grads.append(None)
            continue
        grad = contracted(n, [None if m == n else t for m, t in enumerate(tensors)])
        grads.append(grad.sum(0, keepdim=True) if tensor.shape[0] == 1 and grad.shape[0] != 1 else grad)
    return grads

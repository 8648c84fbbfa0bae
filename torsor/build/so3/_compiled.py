"""The product of signals by the compiled kernels."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack  # pyright: ignore[reportMissingModuleSource]

from torsor.build.so3._blocks import coupling_table
from torsor.build.so3._compiler import has_kernels
from torsor.build.so3._forms import Blocks, Contraction, Form, Layout, contract
from torsor.build.so3._operators import contract_op, known


def can_compile(x: Tensor) -> bool:
    """Whether the kernels take this tensor directly: on a CPU or CUDA, float32 or float64, no transform or graph."""
    if torch.compiler.is_compiling() or peek_interpreter_stack():
        return False
    return type(x) in (Tensor, torch.nn.Parameter) and has_kernels(x.device, x.dtype)


def compiled(
    x: Tensor, y: Tensor, degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool, _grid
) -> Tensor:
    """Sums over the coefficients that are not zero, in C++ or Triton, vectorised over rows and channels."""
    if x.shape[:-1] != y.shape[:-1]:
        shape = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        x, y = x.expand(*shape, -1), y.expand(*shape, -1)
    rows = x.shape[:-1].numel()
    sizes = [(L + 1) ** 2 for L in degrees]
    flat = x.contiguous().view(1, -1), y.contiguous().view(1, -1), None
    lengths = tuple(rows * size for size in sizes)
    if not can_compile(x):
        key = _key(degrees, antisymmetric, normalized)
        return contract_op(key, 2, rows, lengths, *flat, None).view(*x.shape[:-1], sizes[2])
    layout = _layout(degrees, antisymmetric, normalized)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        out = Contraction.apply(layout, 2, rows, lengths, *flat)
    else:
        out = contract(layout, 2, flat, rows, lengths[2])
    return out.view(*x.shape[:-1], sizes[2])


@functools.cache
def _layout(degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool) -> Layout:
    table = coupling_table(*degrees, antisymmetric, normalized)
    places = np.nonzero(table)
    form = Form(np.stack(places, -1), table[places], table.shape)
    return Layout(form, tuple(Blocks(((0, size, size, 1),)) for size in table.shape))


@torch.compiler.assume_constant_result
def _key(degrees: tuple[int, int, int], antisymmetric: bool, normalized: bool) -> str:
    return known(_layout(degrees, antisymmetric, normalized))

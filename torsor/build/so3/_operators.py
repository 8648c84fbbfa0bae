"""The kernels as operators of torch: a graph that is traced holds a call of them, with its derivatives of any order.

Outside of graphs they are called directly: what torch adds to an operator of Python takes longer than small products.
An operator finds its tables by a key, the digest of what they hold.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType  # pyright: ignore[reportMissingModuleSource]
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters

from torsor.actions import Irreps
from torsor.build.so3._compiler import has_kernels
from torsor.build.so3._forms import Layout, common_rows, contract, derivatives
from torsor.build.so3._messages import Graph, Messages, convolved, convolved_back, relaid

_TABLES: dict[str, Any] = {}


def known(tables: Layout | Messages) -> str:
    """The key of these tables, which are kept from now on."""
    return _TABLES.setdefault(tables.key, tables).key


def traceable(x: Tensor) -> bool:
    """Whether the operators take this tensor: on a CPU or CUDA, in a graph that is traced or under `torch.func.vmap`.

    They have no derivatives inside `torch.func`: an operator of Python cannot have them.
    """
    return (torch.compiler.is_compiling() or _transforms() > 0) and _serve(x.device, x.dtype)


@torch.compiler.assume_constant_result
def _transforms() -> int:
    return len(retrieve_all_functorch_interpreters())


@torch.compiler.assume_constant_result
def _serve(device: torch.device, dtype: torch.dtype) -> bool:
    only_vmap = all(level.key() == TransformType.Vmap for level in retrieve_all_functorch_interpreters())
    return only_vmap and has_kernels(device, dtype)


# ---- multilinear forms ----


@torch.library.custom_op(
    "torsor::contract",
    mutates_args=(),
    schema="(str form, int output, SymInt channels, SymInt[] lengths, Tensor? a, Tensor? b, Tensor? c, Tensor? d)"
    " -> Tensor",
)
def contract_op(
    form: str, output: int, channels: int, lengths: Sequence[int], *tensors: Tensor | None
) -> Tensor:  # see `contract`
    rows = [None if t is None else t.contiguous() for t in tensors]
    layout = _TABLES[form]
    return contract(layout, output, tuple(rows[: len(layout.legs)]), channels, lengths[output])


@contract_op.register_fake
def _(form: str, output: int, channels: int, lengths: Sequence[int], *tensors: Tensor | None) -> Tensor:
    given = [t for t in tensors if t is not None]
    return given[0].new_empty(common_rows(given), lengths[output])


def _contract_back(ctx: Any, gradient: Tensor) -> Any:
    return (
        None,
        None,
        None,
        None,
        *derivatives(ctx, gradient, lambda n, others: contract_op(ctx.form, n, ctx.channels, ctx.lengths, *others)),
    )


def _contract_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.form, ctx.output, ctx.channels, ctx.lengths, *tensors = inputs
    ctx.save_for_backward(*tensors)


contract_op.register_autograd(_contract_back, setup_context=_contract_setup)


@contract_op.register_vmap
def _(info: Any, in_dims: tuple, form: str, output: int, channels: int, lengths: Sequence[int], *tensors) -> Any:
    moved = [t if t is None or d is None else t.movedim(d, 0) for t, d in zip(tensors, in_dims[4:])]
    rows = max(t.shape[-2] for t in moved if t is not None)
    folded = [
        t if t is None or tuple(t.shape[:-1]) == (1,) else t.expand(info.batch_size, rows, -1).flatten(0, 1)
        for t in moved
    ]
    return contract_op(form, output, channels, lengths, *folded).unflatten(0, (info.batch_size, rows)), 0


# ---- messages along edges ----

ENDS = "Tensor? source, Tensor? start, Tensor? order"


def ends(graph: Graph | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """A graph as the operators take it."""
    return (None, None, None) if graph is None else (graph.source, graph.start, graph.order)


def _graph(x: Tensor, source: Tensor | None, start: Tensor | None, order: Tensor | None) -> Graph | None:
    if source is None or start is None:
        return None
    return Graph(source, start, order, len(x), len(start) - 1)


@torch.library.custom_op(
    "torsor::convolve", mutates_args=(), schema=f"(str paths, Tensor x, Tensor y, Tensor w, {ENDS}) -> Tensor"
)
def convolve_op(paths: str, x: Tensor, y: Tensor, w: Tensor, *edges: Tensor | None) -> Tensor:  # see `Convolution`
    return convolved(_TABLES[paths], _graph(x, *edges), x, y, w)


@convolve_op.register_fake
def _(paths: str, x: Tensor, y: Tensor, w: Tensor, *edges: Tensor | None) -> Tensor:
    start = edges[1]
    return x.new_empty(y.shape[0] if start is None else start.shape[0] - 1, _TABLES[paths].dims[3])


def _convolve_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.paths = inputs[0]
    ctx.save_for_backward(*inputs[1:])


def _convolve_back(ctx: Any, gradient: Tensor) -> Any:
    x, y, w, *edges = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[1:4])
    grads = convolve_back_op(ctx.paths, needs, x, y, w, gradient, *edges)
    return None, *[grad if needed else None for grad, needed in zip(grads, needs)], None, None, None


convolve_op.register_autograd(_convolve_back, setup_context=_convolve_setup)


@torch.library.custom_op(
    "torsor::convolve_back",
    mutates_args=(),
    schema=f"(str paths, bool[] needs, Tensor x, Tensor y, Tensor w, Tensor g, {ENDS}) -> (Tensor, Tensor, Tensor)",
)
def convolve_back_op(
    paths: str, needs: Sequence[bool], x: Tensor, y: Tensor, w: Tensor, g: Tensor, *edges: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:  # see `ConvolutionBack`; what is not needed is empty
    a, b, c = convolved_back(_TABLES[paths], _graph(x, *edges), tuple(needs), x, y, w, g)
    return tuple(x.new_empty(0) if t is None else t for t in (a, b, c))  # pyright: ignore[reportReturnType]


@convolve_back_op.register_fake
def _(
    paths: str, needs: Sequence[bool], x: Tensor, y: Tensor, w: Tensor, g: Tensor, *edges: Tensor | None
) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape if needed else 0) for t, needed in zip((x, y, w), needs))


def _convolve_back_setup(ctx: Any, inputs: tuple, output: Any) -> None:
    ctx.paths, ctx.needs = inputs[:2]
    ctx.save_for_backward(*inputs[2:])


def _convolve_back_back(ctx: Any, *cotangents: Tensor) -> Any:
    *given, g, source, start, order = ctx.saved_tensors
    edges = source, start, order
    grads: list[Tensor | None] = [None] * 4
    for n, cotangent in enumerate(cotangents):
        if not ctx.needs[n] or cotangent is None:
            continue
        factors = [cotangent if m == n else t for m, t in enumerate(given)]
        needs = [m != n and bool(ctx.needs_input_grad[2 + m]) for m in range(3)]
        parts: list[Tensor | None] = [None] * 4
        if any(needs):
            found = convolve_back_op(ctx.paths, needs, *factors, g, *edges)
            parts[:3] = [part if needed else None for part, needed in zip(found, needs)]
        if ctx.needs_input_grad[5]:
            parts[3] = convolve_op(ctx.paths, *factors, *edges)
        grads = [new if old is None else old if new is None else old + new for old, new in zip(grads, parts)]
    return None, None, *grads, None, None, None


convolve_back_op.register_autograd(_convolve_back_back, setup_context=_convolve_back_setup)


# ---- layouts ----


@torch.library.custom_op("torsor::relayout", mutates_args=(), schema="(str irreps, bool back, Tensor x) -> Tensor")
def relayout_op(irreps: str, back: bool, x: Tensor) -> Tensor:  # see `Relayout`
    return relaid(_irreps(irreps), back, x)


@relayout_op.register_fake
def _(irreps: str, back: bool, x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _relayout_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.irreps, ctx.back, _ = inputs


def _relayout_back(ctx: Any, gradient: Tensor) -> Any:
    return None, None, relayout_op(ctx.irreps, not ctx.back, gradient)


relayout_op.register_autograd(_relayout_back, setup_context=_relayout_setup)


@functools.cache
def _irreps(text: str) -> Irreps:
    return Irreps(text)

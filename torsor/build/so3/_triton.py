"""The kernels on CUDA, in Triton: the forms of `_forms` and the messages of `_messages`, from the same tables.

Neighbouring lanes are neighbouring channels. A program computes one component of the output for a block of lanes and
sums in one fixed order, without atomic additions: results are the same from run to run.

Imported only where a CUDA tensor arrives and Triton is installed.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from torsor.build.so3._forms import Blocks, Form, Layout, common_rows
from torsor.build.so3._messages import Graph, Link, Messages, rows_of

LANES = 256
"""Lanes of a program of forms at most: two for each thread."""
CHANNELS = 128
"""Lanes of a program of messages at most."""


# ---- products by channel ----


@triton.jit
def pack_kernel(out, data, offsets, strides, row_stride, channels, lanes, components, BLOCK: tl.constexpr):
    """Components of all lanes, however they are stored, to (components, lanes)."""
    program = tl.program_id(0)
    component = program % components
    lane = (program // components).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    at = lane // channels * row_stride + tl.load(offsets + component) + lane % channels * tl.load(strides + component)
    tl.store(out + component.to(tl.int64) * lanes + lane, tl.load(data + at, mask=inside), mask=inside)


@triton.jit
def products_kernel(
    out,
    f,
    s,
    g,
    run_start,
    run_f,
    run_g,
    entry_start,
    entry_s,
    coefficient,
    offsets,
    strides,
    row_stride,
    channels,
    lanes,
    outputs,
    ONE_F: tl.constexpr,
    ONE_S: tl.constexpr,
    ONE_G: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """z_o = sum over runs of F_f G_g (sum over entries of c S_s) for packed factors; ONE: one row serves all."""
    program = tl.program_id(0)
    o = program % outputs
    lane = (program // outputs).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    row, u = lane // channels, lane % channels
    f += u if ONE_F else lane
    s += u if ONE_S else lane
    pitch_f, pitch_s = channels if ONE_F else lanes, channels if ONE_S else lanes
    if g is not None:
        g += u if ONE_G else lane
    pitch_g = channels if ONE_G else lanes
    total = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for r in range(tl.load(run_start + o), tl.load(run_start + o + 1)):
        inner = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
        for e in range(tl.load(entry_start + r), tl.load(entry_start + r + 1)):
            value = tl.load(s + tl.load(entry_s + e).to(tl.int64) * pitch_s, mask=inside, other=0)
            inner += tl.load(coefficient + e) * value
        if g is not None:
            inner *= tl.load(g + tl.load(run_g + r).to(tl.int64) * pitch_g, mask=inside, other=0)
        total += inner * tl.load(f + tl.load(run_f + r).to(tl.int64) * pitch_f, mask=inside, other=0)
    at = row * row_stride + tl.load(offsets + o) + u * tl.load(strides + o)
    tl.store(out + at, total, mask=inside)


def contract(layout: Layout, output: int, tensors: tuple[Tensor | None, ...], channels: int, length: int) -> Tensor:
    """As `_forms.contract`."""
    given = [t for n, t in enumerate(tensors) if n != output and t is not None]
    out = given[0].new_empty(common_rows(given), length)
    lanes = len(out) * channels
    if lanes == 0 or length == 0:
        return out
    block = _block(lanes, LANES)
    kinds = _FORMS.setdefault(layout, {})
    key = output, out.dtype, out.device
    if key not in kinds:
        kinds[key] = _product_tables(layout, output, out.dtype, out.device)
    tables: _ProductTables = kinds[key]
    factors, one = [], []
    for leg, stored in zip(tables.roles, tables.stored):
        tensor = None if leg is None else tensors[leg]
        factors.append(None if tensor is None else _packed(tensor, *stored, channels))
        one.append(tensor is not None and len(tensor) == 1)
    components = len(tables.offsets)
    sizes = length, channels, lanes, components
    _launch(
        products_kernel, components * triton.cdiv(lanes, block), block,
        out, *factors, *tables.runs, tables.offsets, tables.strides, *sizes, *one,
    )  # fmt: skip
    return out


class _ProductTables(NamedTuple):
    roles: tuple[int, int, int | None]
    stored: list[tuple[Tensor, Tensor]]
    """Offset and channel stride of each component, for each of the factors."""
    runs: list[Tensor]
    offsets: Tensor
    strides: Tensor


_FORMS: WeakKeyDictionary[Layout, dict] = WeakKeyDictionary()


def _product_tables(layout: Layout, output: int, dtype: torch.dtype, device: torch.device) -> _ProductTables:
    program = layout.form.program(output, dtype)
    arrays = program.run_start, program.run_f, program.run_g, program.entry_start, program.entry_s, program.coefficient
    stored = [_places(Blocks(()) if leg is None else layout.legs[leg], device) for leg in program.roles]
    return _ProductTables(program.roles, stored, _on(device, *arrays), *_places(layout.legs[output], device))


def _places(leg: Blocks, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each component of a row starts, and how far its channels are apart."""
    places = [(start + k * by_component, by) for start, n, by, by_component in leg.blocks for k in range(n)]
    offsets, strides = np.array(places, np.int64).reshape(-1, 2).T
    first, second = _on(device, offsets, strides)
    return first, second


def _packed(tensor: Tensor, offsets: Tensor, strides: Tensor, channels: int) -> Tensor:
    """(components, rows x channels)."""
    lanes, components = len(tensor) * channels, len(offsets)
    block = _block(lanes, LANES)
    out = tensor.new_empty(components, lanes)
    _launch(
        pack_kernel, components * triton.cdiv(lanes, block), block,
        out, tensor, offsets, strides, tensor.stride(0), channels, lanes, components,
    )  # fmt: skip
    return out


def _block(lanes: int, most: int) -> int:
    return min(most, max(32, triton.next_power_of_2(lanes)))


def _launch(kernel: Any, programs: int, block: int, out: Tensor, *arguments: Any) -> None:
    with torch.cuda.device_of(out):
        kernel[(programs,)](out, *arguments, BLOCK=block, num_warps=min(4, block // 32), enable_fp_fusion=True)


def _on(device: torch.device, *arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]


# ---- messages along edges ----


@triton.jit
def messages_kernel(
    out,
    f,
    s,
    g,
    rows_f,
    rows_s,
    rows_g,
    stride_f,
    stride_s,
    stride_g,
    start,
    order,
    run_start,
    run_f,
    run_g,
    run_channels,
    entry_start,
    entry_s,
    coefficient,
    offsets,
    widths,
    row_stride,
    outputs,
    pieces,
    span,
    UNIT_F: tl.constexpr,
    UNIT_S: tl.constexpr,
    UNIT_G: tl.constexpr,
    TOTAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One component of a row of the output, summed over the row's edges; UNIT: the factor has channels side by side.

    An output without channels is a TOTAL over them: its one piece spans them all.
    """
    program = tl.program_id(0)
    o, piece = program % outputs, program // outputs % pieces
    row = (program // outputs // pieces).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    first, last = row, row + 1
    if start is not None:
        first, last = tl.load(start + row), tl.load(start + row + 1)
    total = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for i in range(first, last):
        e = i
        if order is not None:
            e = tl.load(order + i)
        at_f, at_s, at_g = e, e, e
        if rows_f is not None:
            at_f = tl.load(rows_f + e)
        if rows_s is not None:
            at_s = tl.load(rows_s + e)
        if rows_g is not None:
            at_g = tl.load(rows_g + e)
        for r in range(tl.load(run_start + o), tl.load(run_start + o + 1)):
            width = tl.load(run_channels + r)
            for begin in range(piece * BLOCK, tl.minimum(width, piece * BLOCK + span), BLOCK):
                u = begin + lane
                inside = u < width
                inner = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
                for k in range(tl.load(entry_start + r), tl.load(entry_start + r + 1)):
                    from_s = s + at_s * stride_s + tl.load(entry_s + k) + u * UNIT_S
                    inner += tl.load(coefficient + k) * tl.load(from_s, mask=inside, other=0)
                from_f = f + at_f * stride_f + tl.load(run_f + r) + u * UNIT_F
                from_g = g + at_g * stride_g + tl.load(run_g + r) + u * UNIT_G
                total += inner * tl.load(from_f, mask=inside, other=0) * tl.load(from_g, mask=inside, other=0)
    to = out + row * row_stride + tl.load(offsets + o)
    if TOTAL:
        tl.store(to, tl.sum(total, 0))
    else:
        u = piece * BLOCK + lane
        tl.store(to + u, total, mask=u < tl.load(widths + o))


X, Y, W, Z = range(4)


def convolved(messages: Messages, graph: Graph | None, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """As `_messages.convolved`."""
    return _message(messages, graph, Z, (x.contiguous(), y.contiguous(), rows_of(w), None))


def convolved_back(
    messages: Messages,
    graph: Graph | None,
    needs: tuple[bool, ...],
    x: Tensor,
    y: Tensor,
    w: Tensor,
    g: Tensor,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """As `_messages.convolved_back`: the same form towards x, Y and w."""
    tensors = x.contiguous(), y.contiguous(), rows_of(w), g.contiguous()
    gx, gy, gw = [_message(messages, graph, n, tensors) if needed else None for n, needed in enumerate(needs)]
    return gx, gy, gw


def _message(
    messages: Messages, graph: Graph | None, output: int, tensors: tuple[Tensor, Tensor, Tensor, Tensor | None]
) -> Tensor:
    """One of x, Y, w and z from the other three, summed over the edges that meet in its row."""
    y = tensors[1]
    edges = len(y)
    rows = edges if graph is None else (graph.senders, edges, edges, graph.receivers)[output]
    out = y.new_zeros(rows, messages.dims[output])
    kinds = _MESSAGES.setdefault(messages, {})
    key = output, out.dtype, out.device
    if key not in kinds:
        kinds[key] = _message_tables(messages, output, out.dtype, out.device)
    tables: _MessageTables = kinds[key]
    outputs = len(tables.offsets)
    if rows * outputs == 0:
        return out
    ends = _NO_ENDS if graph is None else _ends(graph)
    block = _block(tables.channels, CHANNELS)
    total = output == Y
    pieces = 1 if total else triton.cdiv(tables.channels, block)
    factors = [tensors[leg] for leg in tables.roles]
    _launch(
        messages_kernel, rows * outputs * pieces, block,
        out, *factors, *[ends.rows[leg] for leg in tables.roles], *[t.stride(0) for t in factors if t is not None],
        *ends.segments[output], *tables.runs, tables.offsets, tables.widths, messages.dims[output],
        outputs, pieces, tables.channels if total else block, *[int(leg != Y) for leg in tables.roles], total,
    )  # fmt: skip
    return out


class _MessageTables(NamedTuple):
    roles: tuple[int, int, int]
    runs: list[Tensor]
    offsets: Tensor
    widths: Tensor
    channels: int
    """The most of any path."""


_MESSAGES: WeakKeyDictionary[Messages, dict] = WeakKeyDictionary()


def _message_tables(messages: Messages, output: int, dtype: torch.dtype, device: torch.device) -> _MessageTables:
    """The paths as a form of four tensors, whose components are told apart by where they start."""
    rows, values = [np.empty((0, 5), np.int64)], [np.empty(0)]
    for link in messages.links:
        m1, m2, m3 = np.nonzero(link.block)
        n = np.full_like(m1, link.channels)
        rows.append(np.stack([link.x + m1 * n, link.y + m2, np.full_like(m1, link.w), link.z + m3 * n, n], 1)[n > 0])
        values.append(link.block[m1, m2, m3][n > 0])
    table = np.concatenate(rows)
    starts, places = zip(*[np.unique(table[:, leg], return_inverse=True) for leg in range(4)])
    widths = [np.zeros(len(start), np.int64) for start in starts]
    for leg in (X, W, Z):
        widths[leg][places[leg]] = table[:, 4]
    form = Form(np.stack(places, -1), np.concatenate(values), tuple(len(start) for start in starts))
    program = form.program(output, dtype)
    first, inner, second = program.roles
    assert second is not None
    of = np.repeat(np.arange(program.outputs), np.diff(program.run_start))
    channels = np.maximum.reduce([widths[output][of], widths[first][program.run_f], widths[second][program.run_g]])
    runs = program.run_start, starts[first][program.run_f], starts[second][program.run_g], channels
    entries = program.entry_start, starts[inner][program.entry_s], program.coefficient
    offsets, wide = _on(device, starts[output], widths[output])
    most = int(channels.max(initial=1))
    return _MessageTables((first, inner, second), _on(device, *runs, *entries), offsets, wide, most)


class _Ends(NamedTuple):
    rows: tuple[Tensor | None, ...]
    """The row of x, Y, w and z for each edge; None: that of the edge."""
    segments: tuple[tuple[Tensor | None, Tensor | None], ...]
    """Where the edges of each row of x, Y, w and z start, and their order."""


_NO_ENDS = _Ends((None,) * 4, ((None, None),) * 4)
_ENDS: WeakKeyDictionary[Graph, _Ends] = WeakKeyDictionary()


def _ends(graph: Graph) -> _Ends:
    """Both ends of the edges, sorted by each; nothing here waits for the device."""
    if graph not in _ENDS:
        source, start, order = graph.source, graph.start, graph.order
        receivers = torch.arange(graph.receivers, device=source.device)
        target = torch.repeat_interleave(receivers, start.diff(), output_size=len(source))
        if order is not None:
            target = torch.empty_like(target).scatter_(0, order, target)
        leaving, by_source = source.sort(stable=True)
        first = torch.searchsorted(leaving, torch.arange(graph.senders + 1, device=source.device))
        alone = None, None
        _ENDS[graph] = _Ends((source, None, None, target), ((first, by_source), alone, alone, (start, order)))
    return _ENDS[graph]


def probe(device: torch.device, dtype: torch.dtype) -> None:
    """Raises unless a product and messages along edges come out on this device as plain PyTorch has them."""
    generator = torch.Generator().manual_seed(0)
    x, y, w, c = [torch.randn(*n, generator=generator, dtype=dtype) for n in ((4, 3, 5), (4, 3, 5), (4, 5), (3, 3, 3))]
    components, block = Blocks(((0, 3, 1, 5),)), c.double().numpy()
    layout = Layout(Form(np.argwhere(block), block.ravel(), block.shape), 3 * (components,))
    messages = Messages([Link(5, 0, 0, 0, 0, block)], (15, 3, 5, 15))
    source, target = torch.tensor([1, 0, 3, 1]), torch.tensor([2, 0, 1, 2])
    edges = x[source], y[:, :, 0], w
    sums = torch.einsum("eiu,ej,eu,ijk->eku", *edges, c)
    expected = torch.einsum("biu,bju,ijk->bku", x, y, c), torch.zeros_like(x).index_add(0, target, sums)
    flat = [t.flatten(1).to(device) for t in (x, y, *edges[1:])]
    graph = Graph.of(source.to(device), target.to(device), 4, 4)
    found = contract(layout, 2, (flat[0], flat[1], None), 5, 15), convolved(messages, graph, flat[0], *flat[2:])
    for ours, right in zip(found, expected):
        error = float((ours.cpu().view_as(right) - right).abs().max() / right.abs().max())
        if not error < 100 * torch.finfo(dtype).eps:
            raise RuntimeError(f"Triton is {error:.1e} from plain PyTorch in {dtype}")

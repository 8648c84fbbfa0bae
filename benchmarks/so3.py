"""Tensor products of irreps: ours by every route against e3nn's and cuEquivariance's, in one process.

On a CPU, and on a GPU where there is one.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch

from benchmarks._harness import PEAK, THREADS, Row, fresh_python, peak_megabytes
from torsor.build.so3 import GauntTensorProduct, SparseTensorProduct, gaunt_matrix, gaunt_product, wigner_3j
from torsor.build.so3._product import Backend

ROWS, CHANNELS = 64, 64
WHAT = f"{ROWS} x {CHANNELS} channels"
Call = Callable[[], object]


def run() -> list[Row]:
    rows = []
    for L in (1, 2, 3, 4, 5, 6):
        rows += _forward(L, torch.float32)
    for L in (2, 4):
        rows += _forward(L, torch.float64)
    for L in (2, 3, 4):
        rows += _derivatives(L)
    for L in (7, 8):
        rows += _highest_of_e3nn(L)
    if torch.cuda.is_available():
        for dtype in (torch.float32, torch.float64):
            for L in (1, 2, 3, 4, 6):
                rows += _on_gpu(L, dtype)
    return [*rows, *_high_degree(), *_memory(), *_chunks()]


def _forward(L: int, dtype: torch.dtype) -> list[Row]:
    x, y = torch.randn(2, ROWS, CHANNELS, (L + 1) ** 2, dtype=dtype)
    theirs, flat = _e3nn(L, dtype), [_flat(v, L) for v in (x, y)]
    ours = SparseTensorProduct.from_e3nn(theirs)
    irreps = str(theirs.irreps_in1)
    layer = GauntTensorProduct(irreps, irreps, irreps, antisymmetric=False, backend="grid").to(dtype)
    cue = _cuequivariance(L, dtype)
    with torch.no_grad():
        calls: list[Call] = [
            lambda: theirs(*flat),
            lambda: gaunt_product(x, y, L, backend="grid"),
            lambda: gaunt_product(x, y, L, backend="sparse" if L < 3 else "separable"),
            lambda: gaunt_product(x, y, L, backend="fourier"),
            lambda: gaunt_product(x, y, L, backend="compiled"),
            lambda: ours(*flat),
            lambda: layer(*flat),
        ]
        if cue is not None:
            calls.append(cue)
        e3nn, grid, other, fourier, compiled, sparse, converted, *cues = _times(*calls)
    entries = gaunt_matrix(L, L, L, sparse=True)._nnz()
    floor = ROWS * CHANNELS * (2 * entries + (L + 1) ** 4) / _flops(dtype)
    at = f"L={L}, {str(dtype)[6:]}, forward"
    single = dtype == torch.float32
    bar = {2: 1 / 4}.get(L, 1 / 8) if single and L > 1 else 1.0
    rows = [
        Row(f"Gaunt product, plain PyTorch (grid), {at}", grid, e3nn, "e3nn uuu", bar=bar),
        Row(f"Gaunt product, {'sparse' if L < 3 else 'separable'} in PyTorch, {at}", other, e3nn, "e3nn uuu"),
        Row(f"Gaunt product, Fourier (the paper's), {at}", fourier, e3nn, "e3nn uuu"),
        Row(f"Gaunt product, compiled, {at}", compiled, e3nn, "e3nn uuu", bar=1 / 20 if L > 1 and single else 1.0),
        Row(f"Gaunt product, compiled, {at}", compiled, floor, "floor of FLOPs", bar=3.0 if L > 1 and single else None),
        Row(f"exact CG in e3nn's layout, compiled, {at}", sparse, e3nn, "e3nn uuu", bar=1 / 2.5 if L > 1 else 1.0),
        Row(
            f"Gaunt layer in e3nn's layout, PyTorch (grid), {at}",
            converted,
            e3nn,
            "e3nn uuu",
            bar=1 / 2.5 if L > 1 else 1.0,
        ),
    ]
    if cues:
        peer = "cuequivariance"
        rows.append(Row(rows[3].what, compiled, cues[0], peer, bar=rows[3].bar))
    return rows


def _derivatives(L: int) -> list[Row]:
    """A step of force training: energy, forces from its gradient, and the gradient of a loss of both."""
    x, y = torch.randn(2, ROWS, CHANNELS, (L + 1) ** 2)
    theirs = _e3nn(L, torch.float32)
    flat = [_flat(v, L) for v in (x, y)]
    ours = SparseTensorProduct.from_e3nn(theirs)

    def backward(product: Callable, inputs: Sequence[torch.Tensor]) -> Call:
        leaves = [v.clone().requires_grad_() for v in inputs]
        return lambda: torch.autograd.grad(product(*leaves).square().sum(), leaves)

    def force_step(product: Callable, inputs: Sequence[torch.Tensor]) -> Call:
        leaves = [v.clone().requires_grad_() for v in inputs]

        def step() -> object:
            forces = torch.autograd.grad(product(*leaves).square().sum(), leaves[0], create_graph=True)[0]
            return torch.autograd.grad(forces.square().sum(), leaves)

        return step

    def plain(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return gaunt_product(x, y, L, backend="grid")

    def fast(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return gaunt_product(x, y, L)

    rows = []
    for make, what, bar in (
        (backward, "forward + backward", None),
        (force_step, "energy, force, double backward", 1 / 5),
    ):
        peer, grid, compiled, sparse = _times(
            make(theirs, flat), make(plain, (x, y)), make(fast, (x, y)), make(ours, flat)
        )
        rows += [
            Row(f"Gaunt product, plain PyTorch (grid), L={L}, {what}", grid, peer, "e3nn uuu", bar=bar),
            Row(f"Gaunt product, compiled, L={L}, {what}", compiled, peer, "e3nn uuu", bar=bar),
            Row(f"exact CG in e3nn's layout, compiled, L={L}, {what}", sparse, peer, "e3nn uuu", bar=1.0),
        ]
    return rows


def _on_gpu(L: int, dtype: torch.dtype) -> list[Row]:
    """Forward and with derivatives of first order; times between CUDA events."""
    from torsor.build.so3._compiled import can_compile

    x, y = torch.randn(2, 16 * ROWS, CHANNELS, (L + 1) ** 2, dtype=dtype, device="cuda")
    flat = [_flat(v, L) for v in (x, y)]
    theirs = _e3nn(L, dtype).cuda()
    ours = SparseTensorProduct.from_e3nn(theirs)
    cue = _cuequivariance(L, dtype, "cuda", 16 * ROWS)
    leaves = [v.clone().requires_grad_() for v in (x, y)]
    flat_leaves = [v.clone().requires_grad_() for v in flat]

    def forward(product: Callable, inputs: Sequence[torch.Tensor]) -> Call:
        def call() -> object:
            with torch.no_grad():
                return product(*inputs)

        return call

    def backward(product: Callable, inputs: Sequence[torch.Tensor]) -> Call:
        return lambda: torch.autograd.grad(product(*inputs).square().sum(), inputs)

    rows = []
    grid, fast = (partial(gaunt_product, lmax_out=L, backend=backend) for backend in ("grid", "compiled"))
    route = "Triton" if can_compile(x) else "PyTorch, for want of Triton"
    for what, make, ends, flat_ends in (
        ("forward", forward, (x, y), flat),
        ("forward + backward", backward, leaves, flat_leaves),
    ):
        calls = [make(theirs, flat_ends), make(grid, ends), make(fast, ends), make(ours, flat_ends)]
        if cue is not None and what == "forward":
            calls.append(cue)
        peer, points, compiled, sparse, *cues = _gpu_times(*calls)
        at = f"on a GPU, L={L}, {str(dtype)[6:]}, {16 * ROWS} x {CHANNELS} channels, {what}"
        rows += [
            Row(f"Gaunt product, grid, {at}", points, peer, "e3nn uuu"),
            Row(f"Gaunt product, {route}, {at}", compiled, peer, "e3nn uuu"),
            Row(f"Gaunt product, {route}, {at}", compiled, points, "grid"),
            Row(f"exact CG in e3nn's layout, {route}, {at}", sparse, peer, "e3nn uuu"),
            *[Row(f"exact CG in e3nn's layout, {route}, {at}", sparse, time, "cuequivariance") for time in cues],
        ]
    return rows


def _gpu_times(*calls: Call, repeats: int = 20) -> list[float]:
    """Median ms of each call between two events; the calls take turns after three of each for what is made once."""
    for call in calls * 3:
        call()
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, times in zip(calls, taken):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    return [statistics.median(times) for times in taken]


def _highest_of_e3nn(L: int) -> list[Row]:
    """Fewer repeats, and no other peer: one call of e3nn's takes a quarter of a second."""
    x, y = torch.randn(2, ROWS, CHANNELS, (L + 1) ** 2)
    theirs, flat = _e3nn(L, torch.float32), [_flat(v, L) for v in (x, y)]
    ours = SparseTensorProduct.from_e3nn(theirs)
    with torch.no_grad():
        peer, grid, compiled, sparse = _times(
            lambda: theirs(*flat),
            lambda: gaunt_product(x, y, L, backend="grid"),
            lambda: gaunt_product(x, y, L, backend="compiled"),
            lambda: ours(*flat),
            repeats=3,
        )
    at = f"L={L}, float32, forward"
    return [
        Row(f"Gaunt product, plain PyTorch (grid), {at}", grid, peer, "e3nn uuu", bar=1.0),
        Row(f"Gaunt product, compiled, {at}", compiled, peer, "e3nn uuu", bar=1.0),
        Row(f"exact CG in e3nn's layout, compiled, {at}", sparse, peer, "e3nn uuu", bar=1.0),
    ]


def _high_degree() -> list[Row]:
    rows = []
    for L in (8, 12):
        x, y = torch.randn(2, ROWS, CHANNELS, (L + 1) ** 2)
        with torch.no_grad():
            routes: list[Backend] = ["auto", "grid", "separable", "fourier"]
            calls = [partial(gaunt_product, x, y, L, backend=route) for route in routes]
            auto, grid, separable, fourier = _times(*calls, repeats=3)
        rows += [
            Row(f"Gaunt product, auto, L={L}, forward", auto, fourier, "Fourier", bar=1.0),
            Row(f"Gaunt product, grid, L={L}, forward", grid, fourier, "Fourier", bar=1.0),
            Row(f"Gaunt product, separable, L={L}, forward", separable, fourier, "Fourier", bar=1.0),
        ]
    return rows


def _memory() -> list[Row]:
    """Peak memory of 65536 rows of L = 4, in a process of its own; inputs and output alone are 20 MB."""
    inputs = "x, y = torch.randn(2, 1024, 64, 25)\ntorch.set_grad_enabled(False)\n"
    used = [
        peak_megabytes(f"from torsor.build.so3 import gaunt_product\n{inputs}gaunt_product(x, y, 4, backend={name!r})")
        for name in ("compiled", "grid", "fourier")
    ]
    what = "memory, {}, L=4, 65536 rows"
    return [
        Row(what.format(name), mine, used[2], "Fourier", unit="MB") for name, mine in zip(("compiled", "grid"), used)
    ]


def _chunks() -> list[Row]:
    """Extra memory of a layer with `chunk`, beyond inputs and output, in a process of its own."""
    rows = []
    for samples in (4096, 16384):
        for backend in ("compiled", "grid"):
            used = float(fresh_python(CHUNKS.format(peak=PEAK, samples=samples, backend=backend)))
            what = f"extra memory, {backend}, chunk=256, L=4, {samples} rows of {CHANNELS} channels"
            rows.append(Row(what, used, 64.0, "64 MiB", unit="MiB", bar=1.0))
    return rows


CHUNKS = """
import resource, torch
{peak}
from torsor.build.so3 import GauntTensorProduct
torch.set_grad_enabled(False)
irreps = "64x0e+64x1o+64x2e+64x3o+64x4e"
layer = GauntTensorProduct(irreps, irreps, irreps, backend={backend!r}, chunk=256)
x, y = torch.randn({samples}, 1600), torch.randn({samples}, 1600)
layer(x[:1], y[:1])  # tables and kernels
now = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = now()
out = layer(x, y)
print((peak() - before - out.nbytes) / 2**20)
"""


def _times(*calls: Call, repeats: int = 7) -> list[float]:
    """Least process time of each call in ms; the calls take turns."""
    torch.set_num_threads(THREADS)
    for call in calls:
        call()
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for n, call in enumerate(calls):
            start, count = time.process_time_ns(), 0
            while count == 0 or (time.process_time_ns() - start < 2e6 and count < 100):
                call()
                count += 1
            best[n] = min(best[n], (time.process_time_ns() - start) / count / 1e6)
    return best


def _flops(dtype: torch.dtype) -> float:
    """Operations per ms of a matrix product here and now."""
    a = torch.randn(512, 512, dtype=dtype)
    return 2 * 512**3 / _times(lambda: a @ a)[0]


def _flat(x: torch.Tensor, L: int) -> torch.Tensor:
    """In the layout of e3nn."""
    return torch.cat([x[..., l * l : (l + 1) ** 2].flatten(-2) for l in range(L + 1)], -1)


def _e3nn(L: int, dtype: torch.dtype):
    """The same product of natural irreps as paths of e3nn's, every one of which has an even sum of degrees."""
    from e3nn import o3

    irreps = o3.Irreps("+".join(f"{CHANNELS}x{l}{'eo'[l % 2]}" for l in range(L + 1)))
    paths = [
        (i, j, k, "uuu", True)
        for i, (_, a) in enumerate(irreps)
        for j, (_, b) in enumerate(irreps)
        for k, (_, c) in enumerate(irreps)
        if c in a * b
    ]
    return o3.TensorProduct(irreps, irreps, irreps, paths).to(dtype)


def _cuequivariance(
    L: int, dtype: torch.dtype, device: Literal["cpu", "cuda"] = "cpu", rows: int = ROWS
) -> Call | None:
    """The same product by cuEquivariance, or None where it is not installed."""
    try:
        import cuequivariance as cue
        import cuequivariance_torch as cuet

        if device == "cuda":
            import cuequivariance_ops_torch  # noqa: F401 (its kernels)
    except ImportError:
        return None
    product = cue.SegmentedTensorProduct.from_subscripts("u,iu,ju,ku+ijk")
    for operand in (1, 2, 3):
        for l in range(L + 1):
            product.add_segment(operand, (2 * l + 1, CHANNELS))
    count = 0
    for l1 in range(L + 1):
        for l2 in range(L + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, L) + 1, 2):
                product.add_segment(0, (CHANNELS,))
                product.add_path(count, l1, l2, l3, c=wigner_3j(l1, l2, l3).numpy())
                count += 1
    if device == "cuda":
        product = product.flatten_coefficient_modes()
    layer = cuet.SegmentedPolynomial(
        cue.SegmentedPolynomial.eval_last_operand(product),
        method="naive" if device == "cpu" else "uniform_1d",
        math_dtype=dtype,
    ).to(device)
    size = CHANNELS * (L + 1) ** 2
    pair = torch.randn(2, rows, size, dtype=dtype, device=device)
    inputs = [torch.randn(1, count * CHANNELS, dtype=dtype, device=device), *pair]
    return lambda: layer(inputs)

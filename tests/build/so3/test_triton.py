"""The kernels on CUDA. Without a GPU: Triton's interpreter runs them on the CPU, and its compiler makes PTX of them.

The interpreter has to be chosen before Triton is imported, so those tests run in a process of their own.
"""

import importlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from torsor.build.so3 import SparseTensorProduct, _compiler, _forms, _messages, gaunt_product
from torsor.build.so3._compiled import _layout, can_compile
from torsor.build.so3._forms import Contraction
from torsor.build.so3._messages import Convolution, Graph
from torsor.build.so3._operators import traceable

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with torch for CUDA")
_triton = importlib.import_module("torsor.build.so3._triton")

ROOT = Path(__file__).resolve().parents[3]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in Triton's interpreter, in a process of its own")
compiled = pytest.mark.skipif(INTERPRETED, reason="needs Triton's compiler, not its interpreter")
gpu = pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="there is no GPU")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@compiled
@pytest.mark.compiler
def test_everything_holds_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).resolve())]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def uuu(**options):
    """Two entries of one multiplicity, odd and even sums of degrees, as e3nn stores them."""
    paths = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
    weighted = options.pop("weighted", True)
    return SparseTensorProduct("5x0e+5x1e", "5x0e+5x1e", "5x0e+5x1e", [(*p, "uuu", weighted) for p in paths], **options)


def uvu():
    """Multiplicities that differ, two paths into one entry, more than one block of channels, none at all."""
    paths = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (2, 0, 2)]
    irreps = "3x0e+3x1e+34x0e+0x1e"
    return SparseTensorProduct(irreps, "1x0e+1x1e", irreps, [(*p, "uvu", True) for p in paths], shared_weights=False)


GRAPHS = {
    "no graph": lambda: None,
    "sorted": lambda: Graph.of(torch.tensor([0, 3, 1, 0]), torch.tensor([0, 0, 1, 3]), 4, 5),
    "unsorted": lambda: Graph.of(torch.tensor([0, 3, 1, 0]), torch.tensor([3, 0, 3, 0]), 4, 5),
    "no edges": lambda: Graph.of(*torch.zeros(2, 0, dtype=torch.int64), 2, 3),
}


def close(found, expected):
    """Relative to the largest number, by rounding alone; the dtype and the shape are the same."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    scale = expected.abs().max() if expected.numel() else 1.0
    assert ((found - expected).abs() <= 20 * torch.finfo(found.dtype).eps * scale).all()


def every_output(layout, tensors, channels):
    for output, tensor in enumerate(tensors):
        rows = max(len(t) for n, t in enumerate(tensors) if n != output)
        arguments = layout, output, tuple(tensors), channels, tensor.shape[1]
        found = _triton.contract(*arguments)
        assert found.shape == (rows, tensor.shape[1])
        close(found, _forms.contract(*arguments))


def derivatives(call, leaves):
    """The value, its gradients and those of the gradients."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    value = call(*leaves)
    first = torch.autograd.grad(value.pow(3).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(t.square().sum() for t in first), leaves)
    return [t.detach() for t in (value, *first, *second)]


# ---- in the interpreter, against C++ ----


@interpreted
@dtypes
@pytest.mark.compiler
@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize(("degrees", "lanes"), [((1, 1, 1), 1), ((1, 1, 2), 300), ((2, 1, 2), 7), ((2, 2, 2), 33)])
def test_products_of_signals_and_their_derivatives(degrees, lanes, antisymmetric, dtype):
    layout = _layout(degrees, antisymmetric, False)
    every_output(layout, [torch.randn(1, lanes * (L + 1) ** 2, dtype=dtype) for L in degrees], lanes)


@interpreted
@pytest.mark.compiler
@pytest.mark.parametrize("rows", [(7, 7, 7, 7), (7, 7, 1, 7), (1, 7, 1, 7), (7, 1, 7, 7), (1, 1, 1, 1)])
def test_exact_products_and_their_derivatives_where_one_row_serves_all(rows):
    product = uuu()
    lengths = 20, 20, product.weight_numel, 20
    every_output(product._tables(), [torch.randn(n, length) for n, length in zip(rows, lengths)], 5)


@interpreted
@pytest.mark.compiler
def test_products_without_weights():
    every_output(uuu(weighted=False)._tables(), [torch.randn(3, 20) for _ in range(3)], 5)


@interpreted
@pytest.mark.compiler
def test_blocks_of_lanes_meet_without_gaps(monkeypatch):
    monkeypatch.setattr(_triton, "LANES", 32)
    every_output(_layout((1, 1, 1), False, False), [torch.randn(1, 4 * 97) for _ in range(3)], 97)


@interpreted
@pytest.mark.compiler
@pytest.mark.parametrize(("graph", "dtype"), [*zip(GRAPHS, [torch.float32, torch.float64] * 2)])
def test_messages_and_their_derivatives(graph, dtype, monkeypatch):
    monkeypatch.setattr(_triton, "CHANNELS", 32)
    messages, graph = uvu()._tables(), GRAPHS[graph]()
    edges, senders = (4, 4) if graph is None else (len(graph.source), graph.senders)
    sizes = (senders, edges, edges)
    x, y, w = [torch.randn(n, length, dtype=dtype) for n, length in zip(sizes, messages.dims)]
    z = _messages.convolved(messages, graph, x, y, w)
    close(_triton.convolved(messages, graph, x, y, w), z)
    g = torch.randn_like(z)
    arguments = messages, graph, (True, True, True), x, y, w, g
    for found, expected in zip(_triton.convolved_back(*arguments), _messages.convolved_back(*arguments)):
        close(found, expected)
    some = _triton.convolved_back(messages, graph, (False, True, False), x, y, w, g)
    assert [t is None for t in some] == [True, False, True]


@interpreted
@pytest.mark.compiler
def test_weights_that_all_edges_share():
    messages = uvu()._tables()
    x, y, w = [torch.randn(n, length) for n, length in zip((4, 4, 1), messages.dims)]
    close(*[room.convolved(messages, None, x, y, w.expand(4, -1)) for room in (_triton, _messages)])


@interpreted
@pytest.mark.compiler
@pytest.mark.parametrize("back", [False, True])
def test_the_other_order_of_channels_and_components(back):
    irreps = uvu().irreps_in1
    x = torch.randn(2, irreps.dim())
    order = torch.from_numpy(_messages._order(irreps, back)[0])
    assert torch.equal(x[:, order], _messages.relaid(irreps, back, x))


# ---- in the interpreter, against PyTorch and itself ----


@interpreted
def test_the_same_numbers_as_plain_torch():
    x, y = torch.randn(2, 3, 4, 9)
    found = _triton.contract(_layout((2, 2, 2), False, False), 2, (x.view(1, -1), y.view(1, -1), None), 12, 108)
    close(found.view(3, 4, 9), gaunt_product(x, y, 2, backend="dense"))
    product = uuu()
    x, y, w = torch.randn(3, 20), torch.randn(3, 20), product.weight.detach()[None]
    close(_triton.contract(product._tables(), 3, (x, y, w, None), 5, 20), product._in_torch(x, y, w))


@interpreted
@pytest.mark.compiler
@pytest.mark.parametrize("kind", ["products", "messages"])
def test_derivatives_of_second_order(kind, monkeypatch):
    if kind == "products":
        sizes = (1, 8), (1, 8)
        call = lambda x, y: Contraction.apply(_layout((1, 1, 1), False, False), 2, 2, (8, 8, 8), x, y, None)
    else:
        paths = [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True)]
        messages = SparseTensorProduct("1x0e+2x1o", "1x1o", "1x1o+2x0e", paths)._tables()
        graph, sizes = Graph.of(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1]), 2, 2), ((2, 7), (3, 3), (3, 3))
        call = lambda *leaves: Convolution.apply(messages, graph, *leaves)
    leaves = [torch.randn(size, dtype=torch.float64) for size in sizes]
    expected = derivatives(call, leaves)
    monkeypatch.setattr(_forms, "contract", _triton.contract)
    monkeypatch.setattr(_messages, "convolved", _triton.convolved)
    monkeypatch.setattr(_messages, "convolved_back", _triton.convolved_back)
    for found, wanted in zip(derivatives(call, leaves), expected, strict=True):
        close(found, wanted)


@interpreted
def test_no_rows_and_values_that_are_not_numbers():
    layout = uuu()._tables()
    x, y, w = torch.randn(0, 20), torch.randn(0, 20), torch.randn(1, 25)
    assert _triton.contract(layout, 3, (x, y, w, None), 5, 20).shape == (0, 20)
    layout = _layout((1, 1, 1), False, False)
    x = torch.ones(1, 8)
    x[0, 0] = torch.nan
    out = _triton.contract(layout, 2, (x, torch.ones(1, 8), None), 2, 8)[0]
    assert out[:4].isnan().all()
    assert out[4:].isfinite().all()


@interpreted
@dtypes
def test_the_probe_tells_right_from_wrong(dtype, monkeypatch):
    _triton.probe(torch.device("cpu"), dtype)
    for name in ("contract", "convolved"):
        right = getattr(_triton, name)
        with monkeypatch.context() as patch:
            patch.setattr(_triton, name, lambda *arguments, right=right: right(*arguments) * 1.001)
            with pytest.raises(RuntimeError, match="from plain PyTorch"):
                _triton.probe(torch.device("cpu"), dtype)


# ---- with Triton's compiler, without a GPU ----


def launches(monkeypatch, dtype):
    """The kernels with the arguments that products, messages and their derivatives launch them with."""
    found = []
    monkeypatch.setattr(_triton, "_launch", lambda kernel, _, block, *rest: found.append((kernel, (*rest, block))))
    layout = _layout((2, 2, 2), False, False)
    _triton.contract(layout, 2, (torch.randn(1, 2700, dtype=dtype), torch.randn(1, 2700, dtype=dtype), None), 300, 2700)
    x, y, w = [torch.randn(rows, length, dtype=dtype) for rows, length in ((7, 20), (7, 20), (1, 25))]
    _triton.contract(uuu()._tables(), 3, (x, y, w, None), 5, 20)
    _triton.contract(_layout((0, 0, 0), False, False), 2, (x[:1, :1], y[:1, :1], None), 1, 1)
    messages = uvu()._tables()
    for graph in (GRAPHS["no graph"](), GRAPHS["unsorted"]()):
        x, y, w, g = [torch.randn(n, length, dtype=dtype) for n, length in zip((4, 4, 4, 5), messages.dims)]
        _triton.convolved(messages, graph, x, y, w)
        _triton.convolved_back(messages, graph, (True, True, True), x, y, w, g)
    return found


def ptx(kernel, arguments):
    pointers = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64"}
    signature, constants = {}, {}
    for parameter, value in zip(kernel.params, arguments, strict=True):
        if value is None or parameter.is_constexpr or (isinstance(value, int) and value == 1):  # 1 is a constant too
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        else:
            signature[parameter.name] = pointers[value.dtype] if isinstance(value, torch.Tensor) else "i32"
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constants)
    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    return triton.compile(source, target=target, options={"enable_fp_fusion": True}).asm["ptx"]


@compiled
@dtypes
def test_the_compiler_takes_every_kernel_as_it_is_launched(dtype, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    mine, other = ("f32", "f64") if dtype == torch.float32 else ("f64", "f32")
    made = {}
    for kernel, arguments in launches(monkeypatch, dtype):
        kinds = tuple(type(a).__name__ if a is None or isinstance(a, torch.Tensor) else a for a in arguments)
        made.setdefault((kernel.__name__, kinds), (kernel, arguments))
    texts = {key: ptx(*found) for key, found in made.items()}
    assert {name for name, _ in texts} == {"pack_kernel", "products_kernel", "messages_kernel"}
    for (name, _), text in texts.items():
        assert ".target sm_80" in text
        assert "atom." not in text  # sums have one order
        assert other not in text  # numbers have one type
        assert name == "pack_kernel" or f"fma.rn.{mine}" in text


# ---- which kernels serve what ----


@pytest.fixture
def unprobed():
    _compiler._triton_works.cache_clear()
    yield torch.device("cuda", 0)
    _compiler._triton_works.cache_clear()


def test_cuda_tensors_are_served_where_triton_works(unprobed, monkeypatch):
    monkeypatch.setattr(_triton, "probe", lambda device, dtype: None)
    assert _compiler.has_kernels(unprobed, torch.float32)
    assert _compiler.has_kernels(unprobed, torch.float64)
    assert not _compiler.has_kernels(unprobed, torch.bfloat16)
    assert not _compiler.has_kernels(torch.device("meta"), torch.float32)
    monkeypatch.setenv("TORSOR_COMPILE", "0")
    assert not _compiler.has_kernels(unprobed, torch.float32)


def test_without_triton_plain_torch_serves_them(unprobed, monkeypatch):
    monkeypatch.setattr(_compiler, "find_spec", lambda name: None)
    assert not _compiler.has_kernels(unprobed, torch.float32)


def test_a_triton_that_fails_is_reported_once(unprobed, monkeypatch):
    def fail(device, dtype):
        raise RuntimeError("no such compiler")

    monkeypatch.setattr(_triton, "probe", fail)
    with pytest.warns(UserWarning, match="do not run on cuda:0, plain PyTorch is used: no such compiler"):
        assert not _compiler.has_kernels(unprobed, torch.float32)
    assert not _compiler.has_kernels(unprobed, torch.float32)


def test_cuda_tensors_reach_the_kernels(monkeypatch, plain):
    calls = []
    for name in ("contract", "convolved", "convolved_back"):
        monkeypatch.setattr(_triton, name, lambda *arguments, name=name: calls.append(name))
    with FakeTensorMode():
        t = torch.empty(3, 4, device="cuda")
        _forms.contract(None, 2, (t, t, None), 1, 4)
        _messages.convolved(None, None, t, t, t)
        _messages.convolved_back(None, None, (True, True, True), t, t, t, t)
    assert calls == ["contract", "convolved", "convolved_back"]


def test_graphs_on_cuda_hold_the_operators(unprobed, monkeypatch, plain):
    monkeypatch.setattr(_triton, "probe", lambda device, dtype: None)
    product = uvu()
    dims, _ = product._tables().dims, _layout((2, 2, 2), False, False)  # made of real numbers
    with FakeTensorMode(allow_non_fake_inputs=True), monkeypatch.context() as traced:
        x, y = torch.empty(2, 3, 9, device="cuda"), torch.empty(2, 3, 9, device="cuda")
        node, filters, weights = [torch.empty(4, size, device="cuda") for size in dims[:3]]
        ends = [torch.empty(n, dtype=torch.int64, device="cuda") for n in (4, 6, 4)]
        traced.setattr(torch.compiler, "is_compiling", lambda: True)
        assert traceable(x)
        assert not can_compile(x)
        with torch.profiler.profile() as profile:
            out = (
                gaunt_product(x, y, 2, backend="compiled"),
                product.convolve(node, filters, weights, Graph(*ends, 4, 5)),
            )
    assert [t.shape for t in out] == [(2, 3, 9), (5, 46)]
    assert all(t.device.type == "cuda" for t in out)
    names = {event.name for event in profile.events()}
    assert {"torsor::contract", "torsor::convolve", "torsor::relayout"} <= names


# ---- on a GPU ----


@gpu
@dtypes
@pytest.mark.parametrize("kind", ["gaunt", "bracket", "uuu", "uvu"])
def test_a_gpu_gives_the_numbers_of_a_cpu(kind, dtype):
    product = {"uuu": uuu, "uvu": uvu}.get(kind, uuu)().to(dtype)
    graph = GRAPHS["unsorted"]()
    if kind in ("gaunt", "bracket"):
        leaves = [torch.randn(7, 5, 9, dtype=dtype) for _ in range(2)]
        call = lambda device, x, y: gaunt_product(x, y, 2, antisymmetric=kind == "bracket", backend="compiled")
    elif kind == "uuu":
        leaves = [torch.randn(7, 20, dtype=dtype) for _ in range(2)]
        call = lambda device, x, y: product.to(device)(x, y)
    else:
        leaves = [torch.randn(4, size, dtype=dtype) for size in product._tables().dims[:3]]

        def call(device, *leaves):
            ends = [t.to(device) for t in (graph.source, graph.start, graph.order)]
            return product.to(device).convolve(*leaves, Graph(*ends, 4, 5))

    there = [leaf.cuda() for leaf in leaves]
    assert can_compile(there[0])
    expected, found, again = [derivatives(partial(call, v[0].device), v) for v in (leaves, there, there)]
    for a, b, c in zip(found, again, expected, strict=True):
        assert torch.equal(a, b)
        close(a.cpu(), c)


@gpu
def test_a_compiled_graph_on_a_gpu(plain):
    x, y = torch.randn(2, 7, 5, 9, device="cuda")
    function = lambda x, y: gaunt_product(x, y, 2, backend="compiled").square().sum()
    expected = torch.autograd.grad(function(x.requires_grad_(), y), x)[0]
    close(torch.autograd.grad(torch.compile(function, fullgraph=True)(x, y), x)[0], expected)

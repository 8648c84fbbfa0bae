"""The kernels as operators of torch: traced graphs keep them, with derivatives of any order, and so does vmap."""

import pytest
import torch

from torsor.build.so3 import SparseTensorProduct, _operators, gaunt_product
from torsor.build.so3._forms import Contraction, contract
from torsor.build.so3._messages import Graph
from torsor.build.so3._operators import contract_op, convolve_back_op, convolve_op, ends, known, relayout_op

pytestmark = pytest.mark.compiler

CG = SparseTensorProduct(
    "2x0e+2x1o", "2x0e+2x1o", "2x0e+2x1o", [(0, 0, 0, "uuu", True), (0, 1, 1, "uuu", True), (1, 1, 0, "uuu", True)]
)
EDGES = SparseTensorProduct(
    "3x0e+2x1o", "1x0e+1x1o", "3x0e+3x1o", [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True)], shared_weights=False
)
GRAPH = Graph.of(torch.tensor([0, 1, 2, 0]), torch.tensor([1, 0, 1, 1]), 3, 2)


def draw(*shapes):
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def form():
    x, y, w = draw((3, 8), (3, 8), (1, 6))
    return known(CG._tables()), 3, 2, [8, 8, 6, 8], x, y, w, None


def messages(graph):
    x, y, w = draw((3 if graph else 4, 9), (4, 4), (4, 6))
    return known(EDGES._tables()), x, y, w, *ends(graph)


def check(operator, arguments, utils=("test_schema", "test_autograd_registration", "test_faketensor")):
    torch.library.opcheck(operator, arguments, test_utils=utils)


def test_operators_are_what_torch_asks_of_them():
    check(contract_op, form())
    for graph in (None, GRAPH):
        key, x, y, w, *edges = messages(graph)
        check(convolve_op, (key, x, y, w, *edges))
        [g] = draw((len(y) if graph is None else 2, 12))
        check(convolve_back_op, (key, [True, False, True], x, y, w, g, *edges))
    check(relayout_op, ("3x0e+2x1o", False, *draw((2, 9))))


@pytest.mark.slow
def test_operators_are_what_torch_asks_of_them_in_dynamic_graphs(plain):
    check(contract_op, form(), ["test_aot_dispatch_dynamic"])
    check(convolve_op, messages(GRAPH), ["test_aot_dispatch_dynamic"])


def test_no_rows_stay_none_beside_a_row_that_serves_all():
    key, output, channels, lengths, x, y, w, _ = form()
    assert contract_op(key, output, channels, lengths, x[:0], y[:0], w, None).shape == (0, 8)


def test_forms_have_derivatives_of_first_and_second_order():
    key, output, channels, lengths, x, y, w, _ = form()
    call = lambda x, y, w: contract_op(key, output, channels, lengths, x, y, w, None)
    assert torch.allclose(
        call(x, y, w), Contraction.apply(CG._tables(), output, channels, tuple(lengths), x, y, w, None)
    )
    assert torch.autograd.gradcheck(call, (x, y, w))
    assert torch.autograd.gradgradcheck(call, (x, y, w), fast_mode=True)


@pytest.mark.parametrize("graph", [pytest.param(None, marks=pytest.mark.slow), GRAPH])
def test_messages_have_derivatives_of_first_and_second_order(graph):
    key, x, y, w, *edges = messages(graph)
    call = lambda x, y, w: convolve_op(key, x, y, w, *edges)
    assert torch.autograd.gradcheck(call, (x, y, w))
    assert torch.autograd.gradgradcheck(call, (x, y, w), fast_mode=True)


def signals(x, y):
    return gaunt_product(gaunt_product(x, y, 2), y, 2, antisymmetric=True)


CASES = {
    "gaunt": (signals, [(3, 2, 9), (3, 2, 9)], "contract"),
    "uuu": (CG, [(3, 8), (3, 8)], "contract"),
    "uvu": (EDGES, [(4, 9), (4, 4), (4, 6)], "convolve"),
    "edges": (lambda x, y, w: EDGES.convolve(x, y, w, GRAPH), [(3, 9), (4, 4), (4, 6)], "convolve"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_compiled_function_keeps_the_kernel(case, plain):
    call, shapes, operator = CASES[case]
    call = call.double() if isinstance(call, torch.nn.Module) else call
    targets = []

    def backend(graph, _examples):
        targets.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    compiled = torch.compile(call, fullgraph=True, backend=backend)
    inputs = draw(*shapes)
    found, expected = compiled(*inputs), call(*inputs)
    assert torch.allclose(found, expected, atol=1e-12)
    assert any(operator in target for target in targets)
    for a, b in zip(*(torch.autograd.grad(z.square().sum(), inputs) for z in (found, expected))):
        assert torch.allclose(a, b, atol=1e-11)


def test_vmap_keeps_the_kernel_and_derivatives_give_way(monkeypatch):
    x, y = draw((4, 2, 9), (2, 9))
    product = lambda x, y: gaunt_product(x, y, 2)
    expected, calls = product(x, y), []
    monkeypatch.setattr(_operators, "contract", lambda *inputs: calls.append(inputs) or contract(*inputs))
    assert torch.allclose(torch.func.vmap(product, (0, None))(x, y), expected, atol=1e-12)
    assert len(calls) == 1
    f = lambda x, y: CG.double()._rows(x, y, CG.weight[None])
    x, y = draw((4, 3, 8), (3, 8))
    assert torch.allclose(torch.func.vmap(f, (0, None))(x, y)[1], f(x[1], y), atol=1e-12)
    energy = lambda x: product(x, x).square().sum()
    x = x.detach()[..., :4]
    free = x.clone().requires_grad_()
    expected = torch.autograd.grad(energy(free), free)[0]
    assert torch.allclose(torch.func.grad(energy)(x), expected, atol=1e-10)
    tangent = torch.randn_like(x)
    assert torch.allclose(torch.func.jvp(energy, (x,), (tangent,))[1], (expected * tangent).sum(), atol=1e-9)


@pytest.mark.usefixtures("plain")
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_many_gradients_at_once_are_those_one_by_one():
    y = torch.randn(2, 1, 4, dtype=torch.float64)
    product = SparseTensorProduct(
        "4x0e+4x1o", "0e+1o", "4x0e+4x1o", [(0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True)], shared_weights=False
    )
    weight = torch.randn(2, product.weight_numel, dtype=torch.float64)
    for f, x in (
        (lambda x: gaunt_product(x, y, 1), torch.randn(2, 1, 4, dtype=torch.float64)),
        (lambda x: product(x, y[:, 0], weight), torch.randn(2, 16, dtype=torch.float64)),
    ):
        one_by_one = torch.autograd.functional.jacobian(f, x)
        assert torch.equal(torch.autograd.functional.jacobian(f, x, vectorize=True), one_by_one)
        x.requires_grad_()
        out = f(x)
        rows = torch.eye(out.numel(), dtype=out.dtype).view(-1, *out.shape)
        found = torch.vmap(lambda row: torch.autograd.grad(out, x, row, retain_graph=True)[0])(rows)  # noqa: B023
        assert torch.allclose(found.view_as(one_by_one), one_by_one, atol=1e-14)

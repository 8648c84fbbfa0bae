"""Models of e3nn and SevenNet with their tensor products replaced: the same numbers, and a report that says so."""

import pytest
import torch
from torch import nn

from torsor.build.so3 import SparseTensorProduct, _accelerate, accelerate
from torsor.build.so3._messages import Graph

o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not installed: pip install torsor[e3nn]")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.product = o3.FullyConnectedTensorProduct("4x0e+2x1o", "1x0e+1x1o", "4x0e+2x1o")
        self.layers = nn.ModuleList([o3.ElementwiseTensorProduct("4x0e+2x1o", "6x0e")])
        self.square = o3.TensorSquare("4x0e+2x1o")

    def forward(self, x, y):
        x = self.product(x, y)
        return self.square(self.layers[0](x, x[:, :6]))


def test_products_are_swapped_in_a_copy_with_the_same_numbers_and_parameters():
    model = Model()
    fast, report = accelerate(model, only_faster=False)
    x, y = torch.randn(5, 10), torch.randn(5, 4)
    assert torch.allclose(fast(x, y), model(x, y), atol=1e-5)
    assert [swap.name for swap in report.swaps] == ["product", "layers.0"]
    assert [name for name, _ in report.left] == ["square"]
    assert "u<v" in str(report)
    assert all(swap.value_error < 1e-5 for swap in report.swaps)
    assert all(swap.gradient_error < 1e-5 for swap in report.swaps)
    assert isinstance(fast.product, SparseTensorProduct)
    assert isinstance(model.product, o3.TensorProduct)
    assert {n for n, _ in fast.named_parameters()} == {n for n, _ in model.named_parameters()}


def test_a_wrong_replacement_is_refused(monkeypatch):
    forward = SparseTensorProduct.forward
    monkeypatch.setattr(SparseTensorProduct, "forward", lambda self, *inputs: 1.001 * forward(self, *inputs))
    with pytest.raises(RuntimeError, match="product: the replacement differs from the original by 1.0e-03"):
        accelerate(Model())


def test_a_product_that_would_be_slower_is_left(monkeypatch):
    times = iter([[1.0, 2.0], [3.0, 2.0]])
    monkeypatch.setattr(_accelerate, "_milliseconds", lambda *calls: next(times))
    fast, report = accelerate(Model())
    assert ("product", "ours is slower: 1 -> 2 ms") in report.left
    assert [swap.name for swap in report.swaps] == ["layers.0"]
    assert isinstance(fast.product, o3.TensorProduct)


def pair():
    """Two products and what they act on."""
    paths = [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True)]
    model = nn.ModuleList([o3.TensorProduct("4x0e+4x1o", "1x1o", "4x1o+4x0e", paths) for _ in range(2)])
    return model, (torch.randn(5, 16), torch.randn(5, 3))


def test_what_is_shared_stays_shared():
    model, _ = pair()
    model.append(model[0])
    model[1].weight = model[0].weight
    weight = model[0].weight
    fast, report = accelerate(model, inplace=True, only_faster=False)
    assert [swap.name for swap in report.swaps] == ["0", "1"]
    assert fast[2] is fast[0]
    assert fast[0].weight is fast[1].weight is weight  # an optimiser that holds it goes on


def test_hooks_parametrizations_and_changed_forwards_are_kept():
    class Doubled(o3.FullyConnectedTensorProduct):
        def forward(self, x, y):
            return 2 * super().forward(x, y)

    class Double(nn.Module):
        def forward(self, weight):
            return 2 * weight

    model, (x, y) = pair()
    model.append(Doubled("4x0e+4x1o", "1x1o", "4x0e"))
    model.append(o3.TensorSquare("1x0e+1x1o"))
    model.append(torch.jit.script(pair()[0][0]))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    nn.utils.parametrize.register_parametrization(model[1], "weight", Double())
    for check in (True, False):
        fast, report = accelerate(model, check=check, only_faster=False)
        assert dict(report.left) == {
            "0": "it has hooks", "1": "its weights are parametrized", "2": "it has a forward of its own",
            "3": "it has a forward of its own", "4": "it is scripted",
        }  # fmt: skip
        assert all(torch.equal(fast[n](x, y), model[n](x, y)) for n in (0, 1, 2, 4))


def test_a_model_that_is_a_product_is_replaced():
    model, (x, y) = pair()
    fast, report = accelerate(model[0], only_faster=False)
    assert isinstance(fast, SparseTensorProduct)
    assert len(report.swaps) == 1
    assert torch.allclose(fast(x, y), model[0](x, y), atol=1e-5)


def test_a_derivative_that_is_no_number_is_refused(monkeypatch):
    differences = iter([0.0, 0.0, float("nan"), 0.0])
    monkeypatch.setattr(_accelerate, "_difference", lambda found, expected: next(differences))
    with pytest.raises(RuntimeError, match=r"0: the replacement differs .* by 0.0e\+00 \(gradients nan\)"):
        accelerate(pair()[0])


@pytest.mark.parametrize("backend", ["torch", pytest.param("auto", marks=pytest.mark.compiler)])
@pytest.mark.parametrize("ordered", [True, False])
def test_messages_are_summed_over_the_edges_of_each_receiver(backend, ordered):
    product = SparseTensorProduct(
        "9x0e+1x1o", "1x0e+1x1o", "9x0e+9x1o+1x1o",
        [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 0, 2, "uvu", True)],
        shared_weights=False, backend=backend,
    ).double()  # fmt: skip
    x = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    y, w = (torch.randn(11, n, dtype=torch.float64, requires_grad=True) for n in (4, product.weight_numel))
    source, target = torch.randint(0, 4, (2, 11))
    target = target.sort().values if ordered else target
    graph = Graph.of(source, target, 4, 5)
    found = product.convolve(x, y, w, graph)
    expected = torch.zeros(5, product.irreps_out.dim(), dtype=torch.float64)
    expected = expected.index_add(0, target, product(x[source], y, w))
    assert torch.allclose(found, expected, atol=1e-12)
    probe = torch.randn_like(found)
    for a, b in zip(*(torch.autograd.grad((z * probe).sum(), (x, y, w)) for z in (found, expected))):
        assert torch.allclose(a, b, atol=1e-12)
    # a second derivative, against that of the sum of messages
    seconds = []
    for z in (product.convolve(x, y, w, graph), torch.zeros_like(found).index_add(0, target, product(x[source], y, w))):
        first = torch.autograd.grad((z * probe).sum(), (x, y, w), create_graph=True)
        seconds.append(torch.autograd.grad(sum(t.square().sum() for t in first), (x, y, w)))
    for a, b in zip(*seconds):
        assert torch.allclose(a, b, atol=1e-11)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of SevenNet and ASE
def test_sevennet_keeps_its_energies_and_forces():
    calculators = pytest.importorskip("sevenn.calculator", reason="sevenn is not installed")
    from ase.build import bulk

    original, fast = (calculators.SevenNetCalculator("7net-l3i5", device="cpu") for _ in range(2))
    fast.model, report = accelerate(fast.model, inplace=True)
    assert sum("fused" in swap.kind for swap in report.swaps) == 5
    fast.model.load_state_dict(original.model.state_dict())
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    results = []
    for calculator in (original, fast):
        atoms.calc = calculator
        results.append((atoms.get_potential_energy(), torch.tensor(atoms.get_forces())))
    (e1, f1), (e2, f2) = results
    assert abs(e1 - e2) / abs(e1) < 1e-6
    assert (f1 - f2).abs().max() / f1.abs().max() < 1e-5

"""The exact Clebsch-Gordan product: e3nn's numbers with e3nn's weights, compiled and not."""

import copy
import pickle

import pytest
import torch

from torsor.build.so3 import SparseTensorProduct
from torsor.build.so3._messages import Graph

o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not installed: pip install torsor[e3nn]")

BACKENDS = ["torch", pytest.param("auto", marks=pytest.mark.compiler)]
IRREPS = "12x0e+12x1o+12x1e"


@pytest.fixture(autouse=True)
def double():
    """e3nn makes its Wigner 3j symbols in the default dtype."""
    torch.set_default_dtype(torch.float64)


def product(mode, in1=IRREPS, in2=IRREPS, out=IRREPS, **options):
    in1, in2, out = o3.Irreps(in1), o3.Irreps(in2), o3.Irreps(out)
    instructions = [
        (i, j, k, mode, True, 0.5 + 0.1 * k)
        for i, (_, a) in enumerate(in1)
        for j, (_, b) in enumerate(in2)
        for k, (_, c) in enumerate(out)
        if c in a * b
    ]
    return o3.TensorProduct(in1, in2, out, instructions, **options)


CASES = {
    "uuu": ("uuu", IRREPS, IRREPS, IRREPS),
    "uvu": ("uvu", "35x0e+17x1o+12x2e+3x3o", "1x0e+1x1o+1x2e", "35x0e+17x1o+12x2e+3x3o"),
    "uvu of several": ("uvu", "5x0e+5x1o", "2x0e+3x1o", "5x0e+5x1o"),
    "uvw": ("uvw", "5x0e+4x1o", "2x0e+3x1o", "3x0e+6x1o+1x1e"),
    "uuw": ("uuw", "5x0e+5x1o", "5x0e+5x1o", "3x0e+6x1o+1x1e"),
    "uvv": ("uvv", "5x0e+4x1o", "3x0e+3x1o", "3x0e+3x1o"),
}


def filtered(mode, in1, in2, out, **options):
    """The instructions that multiplicities allow."""
    in1, in2, out = o3.Irreps(in1), o3.Irreps(in2), o3.Irreps(out)
    fits = {"uvu": lambda a, b, c: a == c, "uvv": lambda a, b, c: b == c}.get(mode, lambda a, b, c: True)
    instructions = [
        (i, j, k, mode, True, 0.5 + 0.1 * k)
        for i, (n1, a) in enumerate(in1)
        for j, (n2, b) in enumerate(in2)
        for k, (n3, c) in enumerate(out)
        if c in a * b and fits(n1, n2, n3)
    ]
    return o3.TensorProduct(in1, in2, out, instructions, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers_and_derivatives_as_e3nn(case, shared, backend):
    theirs = filtered(*CASES[case], shared_weights=shared)
    ours = SparseTensorProduct.from_e3nn(theirs, backend=backend)
    x, y = (torch.randn(7, irreps.dim, requires_grad=True) for irreps in (theirs.irreps_in1, theirs.irreps_in2))
    weight = torch.randn(*(() if shared else (7,)), theirs.weight_numel, requires_grad=True)
    found, expected = ours(x, y, weight), theirs(x, y, weight)
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    probe = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad((out * probe).sum(), (x, y, weight)) for out in (found, expected))):
        assert (a - b).abs().max() < 1e-12 * b.abs().max()


@pytest.mark.parametrize(
    ("irrep_normalization", "path_normalization"), [("component", "path"), ("norm", "element"), ("none", "none")]
)
def test_normalisations_are_those_of_e3nn(irrep_normalization, path_normalization):
    options = {"irrep_normalization": irrep_normalization, "path_normalization": path_normalization}
    for case in CASES.values():
        theirs = filtered(*case, compile_left_right=False, **options)
        plain = [(*ins[:5], 0.5 + 0.1 * ins.i_out) for ins in theirs.instructions]
        sides = theirs.irreps_in1, theirs.irreps_in2, theirs.irreps_out
        ours = SparseTensorProduct(*sides, plain, **options)
        for a, b in zip(ours.instructions, theirs.instructions):
            assert a[:5] == tuple(b)[:5]
            assert a.path_weight == pytest.approx(b.path_weight, rel=1e-14)
            assert a.path_shape == tuple(b.path_shape)


@pytest.mark.parametrize("case", ["uuu", "uvu"])
@pytest.mark.parametrize("shared", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.compiler
def test_second_derivatives(case, shared):
    sides = {"uuu": ["2x0e+2x1o"] * 3, "uvu": ["1x0e+2x1o", "1x0e+1x1o", "1x0e+2x1o+2x1e"]}[case]
    ours = SparseTensorProduct.from_e3nn(filtered(case, *sides, shared_weights=shared))
    x, y = (torch.randn(2, irreps.dim(), requires_grad=True) for irreps in (ours.irreps_in1, ours.irreps_in2))
    weight = torch.randn(*(() if shared else (2,)), ours.weight_numel, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x, y, weight))
    assert torch.autograd.gradgradcheck(ours, (x, y, weight), fast_mode=True)


def test_single_precision_agrees():
    theirs = filtered(*CASES["uvu"], shared_weights=False).float()
    ours = SparseTensorProduct.from_e3nn(theirs)
    x, y = torch.randn(40, theirs.irreps_in1.dim).float(), torch.randn(40, theirs.irreps_in2.dim).float()
    weight = torch.randn(40, theirs.weight_numel).float()
    expected = theirs(x, y, weight)
    assert (ours(x, y, weight) - expected).norm() / expected.norm() < 1e-6


def test_products_without_weights():
    theirs = o3.ElementwiseTensorProduct("4x0e+4x1o", "4x1o+4x1o")
    ours = SparseTensorProduct.from_e3nn(theirs)
    x, y = torch.randn(2, 3, 16), torch.randn(3, 24)
    x = x[..., : theirs.irreps_in1.dim]
    assert torch.allclose(ours(x, y), theirs(x, y.expand(2, 3, 24)), atol=1e-12)
    full = o3.FullTensorProduct("2x0e+1x1o", "3x1o")
    x, y = torch.randn(4, 5), torch.randn(4, 9)
    assert torch.allclose(SparseTensorProduct.from_e3nn(full)(x, y), full(x, y), atol=1e-12)


def test_no_rows_give_no_rows():
    ours = SparseTensorProduct.from_e3nn(filtered(*CASES["uvu"], shared_weights=False))
    out = ours(torch.zeros(0, ours.irreps_in1.dim()), torch.zeros(0, 9), torch.zeros(0, ours.weight_numel))
    assert out.shape == (0, ours.irreps_out.dim())


def test_bad_input(plain):
    with pytest.raises(ValueError, match="have 1e in 1o x 0e"):
        SparseTensorProduct("2x1o", "2x0e", "2x1e", [(0, 0, 0, "uuu", True)])
    with pytest.raises(ValueError, match="multiplicities that fit uvu; got 2, 1 and 3"):
        SparseTensorProduct("2x1o", "1x0e", "3x1o", [(0, 0, 0, "uvu", True)])
    with pytest.raises(ValueError, match="mode among uvw.*'uvx'"):
        SparseTensorProduct("2x1o", "1x0e", "3x1o", [(0, 0, 0, "uvx", True)])
    with pytest.raises(ValueError, match="entries that exist"):
        SparseTensorProduct("2x1o", "1x0e", "3x1o", [(1, 0, 0, "uvw", True)])
    ours = SparseTensorProduct("2x1o", "1x0e", "2x1o", [(0, 0, 0, "uvu", True)], shared_weights=False)
    with pytest.raises(ValueError, match="weight must be given"):
        ours(torch.ones(1, 6), torch.ones(1, 1))
    with pytest.raises(ValueError, match="weight must be .*2.; got shape .1, 3."):
        ours(torch.ones(1, 6), torch.ones(1, 1), torch.ones(1, 3))
    with pytest.raises(TypeError, match="int64"):
        ours(torch.ones(1, 6).long(), torch.ones(1, 1), torch.ones(1, 2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_factors_of_different_dtypes_never_meet(mode, backend, plain):
    y_irreps = IRREPS if mode == "uuu" else "0e+1o+1e"
    ours = SparseTensorProduct.from_e3nn(product(mode, in2=y_irreps), backend=backend)
    x, y = torch.randn(3, 84), torch.randn(3, ours.irreps_in2.dim())
    expected = ours(x, y)
    assert torch.allclose(copy.deepcopy(ours).float()(x, y), expected, atol=1e-4)  # weights follow the inputs
    for other in (torch.float32, torch.bfloat16):
        with pytest.raises(TypeError, match="x and y must have one dtype"):
            ours(x, y.to(other))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(ours(x, y.float()), expected, atol=1e-4)
        assert torch.allclose(ours(x.float(), y.float(), ours.weight.bfloat16()).double(), expected, rtol=0.1, atol=0.1)
    with pytest.raises(ValueError, match="weight must be on the device of x, cpu; got meta"):
        ours(x, y, ours.weight.to("meta"))


@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_a_product_that_was_used_can_be_copied_and_pickled(mode):
    ours = SparseTensorProduct.from_e3nn(product(mode, in2=IRREPS if mode == "uuu" else "0e+1o+1e"))
    x, y = torch.randn(3, 84), torch.randn(3, ours.irreps_in2.dim())
    expected = ours(x, y)
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(again(x, y), expected)


@pytest.mark.parametrize("external", [False, True])
def test_what_e3nn_saved_is_loaded(external):
    options = {"shared_weights": False, "internal_weights": False} if external else {}
    theirs = product("uvu", in2="0e+1o", **options)
    ours = SparseTensorProduct.from_e3nn(theirs)
    saved = theirs.state_dict()
    if not external:
        saved["weight"] = torch.randn_like(saved["weight"])
    ours.load_state_dict(saved)
    assert external or torch.equal(ours.weight, saved["weight"])
    with pytest.raises(RuntimeError, match="Unexpected"):
        ours.load_state_dict({**saved, "weights": torch.ones(1)})


def test_degrees_beyond_the_room_of_the_kernel():
    ours = SparseTensorProduct("2x2e", "30e", "2x32e", [(0, 0, 0, "uvu", True)])
    assert ours._tables() is None
    assert ours(torch.randn(3, 10), torch.randn(3, 61)).isfinite().all()


def test_no_copies_give_no_numbers():
    ours = SparseTensorProduct("0x0e", "0x0e", "0x0e", [(0, 0, 0, "uuu", True)])
    assert ours(torch.zeros(4, 0), torch.zeros(4, 0)).shape == (4, 0)


def test_edges_that_do_not_exist_are_refused(plain):
    ours = SparseTensorProduct.from_e3nn(product("uvu", in2="0e+1o"))
    x, y, ends = torch.randn(4, 84), torch.randn(2, 4), torch.tensor([0, 3])
    for source, target, name in ((ends + 1, ends, "source"), (ends, ends + 1, "target"), (ends - 1, ends, "source")):
        with pytest.raises(IndexError, match=f"{name} must be in 0..3"):
            Graph.of(source, target, 4, 4)
    graph = Graph.of(ends, ends, 4, 4)
    for x_, y_ in ((x[:3], y), (x, y[:1])):
        with pytest.raises(ValueError, match="x, y and weight must have a row for each sender, 4, and each edge, 2"):
            ours.convolve(x_, y_, None, graph)


@pytest.mark.compiler
def test_threads_share_the_work_and_nothing_else():
    ours = SparseTensorProduct.from_e3nn(product("uvu", in2="0e+1o", shared_weights=False))
    x, y = torch.randn(400, 84, requires_grad=True), torch.randn(4000, 4, requires_grad=True)
    w = torch.randn(4000, ours.weight_numel, requires_grad=True)
    graph = Graph.of(*torch.randint(0, 400, (2, 4000)), 400, 400)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            z = ours.convolve(x, y, w, graph)
            found.append([z, *torch.autograd.grad(z.square().sum(), (x, y, w))])
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*found):
        assert torch.allclose(a, b, atol=1e-10)

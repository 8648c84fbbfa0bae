"""Groups in compiled graphs, in low precision, under autocast."""

import pytest
import torch

from tests.groups.cases import GROUPS, draw, gap, near, parts
from torsor.groups import SE, SO, Affine, DirectProduct, E, GLPlus, GroupOfMatrices, Lorentz, O, Sim, Subgroup, linalg

QUICK = ("SO(2)", "SO(3)", "SO(4)", "E(2)", "SE(3)", "GLPlus(2)", "Affine(2)", "Lorentz(1, 3)")
COMPILED = [
    pytest.param(g, id=str(g), marks=[] if g.name in QUICK else pytest.mark.slow)
    for g in GROUPS
    if isinstance(g, GroupOfMatrices) and not draw(g).is_complex()
]


@pytest.mark.parametrize("group", COMPILED)
def test_products_inverses_and_exponentials_compile_into_one_graph(plain, group):
    def both(v, w):
        g = group.exp(v)
        return group.inverse(group.compose(g, group.exp(w)))

    v, w = (0.3 * torch.randn(4, group.dim, dtype=torch.float64) for _ in range(2))
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    assert gap(compiled(v, w), both(v, w)) <= 1e-12


# torch 2.13 instantiates autograd.Function while it traces one, and warns about it
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("n", [2, 3])
def test_polar_factors_and_logarithms_compile_into_one_graph(plain, n):
    def chart(g):
        return *linalg.polar_log(g), SE(n).log(SE(n).from_parts(linalg.polar(g)[1], g[..., 0]), on_failure="nan")

    g = near(GLPlus(n), 4)
    compiled = torch.compile(chart, fullgraph=True, backend="aot_eager")
    assert gap(compiled(g), chart(g)) <= 1e-12


def test_products_compile_with_their_permutations(plain):
    G = DirectProduct(SO(3), next(g for g in GROUPS if g.name == "Symmetric(5)"))
    g, h = draw(G, 4), draw(G, 4, seed=1)
    both = lambda g, h: G.inverse(G.compose(g, h))
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    assert gap(compiled(g, h), both(g, h)) == 0


@pytest.mark.parametrize("group", [SO(2), SO(3), SO(4), SE(3), E(2), GLPlus(2), GLPlus(3), Lorentz(1, 3)], ids=str)
def test_autocast_does_not_reach_group_elements(group):
    g, h = draw(group, 3, dtype=torch.float32), draw(group, 3, seed=1, dtype=torch.float32)
    v = 0.3 * torch.randn(3, group.dim)
    work = lambda: (
        group.compose(g, h),
        group.inverse(g),
        group.exp(v),
        group.log(group.exp(v)),
        group.adjoint(g),
        group.project(g),
    )
    expected = work()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = work()
    assert all(a.dtype == torch.float32 for a in found)
    assert gap(found, expected) <= 1e-6


@pytest.mark.parametrize("group", [SO(2), SO(3), SE(3), O(3), GLPlus(2), Affine(2), Sim(3)], ids=str)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_widened_inside_and_given_back(group, half):
    v = (0.3 * torch.randn(3, group.dim)).to(half)
    g = group.exp(v)
    for result in (g, group.compose(g, g), group.inverse(g), group.log(g), group.adjoint(g)):
        assert result.dtype == half
    assert (group.exp(v.float()) - g.float()).abs().max() <= 4 * torch.finfo(half).eps


def test_gradients_flow_through_whole_chains():
    G = SE(3)
    v = (0.5 * torch.randn(2, 6, dtype=torch.float64)).requires_grad_()
    chain = lambda v: G.log(G.compose(G.inverse(G.exp(v)), G.project(G.exp(2 * v)[..., :, :])))
    torch.testing.assert_close(chain(v), v)
    assert torch.autograd.gradcheck(chain, v)


def test_ascent_from_the_identity_has_a_gradient():
    for group in (SO(2), SO(3), SO(4), SE(3), GLPlus(3), Lorentz(1, 3)):
        v = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)
        group.distance_from_identity(group.exp(v.detach()))
        loss = (group.exp(v) * torch.randn(group.matrix_dim, group.matrix_dim, dtype=torch.float64)).sum()
        loss.backward()
        assert v.grad.isfinite().all()
        assert v.grad.abs().max() > 0


def test_elements_can_be_made_on_any_device():
    for group in GROUPS:
        if not isinstance(group, Subgroup):
            g = group.identity(2, device="meta")
            assert all(t.device.type == "meta" for t in parts(g))

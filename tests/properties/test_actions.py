"""What every action must satisfy, whatever the group."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.cases import EXACT, Case, draw
from torsor import _tree
from torsor.groups import Symmetric

every_case = pytest.mark.parametrize("case", EXACT, ids=str)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return float((a - b).abs().max() / b.abs().max().clamp(min=1)) if a.numel() else 0.0


@every_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), batch=st.sampled_from([(), (4,), (2, 3)]))
def test_an_action_is_a_homomorphism(case: Case, dtype: torch.dtype, seed: int, batch: tuple[int, ...]):
    x, g, h = draw(case, batch, dtype, seed)
    together = case.action(case.group, case.group.compose(g, h), x)
    one_by_one = case.action(case.group, g, case.action(case.group, h, x))
    assert relative(together, one_by_one) < 10 * TOLERANCE[dtype]


@every_case
def test_the_identity_does_nothing(case: Case):
    x, _, _ = draw(case, (4,))
    e = case.group.identity(4, dtype=x.dtype)
    assert relative(case.action(case.group, e, x), x) < 1e-14


@every_case
def test_the_inverse_takes_back(case: Case):
    x, g, _ = draw(case, (4,))
    back = case.action(case.group, case.group.inverse(g), case.action(case.group, g, x))
    assert relative(back, x) < 1e-11


@every_case
def test_empty_batches_stay_empty(case: Case):
    x, g, _ = draw(case, (0,))
    assert case.action(case.group, g, x).shape == (0, *case.shape)


@every_case
def test_middle_axes_are_carried_along(case: Case):
    x, g, _ = draw(case, (3,))
    many = torch.stack([x, 2 * x, -x], 1)
    moved = case.action(case.group, g, many)
    for i, factor in enumerate((1, 2, -1)):
        assert relative(moved[:, i], case.action(case.group, g, factor * x)) < 1e-14


@every_case
def test_vmap_agrees_with_batches(case: Case):
    x, g, _ = draw(case, (4,))
    if isinstance(case.group, Symmetric) or "Nodes" in str(case) or "Pairs" in str(case):
        mapped = torch.stack([case.action(case.group, _tree.map(lambda e, i=i: e[i], g), x[i]) for i in range(4)])
    else:
        mapped = torch.func.vmap(lambda e, y: case.action(case.group, e, y))(g, x)
    assert relative(mapped, case.action(case.group, g, x)) < 1e-13


@every_case
def test_orbit_is_the_action_of_each_element(case: Case):
    x, _, _ = draw(case, (3,))
    _, g, _ = draw(case, (2, 3))
    orbit = case.action.orbit(case.group, g, x)
    for k in range(2):
        one = case.action(case.group, _tree.map(lambda e, k=k: e[k], g), x)
        assert relative(orbit[k], one) < 1e-13


@every_case
def test_orbit_sum_is_the_weighted_sum_of_the_values_moved(case: Case):
    x, g, _ = draw(case, (2, 3))
    weights = torch.rand(2, 3, dtype=torch.float64)
    summed = 0
    for k in range(2):
        one = case.action.embed(case.action(case.group, _tree.map(lambda e, k=k: e[k], g), x[k]))
        summed = summed + weights[k].to(one.dtype).reshape(-1, *(1,) * (one.ndim - 1)) * one
    assert relative(case.action.orbit_sum(case.group, g, weights, x), summed) < 1e-13


@every_case
def test_autocast_does_not_reach_what_is_moved(case: Case):
    x, g, _ = draw(case, (3,), torch.float32)
    moved, several = case.action(case.group, g, x), case.action.orbit(case.group, _tree.map(lambda e: e[None], g), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(case.action(case.group, g, x), moved)
        assert torch.equal(case.action.orbit(case.group, _tree.map(lambda e: e[None], g), x), several)


@every_case
def test_averages_in_the_embedding_commute_with_the_action(case: Case):
    x, g, _ = draw(case, (4,))
    embedded = case.action.embed(x)
    moved = case.action.embedded(case.group, g, embedded)
    assert relative(case.action.embed(case.action(case.group, g, x)), moved) < 1e-11
    again = case.action.embed(case.action.project(embedded))
    assert relative(again, embedded) < 1e-11


@every_case
def test_gradients_are_right(case: Case):
    x, g, _ = draw(case, (2,))
    if "Image" in str(case.action):
        x = x[..., :5, :5]
    assert torch.autograd.gradcheck(lambda y: case.action(case.group, g, y), x.requires_grad_())

"""What makes a group a group, for every group."""

import pickle

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.groups.cases import GROUPS, TOLERANCE, draw, every_dtype, every_group, gap, near, parts

SHAPES = [(), (4,), (2, 3), (0,)]
triples = given(group=st.sampled_from(GROUPS), seed=st.integers(0, 2**31), dtype=st.sampled_from(list(TOLERANCE)))


@every_group
@every_dtype
def test_products_and_inverses_keep_shape_dtype_and_law(group, dtype):
    for shape in SHAPES:
        keeps_the_axioms(group, dtype, shape)


def keeps_the_axioms(group, dtype, shape):
    g, h, k = (draw(group, *shape, seed=s, dtype=dtype) for s in range(3))
    e = group.identity(*shape, dtype=dtype)
    tolerance = TOLERANCE[dtype]
    assert group.batch_shape(g) == shape
    assert gap(group.compose(g, e), g) <= tolerance
    assert gap(group.compose(e, g), g) <= tolerance
    assert gap(group.compose(g, group.inverse(g)), e) <= tolerance
    assert gap(group.compose(group.inverse(g), g), e) <= tolerance
    left, right = group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k))
    assert gap(left, right) <= tolerance


@triples
@settings(max_examples=60, deadline=None)
def test_inverse_reverses_products(group, seed, dtype):
    g, h = draw(group, 3, seed=seed, dtype=dtype), draw(group, 3, seed=seed + 1, dtype=dtype)
    together = group.inverse(group.compose(g, h))
    assert gap(together, group.compose(group.inverse(h), group.inverse(g))) <= 2 * TOLERANCE[dtype]


@triples
@settings(max_examples=60, deadline=None)
def test_elements_products_and_inverses_are_contained_and_strangers_are_not(group, seed, dtype):
    g, h = draw(group, 5, seed=seed, dtype=dtype), draw(group, 5, seed=seed + 1, dtype=dtype)
    for element in (g, group.compose(g, h), group.inverse(g), group.identity(5, dtype=dtype)):
        assert group.contains(element).shape == (5,)
        assert group.contains(element).all()
        group.validate(element)
    assert group.contains(group.discrete_generators(dtype)).all()
    for part in parts(g):
        broken = part.clone()
        broken[1] = 0  # no element of any group here; S_1 has no other tuple of indices
        if part.shape[-1] > 1 or part.is_floating_point():
            expected = torch.tensor([True, False, True, True, True])
            assert torch.equal(group.contains(_replace(g, part, broken)), expected)
        if part.is_floating_point():
            broken[1] = torch.nan
            assert torch.equal(group.contains(_replace(g, part, broken)), expected)


def _replace(g, old, new):
    if isinstance(g, tuple):
        return tuple(_replace(part, old, new) for part in g)
    return new if g is old else g


@triples
@settings(max_examples=60, deadline=None)
def test_project_leaves_elements_where_they_are(group, seed, dtype):
    g = near(group, 4, seed=seed, dtype=dtype)
    assert gap(group.project(g), g) <= 10 * TOLERANCE[dtype]


@every_group
def test_project_returns_to_the_group(group):
    g = near(group, 6, size=0.2)
    moved = _map(g, lambda t: t + 1e-3 * torch.randn_like(t) if not _whole(t) else t)
    back = group.project(moved)
    assert group.contains(back, atol=1e-9).all()
    assert gap(back, g) < 0.05


def _whole(t):
    return not (t.is_floating_point() or t.is_complex())


def _map(g, f):
    return tuple(_map(part, f) for part in g) if isinstance(g, tuple) else f(g)


@every_group
def test_distance_vanishes_at_the_identity_alone(group):
    e, g = group.identity(3, dtype=torch.float64), near(group, 3)
    assert (group.distance_from_identity(e).abs() <= 1e-12).all()
    d = group.distance_from_identity(g)
    assert d.shape == (3,)
    assert (d > 0).all() if group.dim else (d == 0).all()


@every_group
def test_distance_of_an_inverse_and_of_small_elements(group):
    if not group.dim:
        return
    v = torch.randn(4, group.dim, dtype=torch.float64)
    ratio = group.distance_from_identity(group.exp(1e-4 * v)) / group.distance_from_identity(group.exp(2e-4 * v))
    torch.testing.assert_close(ratio, torch.full((4,), 0.5, dtype=torch.float64), atol=1e-3, rtol=0)


@every_group
def test_groups_are_values(group):
    copy = pickle.loads(pickle.dumps(group))
    assert copy == group
    assert hash(copy) == hash(group)
    assert repr(group) == group.name
    assert sum(group == other for other in GROUPS) == 1


@every_group
def test_vmap_agrees_with_batches(group):
    g, h = draw(group, 4), draw(group, 4, seed=1)
    v = 0.3 * torch.randn(4, group.dim, dtype=torch.float64)
    together = torch.func.vmap(group.compose)(g, h)
    assert gap(together, group.compose(g, h)) <= 1e-12
    assert gap(torch.func.vmap(group.inverse)(g), group.inverse(g)) <= 1e-12
    assert gap(torch.func.vmap(group.exp)(v), group.exp(v)) <= 1e-12
    parity = torch.func.vmap(group.parity)(g)
    assert torch.equal(parity, group.parity(g))


@every_group
def test_parity_multiplies(group):
    g, h = draw(group, 8), draw(group, 8, seed=1)
    assert set(group.parity(g).flatten().tolist()) <= {1.0, -1.0}
    torch.testing.assert_close(group.parity(group.compose(g, h)), group.parity(g) * group.parity(h))


@every_group
def test_samples_repeat_with_their_generator(group):
    a, b, c = draw(group, 3, seed=5), draw(group, 3, seed=5), draw(group, 3, seed=6)
    assert gap(a, b) == 0
    assert gap(a, c) > 0 or group.order == 1 or (group.order or 99) < 7

"""Lie algebras: coordinates, exponentials, logarithms, adjoint representations."""

import math

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.groups.cases import GROUPS, TOLERANCE, draw, every_dtype, every_group, gap, near, parts
from torsor.groups import (
    SE,
    SO,
    SU,
    Affine,
    Conformal,
    E,
    GLPlus,
    LogDomainError,
    Lorentz,
    MatrixGroup,
    NotInGroupError,
    O,
    Scaling,
    Sim,
    Sp,
    Symmetric,
    U,
)

f64 = torch.float64
lie = given(
    group=st.sampled_from([g for g in GROUPS if g.dim]),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(list(TOLERANCE)),
)


CONNECTED = [g for g in GROUPS if g.is_compact and g.is_connected and not isinstance(g, MatrixGroup)]


def coordinates(group, *shape, seed=0, dtype=f64, size=1.0):
    return size * torch.randn(*shape, group.dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@every_group
@every_dtype
def test_vee_undoes_hat(group, dtype):
    for shape in ((), (2, 3), (0,)):
        v = coordinates(group, *shape, dtype=dtype)
        assert gap(group.vee(group.hat(v), check=True), v) <= TOLERANCE[dtype]


@every_group
def test_basis_is_hat_of_the_unit_vectors(group):
    assert gap(group.basis(f64), group.hat(torch.eye(group.dim, dtype=f64))) <= 1e-15


@every_group
def test_exp_is_the_matrix_exponential(group):
    v = coordinates(group, 4, size=0.7)
    for a, b in zip(parts(group.hat(v)), parts(group.exp(v)), strict=True):
        if b.is_floating_point() or b.is_complex():
            for X, g in zip(a, b, strict=True):
                assert abs(scipy.linalg.expm(X.numpy()) - g.numpy()).max() <= 1e-12 * (1 + float(g.abs().max()))


@lie
@settings(max_examples=80, deadline=None)
def test_log_undoes_exp_and_exp_undoes_log(group, seed, dtype):
    v = coordinates(group, 5, seed=seed, dtype=dtype, size=0.4)
    g = group.exp(v)
    w = group.log(g)
    assert gap(group.exp(w), g) <= TOLERANCE[dtype]
    assert gap(w, v) <= 20 * TOLERANCE[dtype]


@pytest.mark.parametrize("group", CONNECTED, ids=str)
@every_dtype
def test_log_reaches_all_of_a_connected_compact_group(group, dtype):
    g = draw(group, 200, dtype=dtype)
    v = group.log(g)
    assert gap(group.exp(v), g) <= TOLERANCE[dtype]


@every_group
def test_log_of_the_identity_is_zero(group):
    assert gap(group.log(group.identity(2, dtype=f64)).to(f64), torch.zeros(2, group.dim, dtype=f64)) <= 1e-15


@every_group
def test_adjoint_is_a_representation_and_moves_brackets(group):
    g, h = draw(group, 3), draw(group, 3, seed=1)
    v, w = coordinates(group, 3), coordinates(group, 3, seed=1)
    Ad = group.adjoint(g)
    assert Ad.shape == (3, group.dim, group.dim)
    if not group.dim:
        return
    assert gap(group.adjoint(group.compose(g, h)), Ad @ group.adjoint(h)) <= 1e-11
    moved = (Ad @ v[..., None])[..., 0]
    assert gap(Ad @ group.ad(v), group.ad(moved) @ Ad) <= 1e-11
    assert gap(group.bracket(v, w), -group.bracket(w, v)) <= 1e-13
    assert gap(group.hat(group.bracket(v, w)), _commutator(group.hat(v), group.hat(w))) <= 1e-12
    assert gap(group.exp(moved), group.compose(group.compose(g, group.exp(v)), group.inverse(g))) <= 1e-10


def _commutator(X, Y):
    return tuple(map(_commutator, X, Y)) if isinstance(X, tuple) else X @ Y - Y @ X


@pytest.mark.parametrize("group", [g for g in GROUPS if g.dim], ids=str)
@pytest.mark.parametrize("where", ["origin", "generic"])
def test_exp_has_two_derivatives(group, where):
    v = coordinates(group, 1, size=0.5 * (where == "generic")).requires_grad_()
    exp = lambda v: tuple(t for t in parts(group.exp(v)) if t.is_floating_point() or t.is_complex())
    assert torch.autograd.gradcheck(exp, v, fast_mode=group.dim > 4)
    if group.dim <= 4:
        assert torch.autograd.gradgradcheck(exp, v, fast_mode=True)


CLOSED = [SO(2), SO(3), SE(2), SE(3), GLPlus(2), Affine(2), Sim(3), Lorentz(1, 3), Sp(2)]


@pytest.mark.parametrize("group", CLOSED, ids=str)
@pytest.mark.parametrize("where", ["identity", "generic"])
def test_log_has_derivatives(group, where):
    g = group.exp(coordinates(group, 1, size=0.5 * (where == "generic"))).requires_grad_()
    assert torch.autograd.gradcheck(lambda g: group.log(g, on_failure="nan"), g)


@every_dtype
@pytest.mark.parametrize("group", [SO(2), SO(3), SE(2), SE(3), E(3)], ids=str)
def test_rotations_near_half_a_turn_keep_their_digits(group, dtype):
    axis = torch.nn.functional.normalize(torch.randn(50, group.dim, dtype=dtype), dim=-1)
    if group.is_affine:
        axis[:, -group.n :] = torch.randn(50, group.n, dtype=dtype)
        turn = axis[:, : -group.n]
        turn /= turn.norm(dim=-1, keepdim=True)
    for miss in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9, 0.0):
        v = axis.clone()
        v[:, : SO(group.n).dim] *= math.pi - miss
        assert gap(group.exp(group.log(group.exp(v))), group.exp(v)) <= 20 * torch.finfo(dtype).eps
        if dtype == f64 and miss > 0 and group.n == 3:
            torch.testing.assert_close(group.log(group.exp(v)), v, atol=1e-12, rtol=0)


@every_dtype
@pytest.mark.parametrize("group", [SO(3), SE(2), SE(3)], ids=str)
def test_small_rotations_keep_their_digits(group, dtype):
    v = torch.randn(50, group.dim, dtype=dtype)
    for size in (1e-1, 1e-3, 1e-5, 1e-8):
        w = group.log(group.exp(size * v))
        torch.testing.assert_close(w, size * v, atol=4 * size * torch.finfo(dtype).eps + torch.finfo(dtype).eps, rtol=0)


def test_conventions_of_the_coordinates():
    turn = SO(2).exp(torch.tensor([0.3], dtype=f64))
    torch.testing.assert_close(turn[1, 0], torch.tensor(0.3, dtype=f64).sin())
    about_z = SO(3).exp(torch.tensor([0.0, 0.0, 0.3], dtype=f64))
    torch.testing.assert_close(about_z[:2, :2], turn)
    about_x = SO(3).exp(torch.tensor([0.3, 0.0, 0.0], dtype=f64))
    torch.testing.assert_close(about_x[1:, 1:], turn)
    four = SO(4).exp(torch.tensor([0.3 * 2**0.5, 0, 0, 0, 0, 0], dtype=f64))
    torch.testing.assert_close(four[:2, :2], turn)
    X = SE(3).hat(torch.arange(1.0, 7.0, dtype=f64))
    torch.testing.assert_close(X[:3, 3], torch.tensor([4.0, 5.0, 6.0], dtype=f64))
    assert torch.equal(SE(3).hat(torch.eye(6)), E(3).hat(torch.eye(6)))
    boost = Lorentz(1, 3).hat(torch.tensor([0, 0, 0, 0, 1.0, 0]))
    assert boost[0, 2] == boost[2, 0] == 1
    assert Sim(3).hat(torch.tensor([0, 0, 0, 2.0, 0, 0, 0])).diagonal().tolist() == [2, 2, 2, 0]
    assert torch.equal(Affine(2).hat(torch.arange(6.0))[:2], torch.tensor([[0.0, 1, 4], [2, 3, 5]]))


@pytest.mark.parametrize("group", [g for g in GROUPS if g.dim], ids=str)
def test_bases_are_orthonormal_unless_the_group_says_otherwise(group):
    if isinstance(group.basis(f64), tuple):
        return
    B = group.basis(f64).flatten(1)
    gram = (B @ B.mH).real
    own = ("O(2)", "O(3)", "E(2)", "E(3)", "Sim", "Scaling", "Conformal", "Lorentz", "shears")
    if not any(word in group.name for word in own):
        torch.testing.assert_close(gram, torch.eye(group.dim, dtype=f64))
    else:
        assert torch.linalg.matrix_rank(gram) == group.dim


def test_vee_refuses_what_is_not_in_the_algebra_when_asked():
    with pytest.raises(NotInGroupError, match=r"1 of 3 elements \(first at batch index \(2,\)\) is not in"):
        SO(3).vee(torch.stack([torch.zeros(3, 3), torch.zeros(3, 3), torch.eye(3)]), check=True)
    with pytest.raises(NotInGroupError):
        SE(2).vee(torch.eye(3), check=True)
    with pytest.raises(NotInGroupError):
        SO(2).vee(torch.full((2, 2), torch.nan), check=True)


def test_log_says_where_there_is_none():
    mirror = O(3).discrete_generators()[0]
    g = torch.stack([torch.eye(3), mirror])
    with pytest.raises(
        LogDomainError, match=r"1 of 2 elements \(first at .* \(1,\)\) is without a logarithm in O\(3\)"
    ):
        O(3).log(g)
    v = O(3).log(g, on_failure="nan")
    assert v[0].isfinite().all()
    assert v[1].isnan().all()
    with pytest.raises(LogDomainError):
        GLPlus(2).log(torch.diag(torch.tensor([-1.0, -2.0])))
    with pytest.raises(LogDomainError):
        Symmetric(3).log(torch.tensor([1, 0, 2]))
    with pytest.raises(ValueError, match="on_failure"):
        O(3).log(g, on_failure="ignore")


def test_nan_stays_where_it_is():
    for group in (SO(2), SO(3), SO(4), SE(3), GLPlus(2), GLPlus(3), Affine(2), U(2), Lorentz(1, 3)):
        g = near(group, 3)
        g[1] = torch.nan
        v = group.log(g, on_failure="nan")
        assert v.isnan().any(-1).tolist() == [False, True, False]
        assert not group.contains(g)[1]
        assert group.project(g).isnan().any(-1).any(-1)[1]
        assert not group.project(g).isnan().any(-1).any(-1)[0]


def test_scale_of_a_similarity_is_the_exponential_of_its_coordinate():
    for group in (Sim(2), Sim(3, reflections=True), Conformal(3), Scaling(2)):
        v = coordinates(group, 6)
        place = {Scaling: 0}.get(type(group), SO(group.n).dim)
        torch.testing.assert_close(group.scale(group.exp(v)), v[:, place].exp())


EIGEN = [SO(4), SO(5), SO(6), SO(7)]


@pytest.mark.parametrize("group", EIGEN, ids=str)
def test_log_is_exact_near_half_turns_in_any_dimension(group):
    n, k = group.n, group.n // 2
    misses = torch.tensor([0, 1e-15, 1e-13, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0, math.pi], dtype=f64)
    miss = misses[torch.randint(len(misses), (300, k))]
    J = torch.zeros(300, n, n, dtype=f64)
    for i in range(k):
        J[:, 2 * i + 1, 2 * i], J[:, 2 * i, 2 * i + 1] = math.pi - miss[:, i], miss[:, i] - math.pi
    Q = group.sample(300, dtype=f64)
    g = Q @ torch.linalg.matrix_exp(J) @ Q.mT
    v = group.log(g)
    assert gap(group.exp(v), g) <= 1e-14
    angles = torch.linalg.svdvals(group.hat(v))[:, : 2 * k : 2]
    torch.testing.assert_close(angles, (math.pi - miss).sort(-1, descending=True).values, atol=1e-13, rtol=0)


@pytest.mark.parametrize("group", [SU(2), SU(3), U(3), SO(4), SO(6)], ids=str)
def test_log_of_central_elements(group):
    phase = torch.exp(torch.tensor(2j * math.pi / group.n, dtype=torch.complex128)) if "U" in group.name else -1
    g = phase * group.identity(2, dtype=f64)
    assert gap(group.exp(group.log(g)), g) <= 1e-14


@pytest.mark.parametrize("group", [SO(4), SO(5), U(2), SU(3), E(4), SE(4)], ids=str)
def test_log_on_a_whole_compact_group_has_derivatives(group):
    h = group.from_parts(group.linear_group.sample(1, dtype=f64)) if group.is_affine else group.sample(1, dtype=f64)
    if (group.parity(h) < 0).any():
        h = group.compose(h, group.discrete_generators(f64))
    w = coordinates(group, 1, size=0.2).requires_grad_()
    log = lambda w: group.log(group.compose(h, group.exp(w)))
    assert torch.autograd.gradcheck(log, w)
    assert group.dim > 6 or torch.autograd.gradgradcheck(log, w, fast_mode=True)

"""Factors of elements, and elements from factors."""

import pytest
import torch

from tests.groups.cases import GROUPS, TOLERANCE, draw, every_dtype, gap
from torsor.groups import GL, SL, SO, Affine, E, GLPlus, Levi, Lorentz, O, Sp

CASES = [(g, kind) for g in GROUPS for kind in g.decompositions]


@pytest.mark.parametrize(("group", "kind"), CASES, ids=str)
@every_dtype
def test_recompose_undoes_decompose(group, kind, dtype):
    for shape in ((), (2, 3), (0,)):
        g = draw(group, *shape, dtype=dtype)
        assert gap(group.recompose(group.decompose(g, kind)), g) <= 5 * TOLERANCE[dtype]


@pytest.mark.parametrize("group", [GL(2), GL(3), GLPlus(2), SL(3), O(3), Lorentz(1, 3), Sp(4)], ids=str)
def test_factors_are_what_they_are_called(group):
    g, n = draw(group, 30), group.n
    eye = torch.eye(n, dtype=torch.float64)
    orthogonal = lambda R: (R @ R.mT - eye).abs().max() <= 1e-12
    Y, R = polar = group.decompose(g, "polar")
    assert (Y - Y.mT).abs().max() <= 1e-12
    assert orthogonal(R)
    torch.testing.assert_close(polar.P @ R, g, atol=1e-11, rtol=1e-11)
    if isinstance(group, SL | Lorentz | Sp):
        assert Y.diagonal(dim1=-2, dim2=-1).sum(-1).abs().max() <= 1e-12
        assert group.contains(polar.P, atol=1e-10).all()
        assert group.contains(R, atol=1e-10).all()
    if "lq" not in group.decompositions:
        return
    L, Q = group.decompose(g, "lq")
    assert torch.equal(L, L.tril())
    assert (L.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert orthogonal(Q)
    Q, T = group.decompose(g, "qr")
    assert torch.equal(T, T.triu())
    assert (T.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert orthogonal(Q)
    U, y, V = group.decompose(g, "kak")
    assert orthogonal(U)
    assert orthogonal(V)
    assert (y.diff(dim=-1) <= 0).all()
    positive = torch.linalg.det(g) > 0
    assert (torch.linalg.det(U) > 0).all()
    assert torch.equal(torch.linalg.det(V) > 0, positive)


def test_levi_factors_of_affine_maps():
    g = draw(Affine(3), 10)
    translation, log_scale, core = parts = Affine(3).decompose(g, "levi")
    assert isinstance(parts, Levi)
    torch.testing.assert_close(translation, g[:, :3, 3])
    torch.testing.assert_close(3 * log_scale, torch.linalg.det(g[:, :3, :3]).log())
    torch.testing.assert_close(torch.linalg.det(core), torch.ones(10, dtype=torch.float64))
    shifts, scale, core = E(2).decompose(draw(E(2), 5), "levi")
    assert shifts.shape == (5, 2)
    assert scale.abs().max() <= 1e-14
    assert O(2).contains(core).all()


def test_polar_chart_of_elements_without_a_logarithm():
    g = torch.tensor([[-2.0, 0.0], [0.0, -0.5]], dtype=torch.float64)
    Y, R = SL(2).decompose(g)
    torch.testing.assert_close(Y.diagonal().exp(), torch.tensor([2.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(R, -torch.eye(2, dtype=torch.float64))
    assert SL(2).log(g, on_failure="nan").isnan().all()


def test_recompose_wants_factors():
    with pytest.raises(TypeError, match="parts must come from decompose"):
        SO(3).recompose((torch.eye(3), torch.eye(3)))

"""Irreps: e3nn's words and basis, under rotations, reflections and translations, in space and in the plane."""

import pytest
import torch

from torsor.actions._irreps import Irrep, Irreps
from torsor.actions._rep import Scalar, T, V
from torsor.actions._wigner import wigner_3j
from torsor.groups import SE, SO, Cyclic, DirectProduct, E, GLPlus, O, Symmetric

o3 = pytest.importorskip("e3nn.o3")
WORDS = ["8x0e+4x1o", "0e", "1o + 2x2e + 0x3o", " 3 x 1e+1x0o ", "2y+3y", ""]


@pytest.mark.parametrize("words", WORDS)
def test_strings_are_read_as_e3nn_reads_them(words):
    ours, theirs = Irreps(words), o3.Irreps(words.replace(" x ", "x"))
    assert str(ours) == str(theirs)
    assert ours.dim() == theirs.dim == ours.dim(O(3))
    assert ours.slices() == theirs.slices()
    assert ours.ls == theirs.ls
    assert ours.lmax == (theirs.lmax if len(theirs) else 0)


@pytest.mark.parametrize("words", WORDS)
def test_objects_of_e3nn_are_accepted_and_ours_by_e3nn(words):
    ours = Irreps(words)
    assert Irreps(o3.Irreps(str(ours))) == ours
    assert o3.Irreps(ours) == o3.Irreps(str(ours))
    assert Irreps(ours) == ours == Irreps(list(ours))


def test_single_irreps_and_pairs_are_accepted():
    assert Irreps(o3.Irrep("2e")) == Irreps(Irrep(2, 1)) == Irreps([(1, "2e")]) == Irreps("2e")
    assert Irreps([(3, (1, -1)), "0e", o3.Irrep("1e")]) == Irreps("3x1o+0e+1e")
    assert Irreps("2x1o").entries == ((2, Irrep(1, -1)),)


@pytest.mark.parametrize("group", [O(3), E(3), SO(3), SE(3)], ids=str)
def test_the_matrix_is_e3nns(group):
    torch.set_default_dtype(torch.float64)
    words = "2x0e+1x0o+2x1o+1x1e+1x2e+1x2o+1x5o+1x8e"
    g = group.sample(20)
    theirs = o3.Irreps(words).D_from_matrix(group.linear(g))
    assert (Irreps(words).matrix(group, g) - theirs).abs().max() < 1e-12


def test_parity_tells_vectors_from_pseudovectors():
    mirror = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))
    a, b = torch.randn(2, 3, dtype=torch.float64)
    assert torch.allclose(Irreps("1o")(O(3), mirror, a), mirror @ a)
    turned = torch.linalg.cross(mirror @ a, mirror @ b)
    assert torch.allclose(Irreps("1e")(O(3), mirror, torch.linalg.cross(a, b)), turned)
    triple = torch.ones(1, dtype=torch.float64)
    assert torch.equal(Irreps("0o")(O(3), mirror, triple), -triple)
    assert torch.equal(Irreps("0e")(O(3), mirror, triple), triple)


def test_a_vector_is_1o_and_a_symmetric_traceless_matrix_is_2e():
    g = O(3).sample(6, dtype=torch.float64)
    assert torch.allclose(Irreps("1o").matrix(O(3), g), V.matrix(O(3), g), atol=1e-15)
    C = wigner_3j(1, 1, 2).flatten(0, 1)  # V**2 -> 2e
    assert torch.allclose(C.mT @ T(2).matrix(O(3), g) @ C * 5, Irreps("2e").matrix(O(3), g), atol=1e-14)


def test_translations_do_nothing():
    g = E(3).from_parts(torch.eye(3), torch.ones(3))
    x = torch.randn(Irreps("0e+1o+2e").dim())
    assert torch.allclose(Irreps("0e+1o+2e")(E(3), g, x), x, atol=1e-6)


@pytest.mark.parametrize("l", range(6))
def test_in_the_plane_l_is_a_frequency(l):
    """The harmonic polynomials Re z^l, Im z^l, under turns and mirrors; the other parity is times the determinant."""
    g = O(2).sample(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    det = torch.linalg.det(g)
    assert (det < 0).any()
    x = torch.randn(30, 2, dtype=torch.float64)
    harmonics = lambda x: torch.view_as_real(torch.view_as_complex(x.contiguous()) ** l)[..., : min(l + 1, 2)]
    moved = harmonics((g @ x[..., None])[..., 0])
    natural, other = ("e", "o") if l % 2 == 0 else ("o", "e")
    assert torch.allclose(Irreps(f"{l}{natural}")(O(2), g, harmonics(x)), moved, atol=1e-12)
    assert torch.allclose(Irreps(f"{l}{other}")(O(2), g, harmonics(x)), det[:, None] * moved, atol=1e-12)
    assert Irreps(f"3x{l}{natural}").dim(O(2)) == (3 if l == 0 else 6)


def test_slices_depend_on_the_space():
    rep = Irreps("2x0e+3x1o+2e")
    assert rep.slices(Cyclic(5)) == [slice(0, 2), slice(2, 8), slice(8, 10)]
    assert rep.slices() == rep.slices(SO(3)) == [slice(0, 2), slice(2, 11), slice(11, 16)]


def test_float32_elements_and_values():
    g, rep = O(3).sample(50), Irreps("0o+2x1e+3o+8e")
    x = torch.randn(50, rep.dim())
    exact = rep(O(3), g.double(), x.double())
    assert rep(O(3), g, x).dtype == torch.float32
    assert (rep(O(3), g, x) - exact).norm() / exact.norm() < 1e-6
    assert rep(O(3), g, x.double()).dtype == torch.float64


def test_irreps_in_the_algebra():
    assert Irreps("0e") + Irreps("1o") == Irreps("0e+1o")
    assert Irreps("1o", per="edge") + Irreps("0e", per="edge") == Irreps("1o+0e", per="edge")
    assert (Irreps("2x1o") + V).dim(SO(3)) == 9
    assert Irreps("1o").dual == Irreps("1o")
    types = (Irreps("2x0e+1o+1e") + Scalar() + V).canonical(O(3)).types
    assert [(t.size, t.copies) for t in types] == [(1, 3), (3, 1), (3, 1), (3, 1)]
    assert repr(Irreps("0e", per="node")) == "Irreps('1x0e', per='node')"
    assert Irreps("0e+3o").degree == 3


def test_empty_irreps_have_no_axis():
    for group in (SO(3), O(2)):
        g = group.sample(4)
        assert Irreps("").matrix(group, g).shape == (4, 0, 0)
        assert Irreps("0x1o")(group, g, torch.zeros(4, 2, 0)).shape == (4, 2, 0)
        assert Irreps("").dmatrix(group, torch.zeros(2, group.dim)).shape == (2, 0, 0)


@pytest.mark.parametrize("words", ["8x", "1z", "x1o", "1o++2e", "-1x0e", "1.5x0e"])
def test_words_that_are_no_irreps_are_refused(words):
    with pytest.raises(ValueError, match='must read like "8x1o"'):
        Irreps(words)


@pytest.mark.parametrize("entries", [[(1, (1, 2))], [(-1, (1, 1))], [(1, (-1, 1))], [3], [(1, 2, 3)]])
def test_pairs_that_are_no_irreps_are_refused(entries):
    with pytest.raises(ValueError, match="pair \\(copies, irrep\\)"):
        Irreps(entries)


@pytest.mark.parametrize("group", [GLPlus(3), SO(4), Symmetric(3), DirectProduct(SO(3), Symmetric(3))], ids=str)
def test_groups_without_irreps_are_refused(group):
    with pytest.raises(TypeError, match="act.* on R\\^2 or R\\^3 by orthogonal matrices"):
        Irreps("1o").dim(group)


def test_integer_values_are_refused():
    with pytest.raises(TypeError, match="floating-point tensor for 1x1o; got torch.int64"):
        Irreps("1o")(SO(3), SO(3).identity(), torch.zeros(3, dtype=torch.int64))

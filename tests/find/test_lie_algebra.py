"""The algebra of a law: rediscovered without candidates, and the level at which it is broken."""

import pytest
import torch

from torsor import find
from torsor.actions import Scalar, T, V
from torsor.data import inertia_law
from torsor.groups import SO, O, Scaling, embed

REPS = 5 * Scalar() + 5 * V


def points(n=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mass = torch.nn.functional.softplus(torch.randn(n, 5, generator=generator, dtype=torch.float64))
    return torch.cat([mass, torch.randn(n, 15, generator=generator, dtype=torch.float64)], 1)


def found(alpha, **options):
    return find.lie_algebra(inertia_law(5, alpha), points(), REPS, T(2), d=3, **options)


def test_rotations_and_a_scaling_that_nobody_listed_are_found_on_the_inertia_law():
    report = found(0.0)
    assert report.dim == 4
    assert report.name == "so(3) + scaling"
    assert report.levels[:4].max() <= 1e-14
    assert report.levels[4:].min() >= 1.4
    assert report.closure < 1e-12


@pytest.mark.parametrize(("alpha", "level"), [(0.01, 0.0022), (0.1, 0.0211), (0.3, 0.056), (-1.0, 0.36)])
def test_the_level_of_breaking_is_read_off(alpha, level):
    report = found(alpha)
    assert report.dim == 2
    assert report.name == "so(2) + scaling"
    assert report.levels[:2].max() <= 1e-14
    assert report.levels[2:4].tolist() == pytest.approx([level, level], rel=0.15)
    assert report.approximate == 2
    if alpha != -1:  # with a whole column struck out the other two generators are rotations no more
        assert report.approximate_name == "so(3) + scaling"


def test_candidates_are_read_off_the_same_matrix():
    about_z, about_x = (embed(SO(2), axes, 3) for axes in [(0, 1), (1, 2)])
    report = found(0.1, candidates=[SO(3), about_z, about_x, Scaling(3)])
    assert [b.inside for b in report.breaking] == [False, True, False, True]
    assert report.breaking[0].level >= report.breaking[2].level > report.levels[2]
    assert "SO(3): broken at the level" in report.words


def test_generators_span_what_they_are_called():
    turns = found(0.0).algebra
    so3 = SO(3).basis(torch.float64).flatten(1)
    scaling = torch.eye(3, dtype=torch.float64).reshape(1, 9)
    for X in torch.cat([so3, scaling]):
        inside = turns.flatten(1).mT @ (turns.flatten(1) @ X)
        assert torch.allclose(inside, X, atol=1e-12)


@pytest.mark.parametrize(
    ("law", "rep_in", "d", "name"),
    [
        (lambda x: torch.linalg.det(x.unflatten(1, (3, 3))).unsqueeze(1), 3 * V, 3, "sl(3)"),
        (lambda x: torch.linalg.det(x.unflatten(1, (2, 2))).unsqueeze(1), 2 * V, 2, "sl(2)"),
        (lambda x: (x[:, :1] ** 2 - x[:, 1:].square().sum(1, keepdim=True)).exp(), V, 4, "so(1, 3)"),
        (lambda x: x.square().sum(1, keepdim=True), V, 4, "so(4)"),
        (lambda x: x[:, :1] / x[:, 1:2].exp(), V, 2, "none"),
    ],
    ids=["volume", "area", "interval", "length", "nothing"],
)
def test_algebras_are_called_by_their_names(law, rep_in, d, name):
    X = 0.5 * torch.randn(80, rep_in.dim(SO(d)), dtype=torch.float64)
    assert find.lie_algebra(law, X, rep_in, Scalar(), d).name == name


def test_covectors_are_no_vectors_under_all_matrices():
    """T(1, 1) for a pairing, T(2) for a form: they differ as soon as lengths move."""
    X = torch.randn(40, 6, dtype=torch.float64)
    pairing = lambda x: (x[:, :3] * x[:, 3:]).sum(1, keepdim=True)
    assert find.lie_algebra(pairing, X, V + V.dual, Scalar(), 3).name == "gl(3)"
    assert find.lie_algebra(pairing, X, 2 * V, Scalar(), 3).name == "so(3)"


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_in_words():
    X = torch.randn(5, 3, dtype=torch.float64)
    for bad, words in (
        (lambda: find.lie_algebra(lambda x: x, X, 2 * V, V, 3), r"X must be \(n, 6\)"),
        (lambda: find.lie_algebra(lambda x: x[:, :2], X, V, V, 3), r"f must return \(5, 3\)"),
        (lambda: find.lie_algebra(lambda x: x, X * torch.nan, V, V, 3), "X must be finite"),
        (lambda: find.lie_algebra(lambda x: x / (x - x), X, V, V, 3), "finite values"),
        (lambda: find.lie_algebra(lambda x: 0 * x, X, V, V, 3), "vanish"),
        (lambda: find.lie_algebra(lambda x: x, X, V, V, 3, tol=-1.0), "tol must be positive"),
    ):
        with pytest.raises(ValueError, match=words):
            bad()
    with pytest.raises(TypeError, match="candidates must act on R\\^3"):
        find.lie_algebra(lambda x: x, X, V, V, 3, candidates=[O(2)])
    with pytest.raises(TypeError, match="rep_in must be a Rep"):
        find.lie_algebra(lambda x: x, X, "V", V, 3)

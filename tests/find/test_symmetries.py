"""The front door: actions instead of representations, translations, candidates, data instead of a function."""

import math

import pytest
import torch

from torsor import find
from torsor.actions import Point, Scalar, Tensor, V, Vector
from torsor.data import inertia_law
from torsor.groups import SO, O, Scaling, embed

NODE = Vector(per="node")
about_z, about_x = (embed(O(2), axes, 3) for axes in [(0, 1), (1, 2)])


def masses_and_positions(n=64):
    generator = torch.Generator().manual_seed(0)
    mass = torch.nn.functional.softplus(torch.randn(n, 5, generator=generator, dtype=torch.float64))
    return mass, torch.randn(n, 5, 3, generator=generator, dtype=torch.float64)


def law(alpha):
    return lambda m, r: inertia_law(5, alpha)(torch.cat([m, r.flatten(1)], 1)).unflatten(1, (3, 3))


ACTIONS = ((Scalar(), NODE), Tensor(2))


def test_actions_find_what_representations_find():
    found = find.symmetries(law(0.0), masses_and_positions(), *ACTIONS)
    assert (found.dim, found.name) == (4, "so(3) + scaling")
    assert found.levels[3] <= 1e-14


def test_each_candidate_has_its_level_and_its_error_over_the_whole_group():
    found = find.symmetries(law(0.1), masses_and_positions(), *ACTIONS, candidates=[O(3), about_z, about_x, Scaling(3)])
    assert [b.inside for b in found.breaking] == [False, True, False, True]
    # a generator near those of O(3) is better kept than they are
    assert found.levels[3] < found.breaking[0].level == pytest.approx(0.058, rel=0.1)
    assert found.breaking[1].error < 1e-14
    assert found.breaking[0].error > 0.005
    assert found.breaking[0].error_se < 0.2 * found.breaking[0].error
    low, high = found.breaking[0].interval
    assert low < found.breaking[0].level < 1.2 * high


def test_translations_are_found_where_there_are_points():
    x = torch.randn(50, 4, 3, dtype=torch.float64)
    centred = lambda x: (x - x.mean(1, keepdim=True)).square().sum((1, 2), keepdim=True).squeeze(2)
    found = find.symmetries(centred, x, Point(per="node"), Scalar(), candidates=[SO(3)])
    assert found.name == "so(3) + translations"
    heavy = lambda x: (x - x.mean(1, keepdim=True)).square().sum((1, 2)).unsqueeze(1) + x[:, :, 2].mean(1, keepdim=True)
    assert find.symmetries(heavy, x, Point(per="node"), Scalar(), d=3).name == "so(2) + 2 of 3 translations"


def test_reflections_show_in_the_error_and_the_jump_and_not_in_the_level():
    x = torch.randn(50, 3, 3, dtype=torch.float64)
    volume = lambda x: torch.linalg.det(x).unsqueeze(1)
    found = find.symmetries(volume, x, NODE, Scalar(), candidates=[O(3), SO(3)])
    assert found.name == "sl(3)"
    assert [b.inside for b in found.breaking] == [False, True]
    assert found.breaking[0].level < 1e-12
    assert math.isclose(found.breaking[0].jump, 2.0)
    assert found.components == ()
    assert found.breaking[0].error > 0.3
    assert found.breaking[1].error < 1e-12


@pytest.mark.parametrize(("pitch", "name"), [(3.0, "so(2) with a shift along it"), (None, "so(3)")])
def test_a_screw_is_no_rotation(pitch, name):
    x = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def thread(x):
        r = (x[:, 0] - 1).square() + x[:, 1].square()  # about an axis, or a centre, that is not the origin
        if pitch is None:
            return (r + x[:, 2].square()).unsqueeze(1)
        turned = torch.atan2(x[:, 1], x[:, 0] - 1) - x[:, 2] / pitch
        return (r + r * turned.sin()).unsqueeze(1)

    assert find.symmetries(thread, x, Point(), Scalar(), d=3, starts=0).name == name


def test_what_finite_elements_contradict_is_not_called_exact():
    x = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    square = lambda x: x.square().sum(1, keepdim=True)
    for f, words in (
        (lambda x: x[:, :1].sign(), "must be what its derivative says"),
        (lambda x: square(x) + x[:, :1].detach() ** 3, "must be what its derivative says"),
        (lambda x: square(x) + (x[:, :1] > 0), "must be what its derivative says"),
        (lambda x: torch.nn.functional.dropout(square(x)), "same values each time"),
    ):
        with pytest.raises(ValueError, match=words):
            find.lie_algebra(f, x, V, Scalar(), 3)
        with pytest.raises(ValueError, match=words):
            find.symmetries(f, x, Vector(), Scalar(), d=3)


def test_a_plane_says_nothing_about_what_leaves_it(plain):
    x = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    square = lambda x: x.square().sum(1, keepdim=True)
    for off in (0.0, 1e-8):
        flat = x * torch.tensor([1.0, 1.0, off])
        with pytest.raises(ValueError, match="X must span the space: 3 of 9 directions"):
            find.lie_algebra(square, flat, V, Scalar(), 3)
        with pytest.raises(ValueError, match="X must span the space: 3 of 9 directions"):
            find.symmetries(square, flat, Vector(), Scalar(), d=3)
    assert find.lie_algebra(square, x * torch.tensor([1, 1, 1e-3]), V, Scalar(), 3).name == "so(3)"


def test_a_function_may_change_its_argument():
    x = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    square = lambda x: x.mul_(2).square().sum(1, keepdim=True)
    assert find.lie_algebra(square, x, V, Scalar(), 3).name == "so(3)"
    assert find.symmetries(square, x, Vector(), Scalar(), d=3).name == "so(3)"
    assert torch.equal(x, before)


def test_on_a_line_there_is_a_reflection():
    x = torch.randn(9, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert find.lie_algebra(lambda x: x**2, x, V, Scalar(), 1, starts=2).count == 2


def test_data_are_learned_and_the_floor_is_said():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, 2, generator=generator)
    y = x.square().sum((1, 2)).unsqueeze(1)
    found = find.symmetries((x, y), inputs=NODE, output=Scalar(), candidates=[SO(2)])
    assert found.r2 > 0.9
    assert 0 < found.floor < 0.5
    assert found.tol == found.floor
    assert found.breaking[0].level < 2 * found.floor
    assert "R²" in found.words
    assert "Exact" not in found.words
    assert found.levels[-1] > 3 * found.floor


@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_in_words():
    mass, r = masses_and_positions(8)
    with pytest.raises(TypeError, match="pair"):
        find.symmetries((r,), inputs=NODE, output=Scalar())
    with pytest.raises(ValueError, match="finite"):
        find.symmetries(law(0.0), (mass, r * torch.nan), *ACTIONS)
    with pytest.raises(ValueError, match="at least 20 samples"):
        find.symmetries((r, r), inputs=NODE, output=NODE)
    with pytest.raises(ValueError, match="tol must be positive"):
        find.symmetries(law(0.0), (mass, r), *ACTIONS, tol=0.0)
    with pytest.raises(ValueError, match="vanish"):
        find.symmetries(lambda m, r: torch.zeros(8, 3, 3), (mass, r), *ACTIONS)
    with pytest.raises(ValueError, match="d must say"):
        find.symmetries(lambda x: x, mass, Scalar(), Scalar())

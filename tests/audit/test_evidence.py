"""The worst element, the curve and the search for jumps find what is known to be there."""

import itertools
import math

import pytest
import torch

from tests.audit.cases import CLOUD, normal
from torsor import Symmetry, audit
from torsor.actions import Nodes, Point, Scalar, Vector
from torsor.build import FrameAveraging
from torsor.build.frames import PCAFrame
from torsor.groups import SE, SO, Cyclic, E, Symmetric, Translation
from torsor.groups.measure import Window

ONLY = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
WORST, CURVE, CONTINUITY = ({**ONLY, name: True} for name in ("worst", "curve", "continuity"))

ARROW = torch.tensor([[0.8, 0.6]], dtype=torch.float64)
PLANE = Symmetry(SO(2), Vector(), Scalar())


def leaning(x):
    """1 + x_1 / 2: the errors of a unit vector at u_0 = x_1 / 2 are |u - u_0| / (2 + u + u_0), u in [-1/2, 1/2]."""
    return 1 + x[:, 0] / 2


def deaf(x):
    return leaning(x.detach())


WORST_OF_ARROW = (0.5 + 0.4) / (2 - 0.5 + 0.4)


def test_ascent_finds_a_worst_case_that_is_known():
    report = audit.equivariance(leaning, PLANE, ARROW, samples=2, **WORST)
    assert report.worst.found_by == "gradient ascent"
    assert report.worst.error == pytest.approx(WORST_OF_ARROW, rel=1e-5)
    assert report.worst.element @ ARROW[0] == pytest.approx([-1.0, 0.0], abs=1e-2)
    assert report.worst.within == "all of SO(2)"


def test_local_search_finds_it_where_there_is_no_gradient():
    report = audit.equivariance(deaf, PLANE, ARROW, samples=2, **WORST)
    assert report.worst.found_by == "random search and local refinement"
    assert report.worst.error == pytest.approx(WORST_OF_ARROW, rel=1e-3)


def test_small_finite_groups_are_searched_whole():
    symmetry = Symmetry(Cyclic(7), Vector(), Scalar())
    report = audit.equivariance(leaning, symmetry, ARROW, samples=1, **WORST)
    turned = Cyclic(7).elements(torch.float64) @ ARROW[0]
    errors = (turned[:, 0] - 0.8).abs() / (4 + turned[:, 0] + 0.8)
    assert report.worst.found_by == "all 7 elements"
    assert report.worst.error == pytest.approx(float(errors.max()), rel=1e-12)


def test_large_permutation_groups_are_searched_by_transpositions():
    weight = torch.arange(6.0, dtype=torch.float64)

    def f(h):
        return 60 + h[..., 0] @ weight

    h = normal(1, 6, 1)(torch.float64)
    report = audit.equivariance(f, Symmetry(Symmetric(6), Nodes(-2), Scalar()), h, **WORST)
    values = torch.tensor([60 + weight @ h[0, list(p), 0] for p in itertools.permutations(range(6))])
    best = ((values - f(h)).abs() / (values + f(h))).max()
    assert report.worst.error > 0.95 * float(best)
    assert sorted(report.worst.element.tolist()) == list(range(6))
    assert report.worst.kind == f"permutation {report.worst.element.tolist()}"


def test_the_worst_element_is_really_that_bad():
    x = CLOUD(torch.float64)
    report = audit.equivariance(lambda x: x.abs(), Symmetry(SO(3), Vector(), Vector()), x, **WORST)
    sample, g = report.worst.sample, report.worst.element
    p, q = (x[sample] @ g.T).abs(), x[sample].abs() @ g.T
    assert report.worst.error == pytest.approx(float((p - q).norm() / (p.norm() + q.norm())), rel=1e-12)
    assert report.worst.error >= max(found.largest for found in report.per_output.values())


def test_the_search_stays_where_the_law_reaches():
    """An error that grows with the translation is sought up to what the law draws, not to infinity."""

    def f(x):
        return x[..., 0].square().mean(1)

    x = CLOUD(torch.float64)
    law = Translation(3).default_proposal(translation_scale=2.0)
    report = audit.equivariance(f, Symmetry(Translation(3), Point(), Scalar()), x, proposal=law, **WORST)
    assert 4 < float(report.worst.element[:3, 3].norm()) < 12
    limit = float(report.worst.within.removeprefix("translation up to "))
    assert float(report.worst.element[:3, 3].norm()) == pytest.approx(limit, rel=2e-3)


def test_a_window_of_rotations_is_not_left():
    law = Window(SO(2), 0.4)
    report = audit.equivariance(leaning, PLANE, ARROW, proposal=law, **WORST)
    angle = math.atan2(float(report.worst.element[1, 0]), float(report.worst.element[0, 0]))
    assert 0.35 < abs(angle) < 0.41
    assert report.law == law.describe()


def test_the_curve_rises_from_zero_with_the_angle():
    """E|cos(a + t) - cos a| = (4/pi) sin(t/2): the mean error of 1 + alpha cos is alpha (2/pi) sin(t/2)."""
    angle = torch.arange(4000, dtype=torch.float64) * 2 * math.pi / 4000
    x = torch.stack([angle.cos(), angle.sin()], -1)
    curve = audit.equivariance(lambda x: 1 + 1e-3 * x[:, 0], PLANE, x, samples=1, **CURVE).curve
    for distance, error, (low, high) in zip(curve.distances, curve.errors, curve.intervals, strict=True):
        assert error == pytest.approx(1e-3 * 2 / math.pi * math.sin(distance / 2), rel=1e-2)
        assert low < error < high
    assert curve.distances[0] < 0.5
    assert curve.distances[-1] > 2.5


def test_the_curve_of_a_finite_group_has_its_distances():
    x = normal(64, 2)(torch.float64)
    curve = audit.equivariance(
        lambda x: x.abs().sum(-1), Symmetry(Cyclic(8), Vector(), Scalar()), x, samples=4, **CURVE
    ).curve
    assert curve.distances == pytest.approx([k * math.pi / 4 for k in range(5)], abs=1e-6)
    assert curve.errors[0] == 0
    assert curve.errors[2] == pytest.approx(0, abs=1e-12)
    assert curve.errors[1] > 0.05


CUBE = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)), dtype=torch.float64).expand(3, 8, 3)


def frame_averaged(on_degenerate: str = "ignore") -> FrameAveraging:
    def net(x):
        return (x @ torch.arange(9.0, dtype=x.dtype).reshape(3, 3).sin()).tanh() + x.roll(1, -1).square()

    return FrameAveraging(net, Symmetry(SE(3), Point(), Vector()), PCAFrame(on_degenerate=on_degenerate))


def test_a_frame_that_jumps_at_a_cube_is_flagged():
    net = frame_averaged()
    found = audit.equivariance(net, net.symmetry, CUBE, **CONTINUITY)
    at_the_inputs = found.continuity.searches[0]
    assert at_the_inputs.jumps
    assert at_the_inputs.change > 0.01
    assert at_the_inputs.step == pytest.approx(1e-7)
    assert "f jumps" in found.words
    assert found.verdict != "exact"  # rounding itself makes the frame jump, which must not count as a floor
    assert found.floor <= 2e-8


def test_a_smooth_function_does_not_jump_at_a_cube():
    found = audit.equivariance(
        lambda x: x * x.square().sum(-1, keepdim=True).tanh(), Symmetry(SO(3), Vector(), Vector()), CUBE, **CONTINUITY
    )
    assert not found.continuity.jumps
    assert "No jump" in str(found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_canonicaliser_that_jumps_is_flagged_at_generic_inputs(dtype: torch.dtype):
    """The longest vector: equivariant, and it changes where two lengths meet."""

    def longest(x):
        return x.gather(1, x.norm(dim=-1).argmax(1)[:, None, None].expand(-1, 1, 3))[:, 0]

    symmetry = Symmetry(SO(3), Vector(), Vector())
    found = audit.equivariance(longest, symmetry, normal(32, 8, 3)(dtype), **CONTINUITY)
    here, segments = found.continuity.searches
    assert found.verdict == "exact"
    assert not here.jumps
    assert segments.jumps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    "function", [torch.relu, torch.abs, lambda x: (20 * x).tanh(), lambda x: x.norm(dim=-1, keepdim=True).sqrt() * x]
)
def test_kinks_and_steep_slopes_are_no_jumps(function, dtype: torch.dtype):
    symmetry = Symmetry(SO(3), Vector(), Vector())
    assert not audit.equivariance(function, symmetry, CLOUD(dtype), **CONTINUITY).continuity.jumps


def test_a_frame_jumps_on_a_path_through_a_cube_between_generic_ends():
    net = frame_averaged()
    start = CUBE[:1] + 0.1 * normal(1, 8, 3)(torch.float64)
    through = audit.equivariance(net, net.symmetry, start, path=2 * CUBE[:1] - start, **CONTINUITY)
    away = audit.equivariance(net, net.symmetry, start, path=1.1 * start, **CONTINUITY)
    here, along = through.continuity.searches
    assert (here.jumps, along.jumps) == (False, True)
    assert along.place == "the given path"
    assert along.change > 1e-2
    assert not away.continuity.jumps


def test_a_step_on_a_given_path_is_found():
    def step(x):
        return x * (1 + (x[:, :1, :1] > 0.123))

    x = torch.zeros(2, 3, 3, dtype=torch.float64)
    x[:, 1:] = 1.0
    end = x.clone()
    end[0, 0, 0] = 1.0
    found = audit.equivariance(step, Symmetry(SO(3), Vector(), Vector()), x, path=end, **CONTINUITY)
    search = found.continuity.searches[1]
    assert search.jumps
    assert search.sample == 0
    assert search.change == pytest.approx(1.0)


def test_labels_are_not_changed_by_a_little():
    def by_kind(x, kind):
        assert bool((kind == kind.round()).all())
        return x * kind

    symmetry = Symmetry(E(3), (Vector(), Scalar()), Vector())
    x, kind = normal(4, 3, 3)(torch.float32), torch.randint(1, 5, (4, 3, 1)).float()
    report = audit.equivariance(by_kind, symmetry, (x, kind))
    assert report.verdict == "exact"


def test_without_a_real_number_there_is_nothing_to_change():
    adjacency = (torch.rand(3, 5, 5) > 0.5).to(torch.float32)
    report = audit.equivariance(
        lambda a: a.sum(-1), Symmetry(Symmetric(5), Nodes(-2), Scalar()), adjacency, **CONTINUITY
    )
    assert report.continuity.searches == ()
    assert "no input can be changed" in report.continuity.reason

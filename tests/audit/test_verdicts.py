"""Exact is called exact, broken broken, and what stands between gets its right size."""

import math

import pytest
import torch
from torch import nn

from tests.audit.cases import CHARGES, CLOUD, EXACT, PERMUTATIONS, SPACE, VELOCITIES, Case, normal, repel, spread
from tests.properties import cases as actions
from torsor import Symmetry, audit
from torsor.actions import Image, Nodes, Point, PseudoVector, Scalar, Vector, over_middle_axes
from torsor.build import FrameAveraging, GroupAverage
from torsor.groups import SO, Cyclic, E, O, Symmetric

QUICK = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
BAR = {torch.float64: 1e-12, torch.float32: 1e-5}


@DTYPES
@pytest.mark.parametrize("case", EXACT, ids=str)
def test_what_is_equivariant_on_paper_is_exact(case: Case, dtype: torch.dtype):
    report = audit.equivariance(case.function, case.symmetry, case.inputs(dtype), samples=3, **QUICK)
    assert report.error < BAR[dtype]
    assert report.verdict == "exact", report.words


@pytest.mark.parametrize("case", actions.EXACT, ids=str)
def test_doing_nothing_is_equivariant_under_every_action(case: actions.Case):
    x, _, _ = actions.draw(case, (4,))
    report = audit.equivariance(lambda x: x, Symmetry(case.group, case.action, case.action), x, samples=1, **QUICK)
    assert report.verdict == "exact"
    assert report.error < 1e-12


class WrongNodes(Nodes):
    """Permutes by the inverse."""

    def __call__(self, group, g, x):
        moved = x.movedim(self.axis, -1)
        return moved.take_along_dim(over_middle_axes(g, moved, 1), -1).movedim(-1, self.axis)


PERCEPTRON = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3)).double()
GRID = torch.arange(17.0) - 8


def blobs() -> torch.Tensor:
    centres = normal(8, 3, 2)(torch.float32) * 2
    square = (GRID - centres[..., 0, None, None]).square() + (GRID[:, None] - centres[..., 1, None, None]).square()
    return torch.exp(-square / 6).sum(1, keepdim=True)


def centre_of_mass(image):
    return torch.stack([(image * GRID).sum((1, 2, 3)), (image * GRID[:, None]).sum((1, 2, 3))], -1) / image.sum(
        (1, 2, 3)
    ).unsqueeze(-1)


BROKEN = {
    "wrong parity": (torch.linalg.cross, Symmetry(O(3), (Vector(), Vector()), Vector()), (CLOUD, VELOCITIES)),
    "wrong sense": (
        lambda x: x * torch.tensor([1.0, -1.0], dtype=x.dtype),
        Symmetry(SO(2), Vector(), Vector()),
        (normal(6, 2),),
    ),
    "wrong permutation inverse": (lambda x: x, Symmetry(Symmetric(5), Nodes(-2), WrongNodes(-2)), (CLOUD,)),
    "forgotten translation": (spread, Symmetry(E(3), Point(), Point()), (CLOUD,)),
    "a plain perceptron": (PERCEPTRON, Symmetry(SO(3), Vector(), Vector()), (CLOUD,)),
    "a vector that is called a pseudovector": (lambda x: x, Symmetry(O(3), Vector(), PseudoVector()), (CLOUD,)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_broken(name: str):
    function, symmetry, makers = BROKEN[name]
    report = audit.equivariance(function, symmetry, tuple(make(torch.float64) for make in makers), **QUICK)
    assert report.verdict == "broken", report.words
    assert report.error > 0.1
    assert report.interval[0] <= report.error <= report.interval[1]


def unit(samples: int) -> torch.Tensor:
    angle = torch.rand(samples, dtype=torch.float64) * 2 * math.pi
    return torch.stack([angle.cos(), angle.sin()], -1)


@pytest.mark.parametrize("alpha", [1e-2, 1e-6, 1e-10])
def test_a_small_breaking_is_approximate_and_has_its_closed_form_size(alpha: float):
    """E|cos a - cos b| = 8/pi^2, so the mean error of 1 + alpha cos is 4 alpha / pi^2 to first order."""
    report = audit.equivariance(
        lambda x: 1 + alpha * x[:, 0], Symmetry(SO(2), Vector(), Scalar()), unit(2000), samples=4, **QUICK
    )
    assert report.verdict == "approximate"
    assert report.error == pytest.approx(4 * alpha / math.pi**2, rel=0.03)
    assert report.interval[0] < 4 * alpha / math.pi**2 < report.interval[1]


def test_the_verdict_is_that_of_the_worst_output():
    def f(x):
        return {"good": x.norm(dim=-1), "bad": x[..., 0]}

    report = audit.equivariance(
        f, Symmetry(SO(3), Vector(), {"good": Scalar(), "bad": Scalar()}), CLOUD(torch.float64), **QUICK
    )
    assert report.verdict == "broken"
    assert {name: found.verdict for name, found in report.per_output.items()} == {"good": "exact", "bad": "broken"}
    assert "bad broken" in report.words


def test_no_translation_hides_an_error():
    def leans(x):
        return x + 0.5 * spread(x).abs()

    x = CLOUD(torch.float64)
    scene = (x, VELOCITIES(x.dtype), CHARGES(x.dtype))
    errors = []
    for scale in (1.0, 1000.0):
        law = E(3).default_proposal(translation_scale=scale)
        errors.append(audit.equivariance(leans, Symmetry(E(3), Point(), Point()), x, proposal=law, **QUICK).error)
        assert audit.equivariance(repel, SPACE, scene, proposal=law, **QUICK).verdict == "exact"
    assert errors[0] > 0.1
    assert errors[1] == pytest.approx(errors[0], rel=1e-9)


def test_frame_averaging_makes_a_broken_network_exact():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 3))

        def forward(self, x, v, q):
            return x + self.net(torch.cat([x, v, q], -1)).flip(1)

    net, scene = Net(), (CLOUD(torch.float32), VELOCITIES(torch.float32), CHARGES(torch.float32))
    assert audit.equivariance(net, SPACE, scene, **QUICK).verdict == "broken"
    report = audit.equivariance(FrameAveraging(net, SPACE), SPACE, scene, **{**QUICK, "float64": True})
    assert report.verdict == "exact"
    assert report.error < 1e-5
    assert report.float64.error < 1e-12


def test_each_kind_of_element_is_judged_apart():
    report = audit.equivariance(
        torch.linalg.cross,
        Symmetry(O(3), (Vector(), Vector()), Vector()),
        (CLOUD(torch.float64), VELOCITIES(torch.float64)),
        **{**QUICK, "parts": True},
    )
    verdicts = {part.name: (part.verdict, round(part.error, 6)) for part in report.parts}
    assert verdicts == {"rotations": ("exact", 0.0), "reflections": ("broken", 1.0)}
    assert "rotations exact; reflections broken" in report.words


def test_translations_and_factors_are_judged_apart():
    x = CLOUD(torch.float64)

    def forgets_translation_and_order(x, v, q):
        return (x - x.mean(1, keepdim=True)) * torch.arange(1.0, 6.0, dtype=x.dtype).unsqueeze(1)

    scene = (x, VELOCITIES(x.dtype), CHARGES(x.dtype))
    report = audit.equivariance(forgets_translation_and_order, SPACE * PERMUTATIONS, scene, **{**QUICK, "parts": True})
    assert {part.name: part.verdict for part in report.parts} == {
        "E(3)": "broken",
        "E(3): rotations": "exact",
        "E(3): reflections": "exact",
        "E(3): translations": "broken",
        "Symmetric(5)": "broken",
    }


def test_resampling_is_not_a_broken_symmetry():
    symmetry = Symmetry(SO(2), Image(), Vector())
    right = audit.equivariance(centre_of_mass, symmetry, blobs(), **QUICK)
    wrong = audit.equivariance(lambda x: centre_of_mass(x).flip(-1), symmetry, blobs(), **QUICK)
    assert right.verdict == "exact"
    assert right.per_output["output"].resampled
    assert "resampling" in right.words
    assert wrong.verdict == "broken"


def test_where_pixels_only_permute_the_floor_is_rounding():
    symmetry = Symmetry(Cyclic(4), Image(), Vector())
    net = nn.Sequential(nn.Flatten(), nn.Linear(17 * 17, 2))
    average = audit.equivariance(GroupAverage(net, symmetry), symmetry, blobs(), **QUICK)
    assert average.verdict == "exact"
    assert not average.per_output["output"].resampled
    assert audit.equivariance(net, symmetry, blobs(), **QUICK).verdict == "broken"


def test_noise_images_say_that_small_errors_cannot_be_seen():
    blur = torch.exp(-(GRID[6:11].square() + GRID[6:11, None].square()) / 4)[None, None]
    report = audit.equivariance(
        lambda x: nn.functional.conv2d(x, blur, padding=2),
        Symmetry(SO(2), Image(), Image()),
        normal(8, 1, 17, 17)(torch.float32),
        **QUICK,
    )
    assert report.verdict == "approximate"
    assert "cannot be seen" in report.words


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_judged_by_its_own_rounding(dtype: torch.dtype):
    symmetry = Symmetry(SO(3), Vector(), Vector())
    exact = audit.equivariance(lambda x: 2 * x, symmetry, CLOUD(dtype), **QUICK)
    assert exact.verdict == "exact"
    assert exact.floor >= 10 * torch.finfo(dtype).eps
    assert audit.equivariance(lambda x: x.abs(), symmetry, CLOUD(dtype), **QUICK).verdict == "broken"


@DTYPES
def test_outputs_that_are_zero_on_paper_are_not_broken(dtype: torch.dtype):
    symmetry = Symmetry(E(3), Point(), Vector())
    report = audit.equivariance(lambda x: spread(x).sum(1), symmetry, normal(16, 7, 3)(dtype))
    assert report.verdict == "exact"
    assert "zero to rounding" in report.words
    assert not report.continuity.jumps


def test_small_units_do_not_hide_an_error():
    report = audit.equivariance(
        lambda x: 1e-19 * x.abs(), Symmetry(SO(3), Vector(), Vector()), CLOUD(torch.float64), **QUICK
    )
    assert report.verdict == "broken"


def test_one_bad_direction_is_seen_by_the_worst_case_alone():
    """Broken on a spike around one angle that random draws miss."""

    def f(x):
        angle = torch.atan2(x[:, 1], x[:, 0])
        return 1 + torch.exp(-((angle - 0.3) / 0.01).square()) + 0 * x.sum(-1)

    x = torch.tensor([[math.cos(0.28), math.sin(0.28)]], dtype=torch.float64)
    report = audit.equivariance(f, Symmetry(SO(2), Vector(), Scalar()), x, samples=2, **{**QUICK, "worst": True})
    assert report.worst.error > 0.3 or report.verdict != "exact"


class Cancelling(nn.Module):
    """The variance of a cloud as the difference of two large numbers, and something else that is added."""

    def __init__(self, extra: float = 0.0):
        super().__init__()
        self.extra = nn.Parameter(torch.tensor(extra))

    def forward(self, x):
        far = x.square().sum(-1).mean(1) - x.mean(1).square().sum(-1)
        return far + self.extra * x[:, 0, 0]


def test_float64_tells_rounding_from_a_broken_symmetry():
    symmetry = Symmetry(E(3), Point(), Scalar())
    far = 100 + CLOUD(torch.float32)
    options = {**QUICK, "float64": True}
    rounding = audit.equivariance(Cancelling(), symmetry, far, **options)
    assert rounding.error > 1e-4
    assert rounding.verdict == "exact"
    assert rounding.float64.error < 1e-9
    assert "rounding" in rounding.words
    broken = audit.equivariance(Cancelling(1.0), symmetry, far, **options)
    assert broken.verdict == "broken"
    assert broken.float64.error > 0.05


def test_a_rare_error_that_the_rerun_misses_is_no_rounding():
    """Broken on a cap of one element in 800: one of 512 pairs meets it, and fresh ones in float64 may not."""

    class Capped(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.ones(1))

        def forward(self, x):
            size = x.norm(dim=-1)
            return self.one * size + (x[..., 2] > 0.9975 * size)

    symmetry, x = Symmetry(SO(3), Vector(per="sample"), Scalar()), normal(64, 3)(torch.float32)
    options = {**QUICK, "float64": True}
    for seed in range(12):
        report = audit.equivariance(Capped(), symmetry, x, generator=torch.Generator().manual_seed(seed), **options)
        assert "falls to" not in report.words
        assert (report.verdict == "exact") == (report.error < 1e-5)


def test_a_breaking_below_rounding_is_said_in_words():
    class Leaning(nn.Module):
        def __init__(self):
            super().__init__()
            self.lean = nn.Parameter(torch.tensor(1e-6))

        def forward(self, x):
            return x.norm(dim=-1) + self.lean * x[..., 0]

    report = audit.equivariance(
        Leaning(), Symmetry(SO(3), Vector(), Scalar()), CLOUD(torch.float32), **{**QUICK, "float64": True}
    )
    assert report.verdict == "exact"
    assert "too small to be seen at this precision" in report.words


def test_the_float64_copy_may_fail_and_says_why():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3))

        def forward(self, x):
            return x @ self.weight.to(torch.float32)

    symmetry = Symmetry(SO(3), Vector(), Vector())
    report = audit.equivariance(Single(), symmetry, CLOUD(torch.float32), **{**QUICK, "float64": True})
    assert report.float64.error is None
    assert "RuntimeError" in report.float64.reason
    double = audit.equivariance(Single().double(), symmetry, CLOUD(torch.float32), **{**QUICK, "float64": True})
    assert double.float64.reason is not None

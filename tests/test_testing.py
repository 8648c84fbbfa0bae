"""One line in a unit test says whether a function is equivariant, and why it is not."""

import pytest
import torch
from torch import nn

from tests.audit.cases import CLOUD, EXACT, PERMUTATIONS, SCENE, SPACE, VELOCITIES, Case, normal, spread
from torsor import Symmetry
from torsor.actions import Image, Nodes, Point, Scalar, Vector
from torsor.groups import SO, Cyclic, E, O, Symmetric
from torsor.testing import assert_equivariant


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", EXACT, ids=str)
def test_what_is_equivariant_on_paper_passes(case: Case, dtype: torch.dtype):
    assert assert_equivariant(case.function, case.symmetry, case.inputs(dtype), samples=1) is None


def test_the_message_names_output_error_tolerance_sample_and_element():
    def f(x):
        return {"energy": x.norm(dim=-1), "forces": x.abs()}

    symmetry = Symmetry(O(3), Vector(), {"energy": Scalar(), "forces": Vector()})
    with pytest.raises(
        AssertionError,
        match=r"^forces is not equivariant under O\(3\): relative error 0\.\d+ is above rtol=1e-10, atol=0 at sample \d"
        r" under (reflection|rotation).*; \d+ of \d+ pairs fail. Rounding alone changes",
    ):
        assert_equivariant(f, symmetry, CLOUD(torch.float64))


def test_the_error_in_the_message_is_that_of_the_worst_pair():
    """Only one of three samples is wrong."""

    def f(x):
        return torch.stack([x[0], x[1] + 0.1 * x[1].abs(), x[2]])

    with pytest.raises(AssertionError, match="at sample 1 "):
        assert_equivariant(f, Symmetry(SO(3), Vector(), Vector()), normal(3, 5, 3)(torch.float64))


@pytest.mark.parametrize("seed", range(6))
def test_a_reflection_is_among_the_elements_even_for_one_sample(seed: int):
    x = (CLOUD(torch.float64)[:1], VELOCITIES(torch.float64)[:1])
    generator = torch.Generator().manual_seed(seed)
    with pytest.raises(AssertionError, match="reflection"):
        assert_equivariant(
            torch.linalg.cross, Symmetry(O(3), (Vector(), Vector()), Vector()), x, samples=1, generator=generator
        )


def test_every_element_of_a_small_group_is_tried():
    """Broken at one of twelve rotations only."""

    def f(x):
        angle = torch.atan2(x[:, 1], x[:, 0])
        return 1 + ((angle - 2 * torch.pi * 5 / 12).abs() < 1e-3).to(x.dtype)

    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    with pytest.raises(AssertionError, match="rotation by 150 degrees; 1 of 12 pairs fail"):
        assert_equivariant(f, Symmetry(Cyclic(12), Vector(), Scalar()), x, samples=1)


def test_factors_of_a_product_are_tried_apart():
    def ordered(x, v, q):
        return x + v * torch.arange(5.0, dtype=x.dtype).unsqueeze(1)

    assert_equivariant(ordered, SPACE, SCENE(torch.float64))
    with pytest.raises(AssertionError, match="permutation"):
        assert_equivariant(ordered, SPACE * PERMUTATIONS, SCENE(torch.float64))


def test_a_forgotten_translation_fails():
    with pytest.raises(AssertionError, match="translation by"):
        assert_equivariant(spread, Symmetry(E(3), Point(), Point()), CLOUD(torch.float64))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
def test_tolerances_follow_the_dtype(dtype: torch.dtype, rtol: float):
    """1 + a x_1 with unit vectors: errors are at most a."""
    x = nn.functional.normalize(normal(32, 3)(torch.float64), dim=-1).to(dtype)
    symmetry = Symmetry(SO(3), Vector(), Scalar())
    assert_equivariant(lambda x: 1 + 0.3 * rtol * x[:, 0], symmetry, x)
    with pytest.raises(AssertionError, match=f"rtol={rtol:.3g}"):
        assert_equivariant(lambda x: 1 + 10 * rtol * x[:, 0], symmetry, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_passes_what_is_exact(dtype: torch.dtype):
    assert_equivariant(lambda x: 2 * x, Symmetry(SO(3), Vector(), Vector()), CLOUD(dtype))


def test_absolute_and_relative_tolerances_add_up():
    symmetry, x = Symmetry(SO(3), Vector(), Scalar()), CLOUD(torch.float64)

    def f(x):
        return 1e-6 * x[..., 0]

    assert_equivariant(f, symmetry, x, atol=1e-4)
    assert_equivariant(f, symmetry, x, rtol=1.0)
    with pytest.raises(AssertionError, match="atol=1e-08"):
        assert_equivariant(f, symmetry, x, atol=1e-8)


def test_outputs_that_are_zero_on_paper_pass():
    assert_equivariant(lambda x: spread(x).sum(1), Symmetry(E(3), Point(), Vector()), normal(16, 7, 3)(torch.float32))


def test_nan_fails():
    x = CLOUD(torch.float64).abs()
    with pytest.raises(AssertionError, match="output is not equivariant"):
        assert_equivariant(lambda x: x[..., 0].sqrt(), Symmetry(SO(3), Vector(), Scalar()), x)


def test_resampled_images_need_a_tolerance_and_the_message_says_so():
    grid = torch.arange(17.0) - 8
    image = torch.exp(-(grid.square() + (grid[:, None] - 3).square()) / 8)[None, None]
    symmetry = Symmetry(SO(2), Image(), Scalar())
    with pytest.raises(AssertionError, match="Resampling alone changes"):
        assert_equivariant(lambda x: x.square().sum((1, 2, 3)), symmetry, image)
    assert_equivariant(lambda x: x.square().sum((1, 2, 3)), symmetry, image, rtol=0.2)


def test_modules_come_back_in_their_mode_and_bad_input_is_refused(plain):
    module, symmetry = nn.Dropout(0.5), Symmetry(SO(3), Vector(), Vector())
    assert_equivariant(module, symmetry, CLOUD(torch.float32))
    assert module.training
    with pytest.raises(ValueError, match="same output for the same inputs"):
        assert_equivariant(nn.functional.dropout, symmetry, CLOUD(torch.float32))
    with pytest.raises(ValueError, match="samples must be at least 1"):
        assert_equivariant(module, symmetry, CLOUD(torch.float32), samples=0)
    with pytest.raises(ValueError, match="at least one sample"):
        assert_equivariant(module, symmetry, torch.zeros(0, 3))
    with pytest.raises(TypeError, match=r"torsor\.Symmetry"):
        assert_equivariant(module, SO(3), CLOUD(torch.float32))


def test_a_wrong_permutation_names_itself():
    with pytest.raises(AssertionError, match=r"under permutation \[\d"):
        assert_equivariant(lambda h: h.roll(1, 1), Symmetry(Symmetric(5), Nodes(-2), Nodes(-2)), CLOUD(torch.float64))

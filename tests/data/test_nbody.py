import hashlib
import logging

import numpy as np
import pytest
import torch

from torsor.data import _nbody, nbody, restart_floor
from torsor.data._nbody import initial_states


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a benchmark so small that filling it takes no time."""
    monkeypatch.setattr("torsor.data._nbody._DRAWN", {"train": 20, "valid": 10, "test": 10})
    monkeypatch.setattr("torsor.data._nbody._INPUT_STEP", 30)
    monkeypatch.setattr("torsor.data._nbody._TARGET_STEP", 40)
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder in which the data of this module are simulated once."""
    return tmp_path_factory.mktemp("nbody")


def published_draws(skip: int, count: int):
    """The draws of the published program, call by call: charges, positions (3, n), velocities (3, n)."""
    np.random.seed(43)  # noqa: NPY002
    for k in range(skip + count):
        charges = np.random.choice(np.array([-1.0, 0.0, 1.0]), size=(5, 1), p=[1 / 2, 0, 1 / 2])  # noqa: NPY002
        x = np.random.randn(3, 5)  # noqa: NPY002
        v = np.random.randn(3, 5)  # noqa: NPY002
        v = v * 0.5 / np.sqrt((v**2).sum(axis=0)).reshape(1, -1)
        np.random.randn(49, 3, 5), np.random.randn(49, 3, 5)  # noqa: NPY002
        if k >= skip:
            yield charges, x, v


@pytest.mark.parametrize(("split", "first", "skip"), [("train", 2, 2), ("valid", 1, 201), ("test", 0, 300)])
def test_initial_states_are_those_of_the_published_program_bit_for_bit(split, first, skip, monkeypatch):
    monkeypatch.setattr("torsor.data._nbody._DRAWN", {"train": 200, "valid": 100, "test": 100})
    state = initial_states(split, first, first + 3)
    for k, (charges, x, v) in enumerate(published_draws(skip, 3)):
        np.testing.assert_array_equal(state["charges"][k], charges)
        np.testing.assert_array_equal(state["positions"][k], x.T)
        np.testing.assert_array_equal(state["velocities"][k], v.T)


def test_particles_outside_the_box_start_reflected(monkeypatch):
    monkeypatch.setattr("torsor.data._nbody._BOX", 2.0)
    inside = initial_states("train", 0, 50)
    monkeypatch.setattr("torsor.data._nbody._BOX", 5.0)
    free = initial_states("train", 0, 50)
    above, below = free["positions"] > 2, free["positions"] < -2
    assert above.any()
    assert below.any()
    np.testing.assert_array_equal(inside["positions"][above], 4 - free["positions"][above])
    np.testing.assert_array_equal(inside["positions"][below], -4 - free["positions"][below])
    assert (inside["velocities"][above] < 0).all()
    assert (inside["velocities"][below] > 0).all()
    same = ~above & ~below
    np.testing.assert_array_equal(inside["velocities"][same], free["velocities"][same])


def test_the_first_samples_of_the_benchmark(shared):
    data = nbody(train=30, valid=20, test=60, cache=shared, dtype=torch.float64)
    assert [len(s) for s in data.splits.values()] == [30, 20, 60]
    x, y = data.test.inputs["positions"], data.test.targets
    assert x.shape == y.shape == data.test.inputs["velocities"].shape == (60, 5, 3)
    assert set(data.test.inputs["charges"].unique().tolist()) == {-1.0, 1.0}
    # Medians and fractions do not feel how rounding grows in close encounters, as means do.
    moved = (y - x).square().mean((1, 2))
    assert moved.median() == pytest.approx(0.208844760535, rel=1e-8)


def test_fewer_samples_are_the_first_of_more_and_only_what_is_missing_is_simulated(cache, monkeypatch):
    few = nbody(train=3, valid=0, test=2)
    assert few.valid is None
    asked = []
    simulated = _nbody._simulated

    def spy(split, start, stop, **options):
        asked.append((split, start, stop))
        return simulated(split, start, stop, **options)

    monkeypatch.setattr(_nbody, "_simulated", spy)
    more = nbody(train=5, valid=0, test=2)
    assert asked == [("train", 3, 5)]
    again = nbody(train=3, valid=0, test=2)
    assert len(asked) == 1
    for name, x in few.train.named():
        assert torch.equal(x, dict(more.train[:3].named())[name])
        assert torch.equal(x, dict(again.train.named())[name])


def test_a_damaged_file_is_kept_aside_and_made_again_with_a_warning(cache, caplog):
    before = nbody(train=2, valid=0, test=1)
    file = cache / "nbody-egnn-1-train.npz"
    assert (cache / f"{file.name}.sha256").read_text().strip() == hashlib.sha256(file.read_bytes()).hexdigest()
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with caplog.at_level(logging.WARNING, "torsor.data"):
        after = nbody(train=2, valid=0, test=1)
    assert "is damaged" in caplog.text
    assert (cache / f"{file.name}.corrupt").read_bytes() == bytes(damaged)
    assert torch.equal(before.train.targets, after.train.targets)
    caplog.clear()
    (cache / f"{file.name}.sha256").unlink()
    nbody(train=2, valid=0, test=1)
    assert "the checksum is missing" in caplog.text
    assert (cache / f"{file.name}.corrupt-2").exists()
    caplog.clear()
    nbody(train=2, valid=0, test=1)
    assert caplog.text == ""


def test_an_interrupted_write_leaves_nothing_behind(cache, monkeypatch):
    def killed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        nbody(train=1, valid=0, test=1)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_a_cache_folder_is_found_or_given(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("TORSOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    nbody(train=1, valid=0, test=1)
    assert (tmp_path / "xdg" / "torsor" / "nbody-egnn-1-test.npz").exists()
    nbody(train=1, valid=0, test=1, cache=tmp_path / "own")
    assert (tmp_path / "own" / "nbody-egnn-1-test.npz").exists()


def test_progress_is_shown_on_stderr_only_when_asked(cache, capsys):
    nbody(train=1, valid=0, test=1)
    assert capsys.readouterr() == ("", "")
    nbody(train=2, valid=0, test=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "nbody, train" in err


def test_the_bound_on_forces_puts_a_floor_under_equivariant_models_and_clean_data_have_none(shared):
    generator = torch.Generator().manual_seed(0)
    clipped = nbody(train=30, valid=20, test=60, cache=shared, dtype=torch.float64)
    floor = restart_floor(clipped.test, orientations=4, generator=generator)
    assert floor.shape == (60,)
    assert floor.median() < 1e-25
    assert floor.max() > 1e-3
    clean = nbody("clean", train=1, valid=0, test=12, cache=shared, dtype=torch.float64)
    assert clean.name == "nbody-clean"
    assert torch.equal(clean.test.inputs["charges"], clipped.test.inputs["charges"][:12])
    assert restart_floor(clean.test, "clean", orientations=2, generator=generator).max() < 1e-12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"protocol": "published"}, 'protocol must be "egnn" or "clean"'),
        ({"train": 0}, "train must be between 1 and 10000; got 0"),
        ({"train": 10_001}, "train must be between 1 and 10000; got 10001"),
        ({"valid": -1}, "valid must be between 0 and 2000"),
        ({"test": 2001}, "test must be between 1 and 2000"),
    ],
)
def test_data_that_do_not_exist_are_refused(plain, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=words):
        nbody(**arguments)
    assert not (tmp_path / "cache").exists()


def test_one_orientation_has_no_variance(plain, shared):
    data = nbody(train=1, valid=0, test=1, cache=shared)
    with pytest.raises(ValueError, match="orientations must be at least 2"):
        restart_floor(data.test, orientations=1)


@pytest.mark.slow
def test_the_published_size_has_the_published_statistics(shared):
    """Bounds are those of rounding: another order of the particles alone changes the numbers by a third of them."""
    data = nbody(cache=shared, dtype=torch.float64)
    for split, expected in (("train", 0.2702), ("valid", 0.2579), ("test", 0.2715)):
        samples = data.splits[split]
        assert (samples.targets - samples.inputs["positions"]).square().mean() == pytest.approx(expected, abs=4e-4)
    x, v, y = data.test.inputs["positions"], data.test.inputs["velocities"], data.test.targets
    a = ((y - x) * v).sum() / v.square().sum()
    assert a == pytest.approx(0.7346, abs=4e-3)
    assert (y - x - a * v).square().mean() == pytest.approx(0.08359, abs=1.2e-3)
    floor = restart_floor(data.test, generator=torch.Generator().manual_seed(0))
    assert floor.mean() == pytest.approx(0.0020, abs=4e-4)
    assert (floor > 1e-3).double().mean() == pytest.approx(0.138, abs=0.02)


@pytest.mark.slow
def test_clean_data_are_symmetric_far_below_the_floor_of_the_published_ones(shared):
    data = nbody("clean", train=1, valid=0, test=300, cache=shared, dtype=torch.float64)
    floor = restart_floor(data.test, "clean", orientations=4, generator=torch.Generator().manual_seed(0))
    assert floor.mean() < 1e-9

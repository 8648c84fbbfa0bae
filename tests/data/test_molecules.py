import os

import numpy as np
import pytest
import torch

from torsor.data import _bpa, acac, bpa, read_structures
from torsor.groups import O


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(name: str) -> bool:
    return os.path.isdir(os.path.join(os.environ.get("TORSOR_DATA", ""), name))


def test_forces_are_minus_the_gradient_of_the_energy():
    rng = np.random.default_rng(0)
    x = _bpa.GEOMETRY + 0.1 * rng.standard_normal(_bpa.GEOMETRY.shape)
    along = rng.standard_normal(x.shape)
    slope = (_bpa.pairs(x + 1e-5 * along)[0] - _bpa.pairs(x - 1e-5 * along)[0]) / 2e-5
    assert slope == pytest.approx(-(_bpa.pairs(x)[1] * along).sum(), rel=1e-7)


def test_the_labels_have_the_symmetry_that_the_data_set_claims():
    data = bpa(1, 0, 1, labels="pairs", dtype=torch.float64)
    x, forces = data.train.inputs["positions"][0], data.train.targets["forces"][0]
    turn = O(3).sample(generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energy, turned = _bpa.pairs((x @ turn.mT + 1).numpy())
    assert energy == pytest.approx(_bpa.pairs(x.numpy())[0], abs=1e-10)
    assert np.allclose(turned, (forces @ turn.mT).numpy(), atol=1e-10)


def test_energies_of_normal_modes_follow_equipartition_where_they_are_harmonic(monkeypatch):
    monkeypatch.setattr(_bpa, "BOLTZMANN", _bpa.BOLTZMANN / 1e4)  # 0.03 K
    frozen = _bpa.sampled("pairs", "test", 300.0, 5, 400)
    expected = 57 / 2 * _bpa.BOLTZMANN * 300  # 57 modes are stiffer than 50 / cm
    assert frozen["energy"].mean() == pytest.approx(expected, rel=0.05)


def test_a_larger_set_begins_with_the_smaller_one_and_seeds_differ():
    few, many = bpa(3, 2, 2, labels="pairs"), bpa(5, 2, 2, labels="pairs")
    assert torch.equal(few.train.inputs["positions"], many.train.inputs["positions"][:3])
    other = bpa(3, 2, 2, labels="pairs", seed=1)
    assert not torch.equal(few.train.inputs["positions"], other.train.inputs["positions"])
    assert not torch.equal(few.train.inputs["positions"][:2], few.valid.inputs["positions"])


def test_hotter_structures_feel_larger_forces():
    sizes = [
        bpa(1, 0, 40, labels="pairs", temperature=T).test.targets["forces"].square().mean() for T in (150, 300, 600)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_energies_count_from_the_mean_of_the_training_set():
    data = bpa(20, 0, 5, labels="pairs", dtype=torch.float64)
    assert data.train.targets["energy"].mean().abs() < 1e-12
    assert data.train.targets["energy"].shape == (20, 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"labels": "am1"}, "labels must be"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"train": 0}, "train must be at least 1"),
        ({"labels": "dft", "temperature": 600.0}, "300 K only"),
    ],
)
@pytest.mark.usefixtures("plain")
def test_bad_input_is_refused_at_the_door(options, match):
    with pytest.raises(ValueError, match=match):
        bpa(**{"train": 1, "valid": 0, "test": 1, **options})


def test_missing_files_say_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.delenv("TORSOR_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"train_300K.xyz of BOTNet-datasets in \$TORSOR_DATA/3bpa"):
        bpa(labels="dft")
    with pytest.raises(FileNotFoundError, match="lacks train_300K.xyz"):
        acac(root=tmp_path)


def test_semi_empirical_labels_agree_with_their_own_differences():
    pytest.importorskip("tblite", reason="GFN2-xTB needs tblite")
    label, x = _bpa.labeller("xtb"), _bpa.GEOMETRY + 0.05 * np.random.default_rng(0).standard_normal((27, 3))
    along = np.random.default_rng(1).standard_normal(x.shape)
    slope = (label(x + 1e-4 * along)[0] - label(x - 1e-4 * along)[0]) / 2e-4
    assert slope == pytest.approx(-(label(x)[1] * along).sum(), rel=1e-4)


@pytest.mark.slow
def test_semi_empirical_structures_have_the_energy_and_forces_of_their_temperature():
    pytest.importorskip("tblite", reason="GFN2-xTB needs tblite")
    found = _bpa.sampled("xtb", "test", 300.0, 0, 40)
    assert found["energy"].mean() == pytest.approx(1.0, abs=0.15)  # equipartition 0.93 eV
    assert (found["forces"] ** 2).mean() ** 0.5 == pytest.approx(0.94, abs=0.06)


@pytest.mark.skipif(not published("3bpa"), reason="the published 3BPA file is not in $TORSOR_DATA/3bpa")
def test_published_structures_of_3bpa():
    data = bpa(400, 50, 50, labels="dft")
    assert sorted(data.train.inputs["species"][0].tolist()) == sorted(_bpa.SPECIES.tolist())
    assert data.train.targets["forces"].square().mean().sqrt() == pytest.approx(0.95, abs=0.02)
    with pytest.raises(ValueError, match="500 structures"):
        bpa(400, 50, 51, labels="dft")


@pytest.mark.skipif(not published("acac"), reason="the published files are not in $TORSOR_DATA/acac")
def test_published_structures_of_acetylacetone():
    data = acac()
    assert data.test.inputs["positions"].shape == (650, 15, 3)
    assert data.test.targets["energy"].std() < 1


def test_energies_and_forces_of_a_file_are_read_with_its_structures(tmp_path):
    ase = pytest.importorskip("ase", reason="ASE reads extended XYZ")
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = [ase.Atoms("OH2", 0.1 * k + np.eye(3)) for k in range(2)] + [
        ase.Atoms("C6", np.random.default_rng(0).random((6, 3)))
    ]
    for k, frame in enumerate(frames):
        results = {"energy": float(k), "forces": np.full((len(frame), 3), float(k)), "stress": np.arange(6.0)}
        frame.calc = SinglePointCalculator(frame, **results)
    write(tmp_path / "a.xyz", frames)
    found = read_structures(tmp_path / "a.xyz")
    assert found["energy"].tolist() == [0, 1, 2]
    assert found["forces"].shape == (3, 6, 3)
    assert (found["forces"][1, :3] == 1).all()
    assert (found["forces"][1, 3:] == 0).all()
    assert found["stress"].shape[0] == 3

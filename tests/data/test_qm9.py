import pytest
import torch

from torsor.data import _qm9, qm9

HEADER = "XYZ_file,Elements,XYZ_Ang," + ",".join(_qm9.TARGETS.values())


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Three invented molecules in the layout of the wheel."""
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_qm9, "MOLECULES", 3)
    monkeypatch.setattr(_qm9, "qm9_folder", lambda: tmp_path)
    numbers = ",".join(str(i) for i in range(len(_qm9.TARGETS)))
    rows = [
        ("a", "['O','H']", "[[0.,0.,0.],[0.,0.,1.]]"),
        ("b", "['F']", "[[1.,2.,3.]]"),
        ("c", "['N']", "[[0.,1e-1,0.]]"),
    ]
    for file, (name, elements, xyz) in zip(_qm9.FILES, rows, strict=False):
        (tmp_path / file).write_text(f'{HEADER}\n"{name}","{elements}","{xyz}",{numbers}\n')
    tensors = ["a,1,0,1,0,0,1", "b,0,0,0,0,0,3", "c,2,1,2,0,0,2"]
    (tmp_path / _qm9.FILES[3]).write_text("\n".join(["XYZ_file,A_xx,A_xy,A_yy,A_xz,A_yz,A_zz", *tensors]))
    return tmp_path


def test_molecules_are_padded_and_masked(wheel):
    data = qm9("dipole", 1, 1, 1)
    splits = [data.train, data.valid, data.test]
    atoms = {int(part.inputs["mask"].sum()): part for part in splits}
    water = atoms[2]
    assert water.inputs["species"][0, :3].tolist() == [8, 1, 0]
    assert water.inputs["positions"].shape == (1, 29, 3)
    assert water.inputs["positions"][0, 1].tolist() == [0, 0, 1]
    assert all(part.targets.item() == 3 for part in splits)  # the fourth column


def test_of_the_tensors_there_are_invariants(wheel):
    data = qm9(_qm9.ANISOTROPY, 1, 1, 1)
    found = {part.inputs["species"][0, 0].item(): part.targets.item() for part in (data.train, data.valid, data.test)}
    assert found[8] == 0
    assert found[9] == pytest.approx(3)  # |3 - 0|
    tensor = torch.tensor([[2.0, 1, 0], [1, 2, 0], [0, 0, 2]])
    assert found[7] == pytest.approx(((tensor - 2 * torch.eye(3)).square().sum() * 1.5).sqrt().item())


def test_bad_input_is_refused_at_the_door(monkeypatch):
    with pytest.raises(ValueError, match="target must be one of"):
        qm9("alpha")
    with pytest.raises(ValueError, match="at most 130831 together"):
        qm9("gap", 130_000, 1000, 1)
    monkeypatch.setattr(_qm9.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install qm9pack"):
        _qm9.qm9_folder()

import os
from pathlib import Path

import pytest
import torch

from torsor.data import Tracks, pedestrians, read_eth_ucy, windows
from torsor.data._pedestrians import FILES, SCENES

ROOT = Path(os.environ.get("TORSOR_DATA", "")) / "eth_ucy"
needs_files = pytest.mark.skipif(
    not os.environ.get("TORSOR_DATA") or not ROOT.is_dir(), reason="the ETH-UCY files are not in $TORSOR_DATA/eth_ucy"
)


def line(frame: int, agent: int, x: float, y: float) -> str:
    return f"{frame}.0 {agent}.0 Pedestrian {'-1.0 ' * 10}{x} -1.0 {y} -1.0\n"


@pytest.fixture
def folder(tmp_path):
    """All files of ETH-UCY, with three invented people walking in each recording: 12 frames, then 6."""
    for k, name in enumerate(FILES):
        frames = range(12) if name.endswith("_train.txt") else range(12, 18)
        rows = [line(t, agent, 100 * k + t, agent) for agent in (1, 2, 3) for t in frames]
        (tmp_path / name).write_text("".join(rows))
    return tmp_path


def test_windows_hold_those_who_are_there_all_the_time():
    frames = torch.tensor([3, 4, 5, 7, 3, 4, 4, 5, 6, 7])
    agents = torch.tensor([1, 1, 1, 1, 2, 2, 9, 9, 9, 12])
    positions = torch.arange(20.0).reshape(10, 2)
    shuffled = torch.randperm(10)
    found, present = windows(Tracks(frames[shuffled], agents[shuffled], positions[shuffled]), length=2)
    assert present.tolist() == [[True, True], [True, True], [True, False]]
    assert torch.equal(found[0], torch.stack([positions[0:2], positions[4:6]]))
    assert torch.equal(found[1], torch.stack([positions[1:3], positions[6:8]]))
    assert torch.equal(found[2, 0], positions[7:9])
    assert (found[2, 1] == 0).all()


def test_a_stride_leaves_beginnings_out_and_nobody_gives_no_windows():
    tracks = Tracks(torch.arange(10, 20), torch.ones(10, dtype=torch.long), torch.arange(20.0).reshape(10, 2))
    assert windows(tracks, 3, stride=4)[0][:, 0, 0, 0].tolist() == [0, 8]
    assert windows(tracks, 11)[0].shape == (0, 0, 11, 2)
    assert windows(Tracks(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0, 2)), 2)[0].shape == (0, 0, 2, 2)


def test_one_scene_is_kept_for_the_test_and_validation_is_later_than_training(folder):
    data = pedestrians("univ", observed=2, future=3, root=folder, dtype=torch.float64)
    # Recordings other than students001 and students003: 6 of 12 + 6 frames, 3 people.
    assert [len(s) for s in data.splits.values()] == [6 * 3 * 8, 6 * 3 * 2, 2 * 3 * 14]
    assert data.train.inputs["past"].shape[1:] == (2, 2)
    assert data.test.targets.shape[1:] == (3, 2)
    recording = [torch.unique(s.inputs["past"][..., 0].div(200, rounding_mode="floor")) for s in data.splits.values()]
    mine = {float(FILES.index(f"{name}_train.txt") // 2) for name in SCENES["univ"]}
    assert set(recording[2].tolist()) == mine
    assert not mine & set(recording[0].tolist())
    assert torch.equal(recording[0], recording[1])
    steps = torch.cat([data.test.inputs["past"], data.test.targets], 1).diff(dim=1)
    assert (steps[..., 1] == 0).all()
    assert ((steps[..., 0] == 1) | (steps[..., 0] == 101)).all()


def test_missing_files_are_named_with_what_to_do(folder, monkeypatch):
    monkeypatch.delenv("TORSOR_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"set \$TORSOR_DATA to a folder .* biwi_eth_train.txt"):
        pedestrians("eth")
    monkeypatch.setenv("TORSOR_DATA", str(folder / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere/eth_ucy lacks .*uni_examples_val.txt"):
        pedestrians("eth")
    (folder / "crowds_zara02_val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks crowds_zara02_val.txt: set \$TORSOR_DATA"):
        pedestrians("eth", root=folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 1 Pedestrian 3.0 4.0\n", "line 1: 17 fields expected, got 5"),
        (line(0, 1, 1, 2) + "\n" + line(1, 1, 1, 2).replace("1.0 ", "one ", 1), "line 3: could not convert"),
        (line(0, 1, float("nan"), 2), "line 1: a number is not finite"),
        (line(0, 1, 1, 2) + line(0, 1, 3, 4), "an agent is twice in the same frame"),
    ],
)
def test_damaged_files_are_refused_by_name_and_line(plain, tmp_path, text, words):
    path = tmp_path / "scene.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"scene.txt.*{words}"):
        read_eth_ucy(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"scene": "moon"}, "scene must be one of eth, hotel"), ({"observed": 0}, "observed must be at least 1")],
)
def test_bad_requests_are_refused(plain, arguments, words):
    with pytest.raises(ValueError, match=words):
        pedestrians(**arguments)
    with pytest.raises(ValueError, match="length must be at least 1"):
        windows(Tracks(torch.zeros(1).long(), torch.zeros(1).long(), torch.zeros(1, 2)), 0)


@needs_files
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "count"), [("eth", 364), ("hotel", 1197), ("univ", 24334), ("zara1", 2356), ("zara2", 5910)]
)
def test_the_scenes_have_the_published_numbers_of_windows(scene, count):
    assert len(pedestrians(scene).test) == count

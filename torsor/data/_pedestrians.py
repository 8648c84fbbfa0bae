"""Real pedestrians: the ETH and UCY scenes, seen from above."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torsor.actions import Point
from torsor.data._samples import Dataset, Samples
from torsor.groups import E
from torsor.symmetry import Symmetry

Scene = Literal["eth", "hotel", "univ", "zara1", "zara2"]

SCENES: dict[str, tuple[str, ...]] = {
    "eth": ("biwi_eth",),
    "hotel": ("biwi_hotel",),
    "univ": ("students001", "students003"),
    "zara1": ("crowds_zara01",),
    "zara2": ("crowds_zara02",),
}
TRAINING_ONLY = ("crowds_zara03", "uni_examples")
PARTS = ("train", "val")  # a recording is the first part followed by the second
FILES = tuple(f"{name}_{part}.txt" for name in (*sum(SCENES.values(), ()), *TRAINING_ONLY) for part in PARTS)

_COLUMNS = 17
_FRAME, _AGENT, _X, _Y = 0, 1, 13, 15


@dataclass(frozen=True, eq=False)
class Tracks:
    """Who was where and when: one row for each agent and frame.

    Arguments:
        frames: of each row, in steps of 0.4 s.
        agents: who.
        positions: where, in metres.
    """

    frames: Int[Tensor, " rows"]
    agents: Int[Tensor, " rows"]
    positions: Float[Tensor, "rows 2"]


def pedestrians(
    scene: Scene = "eth",
    observed: int = 8,
    future: int = 12,
    *,
    root: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> Dataset:
    """Where people walk: eight positions, 0.4 s apart, and the next twelve; one scene is kept for the test.

    Input `past (B, 8, 2)`, target `(B, 12, 2)`, in metres; every person is a sample in every window in which all
    20 positions are known. Symmetric under E(2) as far as people walk the same way in every direction, which they do
    not quite. The other scenes are divided in time into training and validation, as published.

    Arguments:
        scene: the one that is tested on: `"eth"`, `"hotel"`, `"univ"`, `"zara1"` or `"zara2"`.
        observed, future: numbers of positions.
        root: the folder of the files; by default `$TORSOR_DATA/eth_ucy`.
        dtype: of the positions; torch's default dtype by default.

    Raises:
        ValueError: an unknown scene, too few positions, or a damaged file; names it.
        FileNotFoundError: files are missing; says which, and where to put them.

    Source: Pellegrini et al. 2009 (ETH), Lerner et al. 2007 (UCY), in the layout of the release of Xu et al. 2023
        (arXiv 2303.10876); leave-one-scene-out as Gupta et al. 2018 (arXiv 1803.10892).

    >>> pedestrians("zara1")  # doctest: +SKIP
    Dataset('pedestrians-zara1', train=28577, valid=5184, test=2356, regression, E(2))
    """
    if scene not in SCENES:
        raise ValueError(f"scene must be one of {', '.join(SCENES)}; got {scene!r}")
    for name, value in (("observed", observed), ("future", future)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    folder = eth_ucy_folder() if root is None else Path(root)
    others = [name for key, names in SCENES.items() if key != scene for name in names] + list(TRAINING_ONLY)
    recordings = {
        "train": [[f"{name}_train.txt"] for name in others],
        "valid": [[f"{name}_val.txt"] for name in others],
        "test": [[f"{name}_{part}.txt" for part in PARTS] for name in SCENES[scene]],
    }
    _require(folder, [name for split in recordings.values() for names in split for name in names])
    splits = {}
    for split, files in recordings.items():
        paths = []
        for names in files:
            positions, present = windows(read_eth_ucy([folder / name for name in names]), observed + future)
            paths.append(positions[present])
        path = torch.cat(paths).to(dtype or torch.get_default_dtype())
        splits[split] = Samples({"past": path[:, :observed]}, path[:, observed:])
    return Dataset(
        name=f"pedestrians-{scene}",
        **splits,
        symmetry=Symmetry(E(2), {"past": Point()}, Point()),
        units="m; 0.4 s between positions",
        source="ETH: Pellegrini et al. 2009; UCY: Lerner et al. 2007",
        licence="none stated; released by their authors for research",
        description="Positions of one pedestrian, and the positions that follow.",
    )


def read_eth_ucy(paths: str | Path | Sequence[str | Path]) -> Tracks:
    """Read one recording from its files, in the order of time.

    Each line has 17 fields with blanks between them: the frame first, then the agent; x (m) is the 14th, y (m) the
    16th, and the others are not used.

    Raises:
        ValueError: a line that is not like this, numbers that are not finite, or an agent who is twice in a frame;
            names the file.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scene.txt"
    >>> _ = path.write_text("0.0 7.0 Pedestrian " + "-1 " * 10 + "1.5 -1 2.5 -1")
    >>> tracks = read_eth_ucy(path)
    >>> tracks.frames, tracks.agents, tracks.positions
    (tensor([0]), tensor([7]), tensor([[1.5000, 2.5000]], dtype=torch.float64))
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    rows = np.concatenate([_read(path) for path in files])
    names = ", ".join(str(path) for path in files)
    if len(np.unique(rows[:, :2], axis=0)) < len(rows):
        raise ValueError(f"{names}: an agent is twice in the same frame")
    return Tracks(
        torch.from_numpy(rows[:, 0]).long(), torch.from_numpy(rows[:, 1]).long(), torch.from_numpy(rows[:, 2:])
    )


def windows(tracks: Tracks, length: int, stride: int = 1) -> tuple[Float[Tensor, "w m length 2"], Bool[Tensor, "w m"]]:
    """All stretches of time in which somebody is seen in every frame, and who that is.

    Arguments:
        tracks: of one recording.
        length: frames of a stretch.
        stride: frames between the beginnings of stretches.

    Returns:
        Positions `(W, M, length, 2)` of the agents who are there all the time, in the order of their numbers and filled
        up with zeros to the largest number M of agents; and where they are real, `(W, M)`.

    Raises:
        ValueError: a length or stride below 1.

    >>> frames, agents = torch.tensor([0, 1, 2, 1, 2]), torch.tensor([1, 1, 1, 2, 2])
    >>> positions, present = windows(Tracks(frames, agents, torch.arange(10.0).reshape(5, 2)), length=2)
    >>> positions.shape, present
    (torch.Size([2, 2, 2, 2]), tensor([[ True, False],
            [ True,  True]]))
    """
    for name, value in (("length", length), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    if not len(tracks.frames):
        return tracks.positions.new_zeros(0, 0, length, 2), torch.zeros(0, 0, dtype=torch.bool)
    order = np.lexsort((tracks.frames.numpy(), tracks.agents.numpy()))
    frames, agents = tracks.frames[order], tracks.agents[order]
    # Rows of one agent are in the order of time: a stretch begins where the row `length - 1` later is as many frames
    # later, and of the same agent.
    starts = torch.arange(len(frames) - length + 1)
    whole = (agents[starts + length - 1] == agents[starts]) & (
        frames[starts + length - 1] - frames[starts] == length - 1
    )
    starts = starts[whole & ((frames[starts] - frames.min()) % stride == 0)]
    starts = starts[torch.argsort(frames[starts], stable=True)]
    _, window, count = frames[starts].unique_consecutive(return_inverse=True, return_counts=True)
    place = torch.arange(len(starts)) - (count.cumsum(0) - count)[window]
    most = int(count.max()) if len(count) else 0
    positions = tracks.positions.new_zeros(len(count), most, length, 2)
    present = torch.zeros(len(count), most, dtype=torch.bool)
    positions[window, place] = tracks.positions[order][starts.unsqueeze(1) + torch.arange(length)]
    present[window, place] = True
    return positions, present


def eth_ucy_folder() -> Path:
    """Where the files are expected: `$TORSOR_DATA/eth_ucy`.

    Raises:
        FileNotFoundError: `$TORSOR_DATA` is not set; says what to do.
    """
    root = os.environ.get("TORSOR_DATA")
    if not root:
        raise FileNotFoundError(f"the pedestrians are not on this machine: {HOW_TO_GET}")
    return Path(root).expanduser() / "eth_ucy"


HOW_TO_GET = (
    "set $TORSOR_DATA to a folder that holds a folder eth_ucy, and put the ETH-UCY text files there, in the layout of"
    f" the release of EqMotion (arXiv 2303.10876): {', '.join(FILES)}"
)


def _require(folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: {HOW_TO_GET}")


def _read(path: Path) -> np.ndarray:
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) != _COLUMNS:
                raise ValueError(f"{_COLUMNS} fields expected, got {len(fields)}")
            row = [float(fields[column]) for column in (_FRAME, _AGENT, _X, _Y)]
            if not np.isfinite(row).all():
                raise ValueError("a number is not finite")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, 4)

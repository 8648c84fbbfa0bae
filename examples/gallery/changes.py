"""Single changes that a person would try first: a mirror, ten degrees, one pixel, a little louder.

`python changes.py mobilenet FOLDER` writes the errors as JSON; each change is a `torsor.symmetry.Transformation`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inputs
import models
import numpy as np
import torch
from torch import Tensor

from torsor import SO, Image, Translation, audit

QUICK = {"samples": 1, "worst": False, "curve": False, "continuity": False, "float64": False, "parts": False}
MARGIN = 20  # pixels around the window that a model sees, so that no change brings in a border


@dataclass(frozen=True)
class Change:
    """One change of the inputs, and what it should do to the output: by default nothing."""

    of_input: Callable[..., Any]
    of_output: Callable[[Tensor], Tensor] = lambda out: out

    def sample(self, inputs: Any, *, generator: Any = None) -> Tensor:
        return torch.zeros(len(inputs[0]))

    def act(self, g: Tensor, inputs: Any) -> tuple[Tensor, ...]:
        moved = self.of_input(*inputs)
        return moved if isinstance(moved, tuple) else (moved,)

    def act_output(self, g: Tensor, out: Tensor, inputs: Any) -> Tensor:
        return self.of_output(out)


def rotated(degrees: float) -> Change:
    """Images turned about their centre, bilinear."""
    g = SO(2).exp(torch.tensor([[np.pi * degrees / 180]]))
    return Change(lambda x: Image()(SO(2), g.to(x).expand(len(x), 2, 2), x))


def shifted(pixels: float) -> Change:
    """Images moved to the right, bilinear where the shift is no whole number of pixels."""
    if pixels == int(pixels):
        return Change(lambda x: x.roll(int(pixels), -1))
    g = Translation(2).exp(torch.tensor([[pixels, 0.0]]))
    return Change(lambda x: Image()(Translation(2), g.to(x).expand(len(x), 3, 3), x))


MIRRORED = Change(lambda x: x.flip(-1))
UPSIDE_DOWN = Change(lambda x: x.flip(-2))


def measured(f: Callable[..., Tensor], changes: dict[str, Change], x: Any, label: bool = False) -> list[dict]:
    """One row for each change: the mean relative error, its floor and verdict, and how many labels changed."""
    rows = []
    for name, change in changes.items():
        report = audit.equivariance(f, change, x, generator=torch.Generator().manual_seed(0), **QUICK)
        found = report.per_output["output"]
        row = {"change": name, "error": found.error, "low": found.interval[0], "high": found.interval[1]}
        row |= {"floor": found.floor, "verdict": report.verdict, "inputs": report.inputs}
        if label:
            with torch.no_grad():
                row["other_label"] = int((f(change.of_input(x)).argmax(-1) != f(x).argmax(-1)).sum())
        rows.append(row)
    return rows


def windowed(net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A model that sees the middle of an image only."""
    return lambda image: net(image[..., MARGIN:-MARGIN, MARGIN:-MARGIN])


def photos(side: int = 224, count: int = 32) -> Tensor:
    """Photographs with a margin."""
    return torch.as_tensor(inputs.photos(side + 2 * MARGIN, count))


def mobilenet() -> list[dict]:
    """MobileNetV2: labels should survive all of these."""
    changes = {"one pixel to the right": shifted(1), "half a pixel": shifted(0.5), "mirrored": MIRRORED}
    changes |= {"upside down": UPSIDE_DOWN} | {f"{d} degrees": rotated(d) for d in (1, 10)}
    return measured(windowed(models.mobilenet()), changes, photos(), label=True)


def proposals() -> list[dict]:
    """P-Net: its map should move along, by half as many pixels, as its stride is two. Read where the content went."""
    net, width = models.proposals(), 24

    def f(image: Tensor, start: Tensor) -> Tensor:
        return torch.stack([m[..., int(s) : int(s) + width] for m, s in zip(net(image), start, strict=True)])

    def moved(pixels: int) -> Change:
        return Change(lambda x, start: (x.roll(pixels, -1), start + pixels // 2))

    changes = {f"{p} pixels to the right": moved(p) for p in (2, 4)} | {"1 pixel to the right": moved(1)}
    images = photos(96)
    size = net(images[:1]).shape[-1]
    start = torch.full((len(images),), (size - width) // 2)
    mirrored = Change(lambda x, start: (x.flip(-1), size - width - start), lambda out: out.flip(-1))
    return measured(f, changes | {"mirrored": mirrored}, (images, start))


def speaker() -> list[dict]:
    """The speaker encoder: who speaks is the same, whatever the sign, the loudness and the moment; not backwards."""
    changes = {
        "sign flipped": Change(lambda x: -x),
        "twice as loud": Change(lambda x: 2 * x),
        "ten times as loud": Change(lambda x: 10 * x),
        "1 sample later": Change(lambda x: x.roll(1, 1)),
        "10 ms later": Change(lambda x: x.roll(160, 1)),
        "0.4 s later": Change(lambda x: x.roll(6400, 1)),
        "backwards": Change(lambda x: x.flip(1)),
    }

    def f(wave: Tensor) -> Tensor:
        return torch.as_tensor(models.speaker(wave.numpy()))

    return measured(f, changes, torch.as_tensor(inputs.voices())[..., None])


def photo_score() -> list[dict]:
    """The ONNX classifier: its score of a photograph should survive all of these."""
    target = audit.targets.load(str(models.onnx_file())).returning()

    def f(image: Tensor) -> Tensor:
        return target.function(255 * image.movedim(1, -1).flip(-1) - torch.tensor(inputs.MEAN_BGR))

    changes = {"one pixel to the right": shifted(1), "half a pixel": shifted(0.5), "mirrored": MIRRORED}
    changes |= {"upside down": UPSIDE_DOWN} | {f"{d} degrees": rotated(d) for d in (1, 10)}
    return measured(windowed(f), changes, photos(), label=True)


ALL = {f.__name__: f for f in (mobilenet, proposals, speaker, photo_score)}

if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(ALL[sys.argv[1]]()))

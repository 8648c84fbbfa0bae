"""Frames of a whole data set, computed once."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torsor import _tree
from torsor.actions import Batch, Edges, Shared
from torsor.build.frames._canonical import ColouredGraphs
from torsor.build.frames._frameset import FrameLike, FrameSet
from torsor.build.frames._permset import PermSet
from torsor.symmetry import Inputs, Symmetry, as_inputs


def precompute_frames(frame: FrameLike, symmetry: Symmetry, inputs: Inputs, batch_size: int = 1024) -> FrameSet:
    """The frames of a whole data set, once: `frames[index]` are those of a batch, for `forward(..., frames=...)`.

    Frames depend on data only, so later epochs need no eigenvalues. Not for learned frames, nor for inputs that are
    augmented.

    Arguments:
        frame: any frame.
        symmetry: the symmetry that the network has.
        inputs: dense inputs, samples on the first axis.
        batch_size: how many samples at a time.

    Raises:
        ValueError: the inputs are ragged or shared, or do not fit the symmetry.

    >>> import torch
    >>> from torsor import E, Point, Symmetry
    >>> from torsor.build.frames import PCAFrame, precompute_frames
    >>> frames = precompute_frames(PCAFrame(), Symmetry(E(3), Point(), Point()), torch.randn(100, 5, 3), batch_size=40)
    >>> len(frames), frames[torch.tensor([3, 99])].elements.shape
    (100, torch.Size([2, 8, 4, 4]))
    """
    for name, (action, _) in zip(symmetry.input_names, symmetry.slots(inputs), strict=True):
        if isinstance(action, Batch | Edges | Shared):
            raise ValueError(f"precompute_frames is for dense inputs, sample by sample; {name} is {action}")
    inputs, size = as_inputs(inputs), symmetry.batch_size(inputs)
    parts = []
    with torch.no_grad():
        for start in range(0, max(size, 1), batch_size):
            batch = _tree.map(lambda x, start=start: x[start : start + batch_size], inputs)
            symmetry.check(batch, values=True)
            parts.append(frame(symmetry, batch))
    return join_frames(parts)


def join_frames(parts: Sequence[FrameSet]) -> FrameSet:
    """The frames of several batches one after another; weight 0 fills up where they have fewer elements."""
    most = max(part.weights.shape[1] for part in parts)

    def filled(part: FrameSet) -> FrameSet:
        lacking = most - part.weights.shape[1]
        elements = _tree.map(
            lambda e: torch.cat([e, e[:, :1].repeat(1, lacking, *[1] * (e.ndim - 2))], 1), part.elements
        )
        return replace(part, elements=elements, weights=torch.nn.functional.pad(part.weights, (0, lacking)))

    orders = all(isinstance(part, PermSet) for part in parts)
    even = [filled(part if orders else part.alone()) for part in parts]

    def rows(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in even])

    elements = _tree.map(lambda *each: torch.cat(each), *(part.elements for part in even))
    facts = {name: rows(name) for name in ("weights", "gap", "rank", "ambiguous")}
    if orders:
        graphs = ColouredGraphs.joined([part.graphs for part in even])  # type: ignore[attr-defined]
        return replace(even[0], elements=elements, classes=rows("classes"), graphs=graphs, **facts)
    return FrameSet(parts[0].group, elements, **facts)

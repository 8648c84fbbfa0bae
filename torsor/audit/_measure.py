"""Mean errors with intervals, per output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Element
from torsor.audit._compare import Comparison
from torsor.audit._verdict import Verdict, judge, worst_of

_RESAMPLES = 1000
_CHUNK = 2**20


@dataclass(frozen=True)
class OutputError:
    """The error of one output.

    Arguments:
        error: mean relative error over all pairs.
        interval: bootstrap confidence interval of it, by resampling the samples; (0, 1) for one sample, which says
            nothing about others.
        largest: the largest error among the pairs.
        floor: what rounding or resampling alone changes.
        resampled: whether resampling sets the floor.
        verdict: "exact", "approximate" or "broken".
    """

    error: float
    interval: tuple[float, float]
    largest: float
    floor: float
    resampled: bool
    verdict: Verdict


@dataclass(frozen=True)
class PartError:
    """The error under one kind of element, such as reflections: that of the worst output, and all of them."""

    name: str
    error: float
    interval: tuple[float, float]
    floor: float
    verdict: Verdict
    per_output: dict[str, OutputError]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was measured at some draws: the elements, and errors `(outputs, samples)` for each."""

    elements: list[Element]
    errors: list[Float[Tensor, "outputs samples"]]


def measure(
    comparison: Comparison, draw: Callable[[], Element], rounds: int, floors: int, confidence: float
) -> tuple[dict[str, OutputError], Pairs]:
    """Errors under `rounds` draws of one element per sample, and floors under the first few of them."""
    elements = [draw() for _ in range(rounds)]
    pairs = Pairs(elements, [comparison.error(g) for g in elements])
    trips = [comparison.floor(g) for g in elements[:floors]]
    mean, floor = torch.stack(pairs.errors).mean(0), torch.stack([t.value for t in trips]).mean((0, 2)).tolist()
    resampled = torch.stack([t.resampled for t in trips]).any(0).tolist()
    largest = torch.stack(pairs.errors).amax((0, 2)).tolist()
    intervals = bootstrap(mean, confidence, comparison.generator)
    rows = zip(mean.mean(1).tolist(), intervals, largest, floor, resampled, strict=True)
    names = comparison.symmetry.output_names
    return {
        name: OutputError(e, i, top, f, r, judge(e, f, resampled=r))
        for name, (e, i, top, f, r) in zip(names, rows, strict=True)
    }, pairs


def part_error(name: str, per_output: dict[str, OutputError]) -> PartError:
    """The outputs under one name, with the worst of them in front."""
    worst = worst_output(per_output)
    return PartError(
        name,
        worst.error,
        worst.interval,
        worst.floor,
        worst_of([output.verdict for output in per_output.values()]),
        per_output,
    )


def worst_output(per_output: dict[str, OutputError]) -> OutputError:
    """The output with the largest mean error."""
    return max(per_output.values(), key=lambda output: output.error)


def bootstrap(
    values: Float[Tensor, "rows samples"], confidence: float, generator: torch.Generator
) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals of the mean of each row, resampling the samples; (0, 1) for one sample.

    Source: Efron 1979, Annals of Statistics 7, 1-26.
    """
    samples = values.shape[1]
    if samples < 2:
        return [(0.0, 1.0)] * len(values)
    means = torch.cat([values[:, index].mean(-1) for index in _resamples(samples, generator)], -1)
    tail = (1 - confidence) / 2
    levels = torch.tensor([tail, 1 - tail], dtype=means.dtype, device=means.device)
    return [(low, high) for low, high in means.quantile(levels, dim=-1).T.tolist()]


def _resamples(samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    size = max(1, _CHUNK // samples)
    for start in range(0, _RESAMPLES, size):
        shape = (min(size, _RESAMPLES - start), samples)
        yield torch.randint(samples, shape, generator=generator, device=generator.device)

"""Where the equivariance error of a Monte Carlo group convolution comes from: sampling, truncation, or pixels."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Image
from torsor.audit._report import Report, show
from torsor.audit._subject import evaluating, modules_of
from torsor.groups import Affine
from torsor.groups.measure import GroupSample

if TYPE_CHECKING:
    from torsor.build.lie import SamplePlan


@dataclass(frozen=True, eq=False)
class ErrorSources(Report):
    """The parts of an equivariance error, each relative to the size of the outputs, root mean square.

    Arguments:
        law: the plan, in words.
        counts: how many elements the convolution drew.
        total: for each count, the change of the output when the image is moved and elements are drawn anew.
        estimator: for each count, the difference of one draw from the limit of many.
        truncation: at the limit, what changes because elements leave the region that the plan covers.
        pixels: what changes although the elements move along with the image: resampling, windows, strides.
        limit: how many elements stand for infinitely many.
    """

    law: str
    counts: Sequence[int]
    total: Sequence[float]
    estimator: Sequence[float]
    truncation: float
    pixels: float
    limit: int

    title = "Sources of the equivariance error of a group convolution"

    @property
    def words(self) -> str:  # type: ignore[override]
        n, estimator = self.counts[-1], self.estimator[-1]
        parts = {"sampling": estimator, "truncation": self.truncation, "pixels": self.pixels}
        largest = max(parts, key=lambda name: parts[name])
        each = ", ".join(f"{name} {show(value)}" for name, value in parts.items())
        return f"With {n} elements the output changes by {show(self.total[-1])}: {each}. The largest is {largest}."

    def records(self) -> list[dict[str, Any]]:
        rows = zip(self.counts, self.total, self.estimator, strict=True)
        return [
            {"elements": n, "total": total, "estimator": part, "truncation": self.truncation, "pixels": self.pixels}
            for n, total, part in rows
        ]

    def facts(self) -> dict[str, str]:
        return {
            "Elements": self.law,
            "Limit": f"{self.limit} elements stand for infinitely many; their own sampling error is in truncation",
        }


@torch.no_grad()
def error_sources(
    model: Callable[..., Tensor],
    plan: "SamplePlan",
    images: Float[Tensor, "b c *pixels"],
    elements: Float[Tensor, "b d d"],
    *,
    counts: Sequence[int] = (4, 8, 16, 32),
    limit: int = 256,
    image: Image | None = None,
    generator: torch.Generator | None = None,
) -> ErrorSources:
    """Separate the sources of the error of a model that convolves, or pools, over random elements.

    Haar measure does not change when all elements are moved by one: with the elements moved along with the image the
    output of a perfect layer would be the same, draw by draw. What is left then is due to pixels. With many elements
    the sampling error is gone; what still depends on whether elements move along is truncation. Kernels that reach
    beyond their window are cut off without a word here: that is part of the error of pixels.

    Arguments:
        model: called as `model(images, sample=GroupSample)`, with an output per image that should not change.
        plan: its plan; a model that draws elements in several layers is evaluated with those given in all of them.
        images: a batch.
        elements: one per image, which moves it: affine, or linear.
        counts: numbers of elements to measure with.
        limit: how many elements stand for infinitely many.
        image: how images move.
        generator: of the draws.

    Raises:
        ValueError: elements and images do not match, no counts, or the group of the plan is finite or affine.

    >>> import torch
    >>> from torsor.build.backbones import GlobalCNN
    >>> from torsor.build.lie import OrbitPool, SamplePlan
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import Window
    >>> plan = SamplePlan(Window(SO(2), 0.5))
    >>> model = OrbitPool(GlobalCNN(1, 4), plan).eval()
    >>> turns = SO(2).exp(torch.full((2, 1), 0.1))
    >>> found = error_sources(model, plan, torch.rand(2, 1, 15, 15), turns, counts=(2, 4), limit=16)
    >>> len(found.records())
    2
    """
    if len(elements) != len(images):
        raise ValueError(f"elements must be one per image, {len(images)}; got {len(elements)}")
    if not counts or min(counts) < 1 or limit < 1:
        raise ValueError(f"counts and limit must be positive numbers of elements; got {tuple(counts)} and {limit}")
    if getattr(plan.group, "is_affine", False):
        raise ValueError(f"the elements of the plan must be linear, without translations; got {plan.group}")
    if plan.proposal is None:
        raise ValueError(f"a finite group comes whole: there is nothing to sample in {plan.group}")
    image, n = Image() if image is None else image, images.ndim - 2
    affine = Affine(n)
    g = affine.from_parts(elements) if elements.shape[-1] == n else elements
    moved = image(affine, g, images)
    linear = affine.linear(g)

    def draw(count: int) -> GroupSample:
        return plan.proposal.sample(count, generator, plan.method, dtype=images.dtype, device=images.device)  # type: ignore[union-attr]

    def along(sample: GroupSample) -> Tensor:
        """Outputs for moved images with elements that moved along, image by image."""
        outputs = []
        for i in range(len(images)):
            there = linear[i] @ sample.g
            outputs.append(model(moved[i : i + 1], sample=GroupSample(there, there.inverse(), sample.log_weight)))
        return torch.cat(outputs)

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().mean().sqrt() / size)

    with evaluating(model), _cutting_off(model):
        many = draw(limit)
        still = model(images, sample=many)
        size = still.square().mean().sqrt().clamp(min=torch.finfo(still.dtype).tiny)
        carried = along(many)
        total, estimator = [], []
        for count in counts:
            first, second = model(images, sample=draw(count)), model(moved, sample=draw(count))
            total.append(distance(first, second))
            estimator.append(distance(first, still))
        truncation = distance(model(moved, sample=many), carried)
    return ErrorSources(
        law=plan.proposal.describe(),
        counts=tuple(counts),
        total=tuple(total),
        estimator=tuple(estimator),
        truncation=truncation,
        pixels=distance(carried, still),
        limit=limit,
    )


@contextlib.contextmanager
def _cutting_off(model: Callable[..., Any]) -> Iterator[None]:
    """Convolutions that cut off kernels beyond their window, whatever they say of it otherwise."""
    layers = [part for module in modules_of(model) for part in module.modules() if hasattr(part, "clip")]
    before = [layer.clip for layer in layers]
    try:
        for layer in layers:
            layer.clip = "ignore"  # type: ignore[assignment]
        yield
    finally:
        for layer, clip in zip(layers, before, strict=True):
            layer.clip = clip

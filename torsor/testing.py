"""One line for a unit test: is this function equivariant?

>>> import torch
>>> from torsor import SO, Symmetry, Vector
>>> from torsor.testing import assert_equivariant
>>> assert_equivariant(lambda x: 2 * x, Symmetry(SO(3), Vector(), Vector()), torch.ones(4, 3))
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torsor import _tree
from torsor.actions import Element
from torsor.audit._compare import Comparison, compare
from torsor.audit._elements import describe, each, parts, pick
from torsor.audit._subject import Subject, at_least_float32, evaluating
from torsor.audit._verdict import tolerance_for
from torsor.symmetry import Inputs, Symmetry, as_inputs

__all__ = ["assert_equivariant"]


def assert_equivariant(
    f: Callable[..., Any],
    symmetry: Symmetry,
    inputs: Inputs,
    *,
    samples: int = 4,
    atol: float | None = None,
    rtol: float | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Nothing where `f(g x) = g f(x)` holds to a tolerance, else an AssertionError that says where it does not.

    A pair of an input and an element passes where `|f(g x) - g f(x)| <= atol + rtol (|f(g x)| + |g f(x)|)`, in the L2
    norm of the space of `embed`, `Point` outputs measured from the centroid of the moved `Point` inputs. Elements are
    drawn from `symmetry.law(inputs)`; each kind that the group has (rotations, reflections, translations, factors of a
    product) comes once more by itself, and finite groups of up to 48 elements are gone through whole.

    As a fixture, in `conftest.py`:

        @pytest.fixture
        def assert_equivariant():
            return torsor.testing.assert_equivariant

    Arguments:
        f: a module or any other callable; modules run in evaluation mode.
        symmetry: what must hold.
        inputs: the inputs to test on.
        samples: how many elements are drawn for each input.
        atol: absolute tolerance; 0 by default.
        rtol: relative tolerance; by default 1e-10 in float64, 1e-4 in float32, 1e-2 in float16, 5e-2 in bfloat16. Where
            images are resampled, give one.
        generator: where the randomness comes from; seeded with 0 by default.

    Raises:
        AssertionError: names the output, its error, the tolerance, the worst sample and the kind of element.
        ValueError, TypeError: as `torsor.audit.equivariance`.
    """
    if not isinstance(symmetry, Symmetry):
        raise TypeError(f"symmetry must be a torsor.Symmetry; got {type(symmetry).__name__}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    inputs = as_inputs(inputs)
    symmetry.check(inputs, values=True)
    if symmetry.batch_size(inputs) == 0:
        raise ValueError("inputs must hold at least one sample; got an empty batch")
    if generator is None:
        device = next(x.device for _, x in symmetry.slots(inputs) if isinstance(x, Tensor))
        generator = torch.Generator(device).manual_seed(0)
    with evaluating(f):
        comparison = compare(Subject(f, symmetry), inputs, generator)
        rtol = tolerance_for(comparison.eps) if rtol is None else rtol
        atol = 0.0 if atol is None else atol
        excess, failed, pairs = -torch.inf, 0, 0
        worst: tuple[Element, int, int] | None = None
        with torch.no_grad():
            for g in _elements(comparison, samples):
                distance, size = comparison.distance_and_size(*comparison.sides(g))
                over = (distance - atol - rtol * size).nan_to_num(nan=torch.inf)
                failed, pairs = failed + int((over > 0).any(0).sum()), pairs + over.shape[1]
                if float(over.max()) > excess:
                    excess = float(over.max())
                    worst = g, *divmod(int(over.argmax()), over.shape[1])
        if excess > 0 and worst is not None:
            raise AssertionError(_message(comparison, *worst, rtol, atol, f"{failed} of {pairs} pairs fail"))


def _elements(comparison: Comparison, samples: int) -> Iterator[Element]:
    symmetry, inputs = comparison.symmetry, _tree.map(at_least_float32, comparison.inputs)
    law = symmetry.law(inputs)

    def draw() -> Element:
        return symmetry.sample(inputs, proposal=law, generator=comparison.generator)

    g = draw()
    yield from list(each(symmetry.group, g)) or (g, *(draw() for _ in range(samples - 1)))
    for reduce in parts(symmetry.group).values():
        yield reduce(draw())


def _message(comparison: Comparison, g: Element, output: int, sample: int, rtol: float, atol: float, count: str) -> str:
    symmetry = comparison.symmetry
    error, floor = float(comparison.error(g)[output, sample]), comparison.floor(g)
    cause = "resampling" if bool(floor.resampled[output]) else "rounding"
    return (
        f"{symmetry.output_names[output]} is not equivariant under {symmetry.group}: relative error {error:.3g} is"
        f" above rtol={rtol:.3g}, atol={atol:.3g} at sample {sample} under {describe(symmetry.group, pick(g, sample))};"
        f" {count}. {cause.capitalize()} alone changes {float(floor.value[output, sample]):.2g}"
    )

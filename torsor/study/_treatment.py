"""The ways of handling a symmetry that a study compares, and the seam through which new ones come in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from torsor.study._words import nearest

if TYPE_CHECKING:
    from torch import nn

    from torsor.data import Dataset

    Backbone = Callable[[], nn.Module]
    Objective = Callable[..., Any]
    Build = Callable[[Backbone, Dataset, Mapping[str, Any]], tuple[nn.Module, Objective]]


@dataclass(frozen=True)
class Treatment:
    """A way of handling a symmetry.

    Arguments:
        name: the word that study files use.
        summary: what it does, in a few words, for tables and lists.
        build: `build(backbone, dataset, options) -> (model, objective)`. `backbone()` gives a fresh, seeded network;
            `dataset.symmetry` says how its data transform; the objective is what `torsor.learn.fit` minimises. It
            raises `SkippedError` with the reason if the treatment does not apply to the data set.
    """

    name: str
    summary: str
    build: "Build"


_TREATMENTS: dict[str, Treatment] = {}


def treatment(name: str, summary: str) -> "Callable[[Build], Build]":
    """Register a function as the treatment of a name.

    Every module in `torsor/study/treatments` is found by itself; other packages call this when they are imported.

    Raises:
        ValueError: if another function has the name.

    >>> from torsor.study import known_treatments, treatment
    >>> @treatment("nothing_new", "the backbone, once more")
    ... def nothing_new(backbone, dataset, options):
    ...     return known_treatments()["plain"].build(backbone, dataset, options)
    >>> known_treatments()["nothing_new"].summary
    'the backbone, once more'
    """

    def register(build: "Build") -> "Build":
        known = _TREATMENTS.get(name)
        if known is not None and _home(known.build) != _home(build):
            raise ValueError(f"treatment {name!r} is taken by {_home(known.build)}; {_home(build)} needs another name")
        _TREATMENTS[name] = Treatment(name, summary, build)
        return build

    return register


def known_treatments() -> dict[str, Treatment]:
    """All treatments by name: the plain one, then the others in the order of the alphabet.

    >>> from torsor.study import known_treatments
    >>> list(known_treatments())[:3]
    ['plain', 'augmented', 'canonical_frame']
    """
    from torsor.study import treatments as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return {name: _TREATMENTS[name] for name in sorted(_TREATMENTS, key=lambda name: (name != "plain", name))}


def objective_of(dataset: "Dataset") -> "Objective":
    """What training minimises where a treatment adds nothing: cross entropy for classes, squared error otherwise.

    Outputs whose values are compared in another space than their own, such as lines, have their squared error there.
    """
    from torsor import learn

    if dataset.task == "classification":
        return learn.cross_entropy
    actions = dataset.symmetry.output_actions
    return learn.mse if all(action.embedded == action for action in actions) else learn.square_error(dataset.symmetry)


def check_options(options: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """The options of a treatment with their defaults.

    Raises:
        ValueError: if there is an option that the treatment does not have.

    >>> check_options({"samples": 2}, samples=1)
    {'samples': 2}
    """
    for name in options:
        if name not in defaults:
            allowed = f"allowed: {', '.join(defaults)}" if defaults else "it has none"
            raise ValueError(f"unknown option {name!r} of the treatment{nearest(name, list(defaults))}; {allowed}")
    return {**defaults, **options}


def _home(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"

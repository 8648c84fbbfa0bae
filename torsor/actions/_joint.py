"""Actions of a product group, one per factor."""

from dataclasses import dataclass, replace

from torch import Tensor

from torsor.actions._action import Action, Element
from torsor.actions._layout import Layout
from torsor.groups import DirectProduct, Group


@dataclass(frozen=True, repr=False)
class Jointly(Action):
    """Commuting actions on one value, one for each factor of a `DirectProduct`, first factor first."""

    actions: tuple[Action, ...] = ()

    def __call__(self, group: Group, g: Element, x: Tensor) -> Tensor:
        for action, (factor, element) in zip(self.actions, factors(group, g), strict=True):
            x = action(factor, element, x)
        return x

    def embed(self, x: Tensor) -> Tensor:
        for action in self.actions:
            x = action.embed(x)
        return x

    def project(self, z: Tensor) -> Tensor:
        for action in reversed(self.actions):
            z = action.project(z)
        return z

    def event_shape_problem(self, group: Group, shape: tuple[int, ...]) -> str | None:
        pairs = zip(self.actions, product(group).factors, strict=True)
        return next((p for action, factor in pairs if (p := action.event_shape_problem(factor, shape))), None)

    @property
    def feels_translation(self) -> bool:
        return any(action.feels_translation for action in self.actions)

    @property
    def embedded(self) -> Action:
        return replace(self, actions=tuple(action.embedded for action in self.actions))

    @property
    def degree(self) -> int:
        return max(action.degree for action in self.actions)

    @property
    def is_discrete(self) -> bool:
        return all(action.is_discrete for action in self.actions)


def product(group: Group) -> DirectProduct:
    """The group as a direct product, or a TypeError."""
    if not isinstance(group, DirectProduct):
        raise TypeError(f"Jointly needs a DirectProduct; got {group}")
    return group


def factors(group: Group, g: Element) -> list[tuple[Group, Element]]:
    """The factors of a product group with the part of the element that belongs to each."""
    return list(zip(product(group).factors, g, strict=True))


def jointly(*actions: Action) -> Action:
    """One action for the product of groups: layouts stay what they are, the rest act one after another."""
    if any(isinstance(action, Layout) for action in actions):
        if len(set(actions)) > 1:
            raise ValueError(f"the factors disagree about the layout of one argument: {actions}")
        return actions[0]
    rows = {action.per for action in actions}
    if len(rows) > 1:
        raise ValueError(
            f"the factors disagree about what a row of one value belongs to: per = {sorted(map(str, rows))}"
        )
    flat = [part for a in actions for part in (a.actions if isinstance(a, Jointly) else (a,))]
    return replace(Jointly(tuple(flat)), per=actions[0].per)

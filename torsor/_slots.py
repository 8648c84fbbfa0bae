"""Actions in containers, and the values that stand in the same places."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from torsor import _tree
from torsor._tree import Tree
from torsor.actions import Action, jointly


class Slots:
    """The actions of the inputs, or of the output, of a function.

    Arguments:
        tree: any container of actions.
        side: `"inputs"` or `"output"`, for names and messages.

    Raises:
        TypeError: a leaf is no action.
    """

    def __init__(self, tree: Tree, side: str) -> None:
        self.tree = tree
        self.side = side
        self.actions: list[Action]
        self.actions, self._structure = _tree.flatten(tree, is_action)
        paths = _tree.names(tree, is_action)
        self.names = [path if path and not path.startswith("[") else f"{side}{path}" for path in paths]
        for name, leaf in zip(self.names, self.actions, strict=True):
            if not isinstance(leaf, Action):
                hint = f"; write {leaf.__name__}()" if isinstance(leaf, type) else ""
                raise TypeError(f"{name} must be an action; got {leaf!r}{hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Slots, (self.tree, self.side)  # torch warns where the structure itself is copied or pickled

    def parts(self, values: Tree) -> list[Any]:
        """The value at the place of each action.

        Raises:
            ValueError: the values are structured otherwise.
        """
        parts = _tree.match(self._structure, values)
        if parts is None:
            raise ValueError(f"{self.side} must be {outline(self.tree)}; got {outline(values)}")
        return parts

    def build(self, parts: Sequence[Any]) -> Tree:
        """A container like that of the actions, with other leaves."""
        return _tree.unflatten(parts, self._structure)

    def map(self, function: Callable[[Action, Any], Any], values: Tree) -> Tree:
        """`function(action, value)` in every place."""
        return self.build([function(a, x) for a, x in zip(self.actions, self.parts(values), strict=True)])


def join(trees: Sequence[Tree], side: str) -> Tree:
    """The actions of a product of groups, from the actions of its factors.

    Raises:
        ValueError: the factors are not about the same function.
    """
    slots = Slots(trees[0], side)
    rows = [_tree.match(slots._structure, tree) for tree in trees]
    if any(row is None for row in rows):
        came = " and ".join(map(outline, trees))
        raise ValueError(f"the factors of a product must have the same {side}; got {came}")
    return slots.build([jointly(*column) for column in zip(*rows, strict=True)])  # type: ignore[arg-type]


def is_action(node: Any) -> bool:
    """Whether a node of a tree is an action, which is a leaf here although it is a dataclass."""
    return isinstance(node, Action)


def outline(tree: Any) -> str:
    """The structure of a container in a few words."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {outline(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(map(outline, tree)) + ("," if len(tree) == 1 else "") + ")"
    if isinstance(tree, Tensor):
        return f"tensor{list(tree.shape)}"
    return type(tree).__name__

"""Representations (being written)."""

from dataclasses import dataclass
from torsor.actions._action import Action, apply_matrix


@dataclass(frozen=True)
class Rep(Action):
    pass


@dataclass(frozen=True)
class Scalar(Rep):
    def __call__(self, group, g, x):
        return x

    @property
    def is_discrete(self):
        return True


@dataclass(frozen=True)
class Vector(Rep):
    def __call__(self, group, g, x):
        return apply_matrix(group.linear(g), x)

    def event_shape_problem(self, group, shape):
        return (
            None if shape and shape[-1] == group.n else f"the last axis must have the {group.n} coordinates of {group}"
        )

    @property
    def degree(self):
        return 1

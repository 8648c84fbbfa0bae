"""Symmetry that is not known beforehand: which symmetries a function, a model or data have, and how exactly."""

from torsor.find._algebra_report import AlgebraReport, Direction
from torsor.find._lie_algebra import lie_algebra

__all__ = ["AlgebraReport", "Direction", "lie_algebra"]

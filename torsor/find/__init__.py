"""Symmetry that is not known beforehand: which symmetries a function, a model or data have, and how exactly."""

from torsor.find._algebra_report import AlgebraReport, Breaking, Direction
from torsor.find._lie_algebra import lie_algebra
from torsor.find._symmetries import symmetries

__all__ = ["AlgebraReport", "Breaking", "Direction", "lie_algebra", "symmetries"]

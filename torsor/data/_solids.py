"""Solids with points on their surface: uniform in area, with the exact normal.

A solid is a union of simple bodies with other bodies taken away. Points are drawn on the surface of every body, and
those that the union hides or the cut removes are thrown away: what is left is uniform in area on the visible surface,
as long as no two bodies share a piece of surface. Build solids from bodies that overlap, never from bodies that touch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

Array = np.ndarray
_ON_SURFACE = 1e-9


class Body(ABC):
    """A simple closed surface around the origin."""

    area: float

    @abstractmethod
    def implicit(self, points: Array) -> Array:
        """A function of `(..., 3)` that is 0 on the surface, negative inside and positive outside."""

    @abstractmethod
    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Points `(n, 3)`, uniform in area, and their outward unit normals `(n, 3)`."""


class Box(Body):
    """A box with these half sides."""

    def __init__(self, a: float, b: float, c: float) -> None:
        self.half = np.array([a, b, c])
        self.faces = 4 * np.array([b * c, c * a, a * b])
        self.area = 2 * self.faces.sum()

    def implicit(self, points: Array) -> Array:
        return (np.abs(points) - self.half).max(-1)

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        axis = random.choice(3, size=n, p=self.faces / self.faces.sum())
        side = random.choice([-1.0, 1.0], size=n)
        points = random.uniform(-1, 1, (n, 3)) * self.half
        normals = side[:, None] * np.eye(3)[axis]
        points[np.arange(n), axis] = side * self.half[axis]
        return points, normals


class Cylinder(Body):
    """A closed cylinder about the z axis: radius, half height."""

    def __init__(self, radius: float, half: float) -> None:
        self.radius, self.half = radius, half
        self.area = 2 * pi * radius * (2 * half + radius)

    def implicit(self, points: Array) -> Array:
        return np.maximum(np.hypot(points[..., 0], points[..., 1]) - self.radius, np.abs(points[..., 2]) - self.half)

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        lateral = (random.random(n) < 2 * self.half / (2 * self.half + self.radius))[:, None]
        angle, height, share = random.uniform(0, 2 * pi, n), random.uniform(-1, 1, n), random.random(n)
        outward = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
        up = np.array([0.0, 0.0, 1.0])
        cap = np.where(height >= 0, 1.0, -1.0)[:, None] * up
        on_side = self.radius * outward + self.half * height[:, None] * up
        on_cap = self.radius * np.sqrt(share)[:, None] * outward + self.half * cap
        return np.where(lateral, on_side, on_cap), np.where(lateral, outward, cap)


class Cone(Body):
    """A closed cone about the z axis: radius of its base at z = -half, apex at z = half."""

    def __init__(self, radius: float, half: float) -> None:
        self.radius, self.half = radius, half
        self.slant = sqrt(radius**2 + 4 * half**2)
        self.area = pi * radius * (self.slant + radius)

    def implicit(self, points: Array) -> Array:
        distance = np.hypot(points[..., 0], points[..., 1])
        lateral = (2 * self.half * distance - self.radius * (self.half - points[..., 2])) / self.slant
        return np.maximum(lateral, -self.half - points[..., 2])

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        lateral = (random.random(n) < self.slant / (self.slant + self.radius))[:, None]
        angle, share = random.uniform(0, 2 * pi, n), np.sqrt(random.random(n))[:, None]
        outward = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
        up = np.array([0.0, 0.0, 1.0])
        height = np.where(lateral, self.half - 2 * self.half * share, -self.half)
        normals = np.where(lateral, (2 * self.half * outward + self.radius * up) / self.slant, -up)
        return self.radius * share * outward + height * up, normals


class Torus(Body):
    """A torus about the z axis: radius of the ring, radius of the tube."""

    def __init__(self, ring: float, tube: float) -> None:
        self.ring, self.tube = ring, tube
        self.area = 4 * pi**2 * ring * tube

    def implicit(self, points: Array) -> Array:
        return np.hypot(np.hypot(points[..., 0], points[..., 1]) - self.ring, points[..., 2]) - self.tube

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        around = random.uniform(0, 2 * pi, n)
        tube = _rejected(random, n, lambda v: (self.ring + self.tube * np.cos(v)) / (self.ring + self.tube))
        outward = np.stack([np.cos(around), np.sin(around), 0 * around], -1)
        normals = np.cos(tube)[:, None] * outward + np.sin(tube)[:, None] * np.array([0.0, 0.0, 1.0])
        return self.ring * outward + self.tube * normals, normals


class Ellipsoid(Body):
    """An ellipsoid with these half axes."""

    def __init__(self, a: float, b: float, c: float) -> None:
        self.axes = np.array([a, b, c])
        nodes, weights = np.polynomial.legendre.leggauss(64)
        angle = np.arange(128) * (2 * pi / 128)
        z, angle = np.meshgrid(nodes, angle, indexing="ij")
        flat = np.sqrt(1 - z**2)
        stretch = self._stretch(np.stack([flat * np.cos(angle), flat * np.sin(angle), z], -1))
        self.area = float(2 * pi * (weights @ stretch.mean(1)) * self.axes.prod())

    def implicit(self, points: Array) -> Array:
        return np.linalg.norm(points / self.axes, axis=-1) - 1

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        found = np.empty((0, 3))
        while len(found) < n:  # area grows by abc |s / axes| where the unit sphere has s
            s = _directions(random, 2 * n)
            found = np.concatenate([found, s[random.random(2 * n) < self._stretch(s) * self.axes.min()]])
        s = found[:n]
        normals = s / self.axes
        return s * self.axes, normals / np.linalg.norm(normals, axis=-1, keepdims=True)

    def _stretch(self, s: Array) -> Array:
        return np.linalg.norm(s / self.axes, axis=-1)


@dataclass(frozen=True)
class Part:
    """A body in its place: turned, then shifted; `hollow` takes it away from what the others fill."""

    body: Body
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: Array | None = None
    hollow: bool = False

    def implicit(self, points: Array) -> Array:
        """The function of the body in its place."""
        points = points - np.array(self.shift)
        return self.body.implicit(points if self.turn is None else points @ self.turn)

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Points and normals of the body in its place; normals point out of what is filled."""
        points, normals = self.body.sample(random, n)
        if self.turn is not None:
            points, normals = points @ self.turn.T, normals @ self.turn.T
        return points + np.array(self.shift), -normals if self.hollow else normals


@dataclass(frozen=True)
class Solid:
    """Bodies united, hollow ones taken away."""

    parts: Sequence[Part]

    def implicit(self, points: Array) -> Array:
        """0 on the visible surface, negative inside, positive outside."""
        filled = np.min([part.implicit(points) for part in self.parts if not part.hollow], axis=0)
        taken = [-part.implicit(points) for part in self.parts if part.hollow]
        return np.max([filled, *taken], axis=0)

    def sample(self, random: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Points `(n, 3)` on the visible surface, uniform in area, and their outward unit normals."""
        areas = np.array([part.body.area for part in self.parts])
        points, normals = np.empty((0, 3)), np.empty((0, 3))
        while len(points) < n:
            counts = random.multinomial(2 * n, areas / areas.sum())
            drawn = [part.sample(random, int(count)) for part, count in zip(self.parts, counts, strict=True)]
            x, normal = (np.concatenate(column) for column in zip(*drawn, strict=True))
            order = random.permutation(2 * n)
            order = order[np.abs(self.implicit(x[order])) < _ON_SURFACE]
            points, normals = np.concatenate([points, x[order]]), np.concatenate([normals, normal[order]])
        return points[:n], normals[:n]


def _rejected(random: np.random.Generator, n: int, density: Callable[[Array], Array]) -> Array:
    """Angles whose density is at most 1."""
    found = np.empty(0)
    while len(found) < n:
        angle = random.uniform(0, 2 * pi, 2 * n)
        found = np.concatenate([found, angle[random.random(2 * n) < density(angle)]])
    return found[:n]


def _directions(random: np.random.Generator, n: int) -> Array:
    x = random.standard_normal((n, 3))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)

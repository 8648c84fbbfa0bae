"""What a proposal is, and the simplest one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.groups._check import check_dimension
from torsor.groups._errors import NonCompactError
from torsor.groups._group import Element, Group
from torsor.groups._haar import integers, uniform
from torsor.groups._orthogonal import SO, O
from torsor.groups._precision import drawn_precisely
from torsor.groups._rotations import rotation_from_quaternion, turn


class GroupSample(NamedTuple):
    """Elements for a Monte Carlo integral over Haar measure.

    `g` and `g_inv` are elements with one batch axis of length N, `log_weight` (N,) is -log(N p): the sum of
    exp(log_weight) f(g) estimates the integral of f.
    """

    g: Element
    g_inv: Element
    log_weight: Tensor


class Proposal:
    """A law on a group with a density with respect to left Haar measure.

    A new one says `group`, `cube`, `from_cube`, `log_prob` and `describe`; or overrides `draw` where there is no
    transform of uniform numbers.

    Attributes:
        group: the group whose elements are drawn.
        cube: how many uniform numbers make an element; None where elements are not a transform of uniform numbers.
    """

    group: Group
    cube: int | None = None

    def describe(self) -> str:
        """The law in words, one line, for reports."""
        raise NotImplementedError

    def from_cube(self, u: Float[Tensor, "*shape cube"]) -> Element:
        """The element that belongs to uniform numbers in [0, 1): an inverse distribution function."""
        raise NotImplementedError

    def log_prob(self, g: Element) -> Float[Tensor, "*batch"]:
        """The log density of the law at g, -inf outside its support."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob, and sums over its elements need weights")

    @property
    def support(self) -> str:
        """Where the density is positive, in words."""
        return f"all of {self.group}"

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Element:
        """Independent elements with batch axes `shape`."""
        if self.cube is None:
            raise NotImplementedError
        return self.from_cube(uniform([*shape, self.cube], generator, dtype, device))

    @drawn_precisely
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        method: str = "iid",
        *,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> GroupSample:
        """n elements with their weights for integrals over Haar measure; unbiased by every method.

        Arguments:
            n: number of elements.
            generator: draws come from it.
            method: "iid"; "rqmc", a scrambled Sobol sequence through the inverse distribution function; "lattice",
                equidistant points with one random common offset, for laws of one uniform number (plane rotations).

        Raises:
            ValueError: n < 1, or a method that the law does not have.
        """
        n = check_dimension(n, "n of Proposal.sample")
        if method == "iid":
            g = self.draw(n, generator=generator, dtype=dtype, device=device)
        elif method not in ("rqmc", "lattice"):
            raise ValueError(f'method must be "iid", "rqmc" or "lattice"; got {method!r}')
        elif self.cube is None or (method == "lattice" and self.cube != 1):
            need = "a transform of one uniform number" if method == "lattice" else "a transform of uniform numbers"
            raise ValueError(f"method {method!r} needs {need}; {self.describe()} is none")
        elif method == "lattice":
            u = torch.arange(n, dtype=torch.float64, device=device) + uniform([1], generator, torch.float64, device)
            g = self.from_cube(_cast(u[:, None] / n, dtype))
        else:
            seed = int(integers(2**31 - 1, [], generator))
            engine = torch.quasirandom.SobolEngine(self.cube, scramble=True, seed=seed) if self.cube else None
            u = torch.zeros(n, 0) if engine is None else engine.draw(n, dtype=torch.float64)
            g = self.from_cube(_cast(u.to(device), dtype))
        return GroupSample(g, self.group.inverse(g), -self.log_prob(g) - math.log(n))


def _cast(u: Tensor, dtype: torch.dtype | None) -> Tensor:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return u.to(dtype).clamp(max=1 - torch.finfo(dtype).eps / 2)


@dataclass(frozen=True)
class UniformCompact(Proposal):
    """Haar measure of a compact group: density 1.

    Arguments:
        group: a compact group.

    Raises:
        NonCompactError: it is not compact.

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import UniformCompact
    >>> UniformCompact(SO(2)).sample(4, method="lattice").log_weight.exp()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    group: Group

    def __post_init__(self) -> None:
        if not self.group.is_compact:
            raise NonCompactError(f"group of UniformCompact must be compact; got {self.group}")

    def describe(self) -> str:
        return f"Haar measure of {self.group}"

    @property
    def cube(self) -> int | None:  # type: ignore[override]
        if not isinstance(self.group, SO | O) or self.group.n > 3:
            return None
        return {1: 0, 2: 1, 3: 3}[self.group.n] + isinstance(self.group, O)

    def draw(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> Element:
        return self.group.sample(*shape, generator=generator, dtype=dtype, device=device)

    def from_cube(self, u: Tensor) -> Tensor:
        if isinstance(self.group, O):
            R = UniformCompact(SO(self.group.n)).from_cube(u[..., :-1])
            mirror = torch.where(u[..., -1:, None] < 0.5, -1, 1).to(R.dtype)
            return torch.cat([R[..., :1] * mirror, R[..., 1:]], -1)
        if self.group.n == 1:
            return torch.ones(*u.shape[:-1], 1, 1, dtype=u.dtype, device=u.device)
        angle = 2 * math.pi * u
        if self.group.n == 2:
            return turn(angle[..., 0].cos(), angle[..., 0].sin())
        # Shoemake 1992: uniform unit quaternions
        a, b = (1 - u[..., 0]).sqrt(), u[..., 0].sqrt()
        s, t = angle[..., 1], angle[..., 2]
        return rotation_from_quaternion(torch.stack([b * t.cos(), a * s.sin(), a * s.cos(), b * t.sin()], -1))

    def log_prob(self, g: Element) -> Tensor:
        ok = self.group.contains(g)
        return torch.where(ok, 0.0, -math.inf).to(_real_like(g))


def _real_like(g: Element) -> torch.dtype:
    while isinstance(g, tuple):
        g = g[0]
    return g.real.dtype if g.is_floating_point() or g.is_complex() else torch.get_default_dtype()

"""Many-body features: powers of a signal on the sphere, with weights on its degrees."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from torsor.build.so3._grid import SphereGrid, check_degree
from torsor.build.so3._linear import check_features
from torsor.build.so3._paths import as_irreps, one_multiplicity, parity_on_sphere
from torsor.build.so3._product import gaunt_product
from torsor.build.so3._signals import Signals, by_degree, check_each_once, from_signals, to_signals, top_degrees


class GauntProductBasis(nn.Module):
    """Products of up to `order` filtered copies of a feature, channel by channel: what MACE contracts symmetrically.

    Copy k is `a_k(n) = sum_lm w_k[l] x_lm Y_lm(n)`. Order nu is the projection of `a_1(n) ... a_nu(n)` on the output,
    and the orders are summed with weights for each degree, channel and species. `"pointwise"` multiplies on one grid:
    one transform in, one out, whatever the order. `"tree"` goes back to coefficients after each factor and weights the
    intermediate degrees: slower, and it tells apart what point-wise powers cannot (scalars from order 4 on, other
    outputs from order 3).

    Arguments:
        irreps_in: every irrep once, all with the same number of copies, the channels.
        irreps_out: the same number of copies.
        order: highest number of factors.
        num_species: how many kinds of atoms have weights of their own; None for one set of weights.
        mode: `"pointwise"` or `"tree"`.
        antisymmetric: take brackets beside products, factor by factor as in `"tree"`.
        mixing: copies mix the channels, with a matrix for each degree, instead of weighting them; by default only where
            brackets are taken, as the bracket of a vector with itself is zero.

    Raises:
        ValueError: multiplicities differ, an output is out of reach, an unknown mode.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 3.3, equivariant many-body interactions; the role:
        Batatia et al. 2022 (arXiv 2206.07697), eq. (10).

    >>> basis = GauntProductBasis("4x0e+4x1o+4x2e", "4x0e+4x1o", order=3, num_species=2)
    >>> basis(torch.randn(5, 36), torch.tensor([0, 0, 1, 1, 0])).shape
    torch.Size([5, 16])
    """

    def __init__(
        self,
        irreps_in: Any,
        irreps_out: Any,
        order: int = 3,
        num_species: int | None = None,
        mode: Literal["pointwise", "tree"] = "pointwise",
        *,
        antisymmetric: bool = False,
        mixing: bool | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = as_irreps(irreps_in, "irreps_in"), as_irreps(irreps_out, "irreps_out")
        for name, irreps in (("irreps_in", self.irreps_in), ("irreps_out", self.irreps_out)):
            check_each_once(irreps, name)
        self.channels = one_multiplicity(self.irreps_in, self.irreps_out)
        if order < 1:
            raise ValueError(f"order must be 1 or more; got {order}")
        if mode not in ("pointwise", "tree"):
            raise ValueError(f'mode must be "pointwise" or "tree"; got {mode!r}')
        if num_species is not None and num_species < 1:
            raise ValueError(f"num_species must be 1 or more, or None; got {num_species}")
        self.order, self.num_species, self.mode = check_degree(order, "order"), num_species, mode
        self.antisymmetric = antisymmetric
        tops, self._wanted = top_degrees(self.irreps_in), top_degrees(self.irreps_out)
        self._reach = _reach(tops, order, antisymmetric)
        self._check_reach()
        C, self._lmax = self.channels, max(tops.values())
        mixing = antisymmetric if mixing is None else mixing
        self.copies = nn.ModuleList(_ByDegree(C, tops, mixing) for _ in range(order))
        self._stepwise = mode == "tree" or antisymmetric
        kept = [self._kept(nu) for nu in range(2, order)] if self._stepwise else []
        self.between = nn.ModuleList(_ByDegree(C, tops, mixing=False) for tops in kept)
        shape = num_species or 1, C
        self.after = nn.ModuleList(
            _ByParity({s: torch.randn(*shape, top + 1) for s, top in self._wanted.items() if s in reach})
            for reach in self._reach
        )

    def forward(
        self, x: Float[Tensor, "*batch dim_in"], species: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch dim_out"]:
        """The features; `species` are numbers from 0 below `num_species`, and left out where that is None.

        Raises:
            ValueError: the last axis is not that of the irreps, or species are missing or too many.
        """
        check_features("x", x, self.irreps_in)
        if (species is None) != (self.num_species is None):
            raise ValueError(f"species must be given if and only if num_species is; num_species is {self.num_species}")
        a = to_signals(x, self.irreps_in)
        unit = math.sqrt(4 * math.pi) / (self._lmax + 1)  # values at points have unit variance
        a = {s: unit * v for s, v in a.items()}
        copies: list[Signals] = [copy(a) for copy in self.copies]
        powers = self._tree(copies) if self._stepwise else self._pointwise(copies)
        total: Signals = {}
        for nu, power in enumerate(powers):
            weights: Any = self.after[nu]
            scale = 1 / math.sqrt(4 * math.pi * self.order) if nu else 1 / unit / math.sqrt(self.order)
            for s, weight in weights.items():
                weight = by_degree(weight.to(x.dtype))
                weight = weight[0] if species is None else weight[species]
                part = scale * power[s][..., : weight.shape[-1]]
                part = part * weight[..., : part.shape[-1]]
                part = nn.functional.pad(part, (0, weight.shape[-1] - part.shape[-1]))
                total[s] = total[s] + part if s in total else part
        return from_signals(total, self.irreps_out)

    def _pointwise(self, copies: list[Signals]) -> list[Signals]:
        """Every order from values on one grid that is exact for the highest."""
        tops = top_degrees(self.irreps_in)
        grid = SphereGrid(self.order * self._lmax + max(self._wanted.values()))
        powers, values = [copies[0]], {1: None}
        for nu, copy in enumerate(copies):
            factor = {s: grid.to_grid(v, tops[s]) for s, v in copy.items()}
            if nu == 0:
                values = factor
                continue
            values = _summed([(s * t, f * g) for s, f in values.items() for t, g in factor.items()])
            powers.append({s: grid.from_grid(v, self._wanted[s]) for s, v in values.items() if s in self._wanted})
        return powers

    def _tree(self, copies: list[Signals]) -> list[Signals]:
        """Every order from the one before, as coefficients."""
        powers, carried = [copies[0]], copies[0]
        for nu, copy in enumerate(copies[1:], 2):
            kept, terms = self._kept(nu), []
            for s, f in carried.items():
                for t, g in copy.items():
                    both = math.isqrt(f.shape[-1]) + math.isqrt(g.shape[-1]) - 2
                    for sign, bracket in ((s * t, False), (-s * t, True)):
                        if sign in kept and (self.antisymmetric or not bracket):
                            z = gaunt_product(f, g, min(kept[sign], both), antisymmetric=bracket, normalized=True)
                            terms.append((sign, nn.functional.pad(z, (0, (kept[sign] + 1) ** 2 - z.shape[-1]))))
            powers.append(_summed(terms))
            carried = self.between[nu - 2](powers[-1]) if nu < self.order else {}
        return powers

    def _kept(self, nu: int) -> dict[int, int]:
        """The degrees of an order that the output or a later one has use of."""
        most = max(self._wanted.values()) + (self.order - nu) * self._lmax
        return {s: min(top, most) for s, top in self._reach[nu - 1].items()}

    def _check_reach(self) -> None:
        for _, ir in self.irreps_out:
            if not any(reach.get(parity_on_sphere(ir), -1) >= ir.l for reach in self._reach):
                words = "" if self.antisymmetric else ", as products alone do not change parity on the sphere"
                raise ValueError(f"irreps_out must be in products of {self.irreps_in}; {ir} is not{words}")

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, order={self.order}, mode={self.mode!r}"


class SelfMix(nn.Module):
    """`x + Linear(product(Linear(x), Linear(x)))`: features of one node, mixed with each other.

    Arguments:
        irreps: every irrep once, all with the same number of copies.
        antisymmetric: include the bracket; `"auto"` where it reaches more.

    Source: in the spirit of the addition to EquiformerV2 of Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section
        4.1; where exactly theirs stands is not published.

    >>> SelfMix("4x0e+4x1o")(torch.randn(5, 16)).shape
    torch.Size([5, 16])
    """

    def __init__(self, irreps: Any, *, antisymmetric: Literal["auto"] | bool = "auto") -> None:
        super().__init__()
        from torsor.build.so3._gaunt_tensor_product import GauntTensorProduct
        from torsor.build.so3._linear import Linear

        irreps = as_irreps(irreps, "irreps")
        check_each_once(irreps, "irreps")
        self.left, self.right, self.out = (Linear(irreps, irreps) for _ in range(3))
        self.product = GauntTensorProduct(irreps, irreps, irreps, antisymmetric=antisymmetric)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The mixed features."""
        return x + self.out(self.product(self.left(x), self.right(x)))


class _ByParity(nn.Module):
    """A parameter for each parity on the sphere."""

    def __init__(self, tensors: dict[int, Tensor]) -> None:
        super().__init__()
        self.signs = list(tensors)
        self.weights = nn.ParameterList(nn.Parameter(tensor) for tensor in tensors.values())

    def items(self) -> list[tuple[int, Tensor]]:
        return list(zip(self.signs, self.weights))


class _ByDegree(nn.Module):
    """Signals with their degrees weighted in each channel, or with the channels of each degree mixed."""

    def __init__(self, channels: int, tops: dict[int, int], mixing: bool) -> None:
        super().__init__()
        shape = (channels, channels) if mixing else (channels,)
        scale = 1 / math.sqrt(channels) if mixing else 1.0
        self.mixing = mixing
        self.weights = _ByParity({s: scale * torch.randn(*shape, top + 1) for s, top in tops.items()})

    def forward(self, signals: Signals) -> Signals:
        found = {}
        for s, weight in self.weights.items():
            weight, signal = by_degree(weight.to(signals[s].dtype)), signals[s]
            found[s] = torch.einsum("dck,...ck->...dk", weight, signal) if self.mixing else weight * signal
        return found


def _reach(tops: dict[int, int], order: int, antisymmetric: bool) -> list[dict[int, int]]:
    """For each number of factors the highest degree of each parity."""
    steps = [tops]
    for _ in range(order - 1):
        found: dict[int, int] = {}
        for s, a in steps[-1].items():
            for t, b in tops.items():
                found[s * t] = max(found.get(s * t, 0), a + b)
                if antisymmetric and min(a, b) > 0:  # a bracket reaches one degree less
                    found[-s * t] = max(found.get(-s * t, 0), a + b - 1)
        steps.append(found)
    return steps


def _summed(terms: list[tuple[int, Tensor]]) -> Signals:
    found: Signals = {}
    for sign, z in terms:
        found[sign] = found[sign] + z if sign in found else z
    return found

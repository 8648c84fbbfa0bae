"""Convolutions over the edges of a graph: features of neighbours times filters made of spherical harmonics."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from torsor.actions import Irrep, Irreps, spherical_harmonics
from torsor.build.so3._aligned import Coupling, aligned_messages
from torsor.build.so3._blocks import inverse_growth
from torsor.build.so3._grid import SphereGrid, check_degree, transform
from torsor.build.so3._linear import check_features, mlp
from torsor.build.so3._paths import as_irreps, couples, has_odd_path, one_multiplicity, parity_on_sphere, product_paths
from torsor.build.so3._product import check_dtype
from torsor.build.so3._signals import by_degree, check_each_once, from_signals, to_signals, top_degrees
from torsor.build.so3._tables import constants

ZeroEdge = Literal["raise", "zero"]


class _Convolution(nn.Module):
    """What both convolutions share: the graph, the checks and the radial network."""

    def __init__(
        self,
        irreps_node: Any,
        lmax_edge: int,
        irreps_out: Any,
        radial_dim: int,
        hidden: tuple[int, ...],
        zero_edge: ZeroEdge,
    ) -> None:
        super().__init__()
        self.irreps_node, self.irreps_out = as_irreps(irreps_node, "irreps_node"), as_irreps(irreps_out, "irreps_out")
        for name, irreps in (("irreps_node", self.irreps_node), ("irreps_out", self.irreps_out)):
            check_each_once(irreps, name)
        self.channels = one_multiplicity(self.irreps_node, self.irreps_out)
        self.lmax_edge = check_degree(lmax_edge, "lmax_edge")
        self.irreps_edge = Irreps([(1, Irrep(l, (-1) ** l)) for l in range(lmax_edge + 1)])
        if radial_dim < 1:
            raise ValueError(f"radial_dim must be 1 or more; got {radial_dim}")
        if zero_edge not in ("raise", "zero"):
            raise ValueError(f'zero_edge must be "raise" or "zero"; got {zero_edge!r}')
        self.radial_dim, self.hidden, self.zero_edge = radial_dim, tuple(hidden), zero_edge

    def forward(
        self,
        x_node: Float[Tensor, "nodes dim_in"],
        edge_index: Int[Tensor, "2 edges"],
        edge_vec: Float[Tensor, "edges 3"],
        radial: Float[Tensor, "edges radial"],
    ) -> Float[Tensor, "nodes dim_out"]:
        """The sum over the edges that end in each node; edges go from `edge_index[0]` to `edge_index[1]`.

        Raises:
            ValueError: shapes or devices that do not fit; an edge of length 0 unless `zero_edge="zero"`.
        """
        self._check(x_node, edge_index, edge_vec, radial)
        if self.zero_edge == "zero":
            long = (edge_vec.detach() != 0).any(-1)
            radial = torch.where(long[:, None], radial, 0)
        elif not torch.compiler.is_compiling() and not bool((edge_vec.detach() != 0).any(-1).all()):
            at = int((edge_vec.detach() == 0).all(-1).nonzero()[0, 0])
            raise ValueError(f'edge_vec must not be zero, as edge {at} is; mask such edges or pass zero_edge="zero"')
        return self._convolve(x_node, edge_index, edge_vec, radial)

    def _convolve(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> Tensor:
        raise NotImplementedError

    def _aligned(
        self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, weight: Tensor, couplings: list[Coupling]
    ) -> Tensor:
        """The sum over edges of messages that are made in the frame of each edge."""
        source, target = edge_index
        direction = spherical_harmonics(1, edge_vec, normalization="norm")[:, 1:]
        messages = aligned_messages(x[source], direction, weight, self.irreps_node, self.irreps_out, couplings)
        return messages.new_zeros(len(x), messages.shape[-1]).index_add(0, target, messages)

    def _check(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> None:
        check_features("x_node", x, self.irreps_node)
        for name, v, last in (("edge_vec", edge_vec, 3), ("radial", radial, self.radial_dim)):
            check_dtype(name, v)
            if v.shape != (edge_index.shape[-1], last):
                raise ValueError(f"{name} must be ({edge_index.shape[-1]}, {last}), a row for each edge of edge_index; "
                                 f"got shape {tuple(v.shape)}")  # fmt: skip
        if edge_index.ndim != 2 or len(edge_index) != 2:
            raise ValueError(f"edge_index must be (2, edges); got shape {tuple(edge_index.shape)}")
        if len({v.device for v in (x, edge_index, edge_vec, radial)}) > 1:
            raise ValueError("x_node, edge_index, edge_vec and radial must be on one device")

    def extra_repr(self) -> str:
        return f"{self.irreps_node} x {self.irreps_edge} -> {self.irreps_out}"


class GauntConv(_Convolution):
    """Features as signals on the sphere times a zonal filter around each edge, summed over the edges of a node.

    `z_i(n) = sum_j x_j(n) F_ij(n)` with `F_ij(n) = sum_l h_l(radial_ij) sum_m Y_lm(r_ij) Y_lm(n)`, h from a network
    without bias: where `radial` is zero, so is the message. Smooth in the directions: there are no frames. With the
    bracket, outputs that take odd sums of degrees come from filters of their own.

    Arguments:
        irreps_node: of the inputs, every entry with the same number of copies, the channels.
        lmax_edge: highest degree of the filter.
        irreps_out: of the result, the same number of copies.
        radial_dim: what is known of an edge beside its direction.
        hidden: layers of the radial network.
        antisymmetric: include the bracket; `"auto"` where an output has a path of odd degree sum.
        normalization: `"component"` gives a message unit variance for inputs and filters of unit variance, `"none"`
            leaves the raw blocks.
        zero_edge: what to do with edges of length 0, which have no direction: `"raise"` or `"zero"`, no message.
        backend: `"grid"`, values at points, or `"aligned"`, in the frame of each edge; the numbers are the same.

    Raises:
        ValueError: multiplicities differ, an output is out of reach (with the reason), an unknown option.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 3.3, equivariant convolution; the frames: Passaro,
        Zitnick 2023 (arXiv 2302.03655).

    >>> conv = GauntConv("8x0e+8x1o", 3, "8x0e+8x1o+8x2e", radial_dim=4)
    >>> edges = torch.tensor([[0, 1, 2], [1, 0, 1]])
    >>> conv(torch.randn(3, 32), edges, torch.randn(3, 3), torch.randn(3, 4)).shape
    torch.Size([3, 72])
    """

    def __init__(
        self,
        irreps_node: Any,
        lmax_edge: int,
        irreps_out: Any,
        radial_dim: int,
        *,
        hidden: tuple[int, ...] = (32, 32),
        antisymmetric: Literal["auto"] | bool = "auto",
        normalization: Literal["component", "none"] = "component",
        zero_edge: ZeroEdge = "raise",
        backend: Literal["grid", "aligned"] = "grid",
    ) -> None:
        super().__init__(irreps_node, lmax_edge, irreps_out, radial_dim, hidden, zero_edge)
        if backend not in ("grid", "aligned"):
            raise ValueError(f'backend must be "grid" or "aligned"; got {backend!r}')
        if antisymmetric == "auto":
            antisymmetric = has_odd_path(self.irreps_node, self.irreps_edge, self.irreps_out)
        self.antisymmetric, self.backend = antisymmetric, backend
        parts = self.irreps_node, self.irreps_edge, self.irreps_out
        self.paths, self._scales = product_paths(*parts, antisymmetric, normalization)
        tops, out = top_degrees(self.irreps_node), top_degrees(self.irreps_out)
        # each product of a signal with a filter: parity of the input, of the output, whether it is a bracket
        self._terms = [(s, s, False) for s in tops if s in out]
        self._terms += [(s, -s, True) for s in tops if -s in out and antisymmetric]
        self._tops, self._out_tops = tops, out
        self.radial = mlp((radial_dim, *self.hidden, len(self._terms) * (lmax_edge + 1) * self.channels))
        self.before = nn.ParameterList(nn.Parameter(torch.ones(self.channels, tops[s] + 1)) for s, _, _ in self._terms)
        self.after = nn.ParameterList(nn.Parameter(torch.randn(self.channels, out[t] + 1)) for _, t, _ in self._terms)

    def to_path_weights(self, radial: Float[Tensor, "edges radial"]) -> Float[Tensor, "edges paths channels"]:
        """The weights of each of `paths` on `wigner_3j`: what a `uvu` CG product with the harmonics would carry."""
        h = self._filters(radial)
        terms = {(s, bracket): t for t, (s, _, bracket) in enumerate(self._terms)}
        columns = []
        for path in self.paths:
            i, _, _ = path.entries
            sign = parity_on_sphere(self.irreps_node.entries[i][1])
            t = terms[sign, path.kind == "bracket"]
            a, e = self.before[t][:, path.l1], self.after[t][:, path.l3]
            columns.append(path.coefficient * h[:, t, :, path.l2] * (a * e).to(h.dtype))
        return torch.stack(columns, 1)

    def _convolve(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> Tensor:
        source, target = edge_index
        if self.backend == "aligned":
            return self._aligned(x, edge_index, edge_vec, self.to_path_weights(radial), self._couplings)
        h, Y = self._filters(radial), spherical_harmonics(self.lmax_edge, edge_vec)
        signals = to_signals(x, self.irreps_node)
        z: dict[int, Tensor] = {}
        for t, (s, sign, bracket) in enumerate(self._terms):
            top = self._out_tops[sign]
            values = self._on_grid(signals[s], h[:, t], Y, source, target, by_degree(self.before[t]).to(x.dtype),
                                   min(top, self._tops[s] + self.lmax_edge), bracket)  # fmt: skip
            reach = math.isqrt(values.shape[-1]) - 1
            values = values * by_degree(self.after[t][:, : reach + 1]).to(x.dtype)
            values = torch.nn.functional.pad(values, (0, (top + 1) ** 2 - values.shape[-1]))
            z[sign] = z[sign] + values if sign in z else values
        scales = {ir: scale for (_, ir), scale in zip(self.irreps_out, self._scales)}
        out = from_signals(z, self.irreps_out)
        size = [scales[ir] for count, ir in self.irreps_out for _ in range(count * ir.dim)]
        return out * constants(_as_array, tuple(size), dtype=x.dtype, device=x.device)[0]

    def _on_grid(
        self, x: Tensor, h: Tensor, Y: Tensor, source: Tensor, target: Tensor, before: Tensor, top: int, bracket: bool
    ) -> Tensor:
        """The sum over edges as values at points, then its coefficients up to a degree."""
        L1 = math.isqrt(x.shape[-1]) - 1
        if L1 == 0 and not bracket:  # a number times the filter
            size = (top + 1) ** 2
            messages = (x * before)[source] * by_degree(h)[..., :size] * (Y / math.sqrt(4 * math.pi))[:, None, :size]
            return x.new_zeros(len(x), self.channels, size).index_add(0, target, messages)
        grid = SphereGrid(max(L1 + self.lmax_edge + top - bracket, 0))
        x = x * before
        pairs = [("first", "second", 1), ("second", "first", -1)] if bracket else [("values", "values", 1)]
        if bracket:
            x, Y = (
                v * constants(_growth, L, dtype=x.dtype, device=x.device)[0] for v, L in ((x, L1), (Y, self.lmax_edge))
            )
        total = x.new_zeros(len(x), self.channels, len(grid))
        for one, other, sign in pairs:
            left = grid.table(one, L1, x.dtype, x.device)
            key = grid.degree, grid.rule, other, self.lmax_edge
            (right,) = constants(_zonal, *key, dtype=x.dtype, device=x.device)
            filters = torch.bmm(h, (Y @ right).unflatten(-1, (self.lmax_edge + 1, len(grid))))
            messages = (x @ left)[source] * filters
            total = total.index_add(0, target, messages, alpha=sign)
        return grid.from_grid(total, top)

    def _filters(self, radial: Tensor) -> Tensor:
        """(edges, terms, channels, degrees)."""
        return self.radial(radial).unflatten(-1, (len(self._terms), self.channels, self.lmax_edge + 1))

    @property
    def _couplings(self) -> list[Coupling]:
        paths = self.paths
        return [(Irrep(p.l1, p.p1), p.l2, Irrep(p.l3, p.p3), p.entries[0], p.entries[2]) for p in paths]


class SO2Conv(_Convolution):
    """The convolution with every Clebsch-Gordan path, a weight for each edge, path and channel, at a cost of O(L^3).

    Features are turned into the frame of the edge, where the path weights become one matrix for each order m, and
    back. The frames are polynomial in the direction on two halves of the sphere: derivatives exist everywhere.

    Arguments: those of `GauntConv`. Inputs and outputs of any parity; `radial_dim` numbers of an edge give
    `len(paths) * channels` weights through a network without bias.

    Source: Passaro, Zitnick 2023 (arXiv 2302.03655).

    >>> conv = SO2Conv("8x0e+8x1o", 3, "8x0e+8x1o+8x1e", radial_dim=4)
    >>> edges = torch.tensor([[0, 1, 2], [1, 0, 1]])
    >>> conv(torch.randn(3, 32), edges, torch.randn(3, 3), torch.randn(3, 4)).shape, len(conv.paths)
    (torch.Size([3, 56]), 6)
    """

    def __init__(
        self,
        irreps_node: Any,
        lmax_edge: int,
        irreps_out: Any,
        radial_dim: int,
        *,
        hidden: tuple[int, ...] = (32, 32),
        normalization: Literal["component", "none"] = "component",
        zero_edge: ZeroEdge = "raise",
    ) -> None:
        super().__init__(irreps_node, lmax_edge, irreps_out, radial_dim, hidden, zero_edge)
        if normalization not in ("component", "none"):
            raise ValueError(f'normalization must be "component" or "none"; got {normalization!r}')
        product_paths(self.irreps_node, self.irreps_edge, self.irreps_out, True, "none")  # says what is out of reach
        self.paths = all_couplings(self.irreps_node, self.lmax_edge, self.irreps_out)
        arriving = [sum(path[4] == k for path in self.paths) for k in range(len(self.irreps_out))]
        even = [math.sqrt(path[2].dim / arriving[path[4]]) for path in self.paths]
        self._scales = even if normalization == "component" else [1.0] * len(even)
        self.radial = mlp((radial_dim, *self.hidden, len(self.paths) * self.channels))

    def to_path_weights(self, radial: Float[Tensor, "edges radial"]) -> Float[Tensor, "edges paths channels"]:
        """The weights of each of `paths` on `wigner_3j`: those of a `uvu` product of e3nn without normalisation."""
        weight = self.radial(radial).unflatten(-1, (len(self.paths), self.channels))
        return weight * constants(_as_column, tuple(self._scales), dtype=weight.dtype, device=weight.device)[0]

    def _convolve(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> Tensor:
        return self._aligned(x, edge_index, edge_vec, self.to_path_weights(radial), self.paths)


def all_couplings(irreps_node: Irreps, lmax_edge: int, irreps_out: Irreps) -> list[Coupling]:
    """Every path from the irreps of a node and the harmonics of an edge, by output."""
    return [
        (a, l, c, i, k)
        for k, (_, c) in enumerate(irreps_out)
        for i, (_, a) in enumerate(irreps_node)
        for l in range(lmax_edge + 1)
        if couples(a, Irrep(l, (-1) ** l), c)
    ]


def _as_array(numbers: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    return (np.array(numbers),)


def _as_column(numbers: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    return (np.array(numbers)[:, None],)


def _zonal(degree: int, rule: str, name: str, lmax: int) -> tuple[np.ndarray, ...]:
    """(harmonics, degrees times points): the part of each degree at the points of a grid."""
    (table,) = transform(degree, rule, False, name, lmax)
    parts = np.zeros((len(table), lmax + 1, table.shape[1]))
    for l in range(lmax + 1):
        parts[l * l : (l + 1) ** 2, l] = table[l * l : (l + 1) ** 2]
    return (parts.reshape(len(table), -1),)


def _growth(lmax: int) -> tuple[np.ndarray, ...]:
    return (inverse_growth(lmax),)

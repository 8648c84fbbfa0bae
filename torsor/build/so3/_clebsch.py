"""The layers that Gaunt products are compared with: a weight for every Clebsch-Gordan path."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from torsor.actions import Irrep, Irreps, spherical_harmonics, wigner_3j
from torsor.build.so3._conv import _Convolution, all_couplings
from torsor.build.so3._linear import Linear, mlp
from torsor.build.so3._paths import couples
from torsor.build.so3._tables import constants

Engine = Literal["cg", "e3nn"]


class ClebschConv(_Convolution):
    """Every path of node and edge with a weight for each edge and channel, summed over edges, then mixed.

    `engine="e3nn"` computes the products by `e3nn.o3.TensorProduct`, `"cg"` by our own tables; all else is the same.
    """

    def __init__(self, irreps_node: Any, lmax_edge: int, irreps_out: Any, radial_dim: int, engine: Engine) -> None:
        super().__init__(irreps_node, lmax_edge, irreps_out, radial_dim, (32, 32), "raise")
        C = self.channels
        self.paths = all_couplings(self.irreps_node, lmax_edge, self.irreps_out)
        self._scales = tuple(math.sqrt(c.dim) for _, _, c, _, _ in self.paths)
        self.radial = mlp((radial_dim, 32, 32, len(self.paths) * C))
        self.irreps_paths = Irreps([(C, c) for _, _, c, _, _ in self.paths])
        self.mix = Linear(self.irreps_paths, self.irreps_out)
        self.product = None
        if engine == "e3nn":
            from e3nn import o3

            parts = [o3.Irreps(str(v)) for v in (self.irreps_node, self.irreps_edge, self.irreps_paths)]
            self.product = o3.TensorProduct(
                *parts, [(i, l, p, "uvu", True) for p, (_, l, _, i, _) in enumerate(self.paths)],
                irrep_normalization="component", path_normalization="element",
                shared_weights=False, internal_weights=False,
            )  # fmt: skip

    def _convolve(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> Tensor:
        source, target = edge_index
        Y, weight = spherical_harmonics(self.lmax_edge, edge_vec), self.radial(radial)
        if self.product is not None:
            messages = self.product(x[source], Y, weight)
        else:
            messages = self._messages(x[source], Y, weight.unflatten(-1, (len(self.paths), self.channels)))
        return self.mix(messages.new_zeros(len(x), messages.shape[-1]).index_add(0, target, messages))

    def _messages(self, x: Tensor, Y: Tensor, weight: Tensor) -> Tensor:
        """Per input irrep one matrix of each edge, made from its harmonics, for all paths and channels."""
        parts: list[Tensor] = [x] * len(self.paths)
        for i, ((count, ir), where) in enumerate(zip(self.irreps_node, self.irreps_node.slices())):
            mine = [p for p, path in enumerate(self.paths) if path[3] == i]
            key = tuple((*self.paths[p][:3], self._scales[p]) for p in mine)
            (table,) = constants(_edge_matrix, self.lmax_edge, key, dtype=x.dtype, device=x.device)
            M = (Y @ table).unflatten(-1, (ir.dim, -1))
            products = torch.bmm(x[:, where].unflatten(-1, (count, ir.dim)), M)
            for p, part in zip(mine, products.split([self.paths[p][2].dim for p in mine], -1)):
                parts[p] = (part * weight[:, p, :, None]).flatten(1)
        return torch.cat(parts, -1)


class ClebschProductBasis(nn.Module):
    """A, A x A and (A x A) x A by channels, every path with a weight, summed with weights for each species."""

    def __init__(self, irreps_in: Any, irreps_out: Any, num_species: int, engine: Engine) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        C = self.irreps_in.entries[0][0]
        inner = Irreps([*self.irreps_in, *(e for e in self.irreps_out if e not in self.irreps_in.entries)])
        self.irreps_inner = inner
        make = _e3nn_uuu if engine == "e3nn" else _Uuu
        self.products = nn.ModuleList([make(self.irreps_in, self.irreps_in, inner),
                                       make(inner, self.irreps_in, self.irreps_out)])  # fmt: skip
        self.after = nn.ParameterList(
            nn.Parameter(torch.randn(num_species, len(self.irreps_out), C) / math.sqrt(3)) for _ in range(3)
        )

    def forward(self, x: Tensor, species: Tensor) -> Tensor:
        """The features."""
        square = self.products[0](x, x)
        powers = [(x, self.irreps_in), (square, self.irreps_inner), (self.products[1](square, x), self.irreps_out)]
        total = []
        for k, (count, ir) in enumerate(self.irreps_out):
            terms = []
            for (power, irreps), after in zip(powers, self.after):
                where = [w for (_, other), w in zip(irreps, irreps.slices()) if other == ir]
                if where:
                    block = power[..., where[0]].unflatten(-1, (count, ir.dim))
                    terms.append(after.to(x.dtype)[species, k].unsqueeze(-1) * block)
            total.append(sum(terms[1:], terms[0]).flatten(-2))
        return torch.cat(total, -1)


class _Uuu(nn.Module):
    """The path-weighted product by channels, as one table for each channel made from its weights."""

    def __init__(self, in1: Irreps, in2: Irreps, out: Irreps) -> None:
        super().__init__()
        self.irreps = in1, in2, out
        self.channels = in1.entries[0][0]
        self.paths = _uuu_paths(in1, in2, out)
        self.weight = nn.Parameter(torch.randn(len(self.paths), self.channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        (paths,) = constants(_path_tables, *(v.entries for v in self.irreps), dtype=x.dtype, device=x.device)
        table = torch.einsum("pc,pijk->cijk", self.weight.to(x.dtype), paths)
        a, b = (self._dense(v, irreps) for v, irreps in ((x, self.irreps[0]), (y, self.irreps[1])))
        outer = (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)  # (n, C, ij)
        z = torch.bmm(outer.flatten(0, -3).transpose(0, 1), table.flatten(1, 2)).transpose(0, 1)
        z = z.unflatten(0, x.shape[:-1]) if x.ndim != 2 else z
        ends = np.cumsum([0, *(ir.dim for _, ir in self.irreps[2])])
        return torch.cat([z[..., start:stop].flatten(-2) for start, stop in itertools.pairwise(ends)], -1)

    def _dense(self, x: Tensor, irreps: Irreps) -> Tensor:
        return torch.cat([x[..., w].unflatten(-1, (n, ir.dim)) for (n, ir), w in zip(irreps, irreps.slices())], -1)


def _e3nn_uuu(in1: Irreps, in2: Irreps, out: Irreps) -> nn.Module:
    from e3nn import o3

    instructions = [(i, j, k, "uuu", True) for i, j, k in _uuu_paths(in1, in2, out)]
    return o3.TensorProduct(
        *(o3.Irreps(str(v)) for v in (in1, in2, out)), instructions,
        irrep_normalization="component", path_normalization="element",
    )  # fmt: skip


def _uuu_paths(in1: Irreps, in2: Irreps, out: Irreps) -> list[tuple[int, int, int]]:
    return [
        (i, j, k)
        for k, (_, c) in enumerate(out)
        for i, (_, a) in enumerate(in1)
        for j, (_, b) in enumerate(in2)
        if couples(a, b, c)
    ]


def _path_tables(in1: tuple, in2: tuple, out: tuple) -> tuple[np.ndarray, ...]:
    """(paths, i, j, k), normalised for unit variance."""
    parts = Irreps(in1), Irreps(in2), Irreps(out)
    paths = _uuu_paths(*parts)
    starts = [np.cumsum([0, *(ir.dim for _, ir in part)]) for part in parts]
    arriving = [sum(path[2] == k for path in paths) for k in range(len(out))]
    tables = np.zeros((len(paths), *(int(start[-1]) for start in starts)))
    for table, path in zip(tables, paths):
        irs = [part.entries[n][1] for part, n in zip(parts, path)]
        place = tuple(slice(start[n], start[n + 1]) for start, n in zip(starts, path))
        block = wigner_3j(*(ir.l for ir in irs)).numpy()
        table[place] = math.sqrt(irs[2].dim / arriving[path[2]]) * block
    return (tables,)


def _edge_matrix(lmax: int, paths: tuple[tuple[Irrep, int, Irrep, float], ...]) -> tuple[np.ndarray, ...]:
    """(harmonics, m1 times all m3): what harmonics make of the paths from one irrep."""
    size = paths[0][0].dim
    blocks = []
    for a, l, c, scale in paths:
        block = np.zeros(((lmax + 1) ** 2, size, c.dim))
        block[l * l : (l + 1) ** 2] = scale * wigner_3j(a.l, l, c.l).numpy().transpose(1, 0, 2)
        blocks.append(block)
    return (np.concatenate(blocks, -1).reshape((lmax + 1) ** 2, -1),)

"""The layers that Gaunt products are compared with: a weight for every Clebsch-Gordan path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torsor.actions import Irreps, spherical_harmonics
from torsor.build.so3._conv import _Convolution, all_couplings
from torsor.build.so3._linear import Linear, mlp
from torsor.build.so3._paths import couples
from torsor.build.so3._sparse_tensor_product import SparseTensorProduct

Engine = Literal["cg", "e3nn"]


class ClebschConv(_Convolution):
    """Every path of node and edge with a weight for each edge and channel, summed over edges, then mixed.

    `engine="e3nn"` computes the products by `e3nn.o3.TensorProduct`, `"cg"` by ours; all else is the same.
    """

    def __init__(self, irreps_node: Any, lmax_edge: int, irreps_out: Any, radial_dim: int, engine: Engine) -> None:
        super().__init__(irreps_node, lmax_edge, irreps_out, radial_dim, (32, 32), "raise")
        self.paths = all_couplings(self.irreps_node, lmax_edge, self.irreps_out)
        self.radial = mlp((radial_dim, *self.hidden, len(self.paths) * self.channels))
        between = Irreps([(self.channels, c) for _, _, c, _, _ in self.paths])
        instructions = [(i, l, p, "uvu", True) for p, (_, l, _, i, _) in enumerate(self.paths)]
        parts = self.irreps_node, self.irreps_edge, between
        self.product = _product(engine, parts, instructions, shared_weights=False, internal_weights=False)
        self.mix = Linear(between, self.irreps_out)

    def _convolve(self, x: Tensor, edge_index: Tensor, edge_vec: Tensor, radial: Tensor) -> Tensor:
        source, target = edge_index
        messages = self.product(x[source], spherical_harmonics(self.lmax_edge, edge_vec), self.radial(radial))
        return self.mix(messages.new_zeros(len(x), messages.shape[-1]).index_add(0, target, messages))


class ClebschProductBasis(nn.Module):
    """A, A x A and (A x A) x A by channels, every path with a weight, summed with weights for each species."""

    def __init__(self, irreps_in: Any, irreps_out: Any, num_species: int, engine: Engine) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        channels = self.irreps_in.entries[0][0]
        both = self.irreps_in, self.irreps_in, self.irreps_in
        then = self.irreps_in, self.irreps_in, self.irreps_out
        self.products = nn.ModuleList(_product(engine, parts, _uuu(*parts)) for parts in (both, then))
        shape = num_species, len(self.irreps_out), channels
        self.after = nn.ParameterList(nn.Parameter(torch.randn(shape) / math.sqrt(3)) for _ in range(3))

    def forward(self, x: Tensor, species: Tensor) -> Tensor:
        """The features."""
        square = self.products[0](x, x)
        powers = [(x, self.irreps_in), (square, self.irreps_in), (self.products[1](square, x), self.irreps_out)]
        total = []
        for k, (count, ir) in enumerate(self.irreps_out):
            terms = []
            for (power, irreps), after in zip(powers, self.after):
                where = dict(zip((other for _, other in irreps), irreps.slices()))
                block = power[..., where[ir]].unflatten(-1, (count, ir.dim))
                terms.append(after.to(x.dtype)[species, k].unsqueeze(-1) * block)
            total.append(sum(terms[1:], terms[0]).flatten(-2))
        return torch.cat(total, -1)


def _product(engine: Engine, parts: Sequence[Irreps], instructions: list[tuple], **options: Any) -> nn.Module:
    if engine == "cg":
        in1, in2, out = parts
        return SparseTensorProduct(in1, in2, out, instructions, **options)
    from e3nn import o3

    return o3.TensorProduct(*(o3.Irreps(str(irreps)) for irreps in parts), instructions, **options)


def _uuu(in1: Irreps, in2: Irreps, out: Irreps) -> list[tuple]:
    return [
        (i, j, k, "uuu", True)
        for k, (_, c) in enumerate(out)
        for i, (_, a) in enumerate(in1)
        for j, (_, b) in enumerate(in2)
        if couples(a, b, c)
    ]

"""Relaxed weights: equivariant matrices whose share in the weight depends on the coordinate of the input."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from torsor.actions import Rep
from torsor.groups import Group
from torsor.learn._soft_linear import EquivariantLinear


class RelaxedLinear(nn.Module):
    """A linear layer `W = sum_l Psi_l diag(a_l)`: equivariant matrices `Psi_l`, free weights `a_l` of the inputs.

    It starts equivariant, with all `a_l = 1`, and leaves the group as far as the `a_l` vary within a tensor.

    Arguments:
        rep_in, rep_out: representations of inputs and outputs.
        group: the group.
        terms: how many equivariant matrices.
        bias: with an equivariant bias.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Raises:
        ValueError: `terms` is below 1.

    Source: Wang, Walters, Yu 2022 (arXiv 2201.11969), section 4, the relaxed group convolution; here for any linear map
    between representations, with coordinates of the input in the place of group elements.

    >>> import torch
    >>> from torsor.actions import V
    >>> from torsor.groups import SO
    >>> layer = RelaxedLinear(2 * V, V, SO(3))
    >>> g, x = SO(3).sample(5), torch.randn(5, 6)
    >>> torch.allclose(layer((2 * V)(SO(3), g, x)), V(SO(3), g, layer(x)), atol=1e-5)  # as it starts
    True
    """

    def __init__(self, rep_in: Rep, rep_out: Rep, group: Group, terms: int = 2, *, bias: bool = True) -> None:
        super().__init__()
        if terms < 1:
            raise ValueError(f"terms must be at least 1 equivariant matrix; got {terms}")
        first = EquivariantLinear(rep_in, rep_out, group, by="projection", bias=bias)
        rest = [EquivariantLinear(rep_in, rep_out, group, by="projection", bias=False) for _ in range(terms - 1)]
        self.equivariant = nn.ModuleList([first, *rest])
        with torch.no_grad():
            for layer in self.equivariant:
                layer.weight_parameters.div_(math.sqrt(terms))  # type: ignore[union-attr, operator]
        self.relaxation = nn.Parameter(torch.ones(terms, first.basis.shape[1]))

    @property
    def weight(self) -> Float[Tensor, "dim_out dim_in"]:
        """The matrix."""
        return sum(layer.weight * a for layer, a in zip(self.equivariant, self.relaxation, strict=True))  # type: ignore[return-value, operator]

    @property
    def bias(self) -> Float[Tensor, " dim_out"] | None:
        """The invariant offset."""
        return self.equivariant[0].bias  # type: ignore[return-value]

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        return F.linear(x, self.weight, self.bias)

"""The linear maps between irreps: copies of one irrep are mixed, nothing else can be."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.build.so3._paths import as_irreps
from torsor.build.so3._product import check_dtype


class Linear(nn.Module):
    """Mixes the copies of each irrep: every equivariant linear map, without a bias.

    Outputs have unit variance for independent inputs of unit variance.

    Arguments:
        irreps_in: of the input.
        irreps_out: of the output; each irrep must be among the inputs.

    Raises:
        ValueError: an output irrep that no input has.

    >>> layer = Linear("8x0e+4x1o", "2x1o+3x0e")
    >>> layer(torch.randn(5, 20)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 9]), 32)
    """

    def __init__(self, irreps_in: Any, irreps_out: Any) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = as_irreps(irreps_in, "irreps_in"), as_irreps(irreps_out, "irreps_out")
        copies: dict[Any, int] = {}
        for count, ir in self.irreps_in:
            copies[ir] = copies.get(ir, 0) + count
        for _, ir in self.irreps_out:
            if ir not in copies:
                raise ValueError(f"irreps_out must hold irreps of irreps_in={self.irreps_in}; got {ir}")
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(copies[ir], count) / math.sqrt(copies[ir])) for count, ir in self.irreps_out
        )

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The mixed copies."""
        check_features("x", x, self.irreps_in)
        parts = {}
        for (count, ir), where in zip(self.irreps_in, self.irreps_in.slices()):
            parts.setdefault(ir, []).append(x[..., where].unflatten(-1, (count, ir.dim)))
        out = []
        for (_, ir), weight in zip(self.irreps_out, self.weights):
            block = parts[ir][0] if len(parts[ir]) == 1 else torch.cat(parts[ir], -2)
            out.append(torch.einsum("uv,...ui->...vi", weight.to(x.dtype), block).flatten(-2))
        return torch.cat(out, -1) if out else x[..., :0]

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}"


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Layers with SiLU between them and no bias, so that where the input vanishes the output does; unit variances."""
    layers: list[nn.Module] = []
    for n, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(before, after, bias=False)
        gain = 1.0 if n == 0 else 1.6765  # E SiLU(z)^2 = 1 / gain^2 for normal z
        nn.init.normal_(layer.weight, std=gain / math.sqrt(before))
        layers += [nn.SiLU(), layer] if n else [layer]
    return nn.Sequential(*layers)


def check_features(name: str, x: Tensor, irreps: Any) -> None:
    """What is wrong with features of these irreps, if anything."""
    check_dtype(name, x)
    if x.shape[-1:] != (irreps.dim(),):
        raise ValueError(f"{name} must be (..., {irreps.dim()}) for {irreps}; got shape {tuple(x.shape)}")

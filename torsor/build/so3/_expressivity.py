"""How much a layer can express: the rank of its outputs over random weights, and how many there are to reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torsor.actions import Irreps
from torsor.build.so3._paths import as_irreps


def degrees_of_freedom(
    module: nn.Module, *inputs: Tensor, irreps_out: Any = None, draws: int = 200, seed: int = 0, tol: float = 1e-9
) -> dict[str, int]:
    """How many linearly independent functions a layer reaches over all its weights, for each irrep of the output.

    Weights are drawn anew from a normal distribution, the outputs on a batch become one row, and the rank of all rows
    is counted: in the first copy of each irrep. Take more draws and more samples than functions, and float64.

    Arguments:
        module: any layer of ours or of e3nn; its weights are the same afterwards.
        inputs: what it is called with; the first axis of the output are samples.
        irreps_out: of the output; by default `module.irreps_out`.
        draws: of weights.
        seed: of the draws.
        tol: singular values below this share of the largest count as zero.

    Raises:
        ValueError: the rank is as high as the number of draws or of samples: there may be more.

    Source: Xie, Daigavane, Kotak, Smidt 2025 (arXiv 2506.13523), section 3.

    >>> from torsor.build.so3 import GauntTensorProduct
    >>> layer = GauntTensorProduct("1x0e+1x1o", "1x0e+1x1o").double()
    >>> x, y = torch.randn(2, 20, 4, dtype=torch.float64)
    >>> degrees_of_freedom(layer, x, y, draws=20)                # of each irrep one sum of paths, freely weighted
    {'0e': 2, '1e': 1, '1o': 2, '2e': 1}
    """
    irreps = as_irreps(module.irreps_out if irreps_out is None else irreps_out, "irreps_out")
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}
    generator = torch.Generator().manual_seed(seed)
    rows = []
    with torch.no_grad():
        try:
            for _ in range(draws):
                for p in module.parameters():
                    p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p))
                rows.append(module(*inputs))
        finally:
            for name, p in module.named_parameters():
                p.copy_(kept[name])
    out = torch.stack(rows)
    found: dict[str, int] = {}
    for (_, ir), where in zip(irreps, irreps.slices()):
        if str(ir) in found:
            continue
        numbers = out[..., where][..., : ir.dim].flatten(1).double()
        numbers = numbers / numbers.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        values = torch.linalg.svdvals(numbers)
        rank = int((values > tol * values[:1]).sum()) if len(values) and values[0] > 0 else 0
        if rank == min(numbers.shape):
            raise ValueError(f"draws and samples must exceed the rank; got {tuple(numbers.shape)}, all independent")
        found[str(ir)] = rank
    return found


def coupling_count(irreps: Any, order: int, irrep: Any = "0e") -> int:
    """How many independent polynomials of one order in a feature transform as an irrep of O(3).

    What a complete many-body basis has: the multiplicity in the symmetric power, by Molien's integral.

    Arguments:
        irreps: of the feature.
        order: of the polynomials, 0 or more.
        irrep: of what they give; scalars by default.

    Source: T. Molien 1897; Drautz 2019 (doi 10.1103/PhysRevB.99.014104) for the basis.

    >>> [coupling_count("0e+1o+2e", order) for order in (3, 4, 5)]
    [5, 9, 13]
    """
    feature, ((_, target), *rest) = as_irreps(irreps, "irreps"), as_irreps(irrep, "irrep").entries
    if rest:
        raise ValueError(f"irrep must be one irrep; got {irrep}")
    if order < 0:
        raise ValueError(f"order must be 0 or more; got {order}")
    # averages of trigonometric polynomials of this degree over equispaced angles are exact
    angle = 2 * np.pi * (np.arange(degree := 2 * (order * feature.lmax + target.l + 2)) + 0.5) / degree
    density = 1 - np.cos(angle)
    total = 0.0
    for inverted in (False, True):
        sums = [_character(feature, k * angle, inverted and k % 2 == 1) for k in range(1, order + 1)]
        power = [np.ones_like(angle)]  # Newton's identities: characters of symmetric powers
        for nu in range(1, order + 1):
            power.append(np.sum([sums[k - 1] * power[nu - k] for k in range(1, nu + 1)], axis=0) / nu)
        total += float((density * power[order] * _character(Irreps([(1, target)]), angle, inverted)).mean()) / 2
    found = round(total)
    assert math.isclose(total, found, abs_tol=1e-6)
    return found


def _character(irreps: Irreps, angle: np.ndarray, inverted: bool) -> np.ndarray:
    found = np.zeros_like(angle)
    for count, ir in irreps:
        turned = 1 + 2 * sum((np.cos(m * angle) for m in range(1, ir.l + 1)), np.zeros_like(angle))
        found += count * (ir.p if inverted else 1) * turned
    return found

"""Strengths by the evidence: the penalties as a Gaussian prior, tuned by what the data say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from torsor.actions import EquivariantBasis
from torsor.learn._curvature import Curvature
from torsor.learn._strengths import Strengths

if TYPE_CHECKING:
    from torsor.learn._per import PERegularizer

LOWEST, HIGHEST = 1e-6, 1e6
"""The range of all strengths."""


class Share(NamedTuple):
    """Unknowns that the prior and the curvature couple among each other only: copies of one pair of tensor types.

    Arguments:
        forbidden: `I - P_g` of each group, (groups, n, n).
        curvature: of the negative log likelihood, (copies, n, n).
        weights: (copies, n).
    """

    forbidden: Tensor
    curvature: Tensor
    weights: Tensor


class Step(NamedTuple):
    """One step of the fixed point: the strengths, and how many parameters the data determine."""

    groups: Tensor
    ridge: float
    determined: float


@dataclass(frozen=True)
class EvidenceRule:
    """Strengths that maximise the evidence of the data (Laplace approximation), tuned while the model trains.

    `sum_g lambda_g R_g + lambda_I |w|^2 / 2` is minus the logarithm of a Gaussian prior with the precision
    `Lambda = lambda_I I + sum_g lambda_g (I - P_g)`. With the curvature `H` of the negative log likelihood, `A = Lambda
    + H`, the fixed point is

    `lambda_g <- lambda_g [tr(Lambda^-1 (I - P_g)) - tr(A^-1 (I - P_g))] / (w^T (I - P_g) w)`,

    damped, and the same for `lambda_I` with I in place of `I - P_g`. For networks H is the Kronecker-factored
    generalised Gauss-Newton matrix of each layer, of which the block of each pair of copies is kept.

    Where several candidates generate a larger group that holds too, any split of the strengths is as good: see the
    joint rows of the report.

    Arguments:
        start_at: what all residuals are multiplied by, beside the loss, before the first step: all candidates are asked
            for at first, and the data lift what they contradict.
        warmup: share of the training before the first step.
        every: epochs between steps.
        damping: power of the factor of each step.
        mean_over: what the loss is a mean of: `"numbers"`, all numbers of the targets, as in `learn.mse`; or
            `"samples"`, the squared error summed over outputs, or a cross entropy.

    Raises:
        ValueError: an argument is out of range.

    Source: MacKay 1992 for the fixed point; the prior is that of Kim et al. 2023 (arXiv 2306.00356) read as such;
    Immer et al. 2021 (arXiv 2104.04975) for evidence while training.

    >>> EvidenceRule().start(2)
    Strengths(groups=tensor([1., 1.]), ridge=0.0001, scale=1.0)
    """

    start_at: float = 1.0
    warmup: float = 0.25
    every: int = 5
    damping: float = 0.5
    mean_over: str = "numbers"

    has_ridge = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_at) and self.start_at > 0):
            raise ValueError(f"start_at must be positive; got {self.start_at}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share in [0, 1); got {self.warmup}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1 epoch; got {self.every}")
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping must be in (0, 1]; got {self.damping}")
        if self.mean_over not in ("numbers", "samples"):
            raise ValueError(f'mean_over must be "numbers" or "samples"; got {self.mean_over!r}')

    def start(self, groups: int) -> Strengths:
        """All strengths 1, in units of the loss; next to no ridge."""
        return Strengths(torch.ones(groups), ridge=1e-4, scale=float(self.start_at))

    def wants(self, epoch: int, epochs: int) -> bool:
        """After the warm-up, every so many epochs."""
        return epoch > self.warmup * epochs and epoch % self.every == 0

    def update(self, per: PERegularizer, epoch: int, epochs: int, **stats: Any) -> Strengths | None:
        """One step of the fixed point, from the curvature of the loss."""
        if not self.wants(epoch, epochs):
            return None
        found = stats.get("curvature")
        if not isinstance(found, Curvature):
            raise ValueError(
                "EvidenceRule needs the curvature of the loss:"
                " epoch_end(epoch, n_epochs, curvature=learn.curvature(model, batches))"
            )
        shares = shares_of(per, found)
        noise = found.noise(0.0)
        for _ in range(3):  # the noise and the number of determined parameters determine each other
            # the penalty is what it was, in units of the negative log likelihood
            unit = per.scale / self._scale(found, noise)
            groups, ridge = (per.strengths.double() * unit).clamp(LOWEST, HIGHEST), max(per.ridge * unit, LOWEST)
            scaled = [s._replace(curvature=s.curvature / noise) for s in shares]
            step = fixed_point(groups, ridge, scaled, self.damping)
            noise = found.noise(step.determined)
        return Strengths(step.groups.to(per.strengths), step.ridge, self._scale(found, noise))

    def _scale(self, found: Curvature, noise: float) -> float:
        """Of the loss in units of the negative log likelihood."""
        count = found.numbers if self.mean_over == "numbers" else found.samples
        return (2 * noise if found.likelihood == "gaussian" else 1.0) / count


def fixed_point(strengths: Tensor, ridge: float, shares: Sequence[Share], damping: float = 0.5) -> Step:
    """One damped step of all strengths: `lambda <- lambda (gained / spent)^damping`, clipped to [1e-6, 1e6]."""
    gained, spent = torch.zeros_like(strengths), torch.zeros_like(strengths)
    gained_ridge = spent_ridge = determined = 0.0
    for forbidden, curvature, weights in shares:
        copies, n = weights.shape
        eye = torch.eye(n, dtype=forbidden.dtype, device=forbidden.device)
        prior = ridge * eye + torch.einsum("g,gij->ij", strengths, forbidden)
        before, after = torch.linalg.inv(prior), torch.linalg.inv(prior + curvature).sum(0)
        gained = gained + torch.einsum("ij,gji->g", copies * before - after, forbidden)
        spent = spent + torch.einsum("ki,gij,kj->g", weights, forbidden, weights)
        gained_ridge += float(torch.trace(copies * before - after))
        spent_ridge += float(weights.square().sum())
        determined += copies * n - float(torch.trace(prior @ after))
    groups = _moved(strengths, gained, spent, damping)
    whole = _moved(torch.tensor(ridge), torch.tensor(gained_ridge), torch.tensor(spent_ridge), damping)
    return Step(groups, float(whole), determined)


def forbidden_of(bases: Sequence[EquivariantBasis], i: int) -> Tensor:
    """`I - P_g` for block i of the bases, (groups, n, n)."""
    Q = [basis.blocks[i].vectors.double() for basis in bases]
    return torch.stack([torch.eye(len(q), dtype=q.dtype, device=q.device) - q @ q.mT for q in Q])


def check_types(layers: Mapping[str, Any], places: Sequence[int]) -> None:
    """Refuse groups, by their places among those of the layers, under which a layer falls into different tensors."""
    for name, layer in layers.items():
        for all_bases in (layer.reps.bases, layer.reps.bias_bases):
            if len({_order(all_bases[g]) for g in places}) > 1:
                groups = tuple(layer.reps.groups[g] for g in places)
                raise ValueError(
                    f"groups must have the same tensor types in {name or 'the layer'} for EvidenceRule; got {groups}:"
                    " take PowerRule"
                )


def shares_of(per: PERegularizer, found: Curvature) -> list[Share]:
    """The unknowns of all layers, block by block. Biases are blocks of their own.

    Of the Kronecker product of the curvature with itself the block of each pair of copies is kept, so that all
    matrices are as small as one block.
    """
    shares = []
    for name, layer in per.layers.items():
        inputs, outputs = found.factors[name]
        shares += _shares_of_layer(layer, inputs.double(), outputs.double(), per)
    return shares


def _shares_of_layer(layer: Any, inputs: Tensor, outputs: Tensor, per: PERegularizer) -> list[Share]:
    from torsor.learn._layer_reps import matrix_of

    places = per._places.tolist()
    shares = []
    for weight, A, all_bases in (
        (matrix_of(layer), inputs, layer.reps.bases),
        (layer.bias, torch.ones(1, 1, dtype=outputs.dtype, device=outputs.device), layer.reps.bias_bases),
    ):
        if weight is None or (weight.ndim == 1 and not per.include_bias):
            continue
        W = weight.detach().double()
        W = W if W.ndim == 2 else W.unsqueeze(-1)
        bases = [all_bases[g] for g in places]
        rows, columns = bases[0].rep_out.canonical(bases[0].group), bases[0].rep_in.canonical(bases[0].group)
        G = outputs[rows.permutation][:, rows.permutation]
        A = A[columns.permutation][:, columns.permutation]
        i = 0
        start_out = 0
        for out in rows.types:
            Go = _diagonal_blocks(G, start_out, out.copies, out.size)
            start_out += out.copies * out.size
            start_in = 0
            for source in columns.types:
                Ai = _diagonal_blocks(A, start_in, source.copies, source.size)
                start_in += source.copies * source.size
                H = torch.einsum("oab,icd->oiacbd", Go, Ai).flatten(4, 5).flatten(2, 3).flatten(0, 1)
                B = bases[0]._coordinates(W)[i][0].flatten(0, -2)
                shares.append(Share(forbidden_of(bases, i), H, B))
                i += 1
    return shares


def _diagonal_blocks(M: Tensor, start: int, copies: int, size: int) -> Tensor:
    whole = M[start : start + copies * size, start : start + copies * size]
    return whole.unflatten(1, (copies, size)).unflatten(0, (copies, size)).diagonal(dim1=0, dim2=2).movedim(-1, 0)


def _order(basis: EquivariantBasis) -> Any:
    rows, columns = basis.rep_out.canonical(basis.group), basis.rep_in.canonical(basis.group)
    return rows.types, tuple(rows.permutation.tolist()), columns.types, tuple(columns.permutation.tolist())


def _moved(strengths: Tensor, gained: Tensor, spent: Tensor, damping: float) -> Tensor:
    ratio = gained.clamp(min=0) / spent.clamp(min=1e-300)
    ratio = torch.where(spent > 0, ratio, math.inf).clamp(1e-12, 1e12)
    return (strengths * ratio.pow(damping)).clamp(LOWEST, HIGHEST)

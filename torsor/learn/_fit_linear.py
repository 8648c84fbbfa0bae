"""Linear regression with soft equivariance, solved exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import EquivariantBasis, Rep, equivariant_basis
from torsor.groups import Group
from torsor.learn._evidence import HIGHEST, LOWEST, EvidenceRule
from torsor.learn._layer_reps import check_groups
from torsor.learn._strengths import Fixed, PowerRule, StrengthRule

LARGEST = 2000
"""Weights that are solved for at once."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """What `fit_linear` gives.

    Arguments:
        weight: (dim_out, dim_in), in float64.
        strengths: lambda_g, (groups,); on the scale of the negative log likelihood for `EvidenceRule`, else relative to
            the mean over samples of the squared error summed over outputs.
        ridge: lambda_I, on the same scale.
        residuals: R_g of the weight, (groups,).
        noise: variance of the noise, for `EvidenceRule`; else None.
        log_evidence: log density of the targets under the model, for `EvidenceRule`; else None.
    """

    weight: Tensor
    strengths: Tensor
    ridge: float
    residuals: Tensor
    noise: float | None = None
    log_evidence: float | None = None


def fit_linear(
    x: Float[Tensor, "n dim_in"],
    y: Float[Tensor, "n dim_out"],
    rep_in: Rep,
    rep_out: Rep,
    groups: Sequence[Group],
    strengths: StrengthRule | None = None,
) -> LinearFit:
    """The linear map between two representations that data and soft symmetries ask for, in closed form.

    For `Fixed` and `PowerRule` the minimum of `(1/n) sum |y - W x|^2 + sum_g lambda_g R_g`; the power rule solves with
    equal strengths, reweighs and solves again. For `EvidenceRule` the strengths, a plain ridge and the variance of the
    noise maximise the evidence, by L-BFGS on their logarithms, within [1e-6, 1e6] for x and y of mean square 1: the
    result does not depend on the units.

    Arguments:
        x, y: inputs and targets, centred: there is no offset.
        rep_in, rep_out: their representations.
        groups: the candidates; none gives a plain ridge regression tuned by the evidence, or least squares.
        strengths: `EvidenceRule()` by default.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or more than 2000 weights.

    Source: Kim et al. 2023 (arXiv 2306.00356) for the penalties; MacKay 1992 for the evidence.

    >>> import torch
    >>> from torsor.actions import V
    >>> from torsor.groups import O, embed
    >>> x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    >>> y = x * torch.tensor([1.0, 1.0, 3.0]) + 0.1 * x.roll(1, 0)
    >>> found = fit_linear(x, y, V, V, [embed(O(2), (0, 1), 3), embed(O(2), (1, 2), 3)])
    >>> bool(found.strengths[0] > 10 * found.strengths[1])
    True
    """
    rule = EvidenceRule() if strengths is None else strengths
    bases = [equivariant_basis(g, rep_in, rep_out) for g in (check_groups(groups) if len(groups) else ())]
    shape = bases[0].shape if bases else (y.shape[-1], x.shape[-1])
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or (y.shape[1], x.shape[1]) != tuple(shape) or not len(x):
        raise ValueError(
            f"x and y must be (n, {shape[1]}) and (n, {shape[0]}) for {rep_in} -> {rep_out};"
            f" got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not bool(x.isfinite().all()) or not bool(y.isfinite().all()):
        raise ValueError("x and y must be finite; they hold NaN or infinity")
    if shape[0] * shape[1] > LARGEST:
        raise ValueError(f"{rep_in} -> {rep_out} has {shape[0] * shape[1]} weights; at most {LARGEST} are solved for")
    x, y = x.double().cpu(), y.double().cpu()
    if isinstance(rule, EvidenceRule):
        return _in_units_of_one(x, y, bases)
    problem = _Problem(x, y, bases)
    if isinstance(rule, PowerRule):
        first = problem.penalised(rule.start(len(bases)).groups)
        return problem.penalised(rule.reweighted(first.residuals))
    if isinstance(rule, Fixed):
        return problem.penalised(rule.start(len(bases)).groups)
    raise TypeError(f"strengths must be an EvidenceRule, a PowerRule or Fixed; got {rule!r}")


def _in_units_of_one(x: Tensor, y: Tensor, bases: Sequence[EquivariantBasis]) -> LinearFit:
    """The evidence is maximised for inputs and targets of mean square 1, and the result put in their units."""
    a, b = (float(t.square().mean().sqrt()) or 1.0 for t in (x, y))
    found = _Problem(x / a, y / b, bases).by_evidence()
    unit = b / a  # of the weight
    assert found.noise is not None
    assert found.log_evidence is not None
    return LinearFit(
        unit * found.weight,
        found.strengths / unit**2,
        found.ridge / unit**2,
        unit**2 * found.residuals,
        b**2 * found.noise,
        found.log_evidence - y.numel() * math.log(b),
    )


class _Problem:
    """The normal equations of a linear regression with penalties `w^T D_g w / 2`, `D_g = I - P_g`."""

    def __init__(self, x: Tensor, y: Tensor, bases: Sequence[EquivariantBasis]) -> None:
        self.shape = y.shape[1], x.shape[1]
        n = self.shape[0] * self.shape[1]
        self.samples, self.numbers, self.square = len(x), y.numel(), float(y.square().sum())
        self.gram = torch.kron(torch.eye(self.shape[0], dtype=x.dtype), x.mT @ x)  # row-major vec
        self.moment = (y.mT @ x).flatten()
        self.eye = torch.eye(n, dtype=x.dtype)
        away = [self.eye - (Q := b.dense().cpu().flatten(1)).mT @ Q for b in bases]
        self.forbidden = torch.stack(away) if away else self.eye.new_zeros(0, n, n)

    def penalised(self, strengths: Tensor) -> LinearFit:
        """The minimum of the mean squared error and the penalties; of least norm where it is not unique."""
        penalty = torch.einsum("g,gij->ij", strengths.double(), self.forbidden)
        A = 2 * self.gram / self.samples + penalty
        w = torch.linalg.lstsq(A, (2 * self.moment / self.samples).unsqueeze(1), driver="gelsd").solution.squeeze(1)
        return LinearFit(w.unflatten(0, self.shape), strengths.double(), 0.0, self._residuals(w))

    def by_evidence(self) -> LinearFit:
        """Strengths, ridge and noise of the largest evidence."""
        from scipy.optimize import minimize

        groups = len(self.forbidden)
        least = self.square / self.numbers or 1.0
        start = np.concatenate([np.zeros(groups + 1), [math.log(0.1 * least)]])
        around = math.log(least)
        edge = math.log(HIGHEST)
        bounds = [(math.log(LOWEST), edge)] * (groups + 1) + [(around - 30, around + 5)]
        found = minimize(self._minus_log_evidence, start, jac=True, method="L-BFGS-B", bounds=bounds)
        theta = torch.from_numpy(found.x).exp()
        strengths, ridge, noise = theta[:groups], float(theta[groups]), float(theta[-1])
        A = self._prior(strengths, ridge) + self.gram / noise
        w = torch.linalg.solve(A, self.moment / noise)
        W = w.unflatten(0, self.shape)
        return LinearFit(W, strengths, ridge, self._residuals(w), noise, -float(found.fun))

    def _minus_log_evidence(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """`-log p(y)` and its gradient in the logarithms of strengths, ridge and noise."""
        theta = torch.from_numpy(logs).exp()
        strengths, ridge, noise = theta[:-2], float(theta[-2]), float(theta[-1])
        prior = self._prior(strengths, ridge)
        A = prior + self.gram / noise
        factor, prior_factor = torch.linalg.cholesky(A), torch.linalg.cholesky(prior)
        m = torch.cholesky_solve(self.moment[:, None] / noise, factor).squeeze(1)
        left = self.square - 2 * float(m @ self.moment) + float(m @ self.gram @ m)
        logdet = 2 * float(prior_factor.diagonal().log().sum() - factor.diagonal().log().sum())
        value = logdet / 2 - self.numbers / 2 * math.log(2 * math.pi * noise)
        value -= (left / noise + float(m @ prior @ m)) / 2
        after, before = torch.cholesky_inverse(factor), torch.cholesky_inverse(prior_factor)
        change = before - after - torch.outer(m, m)
        slopes = strengths / 2 * torch.einsum("ij,gji->g", change, self.forbidden)
        by_ridge = ridge / 2 * float(torch.trace(change))
        by_noise = (float((after * self.gram).sum()) / noise - self.numbers + left / noise) / 2
        gradient = np.concatenate([slopes.numpy(), [by_ridge, by_noise]])
        return -value, -gradient

    def _prior(self, strengths: Tensor, ridge: float) -> Tensor:
        return ridge * self.eye + torch.einsum("g,gij->ij", strengths, self.forbidden)

    def _residuals(self, w: Tensor) -> Tensor:
        return torch.einsum("gij,j->gi", self.forbidden, w).square().sum(1) / 2

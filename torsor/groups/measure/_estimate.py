"""Monte Carlo integrals over Haar measure, and when not to believe them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.groups._group import Element
from torsor.groups.measure._proposal import GroupSample

HEAVY = 0.7  # tail index above which a mean of weights does not settle: Vehtari et al. 2024 (arXiv 1507.02646)


def ess(sample: GroupSample) -> float:
    """The effective sample size (sum w)^2 / sum w^2 of the weights, between 1 and N.

    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import UniformCompact, ess
    >>> round(ess(UniformCompact(SO(3)).sample(100)))
    100
    """
    log_weight = sample.log_weight.double()
    return float((2 * log_weight.logsumexp(-1) - (2 * log_weight).logsumexp(-1)).exp())


def integrate(
    f: Callable[[Element], Tensor], sample: GroupSample, self_normalised: bool = False
) -> tuple[Float[Tensor, "*values"], Float[Tensor, "*values"]]:
    """The integral of f over Haar measure, with its standard error.

    Arguments:
        f: from elements with batch axis N to values (N, *values).
        sample: elements and weights, from `Proposal.sample`. The standard error is that of independent elements: an
            upper bound in practice for method "rqmc" and "lattice".
        self_normalised: divide by the sum of the weights: the mean of f over the region that the proposal covers, as on
            a compact group with total mass 1; biased by O(1/N).

    Returns:
        (value, standard error), each (*values,).

    Warns:
        UserWarning: the largest contributions follow so heavy a tail that value and standard error cannot be trusted:
            the proposal is too narrow for f.

    >>> import torch
    >>> from torsor.groups import SO
    >>> from torsor.groups.measure import UniformCompact, integrate
    >>> sample = UniformCompact(SO(2)).sample(16, method="lattice", dtype=torch.float64)
    >>> value, _ = integrate(lambda R: R[:, 0, 0] ** 2, sample)
    >>> value
    tensor(0.5000, dtype=torch.float64)
    """
    values = f(sample.g)
    w = sample.log_weight.exp().reshape(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    n = len(values)
    terms = n * w * values
    if self_normalised:
        value = (w * values).sum(0) / w.sum(0)
        spread = n * w * (values - value) / w.sum(0)
    else:
        value = terms.mean(0)
        spread = terms - value
    stderr = (spread.square().sum(0) / max(n - 1, 1) / n).sqrt()
    index = tail_index(terms.detach().abs().reshape(n, -1).sum(1)) if n >= 100 else 0.0
    if index > HEAVY:
        warnings.warn(
            f"the proposal is too narrow for this integral: its terms have tail index {index:.2f} > {HEAVY}, value and "
            "standard error are not to be trusted",
            stacklevel=2,
        )
    return value, stderr


def tail_index(terms: Float[Tensor, " n"]) -> float:
    """The index k of a generalised Pareto law fitted to the largest terms: their mean exists for k < 1, their variance
    for k < 1/2. Source: Zhang and Stephens 2009, as in Pareto-smoothed importance sampling (arXiv 1507.02646).

    >>> import torch
    >>> from torsor.groups.measure import tail_index
    >>> u = torch.arange(1, 1000) / 1000
    >>> tail_index(u**-0.9) > 0.7, tail_index(u) < 0
    (True, True)
    """
    n = len(terms)
    m = min(n // 5, math.ceil(3 * math.sqrt(n)))
    ordered = terms.double().sort().values
    x = ordered[n - m :] - ordered[n - m - 1]
    if not float(x[-1]) > 0:
        return -math.inf
    x = x / x[-1]
    quartile = x[max(m // 4 - 1, 0)].clamp(min=1e-12)
    k = 30 + math.isqrt(m)
    grid = 1 - (k / (torch.arange(1, k + 1, dtype=x.dtype, device=x.device) - 0.5)).sqrt()
    theta = grid / (3 * quartile) + 1
    shape = torch.log1p(-theta[:, None] * x).mean(1)
    profile = m * ((-theta / shape).log() - shape - 1)
    weights = profile.nan_to_num(nan=-math.inf).softmax(0)
    best = (theta * weights).sum()
    index = float(torch.log1p(-best * x).mean())
    return (m * index + 10 * 0.5) / (m + 10)  # a weak pull towards 1/2, as in the source

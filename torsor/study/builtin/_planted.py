"""A linear map that keeps O(2)xy and breaks it a little, seen through noise: what each rule makes of it.

Source of the task: Kim et al. 2023 (arXiv 2306.00356), reduced to one layer, where everything has a closed form.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS = ((12, 0.0), (20, 0.0), (20, 1.0), (40, 0.3))
"""Samples, and how far the map is from O(2)xy."""
METHODS = ("least squares", "ridge", "hard O(3)", "hard O(2)xy", "power rule", "evidence")


def groups() -> tuple[Any, ...]:
    """O(2) about z, x and y."""
    from torsor.groups import O, embed

    return tuple(embed(O(2), axes, 3) for axes in ((0, 1), (1, 2), (0, 2)))


def planted(seed: int, n: int, tau: float) -> "tuple[Tensor, Tensor, Tensor]":
    """Inputs (n, 9), targets (n, 9) and the map T2 -> T2 behind them, (9, 9)."""
    import numpy as np
    import torch

    from torsor.actions import T, equivariant_basis

    rng = np.random.default_rng(seed)
    Q = equivariant_basis(groups()[0], T(2), T(2)).dense().flatten(1)
    W = torch.from_numpy(rng.standard_normal(len(Q))) @ Q
    away = torch.from_numpy(rng.standard_normal(81))
    W = (3 * W / W.norm() + tau * away / away.norm()).unflatten(0, (9, 9))
    x = torch.from_numpy(rng.standard_normal((n, 9)))
    return x, x @ W.mT + 0.5 * torch.from_numpy(rng.standard_normal((n, 9))), W


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """The mean squared error of the weight for each method, and how often each rule puts O(2)xy first."""
    import torch

    from torsor.actions import T
    from torsor.groups import O
    from torsor.learn import EvidenceRule, PowerRule, fit_linear

    n, tau, seeds = config["samples"], config["tau"], config["seeds"]
    rules = {"power rule": PowerRule(config["lambda_0"]), "evidence": EvidenceRule()}
    sums: dict[str, float] = dict.fromkeys(METHODS, 0.0)
    first = dict.fromkeys(rules, 0)
    grid = torch.logspace(-2, 3, 60)
    along = torch.zeros(len(grid))
    for seed in range(seeds):
        x, y, W = planted(seed, n, tau)
        fits = {name: fit_linear(x, y, T(2), T(2), groups(), rule) for name, rule in rules.items()}
        found = {name: fit.weight for name, fit in fits.items()}
        found |= {"least squares": torch.linalg.lstsq(x, y).solution.mT}
        found |= {"hard O(3)": _hard(x, y, O(3)), "hard O(2)xy": _hard(x, y, groups()[0])}
        for name, weight in found.items():
            sums[name] += float((weight - W).square().sum()) / seeds
        for name, fit in fits.items():
            first[name] += int(fit.strengths.argmax()) == 0
        eye = torch.eye(9, dtype=x.dtype)
        ridges = [torch.linalg.solve(x.mT @ x + k * eye, x.mT @ y).mT for k in grid]
        along += torch.tensor([float((weight - W).square().sum()) / seeds for weight in ridges])
    sums["ridge"] = float(along.min())  # the best one in hindsight
    return {"errors": sums, "first": first, "seeds": seeds}


def _hard(x: "Tensor", y: "Tensor", group: Any) -> "Tensor":
    """Least squares among the equivariant maps."""
    import torch

    from torsor.actions import T, equivariant_basis

    Q = equivariant_basis(group, T(2), T(2)).dense()
    design = torch.einsum("roi,ni->nor", Q, x).flatten(0, 1)
    return torch.einsum("r,roi->oi", torch.linalg.lstsq(design, y.flatten()[:, None]).solution.squeeze(1), Q)

"""A trained model moved towards a symmetry, by as much as one wants, with a bound of what is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torsor.audit import Report
from torsor.groups import Group
from torsor.learn._layer_reps import LayerReps, check_finite, matrix_of

SILU = 1.0999
"""The Lipschitz constant of SiLU; 1 for ReLU and tanh."""


@dataclass(frozen=True)
class EquivarianceBound(Report):
    """What `project_towards` gives.

    Arguments:
        group: the group.
        t: how far the weights were moved.
        layers: for each layer `|W|_2`, `|W - P W|_2` and `|b - P b|`, after the move.
        before, after: bounds of `|f(g x) - g f(x)|` over all g and all x in the ball.
        radius: of the ball.
        words: what it means.
    """

    group: str
    t: float
    layers: Mapping[str, tuple[float, float, float]]
    before: float
    after: float
    radius: float
    words: str

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Moved towards {self.group}"

    def records(self) -> list[dict[str, Any]]:
        return [
            {"layer": name, "norm": norm, "away": away, "bias away": bias}
            for name, (norm, away, bias) in self.layers.items()
        ]

    def facts(self) -> dict[str, str]:
        return {"bound": f"{self.before:.3g} before, {self.after:.3g} after, for |x| <= {self.radius:g}"}


@torch.no_grad()
def project_towards(
    model: nn.Module, group: Group, t: float, *, radius: float = 1.0, lipschitz: float = SILU
) -> EquivarianceBound:
    """Move every layer with representations towards its equivariant maps, in place: `W <- (1 - t) W + t P W`.

    The bound is for layers that are applied one after another in the order of the model, with functions between them
    that commute with the hidden representations, keep 0, and have the Lipschitz constant given; and for orthogonal
    representations. For convolutions norms are those of single pixels. Layer by layer, with `h <= |W|_2 h + |b|` the
    largest norm that can reach it,
    `error <- L (|W|_2 error + 2 |W - P W|_2 h + 2 |b - P b|)`.

    Arguments:
        model: holds layers with representations, of which `group` is a candidate.
        group: the group.
        t: from 0, nothing, to 1, all the way.
        radius: largest norm of inputs that the bound is for.
        lipschitz: of the functions between the layers.

    Raises:
        ValueError: t is not in [0, 1], no layer has the group among its candidates, or it is not orthogonal.

    Source: Rahman et al. 2026, "Tunable soft equivariance with guarantees".

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.actions import V
    >>> from torsor.groups import O, embed
    >>> layer, about_z = learn.SoftLinear(V, V, [embed(O(2), (0, 1), 3)]), embed(O(2), (0, 1), 3)
    >>> learn.project_towards(layer, about_z, 1.0).after < 1e-5
    True
    """
    if not (math.isfinite(t) and 0 <= t <= 1):
        raise ValueError(f"t must be in [0, 1]; got {t}")
    if not getattr(group, "is_orthogonal", True):
        raise ValueError(f"group must be orthogonal for a bound; got {group}")
    layers = {name: m for name, m in model.named_modules() if isinstance(getattr(m, "reps", None), LayerReps)}
    layers = {name: m for name, m in layers.items() if group in m.reps.groups}  # type: ignore[operator, union-attr]
    if not layers:
        raise ValueError(f"model has no layer with {group} among its candidates: give them with `attach`")
    for name, layer in layers.items():
        check_finite(matrix_of(layer, name), name)
    before, _ = _bound(layers, group, radius, lipschitz)
    for name, layer in layers.items():
        place = layer.reps.groups.index(group)  # type: ignore[union-attr, operator]
        W, b = matrix_of(layer, name), layer.bias
        moved = W.lerp(layer.reps.bases[place].project(W), t)  # type: ignore[union-attr, index]
        layer.weight.copy_(moved.view_as(layer.weight))  # type: ignore[union-attr, operator, arg-type]
        if isinstance(b, Tensor):
            b.lerp_(layer.reps.bias_bases[place].project(b.unsqueeze(-1)).squeeze(-1), t)  # type: ignore[union-attr, index]
    after, sizes = _bound(layers, group, radius, lipschitz)
    words = (
        f"For |x| <= {radius:g} no element of {group} changes the output by more than {after:.3g} against what it"
        f" should; it was {before:.3g}. This holds if what stands between the layers commutes with the group."
    )
    return EquivarianceBound(str(group), t, sizes, before, after, radius, words)


def _bound(
    layers: Mapping[str, nn.Module], group: Group, radius: float, lipschitz: float
) -> tuple[float, dict[str, tuple[float, float, float]]]:
    error, height, sizes = 0.0, radius, {}
    for number, (name, layer) in enumerate(layers.items()):
        place = layer.reps.groups.index(group)  # type: ignore[union-attr, operator]
        W = matrix_of(layer, name).double()
        away = W - layer.reps.bases[place].project(W)  # type: ignore[union-attr, index]
        taps = math.prod(getattr(layer, "kernel_size", ()))  # a patch is as long as that many pixels, at most
        norm, off = (taps**0.5 * float(torch.linalg.matrix_norm(M, 2)) for M in (W, away))
        bias = shift = 0.0
        if isinstance(layer.bias, Tensor):
            b = layer.bias.double()
            shift = float(b.norm())
            bias = float((b - layer.reps.bias_bases[place].project(b.unsqueeze(-1)).squeeze(-1)).norm())  # type: ignore[union-attr, index]
        factor = 1.0 if number == len(layers) - 1 else lipschitz  # nothing stands behind the last layer
        error = factor * (norm * error + 2 * off * height + 2 * bias)
        height = factor * (norm * height + shift)
        sizes[name] = (norm, off, bias)
    return error, sizes

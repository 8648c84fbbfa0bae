"""The error against the distance from doing nothing."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.actions import Element
from torsor.audit._compare import Comparison
from torsor.audit._measure import Pairs, bootstrap
from torsor.groups import DirectProduct, Group

_POINTS = 8


@dataclass(frozen=True)
class Curve:
    """A mean error along an axis, with intervals.

    Arguments:
        distances: the axis.
        errors: mean relative error there, of the worst output.
        intervals: bootstrap intervals of it.
        axis: what the axis is.
    """

    distances: tuple[float, ...]
    errors: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    axis: str


def logarithms(comparison: Comparison, draws: Element) -> Float[Tensor, "samples dim"] | None:
    """One algebra vector per sample whose exponential is a draw of the law; None where no draw has a logarithm."""
    group = comparison.symmetry.group
    if not group.dim:
        return None
    v = _logs(group, draws)
    v = v[v.isfinite().all(1)]
    return v if len(v) else None


def error_curve(comparison: Comparison, v: Tensor | None, pairs: Pairs, confidence: float) -> Curve:
    """The curve along `exp(s v)` for continuous groups; over the distances of the elements for finite ones."""
    group = comparison.symmetry.group
    axis = f"distance from the identity of {group}"
    if v is None:
        return _of_pairs(comparison, pairs, axis, confidence)
    samples = group.batch_shape(pairs.elements[0])[0]
    rows = v[torch.arange(samples, device=v.device) % len(v)]
    length = group.distance_from_identity(group.exp(rows))
    end = length.quantile(0.9)
    rows = rows * (end / length.clamp(min=torch.finfo(v.dtype).tiny)).clamp(max=1e6).unsqueeze(1)
    elements = [group.exp(rows * (k / _POINTS)) for k in range(1, _POINTS + 1)]
    distances = tuple(float(group.distance_from_identity(g).mean()) for g in elements)
    means, intervals = zip(*(_worst_mean(comparison, comparison.error(g), confidence) for g in elements), strict=True)
    return Curve(distances, means, intervals, axis)


def _logs(group: Group, g: Element) -> Tensor:
    """Logarithms of the continuous factors, NaN where there is none; finite factors have no coordinates."""
    if isinstance(group, DirectProduct):
        return torch.cat([_logs(f, h) for f, h in zip(group.factors, g, strict=True) if f.dim], -1)
    return group.log(g, on_failure="nan")


def _of_pairs(comparison: Comparison, pairs: Pairs, axis: str, confidence: float) -> Curve:
    """The pairs that were measured, by the distance of their elements: its values where they are few, else in bins."""
    group = comparison.symmetry.group
    distance = torch.cat([group.distance_from_identity(g) for g in pairs.elements])
    error = torch.cat([errors.amax(0) for errors in pairs.errors])
    levels = distance.round(decimals=6).unique()
    if len(levels) > _POINTS:
        levels = distance.quantile(
            torch.linspace(0, 1, _POINTS + 1, dtype=distance.dtype, device=distance.device)
        ).unique()
        place = torch.bucketize(distance, levels[1:-1])
    else:
        place = torch.bucketize(distance, (levels[1:] + levels[:-1]) / 2)
    rows = []
    for k in place.unique().tolist():
        inside = place == k
        (interval,) = bootstrap(error[inside].unsqueeze(0), confidence, comparison.generator)
        rows.append((float(distance[inside].mean()), float(error[inside].mean()), interval))
    distances, means, intervals = zip(*rows, strict=True)
    return Curve(distances, means, intervals, axis)


def _worst_mean(
    comparison: Comparison, errors: Float[Tensor, "outputs samples"], confidence: float
) -> tuple[float, tuple[float, float]]:
    worst = errors[int(errors.mean(1).argmax())].unsqueeze(0)
    (interval,) = bootstrap(worst, confidence, comparison.generator)
    return float(worst.mean()), interval

"""Which of several symmetries a trained model keeps, and how well."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torsor.actions import Perm, Regular, Rep, Scalar, equivariant_basis
from torsor.audit import Report
from torsor.audit._chart import line_chart
from torsor.groups import Group, GroupOfMatrices, join
from torsor.learn._layer_reps import LayerReps, check_finite, matrix_of, symmetry_scores
from torsor.symmetry import Inputs, Symmetry

if TYPE_CHECKING:
    from torsor.learn._per import PERegularizer

POINTWISE = (nn.ReLU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.Softplus)
KEPT_SCORE = 0.95
KEPT_ERROR = 2.0
"""A candidate is kept if its score is as high as this and its error at most so many times that of the best one."""
MOST_JOINED = 4


@dataclass(frozen=True)
class GroupFinding:
    """What was found about one candidate, or about the group that several of them generate.

    Arguments:
        group: its name.
        layer: of one layer; None for the whole model.
        residual: R_g.
        score: 1 for an equivariant weight, about 0 for a random one; None where the group asks nothing.
        strength: lambda_g; None for generated groups.
        rank: share of the weights that the group allows.
        error, error_se: equivariance error of the network with its standard error; None where it was not measured.
        verdict: "kept", "broken", "cannot tell", or "no constraint".
    """

    group: str
    layer: str | None
    residual: float
    score: float | None
    strength: float | None
    rank: float
    error: float | None = None
    error_se: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class SymmetryReport(Report):
    """What `PERegularizer.report` gives.

    Arguments:
        groups: one finding for each candidate, of the whole model.
        joint: one for each union of candidates that were kept: their support together, which no split of the strengths
            among them can hide.
        layers: one for each candidate and layer.
        exposed: layers with outputs that are not all scalars, straight before a function of single numbers, such as
            `nn.ReLU` in an `nn.Sequential`: there the model leaves the group, whatever the penalty is.
        history: strengths and residuals of each epoch.
        words: the verdict.
    """

    groups: tuple[GroupFinding, ...]
    joint: tuple[GroupFinding, ...]
    layers: tuple[GroupFinding, ...]
    exposed: tuple[str, ...]
    history: tuple[dict[str, Any], ...]
    words: str

    @property
    def title(self) -> str:  # type: ignore[override]
        return "Symmetries that were learned"

    def records(self) -> list[dict[str, Any]]:
        return [
            {
                "group": f.group,
                "layer": "all" if f.layer is None else f.layer,
                "verdict": f.verdict,
                "R": f.residual,
                "score": f.score,
                "strength": f.strength,
                "allowed": f.rank,
                "error": f.error,
                "± ": f.error_se,
            }
            for f in (*self.groups, *self.joint, *self.layers)
        ]

    def facts(self) -> dict[str, str]:
        found = (
            {"exposed": f"{', '.join(self.exposed)}: activations there commute with no group"} if self.exposed else {}
        )
        return found | {
            "score": "1 for an equivariant weight, about 0 for a random one; of the weights, not of the biases",
            "error": "of the whole network, |f(g x) - g f(x)| / (|f(g x)| + |g f(x)|); activations, bilinear parts and"
            " biases count here and not in R",
            "kept": f"a score of at least {KEPT_SCORE:g} and an error at most {KEPT_ERROR:g} times that of the best",
        }

    def figures(self) -> list[str]:
        """The strengths over the epochs, one chart for each candidate."""
        charts = []
        for number, finding in enumerate(self.groups):
            y = [entry["strengths"][number] for entry in self.history]
            if len(y) > 1:
                x = [float(entry["epoch"]) for entry in self.history]
                charts.append(line_chart(x, y, y, y, x_label="epoch", y_label=f"strength of {finding.group}"))
        return charts


@torch.no_grad()
def report(
    per: PERegularizer, inputs: Inputs | None, symmetries: Sequence[Symmetry] | None, samples: int
) -> SymmetryReport:
    """The report of a regulariser; its arguments are those of `PERegularizer.report`."""
    for name, layer in per.layers.items():
        check_finite(matrix_of(layer, name), name)
    errors = [(None, None)] * len(per.groups) if inputs is None else _errors(per, inputs, symmetries, samples)
    per_layer, whole = [], []
    for group, strength, (error, se) in zip(per.groups, per.strengths.tolist(), errors, strict=True):
        rows, total = _measured(per, group)
        per_layer += rows
        whole.append(_with(total, strength=strength, error=error, error_se=se))
    best = min((f.error for f in whole if f.error is not None), default=None)
    whole = [_with(f, verdict=_verdict(f, best)) for f in whole]
    kept = [g for g, f in zip(per.groups, whole, strict=True) if f.verdict == "kept"]
    joint = [_with(f, verdict=_verdict(f, None)) for f in _joint(per, kept)]
    exposed = _exposed(per)
    words = _words(whole, joint)
    if exposed:
        words += f" Activations after {', '.join(exposed)} break the symmetry outside the penalty."
    return SymmetryReport(tuple(whole), tuple(joint), tuple(per_layer), exposed, tuple(per.history), words)


def _exposed(per: PERegularizer) -> tuple[str, ...]:
    """The layers that a pointwise activation follows although their outputs are tensors."""
    names = {layer: name for name, layer in per.layers.items()}
    found = []
    for parent in per.model.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        for layer, after in itertools.pairwise(parent):
            if layer in names and isinstance(after, POINTWISE) and not _pointwise_is_fine(layer):
                found.append(names[layer])
    return tuple(found)


def _pointwise_is_fine(layer: nn.Module) -> bool:
    """Whether functions of single numbers commute with the outputs: scalars, and representations by permutations."""
    reps: LayerReps = layer.reps  # type: ignore[assignment]
    types = [t for g in reps.groups for t in reps.rep_out.canonical(g).types]
    return all(isinstance(f, Perm | Regular) for t in types for f in t.factors)


def _measured(per: PERegularizer, group: Group) -> tuple[list[GroupFinding], GroupFinding]:
    """The findings about a group, layer by layer and over all of them."""
    rows = []
    left = whole = left_weight = 0.0
    allowed = unknowns = 0
    for name, layer in per.layers.items():
        W = matrix_of(layer, name).double()
        basis = equivariant_basis(group, layer.reps.rep_in, layer.reps.rep_out).to(W.device)  # type: ignore[union-attr, arg-type]
        away = float(basis.residual(W).square().sum())
        size, n = float(W.square().sum()), W.numel()
        residual = away / 2
        if per.include_bias and layer.bias is not None:
            offset = equivariant_basis(group, Scalar(), layer.reps.rep_out).to(W.device)  # type: ignore[union-attr, arg-type]
            residual += float(offset.residual(layer.bias.double().unsqueeze(-1)).square().sum()) / 2  # type: ignore[union-attr, operator]
        rows.append(GroupFinding(str(group), name, residual, _score(away, size, basis.rank, n), None, basis.rank / n))
        left, left_weight, whole = left + residual, left_weight + away, whole + size
        allowed, unknowns = allowed + basis.rank, unknowns + n
    score = _score(left_weight, whole, allowed, unknowns)
    return rows, GroupFinding(str(group), None, left, score, None, allowed / unknowns)


def _score(left: float, whole: float, rank: int, unknowns: int) -> float | None:
    a, b, r = (torch.tensor(float(x), dtype=torch.float64) for x in (left, whole, rank))
    score = float(symmetry_scores(a, b, r, unknowns))
    return None if math.isnan(score) else score


def _joint(per: PERegularizer, kept: Sequence[Group]) -> list[GroupFinding]:
    """The findings about the groups that those which were kept generate together."""
    kept = [g for g in kept if isinstance(g, GroupOfMatrices)]
    sizes = range(2, len(kept) + 1) if len(kept) <= MOST_JOINED else [len(kept)]
    unions = [union for size in sizes for union in itertools.combinations(kept, size)]
    return [_measured(per, join(*union, name=" with ".join(map(str, union))))[1] for union in unions]


def _errors(
    per: PERegularizer, inputs: Inputs, symmetries: Sequence[Symmetry] | None, samples: int
) -> list[tuple[float | None, float | None]]:
    from torsor import audit

    if symmetries is None:
        rep_in, rep_out = (getattr(per.model, name, None) for name in ("rep_in", "rep_out"))
        if not isinstance(rep_in, Rep) or not isinstance(rep_out, Rep):
            raise ValueError("symmetries must say how each group acts on inputs and output of the model; got None")
        symmetries = [Symmetry(group, rep_in, rep_out) for group in per.groups]
    if len(symmetries) != len(per.groups):
        raise ValueError(f"symmetries must be one for each of {len(per.groups)} groups; got {len(symmetries)}")
    less = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
    found = [audit.equivariance(per.model, s, inputs, samples=samples, **less) for s in symmetries]  # type: ignore[arg-type]
    return [(f.error, (f.interval[1] - f.interval[0]) / 3.92) for f in found]  # 95 % intervals


def _verdict(found: GroupFinding, best: float | None) -> str:
    if found.score is None:
        return "no constraint"
    near = found.error is None or best is None or found.error <= KEPT_ERROR * best
    if found.score >= KEPT_SCORE and near:
        return "kept"
    measured_otherwise = found.error is not None and near
    return "broken" if found.score < KEPT_SCORE and not measured_otherwise else "cannot tell"


def _words(whole: Sequence[GroupFinding], joint: Sequence[GroupFinding]) -> str:
    said = [f"{f.group}: {f.verdict}" + ("" if f.score is None else f" (score {f.score:.2f})") for f in whole]
    together = [f.group for f in joint if f.verdict == "kept"]
    more = [f"Together too: {together[-1]}."] if together else []
    return " ".join([f"{'; '.join(said)}.", *more])


def _with(finding: GroupFinding, **changes: Any) -> GroupFinding:
    return replace(finding, **changes)

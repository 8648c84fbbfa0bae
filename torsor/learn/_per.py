"""The penalty of the paper: the distance of every linear layer from what commutes with each candidate group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.groups import Group
from torsor.learn._evidence import EvidenceRule, check_types
from torsor.learn._layer_reps import LayerReps, check_finite, check_groups, matrix_of
from torsor.learn._strengths import StrengthRule, Strengths, check_rule, end_of_epoch
from torsor.learn._symmetry_report import SymmetryReport, report
from torsor.symmetry import Inputs, Symmetry

INSIDE = 1e-8  # of a basis that counts as inside another


class PERegularizer(nn.Module):
    """The projection-based equivariance regulariser: `sum_g lambda_g R_g`, over all layers with representations.

    `R_g = |w - P_g w|^2 / 2 + |b - P_g b|^2 / 2`, where `P_g` projects on the equivariant maps. For a compact group in
    orthonormal coordinates it is a quarter of the mean of `|rho_out(g) W rho_in(g)^-1 - W|^2` over the whole group; for
    other groups it depends on the coordinates. Add the penalty to the loss, and call `epoch_end` after every epoch: it
    records the residuals and lets the strengths move. What stands between the layers is not seen: activations and
    bilinear parts are no part of the penalty.

    Arguments:
        model: holds layers that know their representations: `SoftLinear`, or others after `attach`.
        groups: the candidates that are asked for, among those of the layers; None takes all of them. A `Symmetry`
            stands for its group.
        strengths: `EvidenceRule()`, `PowerRule(lambda_0)` or `Fixed(...)`.
        include_bias: with the residuals of the biases.

    Attributes:
        strengths: lambda_g, (groups,).
        history: for each epoch the `epoch`, the `residuals` and the `strengths`.

    Raises:
        ValueError: no layer has representations, groups that they do not have, weights that are not finite, groups
            with different tensor types for `EvidenceRule`.

    Warns where a candidate says nothing or depends on the coordinates, and where one candidate contains another.

    Source: Kim et al. 2023 (arXiv 2306.00356), sections 3 and 4.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.actions import V
    >>> from torsor.groups import O, embed
    >>> about_z, about_x = embed(O(2), (0, 1), 3), embed(O(2), (1, 2), 3)
    >>> layer = learn.SoftLinear(V, V, [about_z, about_x], bias=False)
    >>> per = learn.PERegularizer(layer, strengths=learn.Fixed(0.1))
    >>> bool(torch.isclose(per(), 0.1 * layer.per().sum()))
    True
    """

    strengths: Tensor
    _ridge: Tensor
    _scale: Tensor
    _places: Tensor

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group | Symmetry] | None = None,
        strengths: StrengthRule | None = None,
        include_bias: bool = True,
    ) -> None:
        super().__init__()
        layers = {name: layer for name, layer in model.named_modules() if _reps_of(layer) is not None}
        if not layers:
            raise ValueError(
                "model has no layer with representations: give them with `attach`, build it from SoftLinear or"
                " SoftEMLP, or take SampledRegularizer, which needs none"
            )
        for name, layer in layers.items():
            _check_layer(layer, name)
        self._model, self._layers = (model,), layers  # not registered: the parameters are the model's
        held = _common_groups(layers)
        self.groups = held if groups is None else check_groups([_group_of(g) for g in groups])
        if missing := [g for g in self.groups if g not in held]:
            raise ValueError(f"groups must be among those of the layers, {held}; got {missing[0]} too")
        self.include_bias = include_bias
        self.rule: StrengthRule = check_rule(strengths, EvidenceRule())
        if isinstance(self.rule, EvidenceRule):
            check_types(layers, [held.index(g) for g in self.groups])
        _warn(layers, self.groups, held)
        start = self.rule.start(len(self.groups))
        like = next(model.parameters())
        self.register_buffer("strengths", start.groups.to(like))
        self.register_buffer("_ridge", torch.tensor(start.ridge).to(like))
        self.register_buffer("_scale", torch.tensor(start.scale).to(like))
        places = torch.tensor([held.index(g) for g in self.groups], device=like.device)
        self.register_buffer("_places", places, persistent=False)
        self.history: list[dict[str, Any]] = []

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The layers that are regularised, by name."""
        return self._layers

    @property
    def model(self) -> nn.Module:
        """The model that holds them."""
        return self._model[0]

    def forward(self) -> Float[Tensor, ""]:
        """The penalty."""
        penalty = (self.strengths * self.residuals().sum(0)).sum()
        if getattr(self.rule, "has_ridge", False):
            squares = torch.stack([p.square().sum() for p in self.penalised_parameters()])
            penalty = penalty + self._ridge * squares.sum() / 2
        return self._scale * penalty

    def residuals(self) -> Float[Tensor, "layers groups"]:
        """R_g of each layer."""
        found = []
        for layer in self._layers.values():
            bias = layer.bias if self.include_bias else None
            found.append(layer.reps.residuals(matrix_of(layer), bias))  # type: ignore[union-attr, arg-type]
        return torch.stack(found)[:, self._places]

    def penalised_parameters(self) -> list[Tensor]:
        """The weights, and the biases where they count."""
        biases = [layer.bias for layer in self._layers.values() if self.include_bias and layer.bias is not None]
        return [*(matrix_of(layer) for layer in self._layers.values()), *biases]  # type: ignore[list-item]

    @torch.no_grad()
    def epoch_end(self, epoch: int, n_epochs: int, **stats: Any) -> dict[str, float]:
        """Record the residuals and let the strengths move; the numbers of the epoch come back, for a log.

        Arguments:
            epoch: counted from 1.
            n_epochs: of the whole training.
            stats: what the rule asks for: `curvature` for `EvidenceRule`.
        """
        for name, layer in self._layers.items():
            _check_layer(layer, name)
        return end_of_epoch(self, self.residuals().sum(0), epoch, n_epochs, **stats)

    @torch.no_grad()
    def set(self, strengths: Strengths) -> None:
        """Set the strengths."""
        self.strengths.copy_(strengths.groups)
        self._ridge.fill_(strengths.ridge)
        self._scale.fill_(strengths.scale)

    @property
    def ridge(self) -> float:
        """The strength of the plain square, which `EvidenceRule` tunes with the others."""
        return float(self._ridge)

    @property
    def scale(self) -> float:
        """What the whole penalty is multiplied by, so that it stands beside the loss."""
        return float(self._scale)

    def report(
        self, inputs: Inputs | None = None, symmetries: Sequence[Symmetry] | None = None, *, samples: int = 8
    ) -> SymmetryReport:
        """Which candidates the trained model keeps, how well, and what they are together.

        Arguments:
            inputs: to measure the equivariance error of the whole network on; None leaves it out.
            symmetries: how each group acts on inputs and output of the network; those of the network's own
                `rep_in` and `rep_out` by default.
            samples: elements drawn for each input.
        """
        return report(self, inputs, symmetries, samples)

    def get_extra_state(self) -> dict[str, Any]:
        """The history; the strengths are buffers."""
        return {"history": [dict(entry) for entry in self.history]}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.history = [dict(entry) for entry in state["history"]]

    def extra_repr(self) -> str:
        return f"{len(self._layers)} layers, {', '.join(map(str, self.groups))}, {self.rule}"


def _group_of(candidate: Group | Symmetry) -> Group:
    return candidate.group if isinstance(candidate, Symmetry) else candidate


def _reps_of(layer: nn.Module) -> LayerReps | None:
    reps = getattr(layer, "reps", None)
    return reps if isinstance(reps, LayerReps) else None


def _check_layer(layer: nn.Module, name: str) -> None:
    """Refuse a layer with a weight or a bias that is not finite."""
    check_finite(matrix_of(layer, name), name)
    if isinstance(layer.bias, Tensor):
        check_finite(layer.bias, name, "bias")


def _common_groups(layers: Mapping[str, nn.Module]) -> tuple[Group, ...]:
    """The groups that all layers have, in one order."""
    (first, one), *others = layers.items()
    for name, layer in others:
        if layer.reps.groups != one.reps.groups:  # type: ignore[union-attr]
            raise ValueError(
                f"all layers must have the same groups; {first or 'the model'} has {one.reps.groups} and"  # type: ignore[union-attr]
                f" {name} {layer.reps.groups}"  # type: ignore[union-attr]
            )
    return one.reps.groups  # type: ignore[union-attr, return-value]


def _warn(layers: Mapping[str, nn.Module], groups: Sequence[Group], held: Sequence[Group]) -> None:
    """Say where a candidate says nothing, depends on coordinates, or is implied by another."""
    reps: list[LayerReps] = [layer.reps for layer in layers.values()]  # type: ignore[misc]
    unknowns = sum(r.shape[0] * r.shape[1] for r in reps)
    for group in groups:
        if not getattr(group, "is_orthogonal", True):
            _say(f"{group} is not orthogonal: its penalty depends on the coordinates and units")
        rank = sum(r.bases[held.index(group)].rank for r in reps)  # type: ignore[misc]
        if rank in (0, unknowns):
            _say(f"{group} allows {'nothing' if rank == 0 else 'every weight'}: its penalty says nothing about it")
    for larger in groups:
        for smaller in groups:
            if larger is not smaller and all(_implies(r, held.index(larger), held.index(smaller)) for r in reps):
                _say(
                    f"{larger} contains {smaller} as far as these layers can tell: their penalties are not independent"
                )


def _implies(reps: LayerReps, larger: int, smaller: int) -> bool:
    """Whether all maps that the one group allows are allowed by the other."""
    layouts = reps._weight._layouts
    if not any(larger in members and smaller in members for members in layouts):
        return False
    pairs = zip(reps.bases[larger].blocks, reps.bases[smaller].blocks, strict=True)  # type: ignore[arg-type]
    for one, other in pairs:
        Q, P = one.vectors.double(), other.vectors.double()
        limit = INSIDE if one.vectors.dtype == torch.float64 else 1e-4
        if Q.shape[1] and float((Q - P @ (P.mT @ Q)).abs().max()) > limit:
            return False
    return True


def _say(words: str) -> None:
    warnings.warn(words, UserWarning, stacklevel=4)

"""What a linear layer maps between, and how far its weight is from commuting with each of several groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions import EquivariantBasis, Grid, Rep, Scalar, equivariant_basis
from torsor.groups import Group

WIDE = 128
"""Unknowns of a block up to which the complement of the basis is stored instead of the basis."""


class LayerReps(nn.Module):
    """The representations between which a linear layer maps, and the equivariant maps of each candidate group.

    It has no parameters, and its tensors are in no state dict; `attach` puts one into a layer.

    Arguments:
        rep_in, rep_out: of the inputs and the outputs of the layer.
        groups: the candidates, all acting on one space.

    Attributes:
        bases, bias_bases: an `EquivariantBasis` for each group, of the weight and of the bias.
    """

    def __init__(self, rep_in: Rep, rep_out: Rep, groups: Sequence[Group]) -> None:
        super().__init__()
        self.rep_in, self.rep_out, self.groups = rep_in, rep_out, check_groups(groups)
        self.bases = nn.ModuleList(equivariant_basis(g, rep_in, rep_out) for g in self.groups)
        self.bias_bases = nn.ModuleList(equivariant_basis(g, Scalar(), rep_out) for g in self.groups)
        self._pack()

    @property
    def shape(self) -> tuple[int, int]:
        """(dim_out, dim_in) of the weight."""
        return self.bases[0].shape  # type: ignore[return-value]

    def residuals(
        self, weight: Float[Tensor, "dim_out dim_in"], bias: Float[Tensor, " dim_out"] | None = None
    ) -> Float[Tensor, " groups"]:
        """`R_g = |w - P_g w|^2 / 2 + |b - P_g b|^2 / 2` for each group: 0 where the layer is equivariant.

        Source: Kim et al. 2023 (arXiv 2306.00356), section 3.
        """
        total = self._weight.sizes(weight)
        return total / 2 if bias is None else (total + self._bias.sizes(bias.unsqueeze(-1))) / 2

    def scores(self, weight: Float[Tensor, "dim_out dim_in"]) -> Float[Tensor, " groups"]:
        """`1 - (|w - P_g w|^2 / |w|^2) / (1 - r_g/n)`: 1 for an equivariant weight, 0 on average for a random one.

        NaN where the group asks nothing of this layer, or the weight is 0.
        """
        ranks = torch.tensor([basis.rank for basis in self.bases], dtype=weight.dtype, device=weight.device)
        return symmetry_scores(self._weight.sizes(weight), weight.square().sum(), ranks, weight.numel())

    def _pack(self) -> None:
        self._weight = Annihilator(list(self.bases))  # type: ignore[arg-type]
        self._bias = Annihilator(list(self.bias_bases))  # type: ignore[arg-type]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LayerReps:
        super()._apply(fn, recurse)
        self._pack()  # from the bases, so that what float32 has lost comes back in float64
        return self

    def extra_repr(self) -> str:
        return f"{self.rep_in} -> {self.rep_out}, {', '.join(map(str, self.groups))}"


class Annihilator(nn.Module):
    """`|w - P_g w|^2` for several groups at once: each copy of a pair of tensor types is multiplied by an orthonormal
    basis of what the groups do not allow there. The whole projection is never made, nor is one square taken from
    another, so that the result is never negative and vanishes to rounding on equivariant weights."""

    def __init__(self, bases: Sequence[EquivariantBasis]) -> None:
        super().__init__()
        self._layouts = _same_layouts(bases)
        self._bases = tuple(bases)  # a tuple is not registered: the bases belong to the layer
        for number, members in enumerate(self._layouts):
            for i, blocks in enumerate(zip(*[bases[g].blocks for g in members], strict=True)):
                Q = [block.vectors for block in blocks]
                if Q[0].shape[0] > WIDE:
                    continue
                forbidden = [_complement(q) for q in Q]
                owner = torch.cat([torch.full((N.shape[1],), float(g)) for g, N in zip(members, forbidden)])
                indicator = (owner[:, None] == torch.arange(len(bases))).to(Q[0])
                self.register_buffer(f"_out{number}_{i}", torch.cat(forbidden, 1), persistent=False)
                self.register_buffer(f"_of{number}_{i}", indicator, persistent=False)

    def sizes(self, W: Tensor) -> Float[Tensor, " groups"]:
        """The squared distance of a matrix from the equivariant ones of each group."""
        total = W.new_zeros(len(self._bases))
        for number, members in enumerate(self._layouts):
            for i, (B, _) in enumerate(self._bases[members[0]]._coordinates(W)):
                forbidden = getattr(self, f"_out{number}_{i}", None)
                if forbidden is None:
                    parts = [B - B @ Q @ Q.mT for Q in (self._bases[g].blocks[i].vectors.to(B) for g in members)]
                    places = torch.tensor(members, device=W.device)
                    total = total.index_add(0, places, torch.stack([r.square().sum() for r in parts]))
                elif forbidden.shape[1]:
                    left = (B.flatten(0, -2) @ forbidden.to(B.dtype)).square().sum(0)
                    total = total + left @ getattr(self, f"_of{number}_{i}").to(B.dtype)
        return total


def attach(module: nn.Module, name: str, rep_in: Rep, rep_out: Rep, groups: Sequence[Group]) -> nn.Module:
    """Say between which representations a linear layer of any model maps, so that `PERegularizer` finds it.

    A penalty of 0 in every layer makes the *network* equivariant only if what stands between the layers commutes with
    the hidden representations: functions of single channels do so for scalars and for permutations alone.

    A convolution with a larger kernel maps `rep_in * Grid(k)` to `rep_out`: groups are those that map its grid onto
    itself, such as `Cyclic(4)`, moving pixels as in `Image`. Stride and padding are not seen.

    Arguments:
        module: the model.
        name: of the layer inside it, as in `named_modules`: an `nn.Linear`, or a convolution with a square kernel.
        rep_in, rep_out: of its input and output channels.
        groups: the candidates.

    Returns:
        The layer.

    Raises:
        TypeError: the layer is neither.
        ValueError: no layer of this name, sizes that do not fit, NaN in the weight, groups of different spaces, a
            grouped convolution, a kernel that is not square, or one that a group does not map onto itself.

    Source: Kim et al. 2023 (arXiv 2306.00356), section 3.

    >>> import torch
    >>> from torsor.actions import Scalar, V
    >>> from torsor.groups import O, embed
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 3))
    >>> about_z = embed(O(2), (0, 1), 3)
    >>> layer = attach(net, "0", V, 8 * Scalar(), [O(3), about_z])
    >>> layer.reps
    LayerReps(
      V -> 8*Scalar(), O(3), embed(O(2), (0, 1), 3)
      ...
    """
    try:
        layer = module.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"name must be that of a layer of the module; got {name!r}: {error}") from None
    weight = matrix_of(layer, name)
    taps = math.prod(getattr(layer, "kernel_size", ()))
    if taps > 1:
        rep_in = _on_taps(layer, name, rep_in, groups)
    reps = LayerReps(rep_in, rep_out, groups)
    if tuple(weight.shape) != reps.shape:
        raise ValueError(
            f"{name or 'module'} maps {weight.shape[1] // taps} -> {weight.shape[0]} channels and {rep_in} -> {rep_out}"
            f" has {reps.shape[1] // taps} -> {reps.shape[0]} under {reps.groups[0]}"
        )
    check_finite(weight, name)
    layer.reps = reps.to(weight.device, weight.dtype)
    return layer


def matrix_of(layer: nn.Module, name: str = "") -> Tensor:
    """The weight of a linear layer, or of a convolution, as a matrix (out, in times taps)."""
    if isinstance(layer, nn.Linear):
        return layer.weight
    name = name or "module"
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"{name} must be an nn.Linear or a convolution; got {type(layer).__name__}")
    if layer.groups > 1:
        raise ValueError(f"{name} must be a convolution with groups=1; got groups={layer.groups}")
    return layer.weight.flatten(1)


def _on_taps(layer: nn.Module, name: str, rep_in: Rep, groups: Sequence[Group]) -> Rep:
    """What a kernel sees: the input channels at each of its taps."""
    sides = set(layer.kernel_size)  # type: ignore[arg-type]
    if len(sides) > 1:
        raise ValueError(f"{name or 'module'} must be a convolution with a square kernel; got {layer.kernel_size}")
    axes = layer.weight.ndim - 2  # type: ignore[operator, union-attr]
    for group in check_groups(groups):
        if _space(group) != axes:
            raise ValueError(f"groups must act on R^{axes}, where the kernel of {name or 'module'} lies; got {group}")
        try:
            Grid(side := max(sides)).matrix(group, group.elements(torch.float64))
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"groups must map the {side} taps of each axis onto themselves; got {group}") from error
    return rep_in * Grid(max(sides))


def check_groups(groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups as a tuple, refused where they are none or act on different spaces."""
    if isinstance(groups, Group):
        groups = (groups,)
    found = tuple(groups)
    if not found:
        raise ValueError("groups must hold at least one group; got none")
    for group in found:
        if not isinstance(group, Group):
            raise TypeError(f"groups must hold torsor groups such as O(3); got {group!r}")
    if len({_space(g) for g in found}) > 1:
        words = ", ".join(f"{g} on R^{_space(g)}" for g in found)
        raise ValueError(f"groups must act on one space; got {words}")
    return found


def check_finite(values: Tensor, name: str, what: str = "weight") -> None:
    """Refuse weights that are not finite."""
    if not bool(values.isfinite().all()):
        raise ValueError(f"the {what} of {name or 'the layer'} must be finite; it holds NaN or infinity")


def symmetry_scores(left: Tensor, whole: Tensor, ranks: Tensor, unknowns: int) -> Tensor:
    """`1 - (left/whole) / (1 - ranks/unknowns)`, NaN where nothing is asked or there is nothing."""
    asked = 1 - ranks / unknowns
    score = 1 - (left / whole) / torch.where(asked > 0, asked, 1)
    return torch.where((asked > 0) & (whole > 0), score, torch.nan)


def _space(group: Group) -> Any:
    return getattr(group, "n", None) or str(group)


def _same_layouts(bases: Sequence[EquivariantBasis]) -> list[list[int]]:
    """The numbers of the bases whose blocks lie at the same places."""
    layouts: dict[Any, list[int]] = {}
    for number, basis in enumerate(bases):
        orders = (basis.rep_out.canonical(basis.group), basis.rep_in.canonical(basis.group))
        key = tuple((order.types, tuple(order.permutation.tolist())) for order in orders)
        layouts.setdefault(key, []).append(number)
    return list(layouts.values())


def _complement(Q: Tensor) -> Tensor:
    """An orthonormal basis (n, n - r) of what is orthogonal to the columns of Q (n, r)."""
    wide = Q.double().cpu()
    rest = torch.eye(len(wide), dtype=wide.dtype, device=wide.device) - wide @ wide.mT
    _, vectors = torch.linalg.eigh(rest)
    return vectors[:, wide.shape[1] :].to(Q)

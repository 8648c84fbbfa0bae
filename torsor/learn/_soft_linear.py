"""Linear layers between representations: free with a penalty, equivariant by construction, and both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from torsor.actions import EquivariantBasis, Rep, Scalar, equivariant_basis
from torsor.groups import Group, join
from torsor.learn._layer_reps import LayerReps

STARTS = ("orthogonal", "equivariant", "halfsoft", "rpp")


class SoftLinear(nn.Linear):
    """A linear layer with a free weight that knows how far it is from commuting with each of several groups.

    The weight starts orthogonal, the bias uniform in (0, 1)/sqrt(dim_out), as in the paper. A penalty then takes most
    of the weight away, and what is left is small: `start="equivariant"` begins with the weight of a network that is
    equivariant by construction. The bias starts as ever.

    Arguments:
        rep_in, rep_out: representations of inputs and outputs.
        groups: the candidates.
        start: `"orthogonal"`; `"equivariant"`, the part of that which commutes with all groups (with the first, if
            they are not all groups of matrices), as large as a free weight, or all of it where nothing commutes with
            them; `"halfsoft"`, the mean of the free weight and its projection on the maps of the first group; or
            `"rpp"`, the projection and a thousandth of the weight.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Raises:
        TypeError: a representation does not fit the groups.
        ValueError: no groups, or groups that act on different spaces.

    Source: Kim et al. 2023 (arXiv 2306.00356), section 3.

    >>> import torch
    >>> from torsor.actions import V
    >>> from torsor.groups import O, embed
    >>> layer = SoftLinear(V, V, [O(3), embed(O(2), (0, 1), 3)], bias=False).double()
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]]))
    >>> layer.per().detach()
    tensor([109.3333,  93.0000], dtype=torch.float64)
    """

    def __init__(
        self, rep_in: Rep, rep_out: Rep, groups: Sequence[Group], *, bias: bool = True, start: str = "orthogonal"
    ) -> None:
        reps = LayerReps(rep_in, rep_out, groups)
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}; got {start!r}")
        super().__init__(reps.shape[1], reps.shape[0], bias=bias)
        self.reps = reps.to(self.weight.device, self.weight.dtype)
        start_orthogonal(self.weight, self.bias)
        with torch.no_grad():
            if start == "equivariant":
                self.weight.copy_(_commuting(self.weight, self.reps))
            elif start != "orthogonal":
                projected = self.reps.bases[0].project(self.weight)  # type: ignore[operator]
                halfway = (self.weight + projected) / 2
                self.weight.copy_(halfway if start == "halfsoft" else projected + 1e-3 * self.weight)

    def per(self) -> Float[Tensor, " groups"]:
        """R_g of each group."""
        return self.reps.residuals(self.weight, self.bias)

    def scores(self) -> Float[Tensor, " groups"]:
        """The symmetry score of each group, of the weight; NaN where the group asks nothing."""
        return self.reps.scores(self.weight.detach())

    def extra_repr(self) -> str:
        return f"bias={self.bias is not None}"


class EquivariantLinear(nn.Module):
    """A linear layer that commutes with a group, whatever its parameters are.

    Arguments:
        rep_in, rep_out: representations of inputs and outputs.
        group: the group; several at once: `torsor.groups.join`.
        by: `"coefficients"` of an orthonormal basis are the parameters (default), or `"projection"` of a free weight.
        bias: with an equivariant bias.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 5.

    >>> import torch
    >>> from torsor.actions import V
    >>> from torsor.groups import SO
    >>> layer = EquivariantLinear(2 * V, V, SO(3))
    >>> g, x = SO(3).sample(5), torch.randn(5, 6)
    >>> torch.allclose(layer((2 * V)(SO(3), g, x)), V(SO(3), g, layer(x)), atol=1e-5)
    True
    """

    def __init__(self, rep_in: Rep, rep_out: Rep, group: Group, *, by: str = "coefficients", bias: bool = True) -> None:
        super().__init__()
        if by not in ("coefficients", "projection"):
            raise ValueError(f'by must be "coefficients" or "projection"; got {by!r}')
        dtype, self.by = torch.get_default_dtype(), by
        self.basis = equivariant_basis(group, rep_in, rep_out, dtype=dtype)
        self.bias_basis = equivariant_basis(group, Scalar(), rep_out, dtype=dtype) if bias else None
        free_weight, free_bias = torch.empty(self.basis.shape), torch.empty(self.basis.shape[0])
        start_orthogonal(free_weight, free_bias)
        free_weight.mul_(_growth(self.basis))
        with torch.no_grad():
            weight, offset = self.basis, self.bias_basis
            self.weight_parameters = nn.Parameter(
                weight.coefficients(free_weight) if by == "coefficients" else free_weight
            )
            if offset is None:
                self.register_parameter("bias_parameters", None)
            else:
                start = free_bias.unsqueeze(-1)
                self.bias_parameters = nn.Parameter(offset.coefficients(start) if by == "coefficients" else start)

    @property
    def weight(self) -> Float[Tensor, "dim_out dim_in"]:
        """The equivariant matrix."""
        make = self.basis.from_coefficients if self.by == "coefficients" else self.basis.project
        return make(self.weight_parameters)

    @property
    def bias(self) -> Float[Tensor, " dim_out"] | None:
        """The invariant offset."""
        if self.bias_basis is None:
            return None
        make = self.bias_basis.from_coefficients if self.by == "coefficients" else self.bias_basis.project
        return make(self.bias_parameters).squeeze(-1)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        return F.linear(x, self.weight, self.bias)


class RPPLinear(nn.Module):
    """A residual pathway prior: an equivariant weight and a free one, side by side, the free one kept small.

    Arguments:
        rep_in, rep_out: representations of inputs and outputs.
        group: the group.
        sigma_basic: standard deviation of the prior of the free weight.
        sigma_equiv: standard deviation of the prior of the equivariant one.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Raises:
        ValueError: a standard deviation is not positive.

    Source: Finzi, Benton, Wilson 2021 (arXiv 2112.01388), section 4; penalties 1 and 1e-5 as in the code of Kim et al.
    2023 (arXiv 2306.00356).

    >>> from torsor.actions import V
    >>> from torsor.groups import SO
    >>> layer = RPPLinear(V, V, SO(3))
    >>> bool(layer.log_prior() < 0)
    True
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        group: Group,
        sigma_basic: float = 0.5**0.5,
        sigma_equiv: float = (0.5e5) ** 0.5,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for name, sigma in (("sigma_basic", sigma_basic), ("sigma_equiv", sigma_equiv)):
            if not (math.isfinite(sigma) and sigma > 0):
                raise ValueError(f"{name} must be positive; got {sigma}")
        self.sigma_basic, self.sigma_equiv = sigma_basic, sigma_equiv
        self.equivariant = EquivariantLinear(rep_in, rep_out, group, by="projection", bias=bias)
        dim_out, dim_in = self.equivariant.basis.shape
        self.free = nn.Linear(dim_in, dim_out, bias=bias)
        start_orthogonal(self.free.weight, self.free.bias)
        with torch.no_grad():
            for p in self.free.parameters():
                p.mul_(1e-3)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        return self.equivariant(x) + self.free(x)

    def log_prior(self) -> Float[Tensor, ""]:
        """`-|w1|^2 / (2 sigma_equiv^2) - |w2|^2 / (2 sigma_basic^2)`, to be added to a log likelihood."""

        def square(layer: nn.Module) -> Tensor:
            return torch.stack([p.square().sum() for p in layer.parameters()]).sum()

        return -square(self.equivariant) / (2 * self.sigma_equiv**2) - square(self.free) / (2 * self.sigma_basic**2)


def _commuting(weight: Tensor, reps: LayerReps) -> Tensor:
    """The part of a weight that commutes with all groups, as large as the weight; all of it where there is none."""
    groups = reps.groups
    try:
        together = groups[0] if len(groups) == 1 else join(*groups)  # type: ignore[arg-type]
    except TypeError:  # not all are groups of matrices
        together = groups[0]
    basis = equivariant_basis(together, reps.rep_in, reps.rep_out, dtype=weight.dtype).to(weight.device)
    return basis.project(weight) * _growth(basis) if basis.rank else weight


def _growth(basis: EquivariantBasis) -> float:
    """A projection takes most of a weight away: by this factor what is left is as large as a free weight was."""
    return math.sqrt(math.prod(basis.shape) / basis.rank) if basis.rank else 1.0


@torch.no_grad()
def start_orthogonal(weight: Tensor, bias: Tensor | None) -> None:
    """An orthogonal weight, a bias uniform in (0, 1)/sqrt(dim_out): the start of Kim et al. 2023."""
    nn.init.orthogonal_(weight)
    if bias is not None:
        bias.uniform_(0, 1).div_(math.sqrt(len(bias)))

"""Networks on tensors: equivariant by construction, free with representations, and residual pathway priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions import Rep, uniform_rep
from torsor.actions._algebra import acts_orthogonally
from torsor.groups import Group
from torsor.learn._layer_reps import check_groups
from torsor.learn._relaxed import RelaxedLinear
from torsor.learn._soft_linear import EquivariantLinear, RPPLinear, SoftLinear
from torsor.learn._tensor_layers import WEIGHT, Gate, Products, gated

GATES = ("hard", "rpp", "plain")


class _Block(nn.Module):
    """A linear layer to `gated(rep)`, products beside it, a gate."""

    def __init__(self, linear: nn.Module, rep: Rep, group: Group, gate: str, outer: bool) -> None:
        super().__init__()
        self.linear = linear
        self.products = Products(gated(rep), group, outer)
        self.gate = Gate(rep, group, rpp=gate == "rpp")

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        return self.gate(h + WEIGHT * self.products(h))


class _TensorNetwork(nn.Module):
    """Blocks and a last linear layer, all made by `linear(rep_in, rep_out)`."""

    def __init__(
        self,
        linear: Callable[[Rep, Rep], nn.Module],
        rep_in: Rep,
        rep_out: Rep,
        groups: Sequence[Group],
        channels: int | Rep,
        layers: int,
        max_rank: int,
        gate: str,
        outer: bool,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}; got {gate!r}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1 hidden layer; got {layers}")
        self.rep_in, self.rep_out, self.groups = rep_in, rep_out, check_groups(groups)
        strict = next((g for g in self.groups if not acts_orthogonally(g)), self.groups[0])
        if isinstance(channels, int) and channels < 1:
            raise ValueError(f"channels must be at least 1; got {channels}")
        hidden = uniform_rep(channels, strict, max_rank) if isinstance(channels, int) else channels
        self.hidden = hidden.canonical(strict).rep
        blocks: list[nn.Module] = []
        rep = rep_in
        for _ in range(layers):
            if gate == "plain":
                blocks += [linear(rep, self.hidden), nn.SiLU()]
            else:
                blocks.append(_Block(linear(rep, gated(self.hidden)), self.hidden, strict, gate, outer))
            rep = self.hidden
        self.net = nn.Sequential(*blocks, linear(rep, rep_out))

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        return self.net(x)


class SoftEMLP(_TensorNetwork):
    """A network on tensors whose linear layers are free and know their representations, for `PERegularizer`.

    Gates and products commute with all groups that act on the tensors by matrices, so the linear layers alone decide
    which of the candidates the network keeps; with the bilinear part it cannot leave the largest of them altogether.

    Arguments:
        rep_in, rep_out: of inputs and outputs.
        groups: the candidates.
        channels: hidden numbers per layer, shared out by `uniform_rep`; or the hidden representation itself.
        layers: hidden layers.
        max_rank: of hidden tensors.
        gate: `"hard"`; `"rpp"`, with free activations beside the gates; `"plain"`, SiLU on every number and no
            products, which commutes with no rotation.
        outer: with outer products of tensors.
        start: of the linear layers, as in `SoftLinear`. `"orthogonal"` is the start of the paper: a penalty that asks
            for much takes most of it away, and the network learns slowly from there. By default `"equivariant"` for
            groups that act orthogonally; under others, such as scalings, too little commutes to start from.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Raises:
        ValueError: unknown gate or start, no hidden layer, groups of different spaces.

    Source: Kim et al. 2023 (arXiv 2306.00356), section 5; Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7.

    >>> import torch
    >>> from torsor.actions import T, V
    >>> from torsor.groups import O, embed
    >>> net = SoftEMLP(2 * V, T(2), [embed(O(2), (0, 1), 3), embed(O(2), (1, 2), 3)], channels=30, layers=2)
    >>> net(torch.randn(4, 6)).shape
    torch.Size([4, 9])
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        groups: Sequence[Group],
        channels: int | Rep = 128,
        layers: int = 3,
        max_rank: int = 2,
        gate: str = "hard",
        outer: bool = True,
        start: str | None = None,
    ) -> None:
        if start is None:
            start = "equivariant" if all(map(acts_orthogonally, check_groups(groups))) else "orthogonal"

        def linear(a: Rep, b: Rep) -> nn.Module:
            return SoftLinear(a, b, groups, start=start)

        super().__init__(linear, rep_in, rep_out, groups, channels, layers, max_rank, gate, outer)


class EMLP(_TensorNetwork):
    """A network on tensors that is equivariant by construction, for any group of matrices.

    Arguments:
        rep_in, rep_out, channels, layers, max_rank, outer: as in `SoftEMLP`.
        group: the group; several at once: `torsor.groups.join`.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7.

    >>> import torch
    >>> from torsor.actions import T, V
    >>> from torsor.groups import O
    >>> net, g, x = EMLP(2 * V, T(2), O(3), channels=30, layers=2), O(3).sample(4), torch.randn(4, 6)
    >>> torch.allclose(net((2 * V)(O(3), g, x)), T(2)(O(3), g, net(x)), atol=1e-5)
    True
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        group: Group,
        channels: int | Rep = 128,
        layers: int = 3,
        max_rank: int = 2,
        outer: bool = True,
    ) -> None:
        def linear(a: Rep, b: Rep) -> nn.Module:
            return EquivariantLinear(a, b, group, by="projection")

        super().__init__(linear, rep_in, rep_out, (group,), channels, layers, max_rank, "hard", outer)


class RPPEMLP(_TensorNetwork):
    """A network with a residual pathway prior: each layer equivariant, and a free one beside it that is kept small.

    Arguments:
        rep_in, rep_out, group, channels, layers, max_rank, outer: as in `EMLP`.
        sigma_basic, sigma_equiv: as in `RPPLinear`.
        gate: `"rpp"` gives the activations a free part too.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Source: Finzi, Benton, Wilson 2021 (arXiv 2112.01388).

    >>> from torsor.actions import T, V
    >>> from torsor.groups import O
    >>> net = RPPEMLP(2 * V, T(2), O(3), channels=30, layers=2)
    >>> bool(net.log_prior() < 0)
    True
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        group: Group,
        channels: int | Rep = 128,
        layers: int = 3,
        max_rank: int = 2,
        outer: bool = True,
        gate: str = "rpp",
        sigma_basic: float = 0.5**0.5,
        sigma_equiv: float = (0.5e5) ** 0.5,
    ) -> None:
        def linear(a: Rep, b: Rep) -> nn.Module:
            return RPPLinear(a, b, group, sigma_basic, sigma_equiv)

        super().__init__(linear, rep_in, rep_out, (group,), channels, layers, max_rank, gate, outer)
        self.sigma_basic = sigma_basic

    def log_prior(self) -> Float[Tensor, ""]:
        """The logarithm of the prior of all free and equivariant weights, up to a constant."""
        linear = [m.log_prior() for m in self.modules() if isinstance(m, RPPLinear)]
        free = [m.free.square().sum() for m in self.modules() if isinstance(m, Gate) and m.free is not None]
        prior = torch.stack(linear).sum()
        return prior - torch.stack(free).sum() / (2 * self.sigma_basic**2) if free else prior


class RelaxedEMLP(_TensorNetwork):
    """A network that starts equivariant, and whose relaxed weights leave the group where the data ask for it.

    Arguments:
        rep_in, rep_out, group, channels, layers, max_rank, outer: as in `EMLP`.
        terms: equivariant matrices in each layer.

    Shapes: `(..., dim_in)` to `(..., dim_out)`.

    Source: Wang, Walters, Yu 2022 (arXiv 2201.11969), section 4, in the layers of Finzi, Welling, Wilson 2021
    (arXiv 2104.09459).

    >>> import torch
    >>> from torsor.actions import T, V
    >>> from torsor.groups import O
    >>> net, x = RelaxedEMLP(2 * V, T(2), O(3), channels=30, layers=2), torch.randn(4, 6)
    >>> torch.allclose(net(-x), net(x), atol=1e-5)  # T(2) is even, and so is the network as it starts
    True
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        group: Group,
        channels: int | Rep = 128,
        layers: int = 3,
        max_rank: int = 2,
        outer: bool = True,
        terms: int = 2,
    ) -> None:
        def linear(a: Rep, b: Rep) -> nn.Module:
            return RelaxedLinear(a, b, group, terms)

        super().__init__(linear, rep_in, rep_out, (group,), channels, layers, max_rank, "hard", outer)

"""What a stationary process is here: its covariance, the slope of it, and what it does near zero and far away."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

NOT_DIFFERENTIABLE = "the process is not differentiable: use iia_discrete on its sign autocorrelation"


class Covariance(nn.Module):
    """The covariance `r(t)` of a stationary Gaussian process of mean 0 and variance 1, for times `t >= 0`.

    A subclass gives `forward` and `lambda2`; everything else has a default. Numbers that are given as tensors stay in
    the graph, so laws and exponents can be differentiated by them.

    Attributes:
        lambda2: `-r''(0)`, in 1/time^2.
        lambda4: `r''''(0)`, in 1/time^4; inf where there is none, None where it is not known.
        c3: the coefficient of `|t|^3` in `r`, in 1/time^3; None where it is not known.
        order: the power `p` in `1 - E_0(t) ~ t^p` near zero: 2 where lambda4 is finite, 1 where c3 is not zero.
        decay_rate: `kappa` in `E_0 ~ exp(-kappa t)`, in 1/time; inf for faster decay, 0 for slower, None where unknown.
        monotone_E0: whether `E_0` is known, by proof, to decrease from 1 to 0.
        support: the time up to which `r` is known.
        series_below: times below this, in units of `lambda2 ** -0.5`, are taken from the leading order at zero.

    >>> import torch
    >>> from torsor.persistence import Covariance
    >>> class Cauchy(Covariance):
    ...     lambda2 = torch.tensor(2.0, dtype=torch.float64)
    ...     def forward(self, t):
    ...         return 1 / (1 + t**2)
    >>> Cauchy().derivative(torch.ones(1, dtype=torch.float64))
    tensor([-0.5000], dtype=torch.float64)
    """

    lambda2: Tensor
    lambda4: Tensor | float | None = None
    c3: Tensor | float | None = None
    order: float = 2.0
    decay_rate: float | None = None
    monotone_E0: bool = False
    support: float = math.inf
    series_below: float = 1e-2

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """The covariance at these times."""
        raise NotImplementedError

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """`r'(t)`, in 1/time; by automatic differentiation unless a subclass knows better."""
        with torch.enable_grad():
            moving = t.detach().requires_grad_()
            keep = self(t.detach().flatten()[:1]).requires_grad  # parameters, or what a function closes over
            return torch.autograd.grad(self(moving).sum(), moving, create_graph=keep)[0]

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        """`1 - r(t)`; a subclass that can do so gives it without cancellation, and lowers `series_below`."""
        return 1 - self(t)

    @property
    def dtype(self) -> torch.dtype:
        return self.lambda2.dtype

    @property
    def unit(self) -> Tensor:
        """The natural unit of time, `lambda2 ** -0.5`."""
        return self.lambda2.rsqrt()

    @property
    def mean_interval(self) -> float:
        """The mean time between two zeros, `pi / sqrt(lambda2)` (Rice)."""
        return math.pi * float(self.unit.detach())

    def scale(self, ell: float | Tensor) -> Covariance:
        """The process slowed down: `r(t / ell)`."""
        return Scaled(self, ell)

    def __mul__(self, other: Covariance) -> Covariance:
        """The product of two covariances."""
        return Product(self, other) if isinstance(other, Covariance) else NotImplemented

    def hold(self, **numbers: float | Tensor) -> None:
        """Keep numbers: parameters as parameters, tensors with their graph, plain numbers in float64."""
        for name, number in numbers.items():
            if isinstance(number, nn.Parameter):
                setattr(self, name, number)
            else:
                kept = number if isinstance(number, Tensor) else torch.tensor(number, dtype=torch.float64)
                self.register_buffer(name, kept)


class Scaled(Covariance):
    """`r(t / ell)`; what `Covariance.scale` gives."""

    ell: Tensor

    def __init__(self, base: Covariance, ell: float | Tensor):
        super().__init__()
        positive(ell, "ell")
        self.base = base
        self.hold(ell=ell)
        self.order, self.monotone_E0, self.series_below = base.order, base.monotone_E0, base.series_below
        slow = float(self.ell.detach())
        self.decay_rate = None if base.decay_rate is None else base.decay_rate / slow
        self.support = base.support * slow

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self.base.lambda2 / self.ell**2

    @property
    def lambda4(self) -> Tensor | float | None:  # type: ignore[override]
        return None if self.base.lambda4 is None else self.base.lambda4 / self.ell**4

    @property
    def c3(self) -> Tensor | float | None:  # type: ignore[override]
        return None if self.base.c3 is None else self.base.c3 / self.ell**3

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.base(t / self.ell)

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.base.derivative(t / self.ell) / self.ell

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.base.one_minus_r(t / self.ell)


class ConvexSum(Covariance):
    """`sum_i weights_i r_i(t)`: independent components, of which each carries a share of the variance.

    Arguments:
        components: covariances.
        weights: their shares, non-negative, of sum 1.

    Raises:
        ValueError: weights that are no shares.

    >>> from torsor.persistence import ConvexSum, SquaredExponential
    >>> fast, slow = SquaredExponential(length=0.1), SquaredExponential()
    >>> print(f"{float(ConvexSum([fast, slow], [0.5, 0.5]).lambda2):.1f}")
    50.5
    """

    weights: Tensor

    def __init__(self, components: Sequence[Covariance], weights: Sequence[float] | Tensor):
        super().__init__()
        shares = torch.as_tensor(weights, dtype=None if isinstance(weights, Tensor) else torch.float64)
        bad = shares.shape != (len(components),) or bool((shares < 0).any()) or abs(float(shares.sum()) - 1) > 1e-9
        if bad or not components:
            raise ValueError(
                f"weights must be {len(components)} non-negative numbers of sum 1; got {shares.detach().tolist()}"
            )
        self.components = nn.ModuleList(components)
        self.hold(weights=weights if isinstance(weights, nn.Parameter) else shares)
        present = [c for c, share in zip(components, shares.tolist(), strict=True) if share > 0]
        self.order = min(c.order for c in present)
        self.series_below = max(c.series_below for c in present)
        self.support = min(c.support for c in present)
        rates = [c.decay_rate for c in present]
        self.decay_rate = None if None in rates else min(rates)  # type: ignore[type-var]
        self.monotone_E0 = len(present) == 1 and present[0].monotone_E0

    def _sum(self, values: list[Tensor]) -> Tensor:
        return torch.einsum("i, i ... -> ...", self.weights, torch.stack(values))

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self._sum([c.lambda2 for c in self.components])  # type: ignore[misc]

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self._sum([c(t) for c in self.components])

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self._sum([c.derivative(t) for c in self.components])  # type: ignore[operator]

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self._sum([c.one_minus_r(t) for c in self.components])  # type: ignore[operator]


class Product(Covariance):
    """`r_1(t) r_2(t)`; what `first * second` gives."""

    def __init__(self, first: Covariance, second: Covariance):
        super().__init__()
        self.first, self.second = first, second
        self.order = min(first.order, second.order)
        self.series_below = max(first.series_below, second.series_below)
        self.support = min(first.support, second.support)
        rates = (first.decay_rate, second.decay_rate)
        self.decay_rate = None if None in rates else sum(rates)  # type: ignore[arg-type]

    @property
    def lambda2(self) -> Tensor:  # type: ignore[override]
        return self.first.lambda2 + self.second.lambda2

    def forward(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.first(t) * self.second(t)

    def derivative(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.first.derivative(t) * self.second(t) + self.first(t) * self.second.derivative(t)

    def one_minus_r(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        return self.first.one_minus_r(t) + self.first(t) * self.second.one_minus_r(t)


def positive(value: float | Tensor, what: str) -> None:
    """Nothing, or ValueError where a number is not positive and finite."""
    number = float(value.detach()) if isinstance(value, Tensor) else float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{what} must be positive and finite; got {number:g}")

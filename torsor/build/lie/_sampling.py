"""Which group elements a network sees: drawn anew, kept, shared between layers."""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.groups import Group
from torsor.groups.measure import GroupSample, Proposal, UniformCompact

Resample = Literal["train", "always", "never"]


class GroupFeature(NamedTuple):
    """A function on space and group, known at `N` elements: `values (B, C, N, *spatial)` and where they are."""

    values: Float[Tensor, "b c n *spatial"]
    sample: GroupSample

    def map(self, function: Any) -> "GroupFeature":
        """The same feature with a pointwise function applied to its values."""
        return self._replace(values=function(self.values))


class SamplePlan(nn.Module):
    """Draws the elements at which a layer, or a network, knows its functions.

    Arguments:
        proposal: the law of the elements; a compact group stands for its Haar measure, a finite one for all of it.
        n: how many elements; ignored for finite groups, which come whole.
        resample: `"train"`: anew in each forward pass in training, the same ones in evaluation; `"always"`; `"never"`.
        method: as in `Proposal.sample`: `"iid"`, `"rqmc"` or `"lattice"`.
        with_identity: the first element is the identity, with the weight of the element it stands for.
        n_eval: how many elements there are in evaluation, where they stay the same; by default n. Few are enough to
            learn from if they are drawn anew; what a network answers is the better the more there are.

    The elements that stay the same are part of the state dictionary. Widths of a law may be tensors that are learned,
    as parameters of the module that holds the plan; `refresh` then draws the elements of evaluation from it as it is.

    Raises:
        ValueError: n < 1, an unknown word.
        TypeError: neither a proposal nor a group that has a Haar probability.

    >>> from torsor.groups import SO, Cyclic
    >>> from torsor.groups.measure import Window
    >>> SamplePlan(Window(SO(2), 0.5), 6)().g.shape, SamplePlan(Cyclic(4))().g.shape
    (torch.Size([6, 2, 2]), torch.Size([4, 2, 2]))
    """

    g: Tensor
    log_weight: Tensor

    def __init__(
        self,
        proposal: Proposal | Group,
        n: int = 8,
        *,
        resample: Resample = "train",
        method: str = "iid",
        with_identity: bool = False,
        n_eval: int | None = None,
    ) -> None:
        super().__init__()
        if resample not in ("train", "always", "never"):
            raise ValueError(f'resample must be "train", "always" or "never"; got {resample!r}')
        n_eval = n if n_eval is None else n_eval
        for name, count in (("n", n), ("n_eval", n_eval)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} must be at least 1; got {count!r}")
        if resample != "train" and n_eval != n:
            raise ValueError(f'n_eval is for resample="train"; got {n_eval} with resample={resample!r}')
        if not isinstance(proposal, Proposal | Group):
            raise TypeError(f"proposal must be a Proposal or a group; got {proposal!r}")
        self.finite = isinstance(proposal, Group) and proposal.is_finite
        self.group = proposal if isinstance(proposal, Group) else proposal.group
        self.proposal = None if self.finite else _as_proposal(proposal)
        self.resample: Resample = resample
        self.method, self.with_identity = method, with_identity
        self.n: int = self.group.order if self.finite else n  # type: ignore[assignment]
        self.n_eval: int = self.n if self.finite else n_eval
        first = self._draw(self.n_eval, None, torch.float64, "cpu")
        self.register_buffer("g", first.g.detach())
        self.register_buffer("log_weight", first.log_weight.detach())

    def _apply(self, fn: Any, recurse: bool = True) -> "SamplePlan":
        kept = self.g, self.log_weight
        super()._apply(fn, recurse)
        self.g, self.log_weight = (x.to(self.g.device) for x in kept)  # moved to other devices, never rounded
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """As many elements as were saved, whatever `n_eval` says here."""
        for name in ("g", "log_weight"):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, saved.new_empty(saved.shape, dtype=torch.float64, device=self.g.device))
                self.n_eval = len(saved)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def __call__(self, generator: torch.Generator | None = None, like: Tensor | None = None) -> GroupSample:
        return super().__call__(generator, like)

    def forward(self, generator: torch.Generator | None = None, like: Tensor | None = None) -> GroupSample:
        """The elements for this pass, on the device and in the dtype of a tensor."""
        dtype = torch.get_default_dtype() if like is None else torch.promote_types(like.dtype, torch.float32)
        device = self.g.device if like is None else like.device
        redraw = self.resample == "always" or (self.resample == "train" and self.training)
        if redraw and not self.finite:
            return self._draw(self.n, generator, dtype, device)
        g = self.g.to(device, dtype)
        return GroupSample(g, self.group.inverse(g), self.log_weight.to(device, dtype))

    @torch.no_grad()
    def refresh(self, generator: torch.Generator | None = None) -> None:
        """Draw anew the elements that stay the same."""
        found = self._draw(self.n_eval, generator, torch.float64, self.g.device)
        self.g, self.log_weight = found.g, found.log_weight

    def _draw(self, n: int, generator: torch.Generator | None, dtype: torch.dtype, device: Any) -> GroupSample:
        if self.proposal is None:
            g = self.group.elements(dtype).to(device)  # type: ignore[attr-defined]
            weight = torch.full((len(g),), -math.log(len(g)), dtype=dtype, device=device)
            return GroupSample(g, self.group.inverse(g), weight)
        found = self.proposal.sample(n, generator, self.method, dtype=dtype, device=device)
        if not self.with_identity:
            return found
        g = torch.cat([self.group.identity(1, dtype=dtype, device=device), found.g[1:]])  # type: ignore[call-overload]
        return GroupSample(g, self.group.inverse(g), -self.proposal.log_prob(g) - math.log(n))

    def extra_repr(self) -> str:
        law = f"all {self.n} elements of {self.group}" if self.proposal is None else self.proposal.describe()
        many = f"n={self.n}" + ("" if self.n_eval == self.n else f", n_eval={self.n_eval}")
        return f"{law}, {many}, resample={self.resample!r}"


def as_plan(plan: SamplePlan | Proposal | Group) -> SamplePlan:
    """A plan as it is, or one with the defaults."""
    return plan if isinstance(plan, SamplePlan) else SamplePlan(plan)


def _as_proposal(proposal: Proposal | Group) -> Proposal:
    if isinstance(proposal, Proposal):
        return proposal
    return UniformCompact(proposal) if proposal.is_compact else proposal.default_proposal()

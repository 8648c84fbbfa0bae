"""Hidden representations: as many channels as one wants, shared out among tensors of all ranks."""

from __future__ import annotations

from torsor.actions._rep import Rep, Scalar, T
from torsor.groups import Group


def uniform_rep(channels: int, group: Group | int, max_rank: int = 2) -> Rep:
    """About as many channels in tensors of each rank, exactly `channels` in all.

    The highest rank R with `(R + 1) d^R` channels left takes `d^(R - r)` copies of each `T(r)`, r = 0, .., R, as long
    as they fit; then the next lower one.

    Arguments:
        channels: how many numbers.
        group: whose space, or the dimension of the space.
        max_rank: no tensors above this rank.

    Raises:
        ValueError: `channels` or `max_rank` is negative.

    Source: Finzi, Welling, Wilson 2021 (arXiv 2104.09459), section 7.

    >>> from torsor.groups import O
    >>> uniform_rep(128, O(3), max_rank=3)
    38*Scalar() + 12*V + 3*V**2 + V**3
    >>> uniform_rep(128, O(3))
    47*Scalar() + 15*V + 4*V**2
    """
    d = group if isinstance(group, int) else group.n  # type: ignore[attr-defined]
    if channels < 0 or max_rank < 0:
        raise ValueError(f"channels and max_rank must be at least 0; got {channels} and {max_rank}")
    copies = [0] * (max_rank + 1)
    for R in range(max_rank, -1, -1):
        times, channels = divmod(channels, (R + 1) * d**R)
        for r in range(R + 1):
            copies[r] += times * d ** (R - r)
    return sum((n * T(r) for r, n in enumerate(copies) if n), start=0 * Scalar())

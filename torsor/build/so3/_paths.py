"""Which irreps a product couples, and with what coefficient: the bookkeeping of Gaunt and bracket products."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from torsor.actions import Irrep, Irreps
from torsor.build.so3._blocks import gaunt_scale, poisson_scale


class Path(NamedTuple):
    """One coupling of three entries: its degrees and parities, how, and its coefficient on `wigner_3j`."""

    l1: int
    p1: int
    l2: int
    p2: int
    l3: int
    p3: int
    kind: str
    coefficient: float
    entries: tuple[int, int, int]
    """Which entries of the two inputs and of the output it couples."""


def as_irreps(irreps: Any, name: str) -> Irreps:
    """Irreps of ours from a string, from irreps of e3nn or of ours."""
    try:
        return Irreps(irreps)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{name} must be irreps such as "8x0e+8x1o"; {error}') from None


def one_multiplicity(*irreps: Irreps) -> int:
    """The number of copies that all entries share, or ValueError."""
    entries = [entry for part in irreps for entry in part]
    for count, ir in entries:
        first, other = entries[0]
        if count != first:
            raise ValueError(f"uuu needs equal multiplicities, got {first}x{other} and {count}x{ir}; insert a Linear")
    return entries[0][0] if entries else 0


def parity_on_sphere(ir: Irrep) -> int:
    """+1 for a true function on the sphere, -1 for a pseudo-scalar one."""
    return ir.p * (-1) ** ir.l


def couples(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """Whether c is in a x b."""
    return a.p * b.p == c.p and abs(a.l - b.l) <= c.l <= a.l + b.l


def is_odd(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """Whether the coupling is in the bracket rather than in the product."""
    return (a.l + b.l + c.l) % 2 == 1


def all_outputs(in1: Irreps, in2: Irreps, antisymmetric: bool) -> Irreps:
    """Every irrep that the product reaches once, by degree, even parity first."""
    found = set()
    for _, a in in1:
        for _, b in in2:
            for l in range(abs(a.l - b.l), a.l + b.l + 1):
                c = Irrep(l, a.p * b.p)
                if antisymmetric or not is_odd(a, b, c):
                    found.add(c)
    count = one_multiplicity(in1, in2)
    return Irreps([(count, c) for c in sorted(found, key=lambda c: (c.l, -c.p))])


def product_paths(
    in1: Irreps, in2: Irreps, out: Irreps, antisymmetric: bool, normalization: str
) -> tuple[list[Path], list[float]]:
    """The paths, and for each entry of the output the factor that its normalisation puts on raw blocks.

    Raises:
        ValueError: an output that nothing reaches, with the reason.
    """
    paths: list[Path] = []
    scales: list[float] = []
    for k, (_, c) in enumerate(out):
        raw = []
        for i, (_, a) in enumerate(in1):
            for j, (_, b) in enumerate(in2):
                if couples(a, b, c) and (antisymmetric or not is_odd(a, b, c)):
                    odd = is_odd(a, b, c)
                    size = poisson_scale(a.l, b.l, c.l, True) if odd else gaunt_scale(a.l, b.l, c.l)
                    raw.append((a, b, "bracket" if odd else "gaunt", size, (i, j, k)))
        if not raw:
            raise ValueError(f"irreps_out must be reachable: {_why_not(in1, in2, c)}")
        variance = sum(size**2 for *_, size, _ in raw) / (2 * c.l + 1)
        scales.append(1.0 if normalization == "none" else 1 / math.sqrt(variance))
        paths += [
            Path(a.l, a.p, b.l, b.p, c.l, c.p, kind, scales[-1] * size, entries) for a, b, kind, size, entries in raw
        ]
    return paths, scales


def has_odd_path(in1: Irreps, in2: Irreps, out: Iterable[tuple[int, Irrep]]) -> bool:
    """Whether some path to the output has an odd sum of degrees."""
    return any(couples(a, b, c) and is_odd(a, b, c) for _, a in in1 for _, b in in2 for _, c in out)


def _why_not(in1: Irreps, in2: Irreps, c: Irrep) -> str:
    odd = [(a, b) for _, a in in1 for _, b in in2 if couples(a, b, c)]
    if odd:
        return f"{c} from {odd[0][0]} x {odd[0][1]} needs antisymmetric=True"
    if not any(a.p * b.p == c.p for _, a in in1 for _, b in in2):
        return f"{c} has a parity that no product of {in1} and {in2} has"
    return f"{c} is outside |l1 - l2| <= l <= l1 + l2 for all irreps of its parity in {in1} and {in2}"

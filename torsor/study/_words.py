"""Groups and actions from words, for study files and the command line. A table is looked up; nothing is evaluated.

group     E(3)   SO(2)   C(4)   S(5)   GL+(2)   E(3) x S(5)
action    point   vector   scalar per sample   tensor(2)   irreps(8x0e+4x1o)   nodes(-2)   point | nodes
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torsor.actions import Action
    from torsor.groups import Group
    from torsor.symmetry import Symmetry

_GROUPS = {
    "Affine": "Affine", "Aff": "Affine", "Cyclic": "Cyclic", "C": "Cyclic", "Dihedral": "Dihedral", "D": "Dihedral",
    "E": "E", "GL+": "GLPlus", "GLPlus": "GLPlus", "Lorentz": "Lorentz", "O": "O", "Scaling": "Scaling", "SE": "SE",
    "Sim": "Sim", "SL": "SL", "SO": "SO", "Symmetric": "Symmetric", "S": "Symmetric", "Translation": "Translation",
    "T": "Translation", "Trivial": "Trivial",
}  # fmt: skip
_ACTIONS = {
    "batch": "Batch", "displacement": "Displacement", "edges": "Edges", "image": "Image", "irreps": "Irreps",
    "line": "Line", "mask": "Mask", "nodes": "Nodes", "pairs": "Pairs", "point": "Point",
    "pseudoscalar": "PseudoScalar", "pseudovector": "PseudoVector", "scalar": "Scalar", "shared": "Shared",
    "tensor": "Tensor", "vector": "Vector",
}  # fmt: skip
_UNMOVED = ("scalar", "mask", "batch", "shared")
_PER = ("node", "edge", "sample")
_CALL = re.compile(r"\s*([A-Za-z]+\+?)\s*(?:\(([^()]*)\))?\s*")
_ACTION = re.compile(rf"{_CALL.pattern}(?:\s+per\s+([A-Za-z]+)\s*)?")


def parse_group(text: str) -> "Group":
    """The group that a text names.

    Raises:
        ValueError: with the words that are allowed.

    >>> parse_group("SO(3)").name, parse_group("E(3) x S(5)").factors[1].n
    ('SO(3)', 5)
    """
    from torsor import groups

    parts = [_parse_factor(part, groups) for part in re.split(r"(?<=\))\s*x\s*|\s+x\s+|[*×]", text)]
    return parts[0] if len(parts) == 1 else groups.DirectProduct(*parts)


def parse_action(text: str) -> "Action":
    """The action that a text names.

    Raises:
        ValueError: with the words that are allowed.

    >>> parse_action("vector per sample").per, parse_action("tensor(1, 1)").q
    ('sample', 1)
    """
    from torsor import actions

    found = _ACTION.fullmatch(text)
    if found is None:
        raise ValueError(f"action {text!r} cannot be read; write it like 'point', 'tensor(2)' or 'vector per sample'")
    word, arguments, per = found.groups()
    cls = getattr(actions, _look_up(word.lower(), _ACTIONS, "action"), None)
    if cls is None:
        raise ValueError(f"action {word!r} is not in this version of torsor")
    if per is not None and per not in _PER:
        raise ValueError(f"action {text!r}: 'per' takes {', '.join(_PER)}; got {per!r}")
    if word.lower() == "irreps":
        values: tuple[Any, ...] = ((arguments or "").strip(),)
    else:
        values = _integers(arguments, f"action {text!r}")
        values = (values,) if word.lower() == "pairs" and values else values
    return _made(cls, values, {} if per is None else {"per": per}, f"action {text!r}")


def parse_symmetry(
    group: str, inputs: Mapping[str, str] | Sequence[str], output: Mapping[str, str] | Sequence[str] | str
) -> "Symmetry":
    """The symmetry that words name: a mapping of inputs means keywords, a sequence means positions.

    With a product of groups an action has one word for each factor, such as "point | nodes".

    >>> sym = parse_symmetry("SE(3)", {"positions": "point", "velocities": "vector"}, "point")
    >>> sym.group.name, list(sym.inputs)
    ('SE(3)', ['positions', 'velocities'])
    """
    from torsor.groups import DirectProduct
    from torsor.symmetry import Symmetry

    whole = parse_group(group)
    factors = whole.factors if isinstance(whole, DirectProduct) else (whole,)

    def side(words: Any, factor: int) -> Any:
        if isinstance(words, str):
            return parse_action(_factor_word(words, factor, len(factors)))
        if isinstance(words, Mapping):
            return {name: side(word, factor) for name, word in words.items()}
        return tuple(side(word, factor) for word in words)

    parts = [Symmetry(g, side(inputs, i), side(output, i)) for i, g in enumerate(factors)]
    return reduce(mul, parts)


def nearest(word: str, allowed: Sequence[str]) -> str:
    """A question that names the allowed word that looks like this one, or nothing.

    >>> nearest("epoch", ["epochs", "seeds"]), nearest("banana", ["epochs", "seeds"])
    (', did you mean "epochs"?', '')
    """
    folded = {other.casefold(): other for other in allowed}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f', did you mean "{folded[close[0]]}"?' if close else ""


def _parse_factor(text: str, groups: Any) -> "Group":
    found = _CALL.fullmatch(text)
    if found is None:
        raise ValueError(f"group {text!r} cannot be read; write it like 'E(3)', 'C(4)' or 'E(3) x S(5)'")
    word, arguments = found.groups()
    cls = getattr(groups, _look_up(word, _GROUPS, "group"), None)
    if cls is None:
        raise ValueError(f"group {word!r} is not in this version of torsor")
    return _made(cls, _integers(arguments, f"group {text!r}"), {}, f"group {text!r}")


def _look_up(word: str, table: Mapping[str, str], what: str) -> str:
    if word in table:
        return table[word]
    raise ValueError(f"unknown {what} {word!r}{nearest(word, list(table))}; allowed: {', '.join(table)}")


def _integers(arguments: str | None, where: str) -> tuple[int, ...]:
    if not arguments or not arguments.strip():
        return ()
    try:
        return tuple(int(part) for part in arguments.split(","))
    except ValueError:
        raise ValueError(f"{where}: what stands in the parentheses must be whole numbers; got {arguments!r}") from None


def _made(cls: Callable[..., Any], values: tuple[Any, ...], options: dict[str, Any], where: str) -> Any:
    try:
        return cls(*values, **options)
    except TypeError:
        given = ", ".join(map(str, values)) or "nothing"
        raise ValueError(f"{where}: {getattr(cls, '__name__', cls)} does not take {given} in the parentheses") from None


def _factor_word(words: str, factor: int, count: int) -> str:
    parts = [part.strip() for part in words.split("|")]
    if len(parts) == count:
        return parts[factor]
    if count == 1:
        raise ValueError(f"action {words!r}: the group is no product, so write one word")
    if len(parts) == 1 and parts[0].split()[0] in _UNMOVED:
        return parts[0]
    raise ValueError(f"action {words!r}: the group has {count} factors, so write {count} words with | between")

"""How numbers are written for people."""

import math
from typing import Any

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def show(value: Any, digits: int = 3) -> str:
    """A value as people read it: significant digits, powers of ten, "–" for nothing, an interval for three numbers.

    >>> show(0.018734), show(3.1e-16), show(12345.6), show(None), show((0.2, 0.1, 0.3)), show(True)
    ('0.0187', '3.1×10⁻¹⁶', '12,346', '–', '0.2 (0.1 to 0.3)', 'yes')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value, digits)
    if is_interval(value):
        centre, low, high = (_number(float(x), digits) for x in value)
        return f"{centre} ({low} to {high})"
    return str(value)


def is_interval(value: Any) -> bool:
    """Whether a value is a number with its interval: `(centre, low, high)`."""
    return isinstance(value, tuple | list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)


def _number(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < digits + 3:
        return f"{value:,.{max(0, digits - 1 - exponent)}f}" if exponent >= digits else f"{value:.{digits}g}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}×10{str(int(power)).translate(_SUPERSCRIPT)}"

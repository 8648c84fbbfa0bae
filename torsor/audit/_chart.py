"""A small line chart as inline SVG, for reports that need no plotting library."""

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 408.0, 12.0, 180.0


def line_chart(
    x: Sequence[float],
    y: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    x_label: str,
    y_label: str,
) -> str:
    """Points with their intervals and a line through them, the vertical axis logarithmic; colours follow the page.

    Values that are not positive stand at the bottom of the axis.

    >>> line_chart([0.0, 1.0], [1e-3, 1e-2], [1e-4, 1e-3], [1e-2, 1e-1], x_label="angle", y_label="error")[:25]
    '<svg viewBox="0 0 420 220'
    """
    positive = [v for v in (*y, *low, *high) if v > 0] or [1.0]
    bottom, top = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    top += top == bottom
    right = max(x) or 1.0

    def across(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * value / right, 1)

    def down(value: float) -> float:
        share = (math.log10(value) - bottom) / (top - bottom) if value > 0 else 0.0
        return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    marks = []
    for power in range(bottom, top + 1, max(1, (top - bottom) // 5)):
        height = down(10.0**power)
        marks += [_line(_LEFT, height, _RIGHT, height, 0.15), _text(_LEFT - 6, height + 4, f"1e{power}", "end")]
    step = _round_step(right / 4)
    marks += [_text(across(k * step), _BOTTOM + 16, f"{k * step:.3g}") for k in range(int(right / step) + 1)]
    marks += [_line(across(a), down(b), across(a), down(c), 0.4) for a, b, c in zip(x, low, high, strict=True)]
    points = [(across(a), down(b)) for a, b in zip(x, y, strict=True)]
    marks += [f'<circle cx="{a}" cy="{b}" r="2.5" fill="currentColor"/>' for a, b in points]
    marks.append(f'<polyline points="{" ".join(f"{a},{b}" for a, b in points)}" stroke-width="1.6"/>')
    marks.append(_text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, x_label))
    marks.append(_text(14, (_TOP + _BOTTOM) / 2, y_label, turned=True))
    words = f"{y_label} against {x_label}: {y[0]:.3g} at {x[0]:.3g}, {y[-1]:.3g} at {x[-1]:.3g}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}" '
        f'style="width:100%;max-width:{_WIDTH}px" stroke="currentColor" fill="none">{"".join(marks)}</svg>'
    )


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * k for k in (1, 2, 5, 10) if power * k >= least * (1 - 1e-9))


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-opacity="{opacity}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", *, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x} {y})"' if turned else ""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}"{turn} stroke="none" fill="currentColor" '
        f'font-size="11" font-family="sans-serif">{escape(words)}</text>'
    )

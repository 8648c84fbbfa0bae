"""What a study shows: an answer in words, tables and figures. No HTML here, and nothing that is escaped yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The answer of a study, in words.

    Arguments:
        headline: one sentence; the first thing on the page.
        reasons: the sentences that follow it.
        recommended: the name of the row that is recommended, None where there is none.
    """

    headline: str
    reasons: tuple[str, ...] = ()
    recommended: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table: the key of its values, its heading, its unit, and how a number is written.

    `digits` counts significant digits; a value that is a tuple `(centre, low, high)` is written with its interval.
    """

    key: str
    heading: str
    unit: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Table:
    """Rows of values under columns; `highlight` is the value of the first column whose row is set off."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    highlight: str | None = None


@dataclass(frozen=True)
class Figure:
    """A figure as plotly traces and layout, with the words and the numbers for those who cannot see it.

    Every string in `traces` and `layout` is shown as it stands: markup in it is escaped, save in `markupsafe.Markup`.
    Colours and fonts come from the page (light, dark, print), so leave them out.

    Arguments:
        title: the heading.
        description: what is to be seen, in one or two sentences: caption and text for screen readers.
        traces: plotly traces, as plain dictionaries.
        layout: plotly layout, as a plain dictionary.
        table: the same numbers as a table.
    """

    title: str
    description: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    table: Table | None = None

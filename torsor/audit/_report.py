"""What every report is: records for machines, words and a table for people, JSON, and a piece of a page."""

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from typing import Any

from torch import Tensor

from torsor._terminal import visible


class Report(ABC):
    """What an audit found.

    A report is a frozen dataclass of plain values that says three things about itself: a `title`, its `words` (the
    verdict in sentences) and its `records()`. Text, JSON and HTML follow from these.
    """

    title: str
    words: str

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """The numbers as flat rows: a list of dictionaries of strings, numbers, booleans and None."""

    def facts(self) -> dict[str, str]:
        """What else a reader must know: laws, assumptions, settings. A name and a sentence each."""
        return {}

    def figures(self) -> list[str]:
        """Drawings as SVG markup that is already escaped."""
        return []

    def __str__(self) -> str:
        lines = [visible(self.title), "", visible(self.words), ""]
        lines += _text_table([{key: show(value) for key, value in row.items()} for row in self.records()])
        facts = self.facts()
        width = max(map(len, facts), default=0)
        return "\n".join(
            [*lines, "", *(f"{name:<{width}}  {visible(words)}" for name, words in facts.items())]
        ).rstrip()

    def to_json(self) -> str:
        """The whole report as one JSON object. Numbers that are not finite are `null`."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        whole = {"report": type(self).__name__, "title": self.title, **fields, "records": self.records()}
        return json.dumps(plain(whole), allow_nan=False)

    def to_html(self) -> str:
        """The report as one `<section>` that needs nothing from outside, with everything in it escaped."""
        facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in self.facts().items())
        return (
            f'<section class="report"><h2>{escape(self.title)}</h2><p>{escape(self.words)}</p>'
            f"{_html_table(self.records(), self.title)}"
            + "".join(f'<div class="figure">{figure}</div>' for figure in self.figures())
            + (f"<dl>{facts}</dl>" if facts else "")
            + "</section>"
        )


def plain(value: Any) -> Any:
    """A value as JSON knows it: dataclasses and mappings become objects, tensors lists, infinity and NaN None.

    >>> import torch
    >>> plain({"x": torch.tensor([1.0, torch.inf]), "y": (2, None)})
    {'x': [1.0, None], 'y': [2, None]}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)


def show(value: Any) -> str:
    """A value in a table: three digits of a number, "-" for nothing.

    >>> show(0.00012345), show(12.0), show(None), show(True), show("x")
    ('0.000123', '12', '-', 'yes', 'x')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else visible(str(value))


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _text_table(rows: list[dict[str, str]]) -> list[str]:
    columns = _columns(rows)
    cells = [columns, *([row.get(c, "-") for c in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells]


def _html_table(rows: list[dict[str, Any]], caption: str) -> str:
    columns = _columns(rows)
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = "".join("<tr>" + "".join(map(_cell, range(len(columns)), map(row.get, columns))) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(place: int, value: Any) -> str:
    if place == 0:
        return f'<th scope="row">{escape(show(value))}</th>'
    kind = ' class="number"' if isinstance(value, int | float) else ""
    return f"<td{kind}>{escape(show(value))}</td>"

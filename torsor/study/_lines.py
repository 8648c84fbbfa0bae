"""Where a key stands in a TOML file; `tomllib` does not say."""

import re

_KEY = r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'"""
_DOTTED = rf"(?:{_KEY})(?:\s*\.\s*(?:{_KEY}))*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=(.*)")
_QUOTES = ('"""', "'''")


def key_lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line, counted from one, of every table and every key at the start of a line.

    >>> key_lines('title = "x"\\n[data]\\nfile = "a.npz"\\n')[("data", "file")]
    3
    """
    lines: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    inside = ""  # the quotes of the multi-line string that the line is in
    for number, line in enumerate(text.splitlines(), start=1):
        if inside:
            if line.count(inside) % 2:
                inside = ""
            continue
        if header := _HEADER.fullmatch(line):
            table = _split(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            path = (*table, *_split(assignment[1]))
            lines.setdefault(path, number)
            inside = next((quotes for quotes in _QUOTES if assignment[2].count(quotes) % 2), "")
    return lines


def line_of(path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> int:
    """The line of a path, or of the nearest table around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _split(dotted: str) -> tuple[str | int, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, dotted))

"""The page of a study: one HTML file that needs no network."""

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as escaped

from torsor.study._exhibits import Column, Figure, Table
from torsor.study._numbers import is_interval, show
from torsor.study._protocol import Record, Study, names

_ASSETS = files("torsor.study") / "assets"


def write_page(study: Study, scale: str, records: Sequence[Record], path: Path, *, command: str = "") -> Path:
    """Write the page of a study from its records; whole or not at all."""
    figures = study.figures(records, scale)
    page = _environment().from_string((_ASSETS / "page.html").read_text("utf-8"))
    html = page.render(
        study=study,
        scale=scale,
        answer=study.answer(records, scale),
        tables=study.tables(records, scale),
        figures=figures,
        claims=study.claims(records, scale),
        unfinished=[record for record in records if record.status != "done"],
        trials=_trial_table(records),
        runs=_runs(records),
        seeds=sorted({record.trial.seed for record in records}),
        command=command,
        css=Markup((_ASSETS / "page.css").read_text("utf-8")),
        js=Markup((_ASSETS / "page.js").read_text("utf-8")),
        plotly=Markup(_plotly_js()),
        data=Markup(_script_json([_drawn(figure) for figure in figures])),
    )
    part = path.with_suffix(f".part{os.getpid()}")
    part.write_text(html, "utf-8")
    part.replace(path)
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["show"] = show
    environment.filters["breakable"] = lambda text: escaped(text).replace("_", Markup("_<wbr>"))
    environment.filters["is_number"] = lambda value: isinstance(value, int | float | None)
    environment.filters["is_interval"] = is_interval
    return environment


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("</script", r"<\/script")


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element in which it stands."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _drawn(figure: Figure) -> dict[str, Any]:
    return {"traces": _shown([*figure.traces]), "layout": _shown(dict(figure.layout))}


def _shown(value: Any) -> Any:
    """The same tree with markup escaped, because plotly reads a little HTML in every string."""
    if isinstance(value, Markup):
        return str(value)
    if isinstance(value, str):
        return escape(value, quote=False)
    if isinstance(value, Mapping):
        return {str(key): _shown(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(entry) for entry in value]
    return value


def _trial_table(records: Sequence[Record]) -> Table:
    numbers = dict.fromkeys(
        key
        for record in records
        for key, value in record.metrics.items()
        if isinstance(value, int | float | str) and key != "trace"
    )
    rows = [
        {
            **{key: record.metrics.get(key) for key in numbers},
            "trial": record.trial.name,
            "seed": str(record.trial.seed),
            "status": record.status + (f": {record.reason}" if record.reason else ""),
            "run_seconds": record.seconds,
            "key": record.trial.key,
        }
        for record in records
    ]
    columns = [
        Column("trial", "trial"),
        Column("seed", "seed"),
        Column("status", "status"),
        Column("run_seconds", "time", "s"),
        *(Column(key, key.replace("_", " "), digits=4) for key in numbers),
        Column("key", "key"),
    ]
    return Table("Every trial", tuple(columns), tuple(rows))


def _runs(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The versions and commits that the trials ran with: one entry if all agree."""

    def origin(record: Record) -> tuple[str, str]:
        return record.commit, json.dumps(dict(record.versions), sort_keys=True)

    ran = sorted((record for record in records if record.versions), key=origin)
    found = []
    for (commit, versions), group in groupby(ran, origin):
        members = list(group)
        found.append(
            {
                "commit": commit or "not a checkout",
                "versions": json.loads(versions),
                "trials": len(members),
                "rows": names(members),
                "first": min(record.started for record in members),
                "last": max(record.ended or record.started for record in members),
            }
        )
    return found

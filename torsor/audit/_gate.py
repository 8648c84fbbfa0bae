"""A report as a gate: does it pass, and the same for continuous integration, for a page and for a README."""

import re
from html import escape
from typing import Any
from xml.etree import ElementTree

from torsor.audit._equivariance_report import EquivarianceReport
from torsor.audit._report import Report, show
from torsor.audit._structures import StructuresReport

_COLOURS = {"exact": "#2e7d32", "approximate": "#9a6700", "broken": "#b3261e"}
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;font-size:.9rem}th,td{padding:.25rem .7rem;text-align:left;border-bottom:1px solid "
    "#8885}.number{text-align:right;font-variant-numeric:tabular-nums}.scroll{overflow-x:auto}dt{font-weight:600}"
)


def passes(report: EquivarianceReport | StructuresReport, max_error: float | None = None) -> bool:
    """Whether the symmetry holds: to rounding or resampling, or with mean errors of at most `max_error`.

    It must hold for every output under every kind of element: a mean over all elements cannot hide a broken part.

    >>> import torch
    >>> from torsor import SO, Symmetry, Vector, audit
    >>> x = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
    >>> report = audit.equivariance(lambda x: x.abs(), Symmetry(SO(3), Vector(), Vector()), x)
    >>> audit.passes(report), audit.passes(report, max_error=0.9)
    (False, True)
    """
    rows = report.records()
    return all(_row_passes(row, max_error) for row in rows) and (report.verdict == "exact" or max_error is not None)


def _row_passes(row: dict[str, Any], max_error: float | None) -> bool:
    return row["verdict"] == "exact" or (max_error is not None and row["error"] <= max_error)


def junit_xml(*reports: Report, name: str = "torsor audit", max_error: float | None = None) -> str:
    """Reports as JUnit XML: one test case for each kind of element and output, and one for the verdict.

    Arguments:
        reports: audits of equivariance and of structures; reports without verdicts by kind of element are left out.
        name: the name of the suite, such as that of the model.
        max_error: the mean error that is allowed; by default only rounding or resampling is.
    """
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name=_plain(name), errors="0", skipped="0")
    rows = [(report, row) for report in reports for row in report.records() if {"elements", "verdict"} <= row.keys()]
    failures = 0
    for report, row in rows:
        words = f"{row['elements']}: {row['output']}"
        case = ElementTree.SubElement(suite, "testcase", classname=_plain(name), name=_plain(words))
        if not _row_passes(row, max_error):
            failures += 1
            allowed = f"floor {show(row['floor'])}" if max_error is None else f"allowed {show(max_error)}"
            message = f"{row['verdict']}: mean relative error {show(row['error'])}, {allowed}"
            ElementTree.SubElement(case, "failure", message=_plain(message)).text = _plain(report.words)
    judged = [report for report in reports if isinstance(report, EquivarianceReport | StructuresReport)]
    for report in judged:  # red exactly where `passes` says no, worst cases included
        case = ElementTree.SubElement(
            suite, "testcase", classname=_plain(name), name=_plain(f"verdict: {report.title}")
        )
        if not passes(report, max_error):
            failures += 1
            ElementTree.SubElement(case, "failure", message=report.verdict).text = _plain(report.words)
    suite.set("tests", str(len(rows) + len(judged)))
    suite.set("failures", str(failures))
    return ElementTree.tostring(suites, encoding="unicode")


def badge_svg(report: EquivarianceReport) -> str:
    """A badge of 20 pixels height that shows the group and the verdict."""
    left, right = report.group, f"{report.verdict} {show(report.error)}"
    a, b = (round(6.6 * len(text)) + 14 for text in (left, right))
    label = escape(_NO_XML.sub("?", f"{left}: {right}"))
    texts = "".join(
        f'<text x="{x:g}" y="14" textLength="{width - 14}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(_NO_XML.sub('?', text))}</text>"
        for text, x, width in ((left, a / 2, a), (right, a + b / 2, b))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b}" height="20" role="img" aria-label="{label}">'
        f'<title>{label}</title><rect width="{a}" height="20" fill="#444"/><rect x="{a}" width="{b}" height="20" '
        f'fill="{_COLOURS[report.verdict]}"/><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" '
        f'font-size="11" text-anchor="middle">{texts}</g></svg>\n'
    )


def html_page(title: str, *reports: Report, notes: tuple[str, ...] = ()) -> str:
    """One page that needs nothing from outside, with each report in it and everything escaped.

    Arguments:
        title: such as the name of the model.
        reports: what to show, one below the other.
        notes: paragraphs at the end.
    """
    end = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>"
        f"{''.join(report.to_html() for report in reports)}{end}</html>\n"
    )


def _plain(text: str) -> str:
    """Text without the characters that XML cannot hold; the writer escapes the others."""
    return _NO_XML.sub("?", text)

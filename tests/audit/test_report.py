"""What a report says, to people and to machines."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
import torch

from tests.audit.cases import CLOUD, PERMUTATIONS, SCENE, SPACE, repel
from torsor import Symmetry, audit
from torsor.actions import Scalar, Vector
from torsor.audit._chart import line_chart
from torsor.groups import SO

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def hostile() -> audit.EquivarianceReport:
    symmetry = Symmetry(SO(3), Vector(), {HOSTILE: Scalar(), "b": Scalar()})
    return audit.equivariance(lambda x: {HOSTILE: x[..., 0], "b": x.norm(dim=-1)}, symmetry, CLOUD(torch.float64))


def refuse(token: str):
    raise AssertionError(f"{token} is no JSON")


def test_records_are_flat_rows_for_each_kind_of_element_and_output():
    rows = audit.equivariance(repel, SPACE * PERMUTATIONS, SCENE(torch.float64), worst=False).records()
    assert [row["elements"] for row in rows][:2] == ["all", "E(3)"]
    assert all(isinstance(v, str | float) for row in rows for v in row.values())
    assert set(rows[0]) == {"elements", "output", "error", "low", "high", "largest", "floor", "verdict"}


def test_json_is_valid_whole_and_holds_the_worst_element(hostile: audit.EquivarianceReport):
    found = json.loads(hostile.to_json(), parse_constant=refuse)
    assert found["report"] == "EquivarianceReport"
    assert found["verdict"] == hostile.verdict == "broken"
    assert torch.tensor(found["worst"]["element"]).shape == (3, 3)
    assert found["records"] == hostile.records()
    assert found["certificate"]["violation_bound"] == hostile.certificate.violation_bound
    assert found["curve"]["errors"] == list(hostile.curve.errors)


def test_numbers_that_are_not_finite_become_null():
    @dataclass(frozen=True)
    class Tiny(audit.Report):
        value: float
        title = "t"
        words = "w"

        def records(self):
            return [{"value": self.value, "missing": None}]

    report = Tiny(float("nan"))
    assert json.loads(report.to_json(), parse_constant=refuse)["value"] is None
    assert json.loads(report.to_json(), parse_constant=refuse)["records"] == [{"value": None, "missing": None}]
    assert "nan" not in str(report)
    assert "nan" not in report.to_html()


class Balanced(HTMLParser):
    """Notes tags, and that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_section_with_everything_escaped_and_nothing_from_outside(hostile: audit.EquivarianceReport):
    page = hostile.to_html()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert page.startswith("<section")
    assert page.endswith("</section>")
    assert "script" not in parser.seen
    assert {"table", "svg", "dl"} <= parser.seen
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=|url\(|https?:", page)


def test_text_says_the_verdict_the_law_the_bound_and_the_worst_case(hostile: audit.EquivarianceReport):
    text = str(hostile)
    for words in ("broken", "Haar measure of SO(3)", "With 95% confidence", "Assumed", "rotation by", "No jump"):
        assert words in text


def test_a_chart_survives_zeros_and_a_single_point():
    for y in ([0.0], [0.0, 0.0], [1e-3, 0.0]):
        drawing = line_chart([1.0, 2.0][: len(y)], y, y, y, x_label="<x>", y_label="y")
        assert "nan" not in drawing
        assert "&lt;x&gt;" in drawing


def test_the_same_seed_gives_the_same_report_and_another_seed_another():
    symmetry, x = Symmetry(SO(3), Vector(), Vector()), CLOUD(torch.float64)

    def report(**options) -> str:
        return audit.equivariance(torch.abs, symmetry, x, samples=2, **options).to_json()

    zero, one = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    default = report()
    assert report(generator=zero) == default
    assert report(generator=one) != default


@pytest.mark.parametrize("name", ["worst", "curve", "continuity", "float64", "parts"])
def test_what_is_switched_off_is_absent_and_the_report_still_prints(name: str):
    others = {} if name == "worst" else {"worst": False}
    off = audit.equivariance(repel, SPACE, SCENE(torch.float32), samples=1, **{name: False}, **others)
    assert not getattr(off, name)
    assert str(off)
    assert off.to_html()
    assert json.loads(off.to_json(), parse_constant=refuse)[name] in (None, [])

"""Gates: exit codes in words, JUnit, pages and badges, with hostile names in all of them."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch

from torsor import SO, E, Point, Scalar, Symmetry, Vector, audit

HOSTILE = '<script>alert("x")</script>&\x00\x1b]]>'
X = torch.randn(4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
QUICK = {"samples": 2, "worst": False, "curve": False, "continuity": False}


@pytest.fixture(scope="module")
def report():
    """One output is exact; the other, whose name is hostile, is broken by reflections."""
    symmetry = Symmetry(E(3), Point(), {"size": Scalar(), HOSTILE: Scalar()})

    def volume(x):
        y = x - x.mean(1, keepdim=True)
        return {"size": y.square().sum((1, 2)), HOSTILE: torch.linalg.det(y[:, :3])}

    return audit.equivariance(volume, symmetry, X, **QUICK)


def test_junit_has_one_case_for_each_kind_of_element_and_output(report):
    suite = ElementTree.fromstring(audit.junit_xml(report, name=HOSTILE)).find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == len(report.records()) + 1 == int(suite.get("tests")) == 9
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert [name.partition(":")[0] for name in failed] == ["all", "reflections", "verdict"]
    assert all("<script>alert" in name for name in failed[:2])  # as text, not as markup
    assert int(suite.get("failures")) == 3
    assert "broken: mean relative error" in cases[1].find("failure").get("message")


def test_a_mean_over_all_elements_hides_no_broken_part(report):
    assert report.error < 0.9  # half of the elements are reflections, whose error is 1
    assert not audit.passes(report, 0.9)
    assert audit.passes(report, 1.0)
    assert not audit.passes(report)
    failures = [
        ElementTree.fromstring(audit.junit_xml(report, max_error=allowed)).find("testsuite").get("failures")
        for allowed in (0.9, 1.0)
    ]
    assert failures == ["2", "0"]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


def test_pages_and_badges_hold_no_markup_of_strangers(report):
    page = audit.html_page(HOSTILE, report, notes=(HOSTILE,))
    assert "script" not in Tags(page).seen
    assert page.count("<h1>") == 1
    badge = audit.badge_svg(report)
    root = ElementTree.fromstring(badge)
    assert root.get("height") == "20"
    assert "E(3)" in root.get("aria-label")
    assert "broken" in root.get("aria-label")


def test_suggestions_follow_from_what_is_broken(report):
    said = audit.suggestions(report, E(3))
    assert "only reflections break it: the smaller group SE(3) may hold: audit it with --group 'SE(3)'" in said
    assert any("--averaged" in words for words in said)
    exact = audit.equivariance(
        lambda x: (x - x.mean(1, keepdim=True)).norm(dim=-1), Symmetry(E(3), Point(), Scalar()), X
    )
    assert audit.suggestions(exact, E(3)) == ()
    shifted = audit.equivariance(lambda x: x.norm(dim=-1), Symmetry(E(3), Point(), Scalar()), X, **QUICK)
    assert any("subtract the centroid" in words for words in audit.suggestions(shifted, E(3)))


def test_the_suggested_max_error_passes():
    slight = lambda x: x.norm(dim=-1) + 0.01 * x[..., 0]
    report = audit.equivariance(slight, Symmetry(SO(3), Vector(), Scalar()), X, **QUICK)
    assert report.verdict == "approximate"
    [words] = [w for w in audit.suggestions(report, SO(3)) if w.startswith("accept it")]
    assert audit.passes(report, float(words.split()[-1]))

"""The page: one file, everything escaped, drawn and readable in a browser."""

import json
import re
from dataclasses import replace

import pytest

from tests.study import browser
from tests.study.test_verdict import records as comparison_records
from tests.study.toy import Marks
from torsor.study import Claim, Column, Figure, Record, Table, Trial
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._numbers import show
from torsor.study._page import _script_json, write_page

HOSTILE = "<script>window.alerted=1</script><img src=x onerror='window.alerted=1'>&amp;"


class Shown(Comparison):
    """A comparison that is only shown."""

    name, question = "shown", "Which?"

    def plan(self, scale):
        return Plan({}, {}, [Arm("plain")])

    def dataset(self, data):
        raise NotImplementedError

    def backbone(self, backbone, dataset):
        raise NotImplementedError

    def claims(self, records, scale):
        return [
            Claim("One is less than two.", "arithmetic", 1, 1.0, "< 2", True, scale),
            Claim("Two is less than one.", "error", None, 2.0, "< 1", False, scale),
            Claim("There are larger numbers.", "hearsay", 0.25, None, "> 9", None, "paper"),
        ]


def trained(name="augmented", seeds=(0, 1)):
    rows = {"plain": (1.0, 1.0, 3.0), name: (0.5, 9.0), "a treatment with quite a long name": (0.6, 3.0)}
    found = []
    for i, record in enumerate(comparison_records(rows, seeds)):
        size = 200 if i % 2 else 500
        more = {
            "epochs": size, "train_samples": 300, "inference_ms": 1.5, "inference_batch": 100, "memory_mb": 12.25,
            "parameters": 12345, "train_seconds": 10.0, "equivariance_interval": [1e-8, 2e-7],
            "equivariance_words": "The error is rounding.", "equivariance_law": "Haar measure of O(3)",
            "equivariance_curve": [[0.1, 1.0, 2.0], [1e-8, 1e-7, 0.0]],
            "history": [{"epoch": e, "valid": 1 / e} for e in range(1, 30)],
        }  # fmt: skip
        versions = {"torsor": "0.1.0", "torch": "2"}
        times = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00", "seconds": 60.0}
        found.append(replace(record, metrics={**record.metrics, **more}, versions=versions, commit="abc", **times))
    return found


@pytest.fixture
def written(tmp_path):
    def write(records, study=None):
        return write_page(study or Shown(), "desk", records, tmp_path / "page.html", command="torsor study shown")

    return write


def text_of(page):
    """The page without plotly and without the data of its figures."""
    return re.sub(r"<script.*?</script>", "", page.read_text("utf-8"), flags=re.DOTALL)


def test_the_page_is_one_file_that_names_nothing_outside(written):
    page = text_of(written(trained()))
    assert not re.search(r"\s(src|href)\s*=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_page_says_what_it_must(written):
    page = text_of(written(trained()))
    for words in ("Recommended: <b>augmented</b>", "torsor study shown", "Seeds: 0, 1", "commit abc", "torch 2"):
        assert words in page
    assert page.count("✗ does not hold") == 1
    assert page.count("○ not tested") == 1
    for title in ("Error against computing time", "Error against epochs", "Learning curves", "against distance"):
        assert title in page


def test_the_page_is_accessible_in_its_source(written):
    page = text_of(written(trained()))
    assert '<html lang="en">' in page
    assert page.count('class="plot"') == page.count('role="img" aria-label="')
    assert all('scope="' in cell for cell in re.findall(r"<th[ >][^>]*", page))
    assert page.count("<summary>The numbers</summary>") == page.count('class="plot"')
    assert page.count("<h1") == 1


def contrast(a, b):
    def luminance(color):
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colors_have_contrast_in_light_in_dark_and_in_print(written):
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", text_of(written(trained())))
    assert len(blocks) == 3
    for block in blocks:
        colors = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
        for ink in ("ink", "soft", "accent", "good", "bad"):
            assert all(contrast(colors[ink], colors[ground]) >= 4.5 for ground in ("paper", "card", "tint")), ink
        assert contrast(colors["ink"], colors["warn"]) >= 4.5
        assert all(contrast(colors[f"c{i}"], colors["card"]) >= 3 for i in range(8))  # graphics need 3


def hostile(folder):
    """A study in which every word that comes from outside is an attack."""

    class Hostile(Shown):
        name, question = "hostile", HOSTILE

        def claims(self, records, scale):
            return [Claim(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, False, HOSTILE)]

        def tables(self, records, scale):
            return [
                *super().tables(records, scale),
                Table(HOSTILE, (Column("x", HOSTILE, HOSTILE),), ({"x": HOSTILE},)),
            ]

        def figures(self, records, scale):
            trace = {"type": "bar", "name": HOSTILE, "x": [HOSTILE], "y": [1.0], "text": [HOSTILE]}
            layout = {"xaxis": {"title": {"text": HOSTILE}}}
            return [*super().figures(records, scale), Figure(HOSTILE, HOSTILE, [trace], layout)]

    failed = Record(Trial("hostile", HOSTILE, 5), "failed", HOSTILE, {"trace": HOSTILE, HOSTILE: 1.0})
    return Hostile(), [*trained(HOSTILE), failed]


def test_nothing_that_comes_from_names_or_data_is_markup(written, tmp_path):
    study, records = hostile(tmp_path)
    page = written(records, study)
    assert page.read_text().count("<script") == 3  # plotly, the data of the figures, and the page's own
    assert "<img" not in text_of(page)
    assert "<script>window" not in page.read_text().split('id="figures">')[1].split("</script>")[0]


def test_json_in_a_script_cannot_end_it():
    text = _script_json({"a": "</script><!-- & \u2028"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}


needs_browser = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")


@needs_browser
def test_the_page_is_drawn_without_a_word_in_the_console_and_fits_a_phone(written):
    seen = browser.look(written(trained()), width=390)
    assert seen.console == []
    assert seen.width <= 390
    assert seen.overflowing == []
    assert seen.plots == seen.filled == 5


@needs_browser
def test_an_attack_is_text_in_the_browser_too(written, tmp_path):
    study, records = hostile(tmp_path)
    seen = browser.look(written(records, study), width=390)
    assert seen.alerts == 0
    assert seen.console == []
    assert "<script>window.alerted=1</script>" in seen.text
    assert seen.labels.count(HOSTILE) >= 2, "the axis and its title show the words as they are"
    assert seen.width <= 390
    assert seen.plots == seen.filled


@needs_browser
def test_a_page_without_figures_and_without_results_is_a_page(written, tmp_path):
    waiting = [Record(trial, "waiting") for trial in Marks(tmp_path / "log").trials("smoke")]
    seen = browser.look(written(waiting), width=390)
    assert (seen.console, seen.plots) == ([], 0)
    assert "What did not run" in seen.text


def test_numbers_are_written_for_people():
    assert [show(x) for x in (0.0, 5, 12345, 0.5, 99.96, 123456.0, 1e7, -2.5e-9)] == [
        "0", "5", "12,345", "0.5", "100", "123,456", "1×10⁷", "-2.5×10⁻⁹",
    ]  # fmt: skip

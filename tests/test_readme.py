"""Every piece of Python in the README and in the manual runs, page by page, in the order in which it is read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str | None, int, str]]:
    """Language, title, first line and code of every block of a page."""
    text = page.read_text()
    return [(m["language"], m["title"], text[: m.start()].count("\n") + 2, m["code"]) for m in BLOCK.finditer(text)]


def run(page: Path) -> dict:
    """Write the titled blocks of a page to the files that they name and run the others; the names that they defined."""
    names: dict = {"__name__": "__manual__"}
    for language, title, line, code in blocks(page):
        if title:
            Path(title).write_text(code)
        elif language == "python":
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    run(page)


def test_the_readme_shows_the_two_commands_and_the_five_verbs():
    text = (ROOT / "README.md").read_text()
    shown = " ".join(
        code for language, _, _, code in blocks(ROOT / "README.md") if language in ("sh", "bash", "python")
    )
    assert "make study" in shown
    assert "make test" in shown
    for verb in ("find", "build", "learn", "audit", "study"):
        assert f"**{verb}**" in text


def test_links_inside_the_repository_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

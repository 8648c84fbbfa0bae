"""Every piece of Python in the README and in the manual runs, page by page, in the order in which it is read."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str | None, int, str]]:
    """Language, title, first line and code of every block of a page."""
    text = page.read_text()
    return [(m["language"], m["title"], text[: m.start()].count("\n") + 2, m["code"]) for m in BLOCK.finditer(text)]


def run(page: Path, only: tuple[str, ...] = ("",)) -> dict:
    """Write the titled blocks of a page to the files that they name and run the others; the names that they defined.

    `only` chooses the blocks whose title or code has one of these words.
    """
    names: dict = {"__name__": "__manual__"}
    for language, title, line, code in blocks(page):
        if not any(word in (title or code) for word in only):
            continue
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


def test_the_study_file_of_the_readme_works_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "README.md", only=("np.savez", "my_model.py", "scenes.toml"))
    [command] = [code.strip() for _, _, _, code in blocks(ROOT / "README.md") if code.startswith("torsor study scenes")]
    program = [sys.executable, "-m", "torsor.cli", *shlex.split(command)[1:], "--scale", "smoke", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["page"]).resolve() == (tmp_path / "results" / "scenes" / "scenes-smoke.html").resolve()
    assert "Where are four bodies a moment later?" in Path(answer["page"]).read_text()
    error = {trial["name"]: trial["metrics"]["equivariance_error"] for trial in answer["trials"]}
    assert list(error) == ["plain", "augmented", "stochastic_frames", "frame_averaged"]
    assert error["frame_averaged"] < 1e-5 < 1e-2 < error["plain"]


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


def test_the_papers_page_says_what_torsor_papers_says():
    from torsor.study import papers

    text = (ROOT / "docs" / "papers.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in re.findall(r"^\| \d+ .*$", text, re.M)]
    assert len(rows) == 15
    for paper, (number, title, module, studies, state, works) in zip(papers(), rows, strict=True):
        assert (int(number), module.strip("`"), state, works.rstrip(" |")) == (
            paper.paper,
            paper.module,
            paper.state,
            paper.works,
        )
        assert paper.title in title
        assert f"https://arxiv.org/abs/{paper.arxiv}" in title
        assert re.findall(r"`([^`]+)`", studies) == paper.studies


def test_the_study_page_lists_the_treatments_that_there_are():
    from torsor.study import known_treatments

    text = (ROOT / "docs" / "study.md").read_text()
    listed = re.findall(r"^\| `([a-z_]+)` \|", text, re.M)
    assert set(listed) == {name for name, found in known_treatments().items() if found.build.__module__[:6] == "torsor"}

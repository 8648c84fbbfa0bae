"""The gallery of audits: what its page shows is what its script runs, and two of its models are audited in earnest."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "gallery"


@pytest.fixture
def script(monkeypatch):
    """The script of the gallery, with the modules beside it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("gallery", "inputs", "figures")
    import gallery

    yield gallery
    for name in names:
        sys.modules.pop(name, None)


def test_the_page_shows_the_commands_of_the_script(script):
    page = script.PAGE.read_text()
    shown = re.search(r"<!-- commands -->\s+```sh\n(.*?)\n```", page, re.S)[1].splitlines()
    assert shown
    assert set(shown) <= {entry.shown for entry in script.AUDITS}
    for name in ("potentials", "structures", "audits", *script.CHANGES):
        assert re.search(rf"<!-- {name} -->\n\n\|.*?<!-- end -->", page, re.S), name


def test_a_page_is_made_from_results(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "PAGE", tmp_path / "gallery.md")
    monkeypatch.setattr(script, "ASSETS", tmp_path / "assets")
    script.PAGE.write_text("before <!-- speaker -->\n\nold\n\n<!-- end --> after")
    row = {"change": "louder", "error": 0.123, "low": 0.1, "high": 0.2, "floor": 1e-6, "verdict": "broken", "inputs": 8}
    (tmp_path / "changes-speaker.json").write_text(json.dumps([row]))
    script.write_page(tmp_path)
    text = script.PAGE.read_text()
    assert "| louder | broken | 0.12 (0.1 to 0.2) | 1e-06 |" in text
    assert "old" not in text
    assert text.startswith("before ")
    assert text.endswith(" after")


def audited(script, folder: Path, entry_name: str) -> dict:
    """The report of one command of the gallery, run in a process of its own, on fewer inputs."""
    [entry] = [e for e in script.AUDITS if e.name == entry_name]
    if find_spec(entry.package) is None:
        pytest.skip(f"needs the package {entry.package}")
    script.inputs.write(folder)
    words = [script._onnx() if word == "ONNX" else word for word in entry.words]
    words[words.index("--samples") + 1] = "2"  # one of each photograph
    search = os.pathsep.join([str(FOLDER), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "torsor.cli", "audit", *words, "--json", "report.json"],
        cwd=folder, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return json.loads((folder / "report.json").read_text())


@pytest.mark.slow
def test_chgnet_keeps_the_symmetries_of_space_and_of_crystals_to_rounding(script, tmp_path):
    pytest.importorskip("ase", reason="needs the extra torsor[molecules]")
    report = audited(script, tmp_path, "chgnet-crystals")
    assert (report["verdict"], report["holds"]) == ("exact", True)
    assert {"supercells", "other cells", "permutations"} <= {row["elements"] for row in report["others"][0]["records"]}


@pytest.mark.slow
def test_an_onnx_classifier_of_photographs_knows_up_from_down(script, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra torsor[onnx]")
    report = audited(script, tmp_path, "onnx-mirror")
    assert (report["group"], report["holds"]) == ("Dihedral(1)", False)
    assert report["error"] > 1e-4

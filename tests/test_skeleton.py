"""Facts of the package: what an import costs, what the root exports, one version and one set of requirements."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import torsor

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def names_of(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in requirements} - {"torsor"}


def test_importing_the_language_imports_nothing_heavy():
    heavy = "sympy e3nn plotly ray sklearn pydantic lightning_fabric typer jinja2 scipy.stats pandas".split()
    # torch brings some of them in itself: what counts is what torsor adds
    code = (
        "import sys, torch; before = set(sys.modules); import torsor; from torsor import E, Point, Symmetry; "
        f"print([m for m in {heavy} if m in set(sys.modules) - before])"
    )
    assert run(code) == "[]"


def test_importing_the_root_alone_imports_not_even_torch():
    assert (
        run("import sys, torsor; print([m for m in ('torch', 'numpy', 'torsor.groups') if m in sys.modules])") == "[]"
    )


def test_everything_the_root_exports_is_there():
    for name in torsor.__all__:
        assert getattr(torsor, name) is not None
    assert set(torsor.__all__) < set(dir(torsor))


def test_type_checkers_see_exactly_what_the_root_exports():
    tree = ast.parse((ROOT / "torsor" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = [alias.name for node in block.body for alias in node.names]
    assert sorted(seen) == sorted(torsor.__all__)


def test_unknown_name_of_the_root_is_an_attribute_error():
    with pytest.raises(AttributeError, match="torsor.*no_such_name"):
        torsor.no_such_name
    assert not hasattr(torsor, "no_such_name")


def test_one_version_everywhere():
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "torsor/__init__.py"
    assert f"\nversion: {torsor.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_direct_dependency_is_pinned_and_no_pin_is_local():
    extras = PROJECT["project"]["optional-dependencies"]
    direct = names_of(PROJECT["project"]["dependencies"]) | names_of(extras["dev"]) | names_of(extras["docs"])
    assert direct <= set(PINS)
    assert not [pin for pin in PINS.values() if "+" in pin]
    assert PINS["torch"] == "2.13.0"


def test_the_build_backend_is_the_pinned_one():
    assert PROJECT["build-system"]["requires"] == [f"hatchling=={PINS['hatchling']}"]


def test_warnings_are_errors():
    assert PROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"


def test_no_file_is_longer_than_five_hundred_lines():
    files = [path for folder in ("torsor", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in files if len(path.read_text().splitlines()) > 500] == []


def test_no_room_is_a_dumping_ground():
    forbidden = {"utils", "misc", "helpers", "common"}
    assert [path for path in (ROOT / "torsor").rglob("*.py") if path.stem.strip("_") in forbidden] == []

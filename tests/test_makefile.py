"""The set-up that a newcomer meets first: what it refuses, when it builds again, what it hands to pip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# A Python that answers the checks, makes a hollow environment and notes what pip was asked; PIP_FAILS interrupts it.
STUB = f"""#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> calls ;;
  "-m pip") shift 2; echo "pip $* ($PIP_CONSTRAINT $PIP_BUILD_CONSTRAINT)" >> calls; [ -z "$PIP_FAILS" ] || exit 1 ;;
  "-c "*) exec {sys.executable} -c "import sys; $PRELUDE; exec(sys.argv[1])" "$2" ;;
  *) echo "$*" >> calls ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1e9, 1e9))
    stub = tmp_path / "python-stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return tmp_path


def make(checkout: Path, *goals: str, **environment: str) -> subprocess.CompletedProcess:
    """Run make in the checkout; `calls` of the result lists what Python was asked to do."""
    (checkout / "calls").write_text("")
    ours = ("MAKE", "MFLAGS", "PIP_", "PYTHON", "PYTEST_ARGS", "STUDY", "SCALE")  # of the make that runs the suite
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    command = ["make", "PYTHON=./python-stub", *goals]
    done = subprocess.run(
        command, cwd=checkout, env={"PRELUDE": "pass", **kept, **environment}, capture_output=True, text=True
    )
    done.calls = (checkout / "calls").read_text().splitlines()
    return done


def test_old_python_is_refused_in_one_line(checkout):
    import_of_the_past = "sys.version_info = (3, 10, 2); import platform; platform.python_version = lambda: '3.10.2'"
    done = make(checkout, "setup", PRELUDE=import_of_the_past)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer, and ./python-stub is 3.10.2" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_missing_python_is_refused_in_one_line(checkout):
    done = make(checkout, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "there is no no-such-python" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_missing_venv_module_is_refused_in_one_line(checkout):
    done = make(checkout, "setup", PRELUDE="sys.modules['ensurepip'] = None")
    assert done.returncode != 0
    assert "python3-venv" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_set_up_happens_once(checkout):
    first = make(checkout, "setup")
    assert first.returncode == 0, first.stderr
    assert [c.split()[0] for c in first.calls] == ["venv", "pip"]
    assert make(checkout, "setup").calls == []


def test_pip_obeys_the_constraints_and_gets_the_arguments(checkout):
    [_, call] = make(checkout, "setup", "PIP_ARGS=--index-url x").calls
    assert call.startswith("pip install")
    assert "--index-url x" in call
    assert call.endswith("(constraints.txt constraints.txt)")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_again(checkout, name):
    make(checkout, "test")
    os.utime(checkout / name)
    calls = make(checkout, "test").calls
    assert [c.split()[0] for c in calls] == ["pip", "pip", "-m"]
    assert make(checkout, "test").calls == calls[2:]


@pytest.mark.parametrize("goal", ["setup", "test"])
def test_interrupted_set_up_starts_again_from_nothing(checkout, goal):
    if goal == "test":
        make(checkout, "setup")
    assert make(checkout, goal, PIP_FAILS="1").returncode != 0
    (checkout / ".venv" / "half-installed").touch()
    done = make(checkout, "setup")
    assert done.returncode == 0
    assert [c.split()[0] for c in done.calls] == ["venv", "pip"]
    assert not (checkout / ".venv" / "half-installed").exists()


def test_the_manual_and_the_tests_share_the_environment(checkout):
    make(checkout, "test")
    make(checkout, "docs")
    assert [c.split()[0] for c in make(checkout, "test").calls] == ["-m"]


def test_the_two_commands_run_the_study_and_the_tests(checkout):
    assert make(checkout, "study").calls[-1] == "-m torsor.cli study nbody --scale desk"
    assert make(checkout, "test").calls[-1] == "-m pytest -n logical --maxprocesses 8 --dist loadfile -m not slow"

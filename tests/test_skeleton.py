"""The package's facts: what an import costs, what the root exports, one version everywhere."""

import subprocess
import sys

import pytest

import torsor


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("heavy", ["sympy", "e3nn", "plotly", "ray", "sklearn", "pydantic", "lightning_fabric"])
def test_importing_torsor_does_not_import(heavy):
    assert run(f"import sys, torsor; print({heavy!r} in sys.modules)") == "False"


def test_unknown_name_of_the_root_is_an_attribute_error():
    with pytest.raises(AttributeError, match="torsor.*no_such_name"):
        torsor.no_such_name
    assert not hasattr(torsor, "no_such_name")

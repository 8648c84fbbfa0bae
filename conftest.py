"""What every test and every example in a docstring shares: shape checks, seeds, one thread.

The fixture `plain` switches the shape checks off for one test: a wrong shape then meets torsor's own `ValueError`, and
`torch.compile(fullgraph=True)` sees the plain functions.
"""

import importlib.util
import random
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests import shape_checks

shape_checks.install("torsor")

import numpy as np
import torch

# the one module that cannot be imported without what is no dependency
collect_ignore = [] if importlib.util.find_spec("triton") else ["torsor/build/so3/_triton.py"]


def pytest_collection_modifyitems(items):
    """Tests marked `compiler` run where C++ can be compiled for Python; elsewhere they are skipped, with the reason."""
    missing = None
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        missing = "there is no C++ compiler (Debian: apt install g++)"
    elif not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        missing = "there are no Python headers (Debian: apt install python3-dev)"
    for item in items:
        if missing and item.get_closest_marker("compiler"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(autouse=True)
def reproducible():
    """Every test starts from the same seeds, on one thread, and leaves torch's default dtype as it found it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test may use the global state)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture
def plain():
    """No shape checks in this test, and nothing compiled before or after it is shared with it."""
    torch.compiler.reset()
    with shape_checks.switched_off():
        yield
    torch.compiler.reset()


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator on the CPU."""
    return torch.Generator().manual_seed(0)

"""Shapes are checked in the tests: every function of torsor is wrapped by jaxtyping and beartype before it is imported.

The fixture `plain` switches those checks off for one test: a wrong shape then meets torsor's own `ValueError`, and
`torch.compile(fullgraph=True)` sees the plain functions.
"""

import random
import sys

import jaxtyping
import pytest

if any(name == "torsor" or name.startswith("torsor.") for name in sys.modules):
    raise RuntimeError("torsor was imported before its shape checks were installed; import it in the tests only")
jaxtyping.install_import_hook("torsor", "beartype.beartype")

import numpy as np
import torch


@pytest.fixture(autouse=True)
def reproducible():
    """Every test starts from the same seeds and leaves torch's default dtype and threads as it found them."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test may use the global state)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture
def plain():
    """No shape checks of the import hook in this test."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator on the CPU."""
    return torch.Generator().manual_seed(0)

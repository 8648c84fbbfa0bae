"""The shape checks of the test suite themselves: they are on, they see everything annotated, `plain` removes them."""

import importlib
import pickle
import sys

import jaxtyping
import pytest
import torch

from tests import shape_checks

SOURCE = """
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import torch
from jaxtyping import Float
from torch import Tensor


def square(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    return x @ x


def wrong(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    return x @ x


@contextmanager
def context() -> Iterator[int]:
    yield 1


@dataclass(frozen=True)
class Scaled:
    by: Float[Tensor, ""]

    def __call__(self, x: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        return self.by * square(x)

    @staticmethod
    def still(x: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        return x

    @classmethod
    def of(cls, x: Float[Tensor, ""]) -> "Scaled":
        return cls(x)

    @property
    def vector(self) -> Float[Tensor, "n"]:
        return self.by

    class Inner:
        def __call__(self, x: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
            return x


class Net(torch.nn.Module):
    def forward(self, x: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        return Scaled(x.new_tensor(2.0))(x)
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    (folder / "sample_of_shapes.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    finders = list(sys.meta_path)
    shape_checks.install("sample_of_shapes")
    yield importlib.import_module("sample_of_shapes")
    sys.meta_path[:] = finders
    sys.path.remove(str(folder))
    del sys.modules["sample_of_shapes"]


WIDE = torch.ones(2, 3)
SQUARE = torch.ones(2, 2)
REFUSED = {
    "function": lambda s: s.square(WIDE),
    "return value": lambda s: s.wrong(SQUARE),
    "method": lambda s: s.Scaled(torch.tensor(1.0))(WIDE),
    "field of a dataclass": lambda s: s.Scaled(SQUARE),
    "static method": lambda s: s.Scaled.still(WIDE),
    "class method": lambda s: s.Scaled.of(SQUARE),
    "property": lambda s: s.Scaled(torch.tensor(1.0)).vector,
    "inner class": lambda s: s.Scaled.Inner()(WIDE),
    "module": lambda s: s.Net()(WIDE),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_shape_is_refused_in_every(what, sample):
    with pytest.raises(jaxtyping.TypeCheckError):
        REFUSED[what](sample)


@pytest.mark.parametrize("what", ["return value", "field of a dataclass", "static method", "property", "inner class"])
def test_plain_lets_pass_the(what, sample, plain):
    REFUSED[what](sample)


def test_plain_shows_the_error_of_the_code_itself(sample, plain):
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sample.square(WIDE)


def test_plain_functions_compile_as_one_graph(sample, plain):
    net = sample.Net()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(SQUARE), net(SQUARE))


def test_checked_functions_compute_the_same(sample):
    torch.testing.assert_close(sample.Net()(SQUARE), 2 * SQUARE @ SQUARE)
    assert pickle.loads(pickle.dumps(sample.Scaled(torch.tensor(3.0)))).by == 3.0


def test_what_a_decorator_returns_is_left_alone(sample):
    with sample.context() as value:
        assert value == 1


def test_installing_after_the_import_is_refused(sample):
    with pytest.raises(RuntimeError, match="before its shape checks"):
        shape_checks.install("sample_of_shapes")


def test_torsor_itself_is_checked():
    finder = next(f for f in sys.meta_path if isinstance(f, shape_checks._Finder) and f.package == "torsor")
    assert isinstance(finder.find_spec("torsor").loader, shape_checks._CheckingLoader)

"""The kernels: made on first use, kept, and never in the way where they cannot be made; compiled graphs."""

import subprocess
import sys
import warnings

import pytest
import torch

from torsor.build.so3 import SparseTensorProduct, _compiler, gaunt_product


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No kernel loaded, and an empty cache folder."""
    monkeypatch.setattr(_compiler, "_libraries", {})
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path))
    return tmp_path


def product():
    x, y = torch.ones(2, 1, 4), torch.ones(2, 1, 4)
    return gaunt_product(x, y, 1, backend="compiled"), gaunt_product(x, y, 1, backend="dense")


def test_a_switch_turns_the_kernels_off(fresh, monkeypatch):
    monkeypatch.setenv("TORSOR_COMPILE", "0")
    assert _compiler.library(torch.float32) is None
    assert not list(fresh.iterdir())
    assert torch.allclose(*product())


def test_without_a_compiler_plain_torch_gives_the_numbers(fresh, monkeypatch):
    monkeypatch.setattr(_compiler, "compiler", lambda: None)
    assert torch.allclose(*product())


def test_a_compiler_that_fails_is_reported_once(fresh, monkeypatch):
    monkeypatch.setattr(_compiler, "compiler", lambda: "false")
    with pytest.warns(UserWarning, match="could not be compiled, plain PyTorch is used"):
        found, expected = product()
    assert torch.allclose(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(*product())
    assert not list((fresh / "kernels").glob("*.so"))


def test_a_library_that_was_damaged_is_made_again(fresh, monkeypatch):
    made = []
    monkeypatch.setattr(_compiler, "compiler", lambda: "c++")
    monkeypatch.setattr(_compiler, "_fingerprint", lambda found: "damaged")
    monkeypatch.setattr(_compiler, "_compile", lambda found, real, path: made.append(path) or path.write_bytes(b""))
    path = fresh / "kernels" / "so3-float-damaged.so"
    path.parent.mkdir()
    path.write_bytes(b"no library")
    with pytest.warns(UserWarning, match="plain PyTorch is used"):  # what this compiler makes is no library either
        assert _compiler.library(torch.float32) is None
    assert made == [path]


def test_other_dtypes_have_no_kernel():
    x = torch.ones(2, 1, 4, dtype=torch.bfloat16)
    assert _compiler.library(torch.bfloat16) is None
    assert gaunt_product(x, x, 1).dtype == torch.bfloat16


@pytest.mark.slow
@pytest.mark.compiler
def test_processes_that_start_together_share_one_build(fresh):
    code = "from torsor.build.so3 import _compiler; import torch; assert _compiler.library(torch.float32)"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    try:
        assert [process.wait(timeout=1800) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert len(list((fresh / "kernels").glob("*.so"))) == 1


@pytest.mark.slow
def test_importing_compiles_nothing(fresh):
    subprocess.run([sys.executable, "-c", "import torsor.build.so3"], check=True)
    assert not list(fresh.iterdir())


def energy(positions, product, weight):
    """A sum over pairs of atoms of a product of their directions."""
    first, second = positions[1:] - positions[:-1], positions[:-1]
    return product(first, second, weight).square().sum()


@pytest.mark.slow
def test_forces_inside_a_compiled_function_can_be_trained(plain):
    product = SparseTensorProduct("1x1o", "1x1o", "1x0e+1x2e", [(0, 0, k, "uuu", True) for k in (0, 1)]).double()
    product.weight = None
    positions = torch.randn(5, 3, dtype=torch.float64)
    weight = torch.randn(2, dtype=torch.float64, requires_grad=True)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss(positions, weight):
        forces = torch.func.grad(energy)(positions, product, weight)
        return forces.square().sum()

    free = positions.clone().requires_grad_()
    [forces] = torch.autograd.grad(energy(free, product, weight), free, create_graph=True)
    [expected] = torch.autograd.grad(forces.square().sum(), weight)
    [found] = torch.autograd.grad(loss(positions, weight), weight)
    assert torch.allclose(found, expected, atol=1e-10)

"""Which kernels there are: C++ on a CPU, compiled on first use and kept in the user's cache folder; Triton on CUDA."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
from filelock import FileLock
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from torsor.data._cache import cache_folder

SOURCE = Path(__file__).with_name("_kernels.cpp")
REALS = {torch.float32: "float", torch.float64: "double"}
# OpenMP and -march=native are left out where a compiler does not know them.
FLAGS = [
    ["-O3", "-march=native", "-fopenmp"],
    ["-O3", "-march=native"],
    ["-O3"],
]

_libraries: dict[torch.dtype, ctypes.CDLL | None] = {}


def has_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there are kernels for this device and this dtype: those of `library`, or Triton's where it works."""
    if device.type == "cpu":
        return library(dtype) is not None
    if device.type != "cuda" or dtype not in REALS or os.environ.get("TORSOR_COMPILE") == "0":
        return False
    return _triton_works(device, dtype)


@functools.cache
def _triton_works(device: torch.device, dtype: torch.dtype) -> bool:
    if find_spec("triton") is None:
        return False
    try:
        from torsor.build.so3 import _triton

        with torch.inference_mode(False), torch.no_grad(), temporarily_clear_interpreter_stack():
            _triton.probe(device, dtype)
    except Exception as error:  # whatever Triton, its compiler or the driver raises
        warnings.warn(f"torsor's kernels do not run on {device}, plain PyTorch is used: {error}", stacklevel=4)
        return False
    return True


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for this dtype, or None: no compiler, another dtype, or `TORSOR_COMPILE=0`.

    A compiler that fails is reported once, as a warning.
    """
    if dtype not in REALS or os.environ.get("TORSOR_COMPILE") == "0":
        return None
    if dtype not in _libraries:
        try:
            _libraries[dtype] = _load(REALS[dtype])
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            if not any(found is None for found in _libraries.values()):
                warnings.warn(f"torsor's kernels could not be compiled, plain PyTorch is used: {error}", stacklevel=2)
            _libraries[dtype] = None
    return _libraries[dtype]


def compiler() -> str | None:
    """The C++ compiler: `$CXX`, else the first that is installed."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def _load(real: str) -> ctypes.CDLL | None:
    found = compiler()
    if found is None:
        return None
    folder = cache_folder() / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"so3-{real}-{_fingerprint(found)}.so"
    try:
        return _made(found, real, path)
    except OSError:
        path.unlink()  # no library any more, as after a full disk: made once more
        return _made(found, real, path)


def _made(found: str, real: str, path: Path) -> ctypes.CDLL:
    if not path.exists():
        # one process compiles, the others wait; the file appears whole or not at all
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _compile(found, real, path)
    return ctypes.CDLL(str(path))


def _fingerprint(found: str) -> str:
    """Of everything that the result depends on: the source, the compiler, the instructions of this CPU, torch."""
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60).stdout
    cpu = Path("/proc/cpuinfo")
    flags = ""
    if cpu.exists():
        flags = next((line for line in cpu.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    parts = [
        SOURCE.read_text(),
        version,
        platform.machine(),
        platform.processor(),
        flags,
        torch.__version__,
        str(FLAGS),
    ]
    return sha256("\0".join(parts).encode()).hexdigest()[:24]


def _compile(found: str, real: str, path: Path) -> None:
    errors = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built = Path(scratch) / "built.so"
        for flags in FLAGS:
            command = [found, "-std=c++17", *flags, "-shared", "-fPIC", f"-DTORSOR_REAL={real}"]
            done = subprocess.run(
                [*command, str(SOURCE), "-o", str(built)], capture_output=True, text=True, timeout=600
            )
            if done.returncode == 0:
                os.replace(built, path)
                return
            errors = done.stderr.strip()[-500:]
    raise RuntimeError(f"{found}: {errors}")

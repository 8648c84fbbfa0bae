"""Import every module of the installed torsor: fails if one is missing from the wheel or needs what is not declared."""

import importlib
import pkgutil
import sys
from importlib.metadata import version
from pathlib import Path

import torsor

home = Path(torsor.__file__).parent
if not home.is_relative_to(sys.argv[1]):
    sys.exit(f"torsor was imported from {home}, and not from the wheel in {sys.argv[1]}")
if version("torsor") != torsor.__version__:
    sys.exit(f"the wheel is {version('torsor')}, the package says {torsor.__version__}")
if not (home / "py.typed").exists():
    sys.exit("py.typed is missing from the wheel")
for name in torsor.__all__:
    getattr(torsor, name)
NOT_HERE = {"torsor.__main__", "torsor.build.so3._triton"}  # runs the command; needs Triton, which comes with CUDA
found = {module.name for module in pkgutil.walk_packages([str(home)], "torsor.")}
if NOT_HERE - found:
    sys.exit(f"{', '.join(NOT_HERE - found)} is missing from the wheel")
modules = sorted(found - NOT_HERE)
for name in modules:
    importlib.import_module(name)
print(f"torsor {torsor.__version__}: {len(modules)} modules imported from the wheel")

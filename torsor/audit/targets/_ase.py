"""Calculators of ASE: energies, forces and stresses of structures, one at a time."""

import ast
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor._imports import import_path
from torsor.audit.targets._calculators import calculator_path
from torsor.audit.targets._numpy import array
from torsor.audit.targets._target import Target

INPUTS = ("positions", "numbers", "cell", "pbc", "mask")
OUTPUTS = ("energy", "forces", "stress", "energies", "charges", "dipole", "magmoms")
_PER_ATOM = {"forces": 3, "energies": 0, "charges": 0, "magmoms": 0}


def ase_target(name: str) -> Target:
    """The calculator that `ase:module:Calculator(arguments)` names, or `ase:emt` and others, as a callable on tensors.

    Inputs: `positions` (B, n, 3) in Å and `numbers` (or `species`) (B, n), atomic numbers; for crystals `cell`
    (B, 3, 3), rows in Å, and `pbc` (B, 3); for structures of several sizes `mask` (B, n). Outputs, as ASE has them:
    `energy` (B,) in eV, `forces` (B, n, 3) in eV/Å, `stress` (B, 3, 3) in eV/Å^3, `energies`, `charges` and `magmoms`
    (B, n), `dipole` (B, 3) in e Å. Only what a symmetry names is computed.

    Raises:
        ImportError: ASE, or what the calculator needs, is not there.
        ValueError: the text cannot be read, arguments are no literals, or it names no calculator.
    """
    calculator = make_calculator(name)

    def choose(names: tuple[str, ...]) -> Callable[..., Any]:
        return _Calculated(calculator, names)

    return Target(name, "ase", choose(("energy", "forces")), INPUTS, OUTPUTS, torch.float64, choose=choose)


def make_calculator(name: str) -> Any:
    """The calculator that `ase:module:Calculator(arguments)` or a name such as `ase:emt` means.

    Its arguments are literals, and nothing is evaluated.

    Raises:
        ImportError: ASE, or the package of a named calculator, is not there.
        ValueError: the text cannot be read, or names no calculator; lists those that have names.
    """
    try:
        import ase
    except ImportError:
        raise ImportError("an ASE calculator needs ase: pip install 'torsor[molecules]'") from None
    path = calculator_path(name)
    module, _, call = path.partition(":")
    found, args, kwargs = read_call(call, name)
    package = module.partition(".")[0]
    if path != name.removeprefix("ase:") and find_spec(package) is None:
        raise ImportError(f"{name} needs the package {package}: pip install {package}")
    made = import_path(f"{module}:{found}")
    calculator = made(*args, **kwargs) if callable(made) else made
    if not hasattr(calculator, "get_property") and not hasattr(calculator, "get_potential_energy"):
        raise ValueError(
            f"{name!r} must name an ASE calculator (ase {ase.__version__}); got {type(calculator).__name__}"
        )
    return calculator


def read_call(call: str, where: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name and the literal arguments of a call.

    Raises:
        ValueError: it is no call of a name with literals.

    >>> read_call("LennardJones(sigma=3.4, rc=10)", "")
    ('LennardJones', [], {'sigma': 3.4, 'rc': 10})
    """
    try:
        node = ast.parse(call.strip(), mode="eval").body
        if isinstance(node, ast.Call):
            named = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg is not None}
            if len(named) == len(node.keywords):
                return ast.unparse(_name(node.func)), [ast.literal_eval(arg) for arg in node.args], named
        else:
            return ast.unparse(_name(node)), [], {}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    raise ValueError(f"{where!r} must look like ase:module:Calculator(arguments), the arguments literals; got {call!r}")


def _name(node: ast.AST) -> ast.Name | ast.Attribute:
    if isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _name(node.value)):
        return node
    raise ValueError


class _Calculated:
    """Some properties of a batch of structures."""

    def __init__(self, calculator: Any, names: tuple[str, ...]) -> None:
        self.calculator = calculator
        self.names = names

    def __call__(
        self,
        positions: Tensor,
        numbers: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        mask: Tensor | None = None,
        species: Tensor | None = None,
    ) -> dict[str, Tensor]:
        numbers = species if numbers is None else numbers
        if numbers is None:
            raise TypeError("an ASE calculator needs the atomic numbers: --in numbers=scalar")
        x, z = array(positions).astype(float), np.rint(array(numbers)).astype(int).reshape(positions.shape[:2])
        present = np.ones(z.shape, bool) if mask is None else array(mask)
        rows = []
        for k in range(len(x)):
            lattice = None if cell is None else array(cell[k]).astype(float)
            periodic = lattice is not None and (True if pbc is None else array(pbc[k]).astype(bool))
            rows.append(self._one(x[k][present[k]], z[k][present[k]], lattice, periodic, present[k]))
        return {
            name: torch.from_numpy(np.stack([np.asarray(row[name], float) for row in rows])).to(positions.device)
            for name in self.names
        }

    def _one(self, x: Any, z: Any, cell: Any, pbc: Any, present: Any) -> dict[str, Any]:
        from ase import Atoms

        found = properties(self.calculator, Atoms(numbers=z, positions=x, cell=cell, pbc=pbc), self.names)
        for name, width in _PER_ATOM.items():
            if name in found:
                whole = np.zeros((len(present), width) if width else len(present))
                whole[present] = found[name]
                found[name] = whole
        return found


def properties(calculator: Any, atoms: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Some properties of one structure, computed anew."""
    if hasattr(calculator, "reset"):
        calculator.reset()  # what is cached would be compared with itself
    atoms.calc = calculator
    compute = {
        "energy": atoms.get_potential_energy, "forces": lambda: atoms.get_forces(apply_constraint=False),
        "stress": lambda: atoms.get_stress(voigt=False, apply_constraint=False),
        "energies": atoms.get_potential_energies, "charges": atoms.get_charges, "dipole": atoms.get_dipole_moment,
        "magmoms": atoms.get_magnetic_moments,
    }  # fmt: skip
    with torch.enable_grad():  # learned potentials differentiate inside
        return {name: np.array(compute[name]()) for name in names}

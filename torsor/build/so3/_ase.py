"""A potential as a calculator of ASE, for relaxations and molecular dynamics."""

from __future__ import annotations

from typing import Any

import torch

from torsor.build.so3._potential import GauntPotential


def calculator(model: GauntPotential) -> Any:
    """The ASE calculator of a potential: energy, forces, and stress of periodic structures.

    It computes in the precision and on the device of the model; molecular dynamics wants `model.double()`.

    Arguments:
        model: a trained potential, which is left as it is.

    Raises:
        ImportError: without ASE.
        TypeError: another kind of model.

    >>> from ase.build import molecule
    >>> atoms = molecule("H2O")
    >>> atoms.calc = calculator(GauntPotential([1, 8], channels=4).double())
    >>> atoms.get_forces().shape
    (3, 3)
    """
    try:
        from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
        from ase.stress import full_3x3_to_voigt_6_stress
    except ImportError:
        raise ImportError("a calculator needs ase: pip install 'torsor[molecules]'") from None
    if not isinstance(model, GauntPotential):
        raise TypeError(f"model must be a GauntPotential; got {type(model).__name__}")

    class PotentialCalculator(Calculator):
        """Energies in eV, forces in eV / angstrom, stresses in eV / angstrom^3."""

        implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012, as ASE has it

        def calculate(self, atoms: Any = None, properties: Any = ("energy",), changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, changes)
            structure: Any = self.atoms
            weight = next(model.parameters())
            stress = "stress" in properties
            if stress and structure.cell.rank < 3:
                raise PropertyNotImplementedError("stress needs a cell in three dimensions")

            def tensor(array: Any) -> torch.Tensor:
                return torch.as_tensor(array, dtype=weight.dtype, device=weight.device)

            options: dict[str, Any] = {}
            if structure.pbc.any() or stress:
                options["cell"] = tensor(structure.cell.complete().array)[None]
                options["pbc"] = torch.as_tensor(structure.pbc, device=weight.device)[None]
            species = torch.as_tensor(structure.numbers, device=weight.device)
            with torch.no_grad():
                found = model(tensor(structure.positions), species, stress=stress, **options)
            energy = float(found["energy"])
            self.results = {"energy": energy, "free_energy": energy, "forces": found["forces"].cpu().numpy()}
            if stress:
                self.results["stress"] = full_3x3_to_voigt_6_stress(found["stress"][0].cpu().numpy())

    return PotentialCalculator()

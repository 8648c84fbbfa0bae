"""The objective of interatomic potentials: energies and forces."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torsor._tree import Tree
from torsor.data import Samples
from torsor.learn._objective import Logs, matched, predict


@dataclass(frozen=True)
class energies_and_forces:
    """`energy * MSE(energy) / atoms + forces * MSE(forces)`: what a potential is trained on.

    Outputs and targets are dicts with `energy` (B, 1) and `forces` (B, n, 3); where the inputs have a `mask`, only
    atoms count. Logs both mean squared errors, of the energy of a structure and of the components of forces.

    Arguments:
        energy: weight of the squared error of the energy, divided by the number of atoms.
        forces: weight of the mean squared error of the components of forces.

    Raises:
        ValueError: an output has another shape than its target.

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> rest = lambda positions: {"energy": positions.sum((1, 2))[:, None], "forces": 0 * positions}
    >>> targets = {"energy": torch.ones(2, 1), "forces": torch.ones(2, 5, 3)}
    >>> learn.energies_and_forces(1.0, 2.0)(rest, Samples({"positions": torch.zeros(2, 5, 3)}, targets))[0]
    tensor(2.2000)
    """

    energy: float = 0.1
    forces: float = 10.0

    def __call__(self, model: Callable[..., Tree], batch: Samples) -> tuple[Tensor, Logs]:
        """The loss of a batch."""
        out, wanted = predict(model, batch.inputs), batch.targets
        matched(out, wanted)
        error, miss = out["energy"] - wanted["energy"], out["forces"] - wanted["forces"]
        mask = batch.inputs.get("mask") if isinstance(batch.inputs, dict) else None
        if mask is None:
            atoms = torch.full_like(error, miss.shape[1])
        else:
            atoms, miss = mask.sum(1, keepdim=True).to(error.dtype), torch.where(mask.unsqueeze(-1), miss, 0)
        squares = miss.square().sum() / (3 * atoms.sum())
        loss = self.energy * (error.square() / atoms).mean() + self.forces * squares
        return loss, {"energy_mse": error.detach().square().mean(), "forces_mse": squares.detach()}

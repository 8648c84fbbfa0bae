"""Structures of 3BPA, 3-(benzyloxy)pyridin-2-amine, at a temperature: normal modes about a minimum, with labels."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import constants
from scipy.optimize import minimize
from scipy.spatial.distance import pdist, squareform

from torsor.data._cache import Arrays, cache_folder, grown

Labels = Literal["xtb", "pairs"]
Labeller = Callable[[np.ndarray], tuple[float, np.ndarray]]

SPECIES = np.array([7, 6, 7, 6, 6, 6, 6, 8, 6, 6, 6, 6, 6, 6, 6] + [1] * 12)
# A minimum of GFN2-xTB, in angstrom, from which the relaxation starts.
GEOMETRY = np.array(
    """
     3.1865 -1.6145  0.7777    2.7705 -0.3990  0.3092    3.5467  0.6462  0.5329    3.1263  1.8480  0.1530
     1.9191  2.0622 -0.4721    1.0935  0.9663 -0.7282    1.5132 -0.2873 -0.3406    0.8420 -1.4691 -0.5328
    -0.4142 -1.4204 -1.1713   -1.4857 -0.7129 -0.3766   -1.4150 -0.6585  1.0085   -2.4021 -0.0136  1.7323
    -3.4721  0.5734  1.0794   -3.5514  0.5151 -0.3019   -2.5609 -0.1218 -1.0274    4.1596 -1.6752  1.0254
     2.7589 -2.4255  0.3640    3.8068  2.6605  0.3681    1.6098  3.0532 -0.7634    0.1415  1.1156 -1.2139
    -0.3209 -0.9686 -2.1694   -0.6913 -2.4737 -1.3001   -0.5792 -1.1171  1.5162   -2.3346  0.0292  2.8092
    -4.2425  1.0767  1.6445   -4.3840  0.9718 -0.8166   -2.6204 -0.1609 -2.1064
    """.split(),
    dtype=float,
).reshape(-1, 3)
MASSES = np.array([{1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}[number] for number in SPECIES])  # u

HARTREE = constants.value("Hartree energy in eV")
BOHR = constants.value("Bohr radius") / constants.angstrom
BOLTZMANN = constants.value("Boltzmann constant in eV/K")
SOFTEST = 50.0  # 1 / cm: what is softer is no vibration
STEP = 0.01  # angstrom, of the differences of forces that make the Hessian
REACH = 4.0  # angstrom, of the pairs that hold the molecule together
DEPTH, STEEPNESS = 4.0, 1.6  # eV and 1 / angstrom, of a pair at 1 angstrom; both fall as the inverse distance


def wave_number() -> float:
    """The wave number, in 1 / cm, of a vibration whose squared frequency is 1 eV / (angstrom^2 u)."""
    frequency = (constants.e / constants.value("atomic mass constant")) ** 0.5 / constants.angstrom
    return frequency / (2 * np.pi * constants.c * 100)


def sampled(labels: Labels, split: str, temperature: float, seed: int, size: int) -> Arrays:
    """The first `size` structures of a split: `positions` (size, 27, 3), `energy` (size,), `forces` (size, 27, 3).

    Energies in eV from the minimum, forces in eV / angstrom. Kept in the cache folder.

    Raises:
        ImportError: `labels="xtb"` without tblite.
    """
    folder, name = cache_folder(), _file(labels, split, temperature, seed)
    stream = ("train", "valid", "test").index(split)

    def make(start: int, stop: int) -> Arrays:
        label = labeller(labels)
        found = {key: value[0] for key, value in grown(folder / f"3bpa-{labels}-modes.npz", 1, _modes(label)).items()}
        rows = []
        for number in range(start, stop):
            draw = np.random.default_rng([seed, stream, number]).standard_normal(len(found["widths"]))
            width = found["widths"] * (BOLTZMANN * temperature) ** 0.5  # of each mode, in angstrom sqrt(u)
            x = found["minimum"] + np.einsum("m,mai->ai", draw * width, found["modes"])
            energy, forces = label(x)
            rows.append((x, energy - float(found["energy"]), forces))
        return {key: np.stack(column) for key, column in zip(("positions", "energy", "forces"), zip(*rows))}

    return {key: rows[:size] for key, rows in grown(folder / name, max(size, 1), make).items()}


def cached_files(labels: Labels) -> tuple[str, ...]:
    """The files that the default data set is kept in."""
    return tuple(_file(labels, split, 300.0, 0) for split in ("train", "valid", "test"))


def _file(labels: Labels, split: str, temperature: float, seed: int) -> str:
    return f"3bpa-{labels}-{split}-{temperature:g}K-{seed}.npz"


def labeller(labels: Labels) -> Labeller:
    """A function of positions (27, 3) in angstrom to the energy in eV and the forces in eV / angstrom."""
    return _xtb() if labels == "xtb" else pairs


def pairs(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Morse potentials between all atoms that are close in the stored geometry, which is their minimum.

    >>> energy, forces = pairs(GEOMETRY)
    >>> float(energy), float(abs(forces).max())
    (0.0, 0.0)
    """
    rest = squareform(pdist(GEOMETRY))
    i, j = np.triu_indices(len(rest), 1)
    i, j = i[near := rest[i, j] < REACH], j[near]
    apart, rest = x[i] - x[j], rest[i, j]
    r = np.linalg.norm(apart, axis=-1)
    depth, steepness = DEPTH / rest**4, STEEPNESS / rest
    fall = np.exp(-steepness * (r - rest))
    pull = (2 * depth * steepness * (1 - fall) * fall / r)[:, None] * apart
    forces = np.zeros_like(x)
    np.subtract.at(forces, i, pull)
    np.add.at(forces, j, pull)
    return float((depth * (1 - fall) ** 2).sum()), forces


def _xtb() -> Labeller:
    try:
        from tblite.interface import Calculator  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError("labels=\"xtb\" need tblite: pip install 'torsor[molecules]'") from None

    def label(x: np.ndarray) -> tuple[float, np.ndarray]:
        calculator = Calculator("GFN2-xTB", SPECIES, x / BOHR)
        calculator.set("verbosity", 0)
        found = calculator.singlepoint()
        return float(found.get("energy")) * HARTREE, -np.asarray(found.get("gradient")) * HARTREE / BOHR

    return label


def _modes(label: Labeller) -> Callable[[int, int], Arrays]:
    """The minimum and its vibrations: `modes` (m, 27, 3) in 1 / sqrt(u) and `widths` 1 / frequency, of one row."""

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        energy, forces = label(flat.reshape(-1, 3))
        return energy, -forces.ravel()

    def make(start: int, stop: int) -> Arrays:
        least = minimize(function, GEOMETRY.ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1e-4, "ftol": 1e-14})
        steps = STEP * np.eye(GEOMETRY.size)
        hessian = np.stack([(function(least.x + step)[1] - function(least.x - step)[1]) / (2 * STEP) for step in steps])
        weight = np.repeat(MASSES, 3) ** -0.5
        values, vectors = np.linalg.eigh(weight[:, None] * (hessian + hessian.T) / 2 * weight)
        stiff = values > (SOFTEST / wave_number()) ** 2
        modes = (weight[:, None] * vectors[:, stiff]).T.reshape(-1, *GEOMETRY.shape)
        return {
            "minimum": least.x.reshape(1, *GEOMETRY.shape), "energy": np.array([least.fun]),
            "modes": modes[None], "widths": values[None, stiff] ** -0.5,
        }  # fmt: skip

    return make

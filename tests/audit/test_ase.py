"""Calculators of ASE as targets, and structures as inputs."""

import numpy as np
import pytest
import torch

from torsor import E, Mask, Point, Scalar, Symmetry, Vector, audit
from torsor.audit.targets import _calculators as calculators
from torsor.audit.targets import load, make_calculator
from torsor.audit.targets._ase import read_call
from torsor.study._sources import read_arrays

build = pytest.importorskip("ase.build", reason="needs the extra torsor[molecules]")
io = pytest.importorskip("ase.io", reason="needs the extra torsor[molecules]")
bulk, molecule, write = build.bulk, build.molecule, io.write

CELLS = ("supercells", "lattice shifts")
EMT = "ase:ase.calculators.emt:EMT()"


def rattled(*frames):
    random = np.random.default_rng(0)
    for frame in frames:
        frame.positions += random.normal(size=frame.positions.shape) * 0.05
    return list(frames)


@pytest.fixture
def molecules(tmp_path):
    write(tmp_path / "some @1: molecules.extxyz", rattled(molecule("H2O"), molecule("CH4"), molecule("N2")))
    return tmp_path / "some @1: molecules.extxyz"


def test_a_calculator_is_equivariant_on_structures_of_several_sizes(molecules):
    arrays = read_arrays(molecules)
    assert arrays["positions"].shape == (3, 5, 3)
    assert arrays["mask"].sum(1).tolist() == [3, 5, 2]
    inputs = {key: torch.as_tensor(arrays[key]) for key in ("positions", "numbers", "mask")}
    symmetry = Symmetry(
        E(3),
        {"positions": Point(), "numbers": Scalar(), "mask": Mask()},
        {"energy": Scalar(per="sample"), "forces": Vector()},
    )
    target = load(EMT).returning(["energy", "forces"])
    report = audit.equivariance(
        target.function, symmetry, inputs, samples=2, worst=False, curve=False, continuity=False
    )
    assert report.verdict == "exact"
    assert {part.name for part in report.parts} == {"rotations", "reflections", "translations"}


def test_forces_of_one_structure_are_those_of_ase(molecules):
    frame = rattled(bulk("Cu", cubic=True))[0]
    found = (
        load(EMT)
        .returning(["energy", "stress", "forces"])
        .function(
            *(torch.as_tensor(np.asarray(x))[None] for x in (frame.positions, frame.numbers, frame.cell, frame.pbc))
        )
    )
    frame.calc = __import__("ase.calculators.emt", fromlist=["EMT"]).EMT()
    np.testing.assert_allclose(found["forces"][0], frame.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found["energy"], [frame.get_potential_energy()])
    np.testing.assert_allclose(found["stress"][0], frame.get_stress(voigt=False), atol=1e-12)


@pytest.mark.parametrize(
    "text",
    ["ase:os:system('ls' + x)", "ase:ase.calculators.emt:EMT(open('x'))", "ase:a:b.c(*[1])", "ase:a:(lambda: 1)()"],
)
def test_arguments_that_are_no_literals_are_refused(text):
    with pytest.raises(ValueError, match="the arguments literals; got"):
        load(text)


def test_what_is_no_calculator_is_refused():
    with pytest.raises(ValueError, match="must name an ASE calculator"):
        load("ase:fractions:Fraction(1)")


def test_a_calculator_keeps_supercells_cells_and_permutations():
    emt = __import__("ase.calculators.emt", fromlist=["EMT"]).EMT()
    report = audit.structures(emt, [*rattled(bulk("CuAu", "zincblende", 5.0, cubic=True)), molecule("H2O")])
    assert report.verdict == "exact"
    counts = {row.elements: row.structures for row in report.errors}
    assert counts == {
        "rotations": 2, "reflections": 2, "translations": 2, "permutations": 2, "supercells": 1, "other cells": 1,
        "lattice shifts": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bend", "broken"),
    [
        (lambda atoms: atoms.positions[:, 2].std(), {"rotations", "reflections", *CELLS}),
        (lambda atoms: float(len(atoms) ** 2), {"supercells"}),
        (lambda atoms: atoms.cell.lengths().sum(), {"supercells", "other cells"}),
        (lambda atoms: atoms.positions[0] @ atoms.positions[1], {"translations", "permutations", *CELLS}),
        (lambda atoms: np.linalg.det(np.diff(atoms.positions[:4], axis=0)), {"reflections", "permutations", *CELLS}),
    ],
)  # fmt: skip
def test_what_a_calculator_breaks_is_told_apart(bend, broken):
    from ase.calculators.calculator import Calculator

    class Bent(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms=None, properties=(), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 1.0 + float(bend(atoms))}

    frames = rattled(bulk("Cu", cubic=True))
    report = audit.structures(Bent(), frames, outputs=["energy"])
    assert {row.elements for row in report.errors if row.verdict != "exact"} == broken


def test_calculators_with_a_name_need_no_path():
    assert type(make_calculator("ase:emt")).__name__ == "EMT"
    with pytest.raises(
        ValueError, match=r"no calculator 'ase:nothing'; there are ase:emt, .*any other is ase:module:Calculator"
    ):
        load("ase:nothing")
    for path in calculators.CALCULATORS.values():
        name, _, _ = read_call(path.partition(":")[2], path)
        assert name.isidentifier()


def test_a_named_calculator_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(calculators.CALCULATORS, "none", "not_a_package.ase:Missing()")
    with pytest.raises(ImportError, match="ase:none needs the package not_a_package: pip install not_a_package"):
        load("ase:none")


def test_a_calculator_in_single_precision_is_judged_by_its_own_rounding():
    from ase.calculators.emt import EMT

    class Single(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            rounded = atoms.copy()
            rounded.positions = rounded.positions.astype(np.float32)
            super().calculate(rounded, properties, ["positions", "numbers", "cell", "pbc"])
            self.results = {k: np.asarray(v).astype(np.float32) for k, v in self.results.items() if k in OUT}

    OUT = ("energy", "forces")
    frames = rattled(bulk("Cu", cubic=True), bulk("Ni", cubic=True))
    assert audit.structures(Single(), frames).verdict == "approximate"
    assert audit.structures(Single(), frames, dtype=torch.float32).verdict == "exact"


def test_a_jump_at_the_structure_as_given_does_not_count_as_rounding():
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    class Grid(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms=None, properties=(), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 100 + 0.05 * float(np.floor(atoms.positions / 1.1).sum())}

    frame = Atoms("Ar4", positions=1.1 * np.array([[1, 1, 1], [1, 1, 2], [1, 2, 1], [2, 1, 1]]))
    report = audit.structures(Grid(), [frame], outputs=["energy"])
    assert report.verdict == "approximate"
    assert {row.elements for row in report.errors if row.verdict == "exact"} == {"permutations"}

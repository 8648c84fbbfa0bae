"""Interatomic potentials: symmetry, forces and stresses against differences, batches of every layout, dynamics."""

import functools
import math

import numpy as np
import pytest
import torch

from torsor import E, Point, Scalar, Symmetry, Vector, audit, learn
from torsor.build.so3 import GauntPotential, calculator, neighbour_list
from torsor.data import Samples, bpa

OWN = ["gaunt", "gaunt+bracket", "cg"]


def potential(tensor_product="gaunt", **options):
    torch.manual_seed(0)
    return GauntPotential([1, 6, 8], **{"channels": 3, "tensor_product": tensor_product, **options}).double()


def molecules(count=2, n=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = 1.6 * torch.randn(count, n, 3, generator=g, dtype=torch.float64)
    return x, torch.tensor([1, 6, 8])[torch.randint(3, (count, n), generator=g)]


@pytest.mark.parametrize("tensor_product", OWN)
def test_forces_are_differences_of_energies_and_have_the_symmetry(tensor_product):
    model, (x, species) = potential(tensor_product), molecules()
    forces = model(x, species)["forces"]
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    slope = (model.energy(x + 1e-5 * along, species) - model.energy(x - 1e-5 * along, species)) / 2e-5
    assert slope.squeeze(1).tolist() == pytest.approx((-(forces * along).sum((1, 2))).tolist(), rel=1e-6)
    law = Symmetry(E(3), {"x": Point(), "species": Scalar()}, {"energy": Scalar(), "forces": Vector()})
    less = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
    inputs = {"x": x, "species": species}
    report = audit.equivariance(lambda x, species: model(x, species), law, inputs, samples=2, **less)
    assert report.error < 1e-12


def test_our_clebsch_gordan_products_are_those_of_e3nn():
    pytest.importorskip("e3nn.o3")
    x, species = molecules()
    own = potential("cg")(x, species)
    torch.set_default_dtype(torch.float64)  # e3nn makes its tables in it
    try:
        theirs = potential("e3nn")
    finally:
        torch.set_default_dtype(torch.float32)
    for mine, parameter in zip(potential("cg").parameters(), theirs.parameters()):
        parameter.data.copy_(mine.data.reshape(parameter.shape))
    for name, value in theirs(x, species).items():
        assert (value - own[name]).norm() < 1e-12 * own[name].norm()


def test_padded_molecules_and_lists_of_atoms_are_the_same():
    model, (x, species) = potential(), molecules(3, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True, False, True, True, True, False]])
    padded = model(x.where(mask[..., None], 0), species.where(mask, 0), mask)
    batch = mask.nonzero()[:, 0]
    listed = model(x[mask], species[mask], batch=batch)
    assert torch.allclose(padded["energy"], listed["energy"])
    assert torch.allclose(padded["forces"][mask], listed["forces"])
    assert not padded["forces"][~mask].any()
    alone = model(x[1:2, :4], species[1:2, :4])
    assert torch.allclose(alone["energy"], padded["energy"][1:2])
    edges = neighbour_list(x[0], model.cutoff).edge_index
    assert torch.allclose(model(x[0], species[0], edge_index=edges)["energy"], padded["energy"][:1])


def test_forces_can_stand_in_a_loss_and_are_there_without_gradients():
    model, (x, species) = potential(), molecules()
    model(x, species)["forces"].square().sum().backward()
    assert all(p.grad is not None for p in model.layers.parameters() if p.numel())
    expected = model(x, species)["forces"].detach()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = model(x, species)["forces"]
        assert not found.requires_grad
        assert torch.allclose(found, expected)


def test_energy_is_smooth_where_an_atom_leaves_the_cutoff():
    model = potential(cutoff=3.0)
    species = torch.tensor([[1, 6, 8]])

    def slope(r):
        x = torch.tensor([[[0.0, 0, 0], [1.1, 0.2, 0], [0.3, r, 0.1]]], dtype=torch.float64)
        return model(x, species)["forces"]

    edge = math.sqrt(3.0**2 - 0.3**2 - 0.1**2)
    assert (slope(edge - 1e-4) - slope(edge + 1e-4)).abs().max() < 1e-5


def test_crystals_stress_and_supercells():
    pytest.importorskip("ase")
    model = potential(cutoff=3.5)
    cell = torch.tensor([[3.0, 0.2, 0], [0, 3.4, 0.1], [0.3, 0, 3.2]], dtype=torch.float64)
    x, species = torch.rand(3, 3, dtype=torch.float64) @ cell, torch.tensor([1, 6, 8])
    found = model(x, species, cell=cell[None], stress=True)
    strain = torch.tensor([[0.3, 0.1, -0.2], [0.1, -0.5, 0.4], [-0.2, 0.4, 0.2]], dtype=torch.float64)

    def energy(s):
        stretch = torch.eye(3, dtype=torch.float64) + s * strain
        return model.energy(x @ stretch, species, cell=(cell @ stretch)[None]).item()

    slope = (energy(1e-5) - energy(-1e-5)) / 2e-5 / torch.linalg.det(cell).abs().item()
    assert slope == pytest.approx((found["stress"][0] * strain).sum().item(), rel=1e-6)
    double = torch.cat([x, x + cell[0]]), species.repeat(2), torch.cat([2 * cell[:1], cell[1:]])[None]
    large = model(double[0], double[1], cell=double[2])
    assert large["energy"].item() == pytest.approx(2 * found["energy"].item(), rel=1e-10)
    assert torch.allclose(large["forces"][:3], found["forces"])
    padded = model(x[None], species[None], cell=cell[None])
    assert torch.allclose(padded["forces"][0], found["forces"])
    slab = model(x, species, cell=cell[None], pbc=torch.tensor([[True, True, False]]))
    far = torch.tensor([1.0, 1.0, 10.0], dtype=torch.float64)[:, None]
    assert torch.allclose(slab["forces"], model(x, species, cell=(far * cell)[None])["forces"])
    assert not torch.allclose(slab["forces"], found["forces"])


def test_neighbours_of_large_systems_are_those_of_small_ones(monkeypatch):
    pytest.importorskip("ase")
    from torsor.build.so3 import _neighbours

    x = 4 * torch.rand(30, 3, dtype=torch.float64)
    expected = {tuple(pair) for pair in neighbour_list(x, 1.5).edge_index.T.tolist()}
    monkeypatch.setattr(_neighbours, "DENSE", 10)
    found = neighbour_list(x, 1.5)
    assert {tuple(pair) for pair in found.edge_index.T.tolist()} == expected
    assert found.edge_index.shape[1] == len(expected)


def test_the_calculator_gives_ase_what_the_model_gives(plain):
    pytest.importorskip("ase")
    from ase import Atoms

    model, (x, species) = potential(), molecules(1)
    atoms = Atoms(species[0].numpy(), x[0].numpy(), calculator=calculator(model))
    found = model(x, species)
    assert atoms.get_potential_energy() == pytest.approx(found["energy"].item())
    assert torch.allclose(torch.from_numpy(atoms.get_forces()), found["forces"][0])
    atoms.set_cell([8, 8, 8])
    atoms.pbc = True
    assert atoms.get_stress().shape == (6,)
    with pytest.raises(TypeError, match="must be a GauntPotential"):
        calculator(torch.nn.Linear(1, 1))


def test_one_structure_of_nothing_and_atoms_alone(plain):
    model = potential()
    single = model(torch.zeros(1, 1, 3, dtype=torch.float64), torch.tensor([[6]]))
    assert single["energy"].isfinite().all()
    assert not single["forces"].any()
    empty = model(torch.zeros(0, 4, 3, dtype=torch.float64), torch.zeros(0, 4, dtype=torch.long))
    assert empty["energy"].shape == (0, 1)
    assert empty["forces"].shape == (0, 4, 3)


def test_bad_input_is_refused_by_name(plain):
    model, (x, species) = potential(), molecules()
    with pytest.raises(ValueError, match=r"species must be among \[1, 6, 8\]; got \[7\]"):
        model(x, torch.full_like(species, 7))
    with pytest.raises(ValueError, match="atoms . and . are in one place"):
        model(torch.zeros_like(x), species)
    with pytest.raises(ValueError, match="stress needs a cell"):
        model(x, species, stress=True)
    with pytest.raises(ValueError, match=r"positions must be \(B, n, 3\)"):
        model(x[..., :2], species)
    with pytest.raises(ValueError, match="mask must be left out"):
        model(x[0], species[0], species[0] > 0)
    with pytest.raises(ValueError, match=r"cell must be \(2, 3, 3\)"):
        model(x, species, cell=torch.eye(3)[None])
    cells = 9 * torch.eye(3, dtype=x.dtype).expand(2, 3, 3)
    with pytest.raises(ValueError, match=r"pbc must be \(2, 3\); got shape \(3,\)"):
        model(x, species, cell=cells, pbc=torch.tensor([True, False, False]))
    with pytest.raises(ValueError, match="edge_index must be left out where structures repeat"):
        model(x[0], species[0], cell=cells[:1], edge_index=torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(TypeError, match="positions must be torch.float64, as the model is; got torch.float32"):
        model(x.float(), species)
    with pytest.raises(ValueError, match="tensor_product must be one of"):
        GauntPotential([1], tensor_product="fourier")
    with pytest.raises(ValueError, match="hidden_lmax must be at most"):
        GauntPotential([1], lmax=0)


def test_a_gradient_can_be_clipped_in_training(plain):
    data = Samples(torch.ones(4, 1), 100 * torch.ones(4, 1))
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    learn.fit(model, data, learn.mse, epochs=1, batch_size=4, lr=1.0, schedule="constant", clip=0.5,
              optimizer=functools.partial(torch.optim.SGD))  # fmt: skip
    assert model.weight.item() - before == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(ValueError, match="clip must be positive"):
        learn.fit(model, data, learn.mse, epochs=1, batch_size=4, clip=0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_position_that_is_no_number_shows_in_the_energy(value, plain):
    model, (x, species) = potential(), molecules()
    x = x.clone()
    x[0, 0, 1] = value
    found = model(x, species)
    assert not found["energy"][0].isfinite()
    assert found["energy"][1].isfinite()
    assert not found["forces"][0].isfinite().all()


@pytest.mark.slow
def test_dynamics_conserve_energy_over_two_picoseconds():
    pytest.importorskip("ase")
    from ase import Atoms, units
    from ase.md.verlet import VelocityVerlet

    pytest.importorskip("tblite")
    data = bpa(300, 0, 1, labels="xtb")
    torch.manual_seed(0)
    model = GauntPotential([1, 6, 7, 8], channels=16)
    loss = learn.energies_and_forces(energy=0.1, forces=10.0)
    learn.fit(model, data.train, loss, epochs=14, batch_size=5, lr=1e-2, clip=10.0)
    species = data.train.inputs["species"][0].numpy()
    atoms = Atoms(species, data.train.inputs["positions"][0].numpy(), calculator=calculator(model.double()))
    spread = np.sqrt(300 * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).standard_normal((len(atoms), 3)))
    dynamics, totals = VelocityVerlet(atoms, 0.5 * units.fs), []
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()), interval=20)
    dynamics.run(4000)
    half = len(totals) // 2
    drift = abs(np.mean(totals[half:]) - np.mean(totals[:half]))
    assert drift < 2e-3 * atoms.get_kinetic_energy()
    assert np.std(totals) < 2e-2 * atoms.get_kinetic_energy()


@pytest.mark.slow
def test_properties_of_molecules_of_many_sizes_are_learned():
    from torsor.data import qm9

    try:
        data = qm9("zpve", 200, 0, 50)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    model = GauntPotential([1, 6, 7, 8, 9], channels=4, layers=1)

    class ZeroPoint(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, positions, species, mask):
            return self.model.energy(positions, species, mask)

    net = ZeroPoint()
    before = learn.evaluate(net, data.test, learn.mse, batch_size=25)["loss"]
    learn.fit(net, data.train, learn.mse, epochs=12, batch_size=10, lr=3e-2)
    spread = data.test.targets.var().item()
    after = learn.evaluate(net, data.test, learn.mse, batch_size=25)["loss"]
    assert after < min(before, spread) / 4

"""An interatomic potential whose products are Gaunt products, brackets or Clebsch-Gordan products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from torsor.actions import Irrep, Irreps
from torsor.build.so3._basis import GauntProductBasis
from torsor.build.so3._clebsch import ClebschConv, ClebschProductBasis
from torsor.build.so3._conv import GauntConv
from torsor.build.so3._linear import Linear, mlp
from torsor.build.so3._neighbours import molecule_edges, neighbour_list

PRODUCTS = ("gaunt", "gaunt+bracket", "cg", "e3nn")


class GauntPotential(nn.Module):
    """Energy, forces and stress of molecules and crystals: message passing with many-body products, as in MACE.

    Each layer sums messages of neighbours (features times harmonics of the direction, filtered by distance), takes
    products of up to `order` of the sums at each atom, and reads an energy off the scalars. Forces are minus the
    gradient of the energy; everything can be differentiated twice, so forces can stand in a loss. With the gradient
    switched off forces are computed all the same. Smooth to second order where atoms enter the cutoff.

    Arguments:
        species: atomic numbers that occur.
        channels: copies of every irrep.
        lmax: highest degree of the harmonics and of the sums over neighbours.
        hidden_lmax: highest degree of the features that are passed on.
        layers: of message passing.
        order: of the products at one atom.
        cutoff: of the messages, in angstrom.
        neighbours: how many neighbours an atom has, about: messages are divided by its root.
        tensor_product: `"gaunt"`, products on a grid, which carry true tensors only; `"gaunt+bracket"` with
            pseudo-tensors too; `"cg"`, each Clebsch-Gordan path with a weight, as `"gaunt"` limited to true tensors;
            `"e3nn"`, the same by e3nn.
        mode: of the products of Gaunt type, see `GauntProductBasis`.

    Raises:
        ValueError: an unknown product or a number that is out of range.
        ImportError: `"e3nn"` without e3nn.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 4.3; the architecture: Batatia et al. 2022
        (arXiv 2206.07697).

    >>> model = GauntPotential([1, 8], channels=4)
    >>> water = torch.tensor([[[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]]])
    >>> found = model(water, torch.tensor([[8, 1, 1]]))
    >>> found["energy"].shape, found["forces"].shape
    (torch.Size([1, 1]), torch.Size([1, 3, 3]))
    """

    def __init__(
        self,
        species: Sequence[int],
        *,
        channels: int = 16,
        lmax: int = 3,
        hidden_lmax: int = 1,
        layers: int = 2,
        order: int = 3,
        cutoff: float = 5.0,
        neighbours: float = 16.0,
        tensor_product: Literal["gaunt", "gaunt+bracket", "cg", "e3nn"] = "gaunt",
        mode: Literal["pointwise", "tree"] = "pointwise",
    ) -> None:
        super().__init__()
        species = sorted({int(number) for number in species})
        if not species or species[0] < 1:
            raise ValueError(f"species must be atomic numbers, at least one; got {species}")
        if tensor_product not in PRODUCTS:
            raise ValueError(f"tensor_product must be one of {', '.join(PRODUCTS)}; got {tensor_product!r}")
        for name, value in (("channels", channels), ("layers", layers), ("order", order)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}")
        if not (cutoff > 0 and neighbours > 0):
            raise ValueError(f"cutoff and neighbours must be positive; got {cutoff} and {neighbours}")
        if hidden_lmax > lmax:
            raise ValueError(f"hidden_lmax must be at most lmax={lmax}; got {hidden_lmax}")
        if order != 3 and tensor_product in ("cg", "e3nn"):
            raise ValueError(f"order must be 3 for tensor_product={tensor_product!r}; got {order}")
        self.species, self.cutoff, self.tensor_product = species, float(cutoff), tensor_product
        place = torch.full((species[-1] + 2,), -1)
        place[torch.tensor(species)] = torch.arange(len(species))
        self.register_buffer("place", place, persistent=False)
        self.embedding = nn.Parameter(torch.randn(len(species), channels))
        self.reference = nn.Parameter(torch.zeros(len(species)))
        self.radial = Radial(cutoff)
        pseudo = tensor_product == "gaunt+bracket"
        scalars = Irreps([(channels, Irrep(0, 1))])
        hidden = _irreps(channels, hidden_lmax, pseudo)
        inputs = [scalars, *[hidden] * (layers - 1)]
        outputs = [*[hidden] * (layers - 1), scalars]
        self.layers = nn.ModuleList(
            _Layer(a, b, lmax, order, len(species), neighbours, tensor_product, mode) for a, b in zip(inputs, outputs)
        )
        self.readouts = nn.ModuleList(
            mlp((channels, 1)) if n < layers - 1 else mlp((channels, channels, 1)) for n in range(layers)
        )

    def forward(
        self,
        positions: Float[Tensor, "*atoms 3"],
        species: Int[Tensor, "*atoms"],
        mask: Bool[Tensor, "b n"] | None = None,
        *,
        batch: Int[Tensor, " n"] | None = None,
        edge_index: Int[Tensor, "2 e"] | None = None,
        cell: Float[Tensor, "b 3 3"] | None = None,
        pbc: Bool[Tensor, "b 3"] | None = None,
        stress: bool = False,
    ) -> dict[str, Tensor]:
        """Energy (B, 1) in eV, forces as positions in eV / angstrom, and stress (B, 3, 3) in eV / angstrom^3 if asked.

        Arguments:
            positions: padded structures (B, n, 3), or atoms of all structures in one list (n, 3), in angstrom.
            species: atomic numbers.
            mask: which rows of padded structures are atoms; the others get no force.
            batch: for a list, to which structure an atom belongs; by default there is one.
            edge_index: for a list, pairs (neighbour, centre) to use instead of looking for them; not where `pbc`.
            cell: rows are lattice vectors; without it the structures are molecules.
            pbc: along which lattice vectors they repeat; by default all.
            stress: compute it; needs a cell.

        Raises:
            ValueError: shapes that do not belong together, a species that the model does not know, two atoms in one
                place, a stress without a cell, edges that are given for structures that repeat.
            TypeError: positions in another dtype than the model's.
        """
        if stress and cell is None:
            raise ValueError("stress needs a cell")
        graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            if positions.is_inference():
                positions, species = positions.clone(), species.clone()
                mask, batch, edge_index, cell, pbc = (
                    None if v is None else v.clone() for v in (mask, batch, edge_index, cell, pbc)
                )
            if not positions.requires_grad:
                positions = positions.detach().requires_grad_()
            atoms = self._atoms(positions, species, mask, batch, edge_index, cell, pbc)
            strain = atoms.positions.new_zeros(atoms.count, 3, 3).requires_grad_() if stress else None
            energy = self._energy(atoms, strain)
            wanted = [positions] if strain is None else [positions, strain]
            slopes = torch.autograd.grad(
                energy.sum(), wanted, create_graph=graph, allow_unused=True, materialize_grads=True
            )
            found = {"energy": energy, "forces": -slopes[0]}
            if strain is not None and atoms.cell is not None:
                volume = torch.linalg.det(atoms.cell).abs()[:, None, None]
                found["stress"] = (slopes[1] + slopes[1].mT) / (2 * volume)
        return found if graph else {name: value.detach() for name, value in found.items()}

    def energy(
        self, positions: Float[Tensor, "*atoms 3"], species: Int[Tensor, "*atoms"], mask: Any = None, **options: Any
    ) -> Float[Tensor, "b 1"]:
        """The energy alone, without a gradient being taken; arguments as for calling the model."""
        arguments = {"batch": None, "edge_index": None, "cell": None, "pbc": None} | options
        return self._energy(self._atoms(positions, species, mask, **arguments), None)

    def _energy(self, atoms: _Atoms, strain: Tensor | None) -> Tensor:
        source, target = atoms.edge_index
        vec = atoms.positions[source] - atoms.positions[target]
        structure = atoms.batch[target]
        if atoms.shifts is not None and atoms.cell is not None:
            vec = vec + torch.einsum("ei,eij->ej", atoms.shifts, atoms.cell[structure])
        if strain is not None:
            vec = vec + torch.einsum("eij,ej->ei", (strain + strain.mT)[structure] / 2, vec)
        length = vec.norm(dim=-1)
        if not torch.compiler.is_compiling() and bool((length == 0).any()):
            at = int((length == 0).nonzero()[0, 0])
            raise ValueError(f"positions must differ: atoms {int(source[at])} and {int(target[at])} are in one place")
        radial = self.radial(length)
        h = self.embedding.to(vec.dtype)[atoms.kinds]
        per_atom = self.reference.to(vec.dtype)[atoms.kinds]
        channels = h.shape[-1]
        for layer, readout in zip(self.layers, self.readouts):
            h = layer(h, atoms.edge_index, vec, radial, atoms.kinds)
            per_atom = per_atom + readout(h[:, :channels]).squeeze(-1)
        return per_atom.new_zeros(atoms.count).index_add(0, atoms.batch, per_atom).unsqueeze(-1)

    def _atoms(
        self,
        positions: Tensor,
        species: Tensor,
        mask: Tensor | None,
        batch: Tensor | None,
        edge_index: Tensor | None,
        cell: Tensor | None,
        pbc: Tensor | None,
    ) -> _Atoms:
        """The atoms of all structures in one list, with their edges."""
        if positions.ndim not in (2, 3) or positions.shape[-1] != 3 or species.shape != positions.shape[:-1]:
            raise ValueError(
                "positions must be (B, n, 3) or (n, 3), and species the same without the last axis; "
                f"got shapes {tuple(positions.shape)} and {tuple(species.shape)}"
            )
        if positions.dtype != self.embedding.dtype:
            raise TypeError(f"positions must be {self.embedding.dtype}, as the model is; got {positions.dtype}")
        shifts = None
        if positions.ndim == 3:
            if batch is not None or edge_index is not None:
                raise ValueError("batch and edge_index must be left out for padded structures (B, n, 3)")
            count = len(positions)
            kept = torch.ones_like(species, dtype=torch.bool) if mask is None else mask
            if kept.shape != species.shape:
                raise ValueError(f"mask must be {tuple(species.shape)}, as species; got shape {tuple(kept.shape)}")
            batch = kept.nonzero()[:, 0]
            if cell is None:
                edge_index = molecule_edges(positions, kept, self.cutoff)
            positions, species = positions[kept], species[kept]
        else:
            if mask is not None:
                raise ValueError("mask must be left out for a list of atoms (n, 3); use batch")
            batch = torch.zeros_like(species) if batch is None else batch
            count = len(cell) if cell is not None else 1 + int(batch.max()) if len(batch) else 0
        if cell is not None and cell.shape != (count, 3, 3):
            raise ValueError(f"cell must be ({count}, 3, 3); got shape {tuple(cell.shape)}")
        if pbc is not None and pbc.shape != (count, 3):
            raise ValueError(f"pbc must be ({count}, 3); got shape {tuple(pbc.shape)}")
        if edge_index is None:
            edge_index, shifts = self._edges(positions, batch, count, cell, pbc)
        elif cell is not None and (pbc is None or bool(pbc.any())):
            raise ValueError("edge_index must be left out where structures repeat: it does not say what it crosses")
        kinds = self.place[species.clamp(0, len(self.place) - 1)]  # type: ignore[index]
        if not torch.compiler.is_compiling() and bool((kinds < 0).any()):
            unknown = sorted(set(species[kinds < 0].tolist()))
            raise ValueError(f"species must be among {self.species}; got {unknown}")
        return _Atoms(positions, kinds, batch, count, edge_index, shifts, cell)

    def _edges(
        self, positions: Tensor, batch: Tensor, count: int, cell: Tensor | None, pbc: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The edges of each structure, in the numbers of the list."""
        indices, shifts = [], []
        for b in range(count):
            members = (batch == b).nonzero().squeeze(1)
            found = neighbour_list(
                positions[members], self.cutoff, None if cell is None else cell[b], None if pbc is None else pbc[b]
            )
            indices.append(members[found.edge_index])
            none = positions.new_zeros(found.edge_index.shape[1], 3)
            shifts.append(none if found.shifts is None else found.shifts)
        if not indices:
            return torch.zeros(2, 0, dtype=torch.long, device=positions.device), None
        return torch.cat(indices, 1), None if cell is None else torch.cat(shifts)

    def extra_repr(self) -> str:
        return f"species={self.species}, cutoff={self.cutoff:g}, tensor_product={self.tensor_product!r}"


class Radial(nn.Module):
    """Bessel functions of a distance, cut off smoothly: value and two derivatives vanish at the cutoff.

    Source: Gasteiger, Groß, Günnemann 2020 (arXiv 2003.03123), eqs. (7) and (8).
    """

    number = 8

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = float(cutoff)

    def forward(self, length: Float[Tensor, " edges"]) -> Float[Tensor, "edges number"]:
        """(edges, number)."""
        u = (length / self.cutoff).unsqueeze(-1)
        n = math.pi * torch.arange(1, self.number + 1, dtype=u.dtype, device=u.device)
        inside = (u < 1).to(u.dtype)
        fall = inside * (1 - 21 * u**5 + 35 * u**6 - 15 * u**7)
        return math.sqrt(2 / self.cutoff) * torch.sin(n * u) / length.unsqueeze(-1) * fall


class _Atoms(NamedTuple):
    """The atoms of all structures in one list."""

    positions: Tensor
    kinds: Tensor
    batch: Tensor
    count: int
    edge_index: Tensor
    shifts: Tensor | None
    cell: Tensor | None


class _Layer(nn.Module):
    """Messages of neighbours, products at each atom, and what was there before."""

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        lmax: int,
        order: int,
        kinds: int,
        neighbours: float,
        tensor_product: str,
        mode: Literal["pointwise", "tree"],
    ) -> None:
        super().__init__()
        channels = irreps_in.entries[0][0]
        bracket = tensor_product == "gaunt+bracket"
        # from scalars alone messages are true tensors
        sums = _irreps(channels, lmax, pseudo=bracket and irreps_in.lmax > 0)
        self.scale = 1 / math.sqrt(neighbours)
        self.before = Linear(irreps_in, irreps_in)
        number = Radial.number
        if tensor_product in ("cg", "e3nn"):
            self.conv = ClebschConv(irreps_in, lmax, sums, number, tensor_product)  # type: ignore[arg-type]
            self.basis = ClebschProductBasis(sums, irreps_out, kinds, tensor_product)  # type: ignore[arg-type]
        else:
            self.conv = GauntConv(irreps_in, lmax, sums, number, antisymmetric="auto" if bracket else False)
            self.basis = GauntProductBasis(sums, irreps_out, order, kinds, mode, antisymmetric=bracket, mixing=True)
        self.after = Linear(irreps_out, irreps_out)
        kept = Irreps([entry for entry in irreps_out if entry in irreps_in.entries])
        self.skip = Linear(irreps_in, kept)  # the scalars come first, so that what is missing is at the end
        self.missing = irreps_out.dim() - kept.dim()

    def forward(self, h: Tensor, edge_index: Tensor, vec: Tensor, radial: Tensor, kinds: Tensor) -> Tensor:
        sums = self.scale * self.conv(self.before(h), edge_index, vec, radial)
        return self.after(self.basis(sums, kinds)) + nn.functional.pad(self.skip(h), (0, self.missing))


def _irreps(channels: int, lmax: int, pseudo: bool) -> Irreps:
    """True tensors of all degrees, then pseudo-tensors."""
    signs = (1, -1) if pseudo else (1,)
    return Irreps([(channels, Irrep(l, sign * (-1) ** l)) for sign in signs for l in range(lmax + 1)])

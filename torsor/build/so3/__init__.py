"""Tensor products of irreps: the Gaunt product of signals on the sphere, its antisymmetric half, and the exact ones."""

from torsor.actions import Irrep, Irreps, spherical_harmonics, wigner_3j, wigner_D
from torsor.build.so3._accelerate import AccelerationReport, accelerate
from torsor.build.so3._ase import calculator
from torsor.build.so3._basis import GauntProductBasis, SelfMix
from torsor.build.so3._blocks import gaunt, gaunt_matrix, poisson
from torsor.build.so3._conv import GauntConv, SO2Conv
from torsor.build.so3._expressivity import coupling_count, degrees_of_freedom
from torsor.build.so3._gaunt_tensor_product import GauntTensorProduct
from torsor.build.so3._grid import SphereGrid
from torsor.build.so3._linear import Linear
from torsor.build.so3._neighbours import Neighbours, neighbour_list
from torsor.build.so3._potential import GauntPotential, Radial
from torsor.build.so3._product import gaunt_product
from torsor.build.so3._sparse_tensor_product import SparseTensorProduct

__all__ = [
    "AccelerationReport",
    "GauntConv",
    "GauntPotential",
    "GauntProductBasis",
    "GauntTensorProduct",
    "Irrep",
    "Irreps",
    "Linear",
    "Neighbours",
    "Radial",
    "SO2Conv",
    "SelfMix",
    "SparseTensorProduct",
    "SphereGrid",
    "accelerate",
    "calculator",
    "coupling_count",
    "degrees_of_freedom",
    "gaunt",
    "gaunt_matrix",
    "gaunt_product",
    "neighbour_list",
    "poisson",
    "spherical_harmonics",
    "wigner_3j",
    "wigner_D",
]

"""Tensor products of irreps: the Gaunt product of signals on the sphere, its antisymmetric half, and the exact ones."""

from torsor.actions import Irrep, Irreps, spherical_harmonics, wigner_3j, wigner_D
from torsor.build.so3._accelerate import AccelerationReport, accelerate
from torsor.build.so3._blocks import gaunt, gaunt_matrix, poisson
from torsor.build.so3._gaunt_tensor_product import GauntTensorProduct
from torsor.build.so3._grid import SphereGrid
from torsor.build.so3._product import gaunt_product
from torsor.build.so3._sparse_tensor_product import SparseTensorProduct

__all__ = [
    "AccelerationReport",
    "GauntTensorProduct",
    "Irrep",
    "Irreps",
    "SparseTensorProduct",
    "SphereGrid",
    "accelerate",
    "gaunt",
    "gaunt_matrix",
    "gaunt_product",
    "poisson",
    "spherical_harmonics",
    "wigner_3j",
    "wigner_D",
]

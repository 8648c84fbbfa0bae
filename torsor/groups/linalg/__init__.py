"""Linear algebra of groups, with gradients that stay finite where the textbook formulas divide by zero.

Nothing here stops at a matrix that is not finite: its results are NaN, those of its neighbours in the batch are right.
"""

from torsor.groups.linalg._eigh import eigh
from torsor.groups.linalg._logm import logm
from torsor.groups.linalg._polar import nearest_rotation, polar, polar_log, solve_sylvester
from torsor.groups.linalg._scalars import log_sinhc, phi
from torsor.groups.linalg._spectral import expm_sym, logm_sym, spectral_function, sqrtm_sym

__all__ = [
    "eigh",
    "expm_sym",
    "log_sinhc",
    "logm",
    "logm_sym",
    "nearest_rotation",
    "phi",
    "polar",
    "polar_log",
    "solve_sylvester",
    "spectral_function",
    "sqrtm_sym",
]

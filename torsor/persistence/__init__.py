"""How long does a stationary process stay where it is? Excursion laws, persistency exponents, tests on runs.

The symmetries are those of a stationary process: translation of time, and the flip of its sign.
"""

from torsor.persistence._covariance import ConvexSum, Covariance, Product, Scaled
from torsor.persistence._discrete import iia_discrete
from torsor.persistence._exponent import Exponent, persistency_exponent
from torsor.persistence._families import (
    DampedOscillator,
    RandomAcceleration,
    RationalQuadratic,
    SechDiffusion,
    SquaredExponential,
    SumOfExponentials,
)
from torsor.persistence._given import FromFunction, FromSpectrum, Tabulated
from torsor.persistence._iia import iia, iia_classical
from torsor.persistence._laws import ExcursionLaw, ValidityCertificate
from torsor.persistence._matern import Matern
from torsor.persistence._monitor import RunMonitor
from torsor.persistence._null import law_of_signs
from torsor.persistence._orbits import OrbitPersistence, equivariance_error, orbit_persistence
from torsor.persistence._run_test import TestResult, alert_table, persistence_test
from torsor.persistence._runs import Runs, empirical_slepian, excursions, sign_acf
from torsor.persistence._sequence import AR1, OrnsteinUhlenbeck, SequenceCovariance
from torsor.persistence._simulate import SimulatedExponent, simulate_exponent, simulate_gaussian
from torsor.persistence._slepian import SlepianMean, clipped_covariance, slepian_mean, slepian_paths
from torsor.persistence._tables import exceedance_table, gaussian_level

__all__ = [
    "AR1",
    "ConvexSum",
    "Covariance",
    "DampedOscillator",
    "ExcursionLaw",
    "Exponent",
    "FromFunction",
    "FromSpectrum",
    "Matern",
    "OrbitPersistence",
    "OrnsteinUhlenbeck",
    "Product",
    "RandomAcceleration",
    "RationalQuadratic",
    "RunMonitor",
    "Runs",
    "Scaled",
    "SechDiffusion",
    "SequenceCovariance",
    "SimulatedExponent",
    "SlepianMean",
    "SquaredExponential",
    "SumOfExponentials",
    "Tabulated",
    "TestResult",
    "ValidityCertificate",
    "alert_table",
    "clipped_covariance",
    "empirical_slepian",
    "equivariance_error",
    "exceedance_table",
    "excursions",
    "gaussian_level",
    "iia",
    "iia_classical",
    "iia_discrete",
    "law_of_signs",
    "orbit_persistence",
    "persistence_test",
    "persistency_exponent",
    "sign_acf",
    "simulate_exponent",
    "simulate_gaussian",
    "slepian_mean",
    "slepian_paths",
]

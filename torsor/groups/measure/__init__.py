"""Haar measures and proposals: the one place where group elements are drawn from a law with a known density.

Densities are with respect to left Haar measure, normalised to total mass 1 on compact factors; on positive definite
matrices P = exp(Y) Haar measure is prod_{i<j} sinh(y_i - y_j)/(y_i - y_j) times Lebesgue measure of Y in
Frobenius-orthonormal coordinates, on log-scales, rapidities and translations it starts as Lebesgue measure at 0.
"""

from torsor.groups.measure._estimate import ess, integrate, tail_index
from torsor.groups.measure._polar import PolarProposal
from torsor.groups.measure._products import (
    AffineProposal,
    BoostProposal,
    EmbeddedProposal,
    ProductProposal,
    ProjectiveProposal,
    ScaleProposal,
)
from torsor.groups.measure._proposal import GroupSample, Proposal, UniformCompact
from torsor.groups.measure._spd import HaarBall, LogNormalSPD, RiemannianGaussianSPD, SPDLaw
from torsor.groups.measure._window import Window

__all__ = [
    "AffineProposal",
    "BoostProposal",
    "EmbeddedProposal",
    "GroupSample",
    "HaarBall",
    "LogNormalSPD",
    "PolarProposal",
    "ProductProposal",
    "ProjectiveProposal",
    "Proposal",
    "RiemannianGaussianSPD",
    "SPDLaw",
    "ScaleProposal",
    "UniformCompact",
    "Window",
    "ess",
    "integrate",
    "tail_index",
]

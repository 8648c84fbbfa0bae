"""Symmetry by training: the one training loop, and the objectives that lean towards a symmetry."""

from torsor.learn._checkpoint import CheckpointError
from torsor.learn._curvature import Curvature, curvature
from torsor.learn._evaluate import evaluate
from torsor.learn._evidence import EvidenceRule
from torsor.learn._fit import FitResult, fit
from torsor.learn._layer_reps import LayerReps, attach
from torsor.learn._loggers import CSVLogger, Logger, TensorBoardLogger
from torsor.learn._objective import Objective, Step, augmented, cross_entropy, mse, predict, square_error
from torsor.learn._per import PERegularizer, regularised
from torsor.learn._soft_linear import EquivariantLinear, RPPLinear, SoftLinear
from torsor.learn._strengths import Fixed, PowerRule, StrengthRule, Strengths
from torsor.learn._symmetry_report import GroupFinding, SymmetryReport
from torsor.learn._training import DivergedError

__all__ = [
    "CSVLogger",
    "CheckpointError",
    "Curvature",
    "DivergedError",
    "EquivariantLinear",
    "EvidenceRule",
    "FitResult",
    "Fixed",
    "GroupFinding",
    "LayerReps",
    "Logger",
    "Objective",
    "PERegularizer",
    "PowerRule",
    "RPPLinear",
    "SoftLinear",
    "Step",
    "StrengthRule",
    "Strengths",
    "SymmetryReport",
    "TensorBoardLogger",
    "attach",
    "augmented",
    "cross_entropy",
    "curvature",
    "evaluate",
    "fit",
    "mse",
    "predict",
    "regularised",
    "square_error",
]

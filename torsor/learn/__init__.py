"""Symmetry by training: the one training loop, and the objectives that lean towards a symmetry."""

from torsor.learn._checkpoint import CheckpointError
from torsor.learn._curvature import Curvature, curvature
from torsor.learn._energies import energies_and_forces
from torsor.learn._evaluate import evaluate
from torsor.learn._evidence import EvidenceRule
from torsor.learn._fit import FitResult, fit
from torsor.learn._fit_linear import LinearFit, fit_linear
from torsor.learn._layer_reps import LayerReps, attach
from torsor.learn._loggers import CSVLogger, Logger, TensorBoardLogger
from torsor.learn._objective import Objective, Step, augmented, cross_entropy, mse, predict, square_error
from torsor.learn._on_slots import OnSlots, SlotReps, output_shape, slot_reps
from torsor.learn._per import PERegularizer
from torsor.learn._project_towards import EquivarianceBound, project_towards
from torsor.learn._regularised import regularised, with_prior
from torsor.learn._relaxed import RelaxedLinear
from torsor.learn._sampled import SampledRegularizer
from torsor.learn._soft_linear import EquivariantLinear, RPPLinear, SoftLinear
from torsor.learn._strengths import Fixed, PowerRule, StrengthRule, Strengths
from torsor.learn._symmetry_report import GroupFinding, SymmetryReport
from torsor.learn._tensor_layers import Gate, Products, gated
from torsor.learn._tensor_networks import EMLP, RPPEMLP, RelaxedEMLP, SoftEMLP
from torsor.learn._training import DivergedError

__all__ = [
    "EMLP",
    "RPPEMLP",
    "CSVLogger",
    "CheckpointError",
    "Curvature",
    "DivergedError",
    "EquivarianceBound",
    "EquivariantLinear",
    "EvidenceRule",
    "FitResult",
    "Fixed",
    "Gate",
    "GroupFinding",
    "LayerReps",
    "LinearFit",
    "Logger",
    "Objective",
    "OnSlots",
    "PERegularizer",
    "PowerRule",
    "Products",
    "RPPLinear",
    "RelaxedEMLP",
    "RelaxedLinear",
    "SampledRegularizer",
    "SlotReps",
    "SoftEMLP",
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
    "energies_and_forces",
    "evaluate",
    "fit",
    "fit_linear",
    "gated",
    "mse",
    "output_shape",
    "predict",
    "project_towards",
    "regularised",
    "slot_reps",
    "square_error",
    "with_prior",
]

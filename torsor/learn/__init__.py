"""Symmetry by training: the one training loop, and the objectives that lean towards a symmetry."""

from torsor.learn._checkpoint import CheckpointError
from torsor.learn._evaluate import evaluate
from torsor.learn._fit import FitResult, fit
from torsor.learn._loggers import CSVLogger, Logger, TensorBoardLogger
from torsor.learn._objective import Objective, Step, augmented, cross_entropy, mse, predict, square_error
from torsor.learn._training import DivergedError

__all__ = [
    "CSVLogger",
    "CheckpointError",
    "DivergedError",
    "FitResult",
    "Logger",
    "Objective",
    "Step",
    "TensorBoardLogger",
    "augmented",
    "cross_entropy",
    "evaluate",
    "fit",
    "mse",
    "predict",
    "square_error",
]

"""The main job: which way of handling symmetry is best for a data set, with the evidence on one page.

A study is a question, the trials that answer it, and the claims that are tested on the way. `Comparison` is the usual
one: a data set, treatments and seeds. Any other experiment is a `Study` with trials of its own.
"""

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import (
    SCALES,
    Record,
    SkippedError,
    Study,
    Trial,
    Workspace,
    done,
    mean,
    means,
    names,
    values,
)
from torsor.study._runner import Display, StudyResult, run_study
from torsor.study._treatment import Treatment, known_treatments, treatment

__all__ = [
    "SCALES",
    "Answer",
    "Claim",
    "Column",
    "Display",
    "Figure",
    "Record",
    "SkippedError",
    "Study",
    "StudyResult",
    "Table",
    "Treatment",
    "Trial",
    "Workspace",
    "done",
    "known_treatments",
    "mean",
    "means",
    "names",
    "run_study",
    "treatment",
    "values",
]

"""The main job: which way of handling symmetry is best for a data set, with the evidence on one page.

A study is a question, the trials that answer it, and the claims that are tested on the way. `Comparison` is the usual
one: a data set, treatments and seeds. Any other experiment is a `Study` with trials of its own.
"""

from torsor.study._claim import Claim
from torsor.study._comparison import Arm, Comparison, Plan
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._library import builtin_names, builtin_study, find_study
from torsor.study._papers import Paper, papers
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
from torsor.study._treatment import Treatment, check_options, known_treatments, objective_of, treatment

__all__ = [
    "SCALES",
    "Answer",
    "Arm",
    "Claim",
    "Column",
    "Comparison",
    "Display",
    "Figure",
    "Paper",
    "Plan",
    "Record",
    "SkippedError",
    "Study",
    "StudyResult",
    "Table",
    "Treatment",
    "Trial",
    "Workspace",
    "builtin_names",
    "builtin_study",
    "check_options",
    "done",
    "find_study",
    "known_treatments",
    "mean",
    "means",
    "names",
    "objective_of",
    "papers",
    "run_study",
    "treatment",
    "values",
]

"""The fifteen research systems that torsor brings together, and how far each one is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torsor.study._claim import Claim
from torsor.study._library import builtin_names, builtin_study, recorded

State = Literal["complete", "partial", "none"]


@dataclass(frozen=True)
class Paper:
    """A paper and its home in torsor.

    Arguments:
        paper: its number, from 1 to 15.
        title, authors, year, arxiv: of the paper; the year of the publication that `arxiv` or the title names.
        module: where it lives, or will live.
        state: "complete", "partial" or "none".
        works: what works today, or is still to come.
    """

    paper: int
    title: str
    authors: str
    year: int
    arxiv: str
    module: str
    state: State
    works: str

    @property
    def by(self) -> str:
        """The authors as a citation has them: "Puny et al."."""
        first, *others = self.authors.split(", ")
        return first if not others else f"{first} and {others[0]}" if len(others) == 1 else f"{first} et al."

    @property
    def studies(self) -> list[str]:
        """The builtin studies that test its claims."""
        return [name for name in builtin_names() if builtin_study(name).paper == self.paper]

    def claims(self, results: Path) -> list[Claim]:
        """The ledger of its studies, with what a run at desk scale has left in a results folder."""
        found = []
        for name in self.studies:
            study = builtin_study(name)
            found += study.claims(recorded(study, "desk", results / name), "desk")
        return found

    def to_json(self, results: Path) -> dict[str, Any]:
        """The object that `torsor papers --json` prints."""
        return {
            "paper": self.paper,
            "title": self.title,
            "authors": self.authors,
            "year": self.year,
            "arxiv": self.arxiv,
            "module": self.module,
            "studies": self.studies,
            "state": self.state,
            "claims": [claim.to_json() for claim in self.claims(results)],
        }


PAPERS = (
    Paper(
        1,
        "Frame Averaging for Invariant and Equivariant Network Design",
        "Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman",
        2022,
        "2110.03336",
        "torsor.build.frames",
        "complete",
        "frames of every group that has one, robust, learned and minimal ones; graphs, normals, n-body",
    ),
    Paper(
        2,
        "Lie Group Decompositions for Equivariant Neural Networks",
        "Mironenco, Forré",
        2024,
        "2310.11366",
        "torsor.groups",
        "complete",
        "groups, measures, charts, convolutions, orbit pooling, poses, invariants; two studies in part on one seed",
    ),
    Paper(
        3,
        "Revisiting Transformation Invariant Geometric Deep Learning: Are Initial Representations All You Need?",
        "Zhang, Wang, Zhang, Cui, Zhu",
        2021,
        "2112.12345",
        "torsor.build.distances",
        "none",
        "to come",
    ),
    Paper(
        4,
        "Regularizing Towards Soft Equivariance Under Mixed Symmetries",
        "Kim, Lee, Yang, Lee",
        2023,
        "2306.00356",
        "torsor.learn",
        "complete",
        "penalties, strengths, networks, discovery without candidates; by evidence as good as the right constraint",
    ),
    Paper(
        5,
        "Automatic Data Augmentation via Invariance-Constrained Learning",
        "Hounie, Chamon, Ribeiro",
        2023,
        "2209.15031",
        "torsor.learn",
        "none",
        "to come",
    ),
    Paper(
        6,
        "EqMotion: Equivariant Multi-Agent Motion Prediction with Invariant Interaction Reasoning",
        "Xu, Tan, Tan, Chen, Wang, Wang, Wang",
        2023,
        "2303.10876",
        "torsor.build.motion",
        "none",
        "to come",
    ),
    Paper(
        7,
        "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt Tensor Products",
        "Luo, Chen, Krishnapriyan",
        2024,
        "2401.10216",
        "torsor.build.so3",
        "complete",
        "products, exact ones compiled, accelerate, convolutions, many-body bases, potentials; Triton not run on a GPU",
    ),
    Paper(
        8,
        "Approximately Piecewise E(3) Equivariant Point Networks",
        "Atzmon, Huang, Williams, Litany",
        2024,
        "2402.08529",
        "torsor.build.piecewise",
        "none",
        "to come",
    ),
    Paper(
        9,
        "Self-supervised learning of Split Invariant Equivariant representations",
        "Garrido, Najman, LeCun",
        2023,
        "2302.10283",
        "torsor.learn.ssl",
        "none",
        "to come",
    ),
    Paper(
        10,
        "Understanding the Role of Invariance in Transfer Learning",
        "Speicher, Nanda, Gummadi",
        2024,
        "2407.04325",
        "torsor.audit",
        "none",
        "to come",
    ),
    Paper(
        11,
        "PAC Generalization via Invariant Representations",
        "Parulekar, Shanmugam, Shakkottai",
        2023,
        "2205.15196",
        "torsor.find",
        "none",
        "to come",
    ),
    Paper(
        12,
        "On gauge freedom, conservativity and intrinsic dimensionality estimation in diffusion models",
        "Horvat, Pfister",
        2024,
        "2402.03845",
        "torsor.diffusion",
        "none",
        "to come",
    ),
    Paper(
        13,
        "How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing: "
        "The Curses of Symmetry and Initialization",
        "Xiong, Ding, Du",
        2024,
        "2310.01769",
        "torsor.lowrank",
        "none",
        "to come",
    ),
    Paper(
        14,
        "The Slepian model based independent interval approximation of persistency "
        "and zero-level exceedance distributions",
        "Bengtsson, Podgórski",
        2024,
        "2401.01805",
        "torsor.persistence",
        "complete",
        "excursion laws, exponents, certificates at any level, in time or steps; simulation; tests of runs; orbits",
    ),
    Paper(
        15,
        "Symmetries and Asymptotically Flat Space",
        "Schöller",
        2020,
        "2003.07243",
        "torsor.noether",
        "none",
        "to come",
    ),
)


def papers() -> tuple[Paper, ...]:
    """The fifteen research systems, in the order of their numbers.

    >>> from torsor.study import papers
    >>> [paper.year for paper in papers()][:2]
    [2022, 2024]
    """
    return PAPERS

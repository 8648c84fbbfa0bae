"""What a paper says, and what came out here."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """One line of the ledger of a study.

    Arguments:
        text: the claim, in one sentence.
        source: where it stands: paper, table and row, or "torsor" for a bar of our own.
        paper_value: the number there; None where the source gives none.
        measured: the number of this run; None where it was not measured.
        bar: what the number must satisfy, in words: "<= 0.70".
        holds: whether it does; None where it was not tested.
        scale: the scale of the measurement, or the scale that could make it.

    >>> from torsor.study import Claim
    >>> Claim("Averaging is exact", "Puny et al. 2022, Theorem 1", None, 3e-16, "<= 1e-12", True, "desk").verdict
    'holds'
    >>> Claim("FA-GNN reaches the table", "Puny et al. 2022, Table 3", 0.0057, None, "<= 0.0063", None, "paper").verdict
    'not tested'
    """

    text: str
    source: str
    paper_value: int | float | str | None
    measured: int | float | str | None
    bar: str
    holds: bool | None
    scale: str

    @property
    def verdict(self) -> str:
        """The verdict in words: "holds", "does not hold" or "not tested"."""
        return {True: "holds", False: "does not hold", None: "not tested"}[self.holds]

    def to_json(self) -> dict[str, Any]:
        """The seven fields, as `torsor study --json` and `torsor papers --json` print them."""
        return asdict(self)

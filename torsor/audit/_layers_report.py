"""What an audit found layer by layer."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torsor.audit._report import Report


@dataclass(frozen=True)
class LayerError:
    """One call of one submodule.

    Arguments:
        layer: its name; a second call in the same pass is `name (2)`.
        kind: its class.
        law: how its features transform: the law that was named, or the best of those that were tried.
        error: mean relative error of its features under that law; None where no law fits their shape.
        input_error: the same for what goes into it, each tensor under its own best law.
        change: by how much the features differ at all; 0 where they are invariant.
        derivative: the largest relative Lie derivative of the features minus their law.
        direction: the generator with that derivative.
        floor: what the round trip `g^-1 g` changes.
        verdict: "kept" to rounding; "breaks" where only what goes in is kept; "inherits" an error; "not compared".
    """

    layer: str
    kind: str
    law: str | None
    error: float | None
    input_error: float | None
    change: float | None
    derivative: float | None
    direction: str | None
    floor: float | None
    verdict: Literal["kept", "breaks", "inherits", "not compared"]


@dataclass(frozen=True, eq=False)
class LayersReport(Report):
    """What each layer does to a symmetry.

    Arguments:
        group: the group, by name.
        layers: one row for each call of a submodule, in order.
        first: the first layer that breaks the symmetry; None where the output holds, or no single layer is to blame.
        holds: whether the output holds to rounding.
        inputs: how many inputs there were.
    """

    group: str
    layers: tuple[LayerError, ...]
    first: str | None
    holds: bool
    inputs: int

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name of the report."""
        return f"Layers under {self.group}"

    @property
    def words(self) -> str:  # type: ignore[override]
        """What the layers say, in sentences."""
        if self.holds:
            return "The output holds, so no layer breaks the symmetry for good."
        row = next((row for row in self.layers if row.layer == self.first), None)
        if row is not None and row.error is not None:
            return (
                f"{row.layer} ({row.kind}) is the first layer that breaks the symmetry: what goes into it follows a"
                f" law, and what comes out follows none that was tried (best {row.law}: error {row.error:.2g})."
            )
        late = next((row for row in self.layers if row.verdict == "inherits"), None)
        if late is not None:
            return (
                f"What goes into {late.layer} ({late.kind}) already breaks the symmetry, and no layer before it does:"
                " look at the step before it."
            )
        return "Every layer that can be compared keeps a law, and the output does not: look at what follows the layers."

    def records(self) -> list[dict[str, Any]]:
        """One row for each call of a submodule."""
        return [asdict(row) for row in self.layers] or [{"layer": "-"}]

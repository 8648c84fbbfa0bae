"""What frames do where principal axes are undetermined: along a path of point sets through a cube.

Sources: Puny et al. 2022 (arXiv 2110.03336), section 3.1; Dym, Lawrence, Siegel 2024 (arXiv 2402.16077).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, Study, Trial, Workspace, done, mean

if TYPE_CHECKING:
    from torch import Tensor

    from torsor.build import FrameAveraging

FRAMES = {
    "principal axes": {"on_degenerate": "ignore"},
    "one canonical frame": {"on_degenerate": "ignore", "signs": "skew"},
    "soft signs": {"on_degenerate": "ignore", "signs": "soft"},
    "drawn within blocks": {"on_degenerate": "sample"},
    "principal axes, robust at degeneracies": {"on_degenerate": "robust"},
    "robust": None,
}
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_PLACES = (-1.0, -0.3, -0.1, -0.03, -0.01, -1e-3, 0.0, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
_EXACT, _STEADY = 1e-12, 3
_DYM = "Dym et al. 2024 (arXiv 2402.16077)"


class Degeneracy(Study):
    """Point sets `cube + s (noise)`, `s` from -1 to 1, seen by a network averaged over each kind of frame."""

    name = "degeneracy"
    question = "Where principal axes are undetermined: which frames stay exact, and which stay continuous?"
    paper = 1

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        elements = {"smoke": 4, "desk": 50, "paper": 400}[scale]
        chosen = {"smoke": (0,), "desk": (0, 1, 2), "paper": tuple(range(10))}[scale] if seeds is None else seeds
        return [Trial(self.name, frame, seed, {"elements": elements}) for frame in FRAMES for seed in chosen]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        import torch

        torch.manual_seed(trial.seed)
        model, cube, noise = _model(trial.name), _cube(), torch.randn(8, 3, dtype=torch.float64)
        errors = [_error(model, cube + s * noise, trial.config["elements"]) for s in _PLACES]
        quotients = [_quotient(model, cube, step) for step in _STEPS]
        return {
            "error": errors[_PLACES.index(0.0)],
            "error_apart": max(error for s, error in zip(_PLACES, errors, strict=True) if abs(s) >= 0.1),
            "error_along": errors,
            "quotients": quotients,
            "spread": max(quotients) / min(quotients),
        }

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (
            Column("name", "frame"),
            Column("error", "error at the cube"),
            Column("error_apart", "largest error far from it"),
            Column("spread", "spread of the quotient"),
        )
        rows = [{"name": n} | {c.key: mean(records, n, c.key) for c in columns[1:]} for n in FRAMES]
        return [
            Table(
                "Equivariance error, and largest over smallest Lipschitz quotient, 1e-7 to 1e-3", columns, tuple(rows)
            )
        ]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        along, steep = [], []
        for name in FRAMES:
            found = done(records, name)
            if not found:
                continue
            line = {"type": "scatter", "mode": "lines+markers", "name": name}
            floor = 1e-17  # so that an error of nothing can be drawn
            errors = [max(floor, *(r.metrics["error_along"][i] for r in found)) for i in range(len(_PLACES))]
            slopes = [max(r.metrics["quotients"][i] for r in found) for i in range(len(_STEPS))]
            along.append(line | {"x": list(_PLACES), "y": errors})
            steep.append(line | {"x": list(_STEPS), "y": slopes})
        return [
            Figure(
                "Equivariance error on the way through a cube",
                "Principal axes lose exactness at the cube alone (s = 0); robust frames lose it nowhere.",
                along,
                {
                    "xaxis": {"title": {"text": "s: cube + s noise"}},
                    "yaxis": _log("largest relative error") | {"dtick": 3},
                },
            ),
            Figure(
                "Jumps at the cube",
                "The change between two neighbours of the cube over their distance: constant where the average is"
                " continuous, growing without bound where it jumps.",
                steep,
                {"xaxis": _log("distance from the cube"), "yaxis": _log("change over distance")},
            ),
        ]

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        def found(name: str, key: str) -> list[float]:
            return [float(r.metrics[key]) for r in done(records, name)]

        def claim(text: str, source: str, numbers: list[float], most: float | None, least: float | None) -> Claim:
            measured = None if not numbers else max(numbers) if least is None else min(numbers)
            holds = None if measured is None else measured <= most if least is None else measured >= least  # type: ignore[operator]
            bar = f">= {least:g} (smallest)" if least is not None else f"<= {most:g} (largest)"
            return Claim(text, source, None, measured, bar, holds, scale)

        paper = "Puny et al. 2022 (arXiv 2110.03336)"
        return [
            claim("Away from repeated eigenvalues averages over principal axes are exactly equivariant.",
                  f"{paper}, Theorem 1", found("principal axes", "error_apart"), _EXACT, None),
            claim("At repeated eigenvalues principal axes are no frame: exactness is lost on a cube.",
                  "torsor", found("principal axes", "error"), None, 1e-3),
            claim("Robust frames are exact on the cube too, and so is the fallback to them.", "torsor",
                  found("robust", "error") + found("principal axes, robust at degeneracies", "error"), _EXACT, None),
            claim("An unweighted frame makes a continuous network jump.", _DYM,
                  found("principal axes", "spread"), None, 100),
            claim("A weighted frame keeps it continuous: the quotient stays the same from 1e-3 to 1e-7.", _DYM,
                  found("robust", "spread"), _STEADY, None),
        ]  # fmt: skip

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        rows = {name: done(records, name) for name in FRAMES}
        exact = [n for n, found in rows.items() if found and max(r.metrics["error"] for r in found) <= _EXACT]
        smooth = [n for n, found in rows.items() if found and max(r.metrics["spread"] for r in found) <= _STEADY]
        both = [name for name in exact if name in smooth]
        return Answer(
            f"Exact and continuous on every input: {', '.join(both) or 'none'}.",
            (
                f"Exact at the cube: {', '.join(exact) or 'none'}.",
                f"Without a jump there: {', '.join(smooth) or 'none'}.",
            ),
            both[0] if both else None,
        )


study = Degeneracy()


def _log(title: str) -> dict[str, Any]:
    return {"type": "log", "exponentformat": "power", "dtick": 1, "title": {"text": title}}


def _model(frame: str) -> "FrameAveraging":
    import torch

    from torsor import E, Point, Symmetry
    from torsor.build import FrameAveraging
    from torsor.build.frames import PCAFrame, RobustFrame

    a, b = torch.randn(3, 16, dtype=torch.float64), torch.randn(16, 3, dtype=torch.float64)

    def net(x: "Tensor") -> "Tensor":
        h = (x @ a).tanh()
        return (h + h.square().mean(1, keepdim=True)) @ b

    options: Mapping[str, Any] | None = FRAMES[frame]
    return FrameAveraging(
        net, Symmetry(E(3), Point(), Point()), RobustFrame() if options is None else PCAFrame(**options)
    )


def _cube() -> "Tensor":
    import torch

    return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)


def _error(model: "FrameAveraging", x: "Tensor", elements: int) -> float:
    """The largest relative equivariance error over random elements of E(3)."""
    sym, x = model.symmetry, x.expand(elements, -1, -1)
    g = sym.sample((x,))
    moved, expected = model(*sym.act(g, (x,))), sym.act_output(g, model(x), (x,))
    centre = expected.mean(1, keepdim=True)
    return float(((moved - expected).flatten(1).norm(dim=1) / (expected - centre).flatten(1).norm(dim=1)).max())


def _quotient(model: "FrameAveraging", x: "Tensor", step: float, pairs: int = 16) -> float:
    """The largest change of the output between two neighbours of a point set at this distance, over the distance."""
    import torch

    generator = torch.Generator().manual_seed(0)
    d = torch.randn(2, pairs, *x.shape, generator=generator, dtype=x.dtype)
    d = d / d.flatten(2).norm(dim=2)[..., None, None]
    one, other = model(x + step * d[0]), model(x + step * d[1])
    return float((one - other).flatten(1).norm(dim=1).max() / step)

"""Symmetries found without a list of candidates: on a law, on data, and where they are broken.

Sources: Otto et al. 2023 (arXiv 2311.00212); Gruver et al. 2023 (arXiv 2210.02984) for a given generator.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torsor.study._claim import Claim
from torsor.study._exhibits import Answer, Column, Figure, Table
from torsor.study._protocol import Record, Study, Trial, Workspace, done, values

if TYPE_CHECKING:
    from torch import Tensor

ALPHAS = (0.0, 0.01, 0.1, 0.3, -1.0)
"""How much of the law of inertia is broken."""
LEVELS = {0.01: 0.0022, 0.1: 0.0212, 0.3: 0.0575, -1.0: 0.363}
"""The levels of the two rotations that are lost, as other samples of 64 points have given them."""
LAW, DATA, FIELD = "law, alpha {0:g}", "data, alpha {0:g}", "a force field about an axis"
_POINTS, _BAR = 64, 0.15


class Discover(Study):
    """`find.lie_algebra` on moments of inertia with more and more of the symmetry broken, and on data."""

    name = "discover"
    question = "Which symmetries does a law have, if nobody says which to look for; and how far are they broken?"
    paper = 4

    def trials(self, scale: str, seeds: Sequence[int] | None = None) -> list[Trial]:
        number = {"smoke": 1, "desk": 5, "paper": 20}[scale]
        samples, epochs = {"smoke": (200, 20), "desk": (2000, 200), "paper": (20_000, 300)}[scale]
        chosen = tuple(range(number)) if seeds is None else seeds
        laws = [Trial(self.name, LAW.format(a), s, {"alpha": a, "points": _POINTS}) for a in ALPHAS for s in chosen]
        data = [
            Trial(self.name, DATA.format(a), s, {"alpha": a, "samples": samples, "epochs": epochs})
            for a in (0.0, -1.0)
            for s in chosen[: 1 if scale != "paper" else None]
        ]
        return [*laws, *data, *(Trial(self.name, FIELD, s, {"field": True}) for s in chosen[:1])]

    def run(self, trial: Trial, space: Workspace) -> dict[str, Any]:
        if "samples" in trial.config:
            found = _from_data(trial.config, trial.seed)
        elif "field" in trial.config:
            found = _of_a_field(trial.seed)
        else:
            found = _of_the_law(trial.config, trial.seed)
        return {
            "levels": found.levels.tolist(),
            "dim": found.dim,
            "approximate": found.approximate,
            "name": found.name,
            "together": found.approximate_name,
            "floor": found.floor,
            "r2": found.r2,
            "candidates": [[b.group, b.level, b.error] for b in found.breaking],
            "words": found.words,
        }

    def tables(self, records: Sequence[Record], scale: str) -> list[Table]:
        columns = (
            Column("name", "what was looked at"),
            Column("found", "exact"),
            Column("together", "with approximate ones"),
            *(Column(f"level{i}", f"level {i + 1}", digits=2) for i in range(6)),
            Column("floor", "floor", digits=2),
            Column("r2", "held-out R²"),
        )
        rows = []
        for name in dict.fromkeys(r.trial.name for r in records):
            for r in done(records, name)[:1]:
                m = r.metrics
                levels = {f"level{i}": x for i, x in enumerate(m["levels"][:6])}
                row = {"name": name, "found": m["name"], "together": m["together"] if m["approximate"] else "-"}
                rows.append(row | levels | {"floor": m["floor"], "r2": m["r2"]})
        caption = (
            "The first seed of each. A level is the change of f(g x) against g f(x) per unit of the generator, over the"
            " size of f: 0 is an exact symmetry. Nothing but the dimension of space was given."
        )
        return [Table(caption, columns, tuple(rows))]

    def figures(self, records: Sequence[Record], scale: str) -> list[Figure]:
        traces = []
        for name in [LAW.format(a) for a in ALPHAS]:
            for record in done(records, name)[:1]:
                levels = [max(x, 1e-17) for x in record.metrics["levels"]]  # so that nothing can be drawn
                trace = {"type": "scatter", "mode": "lines+markers", "name": name}
                traces.append(trace | {"x": list(range(1, len(levels) + 1)), "y": levels})
        layout = {
            "xaxis": {"title": {"text": "generator, from the best kept to the worst"}, "dtick": 1},
            "yaxis": {"type": "log", "exponentformat": "power", "title": {"text": "level"}, "dtick": 3},
        }
        words = (
            "All nine generators of matrices of space. Four vanish where nothing is broken: three rotations, and a"
            " scaling of lengths that nobody asked for. Two of them rise with what is broken."
        )
        return [Figure("The spectrum of a law", words, traces, layout)] if traces else []

    def claims(self, records: Sequence[Record], scale: str) -> list[Claim]:
        whole = done(records, LAW.format(0.0))
        exact = [max(r.metrics["levels"][:4]) for r in whole]
        apart = [r.metrics["levels"][4] for r in whole]
        names = {r.metrics["name"] for r in whole}
        claims = [
            Claim("Rotations, and a scaling that nobody listed, are found on the law of inertia.", "torsor", None,
                  ", ".join(sorted(names)) or None, "so(3) + scaling", names == {"so(3) + scaling"} if whole else None,
                  scale),
            Claim("Their levels vanish and all others are large.", "torsor", None,
                  f"{max(exact):.1e} and {min(apart):.2f}" if whole else None, "<= 1e-14 and >= 1.3",
                  max(exact) <= 1e-14 and min(apart) >= 1.3 if whole else None, scale),
        ]  # fmt: skip
        claims += [_level_claim(records, alpha, scale) for alpha in LEVELS]
        return [*claims, *_data_claims(records, scale)]

    def answer(self, records: Sequence[Record], scale: str) -> Answer:
        found = done(records, LAW.format(0.0))
        if not found:
            return Answer("Nothing was found yet: no trial ended.")
        reasons = []
        for name in (LAW.format(-1.0), DATA.format(0.0), DATA.format(-1.0), FIELD):
            reasons += [f"{name}: {r.metrics['words']}" for r in done(records, name)[:1]]
        headline = f"The law of inertia has {found[0].metrics['name']}, found by one singular value decomposition."
        return Answer(headline, tuple(reasons))


study = Discover()


def _level_claim(records: Sequence[Record], alpha: float, scale: str) -> Claim:
    found = done(records, LAW.format(alpha))
    levels = [level for r in found for level in r.metrics["levels"][2:4]]
    mean = sum(levels) / len(levels) if levels else None
    two = all(r.metrics["dim"] == 2 for r in found)
    return Claim(
        f"Of a law broken by alpha = {alpha:g} two symmetries remain, and the level of the breaking is read off.",
        "torsor: two other samples of points",
        LEVELS[alpha],
        mean,
        f"{LEVELS[alpha]:g} +- {100 * _BAR:g} %",
        None if mean is None else two and abs(mean / LEVELS[alpha] - 1) <= _BAR,
        scale,
    )


def _data_claims(records: Sequence[Record], scale: str) -> list[Claim]:
    kept, broken = done(records, DATA.format(0.0)), done(records, DATA.format(-1.0))
    tested = scale != "smoke"
    inside = [all(level <= r.metrics["floor"] for _, level, _ in r.metrics["candidates"][:1]) for r in kept]
    order = [r.metrics["candidates"][1][1] < 0.5 * r.metrics["candidates"][2][1] for r in broken]
    floors = values(records, DATA.format(0.0), "floor")
    return [
        Claim("From data alone, a network standing in: O(3) cannot be told from an exact symmetry.", "torsor", None,
              None if not kept else f"level {kept[0].metrics['candidates'][0][1]:.2g}, floor {floors[0]:.2g}",
              "level <= floor", all(inside) if inside and tested else None, scale),
        Claim("From data alone, where it is broken: O(2) about the axis is kept better than about another.", "torsor",
              None, None if not broken else " and ".join(f"{x[1]:.2g}" for x in broken[0].metrics["candidates"][1:3]),
              "level ratio < 0.5", all(order) if order and tested else None, scale),
    ]  # fmt: skip


def _points(n: int, seed: int) -> "Tensor":
    import torch

    generator = torch.Generator().manual_seed(seed)
    mass = torch.nn.functional.softplus(torch.randn(n, 5, generator=generator, dtype=torch.float64))
    return torch.cat([mass, torch.randn(n, 15, generator=generator, dtype=torch.float64)], 1)


def _of_the_law(config: Mapping[str, Any], seed: int) -> Any:
    from torsor import find
    from torsor.actions import Scalar, T, V
    from torsor.data import inertia_law
    from torsor.groups import O, embed

    axes = [embed(O(2), axes, 3) for axes in ((0, 1), (1, 2))]
    X = _points(config["points"], seed)
    reps = (5 * Scalar() + 5 * V, T(2))
    return find.lie_algebra(inertia_law(5, config["alpha"]), X, *reps, d=3, candidates=[O(3), *axes])


def _from_data(config: Mapping[str, Any], seed: int) -> Any:
    from torsor import find
    from torsor.actions import Scalar, Tensor, Vector
    from torsor.data import inertia_law
    from torsor.groups import O, embed

    X = _points(config["samples"], seed).float()
    # two masses and two positions, so that a small network learns the law
    m, r = X[:, :2], X[:, 5:11].unflatten(1, (2, 3))
    Y = inertia_law(2, config["alpha"])(X[:, [0, 1, *range(5, 11)]]).unflatten(1, (3, 3))
    axes = [embed(O(2), axes, 3) for axes in ((0, 1), (1, 2))]
    actions = ((Scalar(), Vector(per="node")), Tensor(2))
    how = {"seed": seed, "samples": 2, "epochs": config["epochs"]}
    return find.symmetries(((m, r), Y), None, *actions, candidates=[O(3), *axes], **how)


def _of_a_field(seed: int) -> Any:
    """Two charges in a field along z: rotations about z and translations, of which one is lost to the field."""
    import torch

    from torsor import find
    from torsor.actions import Point, Vector
    from torsor.groups import SO, embed

    def force(x: "Tensor") -> "Tensor":
        away = x[:, 1] - x[:, 0]
        pull = away / away.square().sum(1, keepdim=True).pow(1.5)
        lift = torch.zeros_like(pull)
        lift[:, 2] = 0.3
        return torch.stack([pull + lift, lift - pull], 1)

    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(64, 2, 3, generator=generator, dtype=torch.float64)
    actions = (Point(per="node"), Vector(per="node"))
    return find.symmetries(force, x, *actions, candidates=[SO(3), embed(SO(2), (0, 1), 3)], seed=seed)

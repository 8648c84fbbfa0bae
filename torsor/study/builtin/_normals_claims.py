"""What the study of normals holds the paper, and torsor, to."""

from collections.abc import Sequence

from torsor.study._claim import Claim
from torsor.study._protocol import Record, mean, values

PLANE_FIT = "plane fit"
LOCAL, LOCAL_STOCHASTIC, LOCAL_VECTORS = "local frames", "local frames, stochastic", "local frames, mean of vectors"
_PAPER = "Puny et al. 2022 (arXiv 2110.03336), Table 1"
_TABLE = {  # 1 - cos^2, on clouds as they are and on rotated ones, trained on clouds as they are
    "PointNet": (0.207, 0.449),
    "FA-PointNet": (0.158, 0.163),
    "FA-Local-PointNet": (0.097, 0.098),
    "DGCNN": (0.070, 0.193),
    "FA-DGCNN": (0.067, 0.069),
}
_AVERAGED = ("FA-PointNet", "FA-Local-PointNet", "FA-DGCNN")
_UPRIGHT, _ROTATED, _OTHER = "test_error", "transformed_error", "error_other_mean"


def claims(records: Sequence[Record], scale: str) -> list[Claim]:
    """The ledger; ratios are of mean errors."""

    def ratio(
        text: str,
        above: tuple[str, str],
        below: tuple[str, str],
        most: float | None = None,
        least: float | None = None,
        source: str = "torsor",
        paper: float | None = None,
    ) -> Claim:
        over, under = mean(records, *above), mean(records, *below)
        measured = over / under if over is not None and under else None
        bar = f"error ratio <= {most:.2f}" if most is not None else f"error ratio >= {least:.2f}"
        if measured is None or scale == "smoke":
            return Claim(text, source, paper, measured, bar, None, scale)
        holds = (most is None or measured <= most) and (least is None or measured >= least)
        return Claim(text, source, paper, measured, bar, holds, scale)

    def beaten(name: str) -> Claim:
        (_, theirs), (_, plain) = _TABLE[f"FA-{name}"], _TABLE[name]
        text = f"On rotated clouds FA-{name} beats {name}, which saw none."
        source = f"{_PAPER}: {theirs} / {plain}"
        return ratio(text, (f"FA-{name}", _ROTATED), (name, _ROTATED), 0.90, source=source, paper=theirs / plain)

    gap = _largest_gap(records)
    return [
        Claim(
            "Averaged over frames, the error is the same on rotated clouds as on upright ones.",
            f"{_PAPER}: FA-Local-PointNet .097 and .098",
            0.001,
            gap,
            "difference <= 1e-3 (largest)",
            None if gap is None else gap <= 1e-3,
            scale,
        ),
        ratio(
            "Averaging over the frames of each neighbourhood beats the plane fit, which learns nothing.",
            (LOCAL, _ROTATED),
            (PLANE_FIT, _ROTATED),
            0.80,
        ),
        ratio(
            "So does training on one random frame of each neighbourhood.",
            (LOCAL_STOCHASTIC, _ROTATED),
            (PLANE_FIT, _ROTATED),
            1.0,
        ),
        ratio(
            "On rotated clouds local frames beat augmentation at equal epochs.",
            (LOCAL, _ROTATED),
            ("augmented", _ROTATED),
            0.80,
        ),
        ratio(
            "A plain network that was trained on upright clouds loses on rotated ones.",
            ("plain", _ROTATED),
            ("plain", _UPRIGHT),
            least=1.4,
            source=f"{_PAPER}: PointNet .449 / .207",
            paper=0.449 / 0.207,
        ),
        ratio(
            "Trained on single frames, lines must be averaged as lines: the mean of vectors cancels.",
            (LOCAL_STOCHASTIC, _OTHER),
            (LOCAL_STOCHASTIC, _UPRIGHT),
            least=1.5,
        ),
        ratio(
            "Trained with the mean of vectors, the mean of lines is no longer its equal.",
            (LOCAL_VECTORS, _OTHER),
            (LOCAL_VECTORS, _UPRIGHT),
            least=1.2,
        ),
        beaten("PointNet"),
        beaten("DGCNN"),
        *(_of_the_table(name, records, scale) for name in _AVERAGED),
    ]


def _largest_gap(records: Sequence[Record]) -> float | None:
    """How far the errors on upright and on rotated clouds are apart, in any trial whose frames are exact."""
    gaps = [
        abs(a - b)
        for name in (LOCAL, LOCAL_STOCHASTIC, LOCAL_VECTORS, *_AVERAGED)
        for a, b in zip(values(records, name, _UPRIGHT), values(records, name, _ROTATED), strict=True)
    ]
    return max(gaps) if gaps else None


def _of_the_table(name: str, records: Sequence[Record], scale: str) -> Claim:
    """A row of the paper: only the paper's shapes and its training can test it."""
    upright, rotated = _TABLE[name]
    theirs = [record for record in records if record.trial.config["data"]["source"] == "abc"]
    measured = mean(theirs, name, _ROTATED) if scale == "paper" else None
    return Claim(
        f"On the shapes of ABC {name} reaches the error of the paper, on rotated clouds too.",
        f"{_PAPER}: I/I {upright}, I/SO(3) {rotated}",
        rotated,
        measured,
        f"<= {1.1 * rotated:.3f}",
        None if measured is None else measured <= 1.1 * rotated,
        "paper",
    )

"""Whether frames are safe on some data, seen before anything is trained."""

import json

import pytest
import torch

from tests.build.clouds import degenerate_batch
from torsor import E, Lorentz, Point, Scalar, Symmetric, Symmetry, Vector
from torsor.actions import Nodes
from torsor.audit import frame_report
from torsor.build import FrameAveraging
from torsor.build.frames import PCAFrame

SYM = Symmetry(E(3), Point(), Point())


def squashed(gap, samples=64):
    """Clouds whose two largest eigenvalues are `gap` apart, in random poses."""
    x = torch.randn(samples, 12, 3, dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    root = torch.linalg.cholesky(torch.einsum("bni,bnj->bij", x, x) / 12)
    white = torch.linalg.solve_triangular(root, x.mT, upper=False).mT
    shaped = white * torch.tensor([1.0, 1 - gap, 0.25], dtype=torch.float64).sqrt()
    return shaped @ torch.linalg.qr(torch.randn(samples, 3, 3, dtype=torch.float64))[0]


@pytest.mark.parametrize("gap", [0.3, 1e-2, 1e-3])
def test_the_expected_error_is_the_measured_one(gap):
    x = squashed(gap).float()
    report = frame_report(SYM, x)
    assert torch.allclose(report.gap, torch.full_like(report.gap, gap), rtol=0.05)
    a, b = torch.randn(3, 9), torch.randn(9, 3)
    model = FrameAveraging(lambda x: (x @ a).tanh() @ b, SYM)
    g = SYM.sample(x)
    moved, expected = model(*SYM.act(g, (x,))), SYM.act_output(g, model(x), (x,))
    measured = float(((moved - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)).median())
    assert 0.05 < measured / float(report.expected_error.median()) < 20


def test_small_gaps_ambiguity_and_safety_are_told_apart():
    assert "safe" in frame_report(SYM, squashed(0.3)).words
    assert "use float64" in frame_report(SYM, squashed(3e-6), PCAFrame(gap_tol=1e-7)).words
    mixed = torch.cat(
        [degenerate_batch("cube"), degenerate_batch("cube") + torch.randn(degenerate_batch("cube").shape)]
    )
    count = len(degenerate_batch("cube"))
    report = frame_report(SYM, mixed.double())
    assert f"{count} of {2 * count} samples have repeated eigenvalues; the frame is exact there" in report.words
    lost = frame_report(SYM, mixed.double(), PCAFrame(on_degenerate="ignore"))
    assert "exactness is lost there" in lost.words
    assert lost.ambiguous.tolist() == [True] * count + [False] * count
    assert lost.expected_error[0] > 1e-3 > lost.expected_error[-1]


def test_the_report_reads_and_serialises():
    report = frame_report(SYM, squashed(0.3, samples=5))
    assert "Frames of E(3) on 5 samples" in str(report)
    assert json.loads(report.to_json())["records"][0]["median"] == 8
    assert "PCAFrame" in report.to_html()
    assert frame_report(SYM, torch.zeros(0, 4, 3)).words == "There are no samples."


def test_other_groups_have_their_frames_reported():
    momenta = torch.randn(4, 6, 4, dtype=torch.float64) + torch.tensor([5.0, 0, 0, 0], dtype=torch.float64)
    assert frame_report(Symmetry(Lorentz(1, 3), Vector(), Scalar()), momenta).size.tolist() == [4] * 4
    sets = Symmetry(Symmetric(5), Nodes(-2), Scalar())
    assert frame_report(sets, torch.randn(3, 5, 2)).size.tolist() == [1, 1, 1]

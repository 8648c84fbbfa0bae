"""Charts and convolutions on Lie groups, each against the plain way to do the same."""

import torch

from benchmarks._harness import Row, milliseconds
from torsor.build.lie import GroupConv2d, LiftingConv2d, SamplePlan
from torsor.groups import SO, GLPlus
from torsor.groups.linalg import polar_log
from torsor.groups.measure import LogNormalSPD, PolarProposal, Window

MATRICES, BATCH, CHANNELS, ELEMENTS = 20_000, 32, 16, 8


def run() -> list[Row]:
    return [_chart(), *_convolutions()]


@torch.no_grad()
def _chart() -> Row:
    g = GLPlus(2).sample(MATRICES)

    def by_eigenvectors() -> torch.Tensor:
        values, vectors = torch.linalg.eigh(g @ g.mT)
        return vectors @ (values.log() / 2).diag_embed() @ vectors.mT

    ours, plain = milliseconds(lambda: polar_log(g)[0], by_eigenvectors)
    return Row(f"polar_log of {MATRICES} 2 x 2 matrices, closed form", ours, plain, "eigh of g g^T", bar=0.1)


def _convolutions() -> list[Row]:
    plan = SamplePlan(PolarProposal(LogNormalSPD(0.1), Window(SO(2), 0.5)), ELEMENTS).eval()
    images = torch.rand(BATCH, 1, 20, 20)
    lift = LiftingConv2d(plan, 1, CHANNELS, max_stretch=2.0)
    with torch.no_grad():
        feature = lift(images)
    separable = GroupConv2d(CHANNELS, CHANNELS, max_stretch=2.0)
    full = GroupConv2d(CHANNELS, CHANNELS, max_stretch=2.0, separable=False)

    def step(layer: GroupConv2d) -> None:
        layer(feature).values.square().mean().backward()

    def kernels() -> None:
        relative = feature.sample.g_inv.unsqueeze(1) @ feature.sample.g
        separable.mixing(relative).square().mean().backward()
        separable.kernel(separable._points(feature.sample)).square().mean().backward()

    fast, slow, generated = milliseconds(lambda: step(separable), lambda: step(full), kernels, repeats=5, warmup=1)
    size = f"{CHANNELS} channels, {ELEMENTS} elements, 20 x 20 pixels, batch {BATCH}"
    return [
        Row(f"separable group convolution, {size}, step", fast, slow, "the full kernel", bar=0.2),
        Row("the same, making and differentiating the kernel", generated, fast, "the step", bar=0.2),
    ]

"""The sources of the error of a group convolution are told apart."""

import pytest
import torch
from torch import nn

from tests.build.lie.test_pooling import blob
from torsor import audit
from torsor.build.lie import AffineNetSmall, LiftingConv2d, OrbitPool, SamplePlan
from torsor.groups import SO, Cyclic, GLPlus
from torsor.groups.measure import GroupSample, LogNormalSPD, PolarProposal, UniformCompact, Window


class Lifted(nn.Module):
    def __init__(self, plan, **options):
        super().__init__()
        self.lift = LiftingConv2d(plan, 1, 3, kernel=self.kernel, kernel_size=21, **options)

    @staticmethod
    def kernel(u):
        return torch.exp(-(u.square() / torch.tensor([18.0, 2.0])).sum(-1))

    def forward(self, images, sample):
        heights = self.lift(images, sample).values.amax((3, 4))
        return torch.einsum("n,bcn->bc", sample.log_weight.softmax(0), heights)


def test_a_compact_group_has_no_truncation_and_the_estimator_falls_with_the_count():
    plan = SamplePlan(UniformCompact(SO(2)))
    turn = SO(2).exp(torch.tensor([[0.7]]))
    found = audit.error_sources(
        Lifted(plan), plan, blob(), turn, counts=(2, 128), limit=256, generator=torch.Generator().manual_seed(0)
    )
    assert found.estimator[1] < 0.5 * found.estimator[0]
    assert found.pixels < 0.01
    assert found.truncation < 0.02
    assert "sampling" in found.words
    assert len(found.records()) == 2


def test_a_narrow_window_truncates():
    plan = SamplePlan(Window(SO(2), 0.3))
    turn = SO(2).exp(torch.tensor([[0.7]]))
    found = audit.error_sources(Lifted(plan), plan, blob(), turn, counts=(8,), limit=128)
    assert found.truncation > 5 * found.pixels


def test_clipped_kernels_show_as_pixels():
    law = PolarProposal(LogNormalSPD(0.1), Window(SO(2), 0.3))
    plan = SamplePlan(law)
    stretch = GLPlus(2).from_parts(torch.tensor([[[1.3, 0.2], [0.0, 0.8]]]))
    model = Lifted(plan)
    smooth = audit.error_sources(
        model, plan, blob(), stretch, counts=(8,), limit=32, generator=torch.Generator().manual_seed(0)
    )
    model.lift.kernel_size = 5
    model.lift.padding = 2
    model.lift.pixels = LiftingConv2d(plan, 1, 1, kernel=model.kernel, kernel_size=5).pixels
    clipped = audit.error_sources(
        model, plan, blob(), stretch, counts=(8,), limit=32, generator=torch.Generator().manual_seed(0)
    )
    assert clipped.pixels > 3 * smooth.pixels


def test_the_parts_are_told_apart_where_pixels_are_all_of_the_error():
    """On the whole circle nothing is truncated, and many elements leave no noise: what a small window cuts is left."""
    plan = SamplePlan(UniformCompact(SO(2)))
    model = Lifted(plan)
    model.lift.kernel_size, model.lift.padding = 3, 1
    model.lift.pixels = LiftingConv2d(plan, 1, 1, kernel=model.kernel, kernel_size=3).pixels
    generator = torch.Generator().manual_seed(0)
    turn = SO(2).exp(torch.tensor([[0.7]]))
    found = audit.error_sources(model, plan, blob(), turn, counts=(512,), limit=512, generator=generator)
    assert found.estimator[0] < 0.3 * found.pixels
    assert found.truncation < 0.3 * found.pixels


def test_elements_that_move_along_keep_their_weights():
    law = PolarProposal(LogNormalSPD(0.2), Window(SO(2), 0.5))
    turn = SO(2).exp(torch.tensor([[0.5]]))
    found = audit.error_sources(Lifted(SamplePlan(law)), SamplePlan(law), blob(), turn, counts=(4,), limit=16)
    assert found.pixels < 0.02


def test_elements_that_move_out_of_the_window_are_cut_off_and_the_layer_is_left_as_it_was():
    plan = SamplePlan(Window(SO(2), 0.3), 2, resample="never")
    net = AffineNetSmall(plan, 1, 2, channels=(2, 2), max_stretch=1.0, clip="raise")
    stretch = torch.diag(torch.tensor([2.0, 1.0]))[None]
    with pytest.raises(ValueError, match="an element stretches by 2"):
        net(blob(), GroupSample(stretch, stretch.inverse(), torch.zeros(1)))
    found = audit.error_sources(net, plan, blob(), stretch, counts=(2,), limit=4)
    assert found.pixels > 0
    assert net.lift.clip == "raise"


def test_what_does_not_fit_is_told(plain):
    plan = SamplePlan(SO(2))
    model = OrbitPool(nn.Flatten(), plan)
    with pytest.raises(ValueError, match="elements must be one per image, 1; got 2"):
        audit.error_sources(model, plan, blob(), SO(2).sample(2))
    with pytest.raises(ValueError, match="a finite group comes whole"):
        audit.error_sources(model, SamplePlan(Cyclic(4)), blob(), SO(2).sample(1))

"""Pooling, norms, blurs, orbits, and the canonical pose of images."""

import math

import pytest
import torch
from torch import nn

from torsor import Image, Point, Scalar, Symmetry
from torsor.build import FrameAveraging
from torsor.build.backbones import SmallCNN
from torsor.build.lie import (
    AffineNetSmall,
    AffineResNet,
    BlurPool,
    GroupFeature,
    GroupNorm,
    GroupPool,
    LiftingConv2d,
    OrbitPool,
    PolarFrame,
    SamplePlan,
)
from torsor.groups import SE, SO, Affine, Cyclic, GLPlus, Projective2D, Trivial
from torsor.groups.linalg import sqrtm_sym
from torsor.groups.measure import GroupSample, LogNormalSPD, PolarProposal, ProjectiveProposal, Window

f64 = torch.float64


def blob(size=41):
    """A smooth image without any symmetry."""
    t = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(t, t, indexing="ij")
    bumps = [(0.1, 0.2, 0.25, 1.0), (-0.3, 0.1, 0.15, 0.7), (0.25, -0.35, 0.12, 0.9)]
    return sum(a * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s * s)) for u, v, s, a in bumps)[None, None]


@pytest.mark.parametrize("kind", ["max", "mean", "logsumexp"])
def test_pooling_over_a_finite_group_and_space_is_invariant(kind):
    torch.manual_seed(0)
    net = nn.Sequential(LiftingConv2d(Cyclic(4), 1, 6), GroupNorm(6), GroupPool(kind, "both"))
    x = torch.randn(3, 1, 15, 15)
    out = net(x)
    assert out.shape == (3, 6)
    torch.testing.assert_close(net(torch.rot90(x, 1, (-2, -1))), out, atol=1e-5, rtol=1e-4)


def test_a_mean_over_the_group_has_the_weights_of_the_sample():
    law = PolarProposal(LogNormalSPD(0.3), Window(SO(2), 0.5))
    sample = law.sample(5)
    values = torch.randn(2, 3, 5, 4, 4)
    share = sample.log_weight.softmax(0)
    expected = torch.einsum("n,bcnhw->bc", share, values) / 16
    torch.testing.assert_close(GroupPool("mean", "both")(GroupFeature(values, sample)), expected)
    assert GroupPool("mean", "group")(GroupFeature(values, sample)).shape == (2, 3, 4, 4)
    assert GroupPool("max", "space")(GroupFeature(values, sample)).shape == (2, 3, 5)


def test_blurs_keep_constants_and_nearly_commute_with_shifts():
    assert torch.allclose(BlurPool(2)(torch.ones(1, 1, 12, 12))[..., 1:-1, 1:-1], torch.ones(()))
    x = nn.functional.pad(blob(), (4, 4, 4, 4))
    kept = BlurPool(2)(x)[..., 4:-4, 4:-4]
    shifted = BlurPool(2)(x.roll((2, 2), (-2, -1))).roll((-1, -1), (-2, -1))[..., 4:-4, 4:-4]
    torch.testing.assert_close(kept, shifted)
    naive, off = x[..., ::2, ::2], x.roll(1, -1)[..., ::2, ::2]
    leak = (naive.square().sum() - off.square().sum()).abs()
    blurred = (BlurPool(2)(x).square().sum() - BlurPool(2)(x.roll(1, -1)).square().sum()).abs()
    assert blurred <= leak
    assert BlurPool(2, n=3)(torch.ones(1, 1, 6, 6, 6)).shape == (1, 1, 3, 3, 3)


def test_orbit_pooling_is_invariant_to_a_finite_group_and_is_one_call():
    torch.manual_seed(0)
    calls = []

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = SmallCNN(1, 8)

        def forward(self, x):
            calls.append(len(x))
            return self.net(x)

    for reduce in ("max", "mean", "logsumexp"):
        model = OrbitPool(Counting(), Cyclic(4), reduce=reduce, head=nn.Linear(8, 3))
        x = torch.rand(2, 1, 15, 15)
        torch.testing.assert_close(model(torch.rot90(x, 1, (-2, -1))), model(x), atol=1e-5, rtol=1e-4)
    assert calls == [8] * 6


def test_orbits_of_affine_and_projective_elements():
    for group in (SE(2), Affine(2), Projective2D()):
        assert OrbitPool(SmallCNN(1, 8), SamplePlan(group, 3))(torch.rand(2, 1, 15, 15)).shape == (2, 8)


def test_the_pose_of_points_changes_by_the_rotation_of_the_polar_identity():
    torch.manual_seed(0)
    x = torch.randn(6, 30, 2, dtype=f64)
    B, b = GLPlus(2).sample(6, dtype=f64), torch.randn(6, 1, 2, dtype=f64)
    sym = Symmetry(Affine(2), Point(), Scalar())
    frame = PolarFrame()
    before = frame(sym, x).canonicalize(x, Point())[:, 0]
    moved = x @ B.mT + b
    after = frame(sym, moved).canonicalize(moved, Point())[:, 0]
    y = x - x.mean(1, keepdim=True)
    S = y.mT @ y / 30
    Q = torch.linalg.inv(sqrtm_sym(B @ S @ B.mT)) @ B @ sqrtm_sym(S)
    assert (after - before @ Q.mT).abs().max() < 1e-12
    assert (Q @ Q.mT - torch.eye(2)).abs().max() < 1e-12
    scaled = 2.5 * x + b
    assert (frame(sym, scaled).canonicalize(scaled, Point())[:, 0] - before).abs().max() < 1e-12


def test_full_poses_are_an_exact_frame_of_points():
    torch.manual_seed(0)
    x = torch.randn(6, 30, 2, dtype=f64)
    B, b = GLPlus(2).sample(6, dtype=f64), torch.randn(6, 1, 2, dtype=f64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    model = FrameAveraging(net, Symmetry(Affine(2), Point(), Scalar()), PolarFrame(factor="full"))
    assert (model(x @ B.mT + b) - model(x)).abs().max() < 1e-10
    assert model.frames(x).weights.shape == (6, 2)


@pytest.mark.parametrize("factor", ["spd", "full"])
def test_images_of_one_orbit_have_nearly_one_pose(factor):
    x = blob()
    A = torch.tensor([[1.15, 0.2], [0.05, 0.9]])
    g = Affine(2).from_parts(A, torch.tensor([2.0, -1.5]))[None]
    moved = Image()(Affine(2), g, x)
    sym = Symmetry(Affine(2), Image(), Scalar())
    frame = PolarFrame(radius=6.0, factor=factor)
    first, second = (frame(sym, image).canonicalize(image, Image())[:, :, 0] for image in (x, moved))
    unmoved = (moved - x).square().mean()
    if factor == "spd":
        second = best_turn(first, second)
    else:  # the same set of poses, in some order
        first, second = (frame(sym, image).canonicalize(image, Image())[0, :, 0, 0] for image in (x, moved))
        second = torch.stack([min(second, key=lambda z: (z - image).square().sum()) for image in first])
    assert (first - second).square().mean() < 0.02 * unmoved


def best_turn(target, image):
    """The image turned so that it fits best: poses are determined up to a rotation."""
    angles = torch.linspace(-0.6, 0.6, 121)
    turned = [Image()(SO(2), SO(2).exp(a.reshape(1, 1)), image) for a in angles]
    return min(turned, key=lambda z: float((z - target).square().sum()))


def test_images_without_ink_have_a_pose_or_are_refused():
    line = torch.zeros(2, 1, 11, 11)
    line[0, 0, 5, 2:9] = 1
    pose = PolarFrame(radius=2.0).pose(line)
    assert pose.isfinite().all()
    assert torch.allclose(pose[1], torch.diag(torch.tensor([0.5, 0.5, 1.0])))
    with pytest.raises(ValueError, match="sample 0 has no extent in some direction"):
        PolarFrame(on_degenerate="raise").pose(line)


def test_pose_and_orbit_are_one_resampling():
    torch.manual_seed(0)
    x = torch.rand(2, 1, 21, 21)
    plan = SamplePlan(Window(SO(2), 0.5), 3).eval()
    frame = PolarFrame(radius=4.0)
    seen = []
    OrbitPool(lambda z: seen.append(z) or z.flatten(1), plan, frame=frame)(x)
    g = plan().g_inv[1]
    element = Affine(2).compose(Affine(2).from_parts(g), Affine(2).inverse(frame.pose(x)))
    torch.testing.assert_close(seen[0][2:4], Image()(Affine(2), element, x))


def test_a_pose_comes_before_homographies_too():
    """Homographies without perspective are affine maps: after a pose they do what these do."""
    torch.manual_seed(0)
    x = torch.rand(2, 1, 21, 21)
    linear = PolarProposal(LogNormalSPD(0.1), Window(SO(2), 0.5))
    plan = SamplePlan(ProjectiveProposal(linear, 1.0, 1e-6), 3).eval()
    frame, seen = PolarFrame(radius=4.0), []
    OrbitPool(lambda z: seen.append(z) or z.flatten(1), plan, frame=frame)(x)
    h = plan().g_inv[1]
    affine = Affine(2).from_parts(*[part / h[2, 2] for part in (h[:2, :2], h[:2, 2])])
    element = Affine(2).compose(affine, Affine(2).inverse(frame.pose(x)))
    torch.testing.assert_close(seen[0][2:4], Image()(Affine(2), element, x), atol=1e-3, rtol=0)


def test_networks_learn_and_their_states_come_back():
    torch.manual_seed(0)
    images, labels = torch.rand(16, 1, 20, 20), torch.arange(16) % 2
    images[labels == 1, :, 5:15, 5:15] += 1
    law = PolarProposal(LogNormalSPD(0.1), Window(SO(2), 0.3))
    for net, lr in (
        (AffineNetSmall(SamplePlan(law, 3), 1, 2, channels=(4, 4)), 1e-2),
        (AffineNetSmall(Trivial(2), 1, 2, channels=(4, 4), equivariance="fast", separable=False), 1e-2),
        (AffineResNet(SamplePlan(law, 2, resample="never"), 1, 2, channels=8, dropout=0.0), 2e-3),
    ):
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        losses = []
        for _ in range(80):
            loss = nn.functional.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.7 * losses[0]
        state, twin = net.state_dict(), net.eval()
        expected = twin(images)
        torch.manual_seed(1)
        twin.load_state_dict(state)
        torch.testing.assert_close(twin(images), expected)


def test_networks_take_the_elements_of_evaluation_in_turns():
    torch.manual_seed(0)
    x = torch.rand(2, 1, 21, 21)
    net = AffineNetSmall(SamplePlan(Window(SO(2), 0.5), 3, n_eval=6, method="lattice"), 1, 4, channels=(4, 4), stride=2)
    pooled = []
    net.head.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
    net.eval()(x)
    g, weight = net.plan.g.float(), net.plan.log_weight.float() + math.log(2)
    for i in range(2):
        net(x, GroupSample(g[i::2], g[i::2].mT.contiguous(), weight[i::2]))
    torch.testing.assert_close(pooled[0], torch.maximum(pooled[1], pooled[2]))


def test_bad_words_are_refused(plain):
    with pytest.raises(ValueError, match="stride must be 1 or 2; got 3"):
        AffineNetSmall(Trivial(2), 1, 2, stride=3)
    with pytest.raises(ValueError, match='kind must be "max", "mean" or "logsumexp"'):
        GroupPool("median")
    with pytest.raises(ValueError, match='over must be "group", "space" or "both"'):
        GroupPool("max", "all")
    with pytest.raises(ValueError, match="width must be odd"):
        BlurPool(2, width=4)
    with pytest.raises(ValueError, match="values must have 3 channels"):
        GroupNorm(3)(GroupFeature(torch.zeros(1, 2, 1, 4, 4), SamplePlan(Trivial(2))()))
    with pytest.raises(ValueError, match="images must be"):
        OrbitPool(SmallCNN(1, 8), Cyclic(4))(torch.zeros(15, 15))
    with pytest.raises(ValueError, match="a frame takes plans of linear elements"):
        OrbitPool(SmallCNN(1, 8), SE(2), frame=PolarFrame())
    with pytest.raises(ValueError, match="radius must be positive"):
        PolarFrame(radius=0.0)
    with pytest.raises(TypeError, match=r"PolarFrame is for GL, GLPlus and Affine.*; got SO\(2\)"):
        PolarFrame()(Symmetry(SO(2), Image(), Scalar()), torch.zeros(1, 1, 5, 5))

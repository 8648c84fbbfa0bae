"""Frames beyond principal axes: space-time, affine maps, complex rotations, learned ones; soft signs; frames kept."""

import pytest
import torch
from torch import nn

from torsor import (
    SE,
    SO,
    Affine,
    Batch,
    E,
    GLPlus,
    Lorentz,
    Mask,
    O,
    Point,
    PseudoScalar,
    Scalar,
    Sim,
    Symmetry,
    Tensor,
    Vector,
)
from torsor.build import FrameAveraging
from torsor.build.frames import (
    AffineFrame,
    LearnedFrame,
    LorentzFrame,
    PCAFrame,
    UnitaryFrame,
    VectorHead,
    default_frame,
    precompute_frames,
    prior_matching,
)
from torsor.groups import GL, SL, SU, SAffine, U
from torsor.groups.measure import LogNormalSPD, PolarProposal, UniformCompact

f64, c128 = torch.float64, torch.complex128
CUBE = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)], dtype=f64)


def momenta(samples=50, n=6, massless=False, space=3):
    p = torch.randn(samples, n, 1 + space, dtype=f64)
    p[..., 0] = (p[..., 1:].square().sum(-1) + (0 if massless else 1)).sqrt()
    return p


class Net(nn.Module):
    """Nothing about it is symmetric."""

    def __init__(self, d, dtype=f64, points=True):
        super().__init__()
        self.a, self.b = torch.randn(d, 7, dtype=dtype), torch.randn(7, d if points else 1, dtype=dtype)
        self.points = points

    def forward(self, x):
        h = x @ self.a
        h = torch.complex(h.real.tanh(), h.imag.tanh()) if h.is_complex() else h.tanh()
        y = (h + h.square().mean(-2, keepdim=True)) @ self.b
        return y if self.points else y.mean(-2)


def error(model, x, g):
    sym = model.symmetry
    moved, expected = model(*sym.act(g, (x,))), sym.act_output(g, model(x), (x,))
    return float((moved - expected).abs().max().detach() / expected.abs().max().detach())


COMPONENTS = {"full": 16, "proper": 8, "orthochronous": 8, "proper_orthochronous": 4}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("massless", [False, True])
def test_lorentz_frames_are_exact_up_to_rapidity_2(component, massless):
    group = Lorentz(1, 3, component)
    x = momenta(massless=massless)
    model = FrameAveraging(Net(4), Symmetry(group, Vector(), Vector()))
    assert isinstance(model.frame, LorentzFrame)
    v = torch.randn(50, 6, dtype=f64)
    v[:, 3:] = 2 * torch.nn.functional.normalize(v[:, 3:], dim=-1)  # rapidity 2
    g = group.exp(v)
    for mirror in group.discrete_generators(f64):
        g = torch.where(torch.rand(50, 1, 1) < 0.5, g @ mirror, g)
    assert bool(group.contains(g).all())
    assert error(model, x, g) < 1e-10
    frames = model.frames(x)
    assert frames.weights.shape[1] == COMPONENTS[component]
    assert bool(group.contains(frames.elements).all())


def test_lorentz_frames_are_tetrads_that_move_with_the_momenta():
    x, group = momenta(), Lorentz(1, 3)
    sym = Symmetry(group, Vector(), Scalar())
    frames, eta = LorentzFrame()(sym, x), group.form(f64)
    V = frames.R
    assert (V.mT @ eta @ V - eta).abs().max() < 1e-12
    assert bool((V[..., 0, 0] > 0).all())
    assert (torch.linalg.det(V) - 1).abs().max() < 1e-11
    shuffled = LorentzFrame()(sym, x[:, torch.randperm(6)])
    assert (shuffled.R[:, 0].abs() - V[:, 0].abs()).abs().max() < 1e-9


def test_lorentz_frames_know_time_reversal_apart():
    x = momenta(samples=5)
    even = FrameAveraging(Net(4, points=False), Symmetry(Lorentz(1, 3, "full"), Vector(), Scalar()))
    forward = FrameAveraging(even.net, Symmetry(Lorentz(1, 3, "orthochronous"), Vector(), Scalar()))
    assert torch.allclose(even(x), even(-x), atol=1e-12)
    assert (forward(x) - forward(-x)).abs().max() > 1e-3


def test_too_few_momenta_are_refused_with_their_rank(plain):
    x = momenta(samples=3, n=5)
    x[1] = x[1, :2].repeat(3, 1)[:5]
    with pytest.raises(ValueError, match="sample 1: the vectors span 2 dimensions of 4"):
        LorentzFrame()(Symmetry(Lorentz(1, 3), Vector(), Scalar()), x)
    with pytest.raises(TypeError, match="LorentzFrame is for Lorentz groups"):
        LorentzFrame()(Symmetry(O(4), Vector(), Scalar()), x)


AFFINE = [GL(3), GLPlus(3), SL(3), GL(2), Affine(3), Affine(2), Affine(3, GL(3)), SAffine(3), Affine(4, SL(4)), GL(1)]


@pytest.mark.parametrize("group", AFFINE, ids=str)
def test_affine_frames_are_exact(group):
    action = Point() if group.is_affine else Vector()
    x = torch.randn(50, 9, group.n, dtype=f64)
    model = FrameAveraging(Net(group.n), Symmetry(group, action, action))
    assert isinstance(model.frame, AffineFrame)
    g = model.symmetry.sample(x)
    mirrored = torch.linalg.det(group.linear(g)) < 0
    assert bool(mirrored.any()) == (group in (GL(1), GL(2), GL(3), Affine(3, GL(3))))
    assert error(model, x, g) < 1e-10
    frames = model.frames(x)
    assert bool(group.contains(frames.elements, atol=1e-9).all())
    assert frames.weights.shape[1] == 2**group.n // (1 if isinstance(group, GL) and not group.is_connected else 2) or (
        group == Affine(3, GL(3))
    )


def test_affine_frames_forget_all_but_affine_shape():
    x = torch.randn(20, 12, 3, dtype=f64)
    wild = PolarProposal(LogNormalSPD(1.0), UniformCompact(SO(3)))
    g = GLPlus(3).sample(20, proposal=wild, dtype=f64)
    model = FrameAveraging(Net(3, points=False), Symmetry(GLPlus(3), Vector(), Scalar()))
    assert (model(*model.symmetry.act(g, (x,))) - model(x)).abs().max() < 1e-10


def test_whitened_cubes_are_degenerate_and_the_robust_axes_mend_them():
    sheared = CUBE @ torch.tensor([[1.0, 0.3, 0], [0, 2, 0.5], [0, 0, 1]], dtype=f64)
    x = torch.stack([sheared, CUBE, CUBE + 0.3 * torch.randn(8, 3, dtype=f64)])
    sym = Symmetry(Affine(3), Point(), Point())
    assert AffineFrame(on_degenerate="ignore")(sym, x).ambiguous.tolist() == [True, True, False]
    net = Net(3)
    g = sym.sample(x)
    assert error(FrameAveraging(net, sym), x, g) < 1e-10
    assert error(FrameAveraging(net, sym, AffineFrame(on_degenerate="ignore")), x, g) > 1e-4


def test_what_affine_frames_cannot_do_is_said(plain):
    sym = Symmetry(Affine(3), Point(), Scalar())
    flat = torch.randn(2, 6, 3, dtype=f64)
    flat[1, :, 2] = 3
    with pytest.raises(ValueError, match="sample 1: the vectors span 2 dimensions of 3"):
        AffineFrame()(sym, flat)
    with pytest.raises(RuntimeError, match=r"samples \[0\] have repeated eigenvalues"):
        AffineFrame(on_degenerate="raise")(sym, CUBE[None])
    with pytest.warns(UserWarning, match="1 of 1 samples have repeated eigenvalues: affine frames are not exact"):
        AffineFrame()(sym, CUBE[None])
    with pytest.raises(TypeError, match=r"O\(3\) has no affine frame"):
        AffineFrame()(Symmetry(O(3), Vector(), Scalar()), flat)


@pytest.mark.parametrize("group", [U(1), U(3), SU(2), SU(3)], ids=str)
def test_unitary_frames_are_exact(group):
    x = torch.randn(50, 9, group.n, dtype=c128)
    model = FrameAveraging(Net(group.n, c128), Symmetry(group, Vector(), Vector()))
    assert isinstance(model.frame, UnitaryFrame)
    assert error(model, x, model.symmetry.sample(x)) < 1e-11
    frames = model.frames(x)
    assert bool(group.contains(frames.elements).all())
    if isinstance(group, SU):  # the determinant of U(n) is felt
        turned = x * torch.exp(torch.tensor(0.7j))
        assert (model(turned) - torch.exp(torch.tensor(0.7j)) * model(x)).abs().max() > 1e-3


def test_unitary_frames_mark_what_they_cannot_tell(plain):
    sym = Symmetry(U(2), Vector(), Scalar())
    even = torch.eye(2, dtype=c128).repeat(1, 1, 1)
    unphased = torch.tensor([[[1, 0], [-1, 0], [0, 2], [0, 1j]]], dtype=c128)
    assert UnitaryFrame(on_degenerate="ignore")(sym, even).ambiguous.tolist() == [True]
    assert UnitaryFrame(on_degenerate="ignore")(sym, unphased).ambiguous.tolist() == [True]
    with pytest.warns(UserWarning, match="unitary frames are not exact"):
        UnitaryFrame()(sym, even)
    with pytest.raises(TypeError, match="UnitaryFrame needs complex vectors; got torch.float64"):
        UnitaryFrame()(sym, even.real)


def test_padding_and_order_do_not_change_any_frame():
    for group, action, dtype, n in [
        (Lorentz(1, 3), Vector(), f64, 4),
        (Affine(3), Point(), f64, 3),
        (U(3), Vector(), c128, 3),
    ]:
        x = torch.randn(4, 8, n, dtype=dtype)
        padded = torch.cat([x, torch.full((4, 3, n), torch.nan, dtype=dtype)], 1)
        mask = (torch.arange(11) < 8).expand(4, 11)
        ragged, batch = x.flatten(0, 1), torch.arange(4).repeat_interleave(8)
        dense = default_frame(group)(Symmetry(group, action, Scalar()), x)
        masked = default_frame(group)(Symmetry(group, (action, Mask()), Scalar()), (padded, mask))
        rows = default_frame(group)(Symmetry(group, (action, Batch()), Scalar(per="sample")), (ragged, batch))
        for other in (masked, rows):
            assert (other.elements - dense.elements).abs().max() < 1e-11


@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3), E(2), SE(2), Sim(3), E(4), SE(4)], ids=str)
def test_learned_frames_are_exact_whatever_their_weights_are(group):
    action = Point() if group.is_affine else Vector()
    x = torch.randn(20, 7, group.n, dtype=f64)
    frame = LearnedFrame(Centred(VectorHead(group.n).double()) if not group.is_affine else VectorHead(group.n).double())
    model = FrameAveraging(Net(group.n), Symmetry(group, action, action), frame)
    assert error(model, x, model.symmetry.sample(x)) < 1e-9
    frames = model.frames(x)
    assert frames.weights.shape == (20, 1)
    assert bool(group.contains(frames.elements, atol=1e-9).all())


class Centred(nn.Module):
    """A head on points and their mirror images through the origin: linear groups have no centroid."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x):
        square = x.square().sum(-1, keepdim=True)
        return torch.stack([(square**k * x).mean(1) for k in range(x.shape[-1])], 1)


def test_learned_frames_learn():
    torch.manual_seed(0)
    x = torch.randn(32, 6, 3)
    target = x[..., :1].tanh().mean(1)  # of the pose in which the data come
    model = FrameAveraging(nn.Sequential(nn.Flatten(), nn.Linear(18, 1)), Symmetry(SE(3), Point(), Scalar()),
                           LearnedFrame(VectorHead(3)))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses, priors = [], []
    for _ in range(60):
        frames = model.frames(x)
        prior = prior_matching(frames)
        loss = (model(x, frames=frames) - target).square().mean() + 0.1 * prior
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        priors.append(float(prior.detach()))
    assert priors[-1] < 0.9 * priors[0]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.frame.parameters())


def test_learned_frames_mark_dependent_vectors_and_refuse_too_few(plain):
    sym = Symmetry(SE(3), Point(), Scalar())
    x = torch.randn(2, 4, 3)
    same = LearnedFrame(lambda x: torch.ones(len(x), 2, 3))(sym, x)
    assert same.ambiguous.tolist() == [True, True]
    with pytest.raises(ValueError, match=r"net must give at least 2 vectors per sample, \(2, 2, 3\) for SE\(3\)"):
        LearnedFrame(lambda x: x[:, :1])(sym, x)


@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3), E(2)], ids=str)
def test_soft_signs_are_exact_and_do_not_jump_where_a_third_moment_changes_sign(group):
    action = Point() if group.is_affine else Vector()
    sym = Symmetry(group, action, PseudoScalar() if group.n == 3 else Scalar())
    x = torch.randn(20, 6, group.n, dtype=f64)
    net = Net(group.n, points=False)
    soft = FrameAveraging(net, sym, PCAFrame(signs="soft"))
    assert error(soft, x, sym.sample(x)) < 1e-11
    frames = soft.frames(x)
    assert torch.allclose(frames.weights.sum(1), torch.ones(20, dtype=f64))
    assert float(frames.weights.std()) > 0.05
    even = torch.cat([x[0], -x[0]]).repeat(16, 1, 1)  # all third moments vanish
    here, there = even + 1e-4 * torch.randn_like(even), even + 1e-4 * torch.randn_like(even)
    hard = FrameAveraging(net, sym, PCAFrame(signs="skew"))
    gentle, jump = (float((m(here) - m(there)).abs().max()) for m in (soft, hard))
    assert gentle < 1e-2
    assert jump > 10 * gentle


def test_soft_signs_approach_hard_ones():
    x = torch.randn(5, 9, 3, dtype=f64)
    sym = Symmetry(O(3), Vector(), Vector())
    net = Net(3)
    hard = FrameAveraging(net, sym, PCAFrame(signs="skew"))(x)
    soft = FrameAveraging(net, sym, PCAFrame(signs="soft", softness=1e-7))(x)
    assert torch.allclose(hard, soft, atol=1e-12)


def test_frames_of_a_data_set_are_computed_once_and_padded():
    x = torch.randn(50, 8, 3, dtype=f64)
    x[30] = CUBE
    sym = Symmetry(E(3), Point(), Point())
    model = FrameAveraging(Net(3), sym)
    frames = precompute_frames(model.frame, sym, x, batch_size=16)
    rows = torch.tensor([0, 30, 49])
    assert len(frames) == 50
    assert torch.allclose(model(x[rows], frames=frames[rows]), model(x[rows]), atol=1e-13)
    assert torch.allclose(frames.weights.sum(1), torch.ones(50, dtype=f64))
    with pytest.raises(ValueError, match=r"dense inputs, sample by sample; inputs\[1\] is Batch"):
        precompute_frames(model.frame, Symmetry(E(3), (Point(), Batch()), Point()), (x[0], torch.zeros(8).long()))


def test_rank_two_outputs_of_lorentz_and_affine_frames():
    x = momenta(samples=10)
    sym = Symmetry(Lorentz(1, 3), Vector(), Tensor(1, 1))
    a = torch.randn(4, 16, dtype=f64)
    model = FrameAveraging(lambda x: (x.tanh() @ a).mean(1).unflatten(-1, (4, 4)), sym)
    assert error(model, x, Lorentz(1, 3).exp(torch.randn(10, 6, dtype=f64))) < 1e-10


def test_words_and_tolerances_of_frames_are_checked(plain):
    for frame in (PCAFrame, AffineFrame, LorentzFrame, UnitaryFrame):
        with pytest.raises(ValueError, match="on_degenerate must be"):
            frame(on_degenerate="zzz")
        for bad in ("a", -1.0, True):
            with pytest.raises(ValueError, match="gap_tol must be a number, at least 0"):
                frame(gap_tol=bad)


def test_complex_vectors_that_do_not_span_the_space_are_marked():
    x = torch.randn(3, 6, 3, dtype=torch.complex128)
    x[1, :, 2] = 0  # a hyperplane
    x[2, :, 1:] = 0
    frame = UnitaryFrame(on_degenerate="ignore")
    for group, expected in ((U(3), [False, True, True]), (SU(3), [False, False, True])):
        found = frame(Symmetry(group, Vector(), Scalar()), x)
        assert found.ambiguous.tolist() == expected
        assert found.rank.tolist() == [3, 2, 1]


def test_weights_must_be_one_per_point(plain):
    sym = Symmetry(E(3), {"x": Point(), "w": Scalar()}, Scalar())
    with pytest.raises(ValueError, match="w must hold one weight per point of x"):
        PCAFrame(weights="w")(sym, {"x": torch.randn(2, 5, 3), "w": torch.rand(2, 5, 2)})


def test_soft_signs_are_the_same_at_any_scale():
    x = torch.randn(4, 8, 3, dtype=f64)
    sym = Symmetry(O(3), Vector(), Scalar())
    frame = PCAFrame(signs="soft", on_degenerate="ignore")
    for scale in (1e120, 1e-100):
        torch.testing.assert_close(frame(sym, x * scale).weights, frame(sym, x).weights)


def test_two_spacelike_axes_that_are_nearly_equal_are_ambiguous():
    momenta = torch.diag(torch.tensor([4.0, 3.0, 1.0, 1.0 + 1e-6], dtype=f64)).sqrt().unsqueeze(0)
    sym = Symmetry(Lorentz(1, 3), Vector(), Scalar())
    assert LorentzFrame(on_degenerate="ignore")(sym, momenta).ambiguous.tolist() == [True]
    apart = torch.diag(torch.tensor([4.0, 3.0, 1.0, 2.0], dtype=f64)).sqrt().unsqueeze(0)
    assert LorentzFrame(on_degenerate="ignore")(sym, apart).ambiguous.tolist() == [False]

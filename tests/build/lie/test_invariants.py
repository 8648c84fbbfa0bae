"""Differential invariants: derivatives of polynomials are exact, affine maps move the invariants and no more."""

import pytest
import torch

from tests.build.lie.test_pooling import blob
from torsor.actions import Image, pixel_grid
from torsor.build.lie import GaussianJet, InvariantLayer, InvariantNet
from torsor.groups import Affine


def test_jets_of_parabolas_are_exact():
    p = pixel_grid((31, 31), torch.zeros(()))
    x, y = p[..., 0], p[..., 1]
    f = 2 + 3 * x - y + 0.5 * x**2 - 0.25 * x * y + 0.125 * y**2
    jet = GaussianJet(1.3)(f[None, None])[0, 0, :, 10:21, 10:21]
    x, y = x[10:21, 10:21], y[10:21, 10:21]
    expected = [3 + x - 0.25 * y, -1 - 0.25 * x + 0.25 * y, torch.ones_like(x), -0.25 + 0 * x, 0.25 + 0 * x]
    for found, wanted in zip(jet[1:], expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def warped(A, size=61):
    """Smooth images of two channels and what an affine map makes of them, from the formula: nothing is resampled."""
    p = pixel_grid((size, size), torch.zeros(()))
    channels = (
        [(3.0, 5.0, 7.0, 1.0), (-8.0, 2.0, 5.0, 0.7), (6.0, -9.0, 5.0, 0.9)],
        [(-4.0, -6.0, 6.0, 1.0), (7.0, 3.0, 5.0, 0.8)],
    )

    def at(q, bumps):
        return sum(a * torch.exp(-((q[..., 0] - u) ** 2 + (q[..., 1] - v) ** 2) / (2 * s * s)) for u, v, s, a in bumps)

    return (torch.stack([at(q, bumps) for bumps in channels])[None] for q in (p, p @ A.inverse().mT))


def test_affine_maps_move_the_invariants_and_no_more():
    A = torch.tensor([[1.3, 0.4], [-0.2, 0.8]])
    image, moved = warped(A)
    torch.manual_seed(0)
    layer = InvariantLayer(2, 3, sigma=1.0)
    here, there = layer.invariants(image), layer.invariants(moved)
    expected = Image(mode="bicubic")(Affine(2), Affine(2).from_parts(A)[None], here)
    inner = (..., slice(15, -15), slice(15, -15))
    for k in range(here.shape[1]):
        error = (there[:, k][inner] - expected[:, k][inner]).abs().max()
        assert error < 0.06, k
        assert here[:, k][inner].abs().max() > 0.5
    naive = GaussianJet(1.0)(image)[:, 0, 3:4]  # f_xx alone is no invariant
    naive, off = naive / naive.abs().max(), GaussianJet(1.0)(moved)[:, 0, 3:4]
    off = off / off.abs().max()
    assert (off - Image(mode="bicubic")(Affine(2), Affine(2).from_parts(A)[None], naive))[inner].abs().max() > 0.1


def test_flat_images_give_finite_outputs_and_gradients():
    net = InvariantNet(1, 3, channels=(4, 4))
    x = torch.zeros(2, 1, 20, 20, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.isfinite().all()
    assert net(blob()).shape == (1, 3)


def test_bad_sizes_are_refused(plain):
    with pytest.raises(ValueError, match="sigma must be positive"):
        GaussianJet(0.0)
    with pytest.raises(ValueError, match="channels must be at least 1"):
        InvariantLayer(0, 1)
    with pytest.raises(ValueError, match="channels must hold at least one width"):
        InvariantNet(1, 3, channels=())

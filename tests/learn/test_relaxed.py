"""Relaxed weights: in the group at first, out of it as the weights of the inputs differ."""

import pytest
import torch

from torsor import learn
from torsor.actions import T, V
from torsor.groups import SO, O


def error(net, rep_in, rep_out):
    g, x = O(3).sample(8, dtype=torch.float64), torch.randn(8, rep_in.dim(O(3)), dtype=torch.float64)
    return float((net(rep_in(O(3), g, x)) - rep_out(O(3), g, net(x))).detach().abs().max())


def test_a_relaxed_network_starts_in_the_group_and_can_leave_it():
    net = learn.RelaxedEMLP(2 * V, T(2), O(3), channels=20, layers=1).double()
    assert error(net, 2 * V, T(2)) < 1e-12
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, learn.RelaxedLinear):
                module.relaxation.add_(0.1 * torch.randn_like(module.relaxation))
    assert error(net, 2 * V, T(2)) > 1e-3


def test_the_weight_is_the_sum_over_terms():
    layer = learn.RelaxedLinear(V, T(2) + V, SO(3), terms=3)
    with torch.no_grad():
        layer.relaxation.copy_(torch.randn(3, 3))
    expected = sum(e.weight @ a.diag() for e, a in zip(layer.equivariant, layer.relaxation, strict=True))
    assert torch.allclose(layer.weight, expected)
    x = torch.randn(4, 3)
    assert torch.allclose(layer(x), x @ expected.T + layer.bias, atol=1e-6)


def test_terms_are_at_least_one():
    with pytest.raises(ValueError, match="terms must be at least 1"):
        learn.RelaxedLinear(V, V, SO(3), terms=0)

"""What a relative error of the whole output hides: small channels beside large ones, constants, empty outputs."""

import pytest
import torch
from torch import nn

from tests.audit.cases import CLOUD
from torsor import SO, Scalar, Symmetry, Vector, audit

QUICK = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)
SIZES = Symmetry(SO(3), Vector(), Scalar())


def square(x):
    return x.square().sum((1, 2)).unsqueeze(1)


def test_a_broken_channel_beside_a_large_one_is_not_exact():
    x = CLOUD(torch.float32)
    report = audit.equivariance(lambda x: torch.cat([1e6 * square(x), x[:, :1, 2]], 1), SIZES, x, **QUICK)
    assert report.error < 1e-6
    assert report.verdict == "approximate"
    assert "Channel 1 of output alone is broken" in report.words
    assert not audit.passes(report)


def test_a_small_channel_that_keeps_the_symmetry_is_exact():
    x = CLOUD(torch.float32)
    report = audit.equivariance(lambda x: torch.cat([1e6 * square(x), 1e-6 * square(x)], 1), SIZES, x, **QUICK)
    assert report.verdict == "exact"
    assert "Channel" not in report.words


def test_a_large_constant_does_not_hide_what_varies():
    report = audit.equivariance(lambda x: 1e4 + x[:, :1, 2], SIZES, CLOUD(torch.float32), **QUICK)
    assert report.verdict == "approximate"
    assert "Measured against how much output varies" in report.words


def test_what_rounding_hides_is_said_to_be_hidden():
    report = audit.equivariance(lambda x: 1e6 + x[:, :1, 2], SIZES, CLOUD(torch.float32), **QUICK)
    assert "cannot be seen at this precision" in report.words


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, 1e6, 1e8])
def test_a_constant_that_rounds_the_rest_away_is_no_error(offset):
    report = audit.equivariance(lambda x: offset + square(x), SIZES, CLOUD(torch.float32), **QUICK)
    assert report.verdict == "exact", report.words


@pytest.mark.parametrize("width", [1, 64])
def test_invariant_networks_have_no_broken_channel(width):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 32))
    report = audit.equivariance(lambda x: body(square(x)), SIZES, CLOUD(torch.float32), **QUICK)
    assert report.verdict == "exact", report.words
    assert "hides" not in report.words


def test_a_constant_is_said_to_be_one():
    report = audit.equivariance(lambda x: x.new_ones(len(x), 2), SIZES, CLOUD(torch.float32), **QUICK)
    assert report.verdict == "exact"
    assert "output is the same for all inputs" in report.words


def test_an_empty_output_is_refused():
    with pytest.raises(ValueError, match=r"f must return numbers; output has shape \(6, 0\)"):
        audit.equivariance(lambda x: x.new_ones(len(x), 0), SIZES, CLOUD(torch.float32), **QUICK)

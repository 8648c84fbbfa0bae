"""Layer by layer: what each layer does, and which one is named."""

import pytest
import torch
from torch import nn

from torsor import E, O, Point, Scalar, Symmetry, Vector, audit
from torsor.actions import Image, Irreps, Mask
from torsor.groups import Cyclic

X = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(0))


class Norm(nn.Module):
    def forward(self, x):
        return x.norm(dim=-1, keepdim=True)


class Channels(nn.Module):
    """Mixes vectors with each other, as an equivariant layer does."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5))

    def forward(self, x):
        return torch.einsum("ij,bjc->bic", self.weight, x)


def rows(report):
    return {row.layer: row for row in report.layers}


def test_the_first_layer_that_breaks_is_named():
    net = nn.Sequential(Channels(), nn.Tanh(), Norm(), nn.Linear(1, 1))
    report = audit.layers(net, Symmetry(O(3), Vector(), Scalar()), X)
    found = rows(report)
    assert report.first == "1"
    assert [found[name].verdict for name in "0123"] == ["kept", "breaks", "inherits", "inherits"]
    assert "1 (Tanh) is the first layer" in report.words
    assert found["0"].law == "vector"
    assert found["0"].change > 0.1  # equivariant, not invariant


def test_no_layer_is_named_where_the_output_holds():
    net = nn.Sequential(Channels(), nn.Linear(3, 3), nn.Linear(3, 1))
    net[1].weight.data.zero_()  # loses everything: the output is constant, and so invariant
    report = audit.layers(net, Symmetry(O(3), Vector(), Scalar()), X)
    assert (report.holds, report.first) == (True, None)
    assert "no layer breaks" in report.words


def test_a_named_representation_is_what_counts():
    net = nn.Sequential(Norm(), nn.Linear(1, 3))
    symmetry = Symmetry(O(3), Vector(), Vector())
    assert rows(audit.layers(net, symmetry, X))["1"].verdict == "kept"  # as scalars
    report = audit.layers(net, symmetry, X, representations={"1": Vector()})
    assert (rows(report)["1"].verdict, report.first) == ("breaks", "1")
    with pytest.raises(ValueError, match="must name submodules of the model; got '7'"):
        audit.layers(net, symmetry, X, representations={"7": Vector()})


def test_a_step_between_layers_is_told_from_a_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = Norm(), nn.Linear(2, 1)

        def forward(self, x):
            return self.head(torch.cat([self.norm(x), x[..., :1]], -1))

    report = audit.layers(Net(), Symmetry(O(3), Vector(), Scalar()), X)
    assert report.first is None
    assert rows(report)["head"].verdict == "inherits"
    assert "What goes into head (Linear) already breaks" in report.words


def test_the_derivative_names_the_generator_that_breaks():
    class Height(nn.Module):
        def forward(self, x):
            return x[..., 2:]

    net = nn.Sequential(Height(), nn.Identity())
    found = rows(audit.layers(net, Symmetry(E(3), Point(), Scalar()), X.double()))["0"]
    assert found.direction in ("rotation in xz", "rotation in yz", "translation along z")
    slant = nn.Sequential(nn.Linear(3, 1, bias=False))
    slant[0].weight.data = torch.tensor([[0.0, 0.0, 1.0]])
    row = rows(audit.layers(slant.double(), Symmetry(O(3), Vector(), Scalar()), X.double()))["0"]
    # d/dt z = y or x under a quarter-turn generator: the ratio of norms of the worse of the two
    z, other = X[..., 2].norm(dim=1), X[..., :2].norm(dim=1)
    expected = max(float((X[..., i].norm(dim=1) / z).mean()) for i in (0, 1))
    assert row.derivative == pytest.approx(expected, rel=0.05)
    assert (other > 0).all()


def test_layers_of_images_and_of_flattened_batches_are_compared():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = Norm()

        def forward(self, x):
            return self.norm(x.reshape(-1, 3)).reshape(len(x), -1)

    assert rows(audit.layers(Flat(), Symmetry(O(3), Vector(), Scalar()), X))["norm"].verdict == "kept"
    images = torch.randn(4, 1, 8, 8)
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    net = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    report = audit.layers(net, Symmetry(Cyclic(4), Image(), Scalar()), images)
    assert report.first == "0"
    conv.weight.data = conv.weight.data.mean((2, 3), keepdim=True).expand(2, 1, 3, 3)
    report = audit.layers(net, Symmetry(Cyclic(4), Image(), Scalar()), images)
    assert [row.verdict for row in report.layers] == ["kept"] * 3


def test_padded_rows_do_not_count():
    class Untidy(nn.Module):
        def forward(self, x, mask):
            return torch.where(mask.unsqueeze(-1), x.norm(dim=-1, keepdim=True), x.sum((1, 2), keepdim=True))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.untidy = Untidy()

        def forward(self, x, mask):
            return self.untidy(x, mask) * mask.unsqueeze(-1)

    mask = torch.ones(8, 5, dtype=torch.bool)
    mask[:, 3:] = False
    report = audit.layers(Net(), Symmetry(O(3), (Vector(), Mask()), Scalar()), (X * mask.unsqueeze(-1), mask))
    assert rows(report)["untidy"].verdict == "kept"


def test_hooks_are_gone_and_modes_are_as_before():
    net = nn.Sequential(Norm(), nn.Dropout(0.5)).train()
    audit.layers(net, Symmetry(O(3), Vector(), Scalar()), X)
    assert (net.training, net[1].training) == (True, True)
    assert not any(part._forward_hooks for part in net.modules())


def test_what_has_no_layers_is_refused(plain):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got builtin_function_or_method"):
        audit.layers(torch.sin, Symmetry(O(3), Vector(), Scalar()), X)


class Gate(nn.Module):
    """One scalar and one vector in, lengths and vectors side by side out: `1x0e+1x1o`."""

    def __init__(self, bend=0.0):
        super().__init__()
        self.bend = bend

    def forward(self, x):
        scalars = x.norm(dim=-1, keepdim=True)
        return torch.cat([scalars, x * scalars.tanh() + self.bend * x.roll(1, -1)], -1)


class Net(nn.Module):
    def __init__(self, bend=0.0):
        super().__init__()
        self.gate, self.head = Gate(bend), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.gate(x))


def test_irreps_of_a_named_layer_are_what_counts():
    symmetry, named = Symmetry(O(3), Vector(), Scalar()), {"gate": Irreps("1x0e+1x1o")}
    report = audit.layers(Net(), symmetry, X, representations=named)
    assert [rows(report)[name].verdict for name in ("gate", "head")] == ["kept", "breaks"]
    assert report.first == "head"
    assert audit.layers(Net(0.1), symmetry, X, representations=named).first == "gate"
    assert audit.layers(Net(), symmetry, X).first == "gate"  # nobody says its law, and none of the tried ones fits

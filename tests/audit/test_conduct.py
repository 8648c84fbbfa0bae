"""An audit leaves no trace, and refuses what it cannot judge."""

import functools

import pytest
import torch
from torch import nn

from tests.audit.cases import CLOUD, SCENE, SPACE, normal, repel
from torsor import Symmetry, audit
from torsor.actions import Point, Scalar, Vector
from torsor.groups import SO, E
from torsor.testing import assert_equivariant

VECTORS = Symmetry(SO(3), Vector(), Vector())
QUICK = dict.fromkeys(("worst", "curve", "parts", "continuity", "float64"), False)


def test_inputs_are_not_changed_even_by_a_function_that_works_in_place():
    x = CLOUD(torch.float32)
    before = x.clone()
    report = audit.equivariance(lambda x: x.mul_(2), VECTORS, x)
    assert torch.equal(x, before)
    assert report.verdict == "exact"


def test_a_function_that_returns_the_same_buffer_each_time_is_judged_by_what_it_returned():
    buffer = torch.empty(6, 5, 3, dtype=torch.float64)

    def double(x):
        return torch.mul(x, 2, out=buffer)

    assert audit.equivariance(double, VECTORS, CLOUD(torch.float64), **QUICK).verdict == "exact"
    assert audit.equivariance(lambda x: double(x).abs_(), VECTORS, CLOUD(torch.float64), **QUICK).verdict == "broken"


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    audit.equivariance(repel, SPACE, SCENE(torch.float32))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_gradient_is_left_on_parameters_and_no_graph_is_built():
    net = nn.Linear(3, 3)
    audit.equivariance(net, VECTORS, CLOUD(torch.float32))
    assert net.weight.grad is None


class Mode(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.fixed = nn.Dropout(0.5).eval()

    def forward(self, x):
        if bool((x.abs() > 1e3).any()):
            raise FloatingPointError("too far")
        return self.fixed(self.drop(x))

    def method(self, x):
        return self(x)


@pytest.mark.parametrize("face", [lambda m: m, lambda m: m.method, lambda m: functools.partial(m)])
def test_modules_run_in_evaluation_mode_and_every_flag_comes_back(face):
    module = Mode()
    assert audit.equivariance(face(module), VECTORS, CLOUD(torch.float32)).verdict == "exact"
    assert (module.training, module.drop.training, module.fixed.training) == (True, True, False)


def test_the_mode_comes_back_after_an_error():
    module = Mode()
    with pytest.raises(FloatingPointError):
        audit.equivariance(module, VECTORS, 1e4 * CLOUD(torch.float32))
    assert module.training


@pytest.mark.parametrize(
    "f", [lambda x: nn.functional.dropout(x), lambda x: x + torch.randn_like(x), lambda x: Mode()(x)]
)
def test_a_random_function_is_refused_in_words(f):
    with pytest.raises(ValueError, match=r"same output for the same inputs.*dropout.*\.eval\(\)"):
        audit.equivariance(f, VECTORS, CLOUD(torch.float32))


def ok(x):
    return x


@pytest.mark.parametrize(
    ("f", "symmetry", "x", "options", "error", "words"),
    [
        (3, VECTORS, CLOUD, {}, TypeError, "f must be a module or another callable; got int"),
        (ok, SO(3), CLOUD, {}, TypeError, "symmetry must be a torsor.Symmetry .*; got SO"),
        (ok, VECTORS, CLOUD, {"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        (ok, VECTORS, CLOUD, {"tolerance": -1.0}, ValueError, "tolerance must be"),
        (ok, VECTORS, CLOUD, {"confidence": 1.0}, ValueError, "confidence must be in"),
        (ok, VECTORS, normal(0, 5, 3), {}, ValueError, "at least one sample"),
        (ok, VECTORS, normal(6, 5, 2), {}, ValueError, "last axis must have the 3 coordinates.*shape \\(6, 5, 2\\)"),
        (ok, VECTORS, lambda dtype: CLOUD(dtype).long(), {}, TypeError, "must be floating point"),
        (ok, VECTORS, lambda dtype: CLOUD(dtype) * torch.nan, {}, ValueError, "must be finite; sample 0"),
        (ok, VECTORS, lambda dtype: (CLOUD(dtype), CLOUD(dtype)), {}, ValueError, "inputs must be"),
        (ok, VECTORS, CLOUD, {"path": torch.zeros(6, 5, 2)}, ValueError, "last axis must have"),
        (lambda x: x[:3], VECTORS, CLOUD, {}, ValueError, "output must have 6 rows.*returned shape \\(3, 5, 3\\)"),
        (lambda x: (x, x), VECTORS, CLOUD, {}, TypeError, "output must be a tensor; got tuple"),
        (ok, Symmetry(SO(3), Vector(), {"y": Vector()}), CLOUD, {}, ValueError, "output must be {y: "),
        (lambda x: x.sum(-1), VECTORS, CLOUD, {}, ValueError, "output: the last axis must have the 3"),
        (lambda x: x.tolist(), VECTORS, CLOUD, {}, TypeError, "output must be a tensor; got list"),
        (lambda x: x / 0, VECTORS, CLOUD, {}, ValueError, "f must be finite.*output of sample 0"),
    ],
)
def test_bad_input_is_refused_in_words(plain, f, symmetry, x, options, error, words):
    with pytest.raises(error, match=words):
        audit.equivariance(f, symmetry, x(torch.float64), **options)


def test_an_output_that_turns_nan_under_a_transformation_counts_as_wrong():
    """Finite as given, where all first coordinates are positive."""
    x = CLOUD(torch.float64)
    x[..., 0] = x[..., 0].abs() + 0.1
    report = audit.equivariance(lambda x: x[..., 0].sqrt(), Symmetry(SO(3), Vector(), Scalar()), x, **QUICK)
    assert report.verdict == "broken"
    assert "not finite on some of the transformed inputs" in report.words


def test_a_batch_size_that_changes_with_the_transformation_is_refused(plain):
    def f(x):
        return x[x[:, 1, 0] > 0]

    x = torch.zeros(4, 2, 3)
    x[:, 1] = 20.0
    with pytest.raises(ValueError, match="output must have 4 rows"):
        audit.equivariance(f, VECTORS, x)


def test_integers_and_inputs_without_points_are_fine():
    kind = torch.randint(0, 4, (6, 5))
    report = audit.equivariance(
        lambda x, kind: (x * kind.unsqueeze(-1), kind),
        Symmetry(SO(3), (Vector(), Scalar()), (Vector(), Scalar())),
        (CLOUD(torch.float32), kind),
    )
    assert report.verdict == "exact"


def test_samples_without_extent_are_fine():
    x = torch.ones(3, 4, 3, dtype=torch.float64)
    x[1], x[2] = 0.0, x[2] * torch.arange(4.0).unsqueeze(1)
    report = audit.equivariance(lambda x: x + x.mean(1, keepdim=True), VECTORS, x, samples=1)
    assert report.verdict == "exact"
    one = audit.equivariance(lambda x: x, Symmetry(E(3), Point(), Point()), torch.ones(2, 1, 3))
    assert one.verdict == "exact"


class Noise:
    """A transformation that is no group: the same amount is added to every entry of a sample."""

    def sample(self, inputs, *, generator=None):
        return torch.randn(len(inputs[0]), generator=generator, dtype=inputs[0].dtype)

    def act(self, g, inputs):
        return tuple(x + g[:, None, None] for x in inputs)

    def act_output(self, g, out, inputs):
        return out


def test_a_transformation_that_is_no_group_is_audited_without_what_needs_inverses():
    x = CLOUD(torch.float64)
    good = audit.equivariance(lambda x: x - x.mean((1, 2), keepdim=True), Noise(), x)
    bad = audit.equivariance(lambda x: {"a": x.mean((1, 2))}, Noise(), x)
    assert (good.verdict, bad.verdict) == ("exact", "broken")
    assert good.curve is None
    assert good.parts == ()
    assert bad.worst.error == pytest.approx(max(found.largest for found in bad.per_output.values()))
    assert "draws of Noise" in bad.law
    assert list(bad.per_output) == ["a"]


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-22, 1, 1e25])
def test_the_units_of_an_output_do_not_change_its_verdict(size):
    x, broken = CLOUD(torch.float32), nn.Linear(3, 3)
    assert audit.equivariance(lambda x: broken(x) * size, VECTORS, x, **QUICK).verdict == "broken"
    assert audit.equivariance(lambda x: 3 * x * size, VECTORS, x, **QUICK).verdict == "exact"


def test_even_a_little_hidden_randomness_is_found(plain):
    with pytest.raises(ValueError, match="must give the same output for the same inputs"):
        audit.equivariance(lambda x: x + 1e-5 * torch.randn_like(x), VECTORS, CLOUD(torch.float32))


class Potential(nn.Module):
    """Forces as the gradient of an energy, as learned potentials have them: under `no_grad` it fails."""

    def __init__(self):
        super().__init__()
        self.bonds = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        x = x.requires_grad_()
        energy = self.bonds((x[:, None] - x[:, :, None]).square().sum(-1, keepdim=True)).sum((1, 2, 3))
        return {"energy": energy, "forces": -torch.autograd.grad(energy.sum(), x)[0]}


def test_a_module_that_differentiates_inside_is_audited():
    symmetry = Symmetry(E(3), Point(), {"energy": Scalar(), "forces": Vector()})
    report = audit.equivariance(Potential(), symmetry, CLOUD(torch.float32), **QUICK)
    assert report.verdict == "exact"
    assert report.float64 is None or report.float64.reason is None
    found = audit.layers(Potential(), symmetry, CLOUD(torch.float32))
    assert (found.holds, [row.layer for row in found.layers]) == (True, ["bonds.0", "bonds.1", "bonds.2", "bonds"])
    assert_equivariant(Potential(), symmetry, CLOUD(torch.float32))

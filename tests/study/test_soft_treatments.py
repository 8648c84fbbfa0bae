"""The treatments `soft` and `emlp`: for tensors of a matrix group, skipped with the reason elsewhere."""

import pytest
import torch

from torsor import learn
from torsor.data import digits, inertia
from torsor.groups import O
from torsor.study import SkippedError, known_treatments

SMALL = {"channels": 20, "layers": 1}


def built(name, data, **options):
    return known_treatments()[name].build(lambda: None, data, {**SMALL, **options})


def points(n=12):
    from torsor import E, Point, Scalar, Symmetry, Vector
    from torsor.data import Dataset, Samples

    x = {"x": torch.randn(n, 4, 3), "v": torch.randn(n, 4, 3), "q": torch.randn(n, 4, 1)}
    samples = Samples(x, x["x"] + x["v"])
    symmetry = Symmetry(E(3), {"x": Point(), "v": Vector(), "q": Scalar()}, Point())
    return Dataset("drift", samples, None, samples, symmetry)


@pytest.mark.parametrize("data", [inertia(12, 0, 12, points=2), points()], ids=["inertia", "points"])
def test_emlp_is_exact_on_tensors_and_on_points(data):
    model, objective = built("emlp", data)
    loss, _ = objective(model, data.train)
    assert loss.isfinite()
    model.double()
    wide = data.to(torch.float64)
    g = wide.symmetry.sample(wide.train.inputs)
    out = learn.predict(model, wide.symmetry.act(g, wide.train.inputs))
    expected = wide.symmetry.act_output(g, learn.predict(model, wide.train.inputs), wide.train.inputs)
    assert torch.allclose(out, expected, atol=1e-9)


@pytest.mark.parametrize("options", [{"strengths": s} for s in ("evidence", "power", "fixed", "none")], ids=str)
def test_soft_trains_with_every_rule(options):
    data = inertia(12, 0, 12, points=2)
    model, objective = built("soft", data, candidates="axes", **options)
    result = learn.fit(model, data.train, objective, epochs=6, batch_size=6)
    assert all(entry["train"] > 0 for entry in result.history)
    if options["strengths"] != "none":
        assert len([key for key in result.history[-1] if key.startswith("strength_")]) == 3


def test_a_residual_pathway_prior_is_no_hard_constraint():
    data = inertia(12, 0, 12, points=2)
    model, objective = built("emlp", data, prior="rpp", group="O(3)")
    loss, _ = objective(model, data.train)
    assert loss > objective.validate(model, data.train)[0]


@pytest.mark.parametrize("name", ["soft", "emlp"])
def test_data_that_are_no_tensors_are_skipped_with_the_reason(name):
    with pytest.raises(SkippedError, match="not tensors of a group of matrices: .*Image"):
        built(name, digits())


def test_a_candidate_that_says_nothing_is_no_reason_to_stop():
    model, _ = built("soft", points(), strengths="power")
    assert model.net.groups == (O(3),)

"""Groups and actions from words: a table is looked up, and what is not in it is refused with what is."""

import pytest

from torsor import groups
from torsor.actions import Nodes, Point, Scalar, Tensor, Vector
from torsor.study._words import parse_action, parse_group, parse_symmetry


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("E(3)", groups.E(3)),
        (" SO( 2 ) ", groups.SO(2)),
        ("C(4)", groups.Cyclic(4)),
        ("Cyclic(4)", groups.Cyclic(4)),
        ("D(3)", groups.Dihedral(3)),
        ("S(5)", groups.Symmetric(5)),
        ("GL+(2)", groups.GLPlus(2)),
        ("T(2)", groups.Translation(2)),
        ("E(3) x S(5)", groups.DirectProduct(groups.E(3), groups.Symmetric(5))),
        ("E(3)xS(5)", groups.DirectProduct(groups.E(3), groups.Symmetric(5))),
        ("SO(2)*C(2)", groups.DirectProduct(groups.SO(2), groups.Cyclic(2))),
    ],
)
def test_a_group_is_what_its_text_says(text, group):
    assert parse_group(text) == group


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("so(3)", "unknown group 'so', did you mean \"SO\"?; allowed: "),
        ("E", "E does not take nothing"),
        ("E(3, 4)", "E does not take 3, 4"),
        ("E(x)", "must be whole numbers; got 'x'"),
        ("E(3", "cannot be read"),
        ("", "cannot be read"),
        ("__import__('os')", "cannot be read"),
        ("E(3) x", "cannot be read"),
    ],
)
def test_what_is_no_group_is_refused_in_words(text, words):
    with pytest.raises(ValueError) as caught:
        parse_group(text)
    assert words in str(caught.value)


def test_a_group_that_the_group_itself_refuses_says_why():
    with pytest.raises(ValueError):
        parse_group("SO(0)")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("point", Point()),
        ("Vector", Vector()),
        ("vector per sample", Vector(per="sample")),
        ("tensor(1, 1)", Tensor(1, 1)),
        ("nodes(-3)", Nodes(-3)),
        ("scalar per edge", Scalar(per="edge")),
    ],
)
def test_an_action_is_what_its_text_says(text, action):
    assert parse_action(text) == action


def test_irreps_and_pairs_take_their_own_words():
    assert "1o" in repr(parse_action("irreps(8x0e+4x1o)"))
    assert parse_action("pairs(-3, -2)").axes == (-3, -2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pont", "unknown action 'pont', did you mean \"point\"?; allowed: batch"),
        ("point per thing", "'per' takes node, edge, sample; got 'thing'"),
        ("tensor(two)", "must be whole numbers"),
        ("point(3)", "does not take 3"),
        ("point vector", "cannot be read"),
    ],
)
def test_what_is_no_action_is_refused_in_words(text, words):
    with pytest.raises(ValueError) as caught:
        parse_action(text)
    assert words in str(caught.value)


def test_a_mapping_gives_keywords_and_a_sequence_positions():
    assert list(parse_symmetry("E(3)", {"a": "point", "b": "vector"}, "point").inputs) == ["a", "b"]
    assert parse_symmetry("E(3)", ["point", "vector"], {"energy": "scalar"}).inputs == (Point(), Vector())


def test_a_product_has_a_word_for_each_factor(generator):
    import torch

    symmetry = parse_symmetry("SO(3) x S(4)", {"x": "vector | nodes", "t": "scalar"}, "vector | nodes")
    assert len(symmetry.factors) == 2
    inputs = {"x": torch.randn(2, 4, 3, generator=generator), "t": torch.randn(2, 1, generator=generator)}
    moved = symmetry.act(symmetry.sample(inputs, generator=generator), inputs)
    torch.testing.assert_close(moved["t"], inputs["t"])
    norms = lambda x: x.norm(dim=-1).sort(-1).values
    torch.testing.assert_close(norms(moved["x"]), norms(inputs["x"]))


@pytest.mark.parametrize(("group", "word"), [("SO(3) x S(4)", "vector"), ("SO(3)", "vector | nodes")])
def test_the_wrong_number_of_words_is_refused(group, word):
    with pytest.raises(ValueError, match=r"write (2 words|one word)"):
        parse_symmetry(group, [word], "scalar")

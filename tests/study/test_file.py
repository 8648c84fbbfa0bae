"""Study files: what is wrong is refused with its line and the words that are allowed there."""

import pytest

from torsor.study._file import StudyFileError, read_study_file
from torsor.study._lines import key_lines, line_of

GOOD = """\
title = "Which?"
treatments = ["plain", { name = "augmented", label = "long", epochs = 9 }]
epochs = 3

[data]
file = "a.npz"
inputs = ["x"]
targets = "y"

[symmetry]
group = "SO(3)"
inputs = { x = "vector" }
output = "scalar"

[backbone]
name = "mlp"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "study.toml").write_text(text)
        return read_study_file(tmp_path / "study.toml")

    return read


def test_a_good_file_is_read_with_its_defaults(read):
    file = read(GOOD)
    assert [t.name for t in file.treatments] == ["plain", "augmented"]
    assert (file.treatments[1].label, file.treatments[1].epochs) == ("long", 9)
    assert (file.epochs, file.batch_size, file.seeds) == (3, 64, [0, 1])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("epochs = 3", "epoch = 3", 3, 'unknown key "epoch", did you mean "epochs"?; allowed: title, name, data'),
        ("epochs = 3", 'epochs = "3"', 3, "epochs: should be a valid integer; got '3'"),
        ("epochs = 3", "epochs = 0", 3, "epochs: should be greater than or equal to 1; got 0"),
        ("epochs = 3", "epochs = 3.5", 3, "epochs:"),
        ('title = "Which?"', "", 1, '"title" is missing'),
        ('"plain",', '"plane",', 2, 'unknown treatment "plane", did you mean "plain"?; allowed: plain, augmented'),
        (
            "epochs = 9",
            "epoch = 9",
            2,
            'unknown key "treatments.1.epoch", did you mean "epochs"?; allowed: name, label',
        ),
        ('label = "long"', 'label = "plain"', 1, "two rows are called 'plain'"),
        ('targets = "y"', "", 5, "needs inputs and targets"),
        (
            'file = "a.npz"',
            'file = "a.npz"\nname = "nbody"',
            5,
            "exactly one of name, file, files, callable; got name, file",
        ),
        (
            'inputs = ["x"]',
            'inputs = ["x"]\ntask = "guess"',
            8,
            "data.task: should be 'regression' or 'classification'",
        ),
        ('inputs = ["x"]', 'inputs = ["x"]\nsplit = [0.5, 0.5]', 8, "must be three positive shares"),
        ('group = "SO(3)"', 'group = "SOO(3)"', 11, "unknown group 'SOO', did you mean \"SO\"?"),
        ('x = "vector"', 'x = "vektor"', 12, "unknown action 'vektor', did you mean \"vector\"?; allowed: batch"),
        ('output = "scalar"', "output = 3", 13, "symmetry.output"),
        ('name = "mlp"', "", 15, "either name (a backbone of torsor) or build"),
        ('name = "mlp"', 'name = "mlp"\n\n[scales.tiny]\nepochs = 1', 18, "should be 'smoke', 'desk' or 'paper'"),
        ('name = "mlp"', 'name = "mlp"\n\n[scales.smoke]\nepoch = 1', 19, 'unknown key "scales.smoke.epoch"'),
        ('name = "mlp"', 'name = "mlp"\n\n[test]\ngroup = "X(3)"', 19, "unknown group 'X'"),
        ('name = "mlp"', 'name = "mpl"', 15, 'unknown backbone "mpl", did you mean "mlp"?; allowed: mlp'),
        ('file = "a.npz"', 'name = "nbodi"', 5, 'unknown data set "nbodi", did you mean "nbody"?; allowed: nbody'),
        ("epochs = 3", "epochs = = 3", 0, "at line 3"),
    ],
)
def test_a_bad_file_is_refused_with_the_line_and_the_allowed_words(read, old, new, line, words):
    assert old in GOOD
    with pytest.raises(StudyFileError) as caught:
        read(GOOD.replace(old, new))
    message = str(caught.value)
    assert "\n" not in message
    assert words in message
    if line:
        assert f"study.toml, line {line}: " in message


def test_the_first_of_several_problems_is_told_and_the_others_are_counted(read):
    with pytest.raises(StudyFileError, match=r"line 3: .*\(and 1 more\)"):
        read(GOOD.replace("epochs = 3", "epochs = 0").replace('name = "mlp"', 'nam = "mlp"\nname = "mlp"'))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyFileError, match=r"nothing\.toml: there is no such file"):
        read_study_file(tmp_path / "nothing.toml")


def test_data_from_a_file_needs_a_symmetry(read):
    text = GOOD[: GOOD.index("[symmetry]")] + GOOD[GOOD.index("[backbone]") :]
    with pytest.raises(StudyFileError, match=r"needs \[symmetry\]"):
        read(text)


def test_lines_are_found_in_tables_arrays_and_around_long_strings():
    text = 'a = """\nb = 1\n"""\n\n[t.u]  # x\n"c d" = 1\n[[v]]\ne.f = 2\n[[v]]\ne.f = 3\n'
    lines = key_lines(text)
    assert ("b",) not in lines
    assert lines[("t", "u", "c d")] == 6
    assert (lines[("v", 0, "e", "f")], lines[("v", 1, "e", "f")]) == (8, 10)
    assert line_of(("t", "u", "x", "y"), lines) == 5
    assert line_of(("nowhere",), lines) == 1

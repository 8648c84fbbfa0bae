"""The command line: what it prints, where, and with which exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.study.conftest import STUDY, own  # noqa: F401 (a fixture)
from torsor import cli
from torsor.study._library import builtin_names

FEW = STUDY.replace('"augmented", "frame_averaged", ', "")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def torsor(monkeypatch, tmp_path, capsys):
    """Runs the command in this process; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["torsor", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def one_line(err):
    assert err.startswith("torsor: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", ["study", "audit", "papers", "bench", "data"])
def test_help_shows_examples(torsor, command):
    code, out, _ = torsor(command, "--help")
    assert code == 0
    assert f"torsor {command}" in out.replace("\n", " ")


def test_help_and_version_import_no_torch():
    program = (
        "import sys; sys.argv = ['torsor', '--version']\n"
        "from torsor import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n"
        "    print(sorted({'torch', 'plotly', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.splitlines()[0].startswith("torsor 0.")
    assert done.stdout.splitlines()[1] == "[]", done.stderr


def test_the_package_runs_as_the_command_does():
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "torsor", "study", "nbodi"]
    done = subprocess.run(words, capture_output=True, text=True, env=settings)
    assert done.returncode == 2
    assert "there is no study 'nbodi'" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["study", "nbodi"], "there is no study 'nbodi', did you mean \"nbody\"?; builtin: "),
        (["study", "nothing.toml"], "nothing.toml: there is no such file"),
        (["study"], "Missing argument"),
        (["study", "nbody", "--scale", "huge"], "'huge' is not one of 'smoke', 'desk', 'paper'"),
        (["study", "nbody", "--seeds", "1,x"], "--seeds must be whole numbers like 1,2,3; got '1,x'"),
        (["study", "nbody", "--seeds", "1,1"], "--seeds must differ"),
        (["study", "nbody", "--workers", "0"], "--workers"),
        (["studi"], "studi"),
        (["data", "get", "digit"], "there is no data set 'digit', did you mean \"digits\"?; there are nbody"),
        (["data", "path", "digits"], "digits has no place on this machine"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_exit_code_2(torsor, words, expected):
    code, out, err = torsor(*words)
    assert (code, out) == (2, "")
    assert expected in one_line(err)


def test_debug_shows_the_trace(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["torsor", "study", "nbodi", "--debug"])
    with pytest.raises(ValueError, match="there is no study"):
        cli.main()


def test_list_shows_the_builtin_studies(torsor):
    assert "nbody" in torsor("study", "list")[1]
    assert [row["study"] for row in json.loads(torsor("study", "list", "--json")[1])] == builtin_names()


def test_a_study_of_ones_own_prints_its_answer_and_its_page(torsor, own, tmp_path):  # noqa: F811
    code, out, err = torsor("study", own(FEW), "--out", "results")
    assert code == 0
    page = tmp_path / "results" / "study-desk.html"
    assert page.is_file()
    assert str(page) in out.replace("\n", "")
    assert "Recommended" in page.read_text()
    assert "plain" in out
    assert "[2/2] group_averaged, seed 0 skipped" in err
    assert f"torsor study {tmp_path}/study.toml --out results" in page.read_text()


def test_json_is_one_object_on_stdout_and_nothing_else(torsor, own):  # noqa: F811
    code, out, err = torsor("study", own(FEW), "--json", "--seeds", "3")
    found = json.loads(out)
    assert code == 0
    assert list(found) == ["study", "scale", "page", "trials", "claims"]
    assert (found["study"], found["scale"]) == ("study", "desk")
    assert {trial["seed"] for trial in found["trials"]} == {3}
    assert Path(found["page"]).is_file()
    assert "trials" in err


def test_a_study_with_a_failed_trial_exits_with_1(torsor, own):  # noqa: F811
    path = own(STUDY.replace("epochs = 3", "epochs = 3\nlr = 1e30"))
    code, _, err = torsor("study", path)
    assert code == 1
    assert "failed" in err


def test_a_study_that_no_trial_could_run_with_exits_with_2(torsor, own):  # noqa: F811
    code, _, err = torsor("study", own(y=None))
    assert code == 2
    assert "has no 'y'" in err


def test_the_smoke_scale_of_the_default_study_runs_to_its_page(tmp_path):
    words = [sys.executable, "-W", "error", "-m", "torsor.cli", "study", "nbody", "--scale", "smoke", "--json"]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "TORSOR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, capture_output=True, text=True, env=settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {trial["status"] for trial in found["trials"]} == {"done"}
    exact = found["claims"][0]
    assert (exact["holds"], exact["measured"] < 1e-5) == (True, True)
    assert Path(found["page"]).is_file()


MODELS = """
import torch

def turn(x, v):
    return torch.linalg.cross(x, v, dim=-1)

def shift(x):
    return x + torch.tensor([1.0, 0.0, 0.0])

def make():
    return lambda x, v: x + v

class Net(torch.nn.Module):
    def forward(self, x):
        return x.square().sum(-1, keepdim=True)

net = Net()
random = torch.nn.Dropout(0.5)
number = 3
"""


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models_to_audit.py").write_text(MODELS)
    yield "models_to_audit"
    sys.modules.pop("models_to_audit", None)


@pytest.mark.parametrize(
    ("words", "code", "verdict"),
    [
        (["turn", "SO(3)", "x=vector", "v=vector", "vector"], 0, "Exact"),
        (["turn", "O(3)", "x=vector", "v=vector", "vector"], 1, "Broken"),
        (["turn", "O(3)", "x=vector", "v=vector", "pseudovector"], 0, "Exact"),
        (["make", "E(3)", "x=point", "v=vector", "point"], 0, "Exact"),
        (["make()", "E(3)", "point", "vector", "point"], 0, "Exact"),
        (["shift", "O(3)", "x=vector:7,3", "vector"], 1, "Broken"),
        (["Net", "O(3)", "a=vector per sample", "scalar"], 0, "Exact"),
        (["net", "O(3)", "x=vector", "scalar"], 0, "Exact"),
    ],
)
def test_an_audit_says_whether_a_symmetry_holds(torsor, models, words, code, verdict):
    target, group, *inputs, output = words
    options = [word for slot in inputs for word in ("--in", slot)]
    found, out, err = torsor(
        "audit", f"{models}:{target}", "--group", group, *options, "--out", output, "--samples", 16
    )
    assert (found, err) == (code, "")
    assert verdict in out


def test_an_audit_reads_its_inputs_from_a_file_and_writes_json(torsor, models, tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "inputs.npz", x=random.normal(size=(20, 4, 3)), v=random.normal(size=(20, 4, 3)))
    options = ["--group", "SO(3)", "--in", "x=vector", "--in", "v=vector", "--out", "vector", "--dtype", "float64"]
    code, out, _ = torsor("audit", f"{models}:turn", *options, "--data", "inputs.npz", "--json", "-")
    found = json.loads(out)
    assert code == 0
    assert found["inputs"] == 20
    assert found["error"] < 1e-12


def test_a_tolerance_of_ones_own_decides(torsor, models):
    options = ["--group", "SO(3)", "--in", "x=vector", "--out", "vector", "--samples", "16"]
    assert torsor("audit", f"{models}:shift", *options, "--tolerance", "0.99")[0] == 0
    assert torsor("audit", f"{models}:shift", *options, "--tolerance", "0.01")[0] == 1


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("models_to_audit", ["--in", "x=vector"], "must look like 'package.module:name'"),
        ("no_such_module:f", ["--in", "x=vector"], "there is no module 'no_such_module'"),
        ("models_to_audit:nothing", ["--in", "x=vector"], "has no 'nothing'"),
        ("models_to_audit:number", ["--in", "x=vector"], "must name a function, a module or what makes one; got int"),
        ("models_to_audit:net", ["--in", "x=vektor"], "unknown action 'vektor'"),
        ("models_to_audit:net", ["--in", "x=vector:0"], "must be positive"),
        ("models_to_audit:net", ["--in", "x=vector:a"], "must look like 5,3"),
        ("models_to_audit:turn", ["--in", "x=vector", "--in", "vector"], "name all inputs or none"),
        ("models_to_audit:net", ["--in", "x=vector", "--data", "nothing.npz"], "nothing.npz"),
        ("models_to_audit:net", ["--in", "x=vector", "--dtype", "int64"], "--dtype must be float32 or float64"),
        ("models_to_audit:net", [], "Missing option '--in'"),
    ],
)
def test_what_cannot_be_audited_is_refused_with_exit_code_2(torsor, models, target, options, expected):
    code, out, err = torsor("audit", target, "--group", "O(3)", "--out", "scalar", *options)
    assert (code, out) == (2, "")
    assert expected in one_line(err)


def test_papers_are_fifteen_objects_with_stable_keys(torsor):
    code, out, _ = torsor("papers", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["paper"] for row in rows] == list(range(1, 16))
    keys = ["paper", "title", "authors", "year", "arxiv", "module", "studies", "state", "claims"]
    assert all(list(row) == keys for row in rows)
    assert {row["state"] for row in rows} <= {"complete", "partial", "none"}
    assert "nbody" in rows[0]["studies"]
    claim = rows[0]["claims"][0]
    assert list(claim) == ["text", "source", "paper_value", "measured", "bar", "holds", "scale"]
    assert (claim["measured"], claim["holds"]) == (None, None)


def test_papers_are_truthful_about_what_can_be_imported(torsor):
    from importlib import import_module

    for row in json.loads(torsor("papers", "--json")[1]):
        if row["state"] == "none":
            assert row["studies"] == []
            assert row["claims"] == []
        else:
            import_module(row["module"])


def test_papers_for_people_name_all_fifteen(torsor):
    out = torsor("papers")[1]
    for words in ("Frame Averaging", "Schöller 2020, arXiv 2003.07243", "Horvat and Pfister 2024", "Puny et al. 2022"):
        assert words in out


def test_data_are_listed_got_and_found(torsor, monkeypatch, tmp_path):
    monkeypatch.setenv("TORSOR_CACHE", str(tmp_path))
    monkeypatch.delenv("TORSOR_DATA", raising=False)
    rows = {row["name"]: row for row in json.loads(torsor("data", "list", "--json")[1])}
    assert rows["digits"]["present"]
    assert not rows["pedestrians"]["present"]
    assert rows["pedestrians"]["how"] in torsor("data", "list")[1]
    assert "digits" in torsor("data", "get", "digits")[1]
    assert torsor("data", "path", "nbody")[1].strip() == str(tmp_path)
    code, _, err = torsor("data", "get", "pedestrians")
    assert code == 2
    assert "TORSOR_DATA" in one_line(err)


def test_bench_runs_a_benchmark_of_the_checkout_or_says_that_there_is_none(torsor, monkeypatch):
    assert torsor("bench", "no_such_benchmark")[0] == 2
    monkeypatch.setattr(cli, "__file__", "/nowhere/torsor/cli.py")
    code, _, err = torsor("bench")
    assert code == 2
    assert "belong to a checkout" in one_line(err)

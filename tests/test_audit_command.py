"""`torsor audit` on the files of other people, from the command line to the exit code."""

import json
import shlex
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from tests.audit.test_targets import Lengths, X, onnx_file
from tests.test_cli import one_line, torsor  # noqa: F401 (a fixture)
from torsor import SO, Scalar, Symmetry, Vector
from torsor._target import inputs_for, parse_slot
from torsor.audit.targets import load
from torsor.study._sources import read_arrays

BOTH = ["--out", "energy=scalar", "--out", "forces=vector"]
IN = ["--group", "SO(3)", "--in", "input=vector:5,3", "--samples", "4"]


def test_a_newcomer_audits_an_onnx_file_in_one_command(torsor, tmp_path):  # noqa: F811
    onnx_file(tmp_path)
    code, out, err = torsor("audit", "model.onnx", *IN, *BOTH)
    assert (code, err) == (0, "")
    assert "Exact" in out


def test_a_broken_onnx_file_fails_with_all_its_files(torsor, tmp_path):  # noqa: F811
    onnx_file(tmp_path, broken=True, name="odd <name> & %s.onnx")
    files = ["--json", "out/a.json", "--junit", "a.xml", "--html", "a.html", "--badge", "a.svg"]
    code, out, _ = torsor("audit", "odd <name> & %s.onnx", *IN, *BOTH, *files)
    assert code == 1
    assert "Suggestion: build" in out
    found = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (found["verdict"], found["holds"], found["target"]) == ("broken", False, "odd <name> & %s.onnx")
    suite = ElementTree.parse(tmp_path / "a.xml").getroot().find("testsuite")
    assert {case.get("name") for case in suite if case.find("failure") is not None} == {
        "all: energy",
        "verdict: Equivariance under SO(3): broken",
    }
    assert "<name>" not in (tmp_path / "a.html").read_text()
    assert "broken" in (tmp_path / "a.svg").read_text()
    assert not list(tmp_path.glob("**/*.part"))


def test_averaging_repairs_a_broken_onnx_file(torsor, tmp_path):  # noqa: F811
    onnx_file(tmp_path, broken=True)
    assert (
        torsor(
            "audit", "model.onnx", *IN, "--out", "energy=scalar", "--averaged", "--max-error", "1e-4", "--samples", "2"
        )[0]
        == 0
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--in", "x=vector:5,3", "--in", "input=vector", "--out", "energy=scalar"], "has no input 'x'; it has input"),
        (["--in", "input=vector:5,3", "--out", "scalar"], "has the outputs energy, forces: name those to audit"),
        (["--in", "input=vector:5,3", "--out", "heat=scalar"], "has no output 'heat'"),
        (["--in", "input=vector:5,3", "--out", "energy=scalar", "--max-error", "2"], "--max-error must be"),
        (["--in", "input=vector:5,3", "--out", "energy=scalar", "--html", "."], "torsor: "),
        (["--out", "energy=scalar"], "Missing option '--in'"),
    ],
)
def test_what_does_not_fit_an_onnx_file_is_refused(torsor, tmp_path, words, expected):  # noqa: F811
    onnx_file(tmp_path)
    code, out, err = torsor("audit", "model.onnx", "--group", "SO(3)", "--samples", "4", *words)
    assert (code, out) == (2, "")
    assert expected in one_line(err)


def test_pickles_are_refused(torsor, tmp_path):  # noqa: F811
    torch.save(Lengths(), tmp_path / "model.pt")
    code, _, err = torsor("audit", "model.pt", *IN, "--out", "scalar")
    assert code == 2
    assert "is a pickle" in one_line(err)


MINE = """
import numpy as np
import torch
from torsor import SO, Scalar, Symmetry, Vector

symmetry = Symmetry(SO(3), {"x": Vector()}, Scalar())

def size(x):
    return np.asarray(x).clip(-1e9, 1e9).__pow__(2).sum(-1)

def only_arrays(x):
    return np.linalg.norm(x.astype(np.float64), axis=-1)

net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine_to_audit.py").write_text(MINE)
    yield "mine_to_audit"
    sys.modules.pop("mine_to_audit", None)


def test_functions_of_arrays_need_no_flag(torsor, mine):  # noqa: F811
    code, _, err = torsor("audit", f"{mine}:only_arrays", "--symmetry", f"{mine}:symmetry", "--samples", "2")
    assert (code, err) == (0, "")
    code, _, err = torsor("audit", f"{mine}:size", "--symmetry", f"{mine}:symmetry", "--group", "SO(3)")
    assert (code, "leave out --group" in err) == (2, True)


def test_a_module_is_audited_layer_by_layer(torsor, mine):  # noqa: F811
    options = ["--group", "SO(3)", "--in", "vector", "--out", "scalar", "--samples", "4"]
    code, out, _ = torsor("audit", f"{mine}:net", *options)
    assert code == 1
    assert "0 (Linear) is the first layer that breaks the symmetry" in out


def test_an_exported_program_is_audited_on_a_table(torsor, tmp_path):  # noqa: F811
    class Size(torch.nn.Module):
        def forward(self, x):
            return x.square().sum(-1)

    torch.export.save(
        torch.export.export(Size(), (X[:, 0],), dynamic_shapes={"x": {0: torch.export.Dim("n")}}), tmp_path / "m.pt2"
    )
    rows = "\n".join(",".join(map(str, row)) for row in X[:, 0].tolist())
    (tmp_path / "odd @ & ü.csv").write_text(f"x_0,x_1,x_2\n{rows}\n")
    options = ["--group", "SO(3)", "--in", "x=vector", "--out", "scalar", "--samples", "6", "--json", "-"]
    code, out, err = torsor("audit", "m.pt2", *options, "--data", "odd @ & ü.csv")
    assert err == ""
    assert (code, json.loads(out)["inputs"]) == (0, 6)


@pytest.mark.parametrize("suffix", ["npz", "pt", "safetensors"])
def test_inputs_come_from_every_kind_of_file(tmp_path, suffix):
    from safetensors.torch import save_file

    path = tmp_path / f"odd @ & ü.{suffix}"
    if suffix == "npz":
        np.savez(path, x=X.numpy())
    elif suffix == "pt":
        torch.save({"x": X}, path)
    else:
        save_file({"x": X}, path)
    symmetry = Symmetry(SO(3), {"x": Vector()}, Scalar())
    found = inputs_for(symmetry, [parse_slot("x=vector")], torch.float64, path, 6)
    torch.testing.assert_close(found["x"], X[:6].double())
    with pytest.raises(ValueError, match="has no 'y'.*it has x"):
        inputs_for(symmetry, [parse_slot("y=vector")], torch.float64, path, 6)


def test_files_that_are_too_large_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("torsor.study._sources._LARGEST", 2**12)
    monkeypatch.setattr("torsor.audit.targets._archive.LARGEST", 2**12)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**6))  # unpacks to 8 MB
    assert (tmp_path / "a.npz").stat().st_size > 2**12
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros(10**5))
    for name in "ab":
        with pytest.raises(ValueError, match="must (have|hold) at most 4096 bytes"):
            read_arrays(tmp_path / f"{name}.npz")
    torch.export.save(torch.export.export(torch.nn.Linear(3, 999), (X[0],)), tmp_path / "m.pt2")
    with pytest.raises(ValueError, match="must hold at most 4096 bytes"):
        load(str(tmp_path / "m.pt2"))


def test_a_calculator_needs_only_its_structures(torsor, tmp_path):  # noqa: F811
    build = pytest.importorskip("ase.build", reason="needs the extra torsor[molecules]")
    from ase.io import write

    frames = [build.molecule("CH4"), build.molecule("H2O")]
    frames[0].positions += 0.03 * np.sin(np.arange(15)).reshape(5, 3)
    write(tmp_path / "a.extxyz", frames)
    emt = "ase:ase.calculators.emt:EMT()"
    code, out, err = torsor("audit", emt, "--data", "a.extxyz", "--junit", "a.xml")
    assert (code, err) == (0, "")
    assert "Changes of 2 structures that are none: exact" in out
    names = {case.get("name") for case in ElementTree.parse(tmp_path / "a.xml").getroot().iter("testcase")}
    assert {"reflections: forces", "permutations: energy", "all: energy"} <= names
    code, _, err = torsor("audit", emt)
    assert (code, "an ASE calculator needs structures" in err) == (2, True)


def channels_last_file(folder, ramp: bool):
    """The mean of every channel of `(batch, 8, 8, 3)`; with a ramp along one side it is no symmetry of squares."""
    onnx = pytest.importorskip("onnx", reason="needs the extra torsor[onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra torsor[onnx]")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.linspace(-1, 1, 8) if ramp else np.ones(8)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "weights"], ["weighted"]),
            helper.make_node("ReduceMean", ["weighted"], ["means"], axes=[1, 2], keepdims=0),
        ],
        "channels last",
        [helper.make_tensor_value_info("image", kind, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("means", kind, ["n", 3])],
        [helper.make_tensor("weights", kind, [8, 1, 1], weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "photo.onnx")


def test_a_newcomer_need_not_know_the_shapes_of_an_onnx_file(torsor, tmp_path):  # noqa: F811
    onnx_file(tmp_path)
    code, _, err = torsor("audit", "model.onnx")
    assert code == 2
    said = one_line(err)
    assert "takes input (batch, 5, 3) and gives energy (batch), forces (batch, 5, 3)" in said
    command = said.partition("such as: torsor ")[2]
    expected = ["--group", "SO(3)", "--in", "input=vector", "--out", "energy=scalar", "--out", "forces=vector"]
    assert shlex.split(command) == ["audit", "model.onnx", *expected]
    assert torsor(*shlex.split(command), "--samples", "2")[0] == 0


@pytest.mark.parametrize(("ramp", "expected"), [(False, 0), (True, 1)])
def test_images_whose_channels_are_last_are_images(torsor, tmp_path, ramp, expected):  # noqa: F811
    channels_last_file(tmp_path, ramp)
    options = ["photo.onnx", "--group", "C(4)", "--out", "scalar", "--samples", "2"]
    assert torsor("audit", *options, "--in", "image")[0] == expected
    np.savez(tmp_path / "photos.npz", image=np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32"))
    assert torsor("audit", *options, "--in", "image=image", "--data", "photos.npz")[0] == expected


def test_a_suggestion_is_a_command_that_can_be_pasted(torsor, tmp_path):  # noqa: F811
    onnx_file(tmp_path, broken=True)
    options = ["model.onnx", "--group", "SO(3)", "--in", "vector", "--out", "energy=scalar", "--samples", "2"]
    _, out, _ = torsor("audit", *options, "--max-error", "1e-4")
    [command] = [line.partition("try it: torsor ")[2] for line in out.splitlines() if line.startswith("Suggestion: b")]
    assert command.startswith("audit model.onnx --group 'SO(3)'")
    assert torsor(*shlex.split(command))[0] == 0


def test_layers_have_laws_on_the_command_line(torsor, mine):  # noqa: F811
    options = ["--group", "SO(3)", "--in", "vector", "--out", "scalar", "--samples", "2", "--json", "-"]
    _, out, _ = torsor("audit", f"{mine}:net", *options, "--layer", "0=vector")
    assert json.loads(out)["others"][0]["layers"][0]["law"] == "vector"
    code, _, err = torsor("audit", f"{mine}:net", *options, "--layer", "0")
    assert (code, "--layer must look like name=action" in one_line(err)) == (2, True)


def test_inputs_come_from_a_parquet_table(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra torsor[tables]")
    pandas = pytest.importorskip("pandas", reason="needs the extra torsor[tables]")
    path = tmp_path / "odd @ & ü.parquet"
    pandas.DataFrame(X[:, 0].numpy(), columns=["x_0", "x_1", "x_2"]).to_parquet(path)
    symmetry = Symmetry(SO(3), {"x": Vector()}, Scalar())
    found = inputs_for(symmetry, [parse_slot("x=vector")], torch.float64, path, 6)
    torch.testing.assert_close(found["x"], X[:6, 0].double())

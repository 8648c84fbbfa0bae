"""`torsor audit` on the files of other people, from the command line to the exit code."""

import json
import shlex
import sys
from xml.etree import ElementTree
from zipfile import ZIP_DEFLATED, ZipFile

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


def graph_file(folder, name: str, nodes, takes, gives, kind: str = "FLOAT"):
    """A small graph in a file: `takes` and `gives` are names with shapes."""
    onnx = pytest.importorskip("onnx", reason="needs the extra torsor[onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra torsor[onnx]")
    helper, dtype = onnx.helper, getattr(onnx.TensorProto, kind)
    ends = [helper.make_tensor_value_info(word, dtype, shape) for word, shape in (takes, gives)]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "graph", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / name)


@pytest.mark.parametrize("size", [5, "n"])
@pytest.mark.parametrize(("last", "expected"), [("ReduceSumSquare", 0), ("ReduceMax", 1)])
def test_an_onnx_file_may_take_one_sample_without_a_batch_axis(torsor, tmp_path, size, last, expected):  # noqa: F811
    nodes = [(last, ["positions"], ["whole"]), ("Squeeze", ["whole"], ["energy"])]
    graph_file(tmp_path, "one.onnx", nodes, ("positions", [size, 3]), ("energy", []))
    words = ["--group", "SO(3)", "--in", "positions=vector", "--out", "energy=scalar", "--samples", "2"]
    code, _, err = torsor("audit", "one.onnx", *words)
    assert (code, "--single" in one_line(err)) == (2, True)
    _, _, err = torsor("audit", "one.onnx", "--single")
    assert f"takes positions ({'any' if size == 'n' else 5}, 3)" in err
    assert "torsor audit one.onnx --single --group" in err
    assert torsor("audit", "one.onnx", "--single", *words)[0] == expected


def test_functions_and_archives_of_one_sample(torsor, tmp_path, mine):  # noqa: F811
    torch.export.save(torch.export.export(Lengths().eval(), (X[0],)), tmp_path / "one.pt2")
    words = ["--single", "--group", "SO(3)", "--out", "scalar", "--samples", "2"]
    assert torsor("audit", "one.pt2", *words, "--in", "x=vector")[0] == 0
    assert torsor("audit", f"{mine}:only_arrays", *words, "--in", "x=vector", "--arrays")[0] == 0


def test_whole_numbers_are_not_made_of_real_ones(torsor, tmp_path):  # noqa: F811
    graph_file(tmp_path, "kinds.onnx", [("Abs", ["kind"], ["y"])], ("kind", ["n", 5]), ("y", ["n", 5]), "INT64")
    words = ["--group", "SO(3)", "--in", "kind=scalar", "--out", "y=scalar", "--samples", "2"]
    code, _, err = torsor("audit", "kinds.onnx", *words)
    assert (code, "input 'kind' takes whole numbers (int64); got" in one_line(err)) == (2, True)


def test_names_do_not_reach_the_terminal_raw(torsor, tmp_path):  # noqa: F811
    name = "y\x1b[31m\n"
    graph_file(tmp_path, "odd.onnx", [("Identity", ["x"], [name])], ("x", ["n", 5, 3]), (name, ["n", 5, 3]))
    _, _, err = torsor("audit", "odd.onnx")
    assert r"y\x1b[31m" in one_line(err)
    words = ["--group", "SO(3)", "--in", "vector", "--out", f"{name}=vector", "--samples", "2"]
    code, out, _ = torsor("audit", "odd.onnx", *words)
    assert (code, "\x1b" in out) == (0, False)
    assert r"y\x1b[31m\n" in out


def test_a_model_cannot_end_the_program_with_success(torsor, mine, tmp_path):  # noqa: F811
    (tmp_path / f"{mine}.py").write_text("def leaves(x):\n    raise SystemExit(0)\n")
    code, out, err = torsor("audit", f"{mine}:leaves", "--group", "SO(3)", "--in", "vector", "--out", "scalar")
    assert (code, out) == (2, "")
    assert "SystemExit(0)" in one_line(err)


@pytest.mark.parametrize(("allowed", "said"), [("0.9", "Holds"), ("1e-4", "Does not hold")])
def test_the_last_line_says_what_the_gate_says(torsor, tmp_path, allowed, said):  # noqa: F811
    graph_file(tmp_path, "abs.onnx", [("Abs", ["x"], ["y"])], ("x", ["n", 5, 3]), ("y", ["n", 5, 3]))
    words = ["--group", "SO(3)", "--in", "vector", "--out", "vector", "--samples", "2", "--max-error", allowed]
    code, out, _ = torsor("audit", "abs.onnx", *words)
    assert code == (said != "Holds")
    assert out.splitlines()[-1] == f"{said} with mean errors up to {float(allowed):g}."


def test_data_in_a_zip_of_torch_are_counted_unpacked(tmp_path, monkeypatch):
    torch.save({"x": torch.zeros(10**5)}, tmp_path / "large.pt")
    with ZipFile(tmp_path / "large.pt") as old, ZipFile(tmp_path / "small.pt", "w", ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    monkeypatch.setattr("torsor.study._sources._LARGEST", 2**14)
    assert (tmp_path / "small.pt").stat().st_size < 2**14
    with pytest.raises(ValueError, match="must hold at most 16384 bytes"):
        read_arrays(tmp_path / "small.pt")


def test_data_that_are_a_pickle_are_refused_with_the_safe_way(tmp_path):
    torch.save({"x": Lengths()}, tmp_path / "data.pt")
    with pytest.raises(ValueError, match="save a dict of tensors, or safetensors") as caught:
        read_arrays(tmp_path / "data.pt")
    assert "weights_only" not in str(caught.value)

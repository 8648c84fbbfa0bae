"""Models of other people: each kind of file or object becomes a callable that an audit can ask."""

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from torsor import SO, Scalar, Symmetry, Vector, audit
from torsor.audit.targets import load, on_arrays, sklearn_target

X = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(1))
LENGTHS = Symmetry(SO(3), Vector(), Scalar())
QUICK = {"samples": 2, "curve": False, "continuity": False, "parts": False}


class Lengths(nn.Module):
    def __init__(self, bend: float = 0.0):
        super().__init__()
        self.mix, self.bend = nn.Linear(5, 4), bend

    def forward(self, x):
        return self.mix((x.square().sum(-1) + self.bend * x[..., 2]).sqrt() if not self.bend else x[..., 2])


def exported(folder: Path, model: nn.Module, name: str = "model.pt2", **dynamic) -> Path:
    program = torch.export.export(model.eval(), (X[:4],), dynamic_shapes=dynamic or None)
    torch.export.save(program, folder / name)
    return folder / name


def onnx_file(folder: Path, broken: bool = False, batch="n", name: str = "model.onnx") -> Path:
    onnx = pytest.importorskip("onnx", reason="needs the extra torsor[onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra torsor[onnx]")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    first = ["ReduceSum", ["square", "axes"]] if not broken else ["ReduceSum", ["input", "axes"]]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input", "input"], ["square"]),
            helper.make_node(*first, ["energy"], keepdims=0),
            helper.make_node("Identity", ["input"], ["forces"]),
        ],
        "a model",
        [helper.make_tensor_value_info("input", kind, [batch, 5, 3])],
        [
            helper.make_tensor_value_info("energy", kind, [batch]),
            helper.make_tensor_value_info("forces", kind, [batch, 5, 3]),
        ],
        [helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / name)
    return folder / name


BOTH = Symmetry(SO(3), Vector(), {"energy": Scalar(), "forces": Vector()})


def test_an_onnx_model_is_audited_without_gradient_float64_or_layers(tmp_path):
    target = load(str(onnx_file(tmp_path)))
    assert (target.kind, target.inputs, target.outputs) == ("onnx", ("input",), ("energy", "forces"))
    assert (target.gradient, target.float64, target.layers, target.dtype) == (False, False, False, torch.float32)
    report = audit.equivariance(target.returning(["energy", "forces"]).function, BOTH, X[:4], **QUICK)
    assert report.verdict == "exact"
    assert report.worst.found_by == "random search and local refinement"
    assert report.float64.reason == "only an nn.Module can be copied to float64"


def test_a_broken_onnx_model_is_broken(tmp_path):
    report = audit.equivariance(load(str(onnx_file(tmp_path, broken=True))).returning(["energy"]).function,
                                Symmetry(SO(3), Vector(), {"energy": Scalar()}), X[:4], **QUICK)  # fmt: skip
    assert report.verdict == "broken"
    assert report.worst.error > 0.9


def test_an_onnx_model_of_one_batch_size_takes_every_batch(tmp_path):
    call = load(str(onnx_file(tmp_path, batch=5))).function
    torch.testing.assert_close(call(X)["energy"], X.square().sum((1, 2)))
    assert call(X)["forces"].shape == X.shape


def test_outputs_are_chosen_by_name(tmp_path):
    target = load(str(onnx_file(tmp_path, name="odd name: %20 ünï.onnx")))
    assert set(target.returning(["forces"]).function(X)) == {"forces"}
    with pytest.raises(ValueError, match="name those to audit"):
        target.returning()
    with pytest.raises(ValueError, match="has no output 'force'; it has energy, forces"):
        target.returning(["force"])


def test_what_is_no_onnx_model_is_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra torsor[onnx]")
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="is no ONNX model that onnxruntime can run"):
        load(str(tmp_path / "a.onnx"))
    with pytest.raises(ValueError, match="there is no such file"):
        load(str(tmp_path / "b.onnx"))


def test_an_exported_program_is_audited(tmp_path):
    dynamic = {"x": {0: torch.export.Dim("n")}}
    target = load(str(exported(tmp_path, Lengths(), **dynamic)))
    assert (target.kind, target.inputs, target.gradient, target.layers) == ("export", ("x",), True, False)
    assert audit.equivariance(target.function, LENGTHS, X[:4], **QUICK).verdict == "exact"
    bent = load(str(exported(tmp_path, Lengths(1.0), **dynamic)))
    report = audit.equivariance(bent.function, LENGTHS, X[:4], **QUICK)
    assert report.verdict == "broken"
    assert report.worst.found_by == "gradient ascent"


def test_arguments_of_an_exported_program_go_by_place_or_name(tmp_path):
    class Two(nn.Module):
        def forward(self, x, *, v):
            return {"a": x - v, "b": [x.sum(-1)]}

    torch.export.save(torch.export.export(Two(), (X[:4],), {"v": X[:4]}), tmp_path / "two.pt2")
    call = load(str(tmp_path / "two.pt2")).function
    for found in (call(X, 2 * X), call(X, v=2 * X), call(v=2 * X, x=X)):
        torch.testing.assert_close(found["a"], -X)
        assert found["b"][0].shape == (12, 5)
    with pytest.raises(TypeError, match="the model takes x, v; got 1 values and w"):
        call(X, w=X)


def test_the_shapes_that_a_file_says_are_known(tmp_path):
    assert load(str(onnx_file(tmp_path))).shapes == {"input": (5, 3), "energy": (), "forces": (5, 3)}
    sizes = {"input": {0: torch.export.Dim("n"), 1: torch.export.Dim("m")}}
    torch.export.save(torch.export.export(nn.Linear(3, 1), (X,), dynamic_shapes=sizes), tmp_path / "m.pt2")
    assert load(str(tmp_path / "m.pt2")).shapes == {"input": (None, 3)}


def test_an_exported_program_of_one_batch_size_takes_every_batch(tmp_path):
    model = Lengths()
    torch.testing.assert_close(load(str(exported(tmp_path, model))).function(X), model(X))


class Boom:
    def __reduce__(self):
        return exec, ("import builtins; builtins.boom = True",)


def tampered(path: Path, member: str, change) -> Path:
    """A copy of an archive with one entry changed, or added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_name("bad.pt2"), "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for entry in old.namelist():
            data = old.read(entry)
            new.writestr(entry, change(data) if entry == f"{root}/{member}" else data)
        if f"{root}/{member}" not in old.namelist():
            new.writestr(f"{root}/{member}", change(b""))
    return path.with_name("bad.pt2")


def edit(old: str, new: str):
    def change(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return change


def with_guard(data: bytes) -> bytes:
    return json.dumps(
        json.loads(data) | {"guards_code": ["__import__('builtins').__dict__.update(boom=True) or 1"]}
    ).encode()


def pickled(data: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save(Boom(), buffer)
    return buffer.getvalue()


WEIGHTS, MODEL = "data/weights/model_weights_config.json", "models/model.json"
SYMBOL = "Symbol('s77', positive=True, integer=True)"


@pytest.mark.parametrize(
    ("member", "change", "expected"),
    [
        (WEIGHTS, edit('"use_pickle": false', '"use_pickle": true'), "a pickled or custom object"),
        ("data/constants/opaque_obj_0", lambda _: pickle.dumps(Boom()), "opaque_obj_0"),
        ("data/weights/model.pt", pickled, "data/weights/model.pt"),
        ("data/aotinductor/model/model.so", lambda _: b"\x7fELF", "data/aotinductor"),
        (MODEL, edit("torch.ops.aten.linear.default", "torch.os.system"), "the operator 'torch.os.system'"),
        (MODEL, edit("torch.ops.aten.linear.default", "torch.ops.aten.from_file.default"), "from_file"),
        (MODEL, edit("torch.ops.aten.linear.default", "_operator.methodcaller"), "methodcaller"),
        (MODEL, edit(SYMBOL, "__import__('os').getcwd()"), "the expression"),
        (MODEL, edit("builtins.tuple", "collections.defaultdict"), "the container 'collections.defaultdict'"),
        (MODEL, edit('"linear"', '"x):\\n  import os\\ndef g("'), "the name"),
        (MODEL, lambda _: b"{", "is no archive of torch.export.save"),
    ],
)  # fmt: skip
def test_an_archive_that_could_execute_code_is_refused(tmp_path, member, change, expected):
    path = exported(tmp_path, Lengths(), x={0: torch.export.Dim("n")})
    with pytest.raises(ValueError, match="pt2") as caught:
        load(str(tampered(path, member, change)))
    assert expected in str(caught.value)
    assert not hasattr(__import__("builtins"), "boom")


@pytest.mark.parametrize(("member", "change"), [("data/sample_inputs/model.pt", pickled), (MODEL, with_guard)])
def test_what_an_archive_does_not_need_is_left_out(tmp_path, member, change):
    path = tampered(exported(tmp_path, Lengths(), x={0: torch.export.Dim("n")}), member, change)
    assert load(str(path)).function(X).shape == (12, 4)
    assert not hasattr(__import__("builtins"), "boom")


@pytest.mark.parametrize("name", ["m.pkl", "m.PT", "m.pth", "m.joblib", "m.ckpt", "folder/m.bin"])
def test_pickles_are_refused_with_the_safe_way(tmp_path, name):
    with pytest.raises(ValueError, match=r"is a pickle.*torch\.export\.save.*ONNX.*safetensors"):
        load(name)


def test_files_of_weights_alone_are_refused():
    with pytest.raises(ValueError, match="holds arrays and no model"):
        load("weights.safetensors")


def test_estimators_answer_with_probabilities_or_predictions():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression
    from sklearn.svm import LinearSVC

    rows, labels = X.reshape(12, 15).numpy(), np.array(["a", "b"] * 6)
    sure = sklearn_target("forest", RandomForestClassifier(5, random_state=0).fit(rows, labels)).function(X)
    assert sure.shape == (12, 2)
    torch.testing.assert_close(sure.sum(1), torch.ones(12, dtype=sure.dtype))
    assert set(sklearn_target("svc", LinearSVC().fit(rows, labels)).function(X).tolist()) <= {0, 1}
    many = torch.randn(100, 15, dtype=torch.float64).numpy()
    model = LinearRegression().fit(many, many[:, :3])  # the first of five vectors
    call = sklearn_target("line", model).function
    per_sample = Symmetry(SO(3), Vector(), Vector(per="sample"))
    report = audit.equivariance(call, per_sample, X[:4].double(), **QUICK)
    assert report.error < 1e-10


def test_functions_of_arrays_are_audited():
    call = on_arrays(lambda x: {"r": np.sqrt(np.einsum("bni,bni->bn", x, x)), "n": 3.0 * np.ones(len(x))})
    symmetry = Symmetry(SO(3), Vector(), {"r": Scalar(), "n": Scalar()})
    report = audit.equivariance(call, symmetry, X[:4], **QUICK)
    assert (report.verdict, report.worst.found_by) == ("exact", "random search and local refinement")
    with pytest.raises(TypeError, match="must return numbers; got str"):
        on_arrays(lambda x: "no")(X)


def test_a_function_cannot_spoil_the_arrays_that_it_gets():
    before = X.clone()

    def spoil(x):
        x *= 0
        return x

    on_arrays(spoil)(X)
    assert torch.equal(X, before)


def test_import_paths_name_estimators_and_what_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made_here.py").write_text(
        "from sklearn.dummy import DummyRegressor\nmodel = DummyRegressor().fit([[0.0]], [1.0])\n"
        "def make():\n    return model\n"
    )
    assert load("made_here:model").kind == load("made_here:make").kind == "sklearn"
    sys.modules.pop("made_here")

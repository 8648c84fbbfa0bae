"""Archives of `torch.export`, rebuilt from the parts that cannot execute anything.

`torch.export.load` of PyTorch 2.13 trusts its file. It unpickles weights and constants that say `use_pickle`, custom
and opaque objects, files of the old layout and, where `weights_only` fails, sample inputs; it looks up operators by any
name under `torch`, `operator` and `math`, evaluates shape expressions with `sympify` and guards with `exec`, imports
modules that tree specifications name, and loads compiled libraries. So an archive is read here first, as a zip of JSON
and raw numbers; what is not on the lists below is refused, and only what is on them reaches PyTorch, in a new archive.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from torsor.audit.targets._target import LARGEST, checked_file

_KEPT = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|archive_version|byteorder|\.data/version"
)
_DROPPED = re.compile(r"data/sample_inputs/model\.pt|extra/.*|\.data/serialization_id")

_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)\w+\.[A-Za-z0-9]\w*"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_(int|float|max|min|not|sum|ite)"
    r"|_operator\.(abs|add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|sub|truediv)"
    r"|math\.(ceil|floor|trunc)"
)
_FUNCTIONS = (
    "FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt FloorToInt CeilDiv FloatTrueDiv IntTrueDiv "
    "TruncToFloat TruncToInt RoundToInt ToFloat Identity Max Min Eq Ne Not And Or Integer Float Rational Add Mul Pow "
    "Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan true false True False oo int_oo"
).replace(" ", "|")
_SYMBOL = r"Symbol\('[a-z]{1,4}\d++'(?:, (?:positive|integer|nonnegative|real|zero)=(?:True|False))*+\)"
_EXPRESSION = re.compile(  # possessive: a refusal takes linear time
    rf"(?:[\s()+/%,<>=!&|~-]|\*(?!\*)|\d++(?:\.\d++)?|[a-z]{{1,4}}\d++\b|{_SYMBOL}|\b(?:{_FUNCTIONS})\b)*+"
)
_WORD = re.compile(r"[\w.:+<=-]*", re.ASCII)
_LEFT_OUT = {"metadata", "guards_code"}
_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", None)


def rebuilt_archive(path: str | Path) -> io.BytesIO:
    """A copy of an archive that holds raw weights, ATen operators and plain containers, and nothing else.

    Raises:
        ValueError: the file is no such archive, is too large, or holds what could execute; names it.
    """
    path = checked_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            return _rebuilt(file, path)
    except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError, KeyError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is no archive of torch.export.save: {error}") from None


def _rebuilt(file: zipfile.ZipFile, path: Path) -> io.BytesIO:
    entries = file.infolist()
    if sum(entry.file_size for entry in entries) > LARGEST:
        raise ValueError(f"{str(path)!r} must hold at most {LARGEST} bytes")
    names = [entry.filename.partition("/")[2] for entry in entries]
    odd = [n for n in names if not (_KEPT.fullmatch(n) or _DROPPED.fullmatch(n))]
    if odd or len(set(names)) < len(names):
        refuse(path, f"the entry {odd[0]!r}" if odd else "two entries of one name")
    if "models/model.json" not in names:
        raise ValueError(f"{str(path)!r} is no archive of torch.export.save: it has no models/model.json")
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as out:
        for entry, name in zip(entries, names, strict=True):
            if not _KEPT.fullmatch(name):
                continue
            data = file.read(entry)
            if name.endswith(".json"):
                data = json.dumps(_vetted(json.loads(data), path)).encode()
            out.writestr(f"model/{name}", data)
        out.writestr("model/data/sample_inputs/model.pt", b"")
    copy.seek(0)
    return copy


def _vetted(node: Any, path: Path, key: str = "") -> Any:
    """A JSON tree with everything in it checked; what only describes or guards is left out."""
    if isinstance(node, dict):
        if node.get("use_pickle") or "as_custom_obj" in node or node.get("custom_obj_values"):
            refuse(path, "a pickled or custom object")
        for name in node:
            _word(name, path)
        empty = {name: type(node[name])() for name in _LEFT_OUT & node.keys()}  # metadata and guards: {} and []
        return {name: _vetted(value, path, name) for name, value in (node | empty).items()}
    if isinstance(node, list):
        return [_vetted(entry, path, key) for entry in node]
    if isinstance(node, str):
        _check(node, path, key)
    return node


def _check(text: str, path: Path, key: str) -> None:
    if key in ("target", "as_operator"):
        if not _OPERATOR.fullmatch(text):
            refuse(path, f"the operator {text!r}")
    elif key == "expr_str":
        if not _EXPRESSION.fullmatch(text):
            refuse(path, f"the expression {text!r}")
    elif key in ("in_spec", "out_spec"):
        _check_container(json.loads(text), path)
    elif key not in ("as_string", "as_strings"):
        _word(text, path)


def _check_container(spec: Any, path: Path) -> None:
    if isinstance(spec, dict):
        context = spec.get("context")
        keys = json.loads(context) if isinstance(context, str) else context
        plain = keys is None or (isinstance(keys, list) and all(isinstance(k, str | int) for k in keys))
        if spec.get("type") not in _CONTAINERS or not plain:
            refuse(path, f"the container {spec.get('type')!r}")
        spec = spec.get("children_spec", [])
    for entry in spec if isinstance(spec, list) else ():
        _check_container(entry, path)


def _word(text: str, path: Path) -> None:
    if not _WORD.fullmatch(text):
        refuse(path, f"the name {text!r}")


def refuse(path: Path, what: str) -> None:
    """Refuse an archive for something that it holds.

    Raises:
        ValueError: always; names the safe ways.
    """
    raise ValueError(
        f"{str(path)!r} holds {what[:200]}, which could execute code or is unknown, so it is not loaded. If the model"
        " is yours, name what makes it by its import path (package.module:build), or export it to ONNX."
    )

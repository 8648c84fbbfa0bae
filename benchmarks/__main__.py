"""Run the benchmarks: `python -m benchmarks [NAME ...] [--json FILE]`. The exit code is 1 if a bar was missed."""

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks import _harness


def names() -> list[str]:
    """Every benchmark of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(names())}; all if none is given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers as JSON")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - set(names())):
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(names())}")
    results = {}
    for name in chosen.names or names():
        print(f"{name}: ", end="", flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        results[name] = module.run()
        print((module.__doc__ or "").strip().splitlines()[0])
        print(_harness.table(results[name]), flush=True)
    if chosen.json:
        chosen.json.write_text(_harness.to_json(results))
    missed = [row.what for rows in results.values() for row in rows if row.holds is False]
    print(f"{len(missed)} of the bars missed: {'; '.join(missed)}" if missed else "every bar holds")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The harness of the benchmarks: what a row says, what is found, what the exit code means. Nothing is timed here."""

import importlib
import json

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import _harness


def fake(monkeypatch, *rows: _harness.Row) -> None:
    module = importlib.import_module("benchmarks.import_time")
    monkeypatch.setattr(module, "run", lambda: list(rows))


def test_a_row_compares_with_its_peer():
    row = _harness.Row("ours", 3.0, 2.0, "theirs", bar=1.4)
    assert (row.ratio, row.holds) == (1.5, False)
    assert "1.50x theirs" in _harness.table([row])
    assert "MISSED" in _harness.table([row])
    assert _harness.Row("ours", 3.0, 2.0, "theirs").holds is None


def test_every_benchmark_can_be_run():
    for name in bench.names():
        assert callable(importlib.import_module(f"benchmarks.{name}").run), name


def test_the_peak_of_a_process_is_its_own():
    here = torch.ones(100_000_000)  # a child of a large process starts small
    assert _harness.peak_megabytes("x = torch.ones(25_000_000)") > 90
    assert len(here)


@pytest.mark.parametrize(("bar", "code"), [(2.0, 0), (1.0, 1)])
def test_a_missed_bar_is_the_exit_code(monkeypatch, capsys, bar, code):
    fake(monkeypatch, _harness.Row("ours", 3.0, 2.0, "theirs", bar=bar))
    assert bench.main(["import_time"]) == code
    assert ("missed: ours" in capsys.readouterr().out) == bool(code)


def test_numbers_are_written_with_the_machine(monkeypatch, tmp_path):
    fake(monkeypatch, _harness.Row("ours", 3.0, 2.0, "theirs"))
    bench.main(["import_time", "--json", str(tmp_path / "rows.json")])
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["threads"] == _harness.THREADS
    assert written["rows"][0]["ratio"] == 1.5


def test_unknown_benchmark_is_refused_by_name(capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main(["no_such"])
    assert "no benchmark named no_such" in capsys.readouterr().err


def test_calls_take_turns():
    order: list[str] = []
    taken = _harness.milliseconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2, warmup=1)
    assert "".join(order) == "ab" + "abab"
    assert len(taken) == 2

"""What a run tells on stderr: lines in a log, bars on a terminal, nothing that a name could make of it."""

import io

from rich.console import Console

from tests.study.toy import Marks
from torsor.study import Record, Trial, run_study
from torsor.study._display import ConsoleDisplay


def test_a_log_has_one_line_per_trial_with_its_end_and_reason(tmp_path):
    log = io.StringIO()
    with ConsoleDisplay(Console(file=log, width=60)) as display:
        run_study(Marks(tmp_path / "marks", bad="fail"), "smoke", tmp_path, display=display)
    lines = log.getvalue().splitlines()
    assert lines[0] == "4 trials"
    assert [line.split(" ")[0] for line in lines[1:]] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert lines[2].startswith("[2/4] row 1, seed 1 failed 0.")
    assert lines[2].endswith("s: RuntimeError: the second coin is broken")


def test_a_bar_goes_when_its_trial_has_ended():
    display = ConsoleDisplay(Console(file=io.StringIO(), force_terminal=True))
    trial = Trial("s", "row", 0)
    with display:
        display.begin([trial])
        display.update(trial, 0.5, "half")
        assert [task.completed for task in display._progress.tasks] == [0.5]
        display.end(Record(trial, "done", seconds=1.0))
        assert display._progress.tasks == []


def test_names_and_reasons_are_no_markup():
    log = io.StringIO()
    with ConsoleDisplay(Console(file=log)) as display:
        display.begin([])
        display.end(Record(Trial("s", "[red]row[/]", 0), "failed", "[bold]boom[/"))
        display.warn("[link=x]y")
    assert "[red]row[/], seed 0 failed: [bold]boom[/" in log.getvalue()
    assert "[link=x]y" in log.getvalue()

"""Every trial runs once, whatever is killed, and the end of each is known."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.study.toy import Marks
from torsor.study import Display, Trial, run_study
from torsor.study._store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def marks(tmp_path):
    return lambda **options: Marks(tmp_path / "log", **options)


def start(folder, log, count, seconds, workers=1):
    """The toy study in a process of its own."""
    words = [sys.executable, "-m", "tests.study.toy", *map(str, (folder, log, count, seconds, workers))]
    return subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True)


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_finished_trials_are_read_and_not_run_again(marks, tmp_path):
    first = run_study(marks(), "smoke", tmp_path)
    again = run_study(marks(), "smoke", tmp_path)
    assert marks().seeds("begin") == [0, 1, 2, 3]
    assert [r.to_json() for r in first.records] == [r.to_json() for r in again.records]


def test_a_changed_configuration_is_a_new_trial_and_fresh_runs_all_again(marks, tmp_path):
    run_study(marks(count=2), "smoke", tmp_path)
    run_study(marks(count=2), "desk", tmp_path)
    assert marks().seeds("end") == [0, 0, 1, 1]
    run_study(marks(count=2), "smoke", tmp_path, fresh=True)
    assert marks().seeds("end") == [0, 0, 0, 1, 1, 1]
    with sqlite3.connect(tmp_path / "results.sqlite") as db:
        (superseded,) = db.execute("SELECT count(*) FROM trials WHERE status = 'superseded'").fetchone()
    assert superseded == 2


def test_seeds_replace_those_of_the_study(marks, tmp_path):
    assert [r.trial.seed for r in run_study(marks(), "smoke", tmp_path, seeds=[7, 9]).records] == [7, 9]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_study_goes_on_and_runs_no_finished_trial_again(marks, tmp_path, workers):
    log, count = tmp_path / "log", 6
    process = start(tmp_path, log, count, 0.4, workers)
    wait_until(lambda: len(marks().seeds("end")) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    trials = Marks(log, count).trials("smoke")
    store = Store(tmp_path)
    wait_until(lambda: all(store.record(trial).status != "running" for trial in trials), 10)
    finished = {trial.seed for trial in trials if store.record(trial).status == "done"}
    assert finished, "nothing was finished before the kill"
    assert len(finished) < count, "nothing was left to do after the kill"
    result = run_study(marks(count=count), "smoke", tmp_path)
    assert result.complete
    assert [r.status for r in result.records] == ["done"] * count
    ends = marks().seeds("end")
    assert set(ends) == set(range(count))
    assert all(ends.count(seed) == 1 for seed in finished)
    assert all(store.attempts(trial) == 1 for trial in trials if trial.seed in finished)


def test_two_processes_on_one_folder_share_the_trials(marks, tmp_path):
    processes = [start(tmp_path, tmp_path / "log", 6, 0.3) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert marks().seeds("begin") == marks().seeds("end") == list(range(6))
    records = run_study(marks(count=6), "smoke", tmp_path).records
    assert len({record.metrics["pid"] for record in records}) == 2


def test_workers_are_processes_of_their_own(marks, tmp_path):
    result = run_study(marks(), "smoke", tmp_path, workers=2)
    assert result.complete
    assert os.getpid() not in {record.metrics["pid"] for record in result.records}


def test_an_interrupted_study_ends_at_once_with_its_workers(marks, tmp_path):
    process = start(tmp_path, tmp_path / "log", 4, 60, workers=2)
    wait_until(lambda: len(marks().seeds("begin")) == 2)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    store = Store(tmp_path)
    wait_until(lambda: all(store.record(trial).status == "waiting" for trial in marks().trials("smoke")), 10)


def test_a_study_says_how_many_workers_suit_it(marks, tmp_path, monkeypatch):
    monkeypatch.setattr(Marks, "workers", lambda self, scale: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    records = run_study(marks(), "smoke", tmp_path).records
    assert os.getpid() not in {record.metrics["pid"] for record in records}


def test_a_worker_that_dies_leaves_the_study_incomplete_and_says_so(marks, tmp_path):
    words = []
    display = Display()
    display.warn = words.append
    result = run_study(marks(bad="die"), "smoke", tmp_path, workers=2, display=display)
    assert not result.complete
    assert "died" in words[0]
    assert result.records[1].status == "waiting"


def test_a_skipped_trial_is_complete_with_its_reason_and_a_failed_one_is_not(marks, tmp_path):
    skipped = run_study(marks(bad="skip"), "smoke", tmp_path / "a")
    assert skipped.complete
    assert (skipped.records[1].status, skipped.records[1].reason) == ("skipped", "there is no second coin")
    failed = run_study(marks(bad="fail"), "smoke", tmp_path / "b")
    assert not failed.complete
    assert failed.records[1].reason == "RuntimeError: the second coin is broken"
    assert "the second coin is broken" in failed.page.read_text()
    mended = run_study(marks(), "smoke", tmp_path / "b")
    assert mended.complete


def test_the_json_has_exactly_its_keys_and_no_nan(marks, tmp_path):
    found = json.loads(json.dumps(run_study(marks(), "smoke", tmp_path).to_json(), allow_nan=False))
    assert list(found) == ["study", "scale", "page", "trials", "claims"]
    assert list(found["claims"][0]) == ["text", "source", "paper_value", "measured", "bar", "holds", "scale"]
    assert found["trials"][0]["metrics"]["nothing"] is None
    assert Path(found["page"]).is_file()


def test_ray_is_asked_for_in_words_where_it_is_not_installed(marks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'torsor\[ray\]'"):
        run_study(marks(), "smoke", tmp_path, on="ray")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": "huge"}, "scale must be one of smoke, desk, paper; got 'huge'"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"on": "mars"}, "on must be 'local' or 'ray'; got 'mars'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(marks, tmp_path, options, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        run_study(marks(), **({"scale": "smoke", "folder": tmp_path / "new"} | options))
    assert marks().seeds("begin") == []


def test_two_trials_that_are_the_same_are_refused(marks, tmp_path):
    with pytest.raises(ValueError, match="two trials with the same"):
        run_study(marks(), "smoke", tmp_path, seeds=[1, 1])


def test_the_key_of_a_trial_knows_all_that_decides_it():
    trial = Trial("s", "row", 0, {"a": 1, "b": [1, 2]})
    assert trial.key == Trial("s", "row", 0, {"b": [1, 2], "a": 1}).key
    others = [
        Trial("t", "row", 0, trial.config),
        Trial("s", "raw", 0, trial.config),
        Trial("s", "row", 1, trial.config),
    ]
    assert len({trial.key, *(other.key for other in others)}) == 4

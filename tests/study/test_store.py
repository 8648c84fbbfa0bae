"""What `results.sqlite` keeps, and what happens to one that cannot be read."""

import sqlite3

import pytest

from torsor.study import Trial
from torsor.study._store import Store

TRIAL = Trial("s", "row", 3, {"epochs": 2})


def finish(store, **metrics):
    with store.claim(TRIAL) as mine:
        assert mine
        store.finish(TRIAL, "done", metrics, "", 1.5)


def test_a_finished_trial_has_its_metrics_versions_and_times(tmp_path):
    finish(Store(tmp_path), error=0.25)
    record = Store(tmp_path).record(TRIAL)
    assert (record.status, record.metrics, record.seconds) == ("done", {"error": 0.25}, 1.5)
    assert {"torsor", "torch", "python"} <= set(record.versions)
    assert record.started <= record.ended
    with sqlite3.connect(tmp_path / "results.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("SELECT name, seed, config FROM trials").fetchone() == ("row", 3, '{"epochs": 2}')


def test_a_claimed_trial_is_running_and_nobody_else_can_claim_it(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    with store.claim(TRIAL) as mine:
        assert mine
        assert other.record(TRIAL).status == "running"
        with other.claim(TRIAL) as theirs:
            assert not theirs
        store.teller(TRIAL.key)(0.5, "half")
        assert other.progress(TRIAL.key) == (0.5, "half")
    assert (other.record(TRIAL).status, other.record(TRIAL).reason) == ("waiting", "interrupted")
    with other.claim(TRIAL) as theirs:
        assert theirs
    assert store.attempts(TRIAL) == 2


def test_a_finished_trial_cannot_be_claimed_again(tmp_path):
    finish(Store(tmp_path))
    with Store(tmp_path).claim(TRIAL) as mine:
        assert not mine


def damage(path, how):
    if how == "garbage":
        path.write_bytes(b"this was never a database" * 100)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("how", ["garbage", "truncated", "newer"])
def test_an_unreadable_file_is_kept_aside_and_reported(tmp_path, how):
    finish(Store(tmp_path))
    path = tmp_path / "results.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path, how)
    content = path.read_bytes()
    words = []
    assert Store(tmp_path, words.append).record(TRIAL).status == "waiting"
    (aside,) = tmp_path.glob("results.sqlite.unreadable-*[0-9]")
    assert aside.read_bytes() == content
    assert aside.name in words[0]
    assert Store(tmp_path, words.append).record(TRIAL).status == "waiting"
    assert len(words) == 1


def test_an_empty_file_is_a_new_database(tmp_path):
    (tmp_path / "results.sqlite").touch()
    words = []
    finish(Store(tmp_path, words.append))
    assert not words

"""Where the numbers go: loggers and the progress bar."""

import csv
import sys

import pytest

from tests.learn.test_fit import linear, network, train
from torsor import learn


class Stop(Exception):
    pass


class StopAfter:
    def __init__(self, epoch):
        self.epoch, self.closed = epoch, False

    def log(self, values):
        if values["epoch"] == self.epoch:
            raise Stop

    def close(self):
        self.closed = True


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_one_row_per_epoch(tmp_path):
    path = tmp_path / "logs" / "run.csv"
    result = train(network(), valid=linear(), loggers=[learn.CSVLogger(path)])
    assert [int(row["epoch"]) for row in rows(path)] == [1, 2, 3, 4, 5]
    assert [float(row["valid"]) for row in rows(path)] == [entry["valid"] for entry in result.history]


def test_csv_goes_on_without_gaps_or_repetition(tmp_path, monkeypatch):
    monkeypatch.setattr("torsor.learn._fit._SAVING_SHARE", 1e-12)  # only the first epoch is saved
    path = tmp_path / "run.csv"
    stop = StopAfter(3)
    with pytest.raises(Stop):
        train(network(), checkpoint=tmp_path / "state", loggers=[learn.CSVLogger(path), stop])
    assert stop.closed
    assert [int(row["epoch"]) for row in rows(path)] == [1, 2, 3]
    train(network(), checkpoint=tmp_path / "state", loggers=[learn.CSVLogger(path)])
    assert [int(row["epoch"]) for row in rows(path)] == [1, 2, 3, 4, 5]


def test_csv_takes_a_number_that_comes_later(tmp_path):
    logger = learn.CSVLogger(tmp_path / "run.csv")
    logger.on_fit_start([])
    logger.log({"epoch": 1, "train": 0.5})
    logger.log({"epoch": 2, "train": 0.4, "dual": 1.0})
    logger.log({"epoch": 3, "train": 0.3})
    assert [row["dual"] for row in rows(tmp_path / "run.csv")] == ["", "1.0", ""]


def test_tensorboard_has_one_scalar_per_number_and_epoch(tmp_path):
    pytest.importorskip("tensorboard")
    result = train(network(), valid=linear(), loggers=[learn.TensorBoardLogger(tmp_path)])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = events.Scalars("valid")
    assert [event.step for event in found] == [1, 2, 3, 4, 5]
    assert [event.value for event in found] == pytest.approx([entry["valid"] for entry in result.history])
    assert "epoch" not in events.Tags()["scalars"]


def test_tensorboard_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install torsor\[tensorboard\]"):
        learn.TensorBoardLogger(tmp_path)


def test_loggers_of_lightning_serve_too(tmp_path):
    from lightning_fabric.loggers import CSVLogger

    train(network(), loggers=[CSVLogger(tmp_path, name="run", version=0)])
    found = rows(tmp_path / "run" / "version_0" / "metrics.csv")
    assert [int(row["step"]) for row in found] == [1, 2, 3, 4, 5]
    assert all(float(row["train"]) > 0 for row in found)


def test_nothing_is_shown_unless_asked_for(capfd):
    train(network(), valid=linear())
    assert capfd.readouterr() == ("", "")


def test_the_bar_is_on_stderr(capfd):
    train(network(), valid=linear(), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "5/5 epochs" in err
    assert "valid" in err

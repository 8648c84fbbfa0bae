"""Flights: windows of recordings in the layout of the wheel `traffic`, and of the wheel itself where it is."""

import gzip
import json

import pytest
import torch

from torsor.data import flights
from torsor.data._flights import FILES, flights_folder


def record(name, second, climb):
    where = {"latitude": 47.0 + 0.0005 * second, "longitude": 8.0, "altitude": 10_000.0 + climb * second}
    return {"icao24": name, "callsign": name.upper(), "timestamp": 1_600_000_000_000 + 1000 * second, **where}


@pytest.fixture
def folder(tmp_path):
    climbing = [record("a", s, 30.0) for s in range(0, 125, 5)]  # 25 points: two windows
    level = [record("b", s, 0.0) for s in range(0, 125, 5)]
    gap = [record("c", s, 30.0) for s in (*range(0, 60, 5), *range(100, 130, 5))]  # one window, and a rest
    for name, rows in zip(
        FILES, (climbing[::-1] + level, [*gap, {**record("a", 0, 0.0), "altitude": None}]), strict=True
    ):
        with gzip.open(tmp_path / name, "wt") as file:
            json.dump(rows, file)
    return tmp_path


def test_windows_are_centred_pieces_of_climbing_flights_without_gaps(folder):
    data = flights(folder, dtype=torch.float64)
    assert (len(data.train), len(data.test)) == (1, 2)
    whole = torch.cat([torch.cat([s.inputs[0], s.targets], 1) for s in (data.train, data.test)]).unflatten(1, (12, 3))
    assert torch.allclose(whole.mean(1), torch.zeros(3, 3).double(), atol=1e-12)
    assert torch.allclose(whole.diff(dim=1).diff(dim=1), torch.zeros(()).double(), atol=1e-9)  # in time order, straight
    steps = whole.diff(dim=1)[:, 0]
    assert torch.allclose(steps[:, 0], torch.zeros(3).double(), atol=1e-12)  # due north
    north, up = 6371.0 * torch.pi / 180 * 0.0025, 150 * 0.3048e-3  # km in 5 s
    assert torch.allclose(steps[:, 2] / steps[:, 1], torch.tensor(up / north).double(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(flights_folder() is None, reason="the wheel traffic is not installed")
def test_the_wheel_holds_some_thousand_windows():
    data = flights()
    assert 3000 < len(data.train) + len(data.test) < 5000
    assert abs(len(data.train) / len(data.test) - 1.5) < 0.01

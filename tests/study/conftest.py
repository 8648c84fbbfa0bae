"""A small study of one's own: a file, its data and its model, in a folder."""

import numpy as np
import pytest

MODEL = """
import torch

class Model(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, 3))

    def forward(self, {arguments}):
        return self.layers(torch.cat([{arguments}], -1))

def build(hidden=8):
    return Model(hidden)
"""
STUDY = """\
title = "Where next?"
treatments = ["plain", "augmented", "frame_averaged", "group_averaged"]
epochs = 3
batch_size = 16
seeds = [0]

[data]
file = "data.npz"
inputs = ["x", "v"]
targets = "y"

[symmetry]
group = "E(3)"
inputs = { x = "point", v = "vector" }
output = "point"

[backbone]
build = "their_model:build"
options = { hidden = 8 }

[test]
audit_samples = 8
"""


def arrays(n=60):
    random = np.random.default_rng(0)
    x, v = random.normal(size=(2, n, 4, 3))
    return {"x": x, "v": v, "y": x + 0.5 * v}


@pytest.fixture
def own(tmp_path):
    """Writes `study.toml`, `data.npz` and `their_model.py`; gives the path of the study file."""

    def write(text=STUDY, arguments="x, v", **changes):
        np.savez(tmp_path / "data.npz", **{name: a for name, a in (arrays() | changes).items() if a is not None})
        (tmp_path / "their_model.py").write_text(MODEL.format(arguments=arguments))
        (tmp_path / "study.toml").write_text(text)
        return tmp_path / "study.toml"

    yield write
    import sys

    sys.modules.pop("their_model", None)

"""Lines have no sign: what they are averaged as must be what they were trained as (Puny et al. 2021, normals)."""

import pytest
import torch

from torsor import Line, O, Symmetry, Vector, learn
from torsor.build import FrameAveraging
from torsor.build.backbones import MLP, Flattened
from torsor.build.points import LOCAL_FRAME, Patchwise
from torsor.data import normals

K = 16


def local(net, output, samples=None):
    law = Symmetry(O(3), Vector(), output)
    return Patchwise(FrameAveraging(net, law, LOCAL_FRAME, samples=samples, check_values=False), K)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained_as", "samples", "other", "worse"),
    # measured: 0.248 and 0.266; 0.262 and 0.327
    [(Line(), 1, Vector(), 1.04), (Vector(), None, Line(), 1.15)],
    ids=["one frame, lines", "all frames, vectors"],
)
def test_frames_are_averaged_in_evaluation_as_they_were_in_training(plain, tmp_path, trained_as, samples, other, worse):
    data = normals(train=100, valid=0, test=50, points=128, cache=tmp_path)
    objective = learn.square_error(data.symmetry)
    torch.manual_seed(0)
    net = Flattened(MLP(3 * K, 3), (3,))
    learn.fit(local(net, trained_as, samples), data.train, objective, epochs=40, batch_size=4, lr=4e-3)
    with torch.no_grad():
        same, mixed = (float(objective(local(net, y).eval(), data.test)[0]) for y in (trained_as, other))
    print(f"averaged as in training {same:.3f}, the other way {mixed:.3f}")
    assert mixed >= worse * same

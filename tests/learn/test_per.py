"""The penalty: values computed by hand, the group average that it is, and what it does to weights."""

import torch

from torsor.actions import V
from torsor.groups import SO, O, embed
from torsor.learn import LayerReps

O2xy, O2yz, O2xz = (embed(O(2), axes, 3) for axes in [(0, 1), (1, 2), (0, 2)])
SO2xy = embed(SO(2), (0, 1), 3)
W = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 10]], dtype=torch.float64)


def test_the_penalties_of_a_matrix_are_those_computed_by_hand():
    """|w - P w|^2 / 2 of Kim et al. 2023, with P W = 16/3 I, diag(3, 3, 10), ..."""
    reps = LayerReps(V, V, [O(3), SO(3), O2xy, O2yz, O2xz, SO2xy])
    by_hand = torch.tensor([328 / 3, 328 / 3, 93, 95.25, 109.25, 92], dtype=torch.float64)
    assert torch.allclose(reps.residuals(W), by_hand, rtol=1e-12)

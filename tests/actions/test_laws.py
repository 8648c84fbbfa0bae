"""Each action against its law, written out by hand; a wrong sign, sense or inverse turns one of these red."""

import math

import pytest
import torch

from torsor.actions import (
    Edges,
    Image,
    Line,
    Mask,
    Nodes,
    Pairs,
    Point,
    PseudoScalar,
    PseudoVector,
    Tensor,
    Vector,
    jointly,
)
from torsor.groups import SE, SL, SO, Cyclic, E, GLPlus, O, Projective2D, Symmetric

REFLECTION = torch.diag(torch.tensor([1.0, 1.0, -1.0]))


def test_a_rotation_by_a_quarter_turn_takes_x_to_y():
    g = SO(2).exp(torch.tensor([math.pi / 2]))
    torch.testing.assert_close(Vector()(SO(2), g, torch.tensor([1.0, 0.0])), torch.tensor([0.0, 1.0]))


def test_points_feel_translations_and_vectors_do_not():
    g = E(3).from_parts(torch.eye(3), torch.tensor([1.0, 2.0, 3.0]))
    x = torch.zeros(5, 3)
    torch.testing.assert_close(Point()(E(3), g, x), torch.tensor([1.0, 2.0, 3.0]).expand(5, 3))
    torch.testing.assert_close(Vector()(E(3), g, x), x)


def test_cross_products_are_pseudovectors_and_triple_products_pseudoscalars():
    u, v, w = torch.randn(3, 10, 3, dtype=torch.float64)
    g = O(3).sample(10, dtype=torch.float64)
    moved = [Vector()(O(3), g, x) for x in (u, v, w)]
    cross = torch.linalg.cross(moved[0], moved[1])
    torch.testing.assert_close(cross, PseudoVector()(O(3), g, torch.linalg.cross(u, v)))
    triple = (torch.linalg.cross(u, v) * w).sum(-1)
    torch.testing.assert_close((cross * moved[2]).sum(-1), PseudoScalar()(O(3), g, triple))
    assert (O(3).parity(g) < 0).any()


def test_parity_flips_pseudoscalars_under_one_reflection():
    assert PseudoScalar()(O(3), REFLECTION, torch.tensor(2.0)) == -2.0
    torch.testing.assert_close(PseudoVector()(O(3), REFLECTION, torch.ones(3)), torch.tensor([-1.0, -1.0, 1.0]))


def test_a_tensor_of_rank_two_is_conjugated():
    g, x = SO(3).sample(4, dtype=torch.float64), torch.randn(4, 6, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(Tensor(2)(SO(3), g, x), g[:, None] @ x @ g[:, None].mT)


def test_covariant_axes_take_the_inverse_transpose():
    g, x = GLPlus(2).sample(4, dtype=torch.float64), torch.randn(4, 2, 2, dtype=torch.float64)
    inverse = torch.linalg.inv(g)
    torch.testing.assert_close(Tensor(1, 1)(GLPlus(2), g, x), g @ x @ inverse)
    torch.testing.assert_close(Tensor(0, 2)(GLPlus(2), g, x), inverse.mT @ x @ inverse)


def test_permutations_send_node_i_to_place_g_i():
    g = torch.tensor([2, 0, 1])
    x = torch.tensor([10.0, 11.0, 12.0])
    moved = Nodes(-1)(Symmetric(3), g, x)
    assert all(moved[g[i]] == x[i] for i in range(3))
    a = torch.arange(9.0).reshape(3, 3)
    both = Pairs()(Symmetric(3), g, a)
    assert all(both[g[i], g[j]] == a[i, j] for i in range(3) for j in range(3))


def test_edges_and_masks_are_relabelled_with_their_nodes():
    g = torch.tensor([[2, 0, 1], [1, 0, 2]])
    edges = torch.tensor([[0, 1, 3, 5], [1, 2, 4, 3]])
    relabelled = Edges()(Symmetric(3), g, edges)
    assert relabelled.tolist() == [[2, 0, 4, 5], [0, 1, 3, 4]]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    moved = Mask()(Symmetric(3), g, mask)
    assert moved.tolist() == [[True, False, True], [False, True, False]]


def test_images_turn_as_rot90_by_minus_one():
    image = torch.arange(24.0).reshape(1, 1, 4, 6)[..., :4]
    for k in range(4):
        g = Cyclic(4).elements()[k : k + 1]
        torch.testing.assert_close(Image()(Cyclic(4), g, image), torch.rot90(image, -k, (-2, -1)), atol=1e-4, rtol=0)


def test_images_are_moved_by_whole_pixels_without_loss():
    g = SE(2).from_parts(torch.eye(2), torch.tensor([2.0, -1.0]))  # two to the right, one up: y points down
    image = torch.zeros(1, 7, 7)
    image[0, 3, 3] = 1
    moved = Image()(SE(2), g, image)
    assert moved[0, 2, 5] == pytest.approx(1, abs=1e-5)
    up = Image(y_up=True)(SE(2), g, image)
    assert up[0, 4, 5] == pytest.approx(1, abs=1e-5)


def test_y_up_turns_the_other_way():
    image = torch.arange(9.0).reshape(1, 3, 3)
    g = Cyclic(4).elements()[1]
    torch.testing.assert_close(
        Image(y_up=True)(Cyclic(4), g, image), torch.rot90(image, 1, (-2, -1)), atol=1e-4, rtol=0
    )


def test_a_volume_turns_about_z_as_its_slices_do():
    volume = torch.randn(1, 1, 5, 5, 5, dtype=torch.float64)
    g = SO(3).exp(torch.tensor([[0.0, 0.0, math.pi / 2]], dtype=torch.float64))
    expected = torch.rot90(volume, -1, (-2, -1))
    torch.testing.assert_close(Image()(SO(3), g, volume), expected, atol=1e-9, rtol=0)


def test_the_channels_of_a_flow_field_turn_too():
    flow = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    g = Cyclic(4).elements(dtype=torch.float64)[1:2]
    moved = Image(field=Vector())(Cyclic(4), g, flow)
    turned = torch.rot90(flow, -1, (-2, -1))
    torch.testing.assert_close(moved, torch.stack([-turned[:, 1], turned[:, 0]], 1), atol=1e-9, rtol=0)


def test_lines_have_no_sense():
    y = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(Line().embed(y), Line().embed(-3 * y))
    again = Line().project(Line().embed(y))
    torch.testing.assert_close((again * y).sum(-1).abs(), y.norm(dim=-1))
    assert Line().embed(torch.zeros(2, 3)).abs().max() == 0


def test_actions_print_what_was_said():
    assert repr(Point()) == "Point()"
    assert repr(Tensor(1, 1, per="edge")) == "Tensor(per='edge', p=1, q=1)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nodes(0), "axis of Nodes must be negative"),
        (lambda: Pairs((-1, -1)), "two different negative numbers"),
        (lambda: Tensor(0, 0), "p \\+ q >= 1"),
        (lambda: jointly(Mask(), Point()), "disagree about the layout"),
        (lambda: jointly(Point(per="node"), Nodes(per="edge")), "disagree about what a row"),
    ],
)
def test_actions_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_permuting_nodes_needs_a_permutation(plain):
    with pytest.raises(TypeError, match="Nodes needs a Symmetric group"):
        Nodes(-1)(SO(3), torch.eye(3), torch.zeros(3))


def test_homographies_divide_by_the_third_coordinate():
    g = SL(3).exp(0.1 * torch.randn(4, 8, dtype=torch.float64))
    x = torch.randn(4, 5, 2, 2, dtype=torch.float64)
    u, v, w = torch.einsum("bij,bnmj->ibnm", g, torch.nn.functional.pad(x, (0, 1), value=1.0))
    torch.testing.assert_close(Point()(Projective2D(), g, x), torch.stack([u / w, v / w], -1))
    torch.testing.assert_close(Point()(Projective2D(), g[0], x[0, 0, 0]), torch.stack([u / w, v / w], -1)[0, 0, 0])


def test_a_homography_moves_an_image_as_it_moves_its_pixels():
    g = torch.eye(3, dtype=torch.float64)
    g[2, 0] = 0.02  # what is to the right shrinks
    image = torch.zeros(1, 31, 31, dtype=torch.float64)
    image[0, 25, 20], image[0, 10, 8] = 1.0, 0.5
    moved = Image()(Projective2D(), g, image)
    for row, column in ((25, 20), (10, 8)):
        x, y = column - 15, row - 15
        to_column, to_row = 15 + x / (1 + 0.02 * x), 15 + y / (1 + 0.02 * x)
        rows, columns = (slice(round(centre) - 3, round(centre) + 4) for centre in (to_row, to_column))
        ink = moved[0, rows, columns] / moved[0, rows, columns].sum()
        found_row = (ink.sum(1) * torch.arange(31)[rows]).sum()
        found_column = (ink.sum(0) * torch.arange(31)[columns]).sum()
        assert abs(found_row - to_row) < 0.3
        assert abs(found_column - to_column) < 0.3

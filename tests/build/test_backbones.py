"""What the plain networks promise: permutations, padding, shapes, and no symmetry of space."""

import pytest
import torch

from torsor import Cyclic, E, Image, Mask, Point, Scalar, Symmetric, Symmetry, Vector
from torsor.actions import Nodes
from torsor.build import FrameAveraging, GroupAverage
from torsor.build.backbones import MLP, NAMES, Flattened, MessagePassing, PointNet, SmallCNN, for_dataset
from torsor.data import Dataset, Samples

NBODY = {"positions": 3, "velocities": 3, "charges": 1}
SYMMETRY = Symmetry(E(3), {"positions": Point(), "velocities": Vector(), "charges": Scalar()}, Point())


def scenes(b=4, n=5, dtype=torch.float64):
    return {name: torch.randn(b, n, size, dtype=dtype) for name, size in NBODY.items()}


def padded(inputs, rows, filler):
    """The same nodes, with rows of a filler after them, and the mask that says so."""
    b, n = next(iter(inputs.values())).shape[:2]
    longer = {name: torch.cat([x, x.new_full((b, rows, x.shape[-1]), filler)], 1) for name, x in inputs.items()}
    return longer | {"mask": (torch.arange(n + rows) < n).expand(b, -1)}


ON_NODES = [
    pytest.param(lambda per: MessagePassing(per=per, residual="positions" if per == "node" else None), id="messages"),
    pytest.param(lambda per: PointNet(NBODY, 3, per=per), id="pointnet"),
    pytest.param(lambda per: PointNet(NBODY, 3, per=per, residual="positions" if per == "node" else None), id="both"),
]


@pytest.mark.parametrize("per", ["node", "sample"])
@pytest.mark.parametrize("make", ON_NODES)
class TestNetworksOnNodes:
    def test_a_permutation_of_the_nodes_permutes_the_output(self, make, per):
        net, x = make(per).double(), scenes()
        order = torch.randperm(5)
        moved = net(**{name: value[:, order] for name, value in x.items()})
        expected = net(**x)[:, order] if per == "node" else net(**x)
        torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)

    def test_padding_changes_nothing_whatever_stands_in_it(self, make, per):
        net, x = make(per).double(), scenes()
        for filler in (0.0, 7.0):
            out = net(**padded(x, 3, filler))
            real = out[:, :5] if per == "node" else out
            torch.testing.assert_close(real, net(**x), rtol=1e-12, atol=1e-12)
            if per == "node":
                assert out[:, 5:].eq(0).all()

    def test_the_gradient_does_not_see_the_padding(self, make, per):
        net, x = make(per).double(), padded(scenes(), 3, 1.0)
        x["positions"].requires_grad_()
        net(**x).square().sum().backward()
        gradient = x["positions"].grad
        assert gradient[:, 5:].eq(0).all()
        assert gradient[:, :5].ne(0).any(-1).all()

    def test_samples_do_not_see_each_other(self, make, per):
        net, x = make(per).double(), scenes()
        alone = torch.cat([net(**{name: value[i : i + 1] for name, value in x.items()}) for i in range(4)])
        torch.testing.assert_close(net(**x), alone, rtol=1e-12, atol=1e-12)

    def test_positions_in_the_argument_list_and_keywords_are_the_same(self, make, per):
        net, x = make(per), scenes(dtype=torch.float32)
        torch.testing.assert_close(net(*x.values()), net(**x), rtol=0, atol=0)

    def test_every_input_and_every_parameter_is_used(self, make, per):
        net, x = make(per).double(), {name: value.requires_grad_() for name, value in scenes().items()}
        net(**x).square().sum().backward()
        assert all(value.grad.ne(0).any() for value in x.values())
        assert all(p.grad is not None and p.grad.ne(0).any() for p in net.parameters())

    def test_an_empty_batch_and_a_single_node(self, make, per):
        net = make(per)
        assert len(net(**scenes(0, dtype=torch.float32))) == 0
        assert net(**scenes(2, 1, dtype=torch.float32)).isfinite().all()


def test_message_passing_knows_its_orientation():
    net, x = MessagePassing().double(), scenes()
    g = SYMMETRY.sample(x)
    error = SYMMETRY.distance(net(**SYMMETRY.act(g, x)), SYMMETRY.act_output(g, net(**x), x), x)
    assert error.min() > 1e-2


def test_message_passing_inside_frame_averaging_is_exactly_equivariant():
    net, x = FrameAveraging(MessagePassing(), SYMMETRY).double(), scenes()
    g = SYMMETRY.sample(x)
    error = SYMMETRY.distance(net(**SYMMETRY.act(g, x)), SYMMETRY.act_output(g, net(**x), x), x)
    assert error.max() < 1e-11


def test_messages_carry_what_other_nodes_have():
    net, x = MessagePassing(residual=None).double(), scenes(1)
    before = net(**x)
    for name in NBODY:
        changed = dict(x) | {name: x[name].clone()}
        changed[name][0, 4] += 1
        assert (net(**changed)[0, 0] - before[0, 0]).abs().max() > 1e-6, name


def test_the_benchmark_sizes_of_message_passing():
    assert 20_000 < sum(p.numel() for p in MessagePassing().parameters()) < 40_000
    assert 90_000 < sum(p.numel() for p in MessagePassing(hidden=72).parameters()) < 110_000


def test_inputs_of_whole_samples_and_integer_types_are_accepted():
    net = MessagePassing({"x": 2, "kind": 1, "temperature": 1}, 4, per="sample", points=["x"], products=[],
                         residual=None, per_sample=["temperature"])  # fmt: skip
    x, kind, temperature = torch.randn(3, 6, 2), torch.randint(0, 4, (3, 6)), torch.randn(3)
    out = net(x, kind, temperature)
    assert out.shape == (3, 4)
    assert (net(x, kind, temperature + 1) - out).abs().min() > 0
    assert (net(x, kind + 1, temperature) - out).abs().min() > 0


def test_group_averaged_images_are_exactly_invariant():
    net = GroupAverage(SmallCNN(1, 10), Symmetry(Cyclic(4), Image(), Scalar())).double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(net(x), net(x.rot90(1, (-2, -1))), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (28, 28)])
def test_small_cnn_takes_images_of_any_size(size):
    assert SmallCNN(2, 3)(torch.randn(4, 2, *size)).shape == (4, 3)
    assert SmallCNN(2, 3)(torch.randn(0, 2, *size)).shape == (0, 3)


def test_small_cnn_takes_images_without_a_channel_axis():
    net, x = SmallCNN(1, 3), torch.randn(4, 8, 8)
    torch.testing.assert_close(net(x), net(x.unsqueeze(1)))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_mlp_has_the_hidden_layers_that_it_was_asked_for(layers):
    net = MLP(3, 2, hidden=5, layers=layers)
    assert sum(isinstance(part, torch.nn.Linear) for part in net) == layers + 1
    assert net(torch.zeros(7, 4, 3)).shape == (7, 4, 2)


@pytest.mark.parametrize("net", [MessagePassing(), PointNet(NBODY, 3)], ids=["messages", "pointnet"])
def test_whole_graph_compiles(plain, net):
    x = scenes(dtype=torch.float32)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(**x), net(**x))


class TestForDataset:
    def regression(self, inputs, target, actions, output, group=None):
        samples = Samples(inputs, target)
        return Dataset(
            name="toy", train=samples, valid=None, test=samples, symmetry=Symmetry(group or E(3), actions, output)
        )

    def nbody(self, target=None, output=None):
        target = torch.randn(6, 5, 3) if target is None else target
        return self.regression(scenes(6, dtype=torch.float32), target, dict(SYMMETRY.inputs), output or Point())

    def outcome(self, name, dataset, **options):
        net = for_dataset(name, dataset, **options)
        return net, dataset.symmetry.call(net, dataset.train.inputs)

    @pytest.mark.parametrize("name", ["mlp", "message_passing", "pointnet"])
    @pytest.mark.parametrize("target", [(6, 5, 3), (6, 3), (6, 2, 2)])
    def test_the_output_looks_like_the_targets(self, name, target):
        dataset = self.nbody(torch.randn(target), Scalar() if target[-1] == 2 else Point())
        assert self.outcome(name, dataset)[1].shape == target

    def test_actions_say_what_points_vectors_and_charges_are(self):
        net = for_dataset("message_passing", self.nbody(), hidden=8)
        assert (net.points, net.products, net.residual) == (("positions",), ("charges",), "positions")
        assert for_dataset("message_passing", self.nbody(output=Vector())).residual is None

    def test_products_of_groups_keep_what_points_are(self):
        x = torch.randn(6, 5, 3)
        samples = Samples({"x": x}, x)
        space, relabelling = Symmetry(E(3), {"x": Point()}, Point()), Symmetric(5)
        symmetry = space * Symmetry(relabelling, {"x": Nodes(-2)}, Nodes(-2))
        dataset = Dataset(name="toy", train=samples, valid=None, test=samples, symmetry=symmetry)
        assert for_dataset("message_passing", dataset).residual == "x"

    @pytest.mark.parametrize("name", ["message_passing", "pointnet"])
    def test_a_mask_is_found_and_positional_inputs_are_served(self, name):
        x, mask = torch.randn(6, 5, 3), torch.ones(6, 5, dtype=torch.bool)
        mask[:, 3:] = False
        x = x * mask.unsqueeze(-1)
        dataset = self.regression((x, mask, torch.ones(6, 5)), x, (Point(), Mask(), Scalar()), Point())
        net, out = self.outcome(name, dataset)
        assert out.shape == (6, 5, 3)
        assert out[:, 3:].eq(0).all()
        assert out[:, :3].ne(0).all()
        assert list(net.net.inputs.sizes.values()) == [3, 1]
        charge = torch.zeros(6, 5)
        charge[:, 0] = 1
        assert (net(x, mask, charge) - out)[:, 1:3].ne(0).any()

    def test_images_with_labels(self):
        samples = Samples((torch.randn(6, 8, 8),), torch.tensor([0, 1, 2, 0, 1, 2]))
        symmetry = Symmetry(Cyclic(4), (Image(),), Scalar())
        dataset = Dataset(name="toy", train=samples, valid=None, test=samples, symmetry=symmetry, task="classification")
        for name in ("small_cnn", "global_cnn", "mlp"):
            assert self.outcome(name, dataset)[1].shape == (6, 3)

    def test_vectors_without_nodes_are_for_the_mlp(self):
        dataset = self.regression((torch.randn(6, 3),), torch.randn(6, 3), (Vector(),), Vector())
        assert self.outcome("mlp", dataset)[1].shape == (6, 3)
        with pytest.raises(ValueError, match="backbone 'message_passing' for toy: no input has nodes"):
            for_dataset("message_passing", dataset)

    @pytest.mark.parametrize(
        ("name", "options", "words"),
        [
            ("transformer", {}, "unknown backbone 'transformer'; known are mlp, message_passing, pointnet, small_cnn"),
            ("mlp", {"width": 3}, "backbone 'mlp' for toy: .*width"),
            ("small_cnn", {}, "backbone 'small_cnn' for toy: it takes one input, planar images"),
            ("message_passing", {"hidden": 0}, "hidden must be at least 1; got 0"),
        ],
    )
    def test_bad_names_and_options_are_told(self, name, options, words):
        with pytest.raises(ValueError, match=words):
            for_dataset(name, self.nbody(), **options)

    def test_every_name_is_made(self):
        assert set(NAMES) == {"mlp", "message_passing", "pointnet", "small_cnn", "global_cnn"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: MLP(0, 3), "in_features must be at least 1; got 0"),
            (lambda: MLP(3, 3, layers=-1), "layers must be at least 0; got -1"),
            (lambda: MessagePassing(hidden=0), "hidden must be at least 1; got 0"),
            (lambda: MessagePassing(per="edge"), 'per must be "node" or "sample"; got \'edge\''),
            (lambda: MessagePassing(points=["x"]), "points must name inputs with nodes, of positions, .*; got 'x'"),
            (lambda: MessagePassing(per="sample"), "residual must have the shape of the output, 3 per sample"),
            (lambda: MessagePassing(out_features=2), "residual must have the shape of the output, 2 per node"),
            (lambda: MessagePassing({"mask": 1}), "mask must be another name"),
            (lambda: PointNet({"x": 3}, per_sample=["y"]), "per_sample must name inputs, of x; got y"),
            (lambda: PointNet({"x": 3}, per_sample=["x"]), "at least one input with nodes"),
            (lambda: SmallCNN(1, 1, channels=()), "channels must hold at least one width"),
            (lambda: SmallCNN(1, 1, channels=(4, 0)), r"channels\[1\] must be at least 1; got 0"),
        ],
    )
    def test_of_constructors(self, plain, make, words):
        with pytest.raises(ValueError, match=words):
            make()

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"charges": None}, TypeError, "the input charges is missing; takes positions, velocities, charges, mask"),
            ({"masses": torch.ones(4, 5, 1)}, TypeError, "takes the inputs .*; got masses"),
            ({"charges": torch.ones(4, 6, 1)}, ValueError, r"charges must be \(4, 5, 1\); got shape \(4, 6, 1\)"),
            ({"mask": torch.ones(4, 6) > 0}, ValueError, r"mask must be \(4, 5\); got shape \(4, 6\)"),
        ],
    )
    def test_of_calls(self, plain, change, error, words):
        x = scenes(dtype=torch.float32) | change
        with pytest.raises(error, match=words):
            MessagePassing()(**{name: value for name, value in x.items() if value is not None})

    def test_twice_and_too_many(self, plain):
        x = scenes(dtype=torch.float32)
        with pytest.raises(TypeError, match="got positions both by position and by keyword"):
            MessagePassing()(x["positions"], **x)
        with pytest.raises(TypeError, match="got 5 positional ones"):
            MessagePassing()(*[x["positions"]] * 5)

    def test_images_with_other_channels(self, plain):
        with pytest.raises(ValueError, match=r"images must have 3 channels; got shape \(2, 1, 8, 8\)"):
            SmallCNN(3, 1)(torch.zeros(2, 1, 8, 8))

    def test_flattened_keeps_the_shape(self):
        assert Flattened(MLP(20, 6), (3, 2))({"a": torch.zeros(4, 5, 3), "b": torch.zeros(4, 5)}).shape == (4, 3, 2)

"""Networks on graphs that do not depend on the numbering of the nodes, and yet tell all graphs apart."""

from typing import Any, Literal

from torsor.actions import Action, Mask, Nodes, Pairs, Scalar
from torsor.build.backbones import GIN, MLP, Flattened
from torsor.build.frames import CanonicalOrder, FrameAveraging
from torsor.build.frames._frameset import FrameLike
from torsor.groups import Symmetric
from torsor.symmetry import Symmetry

__all__ = ["FAGIN", "FAMLP"]


class FAGIN(FrameAveraging):
    """A graph isomorphism network whose nodes know their place in the frame: invariant, and tells all graphs apart.

    Arguments:
        nodes: how many nodes a graph has, padding included.
        in_features: numbers per node in `x`; 0 where there is no `x`.
        out_features: numbers per graph, or per node.
        per: what the output belongs to, `"sample"` or `"node"`.
        padded: whether there is a `mask`.
        frame: by default `CanonicalOrder(orbits=True)`: one element, exact.
        hidden, layers: of the network.
        options: of `FrameAveraging`, such as `samples`.

    Shapes: `adjacency (B, nodes, nodes)`, `x (B, nodes, in_features)`, `mask (B, nodes)` to `(B, out_features)` or
    `(B, nodes, out_features)`.

    Raises:
        ValueError: a size is too small, or inputs do not fit; names the argument.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.2 ("FA-GIN+ID"), with ties broken canonically.

    >>> import torch
    >>> ring, path = torch.zeros(2, 4, 4)
    >>> ring[[0, 1, 2, 3], [1, 2, 3, 0]] = path[[0, 1, 2], [1, 2, 3]] = 1
    >>> graphs = torch.stack([ring + ring.T, path + path.T])
    >>> model, moved = FAGIN(4, 0, 3), [2, 0, 3, 1]
    >>> bool(torch.equal(model(graphs), model(graphs[:, moved][:, :, moved])))
    True
    """

    def __init__(
        self,
        nodes: int,
        in_features: int,
        out_features: int,
        *,
        per: Literal["node", "sample"] = "sample",
        padded: bool = False,
        frame: FrameLike | None = None,
        hidden: int = 64,
        layers: int = 3,
        **options: Any,
    ) -> None:
        net = GIN(in_features, out_features, per=per, identities=nodes, hidden=hidden, layers=layers)
        symmetry = _symmetry(nodes, in_features, padded, Scalar(per="sample") if per == "sample" else Nodes(-2))
        super().__init__(net, symmetry, CanonicalOrder(orbits=True) if frame is None else frame, **options)


class FAMLP(FrameAveraging):
    """A perceptron on the whole adjacency matrix, and the features, in the order of the frame: invariant.

    Arguments and shapes are those of `FAGIN`, with an output per graph; `hidden` and `layers` are those of the
    perceptron.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 4.2 ("FA-MLP"), with ties broken canonically.

    >>> import torch
    >>> FAMLP(4, 0, 3)(torch.zeros(2, 4, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        nodes: int,
        in_features: int,
        out_features: int,
        *,
        padded: bool = False,
        frame: FrameLike | None = None,
        hidden: int = 64,
        layers: int = 2,
        **options: Any,
    ) -> None:
        size = nodes * (nodes + in_features + padded)
        net = Flattened(MLP(size, out_features, hidden, layers), (out_features,))
        symmetry = _symmetry(nodes, in_features, padded, Scalar(per="sample"))
        super().__init__(net, symmetry, CanonicalOrder(orbits=True) if frame is None else frame, **options)


def _symmetry(nodes: int, in_features: int, padded: bool, output: Action) -> Symmetry:
    inputs: dict[str, Action] = {"adjacency": Pairs()}
    inputs |= {"x": Nodes(-2)} if in_features else {}
    inputs |= {"mask": Mask()} if padded else {}
    return Symmetry(Symmetric(nodes), inputs, output)

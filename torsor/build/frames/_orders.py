"""Frames of graphs under permutations: the order of the Laplacian's keys, and canonical orders that break its ties."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torsor.actions import Action, Nodes, Pairs
from torsor.build.frames._canonical import Backend, ColouredGraphs, resolve
from torsor.build.frames._cloud import floating_dtype
from torsor.build.frames._frameset import plain_frames
from torsor.build.frames._order_keys import feature_classes, laplacian_classes, lexicographic
from torsor.build.frames._permset import PermSet
from torsor.groups import Symmetric
from torsor.symmetry import Inputs, Symmetry

Keys = Literal["laplacian", "degree"]


@dataclass(frozen=True)
class LaplacianOrder:
    """The frame of a graph that sorts its nodes by their features, then by the eigenspaces of its Laplacian.

    The key of a node is the length of its projection on every eigenspace, by ascending eigenvalue; it does not depend
    on a basis. All orders of nodes with equal keys belong to the frame: often very many. By default one of them is
    given and samples with ties are `ambiguous`; `PermSet.sample`, which `FrameAveraging(samples=k)` calls, draws from
    all. `CanonicalOrder` breaks ties exactly.

    The input that acts as `Pairs` is the adjacency matrix, `(B, n, n)`, symmetric with entries 0 and 1; inputs that act
    as `Nodes` are features. Padded nodes come last.

    Arguments:
        tol: eigenvalues, and keys, that differ by less are equal.
        max_size: frames with at most so many elements are given whole.

    Raises:
        TypeError: the group is not `Symmetric(n)`.
        ValueError: there is no adjacency matrix, it is not symmetric, has self-loops or other entries.

    Source: Puny et al. 2021 (arXiv 2110.03336), section 3.2; eigenvalues are compared with a tolerance instead of
        bit by bit.

    >>> import torch
    >>> from torsor import Pairs, Scalar, Symmetric, Symmetry
    >>> star = torch.zeros(1, 4, 4)
    >>> star[0, 2, [0, 1, 3]] = star[0, [0, 1, 3], 2] = 1
    >>> symmetry = Symmetry(Symmetric(4), {"adjacency": Pairs()}, Scalar(per="sample"))
    >>> frames = LaplacianOrder()(symmetry, {"adjacency": star})
    >>> frames.order, frames.enumerate(6).elements.shape, bool(frames.ambiguous)
    (tensor([[2, 0, 1, 3]]), torch.Size([1, 6, 4]), True)
    """

    tol: float = 1e-6
    max_size: int = 1
    exact = True

    def __post_init__(self) -> None:
        _check_settings(self.tol, "laplacian")
        if self.max_size < 1:
            raise ValueError(f"max_size must be at least 1; got {self.max_size}")

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> PermSet:
        return _sorted(symmetry, inputs, "laplacian", self.tol)._enumerated(self.max_size)


@dataclass(frozen=True)
class CanonicalOrder:
    """The canonical order of a graph: sorted by keys, and ties broken by canonical labelling. One element, exact.

    Equal graphs in any numbering of their nodes come out the same, bit by bit for adjacency matrices. For outputs that
    permutations do not move, one element stands for the whole frame. Outputs of nodes or pairs of nodes need the
    average over the automorphisms of the graph as well, which `orbits=True` takes: the mean over each orbit. Without
    it, graphs with automorphisms are `ambiguous` where there are such outputs.

    Inputs are those of `LaplacianOrder`.

    Arguments:
        keys: `"laplacian"`; `"degree"`; or None for the features of the nodes alone.
        backend: `"igraph"`, `"pynauty"` or `"python"` (for up to about 64 nodes); `"auto"` takes the first that is
            installed. Each has canonical orders of its own.
        orbits: average outputs of nodes and of pairs over the automorphisms.
        tol: eigenvalues, and keys, that differ by less are equal.

    Raises:
        ImportError: the backend is not installed.
        TypeError, ValueError: as `LaplacianOrder`.

    Source: keys of Puny et al. 2021 (arXiv 2110.03336), section 3.2; canonical labelling after McKay, Piperno 2014.

    >>> import torch
    >>> from torsor import Pairs, Scalar, Symmetric, Symmetry
    >>> ring = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0)
    >>> moved = ring[[0, 2, 4, 1, 3]][:, [0, 2, 4, 1, 3]]
    >>> symmetry = Symmetry(Symmetric(5), {"adjacency": Pairs()}, Scalar(per="sample"))
    >>> graphs = torch.stack([ring, moved])
    >>> frames = CanonicalOrder()(symmetry, {"adjacency": graphs})
    >>> first, second = frames.canonicalize(graphs, Pairs())
    >>> torch.equal(first, second), frames.automorphisms
    (True, tensor([10., 10.], dtype=torch.float64))
    """

    keys: Keys | None = "laplacian"
    backend: Backend = "auto"
    orbits: bool = False
    tol: float = 1e-6
    exact = True

    def __post_init__(self) -> None:
        _check_settings(self.tol, self.keys)
        resolve(self.backend)

    def __call__(self, symmetry: Symmetry, inputs: Inputs) -> PermSet:
        found = _sorted(symmetry, inputs, self.keys, self.tol)
        label = found.graphs.canonical(self.backend)
        graphs = ColouredGraphs(
            Pairs()(symmetry.group, label.argsort(-1), found.graphs.adjacency),
            found.graphs.colours,
            found.graphs.sizes,
        )
        found = replace(
            found,
            elements=found.order.gather(1, label).unsqueeze(1),
            graphs=graphs,
            backend=self.backend,
            settled=True,
            orbits=self.orbits,
            ambiguous=torch.zeros_like(found.ambiguous),
        )
        if self.orbits or not any(isinstance(action, Nodes | Pairs) for action in symmetry.output_actions):
            return found
        return replace(found, ambiguous=found.automorphisms > 1)


def _sorted(symmetry: Symmetry, inputs: Inputs, keys: Keys | None, tol: float) -> PermSet:
    """One order of the nodes by their keys, with the classes of nodes that have the same ones."""
    group = symmetry.group
    if not isinstance(group, Symmetric):
        raise TypeError(f"orders of graphs are for Symmetric(n); got {group}")
    layout = symmetry.layout(inputs)
    if layout.batch is not None:
        raise ValueError("orders of graphs need a padded batch with a Mask; got a ragged one with Batch")
    name, adjacency = _adjacency(symmetry, inputs)
    real = adjacency.new_ones(adjacency.shape[:2], dtype=torch.bool) if layout.mask is None else layout.mask
    adjacency = torch.where(real.unsqueeze(1) & real.unsqueeze(2), adjacency.detach(), 0)
    _check_adjacency(name, adjacency)
    matrix = adjacency.double()
    columns = [(~real).unsqueeze(-1).double()]
    columns += [
        _features(action, x.detach(), real) for action, x in symmetry.slots(inputs) if isinstance(action, Nodes)
    ]
    if keys == "laplacian":
        columns.append(laplacian_classes(matrix, tol))
    elif keys == "degree":
        columns.append(matrix.sum(-1, keepdim=True))
    order, classes = lexicographic(torch.cat(columns, -1))
    sizes = real.sum(1)
    place = torch.arange(group.n, device=order.device).expand_as(order)
    padded = place >= sizes.unsqueeze(1)
    first = torch.where(padded, 0, classes).amax(1, keepdim=True) + 1 - sizes.unsqueeze(1)
    classes = torch.where(padded, place + first, classes)  # nothing depends on the order of what is padded
    weights = torch.ones(layout.size, 1, dtype=floating_dtype(symmetry, inputs), device=order.device)
    plain = plain_frames(group, order.unsqueeze(1), weights, group.n)
    graphs = ColouredGraphs(Pairs()(group, order.argsort(-1), matrix > 0), classes, sizes)
    tied = (classes[:, 1:] == classes[:, :-1]).any(1)
    return PermSet(group, plain.elements, weights, plain.gap, plain.rank, tied, classes, graphs)


def _adjacency(symmetry: Symmetry, inputs: Inputs) -> tuple[str, Tensor]:
    named = zip(symmetry.input_names, symmetry.slots(inputs), strict=True)
    found = [(name, x, action) for name, (action, x) in named if isinstance(action, Pairs)]
    if len(found) != 1 or found[0][1].ndim != 3:
        shapes = ", ".join(str(tuple(x.shape)) for _, x, _ in found) or "none"
        raise ValueError(f"orders of graphs need one input that acts as Pairs, the adjacency (B, n, n); got {shapes}")
    return found[0][0], found[0][1]


def _check_adjacency(name: str, adjacency: Tensor) -> None:
    bad = {
        "must hold 0 and 1 only": (adjacency != 0) & (adjacency != 1),
        "must have no self-loops": torch.diag_embed(adjacency.diagonal(dim1=1, dim2=2)) != 0,
        "must be symmetric": adjacency != adjacency.mT,
    }
    for words, wrong in bad.items():
        if bool(wrong.any()):
            b, i, j = wrong.nonzero()[0].tolist()
            raise ValueError(f"{name} {words}; sample {b} has {adjacency[b, i, j].item():g} at [{i}, {j}]")


def _features(action: Action, x: Tensor, real: Bool[Tensor, "b n"]) -> Float[Tensor, "b n c"]:
    axis = action.axis  # type: ignore[attr-defined]
    columns = x.movedim(axis, -1).reshape(len(x), -1, real.shape[1]).mT
    return feature_classes(torch.where(real.unsqueeze(-1), columns, 0))


def _check_settings(tol: float, keys: str | None) -> None:
    if not tol > 0:
        raise ValueError(f"tol must be positive; got {tol}")
    if keys not in ("laplacian", "degree", None):
        raise ValueError(f'keys must be "laplacian", "degree" or None; got {keys!r}')

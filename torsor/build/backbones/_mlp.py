"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from torsor import _tree


class MLP(nn.Sequential):
    """A multilayer perceptron on the last axis, with SiLU between its linear layers.

    Arguments:
        in_features: length of the last axis of the input.
        out_features: length of the last axis of the output.
        hidden: width of the hidden layers.
        layers: number of hidden layers; 0 gives one linear map.

    Shapes: `(..., in_features)` to `(..., out_features)`.

    Raises:
        ValueError: a size is too small; names it.

    >>> import torch
    >>> from torsor.build.backbones import MLP
    >>> MLP(3, 2)(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """

    def __init__(self, in_features: int, out_features: int, hidden: int = 64, layers: int = 2) -> None:
        check_sizes(in_features=in_features, out_features=out_features, hidden=hidden)
        check_sizes(0, layers=layers)
        widths = [in_features, *[hidden] * layers, out_features]
        parts: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            parts += [nn.SiLU()] * (i > 0) + [nn.Linear(fan_in, fan_out)]
        super().__init__(*parts)


class Flattened(nn.Module):
    """A network on the features of a whole sample: all inputs flattened side by side, the output reshaped.

    Arguments:
        net: a network on vectors.
        shape: of the output of one sample.

    >>> import torch
    >>> from torsor.build.backbones import MLP, Flattened
    >>> net = Flattened(MLP(5 * 3 + 5, 5 * 3), (5, 3))
    >>> net(positions=torch.zeros(4, 5, 3), charges=torch.zeros(4, 5, 1)).shape
    torch.Size([4, 5, 3])
    """

    def __init__(self, net: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.shape = tuple(shape)

    def forward(self, *args: _tree.Tree, **kwargs: _tree.Tree) -> Shaped[Tensor, "b ..."]:
        """The output for inputs by position or by keyword, in an order that must not change."""
        rows = [x.reshape(len(x), -1) for x in _tree.leaves((args, kwargs))]
        dtype = next(self.net.parameters()).dtype
        joined = torch.cat([x if x.is_floating_point() else x.to(dtype) for x in rows], -1)
        return self.net(joined).reshape(len(joined), *self.shape)


def check_sizes(least: int = 1, **sizes: int) -> None:
    """Refuse sizes below `least`.

    Raises:
        ValueError: names the size.

    >>> check_sizes(hidden=0)
    Traceback (most recent call last):
    ValueError: hidden must be at least 1; got 0
    """
    for name, size in sizes.items():
        if size < least:
            raise ValueError(f"{name} must be at least {least}; got {size}")

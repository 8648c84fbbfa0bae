"""The curvature of the loss in the weights of each linear layer, as a Kronecker product."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from torsor.data import Samples
from torsor.learn._objective import predict

FEW = 32
"""Outputs up to which the curvature is exact in the outputs; above, random signs stand for them."""


class Curvature(NamedTuple):
    """What `curvature` gives: `H = G ⊗ A` for the weight of each layer, and how large the residuals are.

    Arguments:
        factors: for each layer A (dim_in, dim_in), the mean of the products of its inputs, and G (dim_out, dim_out),
            the sum over samples of the curvature in its outputs. For squared errors of unit variance.
        samples: how many there were.
        numbers: of targets, over all samples.
        squares: the sum of the squared residuals; 0 for classes.
        likelihood: "gaussian" or "categorical".
    """

    factors: dict[str, tuple[Tensor, Tensor]]
    samples: int
    numbers: int
    squares: float
    likelihood: str

    def noise(self, determined: float) -> float:
        """The variance of the residuals when so many parameters are determined by the data; 1 for classes."""
        if self.likelihood != "gaussian":
            return 1.0
        free = max(self.numbers - determined, 0.05 * self.numbers)
        return max(self.squares / free, 1e-12)


def curvature(
    model: nn.Module,
    batches: Iterable[Samples],
    likelihood: str = "gaussian",
    *,
    layers: Mapping[str, nn.Module] | None = None,
) -> Curvature:
    """The generalised Gauss-Newton matrix of each linear layer, Kronecker-factored, summed over samples and calls.

    Arguments:
        model: called with the inputs of each batch; returns one tensor, (B, ...) or logits (B, classes).
        batches: `Samples`.
        likelihood: `"gaussian"`, squared errors of unit variance; or `"categorical"`, cross entropy of logits.
        layers: which ones, by name; all `nn.Linear` and convolutions without groups by default. For `nn.Conv1d` and
            `nn.Conv3d` the kernel size must be 1.

    Raises:
        ValueError: unknown likelihood, or no batches.

    Source: Martens and Grosse 2015 (arXiv 1503.05671); Botev et al. 2017 (arXiv 1706.03662).

    >>> import torch
    >>> from torsor import learn
    >>> from torsor.data import Samples
    >>> net, x = torch.nn.Linear(3, 2), torch.randn(50, 3)
    >>> A, G = learn.curvature(net, [Samples(x, x[:, :2])]).factors[""]
    >>> torch.allclose(A, x.T @ x / 50), torch.allclose(G, 50 * torch.eye(2))
    (True, True)
    """
    if likelihood not in ("gaussian", "categorical"):
        raise ValueError(f'likelihood must be "gaussian" or "categorical"; got {likelihood!r}')
    if layers is None:
        layers = {name: m for name, m in model.named_modules() if _is_linear(m)}
    seen: list[tuple[str, Tensor, Tensor]] = []
    hooks = [layer.register_forward_hook(_recorder(name, seen)) for name, layer in layers.items()]
    A: dict[str, Any] = dict.fromkeys(layers, 0.0)
    G: dict[str, Any] = dict.fromkeys(layers, 0.0)
    rows: dict[str, int] = dict.fromkeys(layers, 0)
    samples, numbers, squares = 0, 0, 0.0
    training = model.training
    model.eval()
    try:
        for batch in batches:
            seen.clear()
            with torch.enable_grad():
                out = predict(model, batch.inputs)
            missing = [name for name in layers if name not in {called for called, _, _ in seen}]
            if missing:
                raise ValueError(f"the model does not call its layer {missing[0]}, so it has no curvature")
            samples += len(batch)
            numbers += out.numel()
            if likelihood == "gaussian":
                squares += float((out.detach() - batch.targets).square().sum())
            for name, x, _ in seen:
                A[name] = A[name] + x.mT @ x
                rows[name] += len(x)
            for column in _columns(out, likelihood):
                grads = torch.autograd.grad(out, [y for _, _, y in seen], column, retain_graph=True)
                for (name, _, _), grad in zip(seen, grads, strict=True):
                    g = _as_rows(grad, layers[name])
                    G[name] = G[name] + g.mT @ g
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    if not samples:
        raise ValueError("batches must hold at least one sample; got none")
    return Curvature({n: (A[n] / rows[n], G[n]) for n in layers}, samples, numbers, squares, likelihood)


def _columns(out: Tensor, likelihood: str) -> Iterable[Tensor]:
    """Cotangents whose squares sum to the Hessian of the loss in the outputs."""
    if likelihood == "categorical":
        p = out.detach().softmax(-1)
        for c in range(p.shape[-1]):  # diag(p) - p p^T = S S^T with S = diag(sqrt p) - p sqrt(p)^T
            unit = torch.zeros_like(p)
            unit[..., c] = p[..., c].sqrt()
            yield unit - p * p[..., c : c + 1].sqrt()
        return
    flat = out[0].numel()
    if flat <= FEW:
        for c in range(flat):
            unit = torch.zeros_like(out).reshape(len(out), flat)
            unit[:, c] = 1
            yield unit.reshape(out.shape)
        return
    for _ in range(FEW):
        yield torch.randn_like(out).sign() / FEW**0.5


def _recorder(name: str, seen: list[tuple[str, Tensor, Tensor]]) -> Any:
    def record(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        out = out if out.requires_grad else out.requires_grad_()  # of a frozen layer
        seen.append((name, _inputs(args[0].detach(), layer), out))
        return out.clone()  # what is done to it in place, as by nn.ReLU(inplace=True), happens to the copy

    return record


def _as_rows(x: Tensor, layer: nn.Module) -> Tensor:
    """Channels last, everything else on one axis."""
    return (x if isinstance(layer, nn.Linear) else x.movedim(1, -1)).flatten(0, -2)


def _inputs(x: Tensor, layer: nn.Module) -> Tensor:
    """What the weight is multiplied by: for a kernel of several taps the patches, zeros outside."""
    if isinstance(layer, nn.Linear) or all(k == 1 for k in layer.kernel_size):  # type: ignore[union-attr]
        return _as_rows(x, layer)
    if not isinstance(layer, nn.Conv2d) or isinstance(layer.padding, str):
        raise ValueError(f"the curvature of kernels is for nn.Conv2d with padding in numbers; got {layer}")
    x = x.unsqueeze(0) if x.ndim == 3 else x
    patches = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
    return patches.mT.flatten(0, -2)


def _is_linear(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear):
        return True
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) or layer.groups > 1:
        return False
    return isinstance(layer, nn.Conv2d) or all(k == 1 for k in layer.kernel_size)

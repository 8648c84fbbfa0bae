"""Models of others, faster: their Clebsch-Gordan products replaced by ours, with a proof that nothing else changed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torsor.build.so3._messages import Graph
from torsor.build.so3._sparse_tensor_product import MODES, SparseTensorProduct

TOLERANCE = 1e-5
"""Relative: e3nn makes its Wigner 3j symbols in the default dtype, so a double precision model may hold single ones."""
ROWS = 64


@dataclass(frozen=True)
class Swap:
    """One module that was replaced, and what was measured on random inputs."""

    name: str
    kind: str
    paths: int
    before: float | None = None
    """Milliseconds for values and first derivatives on 64 random rows."""
    after: float | None = None
    value_error: float | None = None
    """Largest difference, relative to the largest entry."""
    gradient_error: float | None = None


@dataclass(frozen=True)
class AccelerationReport:
    """What `accelerate` replaced, what it left, and why."""

    swaps: tuple[Swap, ...]
    left: tuple[tuple[str, str], ...]

    def records(self) -> list[dict]:
        """One dictionary for each module that was replaced."""
        return [asdict(swap) for swap in self.swaps]

    def __str__(self) -> str:
        lines = [f"{len(self.swaps)} modules replaced, {len(self.left)} left"]
        for swap in self.swaps:
            line = f"{swap.name}: {swap.kind}, {swap.paths} paths"
            if swap.before and swap.after:
                line += f", {swap.before:.3g} -> {swap.after:.3g} ms, differs by {swap.value_error:.1e}"
                line += f" (gradients {swap.gradient_error:.1e})"
            lines.append(line)
        return "\n".join([*lines, *(f"{name}: left, {why}" for name, why in self.left)])


class FusedConvolution(nn.Module):
    """SevenNet's convolution without stored messages: gather, product and sum over neighbours in one pass.

    It takes over the radial network, the denominator and the keys of the module that it replaces, under their names.
    """

    def __init__(self, original: Any, product: SparseTensorProduct) -> None:
        super().__init__()
        self.convolution, self.weight_nn, self.denominator = product, original.weight_nn, original.denominator
        self.key_x, self.key_filter = original.key_x, original.key_filter
        self.key_weight_input, self.key_edge_idx = original.key_weight_input, original.key_edge_idx

    def forward(self, data: Any) -> Any:
        """The data with new node features."""
        x, (target, source) = data[self.key_x], data[self.key_edge_idx]
        graph = Graph.of(source, target, len(x), len(x))
        weight = self.weight_nn(data[self.key_weight_input])
        data[self.key_x] = self.convolution.convolve(x, data[self.key_filter], weight, graph) / self.denominator
        return data


def accelerate(
    model: nn.Module,
    *,
    inplace: bool = False,
    backend: Literal["auto", "torch"] = "auto",
    check: bool = True,
    only_faster: bool = True,
) -> tuple[nn.Module, AccelerationReport]:
    """The model with every tensor product of e3nn replaced by a `SparseTensorProduct` that holds the same weights.

    SevenNet's convolutions become one pass over the edges, in which no message is stored. Everything else stays as it
    is: parameters are the same objects, what is shared stays shared, a `state_dict` of the original can be loaded.
    Products with hooks, with parametrized weights or with a `forward` of their own are left, and so are scripted ones.
    e3nn's classes are found by their names; neither e3nn nor SevenNet is imported.

    Arguments:
        model: any module.
        inplace: change the model itself; by default a copy is changed. For a model that is itself a product the
            replacement is returned.
        backend: see `SparseTensorProduct`.
        check: compare each replacement with the original on random inputs, values and derivatives, and time both.
        only_faster: leave a module where the check finds its replacement slower, and say so in the report. A fused
            convolution is always taken: its gain is in what the check of the product alone does not see.

    Returns:
        The model, and a report.

    Raises:
        RuntimeError: a replacement differs from its original by more than 1e-5 of its largest entry; `model` is then
            unchanged unless `inplace`.

    >>> model, report = accelerate(nn.Sequential(nn.Linear(3, 3)))
    >>> print(report)
    0 modules replaced, 0 left
    """
    model = model if inplace else copy.deepcopy(model)
    swaps, left = [], []
    root = nn.ModuleList([model])
    modules: list[tuple[str, Any]] = list(model.named_modules())
    for name, module in modules:
        if not _is_tensor_product(module):
            continue
        parent_name, _, child = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        name = name or type(module).__name__
        reason = _why_not(module)
        if reason is not None:
            left.append((name, reason))
            continue
        product = SparseTensorProduct.from_e3nn(module, backend=backend)
        if product.weight is not None:
            product.weight = module.weight  # the same object, for optimisers and for others that share it
        found = _compare(name, module, product) if check else {}
        kind = "+".join(sorted({ins.connection_mode for ins in module.instructions}))
        fused = _is_sevennet_convolution(parent) and child == "convolution" and not _has_hooks(parent)
        if check and only_faster and not fused and found["after"] > found["before"]:
            left.append((name, f"ours is slower: {found['before']:.3g} -> {found['after']:.3g} ms"))
            continue
        if fused:
            kind = f"{kind} along edges, fused"
            _exchange(root, parent, FusedConvolution(parent, product).train(parent.training))
        _exchange(root, module, product)
        swaps.append(Swap(name, kind, len(module.instructions), **found))
    return root[0], AccelerationReport(tuple(swaps), tuple(left))


def _exchange(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """One module for another, everywhere that it stands."""
    for parent in list(root.modules()):
        for child, module in list(parent._modules.items()):
            if module is old:
                setattr(parent, child, new)


def _why_not(module: Any) -> str | None:
    """Why a tensor product cannot be replaced, if so."""
    if isinstance(module, torch.jit.ScriptModule):
        return "it is scripted"
    others = {ins.connection_mode for ins in module.instructions} - set(MODES)
    if others:
        return f"it has {', '.join(sorted(others))} instructions"
    if not module.instructions or module.irreps_out.dim == 0:
        return "it has no output"
    defines = next(kind for kind in type(module).__mro__ if "forward" in vars(kind))
    if defines.__name__ != "TensorProduct" or "forward" in vars(module):
        return "it has a forward of its own"
    if _has_hooks(module):
        return "it has hooks"
    if torch.nn.utils.parametrize.is_parametrized(module):
        return "its weights are parametrized"
    return None


def _has_hooks(module: Any) -> bool:
    kinds = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(kinds)


def _is_tensor_product(module: Any) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name).endswith("TensorProduct")
    return any(
        kind.__name__ == "TensorProduct" and kind.__module__.startswith("e3nn.o3") for kind in type(module).__mro__
    )


def _is_sevennet_convolution(module: Any) -> bool:
    kind = type(module)
    return kind.__name__ == "IrrepsConvolution" and kind.__module__.startswith("sevenn") and not module.is_parallel


def _compare(name: str, theirs: Any, ours: SparseTensorProduct) -> dict[str, float]:
    """Both on the same random rows: differences of values and derivatives, and times."""
    like = next((t for t in theirs.buffers() if t.is_floating_point() and t.numel()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=like.dtype).to(like.device)

    inputs = [draw(ROWS, theirs.irreps_in1.dim), draw(ROWS, theirs.irreps_in2.dim)]
    if theirs.weight_numel and not theirs.internal_weights:
        inputs.append(draw(*(() if theirs.shared_weights else (ROWS,)), theirs.weight_numel))
    probe = draw(ROWS, theirs.irreps_out.dim)
    own = [p for p in ours.parameters() if p.requires_grad]

    def evaluate(product: Callable) -> list[Tensor]:
        leaves = [v.detach().requires_grad_() for v in inputs]
        out = product(*leaves)
        return [out.detach(), *torch.autograd.grad((out * probe).sum(), [*leaves, *own])]

    with torch.enable_grad():
        (expected, *theirs_back), (found, *ours_back) = evaluate(theirs), evaluate(ours)
        before, after = _milliseconds(lambda: evaluate(theirs), lambda: evaluate(ours))
    value = _difference(found, expected)
    gradient = float(torch.tensor([_difference(a, b) for a, b in zip(ours_back, theirs_back)]).max())  # NaN stays
    if not (value <= TOLERANCE and gradient <= TOLERANCE):
        raise RuntimeError(
            f"{name}: the replacement differs from the original by {value:.1e} (gradients {gradient:.1e}), "
            f"more than {TOLERANCE:.0e}"
        )
    return {"before": before, "after": after, "value_error": value, "gradient_error": gradient}


def _difference(found: Tensor, expected: Tensor) -> float:
    if not expected.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def _milliseconds(*calls: Callable[[], object]) -> list[float]:
    """The least time of each; the calls take turns, so that a busy machine burdens all of them alike."""
    best = [float("inf")] * len(calls)
    for _ in range(5):
        for n, call in enumerate(calls):
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            best[n] = min(best[n], 1e3 * (time.perf_counter() - start))
    return best


def _wait() -> None:
    if torch.cuda.is_initialized():  # a GPU computes behind the clock's back
        torch.cuda.synchronize()

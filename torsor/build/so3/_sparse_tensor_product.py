"""Clebsch-Gordan tensor products, exact: e3nn's `TensorProduct` with the same weights and the same numbers, faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from torsor.actions import Irreps, wigner_3j
from torsor.build.so3._compiled import can_compile
from torsor.build.so3._forms import Blocks, Contraction, Form, Layout
from torsor.build.so3._messages import HIGHEST, HIGHEST_OUT, Convolution, Graph, Link, Messages, Relayout
from torsor.build.so3._operators import contract_op, convolve_op, ends, known, relayout_op, traceable
from torsor.build.so3._paths import as_irreps, couples
from torsor.build.so3._product import check_dtype
from torsor.build.so3._tables import constants

# what becomes of the channels u of x and v of y
MODES = {
    "uvw": "uv,uvw->w",
    "uvu": "uv,uv->u",
    "uvv": "uv,uv->v",
    "uvuv": "uv,uv->uv",
    "uuw": "u,uw->w",
    "uuu": "u,u->u",
}


class Instruction(NamedTuple):
    """One path of a tensor product, as in e3nn; `path_weight` holds the normalisation too."""

    i_in1: int
    i_in2: int
    i_out: int
    connection_mode: str
    has_weight: bool
    path_weight: float
    path_shape: tuple[int, ...]


class SparseTensorProduct(nn.Module):
    """The exact Clebsch-Gordan product of two features, a drop-in for `e3nn.o3.TensorProduct`.

    The same irreps, instructions, normalisations and order of weights. Instructions of one mode `uuu` (with equal
    multiplicities) or `uvu` (with one copy in `irreps_in2`) run in compiled kernels where there is a compiler;
    everything else, and everything without one, in plain PyTorch.

    Arguments:
        irreps_in1: first input; strings, our irreps or e3nn's.
        irreps_in2: second input.
        irreps_out: output.
        instructions: `(i_in1, i_in2, i_out, mode, has_weight[, path_weight])`; modes are uvw, uvu, uvv, uuw,
            uuu and uvuv.
        in1_var: variance of each entry of the first input, 1 by default.
        in2_var: of the second.
        out_var: of the output.
        irrep_normalization: `"component"`, `"norm"` or `"none"`.
        path_normalization: `"element"`, `"path"` or `"none"`.
        internal_weights: hold the weights as a parameter; by default where they are shared.
        shared_weights: one set of weights for all rows, else `weight` is (..., weight_numel).
        backend: `"auto"`, or `"torch"` for plain PyTorch.

    Raises:
        ValueError: an instruction that parity, the triangle rule, its mode or its multiplicities do not allow.
        TypeError: when called with inputs of two dtypes; under autocast they meet in the wider one.

    Source: e3nn, Geiger and Smidt 2022 (arXiv 2207.09453), section 5.

    >>> paths = [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", True)]
    >>> product = SparseTensorProduct("8x0e+8x1o", "1x1o", "8x1o+8x0e", paths)
    >>> product(torch.randn(5, 32), torch.randn(5, 3)).shape, product.weight_numel
    (torch.Size([5, 32]), 16)
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any,
        instructions: Sequence[tuple],
        in1_var: Sequence[float] | None = None,
        in2_var: Sequence[float] | None = None,
        out_var: Sequence[float] | None = None,
        irrep_normalization: Literal["component", "norm", "none"] = "component",
        path_normalization: Literal["element", "path", "none"] = "element",
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        backend: Literal["auto", "torch"] = "auto",
    ) -> None:
        super().__init__()
        for name, value, choices in (
            ("irrep_normalization", irrep_normalization, ("component", "norm", "none")),
            ("path_normalization", path_normalization, ("element", "path", "none")),
            ("backend", backend, ("auto", "torch")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
        self.irreps_in1, self.irreps_in2 = as_irreps(irreps_in1, "irreps_in1"), as_irreps(irreps_in2, "irreps_in2")
        self.irreps_out = as_irreps(irreps_out, "irreps_out")
        self.backend = backend
        plain = [self._read(instruction) for instruction in instructions]
        variances = [
            [1.0] * len(irreps) if given is None else [float(v) for v in given]
            for irreps, given in (
                (self.irreps_in1, in1_var), (self.irreps_in2, in2_var), (self.irreps_out, out_var)
            )
        ]  # fmt: skip
        self.instructions = [
            ins._replace(path_weight=self._norm(ins, plain, variances, irrep_normalization, path_normalization))
            for ins in plain
        ]
        if shared_weights is None:
            shared_weights = True
        if internal_weights is None:
            internal_weights = shared_weights and any(ins.has_weight for ins in plain)
        if internal_weights and not shared_weights:
            raise ValueError("internal_weights must be False where shared_weights is False")
        self.shared_weights, self.internal_weights = shared_weights, internal_weights
        self.weight_numel = sum(math.prod(ins.path_shape) for ins in plain if ins.has_weight)
        own = internal_weights and self.weight_numel > 0
        self.weight = nn.Parameter(torch.randn(self.weight_numel)) if own else None
        self._fast: Any = None

    @classmethod
    def from_e3nn(cls, tp: Any, backend: Literal["auto", "torch"] = "auto") -> SparseTensorProduct:
        """The same product as one of e3nn, with its weights; e3nn itself is not imported."""
        product = cls(
            *(tp.irreps_in1, tp.irreps_in2, tp.irreps_out),
            [tuple(ins)[:5] for ins in tp.instructions],
            internal_weights=tp.internal_weights, shared_weights=tp.shared_weights, backend=backend,
        )  # fmt: skip
        product.instructions = [Instruction(*ins) for ins in tp.instructions]
        if product.weight is not None:
            product.weight = nn.Parameter(tp.weight.detach().clone(), requires_grad=tp.weight.requires_grad)
        return product.train(tp.training)

    def forward(
        self,
        x: Float[Tensor, "*batch1 dim1"],
        y: Float[Tensor, "*batch2 dim2"],
        weight: Float[Tensor, ...] | None = None,
    ) -> Float[Tensor, "*batch dim3"]:
        """The product; `weight` replaces the layer's own, and is needed where it has none."""
        x, y, weight = self._checked(x, y, weight)
        shapes = [x.shape[:-1], y.shape[:-1]] + ([weight.shape[:-1]] if weight.ndim > 1 else [])
        batch = torch.broadcast_shapes(*shapes)
        x, y = (t.expand(*batch, -1).reshape(batch.numel(), t.shape[-1]) for t in (x, y))
        weight = weight.expand(*batch, -1).reshape(len(x), weight.shape[-1]) if weight.ndim > 1 else weight.unsqueeze(0)
        out = self._rows(x, y, weight)
        return out.view(*batch, out.shape[-1])

    def convolve(
        self,
        x: Float[Tensor, "nodes dim1"],
        y: Float[Tensor, "edges dim2"],
        weight: Float[Tensor, ...],
        graph: Graph,
    ) -> Float[Tensor, "receivers dim3"]:
        """Gather, product and sum over the edges of each receiver, without storing a message where it is compiled."""
        x, y, weight = self._checked(x, y, weight)
        edges = len(graph.source)
        if len(x) != graph.senders or len(y) != edges or (weight.ndim > 1 and len(weight) != edges):
            rows = [len(x), len(y), *([len(weight)] if weight.ndim > 1 else [])]
            wanted = f"a row for each sender, {graph.senders}, and each edge, {edges}"
            raise ValueError(f"x, y and weight must have {wanted}; got {rows}")
        messages = self._compiled(x)
        if isinstance(messages, Messages):
            weight = weight if weight.ndim > 1 else weight.expand(len(y), -1)
            z = Convolution.apply(messages, graph, Relayout.apply(self.irreps_in1, False, x), y, weight)
            return Relayout.apply(self.irreps_out, True, z)
        if self.backend != "torch" and traceable(x) and self._operator()[0] == "messages":
            return self._traced(x, y, weight if weight.ndim > 1 else weight.expand(len(y), -1), ends(graph))
        rows = self(x[graph.source], y, weight if self.weight_numel else None)
        target = torch.repeat_interleave(torch.arange(graph.receivers, device=x.device), graph.start.diff())
        rows = rows if graph.order is None else rows[graph.order]
        return rows.new_zeros(graph.receivers, rows.shape[-1]).index_add(0, target, rows)

    def _rows(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        fast = self._compiled(x) if len(x) else None
        if isinstance(fast, Messages):
            z = Convolution.apply(fast, None, Relayout.apply(self.irreps_in1, False, x), y, weight.expand(len(x), -1))
            return Relayout.apply(self.irreps_out, True, z)
        if isinstance(fast, Layout):
            weights = () if not self.weight_numel else (weight.contiguous(),)
            lengths = (x.shape[1], y.shape[1], *[w.shape[1] for w in weights], self.irreps_out.dim())
            channels = self.irreps_out.entries[0][0]
            output = len(fast.legs) - 1
            return Contraction.apply(fast, output, channels, lengths, x.contiguous(), y.contiguous(), *weights, None)
        if self.backend != "torch" and traceable(x) and self._operator()[0] != "plain":
            return self._traced(x, y, weight, (None, None, None))
        return self._in_torch(x, y, weight)

    def _traced(self, x: Tensor, y: Tensor, weight: Tensor, edges: tuple) -> Tensor:
        """The same by operators that a graph can hold."""
        kind, key = self._operator()
        if kind == "messages":
            weight = weight if edges[0] is not None else weight.expand(len(x), -1)
            z = convolve_op(key, relayout_op(str(self.irreps_in1), False, x), y, weight, *edges)
            return relayout_op(str(self.irreps_out), True, z)
        weights = (weight,) if self.weight_numel else ()
        tensors = (x, y, *weights)
        lengths = [*[t.shape[1] for t in tensors], self.irreps_out.dim()]
        free = [None] * (4 - len(tensors))
        return contract_op(key, len(tensors), self.irreps_out.entries[0][0], lengths, *tensors, *free)

    @torch.compiler.assume_constant_result
    def _operator(self) -> tuple[str, str]:
        """Which operator computes this product, and the key of its tables."""
        tables = self._tables()
        if tables is None:
            return "plain", ""
        return "messages" if isinstance(tables, Messages) else "form", known(tables)

    def _in_torch(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        xs = [x[:, at].unflatten(1, (n, ir.dim)) for (n, ir), at in zip(self.irreps_in1, self.irreps_in1.slices())]
        ys = [y[:, at].unflatten(1, (n, ir.dim)) for (n, ir), at in zip(self.irreps_in2, self.irreps_in2.slices())]
        out: list[Tensor | None] = [None] * len(self.irreps_out)
        products: dict[tuple[int, int], Tensor] = {}
        start = 0
        z = "" if self.shared_weights else "z"
        for ins in self.instructions:
            numel = math.prod(ins.path_shape) if ins.has_weight else 0
            w = weight[:, start : start + numel].unflatten(1, ins.path_shape) if numel else None
            start += numel
            if 0 in ins.path_shape:
                continue
            a, b = xs[ins.i_in1], ys[ins.i_in2]
            l1, l2 = self.irreps_in1.entries[ins.i_in1][1].l, self.irreps_in2.entries[ins.i_in2][1].l
            l3 = self.irreps_out.entries[ins.i_out][1].l
            kind = ins.connection_mode
            table = constants(_wigner, l1, l2, l3, ins.path_weight, dtype=x.dtype, device=x.device)
            if kind.startswith("uu") and 0 in (l1, l2):  # a scalar only scales
                t = a * b * (ins.path_weight / math.sqrt(2 * l3 + 1))
            elif kind.startswith("uu"):
                pair = ins.i_in1, ins.i_in2
                if pair not in products:
                    products[pair] = (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)
                t = products[pair] @ table[0].flatten(0, 1)
            else:  # the matrix of Y is shared by all channels u
                matrix = torch.einsum("zvj,ijk->zivk", b, table[0])
                t = (a @ matrix.flatten(-2)).unflatten(-1, matrix.shape[-2:])
            spec, _, result = MODES[kind].partition("->")
            channels, _, weights = spec.partition(",")
            if w is None:
                part = torch.einsum(f"z{channels}k->z{result}k", t)
            elif z:
                part = torch.einsum(f"z{channels}k,z{weights}->z{result}k", t, w)
            else:
                part = torch.einsum(f"z{channels}k,{weights}->z{result}k", t, w[0])
            part = part.flatten(1)
            before = out[ins.i_out]
            out[ins.i_out] = part if before is None else before + part
        empty = [x.new_zeros(len(x), n * ir.dim) for n, ir in self.irreps_out]
        return torch.cat([x[:, :0], *[e if part is None else part for e, part in zip(empty, out)]], -1)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fast": None}  # the tables hold addresses, and are made again

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *arguments: Any) -> None:
        # what e3nn saves beside the weights
        names = tuple(prefix + name for name in ("output_mask", "_compiled_main"))
        theirs = [
            key for key, v in state_dict.items()
            if key.startswith(names) or (key == prefix + "weight" and self.weight is None and not v.numel())
        ]  # fmt: skip
        super()._load_from_state_dict({k: v for k, v in state_dict.items() if k not in theirs}, prefix, *arguments)

    def _compiled(self, x: Tensor) -> Messages | Layout | None:
        """The tables of the kernel that fits, if any."""
        return None if self.backend == "torch" or not can_compile(x) else self._tables()

    def _tables(self) -> Messages | Layout | None:
        if self._fast is None:
            self._fast = self._messages() or self._form() or "plain"
        return None if self._fast == "plain" else self._fast

    def _messages(self) -> Messages | None:
        degrees = [ir.l for _, ir in self.irreps_in1]
        fits = all(ins.connection_mode == "uvu" and ins.has_weight for ins in self.instructions)
        fits = fits and max([0, *[ir.l for _, ir in self.irreps_out]]) <= HIGHEST_OUT
        if not (fits and self.instructions and all(n == 1 for n, _ in self.irreps_in2) and max(degrees) <= HIGHEST):
            return None
        at1, at2, at3 = (irreps.slices() for irreps in (self.irreps_in1, self.irreps_in2, self.irreps_out))
        links, start = [], 0
        for ins in self.instructions:
            starts = at1[ins.i_in1].start, at2[ins.i_in2].start, at3[ins.i_out].start
            links.append(Link(ins.path_shape[0], *starts, start, self._block(ins)))
            start += ins.path_shape[0]
        dims = self.irreps_in1.dim(), self.irreps_in2.dim(), self.weight_numel, self.irreps_out.dim()
        return Messages(links, dims)

    def _form(self) -> Layout | None:
        counts = {n for irreps in (self.irreps_in1, self.irreps_in2, self.irreps_out) for n, _ in irreps}
        weighted = {ins.has_weight for ins in self.instructions}
        if {ins.connection_mode for ins in self.instructions} != {"uuu"} or len(counts) != 1 or len(weighted) != 1:
            return None
        if counts == {0}:
            return None
        first = [_first_components(irreps) for irreps in (self.irreps_in1, self.irreps_in2, self.irreps_out)]
        places, values = [], []
        for p, ins in enumerate(self.instructions):
            block = self._block(ins)
            m1, m2, m3 = np.nonzero(block)
            columns = [first[0][ins.i_in1] + m1, first[1][ins.i_in2] + m2, np.full_like(m1, p)]
            places.append(np.stack([*columns, first[2][ins.i_out] + m3], -1))
            values.append(block[m1, m2, m3])
        [count] = counts
        legs = [_legs(irreps) for irreps in (self.irreps_in1, self.irreps_in2)]
        if True in weighted:
            legs.append(Blocks(((0, len(self.instructions), 1, count),)))
        legs.append(_legs(self.irreps_out))
        table = np.concatenate(places)
        table = table if True in weighted else np.delete(table, 2, axis=1)
        return Layout(Form(table, np.concatenate(values), tuple(leg.components for leg in legs)), tuple(legs))

    def _block(self, ins: Instruction) -> np.ndarray:
        degrees = [
            irreps.entries[i][1].l for irreps, i in zip((self.irreps_in1, self.irreps_in2, self.irreps_out), ins[:3])
        ]
        return _wigner(degrees[0], degrees[1], degrees[2], ins.path_weight)[0]

    def _read(self, instruction: tuple) -> Instruction:
        parts: list[Any] = [*instruction, 1.0]
        i, j, k, mode, has_weight, weight = parts[:6]
        words = f"instruction {tuple(instruction)} must"
        if mode not in MODES:
            raise ValueError(f"{words} have a mode among {', '.join(MODES)}; got {mode!r}")
        try:
            (n1, a), (n2, b), (n3, c) = (
                self.irreps_in1.entries[i],
                self.irreps_in2.entries[j],
                self.irreps_out.entries[k],
            )
        except IndexError:
            raise ValueError(f"{words} name entries that exist") from None
        if not couples(a, b, c):
            raise ValueError(f"{words} have {c} in {a} x {b}")
        needed = {"uvu": n3 == n1, "uvv": n3 == n2, "uuw": n1 == n2 and (has_weight or n3 == 1),
                  "uuu": n1 == n2 == n3, "uvuv": n3 == n1 * n2, "uvw": bool(has_weight)}[mode]  # fmt: skip
        if not needed:
            reason = "weights" if mode == "uvw" else f"multiplicities that fit {mode}; got {n1}, {n2} and {n3}"
            raise ValueError(f"{words} have {reason}")
        sizes = {"uvw": (n1, n2, n3), "uuw": (n1, n3), "uuu": (n1,)}.get(mode, (n1, n2))
        return Instruction(i, j, k, mode, bool(has_weight), float(weight), sizes)

    def _norm(self, ins: Instruction, every: list[Instruction], variances: list, irrep: str, path: str) -> float:
        (_, a), (_, b) = self.irreps_in1.entries[ins.i_in1], self.irreps_in2.entries[ins.i_in2]
        alpha = {"component": self.irreps_out.entries[ins.i_out][1].dim, "norm": a.dim * b.dim, "none": 1}[irrep]
        same = [other for other in every if other.i_out == ins.i_out]

        def variance(other: Instruction) -> float:
            elements = {"uvw": 2, "uvu": 1, "uvv": 0, "uuw": 0}.get(other.connection_mode)
            n1, n2 = self.irreps_in1.entries[other.i_in1][0], self.irreps_in2.entries[other.i_in2][0]
            count = 1 if elements is None else (n1, n2, n1 * n2)[elements]
            return variances[0][other.i_in1] * variances[1][other.i_in2] * count

        total = {"element": sum(map(variance, same)), "path": variance(ins) * len(same), "none": 1}[path]
        return math.sqrt(alpha / (total or 1) * variances[2][ins.i_out] * ins.path_weight)

    def _checked(self, x: Tensor, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The factors in one dtype and on one device, which is all that the kernels can read."""
        for name, v, irreps in (("x", x, self.irreps_in1), ("y", y, self.irreps_in2)):
            check_dtype(name, v)
            if v.shape[-1:] != (irreps.dim(),):
                raise ValueError(f"{name} must be (..., {irreps.dim()}) for {irreps}; got shape {tuple(v.shape)}")
        if x.device != y.device:
            raise ValueError(f"x and y must be on one device; got {x.device} and {y.device}")
        if x.dtype != y.dtype:
            if not torch.is_autocast_enabled(x.device.type):
                raise TypeError(f"x and y must have one dtype; got {x.dtype} and {y.dtype}")
            dtype = torch.promote_types(x.dtype, y.dtype)
            x, y = x.to(dtype), y.to(dtype)
        if not self.weight_numel:
            return x, y, x.new_zeros(0)
        if weight is None:
            if self.weight is None:
                raise ValueError(f"weight must be given, (..., {self.weight_numel}): the product has none of its own")
            weight = self.weight
        check_dtype("weight", weight)
        if weight.device != x.device:
            raise ValueError(f"weight must be on the device of x, {x.device}; got {weight.device}")
        if weight.shape[-1:] != (self.weight_numel,) or (self.shared_weights and weight.ndim != 1):
            shape = f"({self.weight_numel},)" if self.shared_weights else f"(..., {self.weight_numel})"
            raise ValueError(f"weight must be {shape}; got shape {tuple(weight.shape)}")
        return x, y, weight.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, {self.weight_numel} weights"


def _wigner(l1: int, l2: int, l3: int, scale: float) -> tuple[np.ndarray, ...]:
    block = scale * wigner_3j(l1, l2, l3).numpy()
    block[np.abs(block) < 1e-14] = 0
    return (block,)


def _first_components(irreps: Irreps) -> list[int]:
    return [sum(ir.dim for _, ir in irreps.entries[:n]) for n in range(len(irreps))]


def _legs(irreps: Irreps) -> Blocks:
    return Blocks(tuple((at.start, ir.dim, ir.dim, 1) for (_, ir), at in zip(irreps, irreps.slices())))

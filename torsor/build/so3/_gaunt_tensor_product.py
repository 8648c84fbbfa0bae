"""A layer from the Gaunt product and the bracket: irreps in, irreps out, weights per degree and channel."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torsor.actions import Irreps
from torsor.build.so3._cp_fit import fit_triples
from torsor.build.so3._paths import (
    all_outputs,
    as_irreps,
    has_odd_path,
    one_multiplicity,
    parity_on_sphere,
    product_paths,
)
from torsor.build.so3._product import BACKENDS, Backend, check_dtype, gaunt_product


class GauntTensorProduct(nn.Module):
    """The product of two features by channels: O(L^2) outputs per channel instead of the O(L^4) of all CG paths.

    Each channel of a feature is two signals on the sphere, the irreps of natural parity and the others. Signals are
    multiplied, degrees of odd sum come from the bracket, and the product is read off: p3 = p1 p2 always. The weights
    are a[in1] b[in2] e[out] per irrep entry and channel (`"factorized"`), or a sum of `rank` such products (`"cp"`),
    which reaches every path-weighted Clebsch-Gordan product at a small rank. The bracket has weights of its own.

    Arguments:
        irreps_in1: all entries with the same number of copies: the channels.
        irreps_in2: the same number of copies.
        irreps_out: what to compute; by default everything that is reached, up to the sum of the degrees.
        weights: `"factorized"`, `"cp"` or None for none.
        rank: number of terms for `"cp"`; a pair gives the product and the bracket different ones.
        antisymmetric: include the bracket; `"auto"` where some output has a path of odd degree sum.
        normalization: `"component"` gives outputs of unit variance for independent inputs of unit variance and unit
            weights; `"none"` leaves the raw blocks.
        internal_weights: hold the weights as a parameter.
        shared_weights: one set of weights for all rows; without it `weight` is (..., weight_numel).
        layout: `"mul_ir"` is e3nn's, channels before components; `"ir_mul"` the other way round.
        backend: see `gaunt_product`.
        chunk: rows at a time, recomputed in the backward pass, so that memory does not grow with the batch.

    Raises:
        ValueError: multiplicities differ, an output is out of reach (with the reason), an unknown option.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 3.3; the bracket: arXiv 2605.15073.

    >>> layer = GauntTensorProduct("8x0e+8x1o", "8x0e+8x1o", "8x0e+8x1o+8x1e")
    >>> layer(torch.randn(5, 32), torch.randn(5, 32)).shape, layer.weight_numel
    (torch.Size([5, 56]), 112)
    """

    def __init__(
        self,
        irreps_in1: Any,
        irreps_in2: Any,
        irreps_out: Any = None,
        *,
        weights: Literal["factorized", "cp"] | None = "factorized",
        rank: int | tuple[int, int] = 1,
        antisymmetric: Literal["auto"] | bool = "auto",
        normalization: Literal["component", "none"] = "component",
        internal_weights: bool = True,
        shared_weights: bool = True,
        layout: Literal["mul_ir", "ir_mul"] = "mul_ir",
        backend: Backend = "auto",
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        _check_choice("weights", weights, ("factorized", "cp", None))
        _check_choice("normalization", normalization, ("component", "none"))
        _check_choice("layout", layout, ("mul_ir", "ir_mul"))
        _check_choice("backend", backend, BACKENDS)
        _check_choice("antisymmetric", antisymmetric, ("auto", True, False))
        ranks = (rank, rank) if isinstance(rank, int) else tuple(rank)
        if len(ranks) != 2 or min(ranks) < 1 or (weights != "cp" and ranks != (1, 1)):
            raise ValueError(f'rank must be 1 or more, and 1 unless weights="cp"; got {rank!r}')
        if internal_weights and not shared_weights:
            raise ValueError("internal_weights must be False where shared_weights is False")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be 1 or more rows, or None; got {chunk}")
        self.irreps_in1, self.irreps_in2 = as_irreps(irreps_in1, "irreps_in1"), as_irreps(irreps_in2, "irreps_in2")
        if irreps_out is None:
            out = all_outputs(self.irreps_in1, self.irreps_in2, antisymmetric is not False)
        else:
            out = as_irreps(irreps_out, "irreps_out")
        self.irreps_out = out
        self.channels = one_multiplicity(self.irreps_in1, self.irreps_in2, out)
        if antisymmetric == "auto":
            antisymmetric = has_odd_path(self.irreps_in1, self.irreps_in2, out)
        self.antisymmetric = antisymmetric
        self.paths, self._scales = product_paths(self.irreps_in1, self.irreps_in2, out, antisymmetric, normalization)
        self.weighted, self.shared_weights, self.layout = weights is not None, shared_weights, layout
        self.backend: Backend = backend
        self.chunk = chunk
        # by sphere parity natural features are one signal, by parity those of SO(3) alone: both splits are exact
        used = [[ir for _, ir in part] for part in (self.irreps_in1, self.irreps_in2)]
        by_sphere, by_parity = (
            len({of(ir) for ir in used[0]}) * len({of(ir) for ir in used[1]})
            for of in (parity_on_sphere, lambda ir: ir.p)
        )
        self._by_sphere = by_sphere <= by_parity
        kinds = {path.kind for path in self.paths}
        # the rank of each kind that occurs
        self.ranks = {kind: r for kind, r in zip(("gaunt", "bracket"), ranks) if kind in kinds}
        self.sizes = len(self.irreps_in1.entries), len(self.irreps_in2.entries), len(out.entries)
        self.weight_numel = sum(self.sizes) * self.channels * sum(self.ranks.values()) if self.weighted else 0
        self.weight = nn.Parameter(self._initial()) if internal_weights and self.weighted else None

    def forward(
        self,
        x: Float[Tensor, "*batch dim1"],
        y: Float[Tensor, "*batch dim2"],
        weight: Float[Tensor, ...] | None = None,
    ) -> Float[Tensor, "*batch dim3"]:
        """The product; `weight` replaces the layer's own, and is needed where there is none."""
        self._check(x, y)
        weight = self._given_or_own(weight, x)
        if self.chunk is None:
            return self._product(x, y, weight)
        batch = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1], weight.shape[:-1])
        x, y = (v.expand(*batch, -1).reshape(-1, v.shape[-1]) for v in (x, y))
        rows = weight.expand(*batch, -1).reshape(len(x), -1) if weight.ndim > 1 else None
        pieces = [slice(start, start + self.chunk) for start in range(0, len(x), self.chunk)]
        arguments = ((x[piece], y[piece], weight if rows is None else rows[piece]) for piece in pieces)
        if pieces and torch.is_grad_enabled():
            out = torch.cat([checkpoint(self._product, *a, use_reentrant=False) for a in arguments])
        else:  # each piece straight to its place: no second copy of the output
            out = x.new_empty(len(x), self.irreps_out.dim())
            for piece, a in zip(pieces, arguments):
                out[piece] = self._product(*a)
        return out.view(*batch, out.shape[-1])

    def to_path_weights(self, weight: Float[Tensor, ...] | None = None) -> Float[Tensor, "... paths channels"]:
        """The weight of each of `paths` on `wigner_3j`, normalisation included: what a CG product would carry."""
        weight = self.weight if weight is None else weight
        if self.weighted and weight is None:
            raise ValueError("weight must be given: the layer has none of its own")
        columns = []
        parts = self._by_kind(torch.zeros(0) if weight is None else weight)
        for path in self.paths:
            i, j, k = path.entries
            w = parts[path.kind]
            if w is None:
                columns.append(torch.full((self.channels,), path.coefficient, dtype=torch.float64))
                continue
            n1, n2, _ = self.sizes
            terms = w[..., i, :] * w[..., n1 + j, :] * w[..., n1 + n2 + k, :]
            columns.append(path.coefficient * terms.sum(-2))
        return torch.stack(columns, -2)

    @classmethod
    def from_clebsch_gordan(
        cls, tp: Any, rank: int | tuple[int, int] | None = None, tol: float = 1e-10
    ) -> GauntTensorProduct:
        """The layer that computes what a path-weighted `uuu` product of e3nn (or our `SparseTensorProduct`) computes.

        Arguments:
            tp: a product with `uuu` instructions only, and weights of its own or none.
            rank: number of terms, or a pair for the product and the bracket; by default the smallest that fits.
            tol: relative misfit of the path weights.

        Raises:
            ValueError: another kind of product, or a rank that does not fit; the message says the misfit.
        """
        modes = {ins.connection_mode for ins in tp.instructions}
        if modes - {"uuu"}:
            raise ValueError(f"tp must have uuu instructions only; got {', '.join(sorted(modes))}")
        if tp.weight_numel and not tp.internal_weights:
            raise ValueError("tp must have weights of its own: external ones are not known here")
        layer = cls(
            *(tp.irreps_in1, tp.irreps_in2, tp.irreps_out),
            weights=None, normalization="none", antisymmetric=True,
        )  # fmt: skip
        target = _path_weights(tp, layer)
        ranks, factors = [], []
        for kind, given in zip(("gaunt", "bracket"), (rank, rank) if not isinstance(rank, tuple) else rank):
            chosen = [n for n, path in enumerate(layer.paths) if path.kind == kind]
            r, found = _smallest_fit(layer, chosen, target[:, chosen], given, tol, kind)
            ranks.append(r)
            factors += [found.flatten(1)] if chosen else []
        exact = cls(
            *(tp.irreps_in1, tp.irreps_in2, tp.irreps_out),
            weights="cp", rank=(ranks[0], ranks[1]), normalization="none", antisymmetric=True,
        )  # fmt: skip
        dtype = tp.weight.dtype if tp.weight_numel else torch.get_default_dtype()
        flat = torch.cat([part.reshape(layer.channels, -1).mT.reshape(-1) for part in factors])
        exact.weight = nn.Parameter(flat.to(dtype))
        return exact

    def _product(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        n1, n2, _ = self.sizes
        out: list[list[Tensor]] = [[] for _ in self.irreps_out]
        for kind, w in self._by_kind(weight).items():
            bracket = kind == "bracket"
            left = self._signals(x, self.irreps_in1, None if w is None else w[..., :n1, :])
            right = self._signals(y, self.irreps_in2, None if w is None else w[..., n1 : n1 + n2, :])
            for (s1, f), (s2, g) in ((a, b) for a in left.items() for b in right.items()):
                sign = s1 * s2 * (-1 if bracket and self._by_sphere else 1)
                wanted = [(k, ir) for k, (_, ir) in enumerate(self.irreps_out) if self._class(ir) == sign]
                reach = sum(int(v.shape[-1] ** 0.5 + 0.5) - 1 for v in (f, g))
                top = min(max([ir.l for _, ir in wanted], default=-1), reach)
                if top < 0:
                    continue
                z = gaunt_product(f, g, top, antisymmetric=bracket, normalized=True, backend=self.backend)
                for k, ir in wanted:
                    if ir.l > top:
                        continue
                    part = self._scales[k] * z[..., ir.l**2 : (ir.l + 1) ** 2]
                    if w is not None:
                        part = part * w[..., n1 + n2 + k, :, None]
                    out[k].append(part.sum(-3))
        return torch.cat([self._flat(parts) for parts in out], -1)

    def _signals(self, x: Tensor, irreps: Irreps, w: Tensor | None) -> dict[int, Tensor]:
        """The signals (..., rank, channels, (L + 1)^2) of each class of irreps."""
        found: dict[int, dict[int, Tensor]] = {}
        for e, ((count, ir), where) in enumerate(zip(irreps, irreps.slices())):
            shape = (count, ir.dim) if self.layout == "mul_ir" else (ir.dim, count)
            part = x[..., where].unflatten(-1, shape)
            part = (part if self.layout == "mul_ir" else part.mT).unsqueeze(-3)
            part = part if w is None else part * w[..., e, :, None]
            degrees = found.setdefault(self._class(ir), {})
            degrees[ir.l] = degrees[ir.l] + part if ir.l in degrees else part
        signals = {}
        for sign, degrees in found.items():
            like = next(iter(degrees.values()))
            blocks = [
                degrees[l] if l in degrees else like.new_zeros(*like.shape[:-1], 2 * l + 1)
                for l in range(max(degrees) + 1)
            ]
            signals[sign] = torch.cat(blocks, -1)
        return signals

    def _flat(self, parts: list[Tensor]) -> Tensor:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return (total if self.layout == "mul_ir" else total.mT).flatten(-2)

    def _class(self, ir: Any) -> int:
        return parity_on_sphere(ir) if self._by_sphere else ir.p

    def _by_kind(self, weight: Tensor) -> dict[str, Tensor | None]:
        """For each kind its weights (..., rank, entries, channels)."""
        if not self.weighted:
            return dict.fromkeys(self.ranks)
        entries = sum(self.sizes)
        parts = weight.split([r * entries * self.channels for r in self.ranks.values()], -1)
        shapes = [(r, entries, self.channels) for r in self.ranks.values()]
        return {kind: part.unflatten(-1, shape) for kind, part, shape in zip(self.ranks, parts, shapes)}

    def _initial(self) -> Tensor:
        parts = []
        for r in self.ranks.values():
            w = torch.randn(r, sum(self.sizes), self.channels) * r ** (-1 / 6)  # variance r^(-1/3)
            if r == 1:
                w[:, : -self.sizes[2]] = 1
            parts.append(w.flatten())
        return torch.cat(parts)

    def _given_or_own(self, weight: Tensor | None, x: Tensor) -> Tensor:
        if not self.weighted:
            if weight is not None:
                raise ValueError("weight must be left out: the layer has weights=None")
            return x.new_zeros(0)
        if weight is None:
            if self.weight is None:
                raise ValueError(f"weight must be given, (..., {self.weight_numel}): the layer has none of its own")
            weight = self.weight
        if weight.shape[-1:] != (self.weight_numel,) or (self.shared_weights and weight.ndim != 1):
            shape = f"({self.weight_numel},)" if self.shared_weights else f"(..., {self.weight_numel})"
            raise ValueError(f"weight must be {shape}; got shape {tuple(weight.shape)}")
        return weight.to(x.dtype)

    def _check(self, x: Tensor, y: Tensor) -> None:
        for name, v, irreps in (("x", x, self.irreps_in1), ("y", y, self.irreps_in2)):
            check_dtype(name, v)
            if v.shape[-1:] != (irreps.dim(),):
                raise ValueError(f"{name} must be (..., {irreps.dim()}) for {irreps}; got shape {tuple(v.shape)}")

    def extra_repr(self) -> str:
        return f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, ranks={self.ranks}"


def _path_weights(tp: Any, layer: GauntTensorProduct) -> Tensor:
    """The weights (channels, paths) of a CG product on the paths of a layer, float64."""
    at = {path.entries: n for n, path in enumerate(layer.paths)}
    target = torch.zeros(layer.channels, len(layer.paths), dtype=torch.float64)
    start = 0
    for ins in tp.instructions:
        weight: Any = 1.0
        if ins.has_weight:
            weight = tp.weight.detach()[start : start + layer.channels].double().cpu()
            start += layer.channels
        target[:, at[ins.i_in1, ins.i_in2, ins.i_out]] += ins.path_weight * weight
    return target


def _smallest_fit(
    layer: GauntTensorProduct, chosen: list[int], target: Tensor, rank: int | None, tol: float, kind: str
) -> tuple[int, Tensor]:
    if not chosen:
        return 1, torch.zeros(0)
    paths = [layer.paths[n] for n in chosen]
    i, j, k = torch.tensor([path.entries for path in paths]).unbind(-1)
    wanted = target / torch.tensor([path.coefficient for path in paths], dtype=torch.float64)
    misfit = torch.tensor(torch.inf)
    for r in range(1, len(paths) + 1) if rank is None else [rank]:
        factors, error = fit_triples(wanted, i, j, k, layer.sizes, r, tol)
        misfit = error.max()
        if misfit <= tol:
            return r, factors
    raise ValueError(
        f"rank must be high enough for the {kind} paths: rank {rank} leaves a relative misfit of {misfit:.1e}, "
        f"tol is {tol:.1e}"
    )


def _check_choice(name: str, value: Any, known: tuple) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}")

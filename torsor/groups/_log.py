"""The derivative of a group's logarithm, whatever way its values are computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torsor.groups.linalg import phi


class Logarithm(torch.autograd.Function):
    """g -> v with exp(v) = g, from `group._log_values`.

    Along the group dg = g hat(phi(-ad v) dv), so dv = phi(-ad v)^-1 vee(g^-1 dg). The backward is the transpose of
    this, in differentiable ops, so that every order follows.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, group: Any) -> Tensor:
        return group._log_values(g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        g, ctx.group = inputs
        ctx.save_for_backward(g, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        g, v = ctx.saved_tensors
        right = phi(-ctx.group.ad(v)).mT
        w = torch.linalg.solve_ex(right, grads[0][..., None])[0][..., 0]
        dual = torch.einsum("...k,kij->...ij", w.to(g.dtype), ctx.group._dual_basis(g))
        return ctx.group.inverse(g).mH @ dual, None

"""Linear algebra with gradients that stay finite where the textbook formulas divide by zero."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

DEGENERATE = 1e-9  # relative gap below which two eigenvalues count as one; Puny et al. 2021 frames, measured


def eigh(matrix: Float[Tensor, "*batch m m"]) -> tuple[Float[Tensor, "*batch m"], Float[Tensor, "*batch m m"]]:
    """Eigenvalues (ascending) and eigenvectors of symmetric matrices, with finite gradients at repeated eigenvalues.

    The backward uses 1/(l_i - l_j), replaced by 0 where |l_i - l_j| <= 1e-9 max|l|: exact for whatever does not depend
    on the choice of basis inside an eigenspace. Double backward is exact where the eigenvalues are simple. Choose
    float64 before the call if the spectrum matters; only the symmetric part of `matrix` is looked at.

    Arguments:
        matrix: symmetric matrices (*batch, m, m).

    Returns:
        (eigenvalues (*batch, m), eigenvectors (*batch, m, m) in columns).

    Raises:
        RuntimeError: from LAPACK, where the input is not finite.

    >>> import torch
    >>> from torsor.groups.linalg import eigh
    >>> C = torch.eye(3, dtype=torch.float64, requires_grad=True)
    >>> eigh(C)[1].sum().backward()
    >>> bool(C.grad.isfinite().all())
    True
    """
    values, vectors = _Eigh.apply((matrix + matrix.mT) / 2)
    return values, vectors


class _Eigh(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Written in differentiable ops on the saved outputs, so that autograd gives the double backward.
        values, vectors = ctx.saved_tensors
        grad_values, grad_vectors = grads
        gaps = values[..., None, :] - values[..., :, None]
        close = gaps.abs() <= DEGENERATE * values.abs().amax(-1, keepdim=True)[..., None]
        quotient = torch.where(close, 0, 1 / torch.where(close, 1, gaps))
        inner = quotient * (vectors.mT @ grad_vectors) + torch.diag_embed(grad_values)
        grad = vectors @ inner @ vectors.mT
        return (grad + grad.mT) / 2

"""Eigenvectors of symmetric matrices with finite gradients."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from torsor.groups._precision import full_precision
from torsor.groups.linalg._finite import make_finite, nan_unless

DEGENERATE = 1e-9  # relative gap up to which two eigenvalues count as one in the gradient


@full_precision
def eigh(matrix: Inexact[Tensor, "*batch m m"]) -> tuple[Float[Tensor, "*batch m"], Inexact[Tensor, "*batch m m"]]:
    """Eigenvalues (ascending) and eigenvectors of Hermitian matrices, with finite gradients at repeated eigenvalues.

    The backward uses 1/(l_j - l_i), replaced by 0 where |l_i - l_j| <= 1e-9 max|l|. That is exact where eigenvalues are
    simple, to every order, and at repeated ones for the first derivative of projectors on whole eigenspaces and of
    symmetric functions of the eigenvalues. For f(A) = V f(l) V^T take `spectral_function`: it is exact everywhere. Only
    the Hermitian part of `matrix` is looked at; gradients of complex eigenvectors are right for functions that do not
    depend on their phases. Choose float64 before the call where the eigenvectors matter.

    Arguments:
        matrix: symmetric or Hermitian matrices (*batch, m, m). Those that are not finite give NaN.

    Returns:
        (eigenvalues (*batch, m), eigenvectors (*batch, m, m) in columns).

    >>> import torch
    >>> from torsor.groups.linalg import eigh
    >>> C = torch.eye(3, dtype=torch.float64, requires_grad=True)
    >>> eigh(C)[1].sum().backward()
    >>> bool(C.grad.isfinite().all())
    True
    """
    safe, ok = make_finite((matrix + matrix.mH) / 2)
    values, vectors = _Eigh.apply(safe) if torch.is_grad_enabled() else _Eigh.forward(safe)
    return nan_unless(ok, values), nan_unless(ok, vectors)


class _Eigh(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = ctx.saved_tensors
        inner = vectors.mH @ tangent @ vectors
        return inner.diagonal(dim1=-2, dim2=-1).real, vectors @ (_quotient(values) * inner)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Differentiable ops on the saved outputs: autograd finds the double backward.
        values, vectors = ctx.saved_tensors
        grad_values, grad_vectors = grads
        inner = _quotient(values) * (vectors.mH @ grad_vectors) + torch.diag_embed(grad_values)
        grad = vectors @ inner @ vectors.mH
        return (grad + grad.mH) / 2


def _quotient(values: Tensor) -> Tensor:
    """1/(l_j - l_i), 0 where the two count as one."""
    gaps = values[..., None, :] - values[..., :, None]
    close = gaps.abs() <= DEGENERATE * values.abs().amax(-1)[..., None, None] if values.numel() else gaps == 0
    return torch.where(close, 0, 1 / torch.where(close, 1, gaps))

"""Bases of spaces of matrices, orthonormal for <X, Y> = tr(X^T Y)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def skew_basis(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    """(E_ji - E_ij)/sqrt(2) for i < j: each turns axis i towards axis j."""
    i, j = torch.triu_indices(n, n, 1, device=device)
    k = torch.arange(len(i), device=device)
    basis = torch.zeros(len(i), n, n, dtype=dtype, device=device)
    basis[k, j, i], basis[k, i, j] = math.sqrt(0.5), -math.sqrt(0.5)
    return basis


def symmetric_basis(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    """E_ii, then (E_ij + E_ji)/sqrt(2) for i < j."""
    i, j = torch.triu_indices(n, n, 1, device=device)
    k = torch.arange(len(i), device=device)
    off = torch.zeros(len(i), n, n, dtype=dtype, device=device)
    off[k, i, j] = off[k, j, i] = math.sqrt(0.5)
    return torch.cat([torch.diag_embed(torch.eye(n, dtype=dtype, device=device)), off])


def traceless_diagonals(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    """diag(1, .., 1, -k, 0, ..)/sqrt(k (k + 1)) for k = 1, .., n - 1."""
    k = torch.arange(1, n, dtype=dtype, device=device)[:, None]
    column = torch.arange(n, dtype=dtype, device=device)
    rows = torch.where(column < k, 1.0, torch.where(column == k, -k, 0.0)) / (k * (k + 1)).sqrt()
    return torch.diag_embed(rows.to(dtype))


def traceless_basis(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    """E_ij for i != j, row by row, then the traceless diagonals."""
    units = torch.eye(n * n, dtype=dtype, device=device).view(n * n, n, n)
    off = [i * n + j for i in range(n) for j in range(n) if i != j]
    return torch.cat([units[off], traceless_diagonals(n, dtype, device)])


def skew_hermitian_basis(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    """i E_kk, then (E_kj - E_jk)/sqrt(2) and i (E_kj + E_jk)/sqrt(2) for j < k; `dtype` is the real one."""
    symmetric = symmetric_basis(n, dtype, device)
    skew = skew_basis(n, dtype, device)
    return torch.cat([1j * symmetric[:n], skew.to(dtype.to_complex()), 1j * symmetric[n:]])

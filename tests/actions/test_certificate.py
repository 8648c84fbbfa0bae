"""The certificate of a rank: it stands out, it satisfies the constraints, or there is none."""

import math
from dataclasses import dataclass

import pytest
import torch

from torsor.actions import _constraints, _kernel
from torsor.actions._basis import equivariant_basis
from torsor.actions._rep import Scalar, T, V
from torsor.groups import SO, GroupOfMatrices, MatrixGroup


def rank(group, rep_in, rep_out, **options):
    return equivariant_basis(group, rep_in, rep_out, **options).rank


@dataclass(frozen=True, repr=False)
class Stretched(GroupOfMatrices):
    """SO(3) with generators of any length."""

    scale: tuple
    n = dim = 3

    def basis(self, dtype=None, device=None):
        return torch.tensor(self.scale, dtype=dtype)[:, None, None] * SO(3).basis(dtype)


@pytest.mark.parametrize("scale", [(1e-9, 1e-9, 1e-9), (1e8, 1e8, 1e8), (1, 1e-12, 1e6)])
@pytest.mark.parametrize("method", ["eigh", "svd", "krylov"])
def test_the_length_of_the_generators_does_not_matter(scale, method):
    assert rank(Stretched(scale), V.dual * V, V**2, method=method) == 3


def test_an_ambiguous_rank_is_an_error():
    """One direction is fixed to 1e-9, another to 5e-11 only: no cut is safe."""
    group = MatrixGroup(torch.diag(torch.tensor([1, 2e-9, 9e-11], dtype=torch.float64))[None])
    for method in ("auto", "eigh", "svd"):
        with pytest.raises(RuntimeError, match=r"ambiguous rank r=\d, gap="):
            equivariant_basis(group, Scalar(), V, method=method)


def test_nearly_dependent_generators_are_told_apart_by_singular_values():
    """1e-7 is lost in C^T C; the certificate finds out and the singular values settle it."""
    A = torch.diag(torch.tensor([1, 1e-7, 0], dtype=torch.float64))[None]
    assert rank(MatrixGroup(A), Scalar(), V) == 1
    with pytest.raises(RuntimeError, match="ambiguous rank"):
        equivariant_basis(MatrixGroup(A), Scalar(), V, method="eigh")


def test_a_larger_tol_keeps_what_is_nearly_equivariant():
    group = MatrixGroup(torch.diag(torch.tensor([1, 1e-4, 0], dtype=torch.float64))[None])
    assert rank(group, Scalar(), V) == 1
    assert rank(group, Scalar(), V, tol=1e-6) == 2


def test_a_wrong_kernel_does_not_get_a_certificate():
    constraints = _constraints.constraints(SO(3), (V,), (V,))
    wrong = torch.eye(9, dtype=torch.float64)[:, :1]
    with pytest.raises(_constraints.AmbiguousRank, match="C Q"):
        _kernel._certified(constraints, wrong, math.inf, None)


@pytest.mark.parametrize(("stretch", "known"), [(10.0, 3), (100.0, 2), (400.0, 1), (1e3, 1), (1e4, 1)])
def test_a_stretch_gives_the_rank_of_its_weights_or_none(stretch, known):
    """Half of the factors must stretch: 2 of 1 + 1, 6 of 2 + 2, 20 of 3 + 3. Beyond `known` rounding is too large."""
    group = MatrixGroup(discrete=torch.diag(torch.tensor([stretch, 1 / stretch], dtype=torch.float64))[None])
    for p, expected in enumerate((2, 6, 20), 1):
        if p <= known:
            assert rank(group, T(p), T(p)) == expected
        else:
            with pytest.raises(RuntimeError, match="ambiguous rank"):
                rank(group, T(p), T(p))


def test_a_long_generator_does_not_hide_what_its_short_side_forbids():
    group = MatrixGroup(torch.diag(torch.tensor([1e11, 1], dtype=torch.float64))[None])
    with pytest.raises(RuntimeError, match="ambiguous rank"):
        equivariant_basis(group, Scalar(), V)

"""Equivariant linear maps: dimensions from character theory, projections computed by hand, certificates."""

import copy
import math
import pickle
from dataclasses import dataclass

import pytest
import torch

from torsor.actions import _kernel
from torsor.actions._basis import EquivariantBasis, equivariant_basis
from torsor.actions._irreps import Irreps
from torsor.actions._rep import Perm, Regular, Rep, Scalar, T, V
from torsor.groups import (
    SE,
    SL,
    SO,
    Affine,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    GLPlus,
    Lorentz,
    MatrixGroup,
    NonCompactError,
    O,
    Scaling,
    Subgroup,
    Symmetric,
    Trivial,
    U,
    embed,
    join,
)

O2xy, O2yz, O2xz = (embed(O(2), axes=axes, n=3) for axes in [(0, 1), (1, 2), (0, 2)])
SO2xy = embed(SO(2), axes=(0, 1), n=3)
METHODS = ("auto", "svd", "eigh", "krylov", "reynolds")
W = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 10]], dtype=torch.float64)


def rank(group, rep_in, rep_out, **options):
    return equivariant_basis(group, rep_in, rep_out, **options).rank


# ------------------------------------------------------------------ dimensions
@pytest.mark.parametrize(
    ("group", "dimensions"),
    [
        (O(3), [1, 0, 1, 0, 3, 0]),
        (SO(3), [1, 0, 1, 1, 3, 6]),
        (O2xy, [1, 1, 2, 4, 10, 26]),
        (SO2xy, [1, 1, 3, 7, 19, 51]),
        (SO(2), [1, 0, 2, 0, 6, 0, 20]),
        (O(2), [1, 0, 1, 0, 3, 0, 10]),
        (Symmetric(4), [1, 1, 2, 5, 15]),
        (Symmetric(3), [1, 1, 2, 5, 14, 41]),
        (Lorentz(1, 3), [1, 0, 1, 0, 4]),
        (SO(4), [1, 0, 1, 0, 4]),
        (Trivial(2), [1, 2, 4, 8]),
    ],
    ids=str,
)
def test_number_of_invariant_tensors(group, dimensions):
    """Kim et al. 2023, EMLP: multiplicity of the trivial representation in V^n."""
    assert [rank(group, Scalar(), T(n)) for n in range(len(dimensions))] == dimensions


@pytest.mark.parametrize(
    ("group", "rep_in", "rep_out", "expected"),
    [
        (SO(2), V, V, 2),
        (O(2), V, V, 1),
        (SO(3), V**2, V, 1),
        (SO(3), V**2, V**2, 3),
        (O(3), V**2, V, 0),
        (Symmetric(3), V**2, V**2, 14),
        (Symmetric(4), V**2, V**2, 15),
        (Symmetric(5), V**2, V**2, 15),
        (Subgroup(Symmetric(4), (0, 9, 16, 18)), V, V, 4),  # the turns of four things: circulant matrices
        (Lorentz(1, 3), V**2, V**2, 4),
        (Lorentz(1, 3, component="full"), V**2, V**2, 3),
        (SL(2), V**2, Scalar(), 1),
        (SL(2), Scalar(), T(2), 1),
        (SL(3), V**2, V.dual, 1),
        (SL(3), V**3, Scalar(), 1),
        (SL(3), Scalar(), T(3), 1),
        (GLPlus(3), T(1, 1), T(1, 1), 2),
        (GLPlus(3), V, V, 1),
        (GLPlus(2), T(2), T(2), 2),
        (GLPlus(2), Scalar(), T(2), 0),
        (E(3), V, V, 1),
        (SE(3), V**2, V**2, 3),
        (Affine(3), T(1, 1), T(1, 1), 2),
        (Scaling(3), V, V, 9),
        (Scaling(3), V, V**2, 0),
        (Cyclic(3), V, V, 2),
        (Cyclic(4), V**2, V**2, 8),
        (Dihedral(4), V**2, V**2, 4),
        (Dihedral(6), Regular(), Regular(), 12),
        (Cyclic(6), Regular() + V, Regular(), 6 + 2),
        (O(3), V**2, Irreps("0e+1e+2e+2o"), 3),
        (O(3), Irreps("2x0e+3x1o+1e+2x2e"), Irreps("0e+2x1o+2x2e"), 2 + 6 + 4),
        (SO(3), Irreps("3x1o+1e"), Irreps("1o"), 4),
        (O(2), Irreps("0e+0o+1o+1e+2e"), Irreps("0e+0o+1o+1e+2e"), 1 + 1 + 4 + 1),
        (SO(3), Irreps("3o"), Irreps("7o"), 0),
    ],
    ids=str,
)
def test_number_of_equivariant_maps(group, rep_in, rep_out, expected):
    assert rank(group, rep_in, rep_out) == expected


@pytest.mark.parametrize("method", METHODS)
def test_frequencies_that_a_finite_rotation_cannot_see(method):
    """Under Cyclic(6) frequency 6 is trivial: a constraint of size 1e-15 is rounding, not a constraint."""
    assert rank(Cyclic(6), Irreps("0e"), Irreps("6e"), method=method) == 2
    assert rank(Cyclic(5), Irreps("0e"), Irreps("6e"), method=method) == 0
    assert rank(Cyclic(5), Irreps("1o"), Irreps("6e"), method=method) == 2


def test_product_groups_through_their_factors():
    group = DirectProduct(SO(3), Symmetric(4))
    points = Perm().of(1) * V.of(0)
    assert rank(group, points, points) == 2
    assert rank(group, points, V.of(0)) == 1
    assert rank(group, points * points, Scalar()) == 2
    assert rank(DirectProduct(SO(2), SO(3)), V.of(0) * V.of(1), V.of(0) * V.of(1)) == 2 * 1
    assert rank(DirectProduct(Cyclic(2), Symmetric(3)), V.of(0) * V.of(1), V.of(0) * V.of(1)) == 4 * 2


def test_symmetries_together_have_the_maps_of_the_group_that_they_generate():
    together = join(O2xy, O2yz, O2xz)
    for order in (2, 3, 4):
        P = equivariant_basis(together, Scalar(), T(order)).dense().flatten(1)
        Q = equivariant_basis(O(3), Scalar(), T(order)).dense().flatten(1)
        assert len(P) == len(Q) == {2: 1, 3: 0, 4: 3}[order]
        assert torch.allclose(P.mT @ P, Q.mT @ Q, atol=1e-12)


# ------------------------------------------------------------------ projections
PENALTIES = [
    (O(3), 328 / 3, [[16 / 3, 0, 0], [0, 16 / 3, 0], [0, 0, 16 / 3]]),
    (SO(3), 328 / 3, [[16 / 3, 0, 0], [0, 16 / 3, 0], [0, 0, 16 / 3]]),
    (O2xy, 93, [[3, 0, 0], [0, 3, 0], [0, 0, 10]]),
    (O2yz, 95.25, [[1, 0, 0], [0, 7.5, 0], [0, 0, 7.5]]),
    (O2xz, 109.25, [[5.5, 0, 0], [0, 5, 0], [0, 0, 5.5]]),
    (SO2xy, 92, [[3, -1, 0], [1, 3, 0], [0, 0, 10]]),
]


@pytest.mark.parametrize(("group", "penalty", "projection"), PENALTIES, ids=str)
def test_projection_equivariance_penalty_computed_by_hand(group, penalty, projection):
    basis = equivariant_basis(group, V, V)
    assert (basis.project(W) - torch.tensor(projection, dtype=torch.float64)).abs().max() < 1e-13
    assert abs(0.5 * basis.residual(W).square().sum() - penalty) < 1e-12


def test_a_smaller_group_keeps_more():
    """H inside G: its maps contain those of G, and the penalty is no larger."""
    P = equivariant_basis(O(3), V**2, V**2)
    for smaller in (SO(3), O2xy, SO2xy):
        Q = equivariant_basis(smaller, V**2, V**2)
        assert torch.allclose(Q.project(P.dense()), P.dense(), atol=1e-13)
        M = torch.randn(9, 9, dtype=torch.float64)
        assert Q.residual(M).norm() <= P.residual(M).norm() + 1e-12


@pytest.mark.parametrize("group", [Cyclic(5), Dihedral(4), Symmetric(3)], ids=str)
def test_projection_is_the_average_over_a_finite_group(group):
    elements = group.elements(torch.float64)
    rho_in, rho_out = V + V**2, V**2 + Scalar()
    M = torch.randn(rho_out.dim(group), rho_in.dim(group), dtype=torch.float64)
    back = rho_in.matrix(group, group.inverse(elements)).double()
    average = (rho_out.matrix(group, elements).double() @ M @ back).mean(0)
    assert (equivariant_basis(group, rho_in, rho_out).project(M) - average).abs().max() < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("group", [O(3), O2xy], ids=str)
def test_projection_is_the_haar_average(group):
    g = group.sample(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    M = W / W.norm()
    moved = group.linear(g) @ M @ group.linear(g).mT
    basis = equivariant_basis(group, V, V)
    assert (moved.mean(0) - basis.project(M)).abs().max() < 5e-3
    quarter = 0.25 * (moved - M).square().sum((-2, -1)).mean()  # R = 1/4 E |W.g - W|^2
    assert abs(quarter / (0.5 * basis.residual(M).square().sum()) - 1) < 0.01


LAYERS = [
    (SO(3), V + 2 * Scalar() + V.dual + V**2, 2 * V + V**2 + Scalar()),
    (GLPlus(2), T(1, 1) + V + 2 * V.dual, V.dual + T(1, 1) + 2 * Scalar()),
    (Symmetric(4), 2 * V + V**2 + Scalar(), V**2 + V),
    (SE(2), V * (V + Scalar()), V + 2 * V**2),
    (O(3), Irreps("2x0e+1o+1e") + V**2, V + Irreps("0o+2x1e+2e")),
    (DirectProduct(SO(2), Symmetric(3)), V.of(1) * V.of(0) + V.of(0), V.of(0) * V.of(1) + Scalar()),
]
layers = pytest.mark.parametrize(("group", "rep_in", "rep_out"), LAYERS, ids=str)


@layers
def test_basis_matrices_commute_with_the_group(group, rep_in, rep_out):
    basis = equivariant_basis(group, rep_in, rep_out)
    g = group.sample(5, dtype=torch.float64)
    D = basis.dense()
    assert D.shape == (basis.rank, rep_out.dim(group), rep_in.dim(group)) == (basis.rank, *basis.shape)
    assert basis.rank > 2
    defect = rep_out.matrix(group, g).double()[:, None] @ D - D @ rep_in.matrix(group, g).double()[:, None]
    assert defect.abs().max() < 1e-11
    assert (torch.einsum("kij,lij->kl", D, D) - torch.eye(basis.rank)).abs().max() < 1e-12


@layers
def test_coefficients_project_and_residual_are_one_projection(group, rep_in, rep_out):
    basis = equivariant_basis(group, rep_in, rep_out)
    M, c = torch.randn(2, 3, *basis.shape, dtype=torch.float64), torch.randn(4, basis.rank, dtype=torch.float64)
    P, D = basis.project(M), basis.dense()
    assert (P - torch.einsum("kij,klm,...lm->...ij", D, D, M)).abs().max() < 1e-12
    assert (basis.project(P) - P).abs().max() < 1e-12
    assert (basis.residual(M) + P - M).abs().max() < 1e-13
    assert (basis.from_coefficients(basis.coefficients(M)) - P).abs().max() < 1e-12
    assert (basis.coefficients(basis.from_coefficients(c)) - c).abs().max() < 1e-12
    assert (basis.coefficients(M) - torch.einsum("kij,...ij->...k", D, M)).abs().max() < 1e-12
    assert basis(M).equal(P)


def test_gradient_of_the_penalty_is_the_residual():
    basis = equivariant_basis(O2xy, V, V)
    M = W.clone().requires_grad_()
    (grad,) = torch.autograd.grad(0.5 * basis.residual(M).square().sum(), M)
    assert (grad - basis.residual(W)).abs().max() < 1e-13
    assert torch.autograd.gradgradcheck(lambda M: basis.residual(M).square().sum(), M)


def test_float32_weights():
    basis = equivariant_basis(O(3), 4 * V + V**2, 3 * V + V**2)
    M = torch.randn(*basis.shape)
    penalty, exact = basis.residual(M).square().sum(), basis.residual(M.double()).square().sum()
    assert basis.residual(M).dtype == torch.float32
    assert abs(penalty - exact) < 1e-5 * exact
    assert basis.residual(basis.project(M)).square().sum() < 1e-10 * M.square().sum()
    assert equivariant_basis(O(3), V, V, dtype=torch.float32).dense().dtype == torch.float32


# ------------------------------------------------------------------ solvers
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("group", [SO(3), O(3), O2xy, Cyclic(3), Dihedral(4), Symmetric(3)], ids=str)
def test_all_solvers_agree(group, method):
    reference = equivariant_basis(group, V + V**2, V**2).dense()
    assert (equivariant_basis(group, V + V**2, V**2, method=method).dense() - reference).abs().max() < 1e-10


@pytest.mark.parametrize("method", ["svd", "eigh", "krylov"])
def test_solvers_agree_on_a_non_compact_group(method):
    reference = equivariant_basis(SL(3), V**2 + T(1, 1), V.dual + T(1, 1)).dense()
    solved = equivariant_basis(SL(3), V**2 + T(1, 1), V.dual + T(1, 1), method=method)
    assert (solved.dense() - reference).abs().max() < 1e-10
    assert solved.gap > 1e4


def test_large_blocks_are_solved_without_a_matrix():
    """2187 unknowns; the multiplicities of the trivial representation of SO(3) in V^7 are Riordan's number 36."""
    basis = equivariant_basis(SO(3), T(3), T(4))
    assert basis.rank == 36
    g = SO(3).sample(dtype=torch.float64)
    D = basis.dense()
    assert (T(4).matrix(SO(3), g) @ D - D @ T(3).matrix(SO(3), g)).abs().max() < 1e-11
    assert basis.gap > 1e4


def test_permutation_groups_give_exact_orbits():
    basis = equivariant_basis(Symmetric(5), V**2, V**2)
    assert basis.gap == math.inf
    for matrix in basis.dense():
        values = matrix.unique()
        assert len(values) == 2
        assert values[0] == 0
        assert values[1] == 1 / math.sqrt((matrix > 0).sum())


def test_signed_permutations_lose_the_orbits_that_meet_their_negative():
    """Dihedral(4) on V: T(2) keeps xx + yy alone; the turn by 90 degrees sends xy to -yx, the mirror xy to -xy."""
    basis = equivariant_basis(Dihedral(4), Scalar(), T(2))
    assert basis.gap == math.inf
    assert (basis.dense()[0].flatten() - torch.tensor([1, 0, 0, 1]).double() / math.sqrt(2)).abs().max() < 1e-15
    turned = equivariant_basis(Cyclic(4), Scalar(), T(2)).dense()[..., 0] * math.sqrt(2)
    assert sorted(map(tuple, turned.round().int().tolist())) == [(0, 1, -1, 0), (1, 0, 0, 1)]


def test_a_basis_depends_on_the_group_and_not_on_how_it_is_given():
    A = SO(3).basis(torch.float64)
    mixed = MatrixGroup(torch.einsum("kl,lij->kij", torch.randn(3, 3, dtype=torch.float64), A))
    one, two = (equivariant_basis(G, V**2, V**2).dense() for G in (SO(3), mixed))
    assert (one - two).abs().max() < 1e-10


def test_the_largest_entry_of_a_basis_matrix_is_positive():
    across = torch.tensor([0.8, 0.6], dtype=torch.float64)
    mirror = MatrixGroup(discrete=(torch.eye(2) - 2 * across * across[:, None])[None])
    assert equivariant_basis(mirror, Scalar(), V).dense().flatten().tolist() == pytest.approx([-0.6, 0.8])


def test_types_are_solved_once():
    _kernel.equivariant_kernel.cache_clear()
    equivariant_basis(O(3), 5 * V + 3 * V**2, V**2 + 7 * V.dual)
    assert _kernel.equivariant_kernel.cache_info().misses == 4
    equivariant_basis(O(3), V + V**2, 2 * V + V**2, dtype=torch.float32)
    assert _kernel.equivariant_kernel.cache_info().misses == 4
    equivariant_basis(SO(3), V, V)
    assert _kernel.equivariant_kernel.cache_info().misses == 5


def test_what_a_caller_does_to_a_basis_stays_with_it():
    basis = equivariant_basis(O(3), V, V)
    basis.blocks[0].vectors.zero_()
    assert equivariant_basis(O(3), V, V).dense().any()


def test_a_basis_made_on_another_device_or_in_inference_mode_serves_everywhere():
    _kernel.equivariant_kernel.cache_clear()
    with torch.device("meta"):
        assert equivariant_basis(embed(O(2), (0, 1), 4), V, V.dual).blocks[0].vectors.is_meta
    with torch.inference_mode():
        equivariant_basis(SO(5), V, V.dual)
    for group, expected in ((embed(O(2), (0, 1), 4), 5), (SO(5), 1)):
        basis = equivariant_basis(group, V, V.dual)
        assert basis.rank == expected
        M = torch.randn(basis.shape, requires_grad=True)
        basis.residual(M).square().sum().backward()
        assert M.grad.isfinite().all()


def test_half_precision_and_autocast_do_not_reach_the_projection():
    basis = equivariant_basis(SO(3), 3 * V + V**2, V**2)
    M = torch.randn(basis.shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert basis.residual(basis.project(M)).abs().max() < 1e-5
        assert basis.from_coefficients(basis.coefficients(M)).dtype == torch.float32
    assert basis.residual(M.bfloat16()).dtype == torch.bfloat16


# ------------------------------------------------------------------ as a value and as a module
def test_blocks_tell_types_copies_and_vectors():
    basis = equivariant_basis(O(3), 2 * V + Scalar(), V**2 + 3 * Scalar())
    table = [(b.out.copies, b.out.size, b.source.copies, b.source.size, b.vectors.shape[1]) for b in basis.blocks]
    assert table == [(3, 1, 1, 1, 1), (3, 1, 2, 3, 0), (1, 9, 1, 1, 1), (1, 9, 2, 3, 0)]
    assert basis.rank == 3 + 1
    assert "rank 4 of 84" in repr(basis)


def test_a_basis_moves_with_its_layer_and_leaves_no_trace_in_the_state():
    layer = torch.nn.Linear(6, 3)
    layer.basis = equivariant_basis(O(3), V + V, V)
    assert set(layer.state_dict()) == {"weight", "bias"}
    layer.double()
    assert layer.basis.dense().dtype == torch.float64
    assert next(layer.float().basis.buffers()).dtype == torch.float32
    for twin in (copy.deepcopy(layer.basis), pickle.loads(pickle.dumps(layer.basis))):
        assert isinstance(twin, EquivariantBasis)
        assert torch.equal(twin.project(layer.weight), layer.basis.project(layer.weight))


def test_projection_compiles_and_maps(plain):
    basis = equivariant_basis(SO(3), V + Scalar() + V**2, V**2 + V)
    M = torch.randn(4, *basis.shape, dtype=torch.float64)
    for method in (basis.project, lambda M: basis.from_coefficients(basis.coefficients(M))):
        compiled = torch.compile(method, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(M), basis.project(M), atol=1e-14)
        assert torch.allclose(torch.func.vmap(method)(M), basis.project(M), atol=1e-14)


@pytest.mark.parametrize("shape", [(0, 3, 6), (2, 0, 3, 6)])
def test_empty_batches(shape):
    basis = equivariant_basis(SO(3), 2 * V, V)
    assert basis.project(torch.zeros(shape)).shape == shape
    assert basis.coefficients(torch.zeros(shape)).shape == (*shape[:-2], 2)


def test_representations_without_an_axis():
    for rep_in, rep_out, shape in [(0 * V, V, (3, 0)), (V, 0 * V, (0, 3)), (0 * V, 0 * V, (0, 0))]:
        basis = equivariant_basis(SO(3), rep_in, rep_out)
        assert (basis.rank, basis.shape, basis.gap) == (0, shape, math.inf)
        assert basis.project(torch.zeros(2, *shape)).shape == (2, *shape)
        assert basis.coefficients(torch.zeros(2, *shape)).shape == (2, 0)
        assert basis.dense().shape == (0, *shape)


def test_a_bias_is_a_map_from_the_scalar():
    basis = equivariant_basis(O2xy, Scalar(), 2 * V + Scalar())
    assert basis.shape == (7, 1)
    assert basis.project(torch.ones(7, 1))[:, 0].tolist() == pytest.approx([0, 0, 1, 0, 0, 1, 1])


def test_rank_zero_projects_to_nothing():
    basis = equivariant_basis(O(3), V**2, V)
    assert basis.rank == 0
    assert not basis.project(torch.randn(3, 9)).any()
    assert basis.coefficients(torch.randn(3, 9)).shape == (0,)


@dataclass(frozen=True)
class Determinant(Rep):
    def dim(self, group):
        return 1

    def matrix(self, group, g):
        return torch.linalg.det(group.linear(g))[..., None, None]

    def dmatrix(self, group, v):
        return group.hat(v).diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def test_a_representation_from_outside():
    assert rank(GLPlus(2), V**2, Determinant()) == 1  # the area of two vectors
    assert rank(O(3), V**3, Determinant()) == 1  # their triple product
    assert rank(O(3), V**3, Scalar()) == 0


BAD = [
    (lambda: equivariant_basis("SO(3)", V, V), TypeError, "group must be a Group; got str"),
    (lambda: equivariant_basis(SO(3), "V", V), TypeError, "rep_in must be a Rep; got str"),
    (lambda: equivariant_basis(SO(3), V, 3), TypeError, "rep_out must be a Rep; got int"),
    (lambda: equivariant_basis(SO(3), V, V, method="magic"), ValueError, "method must be one of auto, svd.*'magic'"),
    (lambda: equivariant_basis(SO(3), V, V, tol=0.0), ValueError, "tol must be between 0 and 1; got 0.0"),
    (lambda: equivariant_basis(SO(3), V, V, tol=-1e-3), ValueError, "tol must be between 0 and 1"),
    (lambda: equivariant_basis(SO(3), T(5), T(5)), ValueError, "59049 unknowns is larger than 20000.*GiB"),
    (lambda: equivariant_basis(SL(2), V, V, method="reynolds"), NonCompactError, "needs a compact one"),
    (lambda: equivariant_basis(U(2), V, V), TypeError, r"real representations; those of U\(2\) are complex"),
    (lambda: equivariant_basis(SO(3), Regular(), V), TypeError, "finite group"),
    (lambda: equivariant_basis(DirectProduct(SO(2), SO(3)), V, V), TypeError, "ambiguous"),
    (
        lambda: equivariant_basis(SO(3), V, V).project(torch.zeros(3, 4)),
        ValueError,
        r"W must be \(..., 3, 3\) for maps",
    ),
    (lambda: equivariant_basis(SO(3), V, V).project(torch.zeros(3, 3).long()), TypeError, "W must be floating point"),
    (lambda: equivariant_basis(SO(3), V, V).from_coefficients(torch.zeros(2)), ValueError, r"c must be \(..., 1\)"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input_is_refused_in_words(call, error, words, plain):
    with pytest.raises(error, match=words):
        call()

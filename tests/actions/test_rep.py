"""The algebra of representations."""

import pickle
from dataclasses import dataclass, replace

import pytest
import torch

from torsor.actions._irreps import Irreps
from torsor.actions._rep import Perm, Regular, Rep, Scalar, T, V, Vector
from torsor.groups import SE, SO, Affine, Cyclic, Dihedral, DirectProduct, E, GLPlus, O, Subgroup, Symmetric

SPACE_AND_NODES = DirectProduct(SO(3), Symmetric(3))
EVEN = Subgroup(Symmetric(3), (0, 3, 4))
CASES = [
    (SO(3), Scalar() + 2 * V + V**2),
    (O(2), T(2) + V.dual),
    (SE(3), V * (Scalar() + V)),
    (E(2), 2 * V.dual + V**3),
    (GLPlus(2), T(1, 1) + 2 * V.dual + T(0, 2) + V),
    (Affine(2), V * V.dual + 2 * (V + Scalar())),
    (Cyclic(5), Regular() + V),
    (Dihedral(3), Regular() * V + Regular().dual),
    (Symmetric(4), V**2 + Perm() + Scalar()),
    (Symmetric(3), Regular() + V.dual),
    (EVEN, Perm() * Regular() + V.dual),
    (SPACE_AND_NODES, Perm().of(1) * V.of(0) + V.of(0).dual + Regular().of(1) + Scalar()),
    (DirectProduct(SE(2), SO(3)), V.of(1) * V.of(0) + V.of(1) + Irreps("1o+2e").of(1)),
    (SO(3), Irreps("2x0e+1o+1x1e+2x3o")),
    (O(3), Irreps("0o+2x1e+2e") + V),
    (E(3), Irreps("2o") * V),
    (O(2), Irreps("0e+0o+2x1o+1e+3o")),
    (Dihedral(5), Irreps("0o+1o+2e")),
]
FLOAT_CASES = [(group, rep) for group, rep in CASES if not isinstance(group, Symmetric | Subgroup | DirectProduct)]
every = pytest.mark.parametrize(("group", "rep"), CASES, ids=lambda value: str(value))
every_float = pytest.mark.parametrize(("group", "rep"), FLOAT_CASES, ids=lambda value: str(value))


def draw(group, *shape, dtype=torch.float64):
    return group.sample(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max().clamp(min=1)).item()


@every
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_matrix_is_a_homomorphism(group, rep, dtype, bar):
    g, h = draw(group, 2, 6, dtype=dtype), group.sample(6, dtype=dtype)
    whole = rep.matrix(group, group.compose(g, h))
    assert whole.shape == (2, 6, rep.dim(group), rep.dim(group))
    assert relative(rep.matrix(group, g) @ rep.matrix(group, h), whole) < bar
    assert relative(rep.matrix(group, group.identity(dtype=dtype)), torch.eye(rep.dim(group), dtype=dtype)) < bar


@every
@pytest.mark.parametrize(
    ("batch", "middle"), [((), ()), ((), (5,)), ((4,), ()), ((4,), (2, 0)), ((2, 3), (2, 3)), ((0,), (5,))]
)
def test_a_representation_acts_by_its_matrix_on_the_last_axis(group, rep, batch, middle):
    g = draw(group, *batch)
    x = torch.randn(*batch, *middle, rep.dim(group), dtype=torch.float64)
    moved = rep(group, g, x)
    assert moved.shape == x.shape
    matrix = rep.matrix(group, g).double()
    matrix = matrix.reshape(*batch, *(1 for _ in middle), *matrix.shape[-2:])
    assert torch.allclose(moved, (matrix @ x[..., None])[..., 0], rtol=1e-12, atol=1e-12)


def along(group, v):
    if not isinstance(group, DirectProduct):
        return group.exp(v)
    parts = v.split([factor.dim for factor in group.factors], -1)
    return tuple(f.exp(part) if f.dim else f.identity(*v.shape[:-1]) for f, part in zip(group.factors, parts))


@every
def test_dmatrix_is_the_derivative_of_matrix_along_exp(group, rep):
    v = torch.randn(3, group.dim, dtype=torch.float64)
    assert rep.dmatrix(group, v).shape == (3, rep.dim(group), rep.dim(group))
    if group.dim == 0:
        assert not rep.dmatrix(group, v).any()
        return
    h = 1e-5
    slope = (rep.matrix(group, along(group, h * v)) - rep.matrix(group, along(group, -h * v))) / (2 * h)
    assert relative(rep.dmatrix(group, v), slope) < 1e-8


@every
def test_dual_is_the_inverse_transpose(group, rep):
    g = draw(group, 5)
    pairing = rep.dual.matrix(group, g).mT.double() @ rep.matrix(group, g).double()
    assert relative(pairing, torch.eye(rep.dim(group), dtype=torch.float64).expand_as(pairing)) < 1e-12
    assert rep.dual.dual == rep


@every
def test_canonical_order_puts_equal_types_side_by_side(group, rep):
    order = rep.canonical(group)
    assert sorted(order.permutation.tolist()) == list(range(rep.dim(group)))
    assert [len(t.factors) for t in order.types] == sorted(len(t.factors) for t in order.types)
    assert len({t.factors for t in order.types}) == len(order.types)
    assert sum(t.size * t.copies for t in order.types) == rep.dim(group)
    g = draw(group, 3)
    x = torch.randn(3, rep.dim(group), dtype=torch.float64)
    ordered = order.rep(group, g, x[:, order.permutation])
    assert relative(ordered, rep(group, g, x)[:, order.permutation]) < 1e-12


@every
def test_orbit_moves_one_value_by_many_elements(group, rep):
    g = draw(group, 4, 2)
    x = torch.randn(2, 5, rep.dim(group), dtype=torch.float64)
    assert relative(rep.orbit(group, g, x), rep(group, g, x.expand(4, *x.shape))) < 1e-12


@every_float
def test_matrix_and_action_under_vmap(group, rep):
    g, x = draw(group, 4), torch.randn(4, 3, rep.dim(group), dtype=torch.float64)
    assert relative(torch.func.vmap(lambda a: rep.matrix(group, a))(g), rep.matrix(group, g)) < 1e-12
    assert relative(torch.func.vmap(lambda a, b: rep(group, a, b))(g, x), rep(group, g, x)) < 1e-12


@pytest.mark.parametrize("case", [0, 2, 4, 13, 15, 16])
def test_gradients_with_respect_to_element_and_value(case):
    group, rep = CASES[case]
    if isinstance(rep, Irreps):
        rep = Irreps("0o+1o+2e")
    g, x = draw(group, 2).requires_grad_(), torch.randn(2, rep.dim(group), dtype=torch.float64, requires_grad=True)
    act = lambda g, x: rep(group, g, x)
    assert torch.autograd.gradcheck(act, (g, x))
    assert torch.autograd.gradgradcheck(act, (g, x))


COMPILED = [CASES[i] for i in (0, 4, 5, 8, 13, 16)] + [(SPACE_AND_NODES, Perm().of(1) * V.of(0) + V.of(0))]


@pytest.mark.parametrize(("group", "rep"), COMPILED, ids=str)
def test_action_compiles_without_graph_breaks(group, rep, plain):
    g, x = group.sample(3), torch.randn(3, 2, rep.dim(group))
    act = lambda g, x: rep(group, g, x)
    compiled = torch.compile(act, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(g, x), act(g, x), atol=1e-5)


@every
def test_representations_are_values(group, rep):
    assert pickle.loads(pickle.dumps(rep)) == rep
    assert hash(replace(rep)) == hash(rep)
    names = {"V": V, "Scalar": Scalar, "Regular": Regular, "Perm": Perm, "Irreps": Irreps}
    assert eval(repr(rep), names) == rep


def test_the_algebra_has_a_normal_form():
    assert V + V == 2 * V == V * 2 == sum([V, V])
    assert T(1) == V == Vector()
    assert T(0) == Scalar() == V**0
    assert T(2, 1) == V**2 * V.dual
    assert Scalar() * V == V == V * Scalar()
    assert (V + Scalar()).dual == V.dual + Scalar()
    assert (V * V.dual).dual == V.dual * V
    assert 2 * (3 * V) == 6 * V
    assert V + Scalar() + V != 2 * V + Scalar()
    assert (0 * V).dim(SO(3)) == 0


def test_sums_stand_side_by_side_and_products_are_kronecker_products():
    R = SO(3).sample(dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    assert torch.equal((V + Scalar() + 2 * V).matrix(SO(3), R), torch.block_diag(R, one, R, R))
    assert torch.allclose((V * (V + Scalar())).matrix(SO(3), R), torch.kron(R, torch.block_diag(R, one)), atol=1e-15)
    A = GLPlus(2).sample(dtype=torch.float64)
    assert torch.allclose(T(1, 1).matrix(GLPlus(2), A), torch.kron(A, torch.linalg.inv(A).T), atol=1e-14)


def test_a_tensor_on_one_axis_moves_like_a_matrix():
    A, M = GLPlus(3).sample(dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    conjugated = T(1, 1)(GLPlus(3), A, M.flatten()).view(3, 3)
    assert torch.allclose(conjugated, A @ M @ torch.linalg.inv(A), atol=1e-13)


def test_dual_vectors_are_vectors_under_orthogonal_groups_only():
    types = lambda group: [t.factors for t in (V + V.dual).canonical(group).types]
    assert types(SO(3)) == types(E(3)) == types(Symmetric(3)) == types(EVEN) == [(V,)]
    assert len(types(GLPlus(3))) == len(types(Affine(3))) == 2


def test_translations_do_not_move_vectors():
    g = E(3).from_parts(torch.eye(3), torch.ones(3))
    assert torch.equal(Vector()(E(3), g, torch.ones(3)), torch.ones(3))
    assert not Vector().feels_translation


def test_permutations_send_entry_i_to_place_g_i():
    g, x = torch.tensor([2, 0, 1]), torch.tensor([10, 20, 30])
    for rep in (V, Perm()):
        moved = rep(Symmetric(3), g, x)
        assert all(moved[g[i]] == x[i] for i in range(3))
        assert torch.equal(rep.matrix(Symmetric(3), g).to(x.dtype) @ x, moved)


def test_regular_sends_h_to_g_h():
    group = Dihedral(3)
    elements = group.elements(torch.float64)
    moved = Regular()(group, elements[:, None].expand(6, 6, 2, 2), torch.eye(6, dtype=torch.float64).expand(6, 6, 6))
    for g in range(6):
        for h in range(6):
            product = group.index_of(elements[g] @ elements[h])
            assert moved[g, h].argmax() == product


def test_scalar_leaves_anything_alone():
    for x in (torch.tensor(3), torch.tensor([True, False]), torch.zeros(2, 5, 7), torch.zeros(0)):
        assert Scalar()(SO(3), SO(3).identity(2), x) is x
    assert Scalar().event_shape_problem(SO(3), ()) is None
    product = SPACE_AND_NODES.sample(4)
    assert Scalar().matrix(SPACE_AND_NODES, product).equal(torch.ones(4, 1, 1))


def test_per_goes_with_the_sum():
    assert (2 * Vector(per="edge") + Scalar()).per == "edge"
    assert (Vector(per="edge") * Scalar(per="edge")).per == "edge"
    assert Vector(per="node") ** 2 == replace(V**2, per="node")
    assert Vector(per="node").dual.dual == Vector(per="node")
    with pytest.raises(ValueError, match="same rows.*'edge' and 'node'"):
        Vector(per="edge") + Vector(per="node")


def test_a_factor_of_a_product_acts_alone():
    R, p = SPACE_AND_NODES.sample(dtype=torch.float64)
    x = torch.randn(3, 3, dtype=torch.float64)
    positions = Perm().of(1) * V.of(0)
    moved = positions(SPACE_AND_NODES, (R, p), x.flatten()).view(3, 3)
    assert torch.allclose(moved[p], x @ R.T, atol=1e-14)


def test_degree_counts_the_powers_of_the_linear_part():
    assert (Scalar().degree, V.degree, T(2, 1).degree, (V + V**3).degree, Regular().degree) == (0, 1, 3, 3, 0)
    assert V.of(0).degree == 1
    assert Perm().is_discrete
    assert (Perm() * Regular() + Scalar()).is_discrete
    assert not (Perm() * V).is_discrete
    assert not (Perm() + V).is_discrete


@dataclass(frozen=True)
class Determinant(Rep):
    """A representation from outside."""

    def dim(self, group):
        return 1

    def matrix(self, group, g):
        return torch.linalg.det(group.linear(g))[..., None, None]

    def dmatrix(self, group, v):
        return group.hat(v).diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def test_a_representation_from_outside_joins_the_algebra():
    group, rep = GLPlus(2), Determinant() * V + 2 * Determinant().dual
    A = group.sample(3, dtype=torch.float64)
    det = torch.linalg.det(A)
    x = torch.randn(3, 4, dtype=torch.float64)
    expected = torch.cat([det[:, None] * (A @ x[:, :2, None])[..., 0], x[:, 2:] / det[:, None]], -1)
    assert torch.allclose(rep(group, A, x), expected, atol=1e-12)


BAD = [
    (lambda: V(SO(3), SO(3).identity(2), torch.zeros(2, 4)), ValueError, "last axis must have the 3 coordinates of V"),
    (lambda: V(SO(3), SO(3).identity(2, 5), torch.zeros(5, 3)), ValueError, "2 batch axes of g"),
    (lambda: V(SO(3), SO(3).identity(2), torch.zeros(2, 3, dtype=torch.int64)), TypeError, "floating-point.*int64"),
    (lambda: (2 * V)(SO(3), SO(3).identity(), torch.zeros(3)), ValueError, r"6 coordinates of 2\*V under SO\(3\)"),
    (lambda: V.dim(SPACE_AND_NODES), TypeError, r"ambiguous under .*V.of\(0\)"),
    (lambda: V.of(2).dim(SPACE_AND_NODES), ValueError, "at least 3 factors"),
    (lambda: V.of(0).dim(SO(3)), TypeError, r"needs a DirectProduct; got SO\(3\)"),
    (lambda: Perm().dim(SO(3)), TypeError, "Perm needs a Symmetric group"),
    (lambda: Regular().dim(SO(3)), TypeError, "finite group"),
    (lambda: -1 * V, ValueError, "0 times or more; got -1"),
    (lambda: V**-1, ValueError, "0 or more; got -1"),
    (lambda: T(1, -1), ValueError, "p=1, q=-1"),
    (lambda: V + 1, TypeError, "unsupported operand"),
    (lambda: V * 1.5, TypeError, "unsupported operand|can't multiply"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input_is_refused_in_words(call, error, words, plain):
    with pytest.raises(error, match=words):
        call()

"""Bad input is refused at the door, in words."""

import math

import pytest
import torch

from tests.groups.cases import GROUPS, draw, parts
from torsor.groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    Affine,
    Cyclic,
    Dihedral,
    DirectProduct,
    E,
    Embedding,
    GLPlus,
    Lorentz,
    MatrixGroup,
    NonCompactError,
    NotInGroupError,
    O,
    Projective2D,
    SAffine,
    Scaling,
    SemidirectProduct,
    Sim,
    Sp,
    Symmetric,
    Translation,
    Trivial,
    U,
    embed,
    join,
)
from torsor.groups.measure import UniformCompact

ONE_NUMBER = [SO, O, SE, E, Sim, GL, GLPlus, SL, Affine, SAffine, Translation, Scaling, Trivial, U, SU, Symmetric]
REAL = [g for g in GROUPS if isinstance(g.identity(), torch.Tensor) and g.identity().is_floating_point()]
matrix_groups = pytest.mark.parametrize("group", REAL, ids=str)


@pytest.mark.parametrize("family", [*ONE_NUMBER, Cyclic, Dihedral], ids=lambda f: f.__name__)
def test_dimensions_are_whole_numbers_from_one(plain, family):
    for n in (1.5, 0, -1, "3", None, True, math.nan):
        with pytest.raises(ValueError, match="must be a whole number of at least 1; got"):
            family(n)


def test_dimensions_of_other_kinds(plain):
    with pytest.raises(ValueError, match="must be even"):
        Sp(3)
    with pytest.raises(ValueError, match=r"time of Lorentz\(time, space\) must be 1"):
        Lorentz(2, 3)
    with pytest.raises(ValueError, match="component of Lorentz must be one of"):
        Lorentz(1, 3, component="improper")
    with pytest.raises(ValueError, match="must act linearly on R\\^3; got SO\\(2\\)"):
        SemidirectProduct(3, SO(2))
    with pytest.raises(ValueError, match="must act linearly"):
        SemidirectProduct(2, SE(2))
    with pytest.raises(TypeError, match="must be a group of matrices"):
        SemidirectProduct(3, Symmetric(3))
    with pytest.raises(TypeError, match="factor 1 of DirectProduct must be a Group; got int"):
        DirectProduct(SO(2), 3)
    with pytest.raises(ValueError, match="at least one factor"):
        DirectProduct()


@matrix_groups
def test_matrices_of_the_wrong_size_or_kind(plain, group):
    m = group.matrix_dim
    for method in (group.inverse, group.contains, group.distance_from_identity, group.project):
        with pytest.raises(ValueError, match=rf"got shape \(5, {m + 1}, {m + 1}\)"):
            method(torch.zeros(5, m + 1, m + 1))
        with pytest.raises(ValueError, match="must be"):
            method(torch.zeros(m))
        with pytest.raises(TypeError, match=r"must be a floating-point tensor.*got torch.int64"):
            method(torch.zeros(m, m, dtype=torch.int64))
    with pytest.raises(ValueError, match="got shape"):
        group.compose(group.identity(), torch.zeros(m, m + 1))
    with pytest.raises(TypeError, match=r"got torch.float32 and torch.float64"):
        group.compose(group.identity(dtype=torch.float32), group.identity(dtype=torch.float64))
    with pytest.raises(TypeError, match="g and h must be on the same device; got cpu and meta"):
        group.compose(group.identity(), group.identity().to("meta"))
    with pytest.raises(TypeError, match="got list"):
        group.inverse([[1.0]])
    with pytest.raises(ValueError, match=rf"v must be \(..., {group.dim}\)"):
        group.exp(torch.zeros(group.dim + 1))
    with pytest.raises(TypeError, match="floating-point"):
        group.exp(torch.zeros(group.dim, dtype=torch.int64))
    with pytest.raises(TypeError, match="dtype must be a floating-point type"):
        group.identity(dtype=torch.int32)


def test_complex_groups_want_complex_matrices(plain):
    with pytest.raises(TypeError, match="must be a complex tensor"):
        U(2).inverse(torch.eye(2))


def test_parts_must_fit(plain):
    with pytest.raises(ValueError, match=r"linear must be \(..., 3, 3\) for SE\(3\)"):
        SE(3).from_parts(torch.eye(2))
    with pytest.raises(ValueError, match=r"translation must be \(..., 3\)"):
        SE(3).from_parts(torch.eye(3), torch.zeros(2))
    with pytest.raises(TypeError, match="linear and translation must have the same dtype"):
        SE(3).from_parts(torch.eye(3), torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="translation must be None"):
        SO(3).from_parts(torch.eye(3), torch.zeros(3))
    assert SE(3).from_parts(torch.eye(3), torch.zeros(4, 3)).shape == (4, 4, 4)


def test_products_want_one_entry_per_factor(plain):
    G = DirectProduct(SO(2), Symmetric(3))
    with pytest.raises(TypeError, match="must be a tuple of 2 elements"):
        G.inverse(torch.eye(2))
    with pytest.raises(ValueError, match="must have 2 entries"):
        G.inverse((torch.eye(2),))
    with pytest.raises(TypeError, match="has no single linear part"):
        G.linear(G.identity())


def test_gl_plus_says_which_determinant_is_not_positive():
    g = torch.eye(2).repeat(9, 1, 1)
    g[7, 0, 0] = -0.31
    for call in (GLPlus(2).log, GLPlus(2).decompose):
        with pytest.raises(ValueError, match=r"g has det -0.31; GLPlus needs det > 0; first bad batch index 7"):
            call(g)


def test_inverse_of_a_singular_matrix_is_nan():
    g = torch.stack([2 * torch.eye(3), torch.zeros(3, 3), torch.eye(3)])
    assert GLPlus(3).inverse(g).isnan().any(-1).any(-1).tolist() == [False, True, False]
    assert torch.equal(GLPlus(3).inverse(g)[0], torch.eye(3) / 2)


def test_haar_measure_needs_a_compact_group():
    for group in (SE(3), GLPlus(2), Lorentz(1, 3), Translation(1), DirectProduct(SO(3), Scaling(3))):
        with pytest.raises(NonCompactError, match="is not compact and has no normalised Haar measure"):
            group.sample(3, proposal="haar")
        with pytest.raises(NonCompactError):
            UniformCompact(group)
    for group in (Sp(2), SemidirectProduct(2, Sp(2)), MatrixGroup([[[0.0, 1.0], [0.0, 0.0]]])):
        with pytest.raises(NonCompactError, match="has no default proposal: give sample a Proposal"):
            group.sample(3)
    assert SO(3).sample(3, proposal="haar").shape == (3, 3, 3)


def test_proposals_must_be_proposals(plain):
    with pytest.raises(ValueError, match="must be a Proposal or \"haar\"; got 'gauss'"):
        SO(3).sample(3, proposal="gauss")
    with pytest.raises(TypeError, match="must be a Proposal"):
        SO(3).sample(3, proposal=0.5)
    with pytest.raises(ValueError, match=r"must draw elements of SO\(3\); got one for SO\(2\)"):
        SO(3).sample(3, proposal=UniformCompact(SO(2)))


def test_validate_counts_strangers():
    g = SO(3).sample(5)
    g[3] = 2 * g[3]
    with pytest.raises(NotInGroupError, match=r"1 of 5 elements \(first at batch index \(3,\)\) is not in SO\(3\)"):
        SO(3).validate(g)
    SO(3).validate(g[:3])
    g[0, 0, 0] = torch.nan
    with pytest.raises(NotInGroupError, match="2 of 5 elements"):
        SO(3).validate(g)


def test_projective_maps_have_no_linear_part():
    with pytest.raises(TypeError, match="no linear part"):
        Projective2D().linear(torch.eye(3))


def test_embeddings_and_joins_must_fit(plain):
    with pytest.raises(ValueError, match=r"axes must be 2 different axes of R\^3 for SO\(2\); got \(0, 0\)"):
        embed(SO(2), (0, 0), 3)
    with pytest.raises(ValueError, match="axes must be 2 different axes"):
        embed(SO(2), (0, 3), 3)
    with pytest.raises(ValueError, match="axes must be 2 different axes"):
        embed(SO(2), (0, 1, 2), 3)
    with pytest.raises(TypeError, match="must act on R\\^k by matrices"):
        Embedding(Projective2D(), (0, 1), 3)
    with pytest.raises(ValueError, match="of one size and kind"):
        join(SO(2), SO(3))
    with pytest.raises(ValueError, match="of one size and kind"):
        join(SO(3), SE(2))
    with pytest.raises(TypeError, match="groups of real matrices"):
        join(Symmetric(3))
    with pytest.raises(TypeError, match="groups of real matrices"):
        join(U(2))


def test_generators_must_be_generators(plain):
    with pytest.raises(ValueError, match="must be linearly independent"):
        MatrixGroup(torch.ones(2, 3, 3))
    with pytest.raises(ValueError, match="must hold invertible matrices"):
        MatrixGroup(discrete=torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="real square matrices"):
        MatrixGroup(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="of one size"):
        MatrixGroup(torch.ones(1, 3, 3), torch.eye(2)[None])
    for nothing in ((), ([],), (torch.zeros(0, 3, 3), [])):
        with pytest.raises(ValueError, match="at least one generator; .* Trivial"):
            MatrixGroup(*nothing)
    with pytest.raises(ValueError, match="last row"):
        MatrixGroup(torch.ones(1, 3, 3), affine=True)


def test_decompositions_that_a_group_does_not_have(plain):
    with pytest.raises(ValueError, match=r"kind must be one of .* for SE\(3\); got 'polar'"):
        SE(3).decompose(torch.eye(4), "polar")
    with pytest.raises(ValueError, match="has no decompositions"):
        Symmetric(3).decompose(torch.arange(3))


def test_empty_batches_pass():
    for group in GROUPS:
        g = group.identity(0, dtype=torch.float64)
        assert group.batch_shape(group.compose(g, group.inverse(g))) == (0,)
        assert group.contains(g).shape == (0,)
        assert group.log(g).shape == (0, group.dim)
        assert group.batch_shape(group.project(g)) == (0,)
        assert group.distance_from_identity(g).shape == (0,)
        assert all(len(t) == 0 for t in parts(draw(group, 0)))

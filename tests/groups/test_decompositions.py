"""Polar, Iwasawa and KAK: round trips, SciPy, adversarial elements, derivatives."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from jaxtyping import TypeCheckError
from torch.autograd import gradcheck, gradgradcheck

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    GL,
    KAK,
    O2,
    O3,
    SE3,
    SL,
    SO2,
    SO3,
    Iwasawa,
    Polar,
    Product,
    ScaledRotations,
)
from equivariant.groups.decompositions import symmetric_exp, symmetric_log
from equivariant.testing.contracts import traced

GROUPS = (GL(2), GL(3), SL(2), SL(3), ScaledRotations(2), ScaledRotations(3), SO2(), SO3())
ORDERS = ("KAN", "KNA", "NAK", "ANK")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def decompositions(group):
    return [Polar(group), KAK(group), *(Iwasawa(group, order) for order in ORDERS)]


def density_of(decomposition):
    return lambda h: decomposition.log_density(*decomposition.split(h))


def diagonal(*entries):
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


def ill_conditioned(group, condition, count=20):
    """k₁ diag(...) k₂ with singular values from 1/√condition to √condition."""
    n = group.matrix_size
    stretch = torch.linspace(0.5, -0.5, n, dtype=torch.float64) * math.log(condition)
    first, last = group.orthogonal_subgroup.sample(2, count, generator=seeded(1))
    return first @ torch.diag(stretch.exp()) @ last


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_split_and_merge_undo_each_other(group, batch):
    h = group.sample(*batch, generator=seeded())
    for of in decompositions(group):
        factors = of.split(h)
        assert all(bool(group.contains(factor, 1e-12).all()) for factor in factors)
        torch.testing.assert_close(of.merge(*factors), h, atol=1e-13, rtol=1e-13)
        again = of.from_coordinates(of.coordinates(h))
        torch.testing.assert_close(again, h, atol=1e-10, rtol=1e-10)
        assert of.log_density(*factors).shape == batch


@pytest.mark.parametrize("group", [GL(2), GL(3), SL(2), SL(3)], ids=str)
@pytest.mark.parametrize("condition", [1e3, 1e6])
def test_round_trips_of_ill_conditioned_elements(group, condition):
    h = ill_conditioned(group, condition)
    for of in decompositions(group):
        factors = of.split(h)
        scale = float(h.abs().max())
        assert float((of.merge(*factors) - h).abs().max()) < 1e-14 * scale
        again = of.from_coordinates(of.coordinates(h))
        assert float((again - h).abs().max()) < 1e-9 * scale
        for name, factor in zip(of.factors, factors, strict=True):
            if name in ("R", "K", "k1", "k2"):
                assert bool(group.orthogonal_subgroup.contains(factor, 1e-12).all())
    # Single precision inside would lose the small singular value: h hᵀ has condition 1e12.
    x = Polar(group).logarithms(h)[0]
    expected = 0.5 * math.log(condition)
    ends = torch.linalg.eigvalsh(x)[:, [0, -1]]
    exact = torch.tensor([-expected, expected], dtype=torch.float64).expand_as(ends)
    torch.testing.assert_close(ends, exact, atol=1e-9, rtol=0)
    rounded = h.float()
    if isinstance(group, GL):
        near = Polar(group).logarithms(rounded)[0]
        exact = Polar(group).logarithms(rounded.double())[0]
        torch.testing.assert_close(near, exact.float(), atol=0, rtol=0)


SPECIAL = {
    "identity": (diagonal(1, 1), diagonal(1, 1, 1)),
    "trace below -2": (diagonal(-2, -0.5), diagonal(-2, -0.5, 1)),
    "half turn": (diagonal(-1, -1), diagonal(-1, -1, 1)),
    "two equal": (diagonal(0.5, 2), diagonal(2, 2, 0.25)),
    "all but equal": (diagonal(1 + 1e-9, 1 - 1e-9), diagonal(1 + 1e-9, 1, 1 - 1e-9)),
    "shear": (
        torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double(),
        torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]).double(),
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("n", [2, 3])
def test_singular_points(name, n):
    h = SPECIAL[name][n - 2]
    for group in (SL(n), GL(n)):
        for of in decompositions(group):
            torch.testing.assert_close(of.merge(*of.split(h)), h, atol=1e-14, rtol=0)
            again = of.from_coordinates(of.coordinates(h))
            torch.testing.assert_close(again, h, atol=1e-13, rtol=0)
            # Gradients are finite whatever the direction.
            leaf = h.clone().requires_grad_()
            total = sum((factor * factor.detach().cos()).sum() for factor in of.split(leaf))
            total.backward()
            assert bool(leaf.grad.isfinite().all()), of


@pytest.mark.parametrize("n", [2, 3])
def test_polar_against_scipy(n):
    h = GL(n).sample(50, generator=seeded())
    p, r = Polar(GL(n)).split(h)
    x, _ = Polar(GL(n)).logarithms(h)
    for i, matrix in enumerate(h.numpy()):
        rotation, stretch = scipy.linalg.polar(matrix, side="left")
        np.testing.assert_allclose(p[i], stretch, atol=1e-12, rtol=1e-12)
        np.testing.assert_allclose(r[i], rotation, atol=1e-12)
        np.testing.assert_allclose(x[i], scipy.linalg.logm(stretch), atol=1e-11)


@pytest.mark.parametrize("n", [2, 3])
def test_kak_against_singular_values(n):
    h = GL(n).sample(50, generator=seeded())
    first, middle, last = KAK(GL(n)).split(h)
    torch.testing.assert_close(middle.diagonal(dim1=1, dim2=2), torch.linalg.svdvals(h))
    assert bool((torch.linalg.det(first) > 0).all() & (torch.linalg.det(last) > 0).all())


@pytest.mark.parametrize("n", [2, 3])
def test_iwasawa_factors_have_their_shapes(n):
    h = GL(n).sample(50, generator=seeded())
    for order in ORDERS:
        of = Iwasawa(GL(n), order)
        named = dict(zip(of.factors, of.split(h), strict=True))
        unipotent = named["N"]
        assert torch.equal(unipotent.tril(-1), torch.zeros_like(unipotent))
        torch.testing.assert_close(
            unipotent.diagonal(dim1=1, dim2=2), torch.ones(50, n, dtype=torch.float64)
        )
        positive = named["A"].diagonal(dim1=1, dim2=2)
        assert bool((positive > 0).all()) and torch.equal(named["A"], torch.diag_embed(positive))
        assert bool(GL(n).orthogonal_subgroup.contains(named["K"], 1e-12).all())


def test_polar_is_equivariant_under_rotations_from_both_sides():
    group, rotations = GL(3), SO3()
    h = group.sample(20, generator=seeded())
    k, q = rotations.sample(2, 20, generator=seeded(1))
    p, r = Polar(group).split(h)
    moved_p, moved_r = Polar(group).split(k @ h @ q)
    torch.testing.assert_close(moved_p, k @ p @ k.mT, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(moved_r, k @ r @ q, atol=1e-12, rtol=1e-12)
    x, _ = Polar(group).logarithms(h)
    torch.testing.assert_close(symmetric_exp(x), p, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", ["identity", "two equal", "all but equal", "shear"])
def test_derivatives_where_singular_values_repeat(n, name):
    of, h = Polar(GL(n)), SPECIAL[name][n - 2].clone().requires_grad_()
    for function in (of.split, of.logarithms, of.coordinates):
        assert gradcheck(function, (h,)), function
        assert gradgradcheck(function, (h,)), function
    assert gradcheck(density_of(of), (h,))
    for order in ORDERS:
        assert gradcheck(Iwasawa(GL(n), order).split, (h,))
        assert gradcheck(Iwasawa(GL(n), order).coordinates, (h,))
    c = of.coordinates(h.detach()).requires_grad_()
    assert gradcheck(of.from_coordinates, (c,))


def test_eigenvalues_alone_would_not_differentiate_there():
    """The broken twin: PyTorch's own eigenvectors give NaN at the identity."""

    def naive(p):
        values, vectors = torch.linalg.eigh(p)
        return (vectors * values.log()) @ vectors.mT

    eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
    naive(eye)[0, 1].backward()
    assert not bool(eye.grad.isfinite().all())
    eye.grad = None
    symmetric_log(eye)[0, 1].backward()
    assert bool(eye.grad.isfinite().all())


def test_derivatives_of_kak_where_singular_values_differ():
    for h in (GL(2).sample(generator=seeded()), GL(3).sample(generator=seeded(1))):
        group = GL(h.shape[-1])
        assert gradcheck(KAK(group).split, (h.requires_grad_(),))
        assert gradcheck(density_of(KAK(group)), (h,))


def test_vectorized_is_a_loop():
    for group in (GL(2), SL(3)):
        h = group.sample(4, generator=seeded(), scale=0.4)
        for function in (
            Polar(group).coordinates,
            Polar(group).split,
            Iwasawa(group).coordinates,
            density_of(Polar(group)),
            density_of(KAK(group)),
        ):
            vectorized = torch.vmap(function)(h)
            torch.testing.assert_close(vectorized, function(h), atol=1e-12, rtol=1e-12)
            jacobians = torch.vmap(torch.func.jacrev(function))(h)
            one = torch.autograd.functional.jacobian(function, h[0])
            if isinstance(jacobians, tuple):
                jacobians, one = torch.cat(jacobians, 1), torch.cat(one)
            torch.testing.assert_close(jacobians[0], one, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("group", [GL(2), SL(3)], ids=str)
def test_traces_hold_elsewhere(group):
    """What was traced at random elements, as compilers do, is right at the identity too."""
    h = group.sample(3, generator=seeded(), scale=0.4)
    for of in decompositions(group):
        for function in (of.coordinates, density_of(of)):
            graph = traced(function, h)
            torch.testing.assert_close(graph(h.flip(0)), function(h.flip(0)), atol=1e-12, rtol=0)
            if not isinstance(of, KAK):
                eye = group.identity(3)
                torch.testing.assert_close(graph(eye), function(eye), atol=1e-12, rtol=0)


def test_reflections_are_split_too():
    for group in (O2(), O3()):
        h = group.sample(30, generator=seeded())
        for of in decompositions(group):
            torch.testing.assert_close(of.merge(*of.split(h)), h, atol=1e-13, rtol=0)
        with pytest.raises(ConventionError, match="orientation"):
            Polar(group).coordinates(h)


def test_dtypes_are_kept():
    h = GL(3).sample(5, generator=seeded(), dtype=torch.float32)
    for of in decompositions(GL(3)):
        assert {factor.dtype for factor in of.split(h)} == {torch.float32}
        assert of.coordinates(h).dtype == torch.float32
        assert of.log_density(*of.split(h)).dtype == torch.float32
        assert of.from_coordinates(of.coordinates(h)).dtype == torch.float32


def test_refusals():
    for group in (SE3(), Product(SO3(), SO2()), GL(4), GL(1)):
        with pytest.raises(ConventionError, match="linear group of the plane or of space"):
            Polar(group)
    with pytest.raises((ConventionError, TypeCheckError), match="KAN"):
        Iwasawa(GL(2), "AKN")
    mirror = diagonal(1.0, -1.0)
    for of in decompositions(GL(2)):
        with pytest.raises(ConventionError, match="elements of GL"):
            of.split(mirror)
        with pytest.raises(ShapeError, match="shape"):
            of.split(torch.eye(3))
        with pytest.raises(ShapeError, match="factors"):
            of.merge(mirror)
        with pytest.raises(ShapeError, match="coordinates"):
            of.from_coordinates(torch.zeros(7))
    with pytest.raises(ConventionError, match="elements of SL"):
        Polar(SL(2)).split(diagonal(2.0, 1.0))

"""Linear, affine and permutation groups: the contract, SciPy, and the points where logs break."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    GL,
    SO2,
    Affine,
    BallSampler,
    HaarSampler,
    Permutation,
    Product,
    haar_density,
    plane_directions,
    principal_log,
)
from equivariant.testing import GroupContract


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class _PrincipalBranch(GroupContract):
    """Coordinates small enough that the logarithms of products stay on the principal branch."""

    def draw(self, *batch, generator):
        shape = (*batch, self.group.dim)
        return self.group.exp(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64))


class TestLine(_PrincipalBranch):
    group = GL(1)


class TestPlane(_PrincipalBranch):
    group = GL(2)


class TestSpace(_PrincipalBranch):
    group = GL(3)


class TestAffineLine(_PrincipalBranch):
    group = Affine(1)


class TestAffinePlane(_PrincipalBranch):
    group = Affine(2)


class TestAffineSpace(_PrincipalBranch):
    group = Affine(3)


class TestProductWithLinear(_PrincipalBranch):
    group = Product(GL(2), SO2())


class TestPermutation(GroupContract):
    """Overridden where a group without coordinates has nothing to differentiate."""

    group = Permutation(5)

    def test_gradients_of_exp_and_log(self):
        x = torch.zeros(3, 0, dtype=torch.float64)
        assert self.group.log(self.group.exp(x)).shape == (3, 0)

    def test_distance(self, generator):
        a, b, c = (self.group.sample(40, generator=generator) for _ in range(3))
        distance = self.group.distance
        self.close(distance(a, a), torch.zeros(40, dtype=torch.float64))
        self.close(distance(c @ a, c @ b), distance(a, b))
        self.close(distance(a @ c, b @ c), distance(a, b))
        assert bool((distance(a, c) <= distance(a, b) + distance(b, c)).all())
        swap = torch.eye(5, dtype=torch.float64)[[1, 0, 2, 3, 4]]
        assert float(distance(swap, self.group.identity())) == pytest.approx(2 / 5)

    def test_projection_has_finite_gradients_at_the_identity(self):
        assert not self.group.project(self.group.identity().requires_grad_()).requires_grad

    def test_projection_mends_a_perturbed_element(self, generator):
        g = self.group.sample(2, 3, generator=generator)
        noise = 0.2 * torch.randn(g.shape, generator=generator, dtype=torch.float64)
        assert torch.equal(self.group.project(g + noise), g)


def test_log_against_scipy():
    for size in (1, 2, 3, 5):
        matrices = torch.linalg.matrix_exp(0.7 * normal(30, size, size, seed=size))
        for ours, matrix in zip(principal_log(matrices), matrices.numpy(), strict=True):
            if np.abs(np.angle(np.linalg.eigvals(matrix))).max() < 3.0:
                np.testing.assert_allclose(ours, scipy.linalg.logm(matrix), atol=1e-12, rtol=1e-11)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1.0, 3.0, 3.14])
def test_log_of_rotations_and_defective_matrices(angle):
    turn = SO2().exp(torch.tensor([angle], dtype=torch.float64))
    generator = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(principal_log(turn), generator, atol=2e-12, rtol=0)
    jordan = torch.tensor([[2.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    expected = torch.tensor([[math.log(2), 0.5], [0.0, math.log(2)]], dtype=torch.float64)
    torch.testing.assert_close(principal_log(jordan), expected, atol=1e-14, rtol=0)


def test_log_of_large_and_small_scales():
    exponents = torch.tensor([-20.0, -3.0, 0.0, 5.0, 20.0], dtype=torch.float64)
    for exponent in exponents:
        matrix = exponent.exp() * torch.eye(3, dtype=torch.float64)
        expected = exponent * torch.eye(3, dtype=torch.float64)
        torch.testing.assert_close(principal_log(matrix), expected, atol=1e-12, rtol=1e-12)


# Torch compiles its own forward derivatives with a deprecated function of its own.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_log_differentiates_twice_and_forwards():
    for matrix in (torch.eye(2).double(), torch.linalg.matrix_exp(0.5 * normal(2, 2))):
        leaf = matrix.clone().requires_grad_()
        assert torch.autograd.gradcheck(principal_log, (leaf,), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(principal_log, (leaf,))


@pytest.mark.parametrize(
    "diagonal", [(-1.0, -1.0), (-1.0, -2.0), (1.0, 0.0), (0.0, 0.0), (-1.0, 1.0)]
)
def test_matrices_without_a_principal_log_are_refused(diagonal):
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    with pytest.raises(ConventionError, match="negative real axis"):
        GL(2).log(matrix)
    with pytest.raises(ConventionError, match="negative real axis"):
        Affine(2).log(Affine.join(matrix, torch.zeros(2, dtype=torch.float64)))


def test_projection_reaches_positive_determinant():
    for matrix in (
        torch.zeros(3, 3).double(),
        torch.diag(torch.tensor([1.0, 0.0, 0.0])).double(),
        torch.diag(torch.tensor([2.0, 1.0, -0.1])).double(),
        normal(20, 3, 3),
    ):
        element = GL(3).project(matrix)
        assert bool((torch.linalg.det(element) > 0).all())
        torch.testing.assert_close(GL(3).project(element), element, atol=1e-14, rtol=0)
    flipped = torch.diag(torch.tensor([2.0, 1.0, -0.1])).double()
    assert float((GL(3).project(flipped) - flipped).norm()) == pytest.approx(0.1, abs=1e-6)


def test_injectivity_radius_of_linear_maps():
    """A rotation by π has coordinates of norm √2 π, and nothing nearer repeats."""
    for group in (GL(2), GL(3), Affine(2)):
        assert group.injectivity_radius == pytest.approx(math.sqrt(2) * math.pi)
    assert GL(1).injectivity_radius == math.inf
    drawn = BallSampler(GL(2), 4.4).draw(500, generator=torch.Generator().manual_seed(0))
    assert float(GL(2).log(drawn.elements).norm(dim=-1).max()) <= 4.4 + 1e-9


def test_haar_density_of_the_affine_line():
    """exp(a, v) has left Haar density (1 - e^(-a)) / a: the group is not unimodular."""
    x = normal(50, 2)
    expected = (1 - (-x[:, 0]).exp()) / x[:, 0]
    torch.testing.assert_close(haar_density(Affine(1), x), expected, atol=1e-12, rtol=0)
    with pytest.raises(ConventionError, match="compact"):
        HaarSampler(Affine(1))


def test_affine_elements_move_points_affinely():
    g, h = Affine(2).sample(2, generator=torch.Generator().manual_seed(0), scale=0.5)
    x = normal(2)
    linear, shift = Affine.split(g)
    inner_linear, inner_shift = Affine.split(h)
    product_linear, product_shift = Affine.split(g @ h)
    torch.testing.assert_close(
        product_linear @ x + product_shift, linear @ (inner_linear @ x + inner_shift) + shift
    )
    torch.testing.assert_close(Affine.join(linear, shift), g)


def test_plane_directions_by_closed_form():
    """Each one-parameter group at t = 0.3 against its textbook matrix."""
    t, x = 0.3, plane_directions()
    e, c, s = math.exp, math.cos, math.sin
    expected = {
        "translation_x": [[1, 0, t], [0, 1, 0]],
        "translation_y": [[1, 0, 0], [0, 1, t]],
        "rotation": [[c(t), -s(t), 0], [s(t), c(t), 0]],
        "scale": [[e(t), 0, 0], [0, e(t), 0]],
        "stretch": [[e(t), 0, 0], [0, e(-t), 0]],
        "shear_x": [[1, t, 0], [0, 1, 0]],
        "shear_y": [[1, 0, 0], [t, 1, 0]],
        "hyperbolic": [[math.cosh(t), math.sinh(t), 0], [math.sinh(t), math.cosh(t), 0]],
    }
    assert list(x) == list(expected)
    for name, rows in expected.items():
        moved = Affine(2).exp(t * x[name])
        np.testing.assert_allclose(moved, [*rows, [0, 0, 1]], atol=1e-14)


def test_permutations_are_drawn_uniformly():
    g = Permutation(3).sample(12_000, generator=torch.Generator().manual_seed(0))
    orders = g @ torch.tensor([0.0, 1.0, 2.0]).double() @ torch.tensor([9.0, 3.0, 1.0]).double()
    _, counts = orders.unique(return_counts=True)
    assert counts.shape == (6,)
    assert float((counts / 12_000 - 1 / 6).abs().max()) < 0.02


def test_refusals():
    for kind in (GL, Affine, Permutation):
        with pytest.raises(ConventionError, match="size"):
            kind(0)
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ConventionError, match="identity"):
        Permutation(2).log(swap)
    with pytest.raises(ShapeError, match="shape"):
        GL(2).inverse(torch.eye(3))

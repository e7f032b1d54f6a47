"""Rotations against SciPy, closed forms, and the points where formulas break."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    O3,
    SE3,
    SO2,
    SO3,
    Product,
    Spin3,
    Translation,
    euler_xyz_extrinsic_from_matrix,
    matrix_from_euler_xyz_extrinsic,
    matrix_from_quaternion_xyzw,
    quaternion_xyzw_from_matrix,
    quaternion_xyzw_product,
    relative_quaternion_xyzw,
    rotation_angle,
    rotation_vector_from_quaternion_xyzw,
)

ANGLES = (
    0.0,
    1e-12,
    1e-8,
    1e-4,
    0.5,
    3.0,
    math.pi - 1e-4,
    math.pi - 1e-8,
    math.pi - 1e-12,
    math.pi,
)
AXES = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 0], [1, -2, 3], [-1, -1, -1]], float)
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)


def f64(x):
    return torch.tensor(np.asarray(x), dtype=torch.float64)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("axis", AXES)
def test_exp_and_log_against_scipy(axis, angle):
    matrix = SO3().exp(f64(angle * axis))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(angle * axis).as_matrix(), atol=1e-15)
    back = SO3().log(matrix).numpy()
    # At a half turn both signs are right; just below it, rounding of the matrix decides.
    error = min(np.abs(back - angle * axis).max(), np.abs(back + angle * axis).max())
    assert error < 1e-14 * 10 if angle < 3.1 else error < 1e-7
    np.testing.assert_allclose(SO3().exp(f64(back)), matrix, atol=3e-16 * 10)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("axis", AXES)
def test_gradients_are_finite_at_every_singular_point(axis, angle):
    w = f64(angle * axis).requires_grad_()
    g = SO3().exp(w)
    for value in (SO3().log(g), rotation_angle(g), quaternion_xyzw_from_matrix(g)):
        (gradient,) = torch.autograd.grad(value.sum(), w, retain_graph=True)
        assert torch.isfinite(gradient).all()


def test_half_turns_choose_a_sign_by_rule():
    for axis in AXES:
        w = SO3().log(SO3().exp(f64(math.pi * axis)))
        assert abs(float(w.norm()) - math.pi) < 1e-7
    exact = torch.diag(f64([-1.0, -1.0, 1.0]))
    torch.testing.assert_close(SO3().log(exact), f64([0.0, 0.0, math.pi]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_euler_angles_against_scipy(angles):
    matrix = matrix_from_euler_xyz_extrinsic(f64(angles))
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(matrix, expected, atol=1e-14)
    back = matrix_from_euler_xyz_extrinsic(euler_xyz_extrinsic_from_matrix(matrix))
    np.testing.assert_allclose(back, matrix, atol=1e-13)


@pytest.mark.parametrize("b", [math.pi / 2, -math.pi / 2])
def test_gimbal_lock(b):
    matrix = matrix_from_euler_xyz_extrinsic(f64([0.3, b, 1.1]))
    angles = euler_xyz_extrinsic_from_matrix(matrix)
    torch.testing.assert_close(matrix_from_euler_xyz_extrinsic(angles), matrix)
    locked = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        euler_xyz_extrinsic_from_matrix(locked), f64([0.0, math.pi / 2, 0.0])
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_quaternions_against_scipy(seed):
    rotation = Rotation.random(20, random_state=seed)
    matrix = f64(rotation.as_matrix())
    expected = rotation.as_quat(canonical=True)
    np.testing.assert_allclose(quaternion_xyzw_from_matrix(matrix), expected, atol=1e-15)
    np.testing.assert_allclose(matrix_from_quaternion_xyzw(f64(expected)), matrix, atol=2e-15)
    other = Rotation.random(20, random_state=seed + 1)
    product = quaternion_xyzw_product(f64(expected), f64(other.as_quat()))
    np.testing.assert_allclose(
        matrix_from_quaternion_xyzw(product), (rotation * other).as_matrix(), atol=2e-15
    )
    vector = rotation_vector_from_quaternion_xyzw(f64(expected))
    np.testing.assert_allclose(vector, rotation.as_rotvec(), atol=1e-14)


def test_relative_quaternion_is_the_published_one():
    a, b = Rotation.from_euler("xyz", [0.3, -0.2, 1.0]), Rotation.from_euler("xyz", [-1.2, 0.7, -1])
    expected = (a.inv() * b).as_quat()
    computed = relative_quaternion_xyzw(f64(a.as_matrix()), f64(b.as_matrix())).numpy()
    np.testing.assert_allclose(computed * np.sign(computed @ expected), expected, atol=1e-15)
    np.testing.assert_allclose(computed[3], a.as_quat(canonical=True) @ b.as_quat(canonical=True))
    same = relative_quaternion_xyzw(f64(a.as_matrix()), f64(a.as_matrix()))
    torch.testing.assert_close(same, f64([0.0, 0.0, 0.0, 1.0]))


def test_haar_measure_by_its_moments():
    """E R = 0, E R_ij R_kl = δ_ik δ_jl / 3, and the angle has density (1 - cos θ) / π."""
    g = SO3().sample(200_000, generator=torch.Generator().manual_seed(0))
    assert g.mean(0).abs().max() < 0.006
    second = torch.einsum("nij,nkl->ijkl", g, g) / len(g)
    expected = torch.einsum("ik,jl->ijkl", torch.eye(3), torch.eye(3)).double() / 3
    assert (second - expected).abs().max() < 0.006
    assert abs(float(rotation_angle(g).mean()) - (math.pi / 2 + 2 / math.pi)) < 0.01
    uniform = torch.rand(50_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    box = matrix_from_euler_xyz_extrinsic(2 * math.pi * uniform)
    assert abs(float(box[:, 2, 2].square().mean()) - 1 / 3) > 0.05


def test_other_groups_draw_their_haar_measure():
    generator = torch.Generator().manual_seed(0)
    angle = SO2().log(SO2().sample(100_000, generator=generator)).squeeze(-1)
    histogram = torch.histc(angle.float(), 10, -math.pi, math.pi) / 100_000
    assert (histogram - 0.1).abs().max() < 0.006
    assert (
        abs(
            float((torch.linalg.det(O3().sample(20_000, generator=generator)) > 0).double().mean())
            - 0.5
        )
        < 0.02
    )
    q = Spin3.quaternion_xyzw(Spin3().sample(100_000, generator=generator))
    assert q.mean(0).abs().max() < 0.01
    translation = Translation(1).sample(50_000, generator=generator, scale=3.0)
    assert abs(float(translation[:, 0, 1].std()) - 3.0) < 0.05


def test_spin_covers_rotations_twice():
    generator = torch.Generator().manual_seed(0)
    g, h = Spin3().sample(50, generator=generator), Spin3().sample(50, generator=generator)
    torch.testing.assert_close(Spin3.rotation(g @ h), Spin3.rotation(g) @ Spin3.rotation(h))
    torch.testing.assert_close(Spin3.rotation(-g), Spin3.rotation(g))
    w = torch.randn(50, 3, generator=generator).double()
    torch.testing.assert_close(Spin3.rotation(Spin3().exp(w)), SO3().exp(w))
    full_turn = Spin3().exp(f64([0.0, 0.0, 2 * math.pi]))
    torch.testing.assert_close(full_turn, -torch.eye(4).double())


def test_projection_minimizes_and_differentiates():
    """Against SciPy's polar factor, and the derivative where singular values repeat."""
    generator = torch.Generator().manual_seed(0)
    m = torch.randn(20, 3, 3, generator=generator, dtype=torch.float64)
    near = SO3().project(m)
    for matrix, element in zip(m.numpy(), near.numpy(), strict=True):
        if np.linalg.det(matrix) > 0:
            np.testing.assert_allclose(element, polar(matrix)[0], atol=1e-12)
        assert abs(np.linalg.det(element) - 1) < 1e-12
        for rival in SO3().sample(200, generator=generator).numpy():
            assert np.linalg.norm(matrix - element) <= np.linalg.norm(matrix - rival) + 1e-12
    for start in (torch.eye(3).double(), torch.diag(f64([2.0, 2.0, 1.0])), m[0]):
        assert torch.autograd.gradcheck(SO3().project, (start.clone().requires_grad_(),))
    flat = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    SO3().project(flat).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_rigid_motions():
    generator = torch.Generator().manual_seed(0)
    g = SE3().sample(10, generator=generator, scale=2.0)
    rotation, translation = SE3.split(g)
    torch.testing.assert_close(SE3.join(rotation, translation), g)
    assert torch.equal(g[:, 3], f64([[0.0, 0.0, 0.0, 1.0]]).expand(10, 4))
    half = SE3().exp(f64([math.pi, 0, 0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(SE3().exp(SE3().log(half)), half)


def test_products_split_and_join():
    group = Product(SO3(), Translation(1))
    generator = torch.Generator().manual_seed(0)
    rotation = SO3().sample(4, generator=generator)
    shift = Translation(1).sample(4, generator=generator)
    g = group.join([rotation, shift])
    assert torch.equal(g[:, :3, 3:], torch.zeros(4, 3, 2).double())
    assert all(torch.equal(a, b) for a, b in zip(group.split(g), (rotation, shift), strict=True))
    assert group == Product(SO3(), Translation(1)) != Product(Translation(1), SO3())
    with pytest.raises(ShapeError, match="2 elements"):
        group.join([rotation])
    with pytest.raises(ConventionError, match="at least one group"):
        Product()


def test_reflections():
    mirror = -torch.eye(3, dtype=torch.float64)
    assert O3().distance(torch.eye(3).double(), mirror) == torch.inf
    assert O3().distance(mirror, mirror) == 0
    with pytest.raises(ConventionError, match="orientation"):
        O3().log(mirror)


def test_quaternions_have_four_numbers():
    with pytest.raises((ShapeError, TypeCheckError), match="quaternion"):
        matrix_from_quaternion_xyzw(torch.zeros(2, 3))

"""Elements between views, and 3DIEBench's published statistics of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.spatial.transform import Rotation

from datasets3d import (
    BuildConfig,
    ElementConvention,
    ProceduralMeshes,
    ThreeDIEBench,
    TransformPairs,
    ViewLaw,
    build,
)
from datasets3d.views.latents import rotation_matrix
from equivariant.errors import ConventionError
from equivariant.groups import (
    SO3,
    Product,
    Spin3,
    Translation,
    relative_quaternion_xyzw,
    relative_quaternion_xyzw_of_angles,
)
from equivariant.measure import regression_score

KNOWN = [
    ((0.3, -0.2, 1.0), (-1.2, 0.7, -1.0)),
    ((math.pi / 2, 0.0, 0.0), (0.0, 0.0, math.pi / 2)),
    ((0.0, math.pi / 2, 0.0), (1.5, math.pi / 2, -0.4)),  # gimbal lock
    ((1.5, -1.0, 1.5), (-1.5, -1.0, -1.5)),  # negative scalar part
]
PAIRS = 200_000


def poses(*angles):
    return [torch.from_numpy(rotation_matrix(np.array([*a, 0, 0, 0, 0.0]))) for a in angles]


@pytest.mark.parametrize(("first", "second"), KNOWN)
def test_known_angles_against_scipy(first, second):
    a, b = poses(first, second)
    expected = Rotation.from_euler("xyz", first).inv() * Rotation.from_euler("xyz", second)
    g = ElementConvention().between(a, b)
    np.testing.assert_allclose(g, expected.as_matrix(), atol=1e-15)
    quaternion = Spin3.quaternion_xyzw(ElementConvention(cover=True).between(a, b)).numpy()
    q1, q2 = (Rotation.from_euler("xyz", t).as_quat(canonical=True) for t in (first, second))
    assert abs(quaternion[3] - q1 @ q2) < 1e-15, "scalar last, its sign that of the product"
    np.testing.assert_allclose(
        quaternion * math.copysign(1, quaternion[3]), expected.as_quat(canonical=True), atol=1e-15
    )


@pytest.mark.parametrize(("first", "second"), KNOWN)
def test_definitions_of_the_frames(first, second):
    a, b = poses(first, second)
    in_object = ElementConvention(frame="object").between(a, b)
    in_world = ElementConvention(frame="world").between(a, b)
    torch.testing.assert_close(a @ in_object, b)
    torch.testing.assert_close(in_world @ a, b)
    torch.testing.assert_close(in_world, a @ in_object @ a.T)
    cover = ElementConvention(cover=True).between(a, b)
    torch.testing.assert_close(Spin3.rotation(cover), in_object)
    assert not torch.allclose(a @ in_object.T, b), "the inverse is another element"


def test_sign_is_not_made_canonical():
    a, b = poses(*KNOWN[3])
    assert Spin3.quaternion_xyzw(ElementConvention(cover=True).between(a, b))[3] < 0


@pytest.mark.parametrize("frame", ["object", "world"])
def test_identical_angles_give_the_identity(frame):
    (a,) = poses((0.7, -1.1, 0.2))
    g = ElementConvention(frame=frame).between(a, a)
    torch.testing.assert_close(g, torch.eye(3, dtype=torch.float64), atol=1e-15, rtol=0)


def test_identical_angles_give_the_identity_of_the_cover():
    (a,) = poses((0.7, -1.1, 0.2))
    g = ElementConvention(cover=True).between(a, a)
    expected = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(Spin3.quaternion_xyzw(g), expected, atol=1e-15, rtol=0)


def test_hues_are_plain_differences_floor_first():
    a, b = poses(*KNOWN[0])
    shift = torch.tensor([0.95, -0.9], dtype=torch.float64)
    convention = ElementConvention(elements="rotation+color")
    assert convention.group == Product(SO3(), Translation(1), Translation(1))
    g = convention.between(a, b, shift)
    rotation, floor, spot = convention.group.split(g)
    torch.testing.assert_close(a @ rotation, b)
    assert floor[0, 1] == 0.95 and spot[0, 1] == -0.9, "not wrapped, floor before spot"
    covered = ElementConvention(elements="rotation+color", cover=True)
    assert covered.group == Product(Spin3(), Translation(1), Translation(1))
    assert covered.between(a, b, shift).shape == (8, 8)


def test_elements_of_a_batch_are_elements_of_the_group():
    generator = torch.Generator().manual_seed(0)
    a, b = SO3().sample(30, generator=generator), SO3().sample(30, generator=generator)
    shift = torch.rand(30, 2, generator=generator, dtype=torch.float64)
    for elements in ("rotation", "rotation+color"):
        for frame, cover in (("object", False), ("object", True), ("world", False)):
            convention = ElementConvention(elements=elements, frame=frame, cover=cover)
            g = convention.between(a, b, shift)
            convention.group.check_element(g)
            single = convention.between(a[3], b[3], shift[3])
            torch.testing.assert_close(g[3], single)


def test_refusals():
    a, b = poses(*KNOWN[0])
    with pytest.raises(ConventionError, match="cover only with object"):
        ElementConvention(frame="world", cover=True)
    with pytest.raises((ConventionError, TypeCheckError)):
        ElementConvention(elements="color")
    with pytest.raises(ConventionError, match="hue_shift"):
        ElementConvention(elements="rotation+color").between(a, b)


@pytest.fixture(scope="module")
def published():
    """Relative quaternions of pairs under the published law, drawn independently of ours."""
    random = np.random.default_rng(0)
    angles = random.uniform(-math.pi / 2, math.pi / 2, (2, PAIRS, 3))
    a, b = (torch.from_numpy(rotation_matrix(side)) for side in angles)
    return Spin3.quaternion_xyzw(ElementConvention(cover=True).between(a, b))


def test_published_statistics(published):
    np.testing.assert_allclose(published.mean(0), (0, 0, 0, 0.533), atol=0.004)
    np.testing.assert_allclose(published.var(0), (0.209, 0.209, 0.209, 0.090), atol=0.002)
    assert abs(float((published[:, 3] < 0).double().mean()) - 0.045) < 0.002
    angle = np.degrees(2 * np.arccos(np.abs(published[:, 3].numpy()).clip(max=1)))
    np.testing.assert_allclose(np.percentile(angle, [5, 50, 95]), (39, 110, 170), atol=1.0)


def test_a_blind_predictor_scores_0229(published):
    blind = published.mean(0).expand_as(published)
    score = regression_score(blind, published)
    assert abs(score.r2_flat - 0.229) < 0.002 and abs(score.r2) < 1e-9
    assert abs(score.blind_r2_flat - score.r2_flat) < 1e-9


def test_our_law_has_the_published_statistics():
    latents = np.stack([ViewLaw().sample(0, "c/o", view=v) for v in range(12_000)])
    a, b = torch.from_numpy(rotation_matrix(latents)).view(2, -1, 3, 3)
    q = Spin3.quaternion_xyzw(ElementConvention(cover=True).between(a, b))
    np.testing.assert_allclose(q.mean(0), (0, 0, 0, 0.533), atol=0.025)
    np.testing.assert_allclose(q.var(0), (0.209, 0.209, 0.209, 0.090), atol=0.01)
    hues = latents.reshape(2, -1, 7)[..., [3, 6]]
    np.testing.assert_allclose((hues[1] - hues[0]).var(0), 1 / 6, atol=0.01)


@pytest.mark.parametrize("limit_deg", [90, 120, 180])
def test_recorded_angles_give_the_published_sign(limit_deg):
    """The published code composes quaternions of angles, and never makes them canonical."""
    random = np.random.default_rng(0)
    angles = random.uniform(-math.radians(limit_deg), math.radians(limit_deg), (2, 2000, 3))
    expected = (
        Rotation.from_euler("xyz", angles[0]).inv() * Rotation.from_euler("xyz", angles[1])
    ).as_quat()
    recorded = relative_quaternion_xyzw_of_angles(*torch.from_numpy(angles))
    np.testing.assert_allclose(recorded, expected, atol=1e-14)
    a, b = (torch.from_numpy(rotation_matrix(side)) for side in angles)
    told = relative_quaternion_xyzw(a, b)
    within = (np.abs(angles[..., 1]) < math.pi / 2).all(0)
    np.testing.assert_allclose(told[within], expected[within], atol=1e-12)
    canonical = [torch.from_numpy(Rotation.from_matrix(m).as_quat(canonical=True)) for m in (a, b)]
    wrong = (canonical[0] * canonical[1]).sum(1).numpy() * expected[:, 3] < 0
    assert wrong.any() == (limit_deg > 90), "scalar parts made positive have another sign"
    convention = ElementConvention(cover=True)
    g = convention.between(a, b, relative_xyzw=recorded)
    np.testing.assert_allclose(Spin3.quaternion_xyzw(g), expected, atol=1e-14)


@pytest.mark.parametrize("rotation", ["haar", "cone", "vertical", "box"])
def test_matrices_tell_the_sign_of_every_law_that_records_what_they_tell(rotation):
    """Only a box beyond ±π/2 records angles about y that no matrix gives back."""
    law = ViewLaw(rotation=rotation, angle_max_rad=math.pi / 2 if rotation == "box" else math.pi)
    latents = np.stack([law.sample(0, "c/o", view=v) for v in range(300)])
    angles = torch.from_numpy(latents[:, :3].copy()).unflatten(0, (2, -1))
    a, b = torch.from_numpy(rotation_matrix(latents)).unflatten(0, (2, -1))
    torch.testing.assert_close(
        relative_quaternion_xyzw(a, b), relative_quaternion_xyzw_of_angles(*angles)
    )


def test_pairs_of_a_wide_box_have_the_sign_of_their_recorded_angles(tmp_path):
    source = ProceduralMeshes(instances=2, classes=["chair"])
    config = BuildConfig(views=6, size_px=8, law=ViewLaw(angle_max_rad=math.pi))
    build(source, tmp_path / "set", config=config, workers=1, progress=False)
    data = ThreeDIEBench(tmp_path / "set", "all")
    pairs = TransformPairs(data, convention=ElementConvention(cover=True))
    rows = np.array([(o, i, j) for o in range(2) for i in range(6) for j in range(6) if i != j])
    batch = pairs.batch(rows)
    q = [Rotation.from_euler("xyz", data.latents[rows[:, 0], rows[:, k], :3]) for k in (1, 2)]
    expected = (q[0].inv() * q[1]).as_quat()
    np.testing.assert_allclose(batch.relative_xyzw, expected, atol=1e-14)
    np.testing.assert_allclose(Spin3.quaternion_xyzw(batch.g), expected, atol=1e-6)
    from_matrices = relative_quaternion_xyzw(batch.pose_a, batch.pose_b).numpy()
    assert ((from_matrices * expected).sum(1) < 0).any()

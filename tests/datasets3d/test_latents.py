"""The law of a view: its ranges and moments, its seeds, and the scene it describes."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

import datasets3d
from datasets3d import ViewLaw
from datasets3d.views.latents import COLUMNS, generator, rotation_matrix
from equivariant.errors import ConventionError
from renderers import Mesh

DRAWS = 6_000
LOW = np.array([-math.pi / 2] * 3 + [0.0, 0.0, 0.0, 0.0])
HIGH = np.array([math.pi / 2] * 3 + [1.0, math.pi / 4, 2 * math.pi, 1.0])
TRIANGLE = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32), np.ones((1, 3, 3), np.float32),
                face_colors=np.full((1, 3), 200, np.uint8))  # fmt: skip


def draws(law, count=DRAWS):
    return np.stack([law.sample(0, f"c/{k // 50}", view=k % 50) for k in range(count)])


def is_haar(rotations):
    """Second moments E R_ij R_kl = δ_ik δ_jl / 3 within five standard errors of their mean."""
    second = np.einsum("nij,nkl->ijkl", rotations, rotations) / len(rotations)
    expected = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) / 3
    tolerance = 5 * 0.3 / math.sqrt(len(rotations))
    return (
        np.abs(rotations.mean(0)).max() < 2 * tolerance
        and np.abs(second - expected).max() < tolerance
    )


@pytest.fixture(scope="module")
def box():
    return draws(ViewLaw())


def test_ranges_are_those_of_3diebench(box):
    assert box.dtype == np.float64 and box.shape == (DRAWS, 7)
    assert (box >= LOW).all() and (box <= HIGH).all()
    # the extremes of N uniform draws come within a few widths / N of the ends
    assert (box.min(0) - LOW < 12 / DRAWS * (HIGH - LOW)).all()
    assert (HIGH - box.max(0) < 12 / DRAWS * (HIGH - LOW)).all()


def test_factors_are_uniform_and_independent(box):
    unit = (box - LOW) / (HIGH - LOW)
    for column in unit.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(unit.T) - np.eye(7)
    assert np.abs(correlation).max() < 5 / math.sqrt(DRAWS)


def test_consecutive_views_and_objects_are_independent(box):
    unit = (box - LOW) / (HIGH - LOW) - 0.5
    for lag in (1, 50):
        assert np.abs((12 * unit[lag:] * unit[:-lag]).mean(0)).max() < 5 / math.sqrt(DRAWS)


def test_haar_law_by_its_moments(box):
    haar = draws(ViewLaw(rotation="haar"))
    assert is_haar(rotation_matrix(haar))
    assert np.array_equal(haar[:, 3:], box[:, 3:])
    angles = Rotation.from_matrix(rotation_matrix(haar)).magnitude()
    assert abs(angles.mean() - (math.pi / 2 + 2 / math.pi)) < 0.04


def test_uniform_euler_angles_are_not_haar(box):
    """The broken twin: the same test refuses it, with a full circle too."""
    assert not is_haar(rotation_matrix(box))
    assert not is_haar(rotation_matrix(2 * draws(ViewLaw())))


def test_vertical_law_turns_about_z_alone():
    latents = draws(ViewLaw(rotation="vertical", angle_max_rad=1.0), 500)
    assert not latents[:, :2].any()
    assert np.abs(latents[:, 2]).max() <= 1.0 and latents[:, 2].std() > 0.5
    np.testing.assert_allclose(rotation_matrix(latents)[:, 2], np.tile([0, 0, 1], (500, 1)))


def test_a_range_of_one_point_fixes_a_factor(box):
    law = ViewLaw(floor_hue=(0.25, 0.25), spot_theta_rad=(0.5, 0.5), spot_phi_rad=(-1.0, -1.0),
              spot_hue=(1.0, 1.0))  # fmt: skip
    latents = draws(law, 100)
    assert (latents[:, 3:] == [0.25, 0.5, -1.0, 1.0]).all()
    assert np.array_equal(latents[:, :3], box[:100, :3]), "fixing one factor moves no other"


def test_a_view_depends_on_seed_object_and_index_alone():
    law = ViewLaw()
    wanted = [(s, k, v) for s in (0, 1) for k in ("a/1", "a/11", "b/1") for v in (0, 1, 11)]
    forward = {w: law.sample(w[0], w[1], view=w[2]) for w in wanted}
    np.random.seed(7)  # the global generator plays no part
    for seed, key, view in reversed(wanted):
        again = ViewLaw().sample(seed, key, view=view)
        assert np.array_equal(again, forward[seed, key, view])
    assert len({latent.tobytes() for latent in forward.values()}) == len(wanted)


def test_generator_is_the_same_everywhere():
    """Frozen: a change here changes every data set ever built."""
    state = generator(3, "chair/a", 5).random(2)
    assert np.array_equal(state, generator(3, "chair/a", 5).random(2))
    assert not np.array_equal(state, generator(3, "chair/a", 6).random(2))
    assert state.tolist() == [0.854888745046164, 0.9339236436152611]


def test_rotation_matrix_is_the_product_of_three_turns(box):
    a, b, c = box[:300, :3].T
    zero, one = np.zeros_like(a), np.ones_like(a)

    def turn(rows):
        return np.moveaxis(np.array(rows), -1, 0)

    rx = turn([[one, zero, zero], [zero, np.cos(a), -np.sin(a)], [zero, np.sin(a), np.cos(a)]])
    ry = turn([[np.cos(b), zero, np.sin(b)], [zero, one, zero], [-np.sin(b), zero, np.cos(b)]])
    rz = turn([[np.cos(c), -np.sin(c), zero], [np.sin(c), np.cos(c), zero], [zero, zero, one]])
    computed = rotation_matrix(box[:300])
    np.testing.assert_allclose(computed, rz @ ry @ rx, atol=1e-15)
    scipy = Rotation.from_euler("xyz", box[:300, :3]).as_matrix()
    np.testing.assert_allclose(computed, scipy, atol=1e-15)
    assert np.abs(computed - rx @ ry @ rz).max() > 0.1, "the order matters"


def test_rotation_matrix_takes_any_leading_axes(box):
    block = box[:24].reshape(2, 3, 4, 7)
    assert rotation_matrix(block).shape == (2, 3, 4, 3, 3)
    np.testing.assert_array_equal(rotation_matrix(block)[1, 2, 3], rotation_matrix(block[1, 2, 3]))
    assert rotation_matrix(np.zeros((0, 7))).shape == (0, 3, 3)


def test_scene_of_a_latent():
    latent = np.array([0.1, -0.4, 1.2, 0.3, 0.6, 5.0, 0.85])
    scene = ViewLaw(field_of_view_rad=0.4).scene(TRIANGLE, latent)
    np.testing.assert_allclose(scene.rotation, rotation_matrix(latent))
    spot, floor = scene.spot, scene.floor
    expected = 4 * np.array([math.sin(0.6) * math.cos(5), math.sin(0.6) * math.sin(5),
                             math.cos(0.6)])  # fmt: skip
    np.testing.assert_allclose(spot.position, expected)
    assert spot.target == (0.0, 0.0, 0.0) and abs(np.linalg.norm(spot.position) - 4) < 1e-12
    assert spot.cone_rad == pytest.approx(math.pi / 8)
    np.testing.assert_allclose(spot.color, colorsys.hsv_to_rgb(0.85, 1.0, 0.8))
    np.testing.assert_allclose(floor.color, colorsys.hsv_to_rgb(0.3, 0.6, 0.6))
    assert floor.height == -1.0
    np.testing.assert_allclose(scene.camera.position, (0.0, 2.5 / 2**0.5, 2.5 / 2**0.5))
    assert scene.camera.target == (0.0, 0.0, 0.0)
    assert scene.camera.field_of_view_rad == 0.4
    assert ViewLaw().scene(TRIANGLE, latent).camera.field_of_view_rad == pytest.approx(
        0.691111, 1e-5
    )


def test_columns_say_what_they_hold():
    assert [column.name for column in COLUMNS] == [
        "rotation_x_rad", "rotation_y_rad", "rotation_z_rad", "floor_hue", "spot_theta_rad",
        "spot_phi_rad", "spot_hue",
    ]  # fmt: skip
    assert {column.unit for column in COLUMNS} == {"rad", "turn"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("angle_max_rad", 0.0),
        ("angle_max_rad", 3.2),
        ("angle_max_rad", math.nan),
        ("field_of_view_rad", math.pi),
        ("field_of_view_rad", 0.0),
        ("floor_hue", (0.5, 0.4)),
        ("floor_hue", (0.0, 1.1)),
        ("floor_hue", (math.nan, 1.0)),
        ("spot_hue", (-0.1, 1.0)),
        ("spot_theta_rad", (0.0, 1.6)),
        ("spot_phi_rad", (0.0, math.inf)),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ConventionError, match=f"law.{name}"):
        ViewLaw(**{name: value})


def test_unknown_law_is_refused():
    with pytest.raises(Exception, match="rotation"):
        ViewLaw(rotation="euler")


def test_the_earlier_name_of_the_law_works():
    with pytest.warns(DeprecationWarning, match="ViewLaw now"):
        assert datasets3d.Law is datasets3d.ViewLaw
    assert "Law" not in datasets3d.__all__

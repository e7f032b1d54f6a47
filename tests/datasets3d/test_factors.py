"""Laws of factors: ranges, independence, the shell; elements between views that also move."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math

import numpy as np
import own_projection as own
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.transform import Rotation

from datasets3d import (
    ArticulatedMeshes,
    BuildConfig,
    ElementConvention,
    ProceduralMeshes,
    ThreeDIEBench,
    TransformPairs,
    ViewLaw,
    build,
    camera_of,
    read_camera,
    read_flow,
    read_pass,
    repair,
    verify,
)
from datasets3d.views.factors.angles import angles_of, rotation_matrix, turn_about
from datasets3d.views.factors.base import Factor
from datasets3d.views.factors.cameras import CameraOrbit, FocalLength
from datasets3d.views.factors.further_lights import FurtherLights
from datasets3d.views.factors.lights import AmbientLight, SpotEnergy
from datasets3d.views.factors.paths import ObjectPath
from datasets3d.views.factors.placement import ObjectScale, ObjectTranslation
from datasets3d.views.schema import Column, Manifest
from datasets3d.views.upkeep.recorded import recorded_config
from datasets3d.views.work import check_renderer
from equivariant.errors import ConventionError
from equivariant.groups import SE3, Sim
from renderers import get

OURS = (
    ObjectTranslation(),
    ObjectScale(),
    CameraOrbit(),
    FocalLength(),
    SpotEnergy(),
    AmbientLight(),
    FurtherLights(),
)
MOVED = ViewLaw(factors=(ObjectTranslation((-0.2, 0.2), (-0.2, 0.2), (-0.1, 0.2)), ObjectScale()))
RIGID = ViewLaw(factors=MOVED.factors[:1])
DIGESTS = {
    "box": "90a90b467dd1c1edbe453cae8b3a528f", "haar": "4eacc725f33529ac0de4f622be009ab4",
    "vertical": "764438abd330cfe1ecdde1cfa405ce34", "cone": "aa8ec982e9d032e2916eb7678df021ad",
}  # fmt: skip
SET_DIGEST = "c1b9aad0d0a2c846e09885afe0acf441"
VERSIONS = {
    "embreex": "4.4.0.post1", "numba": "0.68.1", "numpy": "2.4.6", "pillow": "13.0.0",
    "pyrender2": "absent", "renderers": "2", "scipy": "1.17.1", "simplejpeg": "1.9.0",
    "zlib": "1.2.13",
}  # fmt: skip


def made(root, law, *, views=6, passes=("depth", "mask", "coordinates"), size=32):
    source = ProceduralMeshes(instances=1, classes=["chair", "truck"])
    config = BuildConfig(views=views, size_px=size, law=law, passes=passes)
    build(source, root, config=config, workers=1, progress=False)
    return source


@pytest.mark.parametrize("rotation", DIGESTS)
def test_the_seven_numbers_are_what_they_ever_were(rotation):
    law = ViewLaw(rotation, 1.1)
    latents = [law.sample(3, f"c/{k}", view=v) for k in range(3) for v in range(4)]
    found = hashlib.blake2b(np.stack(latents).tobytes(), digest_size=16).hexdigest()
    assert found == DIGESTS[rotation]


def test_sets_without_factors_are_what_they_ever_were(tmp_path):
    root, source = tmp_path / "set", ProceduralMeshes(instances=2, classes=["chair", "truck"])
    passes = ("depth", "normals", "shadow", "coordinates", "rgba")
    config = BuildConfig(views=3, size_px=32, passes=passes)
    build(source, root, config=config, workers=1, progress=False)
    plan = json.loads((root / "plan.json").read_bytes())
    assert set(plan["config"]["law"]) == {
        "rotation", "angle_max_rad", "floor_hue", "spot_theta_rad", "spot_phi_rad", "spot_hue",
        "field_of_view_rad",
    }  # fmt: skip
    if plan["versions"] != VERSIONS:
        pytest.skip("other versions of the packages that make pixels than the stored digest's")
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            state.update(str(path.relative_to(root)).encode() + path.read_bytes())
    assert state.hexdigest() == SET_DIGEST


@given(
    subset=st.permutations(OURS).flatmap(
        lambda p: st.integers(0, len(p)).map(lambda n: tuple(p[:n]))
    ),
    seed=st.integers(0, 10**6), view=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_factor_moves_no_number_of_the_others(subset, seed, view):
    law = ViewLaw(factors=subset)
    latent = law.sample(seed, "c/o", view=view)
    assert latent.shape == (len(law.columns()),) == (len(law.ranges()),)
    assert np.array_equal(latent[:7], ViewLaw().sample(seed, "c/o", view=view))
    for (low, high), value in zip(law.ranges(), latent, strict=True):
        assert low <= value <= high
    place = 7
    for factor in subset:
        alone = ViewLaw(factors=(factor,)).sample(seed, "c/o", view=view)[7:]
        assert np.array_equal(latent[place : place + len(alone)], alone)
        place += len(alone)


def test_factors_are_uniform_and_independent():
    law = ViewLaw(factors=OURS)
    latents = np.stack([law.sample(0, f"c/{k}", view=k % 7) for k in range(3000)])
    low, high = np.array(law.ranges()).T
    scale = [c.name for c in law.columns()].index("scale")
    latents[:, scale], low[scale], high[scale] = (
        np.log(latents[:, scale]), math.log(low[scale]), math.log(high[scale])
    )  # fmt: skip
    unit = (latents - low) / (high - low)
    for column in unit.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(unit.T) - np.eye(len(low))).max() < 5 / math.sqrt(len(unit))


def shell(inner, outer, count=4000):
    law = ViewLaw("shell", outer, angle_min_rad=inner)
    return np.stack([law.sample(1, f"c/{k}", view=0)[:3] for k in range(count)])


def rejected(inner, outer, count):
    """The law of the shell by rejection."""
    random, side = np.random.default_rng(5), np.array([outer, min(outer, math.pi / 2), outer])
    draws = random.uniform(-1, 1, (20 * count, 3)) * side
    return draws[(np.abs(draws) > inner).any(1)][:count]


def unlike(one, other, side):
    """p-value of a chi-square test of two samples over 4 x 4 x 4 cells."""
    edges = [np.linspace(-s, s, 5) for s in side]
    counts = np.stack([np.histogramdd(x, edges)[0].ravel() for x in (one, other)])
    counts = counts[:, counts.sum(0) >= 10]
    return stats.chi2_contingency(counts).pvalue


@pytest.mark.parametrize(
    ("inner", "outer"), [(math.pi / 2, math.pi), (0.8, 2.5), (0.6, 1.2), (1.7, 3.0)]
)
def test_the_shell_leaves_out_the_box_and_is_uniform_outside(inner, outer):
    angles = shell(inner, outer)
    side = [outer, min(outer, math.pi / 2), outer]
    assert (np.abs(angles) <= side).all()
    told = Rotation.from_matrix(rotation_matrix(angles)).as_euler("xyz")
    assert (np.abs(told) > inner).any(1).all(), "whatever their names, no rotation of the box"
    assert unlike(angles, rejected(inner, outer, 4000), side) > 1e-3


def test_the_comparison_rejects_a_shell_with_every_angle_beyond_the_box():
    random = np.random.default_rng(0)
    angles = random.uniform(math.pi / 2, math.pi, (4000, 3)) * random.choice([-1, 1], (4000, 3))
    told = Rotation.from_matrix(rotation_matrix(angles)).as_euler("xyz")
    assert (np.abs(told) <= math.pi / 2 + 1e-12).all(), "these are the box's rotations again"
    one = rejected(0.6, 1.2, 4000)
    wrong = np.random.default_rng(1).uniform(-1.2, 1.2, (4000, 3))
    assert unlike(one, wrong, [1.2] * 3) < 1e-6


@pytest.mark.parametrize("angles", [(0.3, -1.2, 2.9), (0.0, math.pi / 2, 0.7), (-3.0, 1.5, -3.1)])
def test_angles_of_a_rotation(angles):
    matrix = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(rotation_matrix(angles_of(matrix)), matrix, atol=1e-9)


@pytest.mark.parametrize("w", [(0.0, 0.0, 0.0), (0.2, -0.4, 1.0), (math.pi, 0.0, 0.0)])
def test_turns_about_a_vector(w):
    expected = Rotation.from_rotvec(w).as_matrix()
    np.testing.assert_allclose(turn_about(np.array(w)), expected, atol=1e-14)


def own_place(latent, columns):
    """s R x + p by SciPy and names alone."""
    value = dict(zip(columns, latent, strict=True))
    p = np.array([value.get(f"translation_{axis}", 0.0) for axis in "xyz"])
    return value.get("scale", 1.0) * Rotation.from_euler("xyz", latent[:3]).as_matrix(), p


@pytest.mark.parametrize("law", [RIGID, MOVED], ids=["rigid", "similarity"])
def test_elements_move_the_points_of_one_view_to_those_of_the_other(law, tmp_path):
    source = made(tmp_path / "set", law, passes=(), size=16)
    data = ThreeDIEBench(tmp_path / "set", "all")
    entry = source.entries()[0]
    x = np.vstack([source.load(entry).vertices[:50], np.eye(3)])
    rows = np.array([(0, i, j) for i, j in itertools.permutations(range(data.views), 2)])
    kind = "rigid" if law is RIGID else "similarity"
    for frame in ("object", "world"):
        convention = ElementConvention(kind, frame)
        assert convention.group == (SE3() if law is RIGID else Sim(3))
        batch = TransformPairs(data, convention=convention).batch(rows)
        convention.group.check_member(batch.g.double())
        for (_, i, j), g in zip(rows, batch.g.double().numpy(), strict=True):
            (A, p), (B, q) = (own_place(data.all_latents[0, v], data.columns) for v in (i, j))
            if frame == "world":
                moved = (x @ A.T + p) @ g[:3, :3].T + g[:3, 3]
            else:
                moved = (x @ g[:3, :3].T + g[:3, 3]) @ A.T + p
            np.testing.assert_allclose(moved, x @ B.T + q, atol=2e-6)
        g = batch.g[0].double().numpy()
        (A, p), (B, q) = (own_place(data.all_latents[0, v], data.columns) for v in rows[0, 1:])
        twin = (x @ A.T) @ g[:3, :3].T + g[:3, 3]
        assert np.abs(twin - (x @ B.T + q)).max() > 1e-3, "without p it is another point"


def test_rigid_elements_of_scaled_views_are_refused(tmp_path):
    made(tmp_path / "set", MOVED, passes=(), size=16)
    pairs = TransformPairs(ThreeDIEBench(tmp_path / "set", "all"),
                           convention=ElementConvention("rigid"))  # fmt: skip
    with pytest.raises(ConventionError, match="elements of SE3"):
        pairs.batch(np.array([[0, 0, 1]]))
    with pytest.raises(ConventionError, match="cover only"):
        ElementConvention("rigid", cover=True)


def test_sets_without_translations_have_rigid_elements_that_turn(tmp_path):
    made(tmp_path / "set", ViewLaw(), passes=(), size=16)
    data = ThreeDIEBench(tmp_path / "set", "all")
    rows = np.array([[0, 0, 1], [1, 2, 0]])
    plain, rigid = (TransformPairs(data, convention=ElementConvention(kind)).batch(rows).g
                    for kind in ("rotation", "rigid"))  # fmt: skip
    torch.testing.assert_close(rigid[:, :3, :3], plain)
    assert not rigid[:, :3, 3].any()


@pytest.fixture(scope="module")
def moved_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("moved") / "set"
    law = ViewLaw(factors=(*MOVED.factors, *OURS[2:]))
    return root, made(root, law, views=3, size=40), law


def own_camera(latent, columns, size):
    """K and [R | t] of a view, from its columns alone."""
    value = dict(zip(columns, latent, strict=True))
    phi, up = value["camera_azimuth_rad"], value["camera_elevation_rad"]
    eye = 2.5 * np.array([np.cos(up) * np.cos(phi), np.cos(up) * np.sin(phi), np.sin(up)])
    ahead = -eye / 2.5
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    W = np.stack([right, np.cross(ahead, right), ahead])
    focal = size * value["focal_length_mm"] / 36.0
    K = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    return K, W, -W @ eye


def test_passes_and_cameras_follow_all_factors(moved_set):
    """Depth, mask and surface points of every pixel's center against rays and triangles."""
    root, source, law = moved_set
    data = ThreeDIEBench(root, "all")
    key = data.object_ids[0]
    mesh = source.load(next(e for e in source.entries() if f"{e.label}/{e.object_id}" == key))
    for view in range(3):
        latent = data.all_latents[0, view]
        A, p = own_place(latent, data.columns)
        K, W, t = own_camera(latent, data.columns, 40)
        triangles = (mesh.vertices @ A.T + p)[mesh.faces]
        v, u = np.mgrid[:40, :40]
        rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(K).T
        depth, face, weights = own.cast(-W.T @ t, rays @ W, triangles)
        x = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[face]]).reshape(40, 40, 3)
        depth, face = depth.reshape(40, 40), face.reshape(40, 40)
        mask = read_pass(root, key, view, "mask")
        assert (mask != (face >= 0)).sum() <= 4 and mask.sum() > 20
        read = read_pass(root, key, view, "depth")
        both = mask & (face >= 0)
        both[both] &= np.abs(read[both] - depth[both]) < 0.01
        assert both.sum() >= mask.sum() - 6
        assert np.abs(read[both] - depth[both]).max() < 1e-4
        assert np.abs(read_pass(root, key, view, "coordinates")[both] - x[both]).max() < 1e-3
        camera = read_camera(root, key, view)
        np.testing.assert_allclose(camera.object_to_world[:3, :3], A, atol=1e-12)
        np.testing.assert_allclose(camera.object_to_world[:3, 3], p, atol=1e-12)
        again = camera_of(law, latent, size_px=40)
        np.testing.assert_allclose(camera.world_to_camera, again.world_to_camera, atol=1e-12)
        np.testing.assert_allclose(camera.intrinsics(), K, atol=1e-9)


def test_flow_follows_all_factors(moved_set):
    root, _, _ = moved_set
    data = ThreeDIEBench(root, "all")
    key, latent = data.object_ids[0], data.all_latents[0, 2]
    x = read_pass(root, key, 0, "coordinates").astype(float)
    (A, p), (K, W, t) = own_place(latent, data.columns), own_camera(latent, data.columns, 40)
    seen = ((x @ A.T + p) @ W.T + t) @ K.T
    v, u = np.mgrid[:40, :40]
    expected = seen[..., :2] / seen[..., 2:] - np.stack([u, v], -1)
    np.testing.assert_allclose(read_flow(root, key, 0, 2).flow, expected, atol=1e-4)


def test_sets_with_factors_are_recorded_verified_and_repaired(moved_set):
    root, _, law = moved_set
    manifest = Manifest.read(root)
    names = [column["name"] for column in manifest.latent_columns]
    assert names == [column.name for column in law.columns()]
    assert [tuple(column["range"]) for column in manifest.latent_columns] == list(law.ranges())
    assert recorded_config(manifest.config).law == law
    assert "translation" in manifest.conventions["world"] and manifest.law == {}
    assert verify(root) == []
    image = root / ThreeDIEBench(root, "all").object_ids[0] / "image_1.jpg"
    before = image.read_bytes()
    image.write_bytes(b"damaged")
    repair(root, workers=1)
    assert image.read_bytes() == before


def test_a_path_moves_the_object_alone_and_by_the_recorded_steps():
    length = 5
    law = dataclasses.replace(
        MOVED, rotation="haar", path=ObjectPath(length, 0.7), factors=(*MOVED.factors, *OURS[2:])
    )
    names = [column.name for column in law.columns()]
    latents = np.stack([law.sample(0, "c/o", view=v) for v in range(3 * length)])
    for low, high, column in zip(*np.array(law.ranges()).T, latents.T, strict=True):
        assert (column >= low - 1e-12).all() and (column <= high + 1e-12).all()
    moving = [0, 1, 2, *range(7, 10)]
    still = [k for k in range(len(names)) if k not in moving]
    for start in range(0, 3 * length, length):
        rows = latents[start : start + length]
        assert (rows[:, still] == rows[0, still]).all()
        turn, shift = rows[0, -6:-3], rows[0, -3:]
        assert np.linalg.norm(turn) <= 0.7 and np.abs(shift).max() > 0
        step = Rotation.from_rotvec(turn)
        for before, after in itertools.pairwise(rows):
            expected = step * Rotation.from_euler("xyz", before[:3])
            told = Rotation.from_euler("xyz", after[:3])
            np.testing.assert_allclose(told.as_matrix(), expected.as_matrix(), atol=1e-12)
            np.testing.assert_allclose(after[7:10], before[7:10] + shift, atol=1e-12)
    assert not np.allclose(latents[0, -6:], latents[length, -6:])
    plain = dataclasses.replace(law, path=None)
    assert np.array_equal(latents[length, :-6], plain.sample(0, "c/o", view=length))


@dataclasses.dataclass(frozen=True)
class AmbientLevel(Factor):
    """A factor of a user: one class."""

    name = "ambient level"
    columns = (Column("ambient_level", "1", "level of the ambient light"),)
    level: tuple[float, float] = (0.1, 0.9)

    def ranges(self):
        return (self.level,)

    def change(self, scene, values):
        ambient = dataclasses.replace(scene.ambient, level=float(values[0]))
        return dataclasses.replace(scene, ambient=ambient)


def test_a_factor_of_ones_own_is_one_class(tmp_path):
    law = ViewLaw(factors=(AmbientLevel(),))
    made(tmp_path / "set", law, passes=(), size=16)
    data = ThreeDIEBench(tmp_path / "set", "all")
    assert data.columns[7:] == ("ambient_level",)
    bright = [data.image(0, view).mean() for view in range(data.views)]
    assert stats.spearmanr(bright, data.all_latents[0, :, 7]).statistic > 0.5
    manifest = Manifest.read(tmp_path / "set")
    assert manifest.law["sha256"], "its code is part of the plan"
    with pytest.raises(ConventionError, match="Pass the law"):
        recorded_config(manifest.config)
    assert recorded_config(manifest.config, law=law).law == law
    with pytest.raises(ConventionError, match="config"):
        made(tmp_path / "set", ViewLaw(factors=(AmbientLevel((0.2, 0.9)),)), passes=(), size=16)


@pytest.mark.parametrize(
    "law",
    [
        lambda: ViewLaw("shell"),
        lambda: ViewLaw("shell", 1.0, angle_min_rad=1.0),
        lambda: ViewLaw(angle_min_rad=0.5),
        lambda: ViewLaw(factors=(ObjectScale(), ObjectScale())),
        lambda: ObjectScale((0.0, 1.0)),
        lambda: ObjectTranslation(x=(0.3, 0.2)),
        lambda: CameraOrbit(elevation_rad=(0.0, 1.6)),
        lambda: FocalLength((1.0, 50.0)),
        lambda: SpotEnergy((-1.0, 1.0)),
        lambda: AmbientLight(sky=(0.0, 0.6)),
        lambda: AmbientLight(level=(0.5, 0.4)),
        lambda: ObjectPath(1),
        lambda: FurtherLights(0),
        lambda: FurtherLights(8),
        lambda: FurtherLights(theta_rad=(0.0, math.pi / 2)),
        lambda: FurtherLights(phi_rad=(0.0, math.nan)),
        lambda: FurtherLights(hue=(0.5, 1.1)),
        lambda: FurtherLights(energy=(-0.1, 0.5)),
        lambda: FurtherLights(energy=(0.5, math.inf)),
        lambda: ObjectPath(4, 4.0),
    ],
)
def test_settings_out_of_range_are_refused(law):
    with pytest.raises(ConventionError):
        law()


def test_joints_and_factors_are_not_mixed(tmp_path):
    config = BuildConfig(views=2, size_px=16, law=MOVED)
    with pytest.raises(ConventionError, match="articulated"):
        build(ArticulatedMeshes(instances=1), tmp_path / "set", config=config, workers=1)


@pytest.mark.parametrize("factor", OURS, ids=lambda f: f.name)
def test_groups_of_factors(factor):
    group = factor.group()
    if group is None:
        return
    values = torch.from_numpy(factor.sample(np.random.default_rng(0)))
    element = group.exp(torch.from_numpy(np.asarray(factor.coordinates(values.numpy()))))
    group.check_member(element)
    if isinstance(factor, (ObjectScale, FocalLength)):
        torch.testing.assert_close(element[0, 0], values[0])
    else:
        torch.testing.assert_close(element[:3, 3], values)


def test_groups_of_further_lights_turn_them_about_the_vertical():
    assert FurtherLights().group() is None
    factor = FurtherLights(2, theta_rad=(0.6, 0.6), energy=(0.4, 0.4))
    group, random = factor.group(), np.random.default_rng(3)
    values = factor.sample(random)
    parts = group.split(group.exp(torch.from_numpy(factor.coordinates(values))))
    mesh = ProceduralMeshes(instances=1).load(ProceduralMeshes(instances=1).entries()[0])
    law = ViewLaw(factors=(factor,))
    lights = law.scene(mesh, np.concatenate([np.zeros(7), values])).lights
    start = np.array([4 * math.sin(0.6), 0.0, 4 * math.cos(0.6)])
    for k, light in enumerate(lights):
        turned = parts[2 * k].numpy() @ start[:2]
        np.testing.assert_allclose(light.position, [*turned, start[2]], atol=1e-12)
        assert float(parts[2 * k + 1][0, 1]) == values[4 * k + 2]


def test_sets_with_several_lights_keep_their_shadows_and_are_repaired(tmp_path):
    law = ViewLaw(factors=(FurtherLights(3, energy=(0.5, 0.9)),))
    source = made(tmp_path / "set", law, views=2, passes=("shadow", "shadows"), size=40)
    data, manifest = ThreeDIEBench(tmp_path / "set", "all"), Manifest.read(tmp_path / "set")
    assert data.columns[7:12] == (
        "light_2_theta_rad", "light_2_phi_rad", "light_2_hue", "light_2_energy",
        "light_3_theta_rad",
    )  # fmt: skip
    assert recorded_config(manifest.config).law == law and manifest.law == {}
    bits = [read_pass(tmp_path / "set", key, 1, "shadows") for key in data.object_ids]
    spot = [read_pass(tmp_path / "set", key, 1, "shadow") for key in data.object_ids]
    for one, other in zip(bits, spot, strict=True):
        np.testing.assert_array_equal((one & 1) > 0, other)
    assert all((np.bitwise_or.reduce(one.ravel()) >> 1) & 7 for one in bits)
    again = get("embree")
    entry = source.entries()[0]
    latent = law.sample(0, f"{entry.label}/{entry.object_id}", view=1)
    scene = law.scene(source.load(entry), latent)
    for k, light in enumerate(scene.lights):  # its shadow is that of a spot in its place
        alone = again.render(dataclasses.replace(scene, spot=light, lights=()), 40)
        np.testing.assert_array_equal((bits[0] >> (k + 1)) & 1, alone.shadow)
    image = tmp_path / "set" / data.object_ids[0] / "shadows_0.png"
    before = image.read_bytes()
    image.unlink()
    repair(tmp_path / "set", workers=1)
    assert image.read_bytes() == before and verify(tmp_path / "set") == []


@pytest.mark.parametrize("renderer", ["pyrender", "blender"])
def test_engines_with_one_light_refuse_laws_with_several(renderer):
    config = BuildConfig(renderer=renderer, law=ViewLaw(factors=(FurtherLights(),)))
    with pytest.raises(ConventionError, match=f"{renderer}.*2 further lights.*--factors lights"):
        check_renderer(config, ProceduralMeshes(instances=1), here=False)
    check_renderer(BuildConfig(renderer=renderer), ProceduralMeshes(instances=1), here=False)

"""Variants: what they depend on, and that they stay meshes of the same object."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import trimesh

from datasets3d.meshes import MeshEntry, MeshSource, ProceduralMeshes, Variants
from datasets3d.meshes.deform import deform, recolor
from datasets3d.meshes.normalize import Triangles, normalize
from equivariant.errors import ConventionError, DataFormatError


class Balls(MeshSource):
    """Two balls, one with a texture; counts how often it was asked."""

    def __init__(self):
        self.loads = 0

    def entries(self):
        return [
            MeshEntry("ball", "a", "train", "ball a"),
            MeshEntry("ball", "b", "val", "ball b"),
        ]

    def load(self, entry):
        self.loads += 1
        solid = trimesh.creation.icosphere(2)
        faces = np.asarray(solid.faces, np.int32)
        colors = {"vertex_colors": np.full((len(solid.vertices), 3), 90, np.uint8)}
        if entry.object_id == "b":
            colors = {
                "texture": np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8),
                "corner_uv": np.zeros((len(faces), 3, 2), np.float32),
            }
        return normalize(
            Triangles(np.asarray(solid.vertices), faces, **colors), name="ball", up="z"
        )

    def describe(self):
        return {"source": "balls"}


def same(a, b):
    for name in a.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None) or (x is not None and not np.array_equal(x, y)):
            return False
    return True


def load_all(source):
    return {entry.object_id: source.load(entry) for entry in source.entries()}


def test_names_splits_and_order():
    entries = Variants(Balls(), count=11).entries()
    assert entries == sorted(entries)
    assert len(entries) == 22
    assert entries[0].object_id == "a-v00"
    assert entries[10].object_id == "a-v10"
    assert {e.split for e in entries if e.object_id.startswith("a")} == {"train"}
    assert {e.split for e in entries if e.object_id.startswith("b")} == {"val"}


def test_variant_zero_is_the_original():
    source = ProceduralMeshes(instances=1, classes=["chair"])
    first = Variants(source, count=2).entries()[0]
    assert same(Variants(source, count=2).load(first), source.load(source.entries()[0]))


def test_a_variant_depends_on_seed_name_and_number_alone():
    short = load_all(Variants(Balls(), count=3, seed=4))
    source = Variants(Balls(), count=8, seed=4)
    long = {e.object_id: source.load(e) for e in reversed(source.entries())}
    for name, mesh in short.items():
        assert same(mesh, long[name])
    other = load_all(Variants(Balls(), count=3, seed=5))
    assert not same(short["a-v01"], other["a-v01"])
    assert not same(short["a-v01"], short["a-v02"])
    assert not np.array_equal(short["a-v01"].vertices, short["b-v01"].vertices)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_variants_keep_the_contract(strength):
    procedural = ProceduralMeshes(instances=1, classes=["truck", "teapot", "axe"])
    for source in (Balls(), procedural):
        for mesh in load_all(Variants(source, count=6, strength=strength)).values():
            assert np.isfinite(mesh.vertices).all()
            assert np.linalg.norm(np.ptp(mesh.vertices, axis=0)) == pytest.approx(1.0)
            np.testing.assert_allclose(mesh.vertices.max(0), -mesh.vertices.min(0), atol=1e-12)
            assert np.ptp(mesh.vertices, axis=0).min() > 0.02
            length = np.linalg.norm(mesh.corner_normals, axis=2)
            np.testing.assert_allclose(length, 1.0, atol=1e-5)
            solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
            assert solid.is_watertight
            assert all(part.volume > 0 for part in solid.split())


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_deformations_keep_orientation(strength):
    """Jacobian determinants, by differences, all over the box that meshes live in."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (300, 3))
    step = 1e-6
    for seed in range(100):
        columns = []
        for axis in np.eye(3):
            ends = [
                deform(points + s * axis, generator=np.random.default_rng(seed), strength=strength)
                for s in (-step, step)
            ]
            columns.append((ends[1] - ends[0]) / (2 * step))
        assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0.01


def test_strength_zero_moves_nothing():
    points = np.random.default_rng(0).normal(size=(50, 3))
    moved = deform(points, generator=np.random.default_rng(1), strength=0.0)
    np.testing.assert_allclose(moved, points, atol=1e-15)
    colors = np.random.default_rng(0).integers(0, 256, (50, 3)).astype(np.uint8)
    (same_colors,) = recolor([colors], generator=np.random.default_rng(1), strength=0.0)
    assert np.abs(same_colors.astype(int) - colors).max() <= 6  # 8-bit hue


def test_like_colors_change_alike_and_unlike_ones_apart():
    shades = np.array([[200, 20, 20], [210, 24, 22], [20, 20, 200], [24, 26, 210]], np.uint8)
    apart = 0
    for seed in range(20):
        (new,) = recolor([shades], generator=np.random.default_rng(seed), strength=1.0)
        new = new.astype(int)
        assert np.abs(new[0] - new[1]).max() < 60
        assert np.abs(new[2] - new[3]).max() < 60
        hue_kept = np.argmax(new[0]) == 0 and np.argmax(new[2]) == 2
        apart += not hue_kept
    assert apart > 10


def test_colors_change_in_every_kind_of_mesh():
    for source in (Balls(), ProceduralMeshes(instances=1, classes=["axe"])):
        loaded = load_all(Variants(source, count=2))
        for name, mesh in loaded.items():
            if name.endswith("v00"):
                varied = loaded[name.replace("v00", "v01")]
                for kind in ("texture", "vertex_colors", "face_colors"):
                    if getattr(mesh, kind) is not None:
                        assert not np.array_equal(getattr(mesh, kind), getattr(varied, kind))
                        assert getattr(mesh, kind).shape == getattr(varied, kind).shape


def test_the_original_is_loaded_once_for_a_row_of_variants():
    source = Balls()
    load_all(Variants(source, count=5))
    assert source.loads == 2


def test_pickles_without_the_original():
    source = Variants(ProceduralMeshes(instances=1), count=2)
    small = len(pickle.dumps(source))
    mesh = source.load(source.entries()[1])
    assert len(pickle.dumps(source)) == small
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert same(copy.load(source.entries()[1]), mesh)


@pytest.mark.parametrize(
    "settings", [{"count": 0}, {"count": 1, "seed": -1}, {"count": 1, "strength": 2.5}]
)
def test_bad_settings(settings):
    with pytest.raises(ConventionError):
        Variants(Balls(), **settings)


@pytest.mark.parametrize("name", ["a", "a-v03", "a-v1", "-v01"])
def test_entries_of_another_source_are_refused(name):
    with pytest.raises(DataFormatError):
        Variants(Balls(), count=3).load(MeshEntry("ball", name, None, "ball"))


def test_describe_holds_both():
    described = Variants(Balls(), count=3, seed=2).describe()
    assert described["original_source"] == "balls"
    assert (described["count"], described["seed"]) == (3, 2)

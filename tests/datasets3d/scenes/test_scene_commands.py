"""Scenes and factors from the command line: built, grown, and refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh

from datasets3d import (
    AmbientLight,
    ObjectScale,
    ObjectTranslation,
    SceneViews,
    ThreeDIEBench,
    ViewLaw,
    verify,
)
from equivariant.commands.build import build_command
from equivariant.commands.views.factor_names import named_factors, names_of_factors
from equivariant.errors import ConventionError
from renderers import Mesh, Scene, get


def white_ball():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    faces = ball.faces.astype(np.int32)
    return Mesh(
        np.asarray(ball.vertices, np.float64), faces,
        ball.vertex_normals[faces].astype(np.float32),
        face_colors=np.full((len(faces), 3), 255, np.uint8),
    )  # fmt: skip


SMALL = ["--views", "2", "--size", "24", "--workers", "1", "--instances", "1"]


def test_scenes_are_built_and_grow(tmp_path, capsys):
    out = str(tmp_path / "set")
    words = ["--objects-per-scene", "2", "--scenes", "2", "--placement", "floating"]
    build_command([out, *words, *SMALL, "--val-fraction", "0"])()
    build_command([out, "--add", "--views", "3", "--scenes", "3", "--workers", "1"])()
    assert verify(tmp_path / "set") == []
    scenes = SceneViews(tmp_path / "set", cache=False)
    assert scenes.object_poses.shape == (3, 3, 2, 4, 4)
    assert np.ptp(scenes.object_latents[..., 5]) > 0, "they float"
    assert "3 objects, 9 images" in capsys.readouterr().out
    with pytest.raises(ConventionError, match="rigid"):
        build_command([out + "2", "--objects-per-scene", "2", "--articulated", *SMALL])()


def test_factors_have_words(tmp_path):
    out = str(tmp_path / "set")
    build_command([out, *SMALL, "--factors", "ambient", "translation", "scale"])()
    build_command([out, "--add", "--views", "3", "--workers", "1"])()
    columns = ThreeDIEBench(out, cache=False).columns[7:]
    assert columns == ("translation_x", "translation_y", "translation_z", "scale",
                       "ambient_level", "ambient_sky")  # fmt: skip
    own_range = (ObjectTranslation((0.0, 0.1)),)
    assert names_of_factors(own_range) is None
    assert names_of_factors((ObjectScale(), ObjectTranslation())) is None, "another order"
    every = ("translation", "scale", "orbit", "focal", "energy", "ambient")
    assert names_of_factors(named_factors(every)) == every and names_of_factors(()) == ()
    plan = json.loads((tmp_path / "set/plan.json").read_text())
    plan["config"]["law"]["factors"][1]["factor"] = [0.5, 2.0]
    (tmp_path / "set/plan.json").write_text(json.dumps(plan))
    with pytest.raises(ConventionError, match="ranges of its own"):
        build_command([out, "--add", "--views", "4"])


def test_the_sky_is_the_formula_of_its_docstring():
    scene = ViewLaw(factors=(AmbientLight(),)).scene(
        white_ball(), np.array([0.0, 0, 0, 0, 0, 0, 0, 0.6, 0.3])
    )
    assert isinstance(scene, Scene) and (scene.ambient.level, scene.ambient.sky) == (0.6, 0.3)
    bare = Scene(scene.mesh, scene.rotation, scene.camera, None, None, scene.ambient)
    picture = get("embree", samples_per_side=1).render(bare, 48)
    light = (picture.rgb[picture.mask][:, 0] / 255.0).astype(float)
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    n_z = picture.normals[picture.mask][:, 2]
    np.testing.assert_allclose(linear, 0.6 * (1 - 0.3 + 0.3 * n_z), atol=0.006)
    assert np.abs(linear - 0.6 * (1 - 0.5 + 0.5 * n_z)).max() > 0.02

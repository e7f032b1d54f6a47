"""Determinism, anti-aliasing, settings and errors."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from handmade import box, check_picture_and_mask, folded_sheet, rotation, sphere
from hypothesis import given, settings
from hypothesis import strategies as st

import renderers
from renderers import Ambient, Camera, Floor, RendererError, Scene, Spot, get


def test_the_same_scene_gives_the_same_bytes_whatever_came_before() -> None:
    scenes = [Scene(mesh, rotation(k)) for k, mesh in enumerate((box(), sphere(), folded_sheet()))]
    fresh = [get("embree").render_rgb(scene, 40).tobytes() for scene in scenes]
    used = get("embree")
    for index in (2, 0, 0, 1, 2, 1, 0):
        used.render(scenes[(index + 1) % 3], 17)
        assert used.render_rgb(scenes[index], 40).tobytes() == fresh[index]
        assert used.render(scenes[index], 40).rgb.tobytes() == fresh[index]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 40))
def test_passes_fit_together(seed: int, size: int) -> None:
    scene = Scene(sphere(rings=5), rotation(seed))
    image = get("embree").render(scene, size)
    assert image.rgb.shape == (size, size, 3) and image.depth.shape == (size, size)
    assert np.isfinite(image.depth[image.mask]).all()
    lengths = np.linalg.norm(image.normals, axis=2)
    np.testing.assert_allclose(lengths, np.isfinite(image.depth), atol=1e-5)


@pytest.mark.parametrize(("side", "limit"), [(2, 1.1), (3, 0.6)])
def test_anti_aliasing_converges(side: int, limit: float) -> None:
    scene = Scene(sphere(0.4, 32, shift=0.05), rotation(3), spot=Spot(position=(1.2, 0.4, 3.75)))
    truth = get("embree", samples_per_side=8, adaptive=False).render_rgb(scene, 128).astype(float)

    def error(**options: object) -> float:
        return float(
            np.sqrt(((get("embree", **options).render_rgb(scene, 128) - truth) ** 2).mean())
        )

    adaptive = error(samples_per_side=side)
    assert adaptive <= limit
    assert adaptive <= error(samples_per_side=side, adaptive=False) + 0.05
    assert error(samples_per_side=1) > 1.5 * adaptive


def test_passes_do_not_depend_on_anti_aliasing() -> None:
    scene = Scene(box(), rotation(1))
    one, four = (get("embree", samples_per_side=n).render(scene, 32) for n in (1, 4))
    for name in ("depth", "normals", "mask", "shadow"):
        np.testing.assert_array_equal(getattr(one, name), getattr(four, name))


def test_full_sampling_in_batches_is_full_sampling() -> None:
    scene = Scene(box(), rotation(1))
    small = get("embree", samples_per_side=2, adaptive=False, edge_threshold=0)
    expected = small.render_rgb(scene, 40)
    module = sys.modules["renderers.embree"]
    whole = module.BATCH_SAMPLES
    module.BATCH_SAMPLES = 100
    try:
        np.testing.assert_array_equal(small.render_rgb(scene, 40), expected)
    finally:
        module.BATCH_SAMPLES = whole


def test_one_pixel() -> None:
    image = get("embree").render(Scene(box()), 1)
    assert image.rgb.shape == (1, 1, 3) and image.mask.all()
    middle = Camera().position
    assert abs(image.depth[0, 0] - np.linalg.norm(middle)) < 0.4


def test_settings_travel_between_processes() -> None:
    renderer = get("embree", samples_per_side=2, edge_threshold=3)
    scene = Scene(box(), rotation(1))
    expected = renderer.render_rgb(scene, 24)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(renderer)).render_rgb(scene, 24),  # noqa: S301
        expected,
    )


def test_available_names_every_renderer() -> None:
    answers = renderers.available()
    assert answers["embree"] == "ready" and set(answers) == {"blender", "embree", "pyrender"}
    assert all(answers.values())


@pytest.mark.parametrize(
    ("field", "build"),
    [
        ("name", lambda: get("povray")),
        ("samples_per_side", lambda: get("embree", samples_per_side=0)),
        ("edge_threshold", lambda: get("embree", edge_threshold=300)),
        ("size_px", lambda: get("embree").render_rgb(Scene(box()), 0)),
        ("size_px", lambda: get("embree").render(Scene(box()), -3)),
        ("rotation", lambda: Scene(box(), 2 * np.eye(3))),
        ("rotation", lambda: Scene(box(), np.diag([1.0, 1.0, -1.0]))),
        ("rotation", lambda: Scene(box(), np.full((3, 3), np.nan))),
        ("rotation", lambda: Scene(box(), np.eye(4))),
        ("up", lambda: Camera(position=(0.0, 0.0, 2.0))),
        ("up", lambda: Camera(position=(0.0, 0.0, 0.0))),
        ("position", lambda: Camera(position=(float("nan"), 0.0, 0.0))),
        ("field_of_view_rad", lambda: Camera(field_of_view_rad=4.0)),
        ("color", lambda: Floor(color=(0.0, 128.0, 0.0))),
        ("height", lambda: Floor(height=float("inf"))),
        ("target", lambda: Spot(target=(0.0, 0.0, 4.0))),
        ("cone_rad", lambda: Spot(cone_rad=0.0)),
        ("blend", lambda: Spot(blend=1.5)),
        ("energy", lambda: Spot(energy=-1.0)),
        ("level", lambda: Ambient(level=-0.1)),
        ("sky", lambda: Ambient(sky=0.7)),
        ("vertices", lambda: dataclasses.replace(box(), vertices=np.full((8, 3), np.nan))),
        ("vertices", lambda: dataclasses.replace(box(), vertices=np.zeros((8, 2)))),
        ("faces", lambda: dataclasses.replace(box(), faces=box().faces + 5)),
        ("faces", lambda: dataclasses.replace(box(), faces=box().faces[:0])),
        ("corner_normals", lambda: dataclasses.replace(box(), faces=box().faces[:3])),
        ("face_colors", lambda: dataclasses.replace(box(), face_colors=None)),
        ("vertex_colors", lambda: dataclasses.replace(box(), vertex_colors=np.zeros((3, 3), "u1"))),
        ("corner_uv", lambda: dataclasses.replace(box(), texture=np.zeros((2, 2, 3), "u1"))),
    ],
)
def test_errors_name_the_field(field: str, build: object) -> None:
    assert callable(build)
    with pytest.raises(RendererError) as caught:
        build()
    assert caught.value.argument == field
    assert pickle.loads(pickle.dumps(caught.value)).argument == field  # noqa: S301


def test_compiles_without_a_cache_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder would have to be")
    call = "dot((1.0, 2.0, 3.0), (1.0, 1.0, 0.0))"
    code = f"from renderers.rays.kernels import dot; raise SystemExit({call} != 3.0)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(blocked / "below"), "HOME": str(blocked)}
    root = Path(renderers.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_compiles_where_the_cache_folder_takes_no_more(tmp_path: Path) -> None:
    limits = pytest.importorskip("resource")
    code = (
        "from renderers.rays.kernels import dot\n"
        "raise SystemExit(dot((1.0, 2.0, 3.0), (1.0, 1.0, 0.0)) != 3.0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(renderers.__file__).parents[1],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        preexec_fn=lambda: limits.setrlimit(limits.RLIMIT_FSIZE, (64, 64)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_asking_for_what_is_absent_leaves_the_environment_alone() -> None:
    code = (
        "import os, renderers\n"
        "os.environ.pop('PYOPENGL_PLATFORM', None)\n"
        "ready = renderers.available()['pyrender'] == 'ready'\n"
        "raise SystemExit(('PYOPENGL_PLATFORM' in os.environ) != ready)\n"
    )
    root = Path(renderers.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_picture_and_mask_are_those_of_the_whole_rendering():
    check_picture_and_mask(get("embree"))


def test_what_was_rendered_stays_when_the_memory_is_used_again() -> None:
    renderer, scenes = get("embree"), [Scene(sphere(), rotation(seed)) for seed in range(3)]
    before = renderer.render(scenes[0], 40)
    copies = {key: np.copy(values) for key, values in vars(before).items()}
    for scene in scenes[1:]:
        renderer.render(scene, 40)
        renderer.render_rgb(scene, 64)
    for key, values in copies.items():
        np.testing.assert_array_equal(getattr(before, key), values)


def test_threads_may_share_a_renderer() -> None:
    mesh = sphere()
    renderer, scenes = get("embree"), [Scene(mesh, rotation(seed)) for seed in range(8)]
    alone = [renderer.render_rgb(scene, 48) for scene in scenes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda scene: renderer.render_rgb(scene, 48), scenes * 4))
    for number, picture in enumerate(together):
        np.testing.assert_array_equal(picture, alone[number % 8])

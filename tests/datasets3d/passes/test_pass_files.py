"""Passes belong to a set as its pictures do: same bytes, growth, repair; damaged files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from building import SMALL, TWO, bytes_of, quiet
from jaxtyping import TypeCheckError

from datasets3d import (
    ArticulatedMeshes,
    ArticulatedViews,
    BuildConfig,
    ProceduralMeshes,
    ThreeDIEBench,
    estimate,
    read_camera,
    read_pass,
    repair,
    verify,
)
from datasets3d.views import work
from datasets3d.views.passes.kinds import PASS_NAMES, ordered_passes
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from renderers import Renderer, RendererError, Scene, get

SOURCE = ProceduralMeshes(instances=1, classes=["chair", "truck"], val_fraction=0.5)
PASSES = ("depth", "normals", "mask", "shadow", "coordinates", "faces", "rgba")
CONFIG = BuildConfig(views=3, size_px=48, passes=PASSES)
KEY = "chair/chair-000000"


def test_any_number_of_workers_and_shards_give_the_same_bytes(known, tmp_path):
    quiet(SOURCE, tmp_path / "two", config=CONFIG, workers=2)
    for shard in (0, 1):
        quiet(SOURCE, tmp_path / "shards", config=CONFIG, shard=shard, num_shards=2)
    quiet(SOURCE, tmp_path / "shards", config=CONFIG)
    assert bytes_of(tmp_path / "two") == bytes_of(known) == bytes_of(tmp_path / "shards")
    assert verify(known) == []


def test_the_order_of_names_changes_nothing():
    mixed = replace(CONFIG, passes=("rgba", *reversed(PASSES), "mask"))
    assert mixed == CONFIG and mixed.passes == PASSES
    with pytest.raises(ConventionError, match="'albedo'"):
        ordered_passes(["depth", "albedo"])


def test_a_set_grows_with_its_passes(known, tmp_path):
    quiet(SOURCE, tmp_path, config=replace(CONFIG, views=2))
    quiet(SOURCE, tmp_path, config=CONFIG, add=True)
    assert bytes_of(tmp_path) == bytes_of(known)


def test_the_command_builds_and_adds(tmp_path, capsys):
    options = ["--instances", "1", "--articulated", "--size", "16", "--workers", "1"]
    out = str(tmp_path / "set")
    assert main(["build", out, *options, "--views", "1", "--passes", "mask", "parts"]) == 0
    assert main(["build", out, "--add", "--views", "2", "--workers", "1"]) == 0
    assert verify(out) == []
    key = ThreeDIEBench(out).object_ids[0]
    parts, mask = (read_pass(out, key, 1, name) for name in ("parts", "mask"))
    np.testing.assert_array_equal(parts > 0, mask)
    assert main(["build", out, "--add", "--passes", "depth", "--workers", "1"]) == 0
    depth = read_pass(out, key, 1, "depth")
    assert verify(out) == [] and np.isfinite(depth[mask]).all()
    np.testing.assert_array_equal(read_pass(out, key, 1, "parts"), parts)
    assert main(["build", out, "--passes", "mask", *options]) == 1
    assert "config.passes" in capsys.readouterr().err


def test_damaged_and_missing_passes_come_back(known, known_copy):
    folder = known_copy / KEY
    depth = folder / "depth_1.npz"
    depth.write_bytes(depth.read_bytes()[:-40])
    (folder / "camera_0.json").unlink()
    (folder / "mask_9.png").write_bytes(b"")
    assert verify(known_copy) == [
        f"{KEY} is damaged: without camera_0.json; depth_1.npz cannot be read",
        f"{KEY}/mask_9.png is not in the manifest",
    ]
    (folder / "mask_9.png").unlink()
    report = repair(known_copy, workers=1)
    assert report.repaired == [KEY] and report.left == []
    assert bytes_of(known_copy) == bytes_of(known)


def test_sets_of_pictures_alone_say_nothing_of_passes(tmp_path):
    quiet(TWO, tmp_path, config=SMALL)
    plan, manifest = (
        json.loads((tmp_path / f"{n}.json").read_text()) for n in ("plan", "manifest")
    )
    assert "passes" not in plan["config"] and "zlib" not in plan["versions"]
    assert not any("pass" in name for name in manifest["conventions"])
    names = {p.name for p in (tmp_path / KEY).iterdir()}
    assert names == {"image_0.jpg", "image_1.jpg", "latent_0.npy", "latent_1.npy"}
    with pytest.raises(DataFormatError, match="--passes depth"):
        read_pass(tmp_path, KEY, 0, "depth")
    with pytest.raises(DataFormatError, match=r"camera_0\.json"):
        read_camera(tmp_path, KEY, 0)
    with pytest.raises((ConventionError, TypeCheckError), match="albedo"):
        read_pass(tmp_path, KEY, 0, "albedo")
    with pytest.raises(ConventionError, match=r"config\.passes"):
        quiet(TWO, tmp_path, config=replace(SMALL, passes=("mask",)))


def test_pictures_are_those_of_a_set_without_passes(known, tmp_path):
    quiet(SOURCE, tmp_path, config=replace(CONFIG, passes=()))
    for path in tmp_path.glob("*/*/*"):
        assert path.read_bytes() == (known / path.relative_to(tmp_path)).read_bytes()
    assert (tmp_path / "contact_sheet.png").read_bytes() == (
        known / "contact_sheet.png"
    ).read_bytes()


def test_an_estimate_counts_them(known):
    estimated = estimate(SOURCE, config=CONFIG, workers=1)
    sizes = [p.stat().st_size for p in known.glob("*/*/*")]
    assert 0.5 < estimated.bytes / sum(sizes) < 1.5


class FlatRenderer(Renderer):
    """Names no faces and gives no alpha."""

    name = "flat"

    def render(self, scene, size_px):
        return replace(get("embree").render(scene, size_px), faces=None)

    def render_rgb(self, scene, size_px):
        return get("embree").render_rgb(scene, size_px)


def test_what_a_renderer_cannot_give_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "_renderer", lambda *_: FlatRenderer())
    for names in (("faces",), ("mask", "rgba")):
        with pytest.raises(ConventionError, match=f"'embree' gives, got {names[-1]}"):
            quiet(SOURCE, tmp_path / "set", config=replace(CONFIG, passes=names))
    assert not (tmp_path / "set").exists()
    with pytest.raises(RendererError, match="flat"):
        FlatRenderer().render_rgba(Scene(SOURCE.load(SOURCE.entries()[0])), 8)


def test_parts_need_objects_with_parts(tmp_path):
    with pytest.raises(ConventionError, match="rigid"):
        quiet(SOURCE, tmp_path / "set", config=replace(CONFIG, passes=("parts",)))


def test_coordinates_of_articulated_objects_are_those_at_rest(tmp_path):
    source = ArticulatedMeshes(instances=1, classes=["door"], val_fraction=0.0)
    config = BuildConfig(views=2, size_px=48, passes=("coordinates", "faces", "parts"))
    quiet(source, tmp_path, config=config)
    entry, views = source.entries()[0], ArticulatedViews(tmp_path)
    mesh, key = source.object(entry).mesh, views.object_ids[0]
    for view in range(2):
        x, faces = (read_pass(tmp_path, key, view, name) for name in ("coordinates", "faces"))
        seen = faces >= 0
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces[faces[seen]]], 1, 0)
        n = np.cross(b - a, c - a)
        off = ((x[seen] - a) * n).sum(1) / np.linalg.norm(n, axis=1)
        assert np.abs(off).max() < 1e-5, "on the face at rest that the pixel shows"
        parts = read_pass(tmp_path, key, view, "parts")[seen]
        moved = views.elements(0, view)[parts.astype(int) - 1]
        world = np.einsum("nij,nj->ni", moved[:, :3, :3], x[seen]) + moved[:, :3, 3]
        uv, _ = read_camera(tmp_path, key, view).project(world)
        v, u = np.nonzero(seen)
        np.testing.assert_allclose(uv, np.stack([u, v], 1), atol=1e-3)


def npz(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


PICKLE = npy(np.array([{}], object), allow_pickle=True)
PROMISE = npy(np.zeros((8, 8), np.float32)).replace(b"(8, 8), }  ", b"(80000, 80000), }")
BAD = {
    "empty": b"", "text": b"no archive", "pickle": npz("depth.npy", PICKLE),
    "other name": npz("mask.npy", npy(np.zeros((8, 8), np.float32))),
    "doubles": npz("depth.npy", npy(np.zeros((8, 8)))),
    "flat": npz("depth.npy", npy(np.zeros(64, np.float32))),
    "oblong": npz("depth.npy", npy(np.zeros((8, 4), np.float32))),
    "promise": npz("depth.npy", PROMISE),
    "no array": npz("depth.npy", b"\x93NUMPY\x01\x00\x04\x00(((("),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_files_that_are_no_pass_are_named(fault, tmp_path):
    path = tmp_path / KEY / "depth_0.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(BAD[fault])
    with pytest.raises(DataFormatError, match=r"depth_0\.npz"):
        read_pass(tmp_path, KEY, 0, "depth")


@pytest.mark.parametrize("name", ["depth", "mask", "rgba", "coordinates"])
def test_every_cut_and_many_flipped_bytes_are_refused_or_leave_an_array(known, tmp_path, name):
    file = {"mask": "mask_0.png", "rgba": "rgba_0.png"}.get(name, f"{name}_0.npz")
    whole = (known / KEY / file).read_bytes()
    path = tmp_path / KEY / file
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    for trial in range(60):
        data = bytearray(whole[: random.integers(len(whole))] if trial % 2 else whole)
        if trial % 2 == 0:
            data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(bytes(data))
        try:
            array = read_pass(tmp_path, KEY, 0, name)
        except DataFormatError as error:
            assert file in str(error)
        else:
            same = array.tobytes() == read_pass(known, KEY, 0, name).tobytes()
            assert same or (trial % 2 == 0 and array.shape[:2] == (48, 48))


@pytest.mark.parametrize("change", [
    {"size_px": 0}, {"size_px": "48"}, {"intrinsics": [[1.0]]}, {"world_to_camera": [[1.0]]},
    {"object_to_world": [[float("nan")] * 4] * 4}, {"size_px": 47}, {"intrinsics": "pinhole"},
])  # fmt: skip
def test_cameras_that_are_none_are_named(known_copy, change):
    path = known_copy / KEY / "camera_0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataFormatError, match=r"camera_0\.json"):
        read_camera(known_copy, KEY, 0)


def test_names_of_passes_are_those_of_the_reader():
    assert {name for name in PASS_NAMES if f"    {name} " in read_pass.__doc__} == set(PASS_NAMES)


def test_engines_elsewhere_are_asked_at_the_start_too(tmp_path):
    """A Ray cluster's renderer need not work here, but must give the pass."""
    config = replace(CONFIG, passes=("faces",), renderer="pyrender")
    with pytest.raises(ConventionError, match="'pyrender' gives, got faces"):
        quiet(SOURCE, tmp_path / "set", config=config, engine="ray")
    assert not (tmp_path / "set").exists()

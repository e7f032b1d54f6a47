"""Builds: what they write, set aside and refuse, and what a check of them finds."""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
import json
import shutil
import sys
from itertools import accumulate, cycle
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
from building import CONFIG, OBJECTS, SOURCE, SQUARE, bad_folder, bytes_of, quiet
from PIL import Image

from datasets3d import BuildConfig, ProceduralMeshes, ThreeDIEBench, ViewLaw, estimate, verify
from datasets3d.meshes import MeshFolder
from datasets3d.views.storage import RenderedView, object_files, read_image, write_folder
from equivariant.errors import ConventionError, DataFormatError, MissingExtraError
from renderers.errors import RendererError


def test_layout(whole):
    names = {p.name for p in whole.iterdir()}
    lists = {f"{s}_{k}.npy" for s in ("train", "val") for k in ("images", "labels")}
    lists.add("val_pairs.npy")
    fixed = {"plan.json", "manifest.json", "contact_sheet.png", "chair", "dog", "truck"}
    assert names == lists | fixed
    files = sorted(p.name for p in (whole / "dog" / "dog-000002").iterdir())
    assert files == sorted(f"{k}_{v}" for k, v in [
        *(("image", f"{i}.jpg") for i in range(3)), *(("latent", f"{i}.npy") for i in range(3))
    ])  # fmt: skip
    rows = {s: np.load(whole / f"{s}_images.npy") for s in ("train", "val")}
    assert rows["train"].dtype.kind == "U" and rows["train"][0].startswith("/chair/")
    assert len(rows["train"]) + len(rows["val"]) == OBJECTS and len(rows["val"]) == 3
    assert all(row.endswith("/") for row in rows["val"])
    assert np.load(whole / "train_labels.npy").dtype == np.int64
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["labels"] == ["chair", "dog", "truck"] and manifest["failed"] == {}
    assert str(whole.parent) not in (whole / "manifest.json").read_text()
    assert verify(whole) == []
    latent = np.load(whole / "dog" / "dog-000002" / "latent_1.npy")
    np.testing.assert_array_equal(latent, ViewLaw().sample(0, "dog/dog-000002", view=1))


def test_a_finished_build_is_left_as_it_is(copy, whole):
    written = (copy / "dog" / "dog-000000" / "image_0.jpg").stat().st_mtime_ns
    assert quiet(SOURCE, copy).rendered == 0
    assert (copy / "dog" / "dog-000000" / "image_0.jpg").stat().st_mtime_ns == written
    assert bytes_of(copy) == bytes_of(whole)


def test_more_objects_change_none_of_the_others(whole, tmp_path):
    quiet(ProceduralMeshes(instances=2, classes=["dog", "teapot"]), tmp_path)
    shared = bytes_of(whole / "dog" / "dog-000001")
    assert bytes_of(tmp_path / "dog" / "dog-000001") == shared


def test_bad_objects_are_set_aside(tmp_path):
    meshes = bad_folder(tmp_path / "meshes")
    report = quiet(MeshFolder(meshes), tmp_path / "out")
    assert report.objects == 2 and report.rendered == 6
    failed = json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"]
    assert failed == report.failed
    assert sorted(failed) == [f"bad/{n}" for n in ("cut", "faceless", "half", "nan", "point")]
    for key, reason in failed.items():
        assert reason.startswith(f"{key}."), "names its file, from the source's folder"
        assert str(tmp_path) not in reason
    data = ThreeDIEBench(tmp_path / "out")
    assert data.label_names == ["good"]
    assert not list((tmp_path / "out").rglob(".*"))
    assert verify(tmp_path / "out") == []


def test_two_places_of_the_same_meshes_write_the_same(tmp_path):
    for name in ("one", "another"):
        quiet(MeshFolder(bad_folder(tmp_path / name / "meshes")), tmp_path / name / "out")
    assert bytes_of(tmp_path / "one" / "out") == bytes_of(tmp_path / "another" / "out")


def test_a_repaired_object_joins(tmp_path):
    meshes = bad_folder(tmp_path / "meshes")
    quiet(MeshFolder(meshes), tmp_path / "out")
    (meshes / "bad" / "half.off").write_text(SQUARE)
    report = quiet(MeshFolder(meshes), tmp_path / "out")
    assert report.rendered == 3 and len(report.failed) == 4
    assert verify(tmp_path / "out") == []


def test_nothing_that_can_be_rendered(tmp_path):
    meshes = bad_folder(tmp_path / "meshes")
    shutil.rmtree(meshes / "good")
    with pytest.raises(DataFormatError, match="5 that cannot"):
        quiet(MeshFolder(meshes), tmp_path / "out")
    with pytest.raises(DataFormatError, match="that cannot"):
        estimate(MeshFolder(meshes), config=CONFIG)


def test_missing_or_empty_source(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        with pytest.raises(DataFormatError, match=name):
            quiet(MeshFolder(tmp_path / name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"views": 4}, "config.views: 4 instead of 3"),
        ({"seed": 1}, "config.seed: 1 instead of 0"),
        ({"law": ViewLaw(angle_max_rad=1.0)}, "config.law.angle_max_rad: 1.0"),
        ({"law": ViewLaw(floor_hue=(0.0, 0.5))}, "config.law.floor_hue"),
        ({"channel_order": "bgr"}, "config.channel_order: 'bgr' instead of 'rgb'"),
    ],
)
def test_other_settings_are_refused_by_name(copy, whole, change, name):
    with pytest.raises(ConventionError) as caught:
        quiet(SOURCE, copy, config=dataclasses.replace(CONFIG, **change))
    assert name in caught.value.got and ";" not in caught.value.got, "that setting alone"
    assert bytes_of(copy) == bytes_of(whole)


def test_another_source_is_refused(copy):
    with pytest.raises(ConventionError, match=r"source\.seed"):
        quiet(ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"], seed=1), copy)


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(ConventionError, match="a folder with other files"):
        quiet(SOURCE, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_plan_is_named(copy):
    (copy / "plan.json").write_text("{")
    with pytest.raises(DataFormatError, match=r"plan\.json"):
        quiet(SOURCE, copy)


def test_verify_finds_what_changed(copy):
    (copy / ".cache").mkdir()
    assert verify(copy) == []
    shutil.rmtree(copy / "dog" / "dog-000000")
    (copy / "dog" / "dog-000001" / "latent_2.npy").unlink()
    image = copy / "chair" / "chair-000000" / "image_0.jpg"
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    (copy / "truck" / "truck-000000" / "notes").mkdir()
    shutil.copytree(copy / "truck" / "truck-000001", copy / "truck" / "truck-7")
    (copy / "val_labels.npy").unlink()
    found = sorted(verify(copy))
    assert found.pop(0).startswith("chair/chair-000000 is damaged: ")
    assert found == [
        "dog/dog-000000 is missing",
        "dog/dog-000001 is damaged: without latent_2.npy",
        "truck/truck-000000/notes is not in the manifest",
        "truck/truck-7 is not in the manifest",
        "val_labels.npy is missing",
    ]


def test_verify_needs_a_manifest(copy):
    (copy / "manifest.json").write_text("[]")
    with pytest.raises(DataFormatError, match=r"manifest\.json"):
        verify(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(DataFormatError, match=r"manifest\.json"):
        verify(copy)


def hue_error(a, b):
    return abs((a - b + 0.5) % 1.0 - 0.5)


def corner_hue(path):
    pixels = read_image(path)[:3, :3].reshape(-1, 3).mean(0)
    return colorsys.rgb_to_hsv(*(pixels / 255.0))[0]


def test_channel_order_and_the_floor_hue(tmp_path):
    source = ProceduralMeshes(instances=1, classes=["chair", "dog"])
    # the light's cone does not reach the corners of the image
    config = BuildConfig(views=6, size_px=64, samples_per_side=1)
    for order in ("rgb", "bgr"):
        quiet(source, tmp_path / order,
              config=dataclasses.replace(config, channel_order=order))  # fmt: skip
    for path in (tmp_path / "rgb").glob("*/*/image_*.jpg"):
        twin = tmp_path / "bgr" / path.relative_to(tmp_path / "rgb")
        true, swapped = read_image(path).astype(int), read_image(twin).astype(int)
        assert np.abs(true - swapped[..., ::-1]).mean() < 2.0
        latent = np.load(path.with_name(path.name.replace("image", "latent").replace("jpg", "npy")))
        assert hue_error(corner_hue(path), latent[3]) < 0.02
        assert hue_error(corner_hue(twin), (2 / 3 - latent[3]) % 1.0) < 0.02
        assert (twin.parent / "latent_0.npy").read_bytes() == (
            path.parent / "latent_0.npy"
        ).read_bytes()


def test_chroma_is_not_subsampled(whole):
    data = (whole / "dog" / "dog-000000" / "image_0.jpg").read_bytes()
    height, width, _, subsampling = simplejpeg.decode_jpeg_header(data)
    assert (height, width, subsampling) == (24, 24, "444")


def test_contact_sheet_has_a_row_per_class(whole):
    with Image.open(whole / "contact_sheet.png") as sheet:
        assert sheet.size[1] == 3 * 100 + 4


def test_estimate_writes_nothing(tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    one = estimate(SOURCE, config=CONFIG, workers=1, objects=3)
    assert list(tmp_path.iterdir()) == []
    assert (one.objects, one.images) == (OBJECTS, 45)
    size = sum(p.stat().st_size for p in whole.glob("*/*/*"))
    assert 0.7 * size < one.bytes < 1.4 * size


def test_estimate_extrapolates_what_it_measures(monkeypatch):
    """By a clock of our own: 2 s for an object's mesh and one view, 5 s for it and three."""
    ticks = accumulate(cycle([0.0, 2.0, 5.0]))
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(sys.modules["datasets3d.views.estimate"], "time", clock)
    monkeypatch.setattr("datasets3d.views.estimate.seconds_to_start", lambda *_: 7.0)
    expected = OBJECTS * 0.5 + 45 * 1.5
    for workers, start in ((1, 0.0), (4, 7.0)):
        predicted = estimate(SOURCE, config=CONFIG, workers=workers, objects=3)
        assert predicted.seconds == pytest.approx(start + expected / workers)


def test_estimate_leaves_bad_objects_out(tmp_path):
    source = MeshFolder(bad_folder(tmp_path / "meshes"))
    assert source.entries()[0].label == "bad"
    assert estimate(source, config=CONFIG, workers=1).images == 7 * 3


def test_an_object_that_another_process_wrote_meanwhile(copy, whole):
    folder = copy / "dog" / "dog-000000"
    views = [
        RenderedView(read_image(folder / f"image_{v}.jpg"), np.load(folder / f"latent_{v}.npy"))
        for v in range(3)
    ]
    write_folder(folder, object_files(views, quality=95, channel_order="rgb"))
    assert bytes_of(copy) == bytes_of(whole)


def test_ray_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"equivariant\[ray\]"):
        quiet(SOURCE, tmp_path, engine="ray")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": -1}, "workers"),
        ({"shard": 2, "num_shards": 2}, "shard"),
        ({"shard": -1}, "shard"),
    ],
)
def test_arguments_out_of_range(tmp_path, options, name):
    with pytest.raises(ConventionError, match=name):
        quiet(SOURCE, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_estimate_refuses_no_objects():
    for options in ({"objects": 0}, {"workers": 0}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            estimate(SOURCE, config=CONFIG, **options)


@pytest.mark.parametrize(
    "change",
    [
        {"views": 0}, {"size_px": 0}, {"seed": -1}, {"samples_per_side": 0}, {"quality": 101},
        {"val_fraction": 1.5},
    ],
)  # fmt: skip
def test_settings_out_of_range(change):
    with pytest.raises(ConventionError, match=f"config.{next(iter(change))}"):
        BuildConfig(**change)


def test_an_unknown_renderer_leaves_no_plan(tmp_path):
    with pytest.raises(RendererError, match="no-such"):
        quiet(SOURCE, tmp_path / "out", config=dataclasses.replace(CONFIG, renderer="no-such"))
    quiet(ProceduralMeshes(instances=1, classes=["dog"]), tmp_path / "out")


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_one_split_may_be_empty(tmp_path, fraction):
    meshes = bad_folder(tmp_path / "meshes")
    shutil.rmtree(meshes / "bad")
    out = tmp_path / "out"
    quiet(MeshFolder(meshes), out, config=dataclasses.replace(CONFIG, val_fraction=fraction))
    full, none = ("val", "train") if fraction else ("train", "val")
    assert len(ThreeDIEBench(out, full)) == 2
    with pytest.raises(DataFormatError, match=f"{none}_images"):
        ThreeDIEBench(out, none)


def test_known_digest_of_the_latents(whole):
    """Frozen: seeds and the order of draws define the data sets people have built."""
    state = hashlib.sha256()
    for path in sorted(whole.glob("dog/*/latent_*.npy")):
        state.update(np.load(path).round(9).tobytes())
    assert state.hexdigest()[:16] == "c9f3b47b9ed97844"

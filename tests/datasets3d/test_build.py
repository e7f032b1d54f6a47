"""Builds: the same bytes however they come about, and what is refused, set aside or found."""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from datasets3d import BuildConfig, Law, ProceduralMeshes, ThreeDIEBench, build, estimate, verify
from datasets3d.engine import run_tasks
from datasets3d.meshes import MeshFolder
from datasets3d.storage import View, read_image, write_object
from equivariant.errors import ConventionError, DataFormatError, EquivariantError, MissingExtraError
from renderers.errors import RendererError

SOURCE = ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"])
CONFIG = BuildConfig(views=3, size_px=24, samples_per_side=1)
OBJECTS = 15
SQUARE = "OFF\n4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"

# Forks once per moment, so that what is slow, importing, happens once.
CHILD = """
import os, signal, sys
from datasets3d import BuildConfig, ProceduralMeshes, build as run, storage

def kill_at(count, module, name):
    original, calls = getattr(module, name), 0
    def wrapped(*args):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)
    setattr(module, name, wrapped)

places = {"file": (storage, "npy_bytes"), "rename": (os, "replace"), "sync": (os, "fsync")}
for moment in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        kind, count = moment.split("-")
        kill_at(int(count), *places[kind])
        run(ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"]),
            os.path.join(sys.argv[1], moment),
            config=BuildConfig(views=3, size_px=24, samples_per_side=1), workers=1, progress=False)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        sys.exit(f"{moment} was not killed")
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def bytes_of(root):
    """Contents of all files by their path, hidden ones too, and all folders."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def quiet(source, out, **options):
    return build(source, out, **{"config": CONFIG, "workers": 1, "progress": False, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One uninterrupted build; tests do not write to it."""
    root = tmp_path_factory.mktemp("build") / "whole"
    report = quiet(SOURCE, root)
    assert (report.objects, report.images, report.rendered) == (OBJECTS, 45, 45)
    return root


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


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
    np.testing.assert_array_equal(latent, Law().sample(0, "dog/dog-000002", view=1))


# 15 objects of 3 views; 3 + 3 files' writes, then 16 renames: the plan, the objects, the lists.
MOMENTS = [
    ("sync", 1),  # while the plan is being written
    ("file", 8),  # in the third object, some of its files written
    ("rename", 9),  # eight objects whole, the next one complete but not renamed
    ("sync", 3),  # all objects whole, one list written, another under its temporary name
    ("rename", 21),  # lists and contact sheet written, the manifest under its temporary name
]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Builds killed at each moment."""
    folder = tmp_path_factory.mktemp("killed")
    names = {moment: f"{moment[0]}-{moment[1]}" for moment in MOMENTS}
    command = [sys.executable, "-c", CHILD, str(folder), *names.values()]
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=120)
    return {moment: folder / name for moment, name in names.items()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(killed, whole, moment):
    root = killed[moment]
    assert not (root / "manifest.json").exists()
    hidden = [p for p in root.rglob("*") if p.name.startswith(".")]
    assert hidden, "the kill left something half-written"
    before = sum(1 for p in root.glob("*/*") if p.is_dir() and not p.name.startswith("."))
    expected = {("sync", 1): 0, ("file", 8): 2, ("rename", 9): 7}.get(moment, OBJECTS)
    assert before == expected
    report = quiet(SOURCE, root)
    assert report.rendered == 3 * (OBJECTS - before) and report.objects == OBJECTS
    assert bytes_of(root) == bytes_of(whole)


def test_workers_end_with_a_killed_parent(whole, tmp_path):
    """The parent alone is killed while two workers render; two others go on at once.

    So every object was rendered by one of two workers, and the bytes are those of one process.
    """
    root, script = tmp_path / "out", tmp_path / "child.py"
    script.write_text(
        "import sys\nfrom datasets3d import BuildConfig, ProceduralMeshes, build\n"
        "if __name__ == '__main__':\n"
        "    source = ProceduralMeshes(instances=5, classes=['chair', 'dog', 'truck'])\n"
        "    config = BuildConfig(views=3, size_px=24, samples_per_side=1)\n"
        "    build(source, sys.argv[1], config=config, workers=2, progress=False)\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script), str(root)], env=ENVIRONMENT, start_new_session=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(root.glob("*/[a-z]*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.kill()
    child.wait()
    assert not (root / "manifest.json").exists()
    assert 0 < quiet(SOURCE, root, workers=2).rendered < 45
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(child.pid, 0)
            time.sleep(0.05)
    assert bytes_of(root) == bytes_of(whole)


def test_shards_write_the_same(whole, tmp_path):
    second = quiet(SOURCE, tmp_path, shard=1, num_shards=2)
    assert (second.objects, second.rendered) == (7, 21)
    quiet(SOURCE, tmp_path, shard=0, num_shards=2)
    assert not (tmp_path / "manifest.json").exists()
    last = quiet(SOURCE, tmp_path)
    assert (last.objects, last.rendered) == (OBJECTS, 0)
    assert bytes_of(tmp_path) == bytes_of(whole)


def test_a_finished_build_is_left_as_it_is(copy, whole):
    written = (copy / "dog" / "dog-000000" / "image_0.jpg").stat().st_mtime_ns
    assert quiet(SOURCE, copy).rendered == 0
    assert (copy / "dog" / "dog-000000" / "image_0.jpg").stat().st_mtime_ns == written
    assert bytes_of(copy) == bytes_of(whole)


def test_more_objects_change_none_of_the_others(whole, tmp_path):
    quiet(ProceduralMeshes(instances=2, classes=["dog", "teapot"]), tmp_path)
    shared = bytes_of(whole / "dog" / "dog-000001")
    assert bytes_of(tmp_path / "dog" / "dog-000001") == shared


def bad_folder(root):
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    files = {
        "good/a.off": SQUARE,
        "good/b.off": SQUARE.replace("0.5", "0.7"),
        "bad/cut.obj": obj + "f 1 2 3\nf 1 2 9\n",
        "bad/nan.obj": obj.replace("v 1", "v nan") + "f 1 2 3\n",
        "bad/faceless.obj": obj,
        "bad/point.obj": "v 1 1 1\n" * 3 + "f 1 2 3\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    whole = SQUARE.encode()
    (root / "bad" / "half.off").write_bytes(whole[: len(whole) // 2])
    return root


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
        ({"law": Law(angle_max_rad=1.0)}, "config.law.angle_max_rad: 1.0"),
        ({"law": Law(floor_hue=(0.0, 0.5))}, "config.law.floor_hue"),
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
    assert sorted(verify(copy)) == [
        "chair/chair-000000 is damaged",
        "dog/dog-000000 is missing",
        "dog/dog-000001 is damaged: without latent_2.npy",
        "truck/truck-000000 is damaged: with notes",
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
    assert 0.0 < one.seconds < 60.0
    assert estimate(SOURCE, config=CONFIG, workers=1000, objects=1).seconds < one.seconds


def test_estimate_leaves_bad_objects_out(tmp_path):
    source = MeshFolder(bad_folder(tmp_path / "meshes"))
    assert source.entries()[0].label == "bad"
    assert estimate(source, config=CONFIG, workers=1).images == 7 * 3


def test_workers_have_one_thread_and_are_missed_when_they_die(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    tasks = ["__import__('os').environ['OMP_NUM_THREADS']"] * 8 + ["__import__('os')._exit(1)"]
    results = []
    with pytest.raises(EquivariantError, match="workers that live until"):
        for result in run_tasks(eval, tasks, workers=2, engine="local"):
            results.append(result)
    assert len(results) >= 5 and set(results) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_an_object_that_another_process_wrote_meanwhile(copy, whole):
    folder = copy / "dog" / "dog-000000"
    views = [
        View(read_image(folder / f"image_{v}.jpg"), np.load(folder / f"latent_{v}.npy"))
        for v in range(3)
    ]
    write_object(folder, views, quality=95, channel_order="rgb")
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

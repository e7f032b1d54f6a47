"""What goes into a set, and what is said of it: meshes, splits, disks, views, notes."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from building import SMALL, TWO, bytes_of

from datasets3d import ProceduralMeshes, ViewLaw, build, verify
from datasets3d.meshes import MeshFolder
from datasets3d.views.object_notes import NOTES, Note, read_notes
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import digest
from equivariant.errors import ConventionError, DataFormatError, StorageError
from renderers.scene import Camera


def made(source, out, **options):
    return build(source, out, **{"config": SMALL, "workers": 1, "progress": False, **options})


@pytest.mark.parametrize("name", ["a/one.mtl", "b/three.obj"])
def test_a_mesh_that_changes_between_two_calls_is_said(tmp_path, meshes, name):
    out, path = tmp_path / "out", meshes / name
    made(MeshFolder(meshes), out)
    before, key = path.read_text(), "a/one" if "one" in name else "b/three"
    path.write_text(before.replace("1 0 0", "0 1 0").replace("v 1 2 10", "v 1 2 11"))
    assert path.read_text() != before
    whole = bytes_of(out)
    with pytest.raises(ConventionError, match=f"1 changed since: {key}"):
        made(MeshFolder(meshes), out)
    assert bytes_of(out) == whole
    for file in (out / key).iterdir():
        file.unlink()
    (out / key).rmdir()
    assert made(MeshFolder(meshes), out).rendered == 2
    assert verify(out) == []
    assert made(MeshFolder(meshes), out).rendered == 0


def test_a_mesh_that_changes_between_two_shards_is_said(tmp_path, meshes):
    made(MeshFolder(meshes), tmp_path / "out", shard=0, num_shards=2)
    (meshes / "a" / "one.mtl").write_text("newmtl red\nKd 0 0 1\n")
    made(MeshFolder(meshes), tmp_path / "out", shard=1, num_shards=2)
    with pytest.raises(ConventionError, match="a/one"):
        made(MeshFolder(meshes), tmp_path / "out")


def test_the_last_call_of_a_job_array_reads_no_object_again(tmp_path, built_once, monkeypatch):
    for shard in (0, 1, 2):
        made(TWO, tmp_path, shard=shard, num_shards=3)
    assert len(read_notes(tmp_path)) == 4
    monkeypatch.setattr("datasets3d.views.index.digest", None)  # whoever reads all files calls it
    assert made(TWO, tmp_path).rendered == 0
    assert bytes_of(tmp_path) == bytes_of(built_once)
    assert not (tmp_path / NOTES).exists()


def test_notes_that_are_damaged_count_as_absent(tmp_path, built_once):
    for shard in (0, 1):
        made(TWO, tmp_path, shard=shard, num_shards=2)
    notes = sorted((tmp_path / NOTES).glob("*/*.json"))
    for path, text in zip(notes, ("", "[", '{"digest": 1}', "[" * 100_000), strict=True):
        path.write_text(text)
    assert read_notes(tmp_path) == {}
    made(TWO, tmp_path)
    assert bytes_of(tmp_path) == bytes_of(built_once)


def test_what_a_power_cut_leaves_is_rendered_again(tmp_path, built_once):
    made(TWO, tmp_path, shard=0, num_shards=2)
    made(TWO, tmp_path, shard=1, num_shards=2)
    (tmp_path / "truck" / "truck-000001" / "image_0.jpg").write_bytes(b"")
    (tmp_path / "chair" / "chair-000000" / "latent_1.npy").unlink()
    assert made(TWO, tmp_path).rendered == 4
    assert bytes_of(tmp_path) == bytes_of(built_once)


def test_identical_meshes_in_both_splits_are_said(tmp_path, meshes):
    for split in ("train", "test"):
        (meshes / "c" / split).mkdir(parents=True)
        text = (meshes / "b" / "three.obj").read_text()
        (meshes / "c" / split / f"{split}.obj").write_text(text)
    report = made(MeshFolder(meshes), tmp_path / "out", config=replace(SMALL, val_fraction=0.0))
    assert report.remarks == [
        "1 meshes are in both splits, the same files under other names: b/three (train) and "
        "c/test (val)"
    ]
    assert made(MeshFolder(meshes), tmp_path / "out",
                config=replace(SMALL, val_fraction=0.0)).remarks == report.remarks  # fmt: skip


def test_an_empty_split_is_said(tmp_path):
    source = ProceduralMeshes(instances=1, classes=["truck"])
    assert made(source, tmp_path).remarks == ["the val split is empty"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "room to write"),
        (errno.EFBIG, "room to write"),
        (errno.EROFS, "a place that can be written to"),
    ],
)
def test_a_disk_that_takes_no_more_is_said(tmp_path, built_once, monkeypatch, number, says):
    original, left = os.write, [9]

    def write(file, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        return original(file, data[: len(data) // 2 + 1])  # the system may take a part

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match=says) as caught:
        made(TWO, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.glob("*/.partial*")), "nothing half-written is left"
    left[0] = 10**6
    assert made(TWO, tmp_path).objects == 4
    assert bytes_of(tmp_path) == bytes_of(built_once)


def test_places_that_cannot_be_written_to_are_said():
    for place in ("/proc/set", "/sys/set"):
        with pytest.raises(StorageError, match="set"):
            made(TWO, place)


def test_sets_of_earlier_versions_are_read_verified_and_resumed(small, built_once):
    manifest = json.loads((small / "manifest.json").read_text())
    for name in ("law", "meshes", "checksum", "warnings", "ignored"):
        del manifest[name]
    del manifest["files"]["plan.json"]
    (small / "manifest.json").write_text(json.dumps(manifest))
    assert Manifest.read(small).meshes == {} and verify(small) == []
    assert made(TWO, small).rendered == 0
    for path in (small / "truck" / "truck-000000").iterdir():
        path.unlink()
    (small / "truck" / "truck-000000").rmdir()
    assert made(TWO, small).rendered == 2
    assert bytes_of(small) == bytes_of(built_once)


def test_a_manifest_that_has_changed_is_refused(small):
    path = small / "manifest.json"
    text = path.read_text()
    for old, new in (('"train"', '"val"'), ('"quality": 95', '"quality": 94')):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(DataFormatError, match="has changed since"):
            verify(small)


class Away(ViewLaw):
    """Looks elsewhere in every view but the first."""

    def scene(self, mesh, latent):
        scene = super().scene(mesh, latent)
        if latent[3] == self.sample(0, "truck/truck-000000", view=0)[3]:
            return scene
        camera = Camera(position=(0.0, -2.5, 0.0), target=(0.0, -5.0, 0.0))
        return replace(scene, camera=camera)


class Vague(ViewLaw):
    """A hue of the light that is not a number."""

    def sample(self, dataset_seed, object_key, *, view):
        latent = super().sample(dataset_seed, object_key, view=view)
        return np.where((np.arange(7) == 5) & (object_key[0] == "t"), np.inf, latent)

    def scene(self, mesh, latent):
        return super().scene(mesh, np.nan_to_num(latent, posinf=0.0))


@pytest.mark.parametrize(
    ("law", "says"),
    [(Away(), "view 1: expected an object that is seen"), (Vague(), "view 0: expected finite")],
)
def test_views_that_are_wrong_set_their_object_aside(tmp_path, law, says):
    source = ProceduralMeshes(instances=1, classes=["truck", "chair"])
    config = replace(SMALL, law=law)
    if isinstance(law, Away):
        with pytest.raises(DataFormatError, match="no pixel that shows it"):
            made(source, tmp_path, config=config)
        return
    report = made(source, tmp_path, config=config)
    assert list(report.failed) == ["truck/truck-000000"]
    assert says in report.failed["truck/truck-000000"]
    assert not (tmp_path / "truck").exists()


def test_views_that_the_frame_cuts_off_are_counted(tmp_path):
    source = ProceduralMeshes(instances=1, classes=["truck"], val_fraction=1.0)
    law = ViewLaw(field_of_view_rad=0.2)
    report = made(source, tmp_path, config=replace(SMALL, law=law))
    assert report.remarks[1:] == ["in 2 views the object reaches the border of the picture"]


def test_a_note_is_what_is_in_the_folder(tmp_path):
    made(TWO, tmp_path, shard=0, num_shards=4)
    note = read_notes(tmp_path)["chair/chair-000000"]
    folder = tmp_path / "chair" / "chair-000000"
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert note == Note(digest(folder), "", size, 0)

"""Shards, read by tarfile as the WebDataset convention says, and compared with the folders."""

from __future__ import annotations

import pickle
import shutil
import tarfile

import numpy as np
import pytest
from building import SMALL, TWO, bytes_of, quiet

from datasets3d import (
    ArticulatedMeshes,
    ArticulatedViews,
    BuildConfig,
    ObjectTranslation,
    ShardReader,
    ShardSize,
    ThreeDIEBench,
    TransformPairs,
    ViewLaw,
    build,
    export,
    read_camera,
    read_flow,
    read_pass,
    rebuild_index,
    verify,
)
from datasets3d.views.shards import write
from datasets3d.views.shards.tar import header, members
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError


def samples(path):
    """Samples of a shard: neighbours that agree up to the first dot after the last slash."""
    found = []
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            start, _, end = name.partition(".")
            key = f"{folder}/{start}"
            if not found or found[-1][0] != key:
                found.append((key, {}))
            assert end not in found[-1][1] and member.isfile() and member.mtime == 0
            found[-1][1][end] = archive.extractfile(member).read()
    return found


def test_tarfile_reads_what_folders_hold(folders, shards):
    seen = []
    for path in sorted(shards.glob("*.tar")):
        split = path.name.split("-")[0]
        listed = {str(row).strip("/") for row in np.load(folders / f"{split}_images.npy")}
        for key, sample in samples(path):
            name, _, view = key.rpartition("/")
            assert name in listed
            for end, data in sample.items():
                if end == "cls":
                    assert int(data) == ["chair", "truck"].index(name.split("/")[0])
                    continue
                word, _, suffix = end.rpartition(".")
                file = folders / name / f"{word or 'image'}_{view}.{suffix}"
                assert file.read_bytes() == data
            assert list(sample)[:3] == ["jpg", "latent.npy", "cls"]
            assert set(sample) == {"jpg", "latent.npy", "cls", "depth.npz", "mask.png",
                                   "camera.json"}  # fmt: skip
            seen.append(key)
    assert len(seen) == len(set(seen)) == 24


def test_bytes_are_the_same_again_and_back(folders, shards, tmp_path):
    size = ShardSize(images=9)
    export(folders, tmp_path / "again", format="shards", shard_size=size, progress=False)
    assert bytes_of(tmp_path / "again") == bytes_of(shards)
    export(shards, tmp_path / "back", format="folders", progress=False)
    held = {name: data for name, data in bytes_of(folders).items() if ".cache" not in name}
    assert bytes_of(tmp_path / "back") == held  # readers of other tests keep theirs in .cache


def test_a_stopped_export_goes_on(folders, shards, tmp_path, monkeypatch):
    out, real, calls = tmp_path / "out", write._Export.shard, []

    def stops(self, number, objects):
        calls.append(number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, number, objects)

    size = ShardSize(images=9)
    monkeypatch.setattr(write._Export, "shard", stops)
    with pytest.raises(KeyboardInterrupt):
        export(folders, out, format="shards", shard_size=size, progress=False)
    first = out / "train-000000.tar"
    before = first.stat().st_mtime_ns
    with pytest.raises(ConventionError, match="same export begun"):
        export(folders, out, format="shards", shard_size=ShardSize(images=3), progress=False)
    with pytest.raises(DataFormatError, match="train_images"):
        ThreeDIEBench(out)
    export(folders, out, format="shards", shard_size=size, progress=False)
    assert first.stat().st_mtime_ns == before and bytes_of(out) == bytes_of(shards)
    with pytest.raises(ConventionError, match="empty"):
        export(folders, out, format="shards", shard_size=size, progress=False)


def test_sizes_of_shards(folders, tmp_path):
    for name, size, shards in (("one", ShardSize(images=1), 8), ("all", ShardSize(), 2)):
        export(folders, tmp_path / name, format="shards", shard_size=size, progress=False)
        assert len(list((tmp_path / name).glob("*.tar"))) == shards
    largest = max(p.stat().st_size for p in (tmp_path / "all").glob("*.tar"))
    each = ShardSize(bytes=largest // 2)
    export(folders, tmp_path / "half", format="shards", shard_size=each, progress=False)
    assert 4 <= len(list((tmp_path / "half").glob("*.tar"))) <= 6
    with pytest.raises(ConventionError, match="images"):
        ShardSize(images=0)


@pytest.mark.parametrize("split", ["train", "val", "all"])
def test_the_reader_gives_the_same(folders, shards, split):
    a, b = ThreeDIEBench(folders, split, cache=False), ThreeDIEBench(shards, split, check=True)
    assert list(b.object_ids) == a.object_ids and b.object_ids == a.object_ids
    assert b.label_names == a.label_names and b.views == a.views and b.missing == []
    np.testing.assert_array_equal(b.labels, a.labels)
    np.testing.assert_array_equal(b.latents, a.latents)
    np.testing.assert_array_equal(b.load_images(), a.load_images())
    np.testing.assert_array_equal(b.fixed_pairs(), a.fixed_pairs())
    assert b.fingerprint() == a.fingerprint()
    np.testing.assert_array_equal(ThreeDIEBench(shards, split, views=2).latents, a.latents[:, :2])
    with pytest.raises(DataFormatError, match="4 views"):
        ThreeDIEBench(shards, split, views=4)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_folders(folders, shards, workers):
    streams = [
        TransformPairs(ThreeDIEBench(root), in_memory=False, seed=3).stream(4, workers=workers)
        for root in (folders, shards)
    ]
    for _ in range(3):
        a, b = (next(stream) for stream in streams)
        for name in ("a", "b", "g", "object_id", "label", "pose_a", "relative_xyzw"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_verify_names_every_fault(copy):
    assert verify(copy) == []
    path = copy / "train-000000.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        places = [(m.name, m.offset_data, m.size) for m in archive]
    random = np.random.default_rng(0)
    for _ in range(40):
        at = int(random.integers(len(whole)))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        (said,) = verify(copy)
        inside = [n for n, start, size in places if start <= at < start + size]
        assert all(f"{name} is damaged" in said for name in inside) and "train-000000.tar" in said
    two = bytearray(whole)
    for name in (places[0], places[13]):
        two[name[1]] ^= 255
    path.write_bytes(two)
    said = " ".join(verify(copy))
    assert f"{places[0][0]} is damaged" in said and f"{places[13][0]} is damaged" in said
    path.write_bytes(whole[:-2000])
    assert any("bytes instead of" in text for text in verify(copy))
    path.unlink()
    said = verify(copy)
    assert "train-000000.tar is missing" in said and len(said) == 1 + len({
        name.rpartition("/")[0] for name, _, _ in places
    })  # fmt: skip
    path.write_bytes(whole)
    (copy / "train-000009.tar").write_bytes(whole)
    (copy / "notes.txt").write_text("x")
    assert verify(copy) == [f"{name} is not in the manifest"
                            for name in ("notes.txt", "train-000009.tar")]  # fmt: skip


@pytest.mark.parametrize("name", ["index.npy", "latents.npy", "objects.npy", "shards.json"])
def test_a_damaged_index_is_said_and_made_again(copy, shards, name):
    data = bytearray((copy / name).read_bytes())
    data[-9] ^= 1
    (copy / name).write_bytes(data)
    assert any(name in text and "damaged" in text for text in verify(copy))
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataFormatError, match=name.replace(".", r"\.")):
        ThreeDIEBench(copy)
    rebuild_index(copy, progress=False)
    assert bytes_of(copy) == bytes_of(shards)


def test_rebuilding_refuses_what_is_not_the_sets(copy):
    path = copy / "val-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(header("chair/none/0.jpg", 0) + whole)
    with pytest.raises(DataFormatError, match="chair/none"):
        rebuild_index(copy, progress=False)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFormatError, match="val-000001"):
        rebuild_index(copy, progress=False)
    path.unlink()
    with pytest.raises(DataFormatError, match="of 8 objects"):
        rebuild_index(copy, progress=False)


def test_reads_are_checked(copy):
    path = copy / "train-000000.tar"
    name, offset, _, _ = next(members(path))
    key = name.rpartition("/")[0]
    careless, careful = ShardReader(copy), ShardReader(copy, check=True)
    row = list(careless.keys).index(key)
    data = bytearray(path.read_bytes())
    data[offset + 30] ^= 1
    path.write_bytes(data)
    assert len(careless.read(row, 0, "jpg")) > 0, "only lengths are compared"
    with pytest.raises(DataFormatError, match=rf"{key}/0\.jpg.*other bytes"):
        careful.read(row, 0, "jpg")
    path.write_bytes(data[: offset + 5])
    with pytest.raises(DataFormatError, match=rf"{key}/0\.jpg"):
        careless.read(row, 0, "jpg")
    for wrong in ((99, 0), (0, 9), (-1, 0)):
        with pytest.raises(ConventionError):
            careless.read(*wrong, "jpg")
    with pytest.raises(DataFormatError, match="normals"):
        careless.read(0, 0, "normals.npz")
    assert pickle.loads(pickle.dumps(careful)).check  # noqa: S301


def test_what_needs_folders_says_so(shards, tmp_path):
    for call in (
        lambda: build(TWO, shards, config=SMALL, workers=1, progress=False),
        lambda: export(shards, tmp_path / "x", format="coco", progress=False),
        lambda: export(shards, tmp_path / "x", format="shards", progress=False),
    ):
        with pytest.raises(ConventionError, match="--format folders"):
            call()
    assert verify(shards) == []


def test_articulated_objects_keep_all_files(tmp_path):
    source = ArticulatedMeshes(instances=1, classes=["door", "drawer"], val_fraction=0.0)
    quiet(source, tmp_path / "set", config=BuildConfig(views=2, size_px=16))
    export(tmp_path / "set", tmp_path / "shards", format="shards", progress=False)
    assert verify(tmp_path / "shards") == []
    with pytest.raises(ConventionError, match="--format folders"):
        ArticulatedViews(tmp_path / "shards")
    export(tmp_path / "shards", tmp_path / "back", format="folders", progress=False)
    assert bytes_of(tmp_path / "back") == bytes_of(tmp_path / "set")


def test_columns_of_factors_are_kept(tmp_path):
    law = ViewLaw(factors=(ObjectTranslation(),))
    config = BuildConfig(views=2, size_px=16, law=law)
    quiet(TWO, tmp_path / "set", config=config)
    export(tmp_path / "set", tmp_path / "shards", format="shards", progress=False)
    a, b = (ThreeDIEBench(tmp_path / name, cache=False) for name in ("set", "shards"))
    assert a.columns == b.columns and len(b.columns) == 10
    np.testing.assert_array_equal(a.all_latents, b.all_latents)
    np.testing.assert_array_equal(a.poses, b.poses)


def test_damaged_objects_are_not_exported(folders, tmp_path):
    copy = shutil.copytree(folders, tmp_path / "copy")
    (copy / "chair" / "chair-000001" / "image_1.jpg").write_bytes(b"x")
    with pytest.raises(DataFormatError, match="chair-000001"):
        export(copy, tmp_path / "out", format="shards", progress=False)
    assert not (tmp_path / "out" / "shards.json").exists()


def test_names_that_ustar_cannot_hold(tmp_path):
    name = "стул/" + "x" * 300 + "/0.jpg"
    (tmp_path / "t.tar").write_bytes(header(name, 3) + b"abc" + bytes(509) + bytes(1024))
    with tarfile.open(tmp_path / "t.tar") as archive:
        (member,) = archive
        assert member.name == name and archive.extractfile(member).read() == b"abc"
    assert [m[0] for m in members(tmp_path / "t.tar")] == [name]


def test_the_commands(folders, tmp_path, capsys):
    words = ["--shard-images", "6", "--quiet", "--out", str(tmp_path / "s")]
    assert main(["export", str(folders), "--format", "shards", *words]) == 0
    assert "8 objects, 24 images" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "s")]) == 0
    path = tmp_path / "s" / "train-000000.tar"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert main(["verify", str(tmp_path / "s")]) == 1
    assert "0.jpg is damaged" in capsys.readouterr().out


def test_passes_and_cameras_are_read_from_shards(tmp_path):
    names = ("depth", "mask", "coordinates", "rgba")
    quiet(TWO, tmp_path / "set", config=BuildConfig(views=2, size_px=16, passes=names))
    export(tmp_path / "set", tmp_path / "shards", format="shards", progress=False)
    keys = [f"{e.label}/{e.object_id}" for e in TWO.entries()]
    for key in keys:
        for view in range(2):
            for name in names:
                a, b = (read_pass(tmp_path / of, key, view, name) for of in ("set", "shards"))
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
            a, b = (read_camera(tmp_path / of, key, view) for of in ("set", "shards"))
            np.testing.assert_array_equal(a.object_pose(), b.object_pose())
        a, b = (read_flow(tmp_path / of, key, 0, 1) for of in ("set", "shards"))
        np.testing.assert_array_equal(a.flow, b.flow)
    with pytest.raises(DataFormatError, match="normals"):
        read_pass(tmp_path / "shards", keys[0], 0, "normals")
    with pytest.raises(ConventionError, match="object of the set"):
        read_pass(tmp_path / "shards", "chair/none", 0, "depth")
    with pytest.raises(ConventionError, match="view below"):
        read_pass(tmp_path / "shards", keys[0], 2, "depth")
    shard = next((tmp_path / "shards").glob("train*.tar"))
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(DataFormatError):
        for key in keys:
            read_pass(tmp_path / "shards", key, 1, "coordinates")


def test_flow_of_joints_and_scenes_needs_folders(tmp_path):
    source = ArticulatedMeshes(instances=1, classes=["door"], val_fraction=0.0)
    config = BuildConfig(views=2, size_px=16, passes=("coordinates", "parts"))
    quiet(source, tmp_path / "set", config=config)
    export(tmp_path / "set", tmp_path / "shards", format="shards", progress=False)
    with pytest.raises(ConventionError, match="--format folders"):
        read_flow(tmp_path / "shards", "door/door-000000", 0, 1)

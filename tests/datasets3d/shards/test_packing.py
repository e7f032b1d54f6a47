"""Builds straight into shards: the bytes of folders that are exported, whatever interrupts them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from building import CONFIG, SQUARE, bad_folder, bytes_of, quiet

from datasets3d import (
    ArticulatedMeshes,
    BuildConfig,
    MeshFolder,
    ProceduralMeshes,
    ShardSize,
    ThreeDIEBench,
    estimate,
    export,
    verify,
)
from datasets3d.views import work
from datasets3d.views.shards import packing
from datasets3d.views.shards.packing import LAYOUT, Packing
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError

ROOT = Path(__file__).parents[3]
SOURCE = ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"], val_fraction=0.4)


def exported(source, folder, size, config=CONFIG):
    """The way round: folders, then an export of them."""
    quiet(source, folder / "folders", config=config)
    export(folder / "folders", folder / "exported", format="shards", shard_size=size,
           progress=False)  # fmt: skip
    return bytes_of(folder / "exported")


@pytest.mark.parametrize(
    "size", [ShardSize(images=6), ShardSize(images=1), ShardSize(bytes=20_000), None],
    ids=["images", "one object", "bytes", "default"],
)  # fmt: skip
def test_bytes_are_those_of_folders_that_are_exported(size, tmp_path):
    expected = exported(SOURCE, tmp_path, size)
    report = quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert bytes_of(tmp_path / "built") == expected
    assert (report.objects, report.images, report.rendered) == (15, 45, 45)
    again = quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert again.rendered == 0 and bytes_of(tmp_path / "built") == expected
    assert verify(tmp_path / "built") == []


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_killed_process_was_writing_goes(finished, tmp_path, monkeypatch):
    size = ShardSize(images=12)
    expected = exported(SOURCE, tmp_path, size)
    root = tmp_path / "built"
    with monkeypatch.context() as stopped, suppress(KeyboardInterrupt):
        if not finished:
            stopped.setattr(Packing, "finish", interrupt)
        quiet(SOURCE, root, layout="shards", shard_size=size)
    names = (LAYOUT, "shards.json", ".train-000000.tar.objects", ".train-000000.tar.index.npy")
    for name in names:
        (root / f".{name}.a1b2c3d4").write_bytes(b"half of")
    quiet(SOURCE, root, layout="shards", shard_size=size)
    assert bytes_of(root) == expected


def test_a_build_of_other_shards_is_told_apart(tmp_path):
    expected = exported(SOURCE, tmp_path, ShardSize(images=6))
    for name, other in (("size", ShardSize(images=9)), ("order", None)):
        quiet(SOURCE, tmp_path / name, layout="shards", shard_size=other)
        assert bytes_of(tmp_path / name) != expected


@pytest.mark.parametrize("workers", [1, 2])
def test_articulated_objects_and_passes_go_into_shards(workers, tmp_path):
    config = BuildConfig(views=2, size_px=24, passes=("depth", "parts"), samples_per_side=1)
    source = ArticulatedMeshes(instances=2, val_fraction=0.3)
    size = ShardSize(images=4)
    expected = exported(source, tmp_path, size, config)
    quiet(source, tmp_path / "built", config=config, layout="shards", shard_size=size,
          workers=workers)  # fmt: skip
    assert bytes_of(tmp_path / "built") == expected


def test_objects_and_classes_that_fail_and_objects_with_warnings(tmp_path):
    """A class without any object has no number; a note on a mesh gives shards one member more."""
    meshes = bad_folder(tmp_path / "meshes")
    (meshes / "also").mkdir()
    (meshes / "also" / "one.obj").write_text(
        "mtllib gone.mtl\nusemtl red\nv 0 0 0\nv 1 0 0\nv 0 1 0.3\nf 1 2 3\n"
    )
    (meshes / "also" / "worse.off").write_text("OFF\n")
    (meshes / "good" / "c.off").write_text(SQUARE.replace("0.5", "0.9"))
    source, size = MeshFolder(meshes), ShardSize(images=6)
    expected = exported(source, tmp_path, size)
    report = quiet(source, tmp_path / "built", layout="shards", shard_size=size)
    assert bytes_of(tmp_path / "built") == expected
    assert {key.split("/")[0] for key in report.failed} == {"bad", "also"}
    assert list(report.warnings) == ["also/one"]
    assert json.loads((tmp_path / "built" / "shards.json").read_text())["labels"] == [
        "also", "good",
    ]  # fmt: skip
    assert ThreeDIEBench(tmp_path / "built", "all").labels is not None


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("moment", range(0, 26))
def test_a_build_that_is_stopped_anywhere_goes_on_and_loses_nothing(moment, tmp_path, monkeypatch):
    """Stops at the moment-th file of packing that is written, renamed or removed."""
    size = ShardSize(images=12)
    expected = bytes_of_built(tmp_path, size)
    count = 0

    def counted(function):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count > moment:
                raise Killed
            return function(*args, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_array", counted(packing.write_array))
        patch.setattr(packing, "write_json", counted(packing.write_json))
        patch.setattr(packing, "forget_note", counted(packing.forget_note))
        patch.setattr(packing, "tidy", counted(packing.tidy))
        stopped = False
        try:
            quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
        except Killed:
            stopped = True
    rendered_before = count_objects(tmp_path / "built")
    report = quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert bytes_of(tmp_path / "built") == expected
    assert report.rendered == 45 - 3 * rendered_before
    assert stopped or moment > 15


_BUILT: dict[str, dict] = {}


def bytes_of_built(folder, size):
    """The bytes of an undisturbed build, made once."""
    if repr(size) not in _BUILT:
        quiet(SOURCE, folder / "undisturbed", layout="shards", shard_size=size)
        _BUILT[repr(size)] = bytes_of(folder / "undisturbed")
    return _BUILT[repr(size)]


def count_objects(root):
    """Objects that are in a folder or a shard."""
    held = packing.packed_objects(root)
    if (root / "shards.json").is_file():
        return 15
    there = {f"{p.parent.name}/{p.name}" for p in root.glob("[a-z]*/[a-z]*") if p.is_dir()}
    return len(held | {key for key in there if (root / key / "latent_2.npy").is_file()})


def test_the_count_of_objects_rejects_a_build_that_lost_one(tmp_path, monkeypatch):
    """The broken twin: folders that go before their shard is there."""
    write = packing.ShardFormat.write

    def careless(self, path, number, keys, files_of, keep):
        for key in keys:
            shutil.rmtree(tmp_path / "built" / key)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(packing.ShardFormat, "write", careless)
        with pytest.raises(Killed):
            quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=ShardSize(images=12))
    assert packing.ShardFormat.write is write
    before = sum(1 for _ in (tmp_path / "built" / ".notes").glob("*/*.json"))
    assert count_objects(tmp_path / "built") < before


@pytest.mark.exhaustive
def test_builds_that_are_killed(tmp_path):
    """Processes that are really killed, workers too, at random moments."""
    draw, size = random.Random(3), ShardSize(images=12)
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from building import quiet\n"
        "from datasets3d import ProceduralMeshes, ShardSize\n"
        "source = ProceduralMeshes(instances=5, classes=['chair', 'dog', 'truck'], "
        "val_fraction=0.4)\n"
        "quiet(source, sys.argv[1], layout='shards', shard_size=ShardSize(images=12), workers=2)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "built"), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        run = subprocess.Popen(command, env=environment, start_new_session=True)
        until = time.monotonic() + 60
        wanted = draw.randrange(1, 12)
        while run.poll() is None and time.monotonic() < until:
            if (tmp_path / "built").is_dir() and count_objects(tmp_path / "built") >= wanted:
                break
            time.sleep(0.005)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert bytes_of(tmp_path / "built") == bytes_of_built(tmp_path, size)


def test_an_object_that_was_passed_over_stays_so(tmp_path, monkeypatch):
    """Later objects are in a shard: it has no place any more, and is not tried again."""
    broken = "chair/chair-000003"
    size = ShardSize(images=3)

    def fails(source, entry, config, **options):
        if f"{entry.label}/{entry.object_id}" == broken:
            raise ValueError("no luck")
        return real(source, entry, config, **options)

    real, write = work.files_of_object, Packing._write
    with monkeypatch.context() as patch:
        patch.setattr(work, "files_of_object", fails)
        expected = exported(SOURCE, tmp_path, size)

        def stops_behind(self, keys, known):
            write(self, keys, known)
            if broken in self.failed:
                raise Killed

        patch.setattr(Packing, "_write", stops_behind)
        with pytest.raises(Killed):
            quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    report = quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert list(report.failed) == [broken] and "no luck" in report.failed[broken]
    assert bytes_of(tmp_path / "built") == expected


def test_jobs_of_an_array_write_folders_and_the_last_call_packs_them(tmp_path):
    size = ShardSize(images=12)
    for shard in (1, 0):
        quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size, shard=shard,
              num_shards=2)  # fmt: skip
        assert not list((tmp_path / "built").glob("*.tar"))
    report = quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert report.rendered == 0 and bytes_of(tmp_path / "built") == bytes_of_built(tmp_path, size)


def test_a_lost_note_and_a_damaged_folder_are_seen(tmp_path):
    size = ShardSize(images=12)
    quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size, num_shards=2)
    notes = sorted((tmp_path / "built" / ".notes").glob("*/*.json"))
    notes[0].unlink()
    quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    assert bytes_of(tmp_path / "built") == bytes_of_built(tmp_path, size)
    quiet(SOURCE, tmp_path / "other", layout="shards", shard_size=size, num_shards=2)
    image = next((tmp_path / "other").glob("*/*/image_0.jpg"))
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    with pytest.raises(DataFormatError, match="as it was built"):
        quiet(SOURCE, tmp_path / "other", layout="shards", shard_size=size)


def test_what_is_not_ours_is_left_alone(tmp_path):
    size, out = ShardSize(images=12), tmp_path / "built"
    quiet(SOURCE, out, layout="shards", shard_size=size, num_shards=2)
    folder = next(p for p in out.glob("[a-z]*/[a-z]*") if p.is_dir())
    (folder / "mine.txt").write_text("mine")
    quiet(SOURCE, out, layout="shards", shard_size=size)
    assert (folder / "mine.txt").read_text() == "mine"
    assert verify(out) == [f"{folder.parent.name} is not in the manifest"]


def test_layouts_are_not_mixed(tmp_path):
    size = ShardSize(images=12)
    quiet(SOURCE, tmp_path / "folders")
    with pytest.raises(ConventionError, match="export DATA --format shards"):
        quiet(SOURCE, tmp_path / "folders", layout="shards")
    quiet(SOURCE, tmp_path / "begun", layout="shards", shard_size=size, num_shards=2)
    with pytest.raises(ConventionError, match="--layout shards"):
        quiet(SOURCE, tmp_path / "begun")
    with pytest.raises(ConventionError, match="that size"):
        quiet(SOURCE, tmp_path / "begun", layout="shards", shard_size=ShardSize(images=3))
    with pytest.raises(ConventionError, match="Let folders grow"):
        quiet(SOURCE, tmp_path / "begun", layout="shards", add=True)
    quiet(SOURCE, tmp_path / "begun", layout="shards", shard_size=size)
    with pytest.raises(ConventionError, match="instead of"):
        quiet(SOURCE, tmp_path / "begun", layout="shards", config=BuildConfig(views=4, size_px=24))


def test_a_shard_without_what_is_known_of_it_is_refused(tmp_path):
    quiet(SOURCE, tmp_path / "built", layout="shards", num_shards=2)
    (tmp_path / "built" / "train-000000.tar").write_bytes(bytes(1024))
    with pytest.raises(DataFormatError, match="known of the objects of a shard"):
        quiet(SOURCE, tmp_path / "built", layout="shards")


def test_folders_of_an_unfinished_build_may_become_shards(tmp_path):
    quiet(SOURCE, tmp_path / "built", num_shards=2)
    quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=ShardSize(images=12))
    assert bytes_of(tmp_path / "built") == bytes_of_built(tmp_path, ShardSize(images=12))


def test_folders_go_while_the_build_goes_on(tmp_path, monkeypatch):
    most, write = [], Packing._write

    def watched(self, keys, known):
        most.append(sum(1 for p in self.root.glob("[a-z]*/[a-z]*") if p.is_dir()))
        write(self, keys, known)

    monkeypatch.setattr(Packing, "_write", watched)
    source = ProceduralMeshes(instances=20, classes=["chair", "truck"], val_fraction=0.2)
    quiet(source, tmp_path / "built", layout="shards", shard_size=ShardSize(images=12))
    assert len(most) >= 10 and max(most) <= 8, "a shard's four, and what waits for a class"


def test_memory_does_not_grow_with_the_size_of_a_shard(tmp_path):
    config = BuildConfig(views=8, size_px=64, samples_per_side=1)
    source = ProceduralMeshes(instances=24, classes=["chair"], val_fraction=0.0)
    quiet(source, tmp_path / "built", config=config, layout="shards", num_shards=2)
    quiet(source, tmp_path / "built", config=config, layout="shards", num_shards=2, shard=1)
    each = sum(p.stat().st_size for p in (tmp_path / "built/chair/chair-000000").iterdir())
    tracemalloc.start()
    quiet(source, tmp_path / "built", config=config, layout="shards")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (tar,) = (tmp_path / "built").glob("*.tar")
    assert tar.stat().st_size > 20 * each
    assert peak < 6e6, "the contact sheet's pixels are most of it"


def test_the_command_builds_shards_and_says_what_is_left(tmp_path, capsys):
    words = ["build", str(tmp_path / "built"), "--instances", "1", "--views", "2", "--size", "16",
             "--workers", "1", "--layout", "shards", "--shard-images", "8"]  # fmt: skip
    assert main(words) == 0
    assert "kept 16 of 16 objects" in capsys.readouterr().out
    assert len(list((tmp_path / "built").glob("*.tar"))) >= 4
    assert main([*words, "--dry-run"]) == 0 and "0 objects" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "built")]) == 0
    assert main([*words[:1], str(tmp_path / "no"), *words[2:-1], "-1"]) == 1
    assert "--shard-images" in capsys.readouterr().err


def test_an_estimate_leaves_out_what_is_in_shards(tmp_path, monkeypatch):
    size, write = ShardSize(images=12), Packing._write

    def stops(self, keys, known):
        write(self, keys, known)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Packing, "_write", stops)
        with pytest.raises(Killed):
            quiet(SOURCE, tmp_path / "built", layout="shards", shard_size=size)
    left = estimate(SOURCE, config=CONFIG, workers=1, out=tmp_path / "built")
    assert left.objects == 15 - count_objects(tmp_path / "built") < 12
    assert (tmp_path / "built" / LAYOUT).is_file()
    assert np.isfinite(left.seconds)

"""Names of any script, and names that stay when files of the same name come later."""

from __future__ import annotations

import json
import shutil

import pytest
from building import SMALL, SQUARE, bytes_of

from datasets3d import ThreeDIEBench, build, estimate, repair, verify
from datasets3d.meshes import MeshFolder, Variants
from datasets3d.meshes.folders import names
from datasets3d.meshes.folders.names import LONGEST, named, safe_name
from datasets3d.views.schema import Manifest
from equivariant.commands.main import main
from equivariant.errors import ConventionError


def put(root, *paths):
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SQUARE.replace("0.5", f"0.{number + 1}{len(path)}"))
    return root


def made(source, out, **options):
    return build(source, out, **{"config": SMALL, "workers": 1, "progress": False, **options})


def keys(root):
    return sorted(Manifest.read(root).digests)


def test_classes_of_any_script_are_labels(tmp_path):
    put(tmp_path / "m", "椅子/a.off", "桌子/ё.off", "कुर्सी/c.off", "stühle/d.off")
    made(MeshFolder(tmp_path / "m"), tmp_path / "set")
    assert Manifest.read(tmp_path / "set").labels == ["stühle", "कुर्सी", "桌子", "椅子"]
    assert "桌子/ё" in keys(tmp_path / "set") and verify(tmp_path / "set") == []
    reader = ThreeDIEBench(tmp_path / "set", split="train")
    assert len(reader) + len(ThreeDIEBench(tmp_path / "set", split="val")) == 4
    shutil.rmtree(tmp_path / "set" / "椅子" / "a")
    assert repair(tmp_path / "set", meshes=tmp_path / "m", workers=1).left == []


@pytest.mark.parametrize("wrap", [lambda source: source, lambda s: Variants(s, count=2)])
def test_an_object_keeps_its_name_when_another_file_has_it_too(tmp_path, wrap, capsys):
    root, out = put(tmp_path / "m", "a/box.ply.off", "a/cup.off"), tmp_path / "set"
    (root / "a" / "box.ply.off").rename(root / "a" / "box.off")
    made(wrap(MeshFolder(root)), out)
    before = {key: (out / key / "image_0.jpg").read_bytes() for key in keys(out)}
    (root / "a" / "box.OBJ").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    source = wrap(MeshFolder(root))
    with pytest.raises(ConventionError, match="add=True"):
        made(source, out)
    assert estimate(source, config=SMALL, workers=1, out=out, add=True).objects == len(before) // 2
    report = made(source, out, add=True)
    assert report.objects == len(keys(out)) == 3 * len(before) // 2 and verify(out) == []
    for key, image in before.items():
        assert (out / key / "image_0.jpg").read_bytes() == image
    whole = bytes_of(out)
    assert made(source, out).rendered == 0  # the plan says the names: without add, too
    assert bytes_of(out) == whole
    shutil.rmtree(out / next(iter(before)))
    assert repair(out, meshes=root, workers=1).left == []
    assert bytes_of(out) == whole
    put(root, "a/Box.stl.off")
    (root / "a" / "Box.stl.off").rename(root / "a" / "BOX.off")
    assert made(wrap(MeshFolder(root)), out, add=True).objects == 2 * len(before)
    assert set(before) < set(keys(out)) and verify(out) == []


def test_a_class_keeps_its_name(tmp_path):
    root, out = put(tmp_path / "m", "my chair/a.off", "my chair/b.off"), tmp_path / "set"
    made(MeshFolder(root), out)
    put(root, "my_chair/x.off", "my chair/c.off", "🪑/d.off", "🚪/e.off")
    (root / "my chair" / "a.off").rename(root / "my chair" / "a.off")
    made(MeshFolder(root), out, add=True)
    labels = Manifest.read(out).labels
    assert "my_chair" in labels and sum(label.startswith("my_chair-") for label in labels) == 1
    assert {"my_chair/a", "my_chair/b", "my_chair/c"} <= set(keys(out))
    recorded = json.loads((out / "plan.json").read_text())["source"]["names"]
    assert json.loads(recorded) == {"my chair/": "my_chair"}
    assert len(labels) == 4


def test_sets_of_earlier_versions_keep_their_names(tmp_path, monkeypatch):
    root, out = put(tmp_path / "m", "椅子/a.off", "桌子/ü.off", "x/b.off"), tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(names, "_is_fit", lambda c: c.isascii() and (c.isalnum() or c in "_.-"))
        made(MeshFolder(root), out)
    before = keys(out)
    assert "x/b" in before and sum(key.startswith("__-") for key in before) == 2
    put(root, "x/new.off")
    report = made(MeshFolder(root), out, add=True)
    assert report.rendered == SMALL.views and set(before) < set(keys(out))


def test_what_contents_do_not_tell_is_said(tmp_path):
    root, out = put(tmp_path / "m", "a/box.off"), tmp_path / "set"
    made(MeshFolder(root), out)
    (root / "a" / "box.off").write_text(SQUARE.replace("0.5", "0.9"))
    (root / "a" / "box.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(ConventionError, match=r"a/box \(which of a/box-\w{8}, a/box-\w{8} it was"):
        made(MeshFolder(root), out, add=True)


def test_objects_that_were_set_aside_may_go(tmp_path):
    root, out = put(tmp_path / "m", "a/box.off"), tmp_path / "set"
    (root / "a" / "bad.off").write_text("OFF")
    made(MeshFolder(root), out)
    (root / "a" / "bad.off").unlink()
    put(root, "b/cup.off")
    made(MeshFolder(root), out, add=True)
    made(MeshFolder(root), tmp_path / "at once")
    assert bytes_of(out) == bytes_of(tmp_path / "at once")


def test_names_of_ascii_are_as_ever_and_long_ones_are_cut(tmp_path):
    files = ["a b.off", "a_b.off", "..off", "c.off", "C.off"]
    found = [("my chair", name[:-4], None, f"my chair/{name}") for name in files]
    assert [entry.object_id for entry in named(found, {})] == [
        "a_b-ed958895", "a_b-6182da81", "_", "c-ca15d9ac", "C-1eba0d16",
    ]  # fmt: skip
    assert len(safe_name("x" * 240)) == 240
    for name in ("x" * 241, "椅" * 81):
        assert LONGEST - 3 <= len(safe_name(name).encode()) <= LONGEST
    put(tmp_path / "m", f"{'k' * 250}/{'n' * 251}.off")
    made(Variants(MeshFolder(tmp_path / "m"), count=2), tmp_path / "set")
    assert verify(tmp_path / "set") == []


def test_the_command_adds_a_file_of_an_old_name(tmp_path, capsys):
    root = put(tmp_path / "m", "a/box.off")
    words = ["build", str(tmp_path / "set"), "--meshes", str(root), "--workers", "1"]
    fast = ["--object-seconds", "0"]
    assert main([*words, "--views", "1", "--size", "16", *fast]) == 0
    (root / "a" / "box.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    for extra in (["--dry-run"], []):
        assert main([*words, *fast, "--add", *extra]) == 0
        assert "1 object, 1 image to render" in (out := capsys.readouterr().out) or (
            "kept 2 of 2 objects" in out
        )
    assert main(["build", str(tmp_path / "set"), "--add", "--views", "2", *fast]) == 1
    assert "--meshes: expected the folder or archive" in capsys.readouterr().err

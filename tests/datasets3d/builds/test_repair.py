"""Sets that were damaged get their bytes back, or it is said why not."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace

import pytest
from building import SMALL, TWO, bytes_of

from datasets3d import ArticulatedMeshes, ViewLaw, build, repair, verify
from datasets3d.meshes import MeshFolder, Variants
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError


def made(source, out, **options):
    return build(source, out, **{"config": SMALL, "workers": 1, "progress": False, **options})


def damage(root):
    """One fault of every kind; objects without any are chair-000000 and truck-000001."""
    shutil.rmtree(root / "truck" / "truck-000000")
    folder = root / "chair" / "chair-000001"
    (folder / "latent_0.npy").unlink()
    image = folder / "image_1.jpg"
    image.write_bytes(image.read_bytes()[:-3])
    (root / "plan.json").write_text("{")
    (root / "train_labels.npy").unlink()
    (root / "contact_sheet.png").write_bytes(b"")


NAMES = [
    "chair/chair-000001", "contact_sheet.png", "plan.json", "train_labels.npy",
    "truck/truck-000000",
]  # fmt: skip


def test_what_is_damaged_or_missing_is_as_it_was(small, built_once):
    damage(small)
    whole = (small / "truck" / "truck-000001" / "image_0.jpg").stat().st_mtime_ns
    report = repair(small, workers=1)
    assert report.repaired == NAMES and report.left == [] and len(report.found) == 5
    assert bytes_of(small) == bytes_of(built_once)
    assert (small / "truck" / "truck-000001" / "image_0.jpg").stat().st_mtime_ns == whole
    assert repair(small, workers=1).repaired == []


def test_a_dry_run_writes_nothing(small):
    damage(small)
    before = bytes_of(small)
    report = repair(small, workers=1, dry_run=True)
    assert report.repaired == NAMES and report.left == []
    assert bytes_of(small) == before


def test_foreign_files_are_named_and_left_alone(small):
    (small / "truck" / "truck-000000" / "notes.txt").write_text("mine")
    (small / "truck" / "truck-000000" / "image_0.jpg").unlink()
    (small / "mine.txt").write_text("mine")
    report = repair(small, workers=1)
    assert report.repaired == ["truck/truck-000000"]
    assert report.left == report.foreign == [
        "truck/truck-000000/notes.txt is not in the manifest", "mine.txt is not in the manifest",
    ]  # fmt: skip
    assert (small / "truck" / "truck-000000" / "image_0.jpg").is_file()


@pytest.mark.parametrize("kind", ["pipe", "device", "circle", "nowhere", "folder"])
def test_what_is_no_file_is_damage_that_is_repaired(small, built_once, kind):
    """Reading a pipe or a device would never end."""
    places = [small / "chair" / "chair-000001" / name for name in ("image_1.jpg", "latent_0.npy")]
    places += [small / "train_labels.npy", small / "contact_sheet.png"]
    for path in places:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            (path / "inner").mkdir(parents=True)
        else:
            target = {"device": "/dev/zero", "circle": path.name, "nowhere": "nowhere"}[kind]
            path.symlink_to(target)
    assert verify(small)[0] == (
        "chair/chair-000001 is damaged: image_1.jpg is no file; latent_0.npy is no file"
    )
    if kind == "folder":
        for path in places[2:]:
            shutil.rmtree(path)
    assert repair(small, workers=1).left == []
    assert bytes_of(small) == bytes_of(built_once)
    assert not any(path.is_symlink() for path in small.rglob("*"))


def test_what_is_in_place_of_an_objects_folder_makes_room(small, built_once):
    for name, make in (
        ("000000", lambda path: path.symlink_to(path.name)), ("000001", lambda path: path.touch()),
    ):  # fmt: skip
        path = small / "truck" / f"truck-{name}"
        shutil.rmtree(path)
        make(path)
    assert verify(small) == ["truck/truck-000000 is missing", "truck/truck-000001 is missing"]
    assert repair(small, workers=1).left == []
    assert bytes_of(small) == bytes_of(built_once)


def test_sources_that_the_set_describes(tmp_path, meshes):
    law = replace(ViewLaw(), rotation="cone", angle_max_rad=0.5)
    config = replace(SMALL, law=law, split_by="id")
    sources = {
        "variants": Variants(TWO, count=2, seed=3, strength=0.5),
        "joints": ArticulatedMeshes(instances=1, classes=["laptop"]),
        "folder": Variants(MeshFolder(meshes, up="x"), count=2),
    }
    for name, source in sources.items():
        made(source, tmp_path / name, config=config)
        before = bytes_of(tmp_path / name)
        key = source.entries()[-1]
        shutil.rmtree(tmp_path / name / key.label / key.object_id)
        if name == "folder":
            with pytest.raises(ConventionError, match="--meshes"):
                repair(tmp_path / name, workers=1)
        report = repair(tmp_path / name, workers=1, meshes=meshes if name == "folder" else None)
        assert report.left == [] and bytes_of(tmp_path / name) == before


def test_a_mesh_that_changed_or_is_gone_cannot_be_repaired(tmp_path, meshes):
    out = tmp_path / "out"
    made(MeshFolder(meshes), out)
    shutil.rmtree(out / "b" / "three")
    path = meshes / "b" / "three.obj"
    text = path.read_text()
    path.write_text(text + "# another byte\n")
    for dry_run in (True, False):
        report = repair(out, meshes=meshes, workers=1, dry_run=dry_run)
        assert report.repaired == []
        assert report.left == [
            "b/three is missing: its mesh files are not those that it was rendered from"
        ]
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["meshes"], manifest["checksum"]  # as sets of earlier versions
    (out / "manifest.json").write_text(json.dumps(manifest))
    path.write_text(text.replace("v 1 2 10", "v 1 2 12"))
    assert "other bytes than the manifest says" in repair(out, meshes=meshes, workers=1).left[0]
    assert not (out / "b" / "three").exists()
    path.unlink()
    with pytest.raises(ConventionError, match="listing_sha256"):
        repair(out, meshes=meshes, workers=1)


@dataclass(frozen=True)
class Dim(ViewLaw):
    """A law of one's own, with a setting of its own."""

    extra: float = 0.5


def test_laws_and_versions_must_be_those_of_the_build(tmp_path):
    config = replace(SMALL, law=Dim(extra=0.25))
    made(TWO, tmp_path, config=config)
    before = bytes_of(tmp_path)
    shutil.rmtree(tmp_path / "truck" / "truck-000000")
    with pytest.raises(ConventionError, match=r"the law .*Dim"):
        repair(tmp_path, workers=1)
    with pytest.raises(ConventionError, match=r"config\.law\.extra: 0.5 instead of 0.25"):
        repair(tmp_path, law=Dim(), workers=1)
    assert repair(tmp_path, law=Dim(extra=0.25), workers=1).left == []
    assert bytes_of(tmp_path) == before


def test_other_versions_are_refused(small):
    manifest = json.loads((small / "manifest.json").read_text())
    manifest["versions"]["numba"], manifest["checksum"] = "0.1", ""
    (small / "manifest.json").write_text(json.dumps(manifest))
    assert verify(small) == []
    shutil.rmtree(small / "truck" / "truck-000000")
    with pytest.raises(ConventionError, match=r"versions\.numba"):
        repair(small, workers=1)


def test_without_a_manifest_nothing_is_repaired(small):
    (small / "manifest.json").write_text("{")
    with pytest.raises(DataFormatError, match=r"manifest\.json"):
        repair(small)


def test_the_command(small, built_once, capsys):
    words = ["verify", str(small), "--workers", "1"]
    assert main(words) == 0
    damage(small)
    assert main(words) == 1
    assert "truck/truck-000000 is missing" in capsys.readouterr().out
    assert main([*words, "--repair", "--dry-run"]) == 0
    assert "would rewrite: plan.json" in capsys.readouterr().out
    assert main([*words, "--repair", "--object-seconds", "0"]) == 0
    assert "5 repaired" in capsys.readouterr().out
    assert bytes_of(small) == bytes_of(built_once)

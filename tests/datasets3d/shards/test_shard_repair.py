"""Damaged shards become what they were: whole members stay, others are rendered again."""

from __future__ import annotations

import pytest
from building import bytes_of

from datasets3d import ProceduralMeshes, repair, verify
from datasets3d.views.shards.tar import members
from datasets3d.views.upkeep import repair_shards
from equivariant.commands.main import main
from equivariant.errors import ConventionError


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def first_member(path, end):
    return next(row for row in members(path) if row[0].endswith(end))


def damage_picture(copy):
    flip(copy / "train-000000.tar", first_member(copy / "train-000000.tar", "1.jpg")[1] + 40)


def damage_latent_and_pass(copy):
    path = copy / "val-000000.tar"
    flip(path, first_member(path, "2.latent.npy")[1] + 130)
    flip(path, first_member(path, "0.depth.npz")[1] + 90)


def append(copy):
    path = copy / "train-000000.tar"
    path.write_bytes(path.read_bytes() + b"more")


def cut_off(copy):
    path = copy / "val-000001.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


DAMAGES = {
    "a picture": damage_picture,
    "a latent and a pass": damage_latent_and_pass,
    "a header": lambda copy: flip(copy / "train-000000.tar", 3),
    "padding at the end": lambda copy: flip(copy / "val-000000.tar", -1),
    "cut off": cut_off,
    "a shard is gone": lambda copy: (copy / "train-000000.tar").unlink(),
    "appended": append,
    "the index is gone": lambda copy: (copy / "index.npy").unlink(),
    "latents of the index": lambda copy: flip(copy / "latents.npy", 200),
    "shards.json is gone": lambda copy: (copy / "shards.json").unlink(),
    "shards.json is damaged": lambda copy: (copy / "shards.json").write_text("{}"),
    "lists, plan and sheet": lambda copy: [
        (copy / name).unlink() for name in ("val_images.npy", "plan.json", "contact_sheet.png")
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_shards_are_what_they_were(damage, copy, shards):
    DAMAGES[damage](copy)
    found = verify(copy)
    assert found
    report = repair(copy, workers=1, progress=False)
    assert report.found == found and report.left == [] and report.repaired
    assert bytes_of(copy) == bytes_of(shards)


def test_index_and_members_damaged_together(copy, shards):
    damage_picture(copy)
    flip(copy / "index.npy", 400)
    assert repair(copy, workers=1, progress=False).left == []
    assert bytes_of(copy) == bytes_of(shards)


def test_what_is_whole_is_not_touched(copy):
    damage_picture(copy)
    times = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    repair(copy, workers=1, progress=False)
    changed = {p.name for p in copy.iterdir() if times.get(p.name) != p.stat().st_mtime_ns}
    assert changed == {"train-000000.tar"}


def test_a_dry_run_writes_nothing(copy):
    damage_picture(copy)
    before = bytes_of(copy)
    report = repair(copy, workers=1, dry_run=True, progress=False)
    assert len(report.repaired) == 1 and bytes_of(copy) == before


def test_what_does_not_come_out_as_it_was_is_not_written(copy, monkeypatch):
    damage_picture(copy)
    before = bytes_of(copy)
    with monkeypatch.context() as patch:  # a renderer that is not what it was
        patch.setattr("datasets3d.views.upkeep.repair.digest_of", lambda files: "other")
        report = repair(copy, workers=1, progress=False)
    assert len(report.left) == 1 and "other bytes than the manifest says" in report.left[0]
    assert bytes_of(copy) == before
    with monkeypatch.context() as patch:  # members in other places than the index says
        patch.setattr(repair_shards.np, "array_equal", lambda one, other: False)
        report = repair(copy, workers=1, progress=False)
    assert any(repair_shards.OTHER_BYTES in text for text in report.left)
    assert bytes_of(copy) == before
    with pytest.raises(ConventionError):
        repair(copy, ProceduralMeshes(instances=9), workers=1, progress=False)


def test_a_tar_file_without_an_index_that_is_cut_off_is_named(copy):
    cut_off(copy)
    (copy / "index.npy").unlink()
    report = repair(copy, workers=1, progress=False)
    assert any("index.npy" in text and "val-000001.tar" in text for text in report.left)


def test_the_command_repairs_shards(copy, shards, capsys):
    damage_picture(copy)
    assert main(["verify", str(copy)]) == 1
    assert "--repair" in capsys.readouterr().err
    assert main(["verify", str(copy), "--repair", "--workers", "1"]) == 0
    assert "1 repaired" in capsys.readouterr().out
    assert bytes_of(copy) == bytes_of(shards)

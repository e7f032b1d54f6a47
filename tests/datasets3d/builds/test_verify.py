"""What verify says: every fault of an object, and what is foreign as foreign."""

from __future__ import annotations

import numpy as np
import pytest
from building import SMALL, TWO

from datasets3d import build, verify
from datasets3d.meshes import ReadingLimits
from datasets3d.meshes.formats.limits import limited
from equivariant.commands.build import build_command
from equivariant.commands.main import main
from equivariant.errors import DataFormatError

OBJECT = "truck/truck-000000"


def test_every_fault_of_an_object_is_named(small):
    folder = small / OBJECT
    (folder / "latent_0.npy").unlink()
    (folder / "image_0.jpg").write_bytes((folder / "image_0.jpg").read_bytes()[:-40])
    (folder / "latent_1.npy").write_bytes(b"rubbish")
    (folder / "notes.txt").write_text("mine")
    assert verify(small) == [
        f"{OBJECT} is damaged: without latent_0.npy; image_0.jpg cannot be read; "
        "latent_1.npy cannot be read",
        f"{OBJECT}/notes.txt is not in the manifest",
    ]


def test_readable_files_with_other_contents(small):
    np.save(small / OBJECT / "latent_1.npy", np.zeros(7))
    assert verify(small) == [f"{OBJECT} is damaged: contents that are not those of its checksum"]


def test_foreign_files_are_not_damage(small, capsys):
    (small / OBJECT / "notes.txt").write_text("mine")
    (small / OBJECT / "more").mkdir()
    (small / OBJECT / ".DS_Store").touch()
    (small / "truck" / "mine").mkdir()
    (small / "truck" / ".DS_Store").touch()
    (small / "mine.txt").touch()
    assert verify(small) == [
        f"{OBJECT}/more is not in the manifest", f"{OBJECT}/notes.txt is not in the manifest",
        "mine.txt is not in the manifest", "truck/mine is not in the manifest",
    ]  # fmt: skip
    assert main(["verify", str(small)]) == 1
    said = capsys.readouterr()
    assert "0 missing or damaged, 4 foreign. The set is whole" in said.err
    assert "damaged" not in said.out


def test_counts_and_advice_after_damage(small, capsys):
    (small / OBJECT / "notes.txt").write_text("mine")
    (small / OBJECT / "image_1.jpg").unlink()
    assert main(["verify", str(small)]) == 1
    assert "1 missing or damaged, 1 foreign. `equivariant verify" in capsys.readouterr().err
    assert main(["verify", str(small), "--repair", "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert f"repaired: {OBJECT}\n" in said.out
    assert "0 missing or damaged, 1 foreign" in said.err
    (small / OBJECT / "notes.txt").unlink()
    assert main(["verify", str(small)]) == 0


def test_folders_that_are_no_finished_sets(small, tmp_path):
    for root, says in ((tmp_path / "none", "no such folder"), (tmp_path, "without one")):
        with pytest.raises(DataFormatError, match=says):
            verify(root)
    (small / "manifest.json").write_text("rubbish")
    with pytest.raises(DataFormatError, match="bring it back from a copy, or remove it and build"):
        verify(small)
    (small / "manifest.json").unlink()
    with pytest.raises(DataFormatError, match="has not ended"):
        verify(small)
    build(TWO, small, config=SMALL, workers=1, progress=False)
    assert verify(small) == []


def test_limits_of_the_command_are_those_of_reading_too(tmp_path):
    for words, limits in (
        ([], ReadingLimits()),
        (["--object-seconds", "5", "--object-gib", "0.5"], ReadingLimits(5.0, 1 << 29)),
        (["--object-seconds", "0", "--object-gib", "20"], ReadingLimits(1e8, 20 << 30)),
    ):
        source = build_command([str(tmp_path), "--meshes", str(tmp_path), *words]).source()
        assert source._limits == limits
        with limited(limits):
            pass

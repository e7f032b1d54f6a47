"""What verify says: every fault of an object, and what is foreign as foreign."""

from __future__ import annotations

import numpy as np

from datasets3d import verify
from equivariant.commands.main import main

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

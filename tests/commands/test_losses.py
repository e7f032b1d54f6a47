"""The command that lists objectives, and the page of all of them."""

import importlib
import subprocess
import sys

from equivariant.commands.main import main
from equivariant.losses import PRESETS
from equivariant.workflows.procedures import PROCEDURES


def test_every_preset_is_listed_once_and_explained(capsys, tmp_path):
    assert main(["losses"]) == 0
    presets, _, procedures = capsys.readouterr().out.partition("Procedures")
    listed = [line.split()[0] for line in presets.splitlines() if line[:2] == "  "]
    assert sorted(listed) == sorted(PRESETS)
    assert main(["losses", *PRESETS]) == 0
    told = capsys.readouterr().out
    for preset in PRESETS.values():
        assert preset.title in told
    page = tmp_path / "catalogue.html"
    assert main(["losses", "--out", str(page)]) == 0
    text = page.read_text()
    assert all(f"<td>{name}</td>" in text for name in PRESETS)
    assert "<script" not in text
    for procedure in PROCEDURES:
        assert ", ".join(procedure.names) in procedures
        assert ", ".join(procedure.names) in text


def test_procedures_are_where_the_catalogue_says():
    for procedure in PROCEDURES:
        room = importlib.import_module(procedure.room)
        assert all(name in room.__all__ for name in procedure.names), procedure
    names = [name for procedure in PROCEDURES for name in procedure.names]
    assert len(set(names)) == len(names)


def test_one_family_and_refusals(capsys):
    assert main(["losses", "--family", "softmax"]) == 0
    out = capsys.readouterr().out
    assert "dclw" in out
    assert "vicreg" not in out and "Procedures" not in out
    assert main(["losses", "nothing"]) == 1
    assert "dclw" in capsys.readouterr().err
    assert main(["losses", "dcl", "--out", "page.html"]) == 1


def test_a_reader_who_leaves_is_no_error():
    """As in ``equivariant losses | head -1``."""
    command = f"{sys.executable} -m equivariant.commands.main losses"
    script = f"{command} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert done.returncode in (0, 141)

"""Every legal construct is shown right, or refused by name; trimesh alone agrees where it can."""

import json
from pathlib import Path

import pytest

import benchmarks.meshes.table as table
from benchmarks.meshes.constructs import CONSTRUCTS
from benchmarks.meshes.readers import ours
from datasets3d.meshes.formats.mesh_warning import collected

REFUSED = {"glTF texture in KTX2 alone": "KTX2", "glTF unknown required extension": "KHR_next"}


@pytest.mark.parametrize("construct", CONSTRUCTS, ids=lambda construct: construct.name)
def test_constructs(construct):
    found, why = table.verdict(construct, "ours")
    if construct.name in REFUSED:
        assert found == "refused" and REFUSED[construct.name] in why
    else:
        assert (found, why) == ("right", "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["glTF texture", "OBJ continued lines", "OFF by lines", "NOFF"])
def test_two_readers_agree_on_plain_files(name):
    construct = next(c for c in CONSTRUCTS if c.name == name)
    assert table.verdict(construct, "trimesh") == ("right", "")


@pytest.mark.filterwarnings("ignore")
def test_the_table_tells_right_from_wrong():
    """Its twin: trimesh alone is known to read these otherwise."""
    for name in ("glTF wrapping: mirror", "OBJ concave polygon", "glTF sparse positions"):
        construct = next(c for c in CONSTRUCTS if c.name == name)
        found, why = table.verdict(construct, "trimesh")
        assert found == "wrong" and " for " in why


def test_stored_results_are_of_these_constructs():
    stored = json.loads(Path(table.OUT).read_text())["constructs"]
    assert list(stored) == [construct.name for construct in CONSTRUCTS]
    assert {row["ours"]["verdict"] for row in stored.values()} == {"right", "refused"}


def test_a_reader_that_warns_is_not_called_silent(tmp_path):
    construct = next(c for c in CONSTRUCTS if c.name == "OBJ texture: plain")
    path = construct.write(tmp_path)
    (tmp_path / "red.png").unlink()
    with collected():
        assert ours(path).notes


def test_readers_that_are_not_there_are_called_absent(monkeypatch):
    monkeypatch.delenv("PYTHON_WITH_BPY", raising=False)
    assert table.verdict(CONSTRUCTS[0], "Blender") == ("absent", "")
    assert table.version_of_blender() == "absent"
    for found in json.loads(Path(table.OUT).read_text())["constructs"].values():
        assert list(found) == list(table.READERS)
        assert "absent" not in {each["verdict"] for each in found.values()}

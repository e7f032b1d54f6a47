"""Folders of models whose files have any name."""

import zipfile

from datasets3d.meshes import MeshFolder

SQUARE = b"OFF\n4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"


def test_model_folders_whose_one_file_has_any_name(tmp_path):
    for name in (
        "car/a/mesh.off",
        "car/b/other.off",
        "car/b/red.png",
        "bus/c/c.off",
        "bus/d/x.off",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SQUARE)
    found = [(e.label, e.object_id, e.path) for e in MeshFolder(tmp_path).entries()]
    assert found == [
        ("bus", "c", "bus/c/c.off"), ("bus", "d", "bus/d/x.off"),
        ("car", "a", "car/a/mesh.off"), ("car", "b", "car/b/other.off"),
    ]  # fmt: skip
    (tmp_path / "car" / "b" / "another.off").write_bytes(SQUARE)  # which of them is the model?
    (tmp_path / "car" / "e").mkdir()
    (tmp_path / "car" / "e" / "e1.off").write_bytes(SQUARE)
    source = MeshFolder(tmp_path)
    assert [e.object_id for e in source.entries() if e.label == "car"] == ["a", "e"]
    assert "car/b/" in source.ignored()
    (tmp_path / "car" / "top.off").write_bytes(SQUARE)  # a class of files: folders are beside them
    assert [e.object_id for e in MeshFolder(tmp_path).entries() if e.label == "car"] == ["top"]


def test_an_archive_of_one_folder_of_classes_of_one_file(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("top/chair/one.off", "top/table/two.off"):
            archive.writestr(name, SQUARE)
    assert [(e.label, e.object_id) for e in MeshFolder(path).entries()] == [
        ("chair", "one"), ("table", "two")
    ]  # fmt: skip

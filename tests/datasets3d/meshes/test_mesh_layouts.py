"""Folders of models whose files have any name."""

import zipfile

import pytest

from datasets3d import BuildConfig, build
from datasets3d.meshes import MeshFolder
from equivariant.errors import DataFormatError

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


def test_models_of_a_class_count_in_all_splits_together(tmp_path):
    for name in ("train/car/a/x.off", "test/car/b/y.off", "train/bus/c/x.off", "train/bus/d/x.off"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(SQUARE)
    (tmp_path / "test" / "boat" / "e").mkdir(parents=True)
    (tmp_path / "test" / "boat" / "e" / "x.off").write_bytes(SQUARE)  # one alone is no class
    source = MeshFolder(tmp_path)
    assert [(e.label, e.object_id, e.split) for e in source.entries()] == [
        ("bus", "c", "train"), ("bus", "d", "train"), ("car", "a", "train"), ("car", "b", "val"),
    ]  # fmt: skip
    assert source.ignored() == ["test/boat/"]


@pytest.mark.parametrize("above", ["", "top/", "a/b/"])
def test_an_archive_of_models_of_any_name_has_the_objects_of_its_folder(tmp_path, above):
    names = ("car/a/x.off", "car/b/y.off", "bus/c/x.off", "bus/d/x.off")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(above + name, SQUARE)
    for name in names:
        (tmp_path / "m" / name).parent.mkdir(parents=True)
        (tmp_path / "m" / name).write_bytes(SQUARE)
    assert MeshFolder(path).entries() == MeshFolder(tmp_path / "m").entries()


def test_an_archive_without_an_object_is_named_itself(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme.txt", b"nothing else")
    with pytest.raises(DataFormatError, match=r"a\.zip: expected class folders") as caught:
        MeshFolder(path).entries()
    assert caught.value.argument == str(path)
    archive = MeshFolder(path, cache=tmp_path / "cache")
    with pytest.raises(DataFormatError, match=r"a\.zip: expected class folders"):
        archive.entries()


def test_a_build_of_meshes_that_cannot_be_read_ends_in_whole_sentences(tmp_path):
    for name in ("car/a.off", "car/b.off"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"no mesh")
    config = BuildConfig(views=1, size_px=8)
    with pytest.raises(DataFormatError, match=r"2 that cannot; the first: car/a\.off") as caught:
        build(MeshFolder(tmp_path / "m"), tmp_path / "d", config=config, workers=1, progress=False)
    assert ".." not in str(caught.value).replace(str(tmp_path), "")


def test_model_folders_in_the_splits_of_a_class(tmp_path):
    """One folder is enough where the folder of a split says that models follow."""
    for name in (
        "car/train/a/mesh.off", "car/train/b/b.off", "car/test/c/models/model_normalized.obj",
        "car/test/d/scene.gltf", "bus/train/e/x.off", "bus/train/f.off", "bus/test/g/y.off",
        "bus/test/h/two.off", "bus/test/h/files.off",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SQUARE)
    source = MeshFolder(tmp_path)
    assert [(e.label, e.object_id, e.split) for e in source.entries()] == [
        ("bus", "e", "train"), ("bus", "f", "train"), ("bus", "g", "val"),
        ("car", "a", "train"), ("car", "b", "train"), ("car", "c", "val"), ("car", "d", "val"),
    ]  # fmt: skip
    assert source.ignored() == ["bus/test/h/"]  # which of the two is the model?

"""Layouts, names and the cache of folders of mesh files."""

from __future__ import annotations

import errno
import os
import pickle
import re
import threading

import numpy as np
import pytest
from PIL import Image

from datasets3d import BuildConfig, build, estimate
from datasets3d.meshes import MeshFolder
from datasets3d.meshes.cache import MeshCache, content_key
from datasets3d.meshes.folders.names import safe_name
from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.layouts import ignored, scan
from equivariant.errors import DataFormatError, StorageError

SQUARE = "OFF4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"
OBJ = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3\nf 1 3 4\n"


def put(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(OBJ if path.endswith(".obj") else SQUARE)
    return root


def listing(root):
    return [(e.label, e.object_id, e.split, e.path) for e in MeshFolder(root).entries()]


def test_flat_classes(tmp_path):
    put(tmp_path, "chair/b.off", "chair/a.OBJ", "axe/c.off")
    assert listing(tmp_path) == [
        ("axe", "c", None, "axe/c.off"),
        ("chair", "a", None, "chair/a.OBJ"),
        ("chair", "b", None, "chair/b.off"),
    ]


def test_modelnet(tmp_path):
    put(tmp_path, "chair/train/chair_0001.off", "chair/test/chair_0890.off", "bed/val/bed_1.off")
    assert listing(tmp_path) == [
        ("bed", "bed_1", "val", "bed/val/bed_1.off"),
        ("chair", "chair_0001", "train", "chair/train/chair_0001.off"),
        ("chair", "chair_0890", "val", "chair/test/chair_0890.off"),
    ]


def test_splits_outside_classes(tmp_path):
    put(tmp_path, "train/chair/a.off", "test/chair/b.off")
    assert [(label, name, split) for label, name, split, _ in listing(tmp_path)] == [
        ("chair", "a", "train"),
        ("chair", "b", "val"),
    ]


def test_shapenet_of_both_versions(tmp_path):
    put(tmp_path, "02691156/10155655/models/model_normalized.obj", "03001627/1a2b/model.obj")
    put(tmp_path, "02691156/10155655/models/model_normalized.solid.off")
    assert listing(tmp_path) == [
        ("02691156", "10155655", None, "02691156/10155655/models/model_normalized.obj"),
        ("03001627", "1a2b", None, "03001627/1a2b/model.obj"),
    ]


def test_a_folder_per_model_that_has_its_name(tmp_path):
    put(tmp_path, "chair/a/a.off", "chair/b/other.off", "chair/b/b2.off", "chair/c.x/c.x.glb")
    assert listing(tmp_path) == [
        ("chair", "a", None, "chair/a/a.off"), ("chair", "c.x", None, "chair/c.x/c.x.glb"),
    ]  # fmt: skip
    assert ignored(tmp_path, scan(tmp_path)) == ["chair/b/"]


def test_shapenet_textures_lie_beside_the_models(tmp_path):
    put(tmp_path, "02691156/m/models/model_normalized.obj")
    model = tmp_path / "02691156" / "m"
    text = "mtllib model_normalized.mtl\nvt 0 0\nvt 1 0\nvt 1 1\nusemtl m\n" + OBJ
    text = text.replace("1 2 3", "1/1 2/2 3/3").replace("1 3 4", "1/1 3/2 4/3")
    (model / "models" / "model_normalized.obj").write_text(text)
    (model / "images").mkdir()
    for name in ("../images/t.png", "..\\images\\t.png", "../../../../../../t.png"):
        (model / "models" / "model_normalized.mtl").write_text(f"newmtl m\nKd 0 0 1\nmap_Kd {name}")
        Image.new("RGB", (2, 2), (9, 8, 7)).save(model / "images" / "t.png")
        source = MeshFolder(tmp_path, cache=tmp_path / ".cache")
        with collected() as notes:
            mesh = source.load(source.entries()[0])
        if "../../.." in name:
            assert len(notes) == 1
            assert np.all(mesh.face_colors == (0, 0, 255))
        else:
            assert np.all(mesh.texture == (9, 8, 7))


def test_what_is_ignored(tmp_path):
    put(tmp_path, "chair/a.off", ".hidden/a.off", "chair/.b.off", "chair/notes.txt")
    put(tmp_path, "original/pack/deep/a.off", "licences/cc0.txt", "loose.off", "__pycache__/x.pyc")
    assert listing(tmp_path) == [("chair", "a", None, "chair/a.off")]


def test_links_in_a_circle_are_ignored_by_name(tmp_path):
    put(tmp_path, "chair/a.off")
    for name in ("chair/b.off", "chair/c", "d", "e.off"):
        (tmp_path / name).symlink_to((tmp_path / name).name)
    (tmp_path / "chair" / "dead.off").symlink_to("nowhere")
    (tmp_path / "chair" / "up").symlink_to("..")
    assert listing(tmp_path) == [("chair", "a", None, "chair/a.off")]
    assert ignored(tmp_path, scan(tmp_path)) == [
        "chair/b.off", "chair/c", "chair/dead.off", "chair/up/", "d", "e.off",
    ]  # fmt: skip


def test_loose_files_alone_are_one_class(tmp_path):
    put(tmp_path / "my chairs", "a.off", "b.off")
    assert [(e[0], e[1]) for e in listing(tmp_path / "my chairs")] == [
        ("my_chairs", "a"),
        ("my_chairs", "b"),
    ]


def test_names_are_safe_and_unique_and_do_not_depend_on_order(tmp_path):
    put(tmp_path, "chair/a b.off", "chair/a_b.off", "chair/A_b.obj", "chair/c.off")
    put(tmp_path, "chair/train/c2.off", "chair/..off", "chair/é.off")
    names = [name for _, name, _, _ in listing(tmp_path)]
    assert len({name.lower() for name in names}) == len(names) == 6
    assert {"c", "c2", "é"} <= set(names)
    assert sum(name.lower().startswith("a_b-") for name in names) == 3
    (tmp_path / "chair" / "c.off").unlink()
    assert set(names) - {name for _, name, _, _ in listing(tmp_path)} == {"c"}


def test_classes_that_differ_in_case_alone(tmp_path):
    put(tmp_path, "Chair/a.off", "chair/a.off")
    labels = {label.lower() for label, *_ in listing(tmp_path)}
    if len({p.name for p in tmp_path.iterdir()}) == 2:
        assert len(labels) == 2


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.b-c_D9", "a.b-c_D9"),
        ("..", "__"),
        ("a/b", "a_b"),
        ("", "_"),
        ("ü ", "ü_"),
        ("u\u0308", "ü"),
        ("\udcff", "_"),
        ("कुर्सी", "कुर्सी"),
        ("🪑", "_"),
    ],
)
def test_safe_names(name, safe):
    assert safe_name(name) == safe


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataFormatError, match="nowhere"):
        MeshFolder(tmp_path / "nowhere").entries()
    (tmp_path / "hollow" / "chair").mkdir(parents=True)
    with pytest.raises(DataFormatError, match="hollow"):
        MeshFolder(tmp_path / "hollow").entries()
    (tmp_path / "file").touch()
    with pytest.raises(DataFormatError, match="file"):
        MeshFolder(tmp_path / "file").entries()


def same(a, b):
    for name in a.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None) or (x is not None and x.tobytes() != y.tobytes()):
            return False
        if x is not None and (x.dtype != y.dtype or x.shape != y.shape):
            return False
    return True


def textured_folder(root):
    put(root, "chair/a.obj")
    text = "mtllib a.mtl\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl m\n" + OBJ
    text = text.replace("1 2 3", "1/1 2/2 3/3").replace("1 3 4", "1/1 3/3 4/4")
    (root / "chair" / "a.obj").write_text(text)
    (root / "chair" / "a.mtl").write_text("newmtl m\nmap_Kd a.png\n")
    Image.new("RGB", (2, 2), (1, 2, 3)).save(root / "chair" / "a.png")
    return root


def test_a_hit_equals_a_miss(tmp_path):
    root, cache = textured_folder(tmp_path / "data"), tmp_path / "cache"
    put(root, "axe/a.off")
    source = MeshFolder(root, cache=cache)
    for entry in source.entries():
        plain = MeshFolder(root).load(entry)
        miss = source.load(entry)
        hit = pickle.loads(pickle.dumps(source)).load(entry)  # noqa: S301
        assert same(plain, miss)
        assert same(miss, hit)
    assert len(list(cache.rglob("*.npz"))) == 2
    assert not list(cache.rglob("*.part"))


def test_a_hit_does_not_convert(tmp_path, monkeypatch):
    root = put(tmp_path / "data", "axe/a.off")
    source = MeshFolder(root, cache=tmp_path / "cache")
    entry = source.entries()[0]
    source.load(entry)
    monkeypatch.setattr("datasets3d.meshes.folder.decode", None)
    source.load(entry)


def broken(data):
    half = len(data) // 2
    flipped = bytes([data[half] ^ 255])
    return [b"", b"rubbish", data[:half], data[:-30], data[:half] + flipped + data[half + 1 :]]


@pytest.mark.parametrize("case", range(5))
def test_a_corrupted_entry_is_rebuilt(tmp_path, case):
    root = put(tmp_path / "data", "axe/a.off")
    source = MeshFolder(root, cache=tmp_path / "cache")
    entry = source.entries()[0]
    first = source.load(entry)
    (file,) = (tmp_path / "cache").rglob("*.npz")
    good = file.read_bytes()
    file.write_bytes(broken(good)[case])
    assert same(source.load(entry), first)
    assert MeshCache(tmp_path / "cache").load(file.stem) is not None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_takes_no_more_is_no_fault_of_a_mesh(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "savez", refuse)
    source = MeshFolder(put(tmp_path / "data", "axe/a.off"), cache=tmp_path / "cache")
    config = BuildConfig(views=1, size_px=8)
    for call in (
        lambda: build(source, tmp_path / "out", config=config, workers=1, progress=False),
        lambda: estimate(source, config=config, workers=1),
    ):
        with pytest.raises(StorageError, match=re.escape(str(tmp_path / "cache"))):
            call()
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_pickle_in_the_cache_is_not_read(tmp_path):
    folder = tmp_path / "00"
    folder.mkdir()
    key = "00" + "a" * 62
    np.savez(folder / f"{key}.npz", vertices=np.array([object()], dtype=object))
    assert MeshCache(tmp_path).load(key) is None


def test_settings_contents_and_companions_are_in_the_key(tmp_path):
    root = textured_folder(tmp_path)
    path = root / "chair" / "a.obj"
    keys = {content_key(path, {"up": "y"}), content_key(path, {"up": "z"})}
    for name in ("a.png", "a.mtl", "a.obj"):
        file = root / "chair" / name
        file.write_bytes(file.read_bytes() + b"\n")
        keys.add(content_key(path, {"up": "y"}))
        if name != "a.obj":
            file.unlink()
            keys.add(content_key(path, {"up": "y"}))
            file.write_bytes(b"")
    assert len(keys) >= 6


def test_sources_with_other_settings_share_a_cache(tmp_path):
    root = put(tmp_path / "data", "axe/a.off")
    for settings in ({}, {"up": "z"}, {"scale": "sphere"}, {"crease_rad": 0.0}):
        source = MeshFolder(root, cache=tmp_path / "cache", **settings)
        plain = MeshFolder(root, **settings)
        entry = source.entries()[0]
        assert same(source.load(entry), plain.load(entry))
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 4


def test_a_bad_file_is_refused_with_a_cache_too(tmp_path):
    root = put(tmp_path / "data", "axe/a.off")
    source = MeshFolder(root, cache=tmp_path / "cache")
    entry = source.entries()[0]
    (root / "axe" / "a.off").write_text("OFF")
    with pytest.raises(DataFormatError, match=r"a\.off"):
        source.load(entry)
    (root / "axe" / "a.off").unlink()
    with pytest.raises(DataFormatError, match=r"a\.off"):
        source.load(entry)


def test_many_writers(tmp_path):
    root = put(tmp_path / "data", *(f"axe/{k}.off" for k in range(4)))
    source = MeshFolder(root, cache=tmp_path / "cache")
    entries, failures = source.entries(), []

    def work():
        try:
            for entry in entries:
                source.load(entry)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(list((tmp_path / "cache").rglob("*"))) <= 8


def test_describe_names_no_place_and_sees_changes(tmp_path):
    root = put(tmp_path / "data", "axe/a.off", "axe/b.off")
    described = MeshFolder(root).describe()
    assert described["objects"] == 2
    assert str(tmp_path) not in str(described)
    assert MeshFolder(root, up="z").describe() != described
    put(root, "axe/c.off")
    assert MeshFolder(root).describe()["listing_sha256"] != described["listing_sha256"]

"""What a mesh asks for and is not shown: warned of, in report and manifest, or refused."""

import base64
import json
import pickle
import warnings

import numpy as np
import pytest

from datasets3d import BuildConfig, build, verify
from datasets3d.meshes import MeshFolder, MeshWarning, Variants, read_mesh
from datasets3d.meshes.formats.mesh_warning import collected, warn
from datasets3d.meshes.layouts import ignored, scan
from datasets3d.views.schema import Manifest
from equivariant.commands.main import main
from equivariant.errors import DataFormatError

PLAIN = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n"
TEXTURED = "mtllib a.mtl\nvt 0 0\n" + PLAIN.replace("f", "usemtl m\nf", 1)
CONFIG = BuildConfig(views=2, size_px=16, samples_per_side=1)


@pytest.fixture
def folder(tmp_path):
    """One object without a fault and one whose texture is missing."""
    root = tmp_path / "meshes"
    (root / "chair").mkdir(parents=True)
    (root / "chair" / "good.obj").write_text(PLAIN)
    (root / "chair" / "poor.obj").write_text(TEXTURED)
    (root / "chair" / "a.mtl").write_text("newmtl m\nKd 1 0 0\nmap_Kd wood.png\n")
    return root


def quiet(source, out, **options):
    return build(source, out, **{"config": CONFIG, "workers": 1, "progress": False, **options})


NOTE = "texture 'wood.png' was not found: the material's color is shown"


def test_a_build_names_what_is_not_shown(folder, tmp_path):
    (folder / "all.zip").touch()
    (folder / "chair" / "b.fbx").touch()
    report = quiet(MeshFolder(folder), tmp_path / "set")
    manifest = Manifest.read(tmp_path / "set")
    assert report.warnings == manifest.warnings == {"chair/poor": [NOTE]}
    assert report.ignored == ["all.zip", "chair/b.fbx"]
    assert manifest.ignored == {"count": 2, "first": ["all.zip", "chair/b.fbx"]}
    assert verify(tmp_path / "set") == [] and not report.failed


@pytest.mark.parametrize("contents", [b"", b"garbage"])
def test_textures_that_are_no_pictures(folder, contents):
    (folder / "chair" / "wood.png").write_bytes(contents)
    with pytest.warns(MeshWarning, match="'wood.png' is no picture"):
        read_mesh(folder / "chair" / "poor.obj")
    with pytest.raises(DataFormatError, match="is no picture"):
        read_mesh(folder / "chair" / "poor.obj", strict=True)


def test_builds_with_a_cache_and_resumed_ones_say_the_same(folder, tmp_path):
    plain = quiet(MeshFolder(folder), tmp_path / "plain")
    for name in ("first", "second", "first"):  # filled; from the cache; complete already
        source = pickle.loads(pickle.dumps(MeshFolder(folder, cache=tmp_path / "cache")))  # noqa: S301
        assert quiet(source, tmp_path / name).warnings == plain.warnings
        written = (tmp_path / name / "manifest.json").read_bytes()
        assert written == (tmp_path / "plain" / "manifest.json").read_bytes()


def test_every_variant_has_the_warnings_of_its_original(folder, tmp_path):
    report = quiet(Variants(MeshFolder(folder), count=2), tmp_path / "set")
    assert report.warnings == {"chair/poor-v00": [NOTE], "chair/poor-v01": [NOTE]}


def test_strict_sets_the_object_aside(folder, tmp_path):
    report = quiet(MeshFolder(folder, strict=True), tmp_path / "set")
    assert report.objects == 1 and report.warnings == {}
    assert NOTE in report.failed["chair/poor"]
    assert "strict" in json.loads((tmp_path / "set" / "plan.json").read_text())["source"]


def test_one_mesh_warns_or_is_refused(folder):
    with pytest.warns(MeshWarning, match=r"poor\.obj: texture 'wood\.png'"):
        read_mesh(folder / "chair" / "poor.obj")
    with pytest.raises(DataFormatError, match=r"wood\.png"):
        read_mesh(folder / "chair" / "poor.obj", strict=True)
    with warnings.catch_warnings(), pytest.raises(MeshWarning):
        warnings.simplefilter("error")
        read_mesh(folder / "chair" / "poor.obj")


def test_notes_are_collected_once_each_and_other_warnings_pass():
    with pytest.warns(RuntimeWarning, match="other"), collected() as notes:
        warn(["a", "b", "a"], "x.obj")
        import warnings  # noqa: PLC0415

        warnings.warn("other", RuntimeWarning, stacklevel=1)
    assert notes == ["a", "b"]
    twin = pickle.loads(pickle.dumps(MeshWarning("a", "x.obj")))  # noqa: S301
    assert str(twin) == "x.obj: a"


@pytest.mark.parametrize(
    ("material", "body", "words"),
    [
        ("newmtl m\nd 0.5\n", TEXTURED, ["transparency is ignored"]),
        ("newmtl m\nTr 0.5\nmap_d a.png\n", TEXTURED, [
            "transparency is ignored", "texture 'a.png' was not found: transparency is ignored"
        ]),
        ("newmtl m\nd 1.0\nTr 0\n", TEXTURED, []),
        ("newmtl other\nd 0.5\nmap_Kd no.png\nnewmtl m\n", TEXTURED, []),
        ("newmtl n\n", TEXTURED, ["materials that no library defines are grey: m"]),
        ("newmtl m\n", TEXTURED + "l 1 2\np 1\n", ["curves, surfaces, lines and points are left "
                                                    "out: l, p"]),
    ],
)  # fmt: skip
def test_what_an_obj_asks_for(folder, material, body, words):
    (folder / "chair" / "a.mtl").write_text(material)
    (folder / "chair" / "poor.obj").write_text(body)
    with collected() as notes:
        read_mesh(folder / "chair" / "poor.obj")
    assert notes == words


def test_what_the_scan_ignores_is_named(tmp_path):
    names = [
        "chair/a.obj", "chair/a.mtl", "chair/tex/wood.PNG", "chair/deep/er/b.obj", "chair/.c.obj",
        "lamp/m/models/model_normalized.obj", "lamp/m/models/model_normalized.solid.binvox",
        "lamp/m/images/a.jpg", "empty/read.me", "a.zip", "x/scene.dae",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "nothing").mkdir()
    assert ignored(tmp_path, scan(tmp_path)) == [
        "a.zip", "chair/.c.obj", "chair/deep/", "empty/",
        "lamp/m/models/model_normalized.solid.binvox", "nothing/", "x/",
    ]  # fmt: skip


def test_painted_vertices_beside_materials_are_said(folder):
    (folder / "chair" / "a.mtl").write_text("newmtl m\nKd 1 0 0\n")
    text = TEXTURED.replace("v 0 0 0", "v 0 0 0 1 0 0")
    (folder / "chair" / "poor.obj").write_text(text)
    with pytest.warns(MeshWarning, match="colors of vertices beside materials"):
        read_mesh(folder / "chair" / "poor.obj")


def test_further_textures_of_a_ply_and_missing_ones_are_said(tmp_path):
    head = "ply\nformat ascii 1.0\ncomment TextureFile a.png\ncomment TextureFile b.png\n"
    points = "property float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    rows = "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    (tmp_path / "a.ply").write_text(f"{head}element vertex 3\n{points}{faces}{rows}")
    with collected() as notes:
        read_mesh(tmp_path / "a.ply")
    assert notes == [
        "only the first of a PLY's textures is shown",
        "texture 'a.png' was not found: grey is shown",
    ]


OUTSIDE = "points outside of the mesh's folder and is not read"


@pytest.mark.parametrize("name", ["../../wood.png", "..\\..\\wood.png", "/wood.png"])
def test_textures_elsewhere_are_called_so(folder, name):
    (folder / "chair" / "a.mtl").write_text(f"newmtl m\nKd 1 0 0\nmap_Kd {name}\n")
    with collected() as notes:
        read_mesh(folder / "chair" / "poor.obj")
    assert notes == [f"texture {name!r} {OUTSIDE}: the material's color is shown"]
    (folder / "chair" / "wood.png").touch()  # a file of this name in the folder is taken
    with collected() as notes:
        read_mesh(folder / "chair" / "poor.obj")
    assert notes == ["texture 'wood.png' is no picture: the material's color is shown"] or (
        notes == [f"texture {name!r} is no picture: the material's color is shown"]
    )


def test_libraries_buffers_and_other_formats_elsewhere(folder):
    (folder / "chair" / "poor.obj").write_text(TEXTURED.replace("a.mtl", "../../other.mtl"))
    with collected() as notes:
        read_mesh(folder / "chair" / "poor.obj")
    assert f"material library '../../other.mtl' {OUTSIDE}: its materials are grey" in notes
    head = "ply\nformat ascii 1.0\ncomment TextureFile ../../b.png\nelement vertex 3\n"
    points = "property float x\nproperty float y\nproperty float z\nelement face 1\n"
    faces = "property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    (folder / "chair" / "b.ply").write_text(head + points + faces)
    with collected() as notes:
        read_mesh(folder / "chair" / "b.ply")
    assert notes == [f"texture '../../b.png' {OUTSIDE}: grey is shown"]
    document = {
        "asset": {"version": "2.0"}, "buffers": [{"uri": "../../x.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }  # fmt: skip
    (folder / "chair" / "c.gltf").write_text(json.dumps(document))
    with pytest.raises(DataFormatError, match=r"x\.bin' points outside"):
        read_mesh(folder / "chair" / "c.gltf")


def test_textures_of_gltf_elsewhere(folder):
    data = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    inline = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    document = {
        "asset": {"version": "2.0"}, "buffers": [{"uri": inline, "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "images": [{"uri": "../../wood.png"}], "textures": [{"source": 0}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}],
    }  # fmt: skip
    (folder / "chair" / "d.gltf").write_text(json.dumps(document))
    with collected() as notes:
        read_mesh(folder / "chair" / "d.gltf")
    assert f"texture '../../wood.png' {OUTSIDE}: the material's color is shown" in notes


def test_folders_called_like_splits_that_are_classes_are_said(tmp_path, capsys):
    for name in ("train/a.obj", "test/b.obj"):
        (tmp_path / "m" / name).parent.mkdir(parents=True)
        (tmp_path / "m" / name).write_text(PLAIN)
    words = ["build", str(tmp_path / "set"), "--meshes", str(tmp_path / "m"), "--views", "1",
             "--size", "16", "--workers", "1", "--object-seconds", "0"]  # fmt: skip
    for extra in (["--dry-run"], []):
        assert main([*words, *extra]) == 0
        assert "note: test, train hold meshes themselves" in capsys.readouterr().out
    for name in ("train", "test"):
        (tmp_path / "n" / name / "chair").mkdir(parents=True)
        (tmp_path / "n" / name / "chair" / f"{name}.obj").write_text(PLAIN)
    assert MeshFolder(tmp_path / "n").remarks() == []
    (tmp_path / "m" / "test" / "b.obj").unlink()
    (said,) = Variants(MeshFolder(tmp_path / "m"), count=2).remarks()
    assert said.startswith("train holds meshes itself and is a class of this name")


def test_strict_ends_with_status_one_and_counts(folder, tmp_path, capsys):
    words = ["build", str(tmp_path / "set"), "--meshes", str(folder), "--views", "1",
             "--size", "16", "--workers", "1", "--object-seconds", "0"]  # fmt: skip
    assert main([*words, "--strict"]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "kept 1 of 2 objects"
    assert (
        "--strict: expected meshes that are shown as their files say, got 1 set aside" in said.err
    )
    assert verify(tmp_path / "set") == []
    (folder / "chair" / "poor.obj").write_text("rubbish")
    words[1] = str(tmp_path / "loose")
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "kept 1 of 2 objects"
    (folder / "chair" / "poor.obj").unlink()
    assert main([*words[:1], str(tmp_path / "fine"), *words[2:], "--strict"]) == 0

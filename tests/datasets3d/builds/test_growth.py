"""Sets that grow: more objects, more views, the bytes of a set built at once."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from building import SMALL, TWO, bytes_of

from datasets3d import ArticulatedMeshes, BuildConfig, ProceduralMeshes, build, estimate, verify
from datasets3d.meshes import MeshFolder, Variants
from datasets3d.views.upkeep.growth import begin_to_grow
from equivariant.commands.main import main
from equivariant.errors import ConventionError
from renderers.embree import EmbreeRenderer

MORE = ProceduralMeshes(instances=3, classes=["chair", "dog", "truck"], val_fraction=0.5)
LONGER = replace(SMALL, views=4)


def made(source, out, **options):
    return build(source, out, **{"config": SMALL, "workers": 1, "progress": False, **options})


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("large") / "set"
    made(MORE, root, config=LONGER)
    return root


@pytest.fixture
def renderings(monkeypatch):
    """Counts views."""
    original, calls = EmbreeRenderer.render_rgb_and_mask, []

    def counted(self, scene, size_px):
        calls.append(size_px)
        return original(self, scene, size_px)

    monkeypatch.setattr(EmbreeRenderer, "render_rgb_and_mask", counted)
    return calls


def test_a_set_grows_to_the_bytes_of_one_built_at_once(small, at_once, renderings):
    report = made(MORE, small, config=LONGER, add=True)
    assert report.rendered == len(renderings) == 9 * 4 - 4 * 2, "what is there stays"
    assert bytes_of(small) == bytes_of(at_once)
    assert made(MORE, small, config=LONGER, add=True).rendered == 0


def test_foreign_files_of_objects_stay_when_a_set_grows(small, at_once, renderings):
    folder = small / "chair" / "chair-000000"
    (folder / "notes.txt").write_text("mine")
    (folder / "masks").mkdir()
    (folder / "masks" / "0.png").write_bytes(b"mine, too")
    (folder / "link").symlink_to("nowhere")
    report = made(MORE, small, config=LONGER, add=True)
    assert report.rendered == len(renderings) == 9 * 4 - 4 * 2, "they cost no view"
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "masks" / "0.png").read_bytes() == b"mine, too"
    assert (folder / "link").is_symlink()
    assert len(verify(small)) == 3
    shutil.rmtree(folder / "masks")
    (folder / "notes.txt").unlink()
    (folder / "link").unlink()
    assert bytes_of(small) == bytes_of(at_once)


@pytest.mark.parametrize("moment", ["at once", "half", "without notes"])
def test_growth_that_was_interrupted_goes_on(small, at_once, moment):
    begin_to_grow(MORE, small, LONGER, MORE.entries())
    if moment == "half":
        made(MORE, small, config=LONGER, shard=0, num_shards=2)
    if moment == "without notes":
        shutil.rmtree(small / ".notes")
    made(MORE, small, config=LONGER)
    assert bytes_of(small) == bytes_of(at_once)


def test_damaged_objects_are_not_grown_but_made_anew(small, at_once):
    image = small / "truck" / "truck-000001" / "image_0.jpg"
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    made(MORE, small, config=LONGER, add=True)
    assert bytes_of(small) == bytes_of(at_once)


@pytest.mark.parametrize(
    ("source", "change", "says"),
    [
        (MORE, {"views": 1}, "at least 2 views"),
        (ProceduralMeshes(instances=9, classes=["chair"], val_fraction=0.5), {}, "without 2"),
        (MORE, {"size_px": 17}, "config.size_px: 17 instead of 16"),
        (ProceduralMeshes(instances=3, seed=1, val_fraction=0.5), {}, "source.seed"),
    ],
)
def test_what_is_no_growth_is_refused(small, built_once, source, change, says):
    with pytest.raises(ConventionError, match=says):
        made(source, small, config=replace(SMALL, **change), add=True)
    assert bytes_of(small) == bytes_of(built_once)


def test_without_add_growth_is_refused_and_named(small):
    with pytest.raises(ConventionError, match="add=True"):
        made(MORE, small)
    with pytest.raises(ConventionError, match=r"config\.views: 1 instead of 2") as caught:
        made(TWO, small, config=replace(SMALL, views=1))
    assert "add=True" not in str(caught.value), "fewer views are no growth"


def test_a_dry_run_says_that_there_is_no_room(tmp_path, monkeypatch):
    assert estimate(TWO, config=SMALL, workers=1, out=tmp_path / "a" / "b").remarks == []
    monkeypatch.setattr("shutil.disk_usage", lambda place: shutil._ntuple_diskusage(9, 8, 1))
    (said,) = estimate(TWO, config=SMALL, workers=1, out=tmp_path / "a" / "b").remarks
    assert said.startswith("there is less room, 1 bytes, than ")


def test_folders_grow(tmp_path, meshes):
    out = tmp_path / "out"
    made(MeshFolder(meshes), out)
    shutil.copytree(meshes / "a", meshes / "z")
    made(MeshFolder(meshes), out, add=True)
    made(MeshFolder(meshes), tmp_path / "at once")
    assert bytes_of(out) == bytes_of(tmp_path / "at once")
    (meshes / "a" / "one.mtl").write_text("newmtl red\nKd 0 0 1\n")
    shutil.copytree(meshes / "a", meshes / "y")
    with pytest.raises(ConventionError, match="changed since: a/one"):
        made(MeshFolder(meshes), out, add=True)
    assert bytes_of(out) == bytes_of(tmp_path / "at once"), "a set that is refused is as it was"


def test_variants_and_joints_grow(tmp_path):
    small, large = (Variants(TWO, count=count, seed=3) for count in (1, 2))
    made(small, tmp_path / "v")
    made(large, tmp_path / "v", add=True)
    made(large, tmp_path / "w")
    assert bytes_of(tmp_path / "v") == bytes_of(tmp_path / "w")
    few, many = (ArticulatedMeshes(instances=count, classes=["laptop"]) for count in (1, 2))
    made(few, tmp_path / "j")
    made(many, tmp_path / "j", config=LONGER, add=True)
    assert verify(tmp_path / "j") == []
    with pytest.raises(ConventionError, match=r"source\.joints"):  # latents would be longer
        made(ArticulatedMeshes(instances=2, classes=["laptop", "robot_arm"]), tmp_path / "j",
             config=LONGER, add=True)  # fmt: skip


def test_a_dry_run_says_what_is_left(small, built_once):
    found = estimate(MORE, config=LONGER, workers=1, out=small, add=True)
    assert (found.objects, found.images) == (9, 28)
    assert found.bytes > 0
    done = estimate(TWO, config=SMALL, workers=1, out=small)
    assert (done.objects, done.images, done.bytes) == (0, 0, 0)
    with pytest.raises(ConventionError, match="add=True"):
        estimate(MORE, config=SMALL, workers=1, out=small)
    assert bytes_of(small) == bytes_of(built_once)


def test_the_command_takes_the_settings_of_the_set(tmp_path, capsys):
    out = tmp_path / "set"
    words = ["build", str(out), "--workers", "1", "--object-seconds", "0"]
    options = ["--size", "16", "--rotation", "haar", "--quality", "90", "--seed", "5"]
    assert main([*words, "--instances", "1", "--views", "1", *options]) == 0
    assert main([*words, "--add", "--views", "2", "--dry-run"]) == 0
    assert "16 objects, 16 images to render" in capsys.readouterr().out
    assert main([*words, "--add", "--views", "2"]) == 0
    assert "(16 rendered" in capsys.readouterr().out
    config = BuildConfig(
        views=2, size_px=16, quality=90, seed=5, law=replace(SMALL.law, rotation="haar")
    )
    made(ProceduralMeshes(instances=1, seed=5), tmp_path / "at once", config=config)
    assert bytes_of(out) == bytes_of(tmp_path / "at once")


def test_the_command_lets_nothing_grow_where_no_set_is(tmp_path, capsys):
    """A slip in the path would start a large set of procedural objects."""
    for further in ([], ["--dry-run"]):
        assert main(["build", str(tmp_path / "sett"), "--add", "--views", "2", *further]) == 1
        assert "expected a data set that is to grow" in capsys.readouterr().err
    assert not (tmp_path / "sett").exists()

"""Builds go on when a process dies, and say what they are made of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets3d import BuildConfig, ProceduralMeshes, ViewLaw, build, verify
from datasets3d.meshes import MeshEntry, MeshSource
from datasets3d.views.schema import COLUMNS, Manifest
from datasets3d.views.splits import split_of
from datasets3d.views.work import reason_of
from equivariant.errors import ConventionError, DataFormatError
from renderers import Mesh, Scene
from renderers.embree import EmbreeRenderer

CONFIG = BuildConfig(views=16, size_px=16, samples_per_side=1)


class Deadly(MeshSource):
    """Procedural objects, some of which kill the process that loads them, raise, or wait."""

    def __init__(self, deadly: tuple[str, ...] = (), strange: tuple[str, ...] = ()) -> None:
        self._inner = ProceduralMeshes(instances=6, classes=["dog", "lamp"])
        self._deadly, self._strange = deadly, strange

    def entries(self) -> list[MeshEntry]:
        return self._inner.entries()

    def load(self, entry: MeshEntry) -> Mesh:
        if entry.object_id in self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if entry.object_id in self._strange:
            raise ZeroDivisionError("in /home/someone/meshes/file.obj")
        return self._inner.load(entry)

    def describe(self) -> dict[str, str | int | float | bool]:
        return self._inner.describe()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "out"
    build(Deadly(), root, config=CONFIG, workers=1, progress=False)
    return root


@pytest.mark.slow
def test_objects_that_kill_their_process_are_set_aside_alone(tmp_path, whole):
    source = Deadly(deadly=("dog-000003", "lamp-000005"), strange=("lamp-000000",))
    report = build(source, tmp_path, config=CONFIG, workers=2, progress=False)
    assert sorted(report.failed) == ["dog/dog-000003", "lamp/lamp-000000", "lamp/lamp-000005"]
    assert "died" in report.failed["dog/dog-000003"]
    assert report.failed["lamp/lamp-000000"] == "ZeroDivisionError: in file.obj"
    assert report.objects == 9 and verify(tmp_path) == []
    for folder in tmp_path.glob("*/*-00000?"):
        for path in folder.iterdir():
            assert path.read_bytes() == (whole / path.relative_to(tmp_path)).read_bytes()
    assert build(Deadly(), tmp_path, config=CONFIG, workers=1, progress=False).rendered == 3 * 16
    one, other = (json.loads((root / "manifest.json").read_text()) for root in (tmp_path, whole))
    assert one == other, "repaired objects join as if they had never failed"


SCRIPT = """
import sys
from datasets3d import BuildConfig, ProceduralMeshes, build
sys.modules["torch"] = None  # as if importing it took forever: workers must not read this script
class Mine(ProceduralMeshes):
    pass
source = {source}(instances=2, classes=["dog"])
report = build(source, sys.argv[1], config=BuildConfig(views=2, size_px=16), workers=2,
               progress=False)
print(report.objects)
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["ProceduralMeshes", "Mine"])
def test_a_script_without_a_guard_is_told_where_its_workers_must_read_it(tmp_path, source):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(source=source))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out")],
        env=environment, capture_output=True, timeout=300,
    )  # fmt: skip
    if source == "ProceduralMeshes":
        assert (run.returncode, run.stdout.strip()) == (0, b"2"), run.stderr
    else:
        assert run.returncode == 1 and b"__name__" in run.stderr.splitlines()[-1]


def test_manifest_spells_units_ranges_and_conventions(whole):
    manifest = Manifest.read(whole)
    columns = manifest.latent_columns
    assert [column["name"] for column in columns] == [column.name for column in COLUMNS]
    latents = np.stack([np.load(p) for p in sorted(whole.glob("*/*/latent_*.npy"))])
    for values, column in zip(latents.T, columns, strict=True):
        low, high = column["range"]
        assert low <= values.min() < values.max() <= high
    assert "Rz(c) Ry(b) Rx(a)" in manifest.conventions["rotation"]
    assert set(manifest.files) == {
        "train_images.npy", "train_labels.npy", "val_images.npy", "val_labels.npy",
        "val_pairs.npy", "contact_sheet.png", "plan.json",
    }  # fmt: skip
    assert manifest.versions["numpy"] == np.__version__


@pytest.mark.parametrize("text", ['{"format_version": 2}', '{"format_version": 1}', "[1]", "{"])
def test_foreign_manifests_are_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataFormatError, match=r"manifest\.json"):
        Manifest.read(tmp_path)


def test_verify_looks_at_lists_and_strangers(tmp_path):
    build(Deadly(), tmp_path, config=CONFIG, workers=1, progress=False)
    labels = np.load(tmp_path / "train_labels.npy")
    np.save(tmp_path / "train_labels.npy", labels[::-1])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "contact_sheet.png").unlink()
    assert verify(str(tmp_path)) == [
        "contact_sheet.png is missing",
        "train_labels.npy is damaged",
        "notes.txt is not in the manifest",
    ]


def test_other_versions_of_pixel_packages_are_refused(tmp_path):
    build(Deadly(), tmp_path, config=CONFIG, workers=1, progress=False)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["versions"]["embreex"] = "0.1"
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ConventionError, match=r"versions\.embreex"):
        build(Deadly(), tmp_path, config=CONFIG, workers=1, progress=False)


class Named(Deadly):
    """Objects of given names."""

    def __init__(self, *names: tuple[str, str]) -> None:
        super().__init__()
        self._names = names

    def entries(self) -> list[MeshEntry]:
        return [MeshEntry(label, object_id, None, "x") for label, object_id in self._names]


@pytest.mark.parametrize(
    "names",
    [[("a", "../b")], [("..", "b")], [("a", ".b")], [("a", "")], [("a", "b"), ("a", "b")], []],
)
def test_names_that_are_no_folders_are_refused(tmp_path, names):
    with pytest.raises(DataFormatError, match="source"):
        build(Named(*names), tmp_path / "out", config=CONFIG, workers=1, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_renderer_that_fails_on_one_object(tmp_path, monkeypatch):
    original, count = EmbreeRenderer.render_rgb_and_mask, Counter[str]()

    def broken(self: EmbreeRenderer, scene: Scene, size_px: int):
        count["calls"] += 1
        if count["calls"] == 20:
            raise FloatingPointError("no light")
        return original(self, scene, size_px)

    monkeypatch.setattr(EmbreeRenderer, "render_rgb_and_mask", broken)
    report = build(Deadly(), tmp_path, config=CONFIG, workers=1, progress=False)
    assert report.failed == {"dog/dog-000001": "FloatingPointError: no light"}
    assert report.objects == 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.obj: bad", "a.obj: bad"),
        ("/data/me/dog/a.obj: bad 1/2", "dog/a.obj: bad 1/2"),
        ("../x/dog/a.obj: bad", "dog/a.obj: bad"),
        ("in '/tmp/other.mtl', or so", "in 'other.mtl', or so"),
    ],
)
def test_reasons_name_no_folders(text, expected):
    entry = MeshEntry("dog", "a", None, "dog/a.obj")
    assert reason_of(ValueError(text), entry) == f"ValueError: {expected}"
    assert reason_of(ValueError(f"{text} <io at 0x7f09AB>"), entry).endswith("<io>")


def test_splits_by_id_keep_a_mesh_on_one_side():
    sides = {"object": set(), "id": set()}
    for by, found in sides.items():
        for k in range(200):
            pair = [
                split_of(MeshEntry(label, f"{k}", None, ""), val_fraction=0.5, seed=0, by=by)
                for label in ("phone", "telephone")
            ]
            found.add(pair[0] == pair[1])
    assert sides == {"object": {True, False}, "id": {True}}


@pytest.mark.parametrize("rotation", ["box", "vertical", "haar", "cone"])
def test_ranges_hold_what_is_drawn(rotation):
    law = ViewLaw(rotation=rotation, angle_max_rad=0.7)
    latents = np.stack([law.sample(1, "a/b", view=k) for k in range(500)])
    low, high = np.array(law.ranges()).T
    assert (latents >= low - 1e-12).all() and (latents <= high + 1e-12).all()

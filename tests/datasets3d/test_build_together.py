"""Builds of one folder: two at once, other laws, and places that are no folders."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from datasets3d import BuildConfig, ProceduralMeshes, ViewLaw, build, verify
from datasets3d.views.upkeep.folder_lock import folder_lock
from equivariant.errors import ConventionError, StorageError
from renderers.scene import Camera

CONFIG = BuildConfig(views=2, size_px=8, samples_per_side=1)
SOURCE = ProceduralMeshes(instances=2, classes=["truck", "chair"])


def _build(out, start, results):
    start.wait()
    try:
        report = build(SOURCE, out, config=CONFIG, workers=1, progress=False)
        results.put((report.objects, report.rendered))
    except BaseException as error:
        results.put(repr(error))


def test_builds_started_together_render_once_and_none_dies(tmp_path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(3), context.Queue()
    out = tmp_path / "out"
    processes = [context.Process(target=_build, args=(out, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(found) == [(4, 0), (4, 0), (4, 8)]
    assert verify(out) == []
    assert not list(out.glob(".*"))  # the lock is no file


def test_shards_share_a_lock_and_the_whole_waits_for_it(tmp_path, capsys):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    process = context.Process(target=_build, args=(tmp_path, start, results))
    process.start()  # before the lock: a child would hold its parent's
    with folder_lock(tmp_path, shared=True, progress=True):
        with folder_lock(tmp_path, shared=True, progress=True):
            pass
        assert capsys.readouterr().err == ""
        start.wait()
        process.join(0.5)
        assert process.is_alive()
    assert results.get(timeout=60) == (4, 8)
    process.join()


def test_a_file_in_the_folders_place_is_said(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="folder"):
        build(SOURCE, tmp_path / "out", config=CONFIG, workers=1, progress=False)


class Near(ViewLaw):
    """Seen from nearer by."""

    def scene(self, mesh, latent):
        return replace(super().scene(mesh, latent), camera=Camera(position=(0.0, 1.2, 1.2)))


class Nine(ViewLaw):
    """Two numbers too many."""

    def sample(self, dataset_seed, object_key, *, view):
        return np.r_[super().sample(dataset_seed, object_key, view=view), 0.5, 0.5]


def test_the_class_of_a_law_is_part_of_the_plan(tmp_path):
    near = replace(CONFIG, law=Near())
    build(SOURCE, tmp_path / "out", config=near, workers=1, progress=False)
    build(SOURCE, tmp_path / "out", config=near, workers=1, progress=False)
    with pytest.raises(ConventionError, match=r"law\.class: None instead of .*Near"):
        build(SOURCE, tmp_path / "out", config=CONFIG, workers=1, progress=False)


def test_laws_of_other_columns_are_refused(tmp_path):
    with pytest.raises(ConventionError, match="draws 7 numbers"):
        build(SOURCE, tmp_path / "out", config=replace(CONFIG, law=Nine()), workers=1)
    assert not (tmp_path / "out").exists()


class Tilted(ViewLaw):
    """Keeps a number that is no field."""

    def __init__(self, tilt):
        super().__init__()
        object.__setattr__(self, "tilt", np.array([tilt]))


def test_what_a_law_keeps_is_part_of_the_plan(tmp_path):
    build(SOURCE, tmp_path, config=replace(CONFIG, law=Tilted(1.0)), workers=1, progress=False)
    build(SOURCE, tmp_path, config=replace(CONFIG, law=Tilted(1.0)), workers=1, progress=False)
    with pytest.raises(ConventionError, match=r"law\.sha256"):
        build(SOURCE, tmp_path, config=replace(CONFIG, law=Tilted(2.0)), workers=1, progress=False)

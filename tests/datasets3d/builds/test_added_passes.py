"""Passes that are added to a set: the bytes of one built with them, pictures compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from building import SMALL, TWO, bytes_of, quiet

from datasets3d import (
    ArticulatedMeshes,
    FurtherLights,
    ProceduralMeshes,
    SceneMeshes,
    ViewLaw,
    estimate,
    read_pass,
    repair,
    verify,
)
from datasets3d.views import work
from datasets3d.views.storage import jpeg_bytes
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from renderers.embree import EmbreeRenderer

PASSES = replace(SMALL, passes=("depth", "mask"))


@pytest.fixture(scope="module")
def with_passes(tmp_path_factory):
    root = tmp_path_factory.mktemp("passes") / "set"
    quiet(TWO, root, config=PASSES)
    return root


def test_a_set_that_gains_passes_is_one_built_with_them(small, with_passes):
    report = quiet(TWO, small, config=PASSES, add=True)
    assert report.rendered == 8 and bytes_of(small) == bytes_of(with_passes)
    assert verify(small) == []
    assert read_pass(small, "chair/chair-000000", 1, "mask").any()
    assert quiet(TWO, small, config=PASSES).rendered == 0
    (small / "chair" / "chair-000001" / "depth_1.npz").unlink()
    assert repair(small, workers=1).left == [] and bytes_of(small) == bytes_of(with_passes)


def test_passes_come_one_after_the_other_and_with_views_and_objects(small, tmp_path):
    quiet(TWO, small, config=replace(SMALL, passes=("mask",)), add=True)
    more = ProceduralMeshes(instances=3, classes=["chair", "truck"], val_fraction=0.5)
    config = replace(SMALL, passes=("rgba", "mask", "shadows"), views=3)
    quiet(more, small, config=config, add=True)
    quiet(more, tmp_path / "at once", config=config)
    assert bytes_of(small) == bytes_of(tmp_path / "at once")


@pytest.mark.parametrize(
    ("source", "passes", "law"),
    [
        (ArticulatedMeshes(instances=1, classes=["door"]), ("parts",), ViewLaw()),
        (SceneMeshes(TWO, scenes=2, objects=2), ("depth", "silhouettes"), ViewLaw()),
        (TWO, ("shadows",), ViewLaw(factors=(FurtherLights(1),))),
    ],
    ids=["articulated", "scenes", "lights"],
)
def test_sets_of_every_kind_gain_passes(source, passes, law, tmp_path):
    config = replace(SMALL, law=law)
    quiet(source, tmp_path / "set", config=config)
    quiet(source, tmp_path / "set", config=replace(config, passes=passes), add=True)
    quiet(source, tmp_path / "at once", config=replace(config, passes=passes))
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "at once")


class Stopped(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("after", range(5))
def test_an_addition_that_is_stopped_goes_on_without_add(after, small, with_passes, monkeypatch):
    done, write = 0, work.write_folder

    def counted(*args, **options):
        nonlocal done
        if done == after:
            raise Stopped
        done += 1
        return write(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(work, "write_folder", counted)
        try:
            quiet(TWO, small, config=PASSES, add=True)
        except Stopped:
            assert not (small / "manifest.json").exists()
            assert len(list(small.glob("*/*/image_1.jpg"))) == 4, "nothing is lost"
    report = quiet(TWO, small, config=PASSES)
    assert report.rendered == 2 * (4 - after) and bytes_of(small) == bytes_of(with_passes)


def test_without_add_and_with_fewer_passes_it_is_refused(small, with_passes, tmp_path):
    before = bytes_of(small)
    with pytest.raises(ConventionError, match="--add"):
        quiet(TWO, small, config=PASSES)
    assert bytes_of(small) == before
    quiet(TWO, small, config=PASSES, add=True)
    for passes in ((), ("depth",), ("depth", "normals")):
        with pytest.raises(ConventionError, match="passes"):
            quiet(TWO, small, config=replace(SMALL, passes=passes), add=True)
    assert bytes_of(small) == bytes_of(with_passes)
    with pytest.raises(ConventionError, match="parts"):
        quiet(TWO, small, config=replace(PASSES, passes=("depth", "mask", "parts")), add=True)


def test_another_renderer_is_noticed_before_anything_changes(small, monkeypatch):
    """The broken twin: pictures that come out a level brighter."""
    before, render = bytes_of(small), EmbreeRenderer.render_rgb_and_mask

    def brighter(self, scene, size_px):
        image, mask = render(self, scene, size_px)
        return image + (image < 255), mask

    monkeypatch.setattr(EmbreeRenderer, "render_rgb_and_mask", brighter)
    with pytest.raises(DataFormatError, match=r"chair.*image_0.jpg.*another kind of processor"):
        quiet(TWO, small, config=PASSES, add=True)
    assert bytes_of(small) == before


def test_one_picture_that_differs_stops_the_build_and_stays(small, with_passes, monkeypatch):
    make = work.files_of_object

    def other(source, entry, config, **options):
        files, cut = make(source, entry, config, **options)
        if config.passes and entry.object_id == "truck-000001":
            files["image_1.jpg"] = jpeg_bytes(np.zeros((16, 16, 3), np.uint8), quality=95)
        return files, cut

    with monkeypatch.context() as patch:
        patch.setattr(work, "files_of_object", other)
        with pytest.raises(DataFormatError, match=r"truck-000001.*image_1.jpg"):
            quiet(TWO, small, config=PASSES, add=True)
    original = with_passes / "truck" / "truck-000001" / "image_1.jpg"
    kept = small / "truck" / "truck-000001" / "image_1.jpg"
    assert kept.read_bytes() == original.read_bytes()
    quiet(TWO, small, config=PASSES)
    assert bytes_of(small) == bytes_of(with_passes)


def test_a_damaged_object_is_rendered_anew(small, with_passes):
    (small / "chair" / "chair-000000" / "image_1.jpg").write_bytes(b"damaged")
    quiet(TWO, small, config=PASSES, add=True)
    assert bytes_of(small) == bytes_of(with_passes)


def test_estimates_count_what_is_rendered_again(small):
    assert estimate(TWO, config=PASSES, workers=1, out=small, add=True).images == 8


def test_the_command_adds_to_the_passes_that_are_there(tmp_path, capsys):
    out = str(tmp_path / "set")
    words = ["build", out, "--instances", "1", "--views", "2", "--size", "16", "--workers", "1"]
    assert main([*words, "--passes", "mask"]) == 0
    assert main(["build", out, "--add", "--passes", "depth", "--workers", "1"]) == 0
    assert "(32 rendered" in capsys.readouterr().out
    assert main([*words[:1], str(tmp_path / "whole"), *words[2:], "--passes", "mask", "depth"]) == 0
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "whole")
    assert main(["export", out, "--format", "nerf", "--out", str(tmp_path / "x")]) == 1
    assert "--add --passes rgba" in capsys.readouterr().err

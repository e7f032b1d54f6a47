"""Four sets of the same objects."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datasets3d import (
    BuildConfig,
    ProceduralMeshes,
    ThreeDIEBench,
    ViewLaw,
    build,
    build_suite,
    suite_laws,
    verify,
)
from datasets3d.views.index import Manifest
from equivariant.commands.main import main
from equivariant.errors import ConventionError

SETS = ("box", "shell", "translation", "sequences")
OPTIONS = ["--instances", "2", "--views", "4", "--length", "2", "--size", "12", "--workers", "1",
           "--val-fraction", "0.5"]  # fmt: skip


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    root = tmp_path_factory.mktemp("suite") / "out"
    assert main(["suite", str(root), *OPTIONS]) == 0
    return root


def test_sets_hold_out_the_same_objects_and_have_their_laws(suite):
    data = {name: ThreeDIEBench(suite / name, "val") for name in SETS}
    box = data["box"]
    for name in SETS:
        assert verify(suite / name) == []
        assert data[name].object_ids == box.object_ids
        assert np.array_equal(data[name].fixed_pairs(), box.fixed_pairs())
    assert np.array_equal(data["translation"].latents, box.latents), "only the place is new"
    assert np.array_equal(data["shell"].latents[..., 3:], box.latents[..., 3:])
    told = Rotation.from_matrix(data["shell"].rotations.reshape(-1, 3, 3)).as_euler("xyz")
    assert (np.abs(told) > np.pi / 2).any(1).all()
    moving = data["sequences"]
    names = list(moving.columns)
    w, d = (moving.all_latents[:, 0, -6:-3], moving.all_latents[:, 0, -3:])
    assert names[-6:-3] == ["step_turn_x_rad", "step_turn_y_rad", "step_turn_z_rad"]
    first, second = moving.poses[:, 0], moving.poses[:, 1]
    turned = Rotation.from_rotvec(w).as_matrix() @ first[:, :3, :3]
    np.testing.assert_allclose(second[:, :3, :3], turned, atol=1e-12)
    np.testing.assert_allclose(second[:, :3, 3], first[:, :3, 3] + d, atol=1e-12)


def test_an_interrupted_suite_goes_on_with_the_same_bytes(suite, tmp_path, capsys):
    source = ProceduralMeshes(instances=2, val_fraction=0.5)
    config = BuildConfig(views=4, size_px=12, val_fraction=0.5)
    laws = suite_laws(length=2)
    build_suite(source, tmp_path / "s", config=config, laws={"box": laws["box"]}, workers=1,
                progress=False)  # fmt: skip
    assert main(["suite", str(tmp_path / "s"), *OPTIONS, "--dry-run"]) == 0
    assert "box: 0 images" in capsys.readouterr().out
    assert not (tmp_path / "s" / "shell").exists()
    reports = build_suite(source, tmp_path / "s", config=config, laws=laws, workers=1,
                          progress=False)  # fmt: skip
    assert reports["box"].rendered == 0 and reports["shell"].rendered > 0
    assert (tmp_path / "s" / "suite.json").read_bytes() == (suite / "suite.json").read_bytes()


def test_sets_with_factors_are_not_let_grow_as_if_they_had_none(suite, capsys):
    assert main(["build", str(suite / "sequences"), "--add", "--views", "5"]) == 1
    assert "a path" in capsys.readouterr().err


def test_a_set_with_translations_grows_as_if_built_at_once(suite, tmp_path):
    grown, config = tmp_path / "grown", Manifest.read(suite / "translation").config
    shutil.copytree(suite / "translation", grown)
    assert main(["build", str(grown), "--add", "--views", "5"]) == 0
    law = suite_laws()["translation"]
    at_once = BuildConfig(views=5, size_px=config["size_px"], law=law)
    source = ProceduralMeshes(instances=2)
    build(source, tmp_path / "at_once", config=at_once, workers=1, progress=False)
    # the splits are the suite's; the files of each object are those of a set with the same law
    digests = Manifest.read(grown).digests
    assert digests == Manifest.read(tmp_path / "at_once").digests and len(digests) == 32


def test_a_law_of_the_settings_is_refused(tmp_path):
    with pytest.raises(ConventionError, match="laws="):
        build_suite(
            ProceduralMeshes(instances=1), tmp_path, config=BuildConfig(law=ViewLaw("haar"))
        )

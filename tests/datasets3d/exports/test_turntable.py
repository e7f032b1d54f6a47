"""A turntable turns evenly, once, and comes back."""

from __future__ import annotations

import numpy as np
import pytest
from building import SQUARE
from PIL import Image
from scipy.spatial.transform import Rotation

from datasets3d import ProceduralMeshes, TurntableConfig, write_turntable
from datasets3d.exports.turntable import turntable_frames
from equivariant.commands.main import main
from equivariant.errors import ConventionError
from renderers import Camera, RendererError

SOURCE = ProceduralMeshes(instances=1, classes=["truck"])
MESH = SOURCE.load(SOURCE.entries()[0])
CONFIG = TurntableConfig(frames=8, size_px=64)
MIDDLE = TurntableConfig(frames=8, size_px=64, floor_hue=0.0)


def silhouette(floor_hue_a, floor_hue_b):
    """Where two pictures that differ in the floor's hue alone agree: the object."""
    return np.abs(floor_hue_a.astype(int) - floor_hue_b).max(2) <= 1


def projected_box(angle_rad):
    """Box of the vertices turned by SciPy, in a camera written down here."""
    focal = 32.0 / np.tan(CONFIG.field_of_view_rad / 2)
    world = MESH.vertices @ Rotation.from_euler("z", angle_rad).as_matrix().T
    eye = np.array(Camera().position)
    ahead = -eye / np.linalg.norm(eye)
    right = np.array([-1.0, 0.0, 0.0])
    p = (world - eye) @ np.stack([right, np.cross(ahead, right), ahead], 1)
    uv = focal * p[:, :2] / p[:, 2:] + 32.0
    return np.concatenate([uv.min(0), uv.max(0)])


def test_frames_turn_evenly():
    pairs = zip(turntable_frames(MESH, CONFIG), turntable_frames(MESH, MIDDLE), strict=True)
    boxes = []
    for a, b in pairs:
        rows, columns = np.nonzero(silhouette(a, b))
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    for index, box in enumerate(boxes):
        expected = projected_box(2 * np.pi * index / 8)
        assert np.abs(expected - box).max() < 2.0, index
    twin = [projected_box(2 * np.pi * index / 7) for index in range(8)]
    assert max(np.abs(t - b).max() for t, b in zip(twin, boxes, strict=True)) > 3.0
    assert np.allclose(np.diff(CONFIG.angles_rad), np.pi / 4) and len(CONFIG.angles_rad) == 8


def test_a_gif_loops_with_one_palette(tmp_path):
    out = tmp_path / "truck.gif"
    assert write_turntable(MESH, out, CONFIG, progress=False) == out
    frames = list(turntable_frames(MESH, CONFIG))
    with Image.open(out) as picture:
        assert picture.n_frames == 8 and picture.info["loop"] == 0
        for index, frame in enumerate(frames):
            picture.seek(index)
            assert picture.info["duration"] == 500, "milliseconds: 4 s over 8 frames"
            shown = np.asarray(picture.convert("RGB")).astype(int)
            assert np.abs(shown - frame).mean() < 6
    before = out.read_bytes()
    write_turntable(MESH, out, CONFIG, progress=False)
    assert out.read_bytes() == before


def test_a_folder_has_all_colors(tmp_path):
    out = tmp_path / "frames"
    write_turntable(MESH, out, CONFIG, progress=False)
    assert [p.name for p in sorted(out.iterdir())] == [f"frame_{k:03d}.png" for k in range(8)]
    for path, frame in zip(sorted(out.iterdir()), turntable_frames(MESH, CONFIG), strict=True):
        with Image.open(path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame)
    with pytest.raises(ConventionError, match="out"):
        write_turntable(MESH, out, CONFIG, progress=False)
    with pytest.raises(ConventionError, match=r"\.mp4"):
        write_turntable(MESH, tmp_path / "film.mp4", CONFIG, progress=False)
    with pytest.raises(RendererError):
        wrong = TurntableConfig(renderer="povray")
        write_turntable(MESH, tmp_path / "none", wrong, progress=False)
    assert {p.name for p in tmp_path.iterdir()} == {"frames"}


@pytest.mark.parametrize("change", [
    {"frames": 1}, {"size_px": 0}, {"seconds": 0.0}, {"field_of_view_rad": 4.0}, {"floor_hue": 2.0},
])  # fmt: skip
def test_settings_out_of_range(change):
    with pytest.raises(ConventionError, match=next(iter(change))):
        TurntableConfig(**change)


def test_the_command(tmp_path, capsys):
    (tmp_path / "square.off").write_text(SQUARE)
    options = ["--frames", "3", "--size", "16", "--quiet", "--out", str(tmp_path / "x.gif")]
    assert main(["turntable", str(tmp_path / "square.off"), *options]) == 0
    assert "3 frames" in capsys.readouterr().out
    with Image.open(tmp_path / "x.gif") as picture:
        assert picture.n_frames == 3
    assert main(["turntable", str(tmp_path / "absent.off"), *options]) == 1
    assert "absent.off" in capsys.readouterr().err

"""The sheet of passes shows what it says, and backgrounds are laid in linear light."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from building import quiet
from PIL import Image

from datasets3d import (
    Backgrounds,
    BuildConfig,
    ProceduralMeshes,
    ViewLaw,
    over,
    read_pass,
    write_pass_sheet,
)
from equivariant.errors import ConventionError, DataFormatError, ShapeError
from renderers import get

KEY = "chair/chair-000000"


def cells(path, columns, *, cell=48, names=18, margin=4):
    picture = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    step = cell + margin
    rows = (len(picture) - names) // step
    assert picture.shape == (names + rows * step, columns * step + margin, 3)
    return [
        [picture[names + r * step :, margin + c * step :][:cell, :cell] for c in range(columns)]
        for r in range(rows)
    ]


def test_the_sheet_shows_each_pass(known, tmp_path):
    path = tmp_path / "sheet.png"
    write_pass_sheet(known, path, cell_px=48)
    rows = cells(path, 9)
    assert len(rows) == 2, "a view of each class"
    image, depth, normals, mask, shadow, x, faces, rgba, flow = rows[0]
    seen = read_pass(known, KEY, 0, "mask")
    np.testing.assert_array_equal(mask, np.repeat(seen[..., None], 3, 2) * np.uint8(255))
    dark = read_pass(known, KEY, 0, "shadow")
    np.testing.assert_array_equal(shadow[..., 0] == 255, dark)
    for cell in (depth, x, faces, flow):
        assert (cell[seen].max(1) > 0).all() and (cell[~seen] == 0).all()
    d = read_pass(known, KEY, 0, "depth")
    order = np.argsort(d[seen])
    assert (np.diff(depth[seen][order, 0].astype(int)) <= 0).all(), "nearer is brighter"
    expected = read_pass(known, KEY, 0, "coordinates")[seen] + 0.5
    assert np.abs(x[seen] / 255.0 - expected).max() < 0.003
    floor = ~seen
    np.testing.assert_array_equal(normals[floor], [[128, 128, 255]] * floor.sum())
    empty = read_pass(known, KEY, 0, "rgba")[..., 3] == 0
    assert set(np.unique(rgba[empty])) == {190, 235}
    assert np.abs(image.astype(int) - np.asarray(Image.open(known / KEY / "image_0.jpg"))).max() < 2
    before = path.read_bytes()
    write_pass_sheet(known, path, cell_px=48)
    assert path.read_bytes() == before


def test_chosen_views_and_what_is_refused(known, tmp_path):
    path = tmp_path / "sheet.png"
    write_pass_sheet(known, path, views=[(KEY, 2)] * 3, cell_px=48)
    assert len(cells(path, 9)) == 3
    for views in ([(KEY, 3)], [("chair/none", 0)], []):
        with pytest.raises(ConventionError, match="views below 3"):
            write_pass_sheet(known, path, views=views)
    source = ProceduralMeshes(instances=1, classes=["chair"])
    for passes in ((), ("depth",), ("mask", "shadow")):
        root = tmp_path / "-".join(["set", *passes])
        quiet(source, root, config=BuildConfig(views=1, size_px=16, passes=passes))
        if passes:
            write_pass_sheet(root, path, cell_px=48)
            assert len(cells(path, 1 + len(passes))) == 1
        else:
            with pytest.raises(ConventionError, match="--passes"):
                write_pass_sheet(root, path)


def test_light_adds_up_over_a_background():
    """Against the formula of sRGB, written down here."""
    random = np.random.default_rng(0)
    rgba = random.integers(0, 256, (9, 9, 4)).astype(np.uint8)
    back = random.integers(0, 256, (9, 9, 3)).astype(np.uint8)

    def light(c):
        c = c / 255.0
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)

    a = rgba[..., 3:] / 255.0
    mixed = light(over(rgba, back))
    np.testing.assert_allclose(mixed, a * light(rgba[..., :3]) + (1 - a) * light(back), atol=5e-3)
    assert np.abs(mixed - a * light(back) - (1 - a) * light(rgba[..., :3])).max() > 0.1
    rgba[..., 3] = 0
    np.testing.assert_array_equal(over(rgba, back), back)
    rgba[..., 3] = 255
    np.testing.assert_array_equal(over(rgba, back[0, 0]), rgba[..., :3])
    with pytest.raises(ShapeError):
        over(rgba, back[:5])


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_the_object_over_its_own_floor_is_the_picture(side, adaptive):
    """Without a spot, whose light would fall on the floor; edges included."""
    law = ViewLaw(floor_hue=(0.3, 0.3), spot_hue=(0.3, 0.3))
    source = ProceduralMeshes(instances=1, classes=["chair"])
    latent = law.sample(0, KEY, view=0)
    scene = law.scene(source.load(source.entries()[0]), latent)
    scene = dataclasses.replace(scene, spot=None)
    renderer = get("embree", samples_per_side=side, adaptive=adaptive)
    picture, rgba = renderer.render_rgb(scene, 48), renderer.render_rgba(scene, 48)
    difference = np.abs(over(rgba, picture[0, 0]).astype(int) - picture).max(2)
    assert (difference > 2).mean() <= (0.002 if adaptive else 0.0)
    alphas = np.unique(rgba[..., 3])
    assert len(alphas) <= side**2 + 1 and {0, 255} <= set(alphas.tolist())
    wrong = np.abs(over(rgba, np.array([0, 0, 0], np.uint8)).astype(int) - picture).max(2)
    assert (wrong > 2).mean() > 0.5


def test_backgrounds_are_draws_of_their_own(tmp_path):
    random = np.random.default_rng(1)
    for name, size in (("a/x.png", (60, 40)), ("y.JPG", (50, 90)), ("z.txt", None)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if size is None:
            path.write_text("words")
            continue
        pixels = random.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    found = Backgrounds(tmp_path, seed=3)
    assert len(found.paths) == 2
    pictures = [found.of(KEY, view, size_px=24) for view in range(12)]
    assert all(p.shape == (24, 24, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 12
    again = Backgrounds(tmp_path, seed=3).of(KEY, 7, size_px=24)
    np.testing.assert_array_equal(again, pictures[7])
    assert (Backgrounds(tmp_path, seed=4).of(KEY, 7, size_px=24) != again).any()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match="empty"):
        Backgrounds(tmp_path / "empty")

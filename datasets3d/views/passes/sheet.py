"""One picture of all that is known of a few views, to look at."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datasets3d.views.passes.background import over
from datasets3d.views.passes.files import read_pass_file
from datasets3d.views.passes.flow import read_flow
from datasets3d.views.passes.kinds import PassName, pass_file, recorded_passes
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import ChannelOrder, read_image
from equivariant.errors import ConventionError
from equivariant.runs import write_atomically

MARGIN_PX, NAMES_PX = 4, 18
ROWS = 4


def write_pass_sheet(
    root: Path | str,
    path: Path | str,
    *,
    views: Sequence[tuple[str, int]] | None = None,
    cell_px: int = 112,
) -> None:
    """Write a PNG with a row per view: its picture, every pass, and the flow to the next view.

    Depth is white at the nearest and black at the farthest point of the object; normals and
    coordinates are colors, (n + 1) / 2 and x + 1/2; faces and parts have colors of their own;
    rgba lies on squares; flow has the hue of its direction and the strength of its length.
    Same sets give the same bytes.

    Args:
        root: A set that was built with passes.
        path: Of the picture.
        views: (object, view) of each row; None takes the first view of the first objects of up to
            four classes.
        cell_px: Side of each picture in the sheet.

    Raises:
        ConventionError: The set has no passes, or a view that is not there is asked for.
        DataFormatError: A file is damaged; names it.
    """
    root = Path(root)
    manifest = Manifest.read(root)
    names, count = recorded_passes(manifest.config), int(manifest.config["views"])
    rows = list(views) if views is not None else _first_views(manifest)
    _check(manifest, rows)
    flow = count > 1 and "coordinates" in names
    titles = ["image", *names, *(["flow"] if flow else [])]
    step = cell_px + MARGIN_PX
    size = (len(titles) * step + MARGIN_PX, NAMES_PX + len(rows) * step)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for column, title in enumerate(titles):
        draw.text((MARGIN_PX + column * step, 2), title, fill="black", font=font)
    order: ChannelOrder = "bgr" if manifest.config["channel_order"] == "bgr" else "rgb"
    for row, (key, view) in enumerate(rows):
        image = read_image(root / key / f"image_{view}.jpg", channel_order=order)
        cells = [image, *(_picture(root / key, view, name, names) for name in names)]
        if flow:
            cells.append(_flow_picture(read_flow(root, key, view, (view + 1) % count).flow))
        for column, cell in enumerate(cells):
            exact = titles[column] not in ("image", "rgba")
            how = Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS
            picture = Image.fromarray(cell).resize((cell_px, cell_px), how)
            sheet.paste(picture, (MARGIN_PX + column * step, NAMES_PX + row * step))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_atomically(Path(path), buffer.getvalue())


def _check(manifest: Manifest, rows: Sequence[tuple[str, int]]) -> None:
    """Refuse a set without passes, and views that it does not have."""
    if not recorded_passes(manifest.config):
        raise ConventionError(
            expected="a set with passes", got="pictures alone", argument="root",
            advice="Build it with --passes, for example depth mask coordinates.",
        )  # fmt: skip
    count = int(manifest.config["views"])
    absent = [row for row in rows if row[0] not in manifest.splits or not 0 <= row[1] < count]
    if absent or not rows:
        raise ConventionError(
            expected=f"objects of the set and views below {count}", got=f"{absent or rows}",
            argument="views", advice="Objects are named <class>/<object id>.",
        )  # fmt: skip


def _first_views(manifest: Manifest) -> list[tuple[str, int]]:
    first: dict[str, str] = {}
    for key in manifest.splits:
        first.setdefault(key.split("/")[0], key)
    return [(key, 0) for key in list(first.values())[:ROWS]]


def _picture(
    folder: Path, view: int, name: PassName, names: Sequence[PassName]
) -> NDArray[np.uint8]:
    """A pass as colors, shape (size, size, 3), uint8."""
    array = read_pass_file(folder / pass_file(name, view))
    if name == "depth":
        return _grey(array, _object(folder, view, names))
    if name == "normals":
        return _levels(np.where((array == 0.0).all(2, keepdims=True), 0.0, (array + 1.0) / 2.0))
    if name == "coordinates":
        return _levels(np.nan_to_num(array + 0.5))
    if name in ("faces", "parts", "instances", "silhouettes", "shadows"):
        number = array.astype(np.int64) + (1 if name == "faces" else 0)
        return _palette(number)
    if name == "rgba":
        squares = np.add.outer(np.arange(len(array)) // 8, np.arange(len(array)) // 8) % 2
        board = np.where(squares[..., None] == 0, 235, 190) * np.ones(3)
        return over(array, board.astype(np.uint8))
    return _levels(np.repeat(array[..., None], 3, axis=2))


def _object(folder: Path, view: int, names: Sequence[PassName]) -> NDArray[np.bool_]:
    """Where the object is, by whichever pass of the set says so; all pixels where none does."""
    if "coordinates" in names:
        points = read_pass_file(folder / pass_file("coordinates", view))
        return np.asarray(np.isfinite(points).all(axis=2))
    says: PassName = next((name for name in names if name in ("mask", "instances")), "depth")
    mask = read_pass_file(folder / pass_file(says, view))
    return np.asarray(np.isfinite(mask) & (mask > 0))


def _grey(depth: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Near is bright; by the inverse of the depth, so that a floor may reach to the horizon."""
    near = 1.0 / np.maximum(np.nan_to_num(depth, posinf=1e6), 1e-6)
    low, high = float(near[known].min()), float(near[known].max())
    share = np.clip((near - low) / max(high - low, 1e-9), 0.0, 1.0)
    return _levels(np.repeat(np.where(known, 0.15 + 0.85 * share, 0.0)[..., None], 3, axis=2))


def _palette(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A color for each number, black for 0; hues a golden section apart."""
    known, places = np.unique(numbers, return_inverse=True)
    golden = 0.6180339887
    colors = [
        (0.0, 0.0, 0.0) if n == 0 else colorsys.hsv_to_rgb(n * golden % 1.0, 0.65, 0.95)
        for n in known.tolist()
    ]
    return _levels(np.array(colors)[places.reshape(numbers.shape)])


def _flow_picture(flow: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Hue says the direction, saturation the length as a share of the longest; black is none."""
    known = np.asarray(np.isfinite(flow).all(axis=2))
    u, v = np.nan_to_num(flow[..., 0]), np.nan_to_num(flow[..., 1])
    length = np.hypot(u, v)
    share = length / max(float(length.max()), 1e-9)
    hue = np.arctan2(-v, u) / (2.0 * np.pi) % 1.0
    phase = (hue[..., None] * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0
    pure = np.clip(np.abs(phase - 3.0) - 1.0, 0.0, 1.0)
    return _levels(np.where(known[..., None], 1.0 - share[..., None] * (1.0 - pure), 0.0))


def _levels(colors: NDArray[Any]) -> NDArray[np.uint8]:
    return np.rint(255.0 * np.clip(colors.astype(np.float64), 0.0, 1.0)).astype(np.uint8)

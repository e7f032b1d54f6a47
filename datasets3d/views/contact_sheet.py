"""One picture of a whole data set: a row per class."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL_PX, MARGIN_PX, NAME_PX = 96, 4, 120
MAX_ROWS = 64


def contact_sheet(
    picture: Callable[[str, int], NDArray[np.uint8]],
    keys: Sequence[str],
    *,
    views: int,
    columns: int = 10,
) -> bytes:
    """A PNG with one row per class: views of its first objects.

    Args:
        picture: Gives a view of an object in true colors, shape (height, width, 3).
        keys: Objects, ``<class>/<object id>``, sorted.
        views: Views per object; the sheet shows view c mod views in column c.
        columns: Views per class.

    Returns:
        PNG bytes; the same data set gives the same bytes.
    """
    by_class: dict[str, list[str]] = {}
    for key in keys:
        by_class.setdefault(key.split("/")[0], []).append(key)
    rows = list(by_class.items())[:MAX_ROWS]
    step = CELL_PX + MARGIN_PX
    sheet = Image.new("RGB", (NAME_PX + columns * step, len(rows) * step + MARGIN_PX), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for row, (label, members) in enumerate(rows):
        top = MARGIN_PX + row * step
        draw.text((6, top + CELL_PX // 2 - 8), label[:18], fill="black", font=font)
        for column in range(columns):
            key = members[column * len(members) // columns]
            cell = Image.fromarray(picture(key, column % views))
            cell = cell.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
            sheet.paste(cell, (NAME_PX + column * step, top))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()

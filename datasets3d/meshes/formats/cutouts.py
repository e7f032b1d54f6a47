"""Holes of MTL materials: a picture of opacity (map_d) put into the picture of color."""

from __future__ import annotations

import io
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.meshes.formats.absent_files import Read, is_there
from datasets3d.meshes.normalize import GREY
from datasets3d.meshes.surfaces.pictures import (
    PARTLY,
    eight_bits,
    is_picture,
    is_see_through,
    opacities,
    opened,
)

MADE: Final = "\x00cutout-"  # begins names of pictures of ours, which no file has
CUT: Final = "cutout"  # lines of ours
CUT_PLACED: Final = "cutout_placed"
PLACED_APART: Final = "map_d lies otherwise than map_Kd: transparency is ignored"


def with_holes(
    library: str, read: Read, notes: list[str], *, used: set[str]
) -> tuple[str, dict[str, bytes]]:
    """A plain material library whose ``map_d`` are alpha channels of its ``map_Kd``.

    Where a material has no ``map_Kd``, a picture of its color takes that place. Opacity is the
    alpha channel of the picture that ``map_d`` names, where it has one, else its luminance. What
    lets nothing through but some light is shown as solid, and noted.

    Args:
        library: As :func:`wavefront.plain_mtl` writes it.
        read: Gives the contents of a file that it names.
        notes: Receives what is not shown of materials that are used.
        used: Their names.

    Returns:
        The library, in which ``cutout on`` marks such materials, and the pictures by name.

    Raises:
        ValueError: A picture is damaged or too large.
    """
    first, *blocks = re.split(r"(?m)^(?=newmtl )", library)
    made: dict[str, bytes] = {}
    for number, block in enumerate(blocks):
        if (cut := _words(block, "map_d")) is None:
            continue
        kept = re.sub(rf"(?m)^(?:map_d|{CUT_PLACED}) .*\n?", "", block).rstrip("\n") + "\n"
        blocks[number] = kept
        if (_words(block, "newmtl") or "") not in used:
            continue
        color, place = _words(kept, "map_Kd"), _words(block, CUT_PLACED)
        if color is not None and _words(kept, "placed") != place:
            _note(notes, PLACED_APART)
            continue
        alpha = _opacity(opened(read(cut)))
        if ((alpha > 0) & (alpha < 255)).any():
            _note(notes, PARTLY)
        name = f"{MADE}{number}.png"
        shown = color is not None and is_there(color, read) and is_picture(read(color))
        made[name] = _joined(_color(kept, color if shown else None, read), alpha)
        kept = re.sub(r"(?m)^map_Kd .*\n", "", kept)
        added = "" if color is not None or place is None else f"placed {place}\n"
        blocks[number] = f"{kept}{added}{CUT} on\nmap_Kd {name}\n"
    return "".join([first, *blocks]), made


def _words(block: str, word: str) -> str | None:
    """What follows a word at the beginning of a line, the last such line; None without one."""
    found = re.findall(rf"(?m)^{word} (.*)$", block)
    return found[-1] if found else None


def _opacity(image: Image.Image) -> NDArray[np.uint8]:
    if is_see_through(image):
        return opacities(image)
    return np.asarray(eight_bits(image).convert("L"), np.uint8)


def _color(block: str, name: str | None, read: Read) -> Image.Image:
    if name is not None:
        return eight_bits(opened(read(name))).convert("RGB")
    numbers = re.findall(r"(?mi)^kd +(\S+) +(\S+) +(\S+)", block)
    color = 255.0 * np.array(numbers[-1], np.float64) if numbers else np.array(GREY, np.float64)
    levels = np.rint(np.clip(np.nan_to_num(color), 0.0, 255.0)).astype(np.uint8)
    return Image.fromarray(levels.reshape(1, 1, 3))


def _joined(color: Image.Image, alpha: NDArray[np.uint8]) -> bytes:
    """A PNG of four channels, as large as the larger of the two in each direction."""
    matte = Image.fromarray(alpha)
    size = (max(color.width, matte.width), max(color.height, matte.height))
    color, matte = (
        image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
        for image in (color, matte)
    )
    color.putalpha(matte)
    buffer = io.BytesIO()
    color.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _note(notes: list[str], text: str) -> None:
    if text not in notes:
        notes.append(text)

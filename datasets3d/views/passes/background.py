"""The object over another background than the floor it was rendered on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.views.latents import generator
from datasets3d.views.storage import read_image
from equivariant.errors import DataFormatError, ShapeError
from renderers.color import linear_from_srgb, srgb_from_linear

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def over(rgba: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay the object over a background, in linear light:

        c = α · object + (1 - α) · background

    Args:
        rgba: sRGB and alpha, not multiplied, shape (height, width, 4); the pass "rgba".
        background: sRGB, shape (height, width, 3), or (3,) for one color.

    Returns:
        sRGB, shape (height, width, 3), uint8.

    Raises:
        ShapeError: The shapes do not fit together.

    Example:
        >>> half = np.full((1, 1, 4), [255, 0, 0, 128], np.uint8)
        >>> over(half, np.array([0, 0, 255], np.uint8)).tolist()
        [[[188, 0, 187]]]
    """
    if rgba.shape[2:] != (4,) or background.shape not in ((3,), (*rgba.shape[:2], 3)):
        raise ShapeError(
            expected="rgba (height, width, 4) and a background (height, width, 3) or (3,)",
            got=f"{rgba.shape} and {background.shape}", argument="background",
            advice="Cut the background to the size of the view.",
        )  # fmt: skip
    share = rgba[..., 3:] / 255.0
    front, back = linear_from_srgb(rgba[..., :3] / 255.0), linear_from_srgb(background / 255.0)
    mixed = srgb_from_linear(share * front + (1.0 - share) * back)
    return np.rint(255.0 * mixed).astype(np.uint8)


class Backgrounds:
    """Pictures of a folder as backgrounds, each cut and mirrored by a draw of its own.

    The draw for a view depends on the seed, the object's name and the view's index alone: the
    same on every machine and in every worker.

    Args:
        folder: With pictures, in sub-folders too; found by suffix, sorted by path.
        seed: At least 0.

    Raises:
        DataFormatError: The folder has no picture.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (40, 30), "green").save(folder / "meadow.png")
        >>> Backgrounds(folder).of("chair/chair-000000", 3, size_px=16).shape
        (16, 16, 3)
    """

    def __init__(self, folder: Path | str, *, seed: int = 0) -> None:
        self.folder, self.seed = Path(folder), seed
        self.paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not self.paths:
            raise DataFormatError(
                expected="a folder with pictures", got="none of " + ", ".join(SUFFIXES),
                argument=str(folder), advice="Name a folder of photographs.",
            )  # fmt: skip

    def of(self, key: str, view: int, *, size_px: int) -> NDArray[np.uint8]:
        """The background of a view: a square of random place and size from a random picture.

        Args:
            key: The object, ``<class>/<object id>``.
            view: Its view.
            size_px: Side of the square that is returned.

        Returns:
            sRGB, shape (size, size, 3), uint8.

        Raises:
            DataFormatError: The picture cannot be read; names it.
        """
        random: Any = generator(self.seed, f"background|{key}", view)
        picture = Image.fromarray(read_image(self.paths[random.integers(len(self.paths))]))
        side = round(min(picture.size) * random.uniform(0.5, 1.0)) or 1
        left, top = (int(random.integers(length - side + 1)) for length in picture.size)
        square = picture.resize(
            (size_px, size_px), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
        )
        pixels = np.asarray(square)
        return np.ascontiguousarray(pixels[:, ::-1]) if random.random() < 0.5 else pixels

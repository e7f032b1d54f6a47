"""Several textures, and ones that do not repeat, laid out in one picture that a mesh can have.

The part of a texture that its faces use is cut out, continued outside [0, 1] as its wrapping says,
and placed beside the others:

    repeat   texel i is texel i mod n
    clamp    texel i is texel min(max(i, 0), n - 1)
    mirror   texel i is texel j, or 2n - 1 - j where j ≥ n, with j = i mod 2n

Faces are first shifted by whole periods towards [0, 1], so that a texture that is repeated from
face to face takes no more room than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.surfaces.pictures import averaged_down

Wrap = Literal["repeat", "clamp", "mirror"]
TEXELS: Final = 2**22  # of an atlas; textures are averaged down to fit
PERIODS: Final = 2**10  # a texture that goes on for more is not laid out


@dataclass(frozen=True, eq=False)
class Patch:
    """A texture and the coordinates of the faces that take it.

    Args:
        image: sRGB, shape (height, width, 3), uint8, row 0 on top; or four channels, see
            :class:`~datasets3d.meshes.surfaces.pieces.SurfacePiece`.
        uv: Shape (faces, 3, 2), origin at the lower left.
        wrap: How it goes on to the sides, and up and down.
    """

    image: NDArray[np.uint8]
    uv: NDArray[np.float64]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")

    def periods(self) -> float:
        """How many times the texture would be laid out, about: in [1, ∞)."""
        spans = [np.ptp(self._folded(axis)) if self.uv.size else 0.0 for axis in (0, 1)]
        return float(max(spans[0], 1.0) * max(spans[1], 1.0))

    def places(self) -> NDArray[np.float64]:
        """Coordinates in periods to the right and downwards, shifted by whole periods."""
        return np.stack([self._folded(0), self._folded(1)], axis=-1)

    def _folded(self, axis: int) -> NDArray[np.float64]:
        along = self.uv[..., axis] if axis == 0 else 1.0 - self.uv[..., axis]
        if self.wrap[axis] == "clamp":
            low, high = along.max(-1, keepdims=True) <= 0.0, along.min(-1, keepdims=True) >= 1.0
            clamped: NDArray[np.float64] = np.where(low, 0.0, np.where(high, 1.0, along))
            return clamped
        period = 2.0 if self.wrap[axis] == "mirror" else 1.0
        shifted: NDArray[np.float64] = along - period * np.floor(
            along.min(-1, keepdims=True) / period
        )
        return shifted


class Atlas(NamedTuple):
    """Textures laid out in one picture.

    ``picture`` is sRGB, shape (height, width, 3), uint8, with a fourth channel where a patch has
    one, which is 255 for the others; ``uv`` holds coordinates in it per patch, shape
    (faces, 3, 2), float32, origin at the lower left; ``tiles`` a row (left, top, width,
    height) per patch, in texels, shape (patches, 4), int32.
    """

    picture: NDArray[np.uint8]
    uv: list[NDArray[np.float32]]
    tiles: NDArray[np.int32]


def atlas(patches: list[Patch]) -> Atlas:
    """Lay textures out in one picture.

    Args:
        patches: At least one, none of more than 2¹⁰ periods.

    Returns:
        A picture of about 2²² texels at most; where the textures together have more, each is
        averaged down by the same share.

    Example:
        >>> red, blue = (np.full((2, 2, 3), color, np.uint8) for color in ((9, 0, 0), (0, 0, 9)))
        >>> corners = np.array([[[0.0, 0], [1, 0], [0, 1]]])
        >>> picture, _, _ = atlas([Patch(red, corners), Patch(blue, corners)])
        >>> sorted({tuple(c) for c in picture.reshape(-1, 3).tolist()} - {(0, 0, 0)})
        [(0, 0, 9), (9, 0, 0)]
    """
    share = 1.0
    tiles = [_tile(patch, share) for patch in patches]
    while sum(tile.area for tile in tiles) > TEXELS and share > 1e-3:
        total = sum(tile.area for tile in tiles)
        share *= min(0.95, 0.99 * math.sqrt(TEXELS / total))
        tiles = [_tile(patch, share) for patch in patches]
    corners, size = _packed([tile.size for tile in tiles])
    channels = max(tile.image.shape[2] for tile in tiles)
    picture = np.zeros((size[1], size[0], channels), np.uint8)
    uv = []
    for tile, (left, top) in zip(tiles, corners, strict=True):
        width, height = tile.size
        part = picture[top : top + height, left : left + width]
        part[..., 3:] = 255
        part[..., : tile.image.shape[2]] = tile.cut()
        where = (tile.places + np.array((left, top))) / size
        uv.append(np.stack([where[..., 0], 1.0 - where[..., 1]], -1).astype(np.float32))
    places = [(*corner, *tile.size) for corner, tile in zip(corners, tiles, strict=True)]
    return Atlas(picture, uv, np.array(places, np.int32))


@dataclass(frozen=True, eq=False)
class _Tile:
    """The part of a texture that is used.

    Args:
        image: The texture at the scale of the atlas.
        first: Its first column and row.
        size: How many of them.
        places: Coordinates within it in texels, right and down.
        wrap: As of the patch.
    """

    image: NDArray[np.uint8]
    first: tuple[int, int]
    size: tuple[int, int]
    places: NDArray[np.float64]
    wrap: tuple[Wrap, Wrap]

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]

    def cut(self) -> NDArray[np.uint8]:
        height, width = self.image.shape[:2]
        across, down = (np.arange(f, f + n) for f, n in zip(self.first, self.size, strict=True))
        columns, rows = (
            continued(across, width, self.wrap[0]),
            continued(down, height, self.wrap[1]),
        )
        return self.image[rows[:, None], columns]


def _tile(patch: Patch, share: float) -> _Tile:
    image = patch.image
    if share < 1.0:
        image = averaged_down(image, share)
    places = patch.places() * (image.shape[1], image.shape[0])
    flat = places.reshape(-1, 2)
    # one texel more on every side, for the mean of neighbors at the rim
    low = np.floor(flat.min(0)).astype(np.int64) - 1
    high = np.ceil(flat.max(0)).astype(np.int64) + 1
    return _Tile(
        image, (int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1])),
        places - low, patch.wrap,
    )  # fmt: skip


def continued(places: NDArray[np.int64], size: int, wrap: Wrap) -> NDArray[np.int64]:
    """Which of ``size`` texels stand at places outside of them too.

    Args:
        places: Texels counted from the first, any integers.
        size: How many there are.
        wrap: How they go on.

    Returns:
        Numbers in [0, size), of the shape of ``places``.

    Example:
        >>> [continued(np.arange(-1, 4), 2, wrap).tolist() for wrap in ("clamp", "mirror")]
        [[0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]
    """
    if wrap == "clamp":
        return np.clip(places, 0, size - 1)
    if wrap == "mirror":
        turned = places % (2 * size)
        return np.where(turned < size, turned, 2 * size - 1 - turned)
    return places % size


def _packed(sizes: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Upper left corners of rectangles on shelves, tallest first, and the size of the whole."""
    wide = max(width for width, _ in sizes)
    shelf_width = max(wide, math.ceil(math.sqrt(sum(w * h for w, h in sizes))))
    corners = [(0, 0)] * len(sizes)
    left, top, tall, most = 0, 0, 0, 0
    for number in sorted(range(len(sizes)), key=lambda k: (-sizes[k][1], -sizes[k][0], k)):
        width, height = sizes[number]
        if left and left + width > shelf_width:
            left, top, tall = 0, top + tall, 0
        corners[number] = (left, top)
        left, tall, most = left + width, max(tall, height), max(most, left + width)
    return corners, (most, top + tall)

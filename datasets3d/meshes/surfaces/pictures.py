"""Textures as sRGB bytes: of any depth, at most so large, times a color in linear light, with
holes."""

from __future__ import annotations

import hashlib
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

TEXTURE_PX: Final = 1024  # larger textures are averaged down: images here have 64 to 512 pixels
MOST_PX: Final = 2**27  # a picture of more is refused before it is decoded
WIDE: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")
KEYED: Final = ("P", "1", "L", "RGB", *WIDE)  # modes in which one color may be transparent
PARTLY: Final = "partial transparency is ignored"
LEVELS: Final = {"L;2": 85, "L;4": 17}  # by how much Pillow multiplies greys of few bits


def texels(
    image: Image.Image,
    factor: NDArray[np.float64] | None = None,
    *,
    cutoff: float | None = None,
) -> tuple[NDArray[np.uint8], str]:
    """A picture as a texture, and a key that is equal for equal textures.

    Pictures larger than 1024 pixels are averaged down to that, in linear light; greys of 16 bits
    are taken as shares of their range. With a cutoff, colors are averaged with their opacity as
    weight, and texels of opacity 0 take the mean color of what is seen near them.

    Args:
        image: As :func:`opened` gives it.
        factor: Linear color in [0, 1] that multiplies it, shape (3,); None for white.
        cutoff: Opacity in (0, 255] below which there is a hole; up to 1, all that has some counts
            as opaque. None drops transparency.

    Returns:
        sRGB, shape (height, width, 3), uint8, row 0 on top, or of four channels where some of the
        picture is below the cutoff (:func:`solidity`); 64 hexadecimal digits.

    Raises:
        ValueError: It has more than 2²⁷ pixels, or is damaged.

    Example:
        >>> texels(Image.fromarray(np.full((1, 1), 65535, np.uint16)))[0].tolist()
        [[[255, 255, 255]]]
    """
    _decode(image)
    share, alpha = TEXTURE_PX / max(image.size), None
    if cutoff is not None and is_see_through(image):
        alpha = opacities(image)
        if cutoff <= 1.0:
            alpha, cutoff = np.where(alpha > 0, 255, 0).astype(np.uint8), 127.5
    found = np.asarray(eight_bits(image).convert("RGB"), np.uint8).copy()
    if alpha is not None and cutoff is not None and alpha.min() < cutoff:
        if share < 1.0:
            found, alpha = (
                averaged_down(found, share, alpha),
                averaged_down(alpha[..., None], share),
            )
            alpha = alpha[..., 0]
        found = np.dstack([_filled(found, alpha), solidity(alpha, cutoff)])
    elif share < 1.0:
        found = averaged_down(found, share)
    if factor is not None and not np.all(factor == 1.0):
        found[..., :3] = to_srgb(to_linear(found[..., :3]) * factor)
    shape = f"{found.shape[0]} {found.shape[1]} ".encode()
    return found, hashlib.sha256(shape + found.tobytes()).hexdigest()


def solidity(alpha: NDArray[np.uint8], cutoff: float) -> NDArray[np.uint8]:
    """Opacities mapped linearly so that a cutoff becomes one half.

        127.5 + k (alpha - cutoff),   k = min(127.5 / cutoff, 127.5 / (255 - cutoff))

    So what is bilinear between them is below 127.5 where it was below the cutoff.

    Args:
        alpha: Opacities.
        cutoff: In (0, 255].

    Example:
        >>> solidity(np.array([0, 50, 51, 255], np.uint8), 51.0).tolist()
        [95, 126, 128, 255]
    """
    scale = 127.5 / max(cutoff, 255.0 - cutoff)
    mapped = 127.5 + scale * (alpha.astype(np.float64) - cutoff)
    # a level that is at the cutoff is solid; one just below it is not rounded up to it
    levels = np.where(alpha >= cutoff, np.ceil(mapped), np.floor(mapped))
    return np.clip(levels, 0.0, 255.0).astype(np.uint8)


def _filled(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors with those of opacity 0 replaced by means over the smallest square that has others.

    Source: Gortler et al. 1996, The lumigraph (push and pull).
    """
    seen = alpha > 0
    if seen.all() or not seen.any():
        return colors
    weights = np.where(seen, 255, 0).astype(np.uint8)
    coarse = averaged_down(colors, 0.5, weights)
    coarse = _filled(coarse, averaged_down(weights[..., None], 0.5)[..., 0])
    rows, columns = (
        np.arange(there) * here // there
        for there, here in zip(alpha.shape, coarse.shape[:2], strict=True)
    )
    return np.where(seen[..., None], colors, coarse[rows[:, None], columns])


def averaged_down(
    texture: NDArray[np.uint8], share: float, weights: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """A smaller texture, each texel of which has the mean light of the area that it covers.

    Args:
        texture: sRGB, shape (height, width, 3); a fourth channel is averaged as it is, and so is
            one that is alone.
        share: Of the sides that is left, in (0, 1].
        weights: Of the colors in their mean, shape (height, width); None for equal ones.

    Returns:
        sRGB, of at least one texel a side.

    Example:
        >>> averaged_down(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), 0.5).tolist()
        [[[188, 188, 188]]]
    """
    height, width = (max(1, round(side * share)) for side in texture.shape[:2])

    def means(channel: NDArray[np.float32]) -> NDArray[np.float64]:
        small = Image.fromarray(channel).resize((width, height), Image.Resampling.BOX)
        return np.asarray(small, np.float64)

    colors = 3 if texture.shape[2] >= 3 else 0
    rest = [means(texture[..., k].astype(np.float32)) for k in range(colors, texture.shape[2])]
    levels = np.rint(np.array(rest).reshape(-1, height, width)).astype(np.uint8)
    if not colors:
        return np.moveaxis(levels, 0, -1)
    table = to_linear(np.arange(256, dtype=np.uint8)).astype(np.float32)
    share_of = None if weights is None else weights.astype(np.float32) / np.float32(255.0)
    light = [
        means(table[texture[..., k]] if share_of is None else table[texture[..., k]] * share_of)
        for k in range(3)
    ]
    total = 1.0 if share_of is None else np.maximum(means(share_of), 1e-6)
    return np.dstack([to_srgb(np.stack(light, 2) / np.expand_dims(total, -1)), *levels])


def _decode(image: Image.Image) -> None:
    """Decode a picture now, and say of a damaged one that it is the texture, not the mesh."""
    if image.width * image.height > MOST_PX:
        raise ValueError(f"a picture of {image.width} x {image.height} pixels; {MOST_PX:,} at most")
    try:
        image.load()
    except TimeoutError:  # an OSError, too: reading took longer than its limit
        raise
    except (OSError, ValueError, SyntaxError) as error:
        extent = f"{image.width} x {image.height}"
        raise ValueError(f"a texture of {extent} pixels that is damaged: {error}") from error


def is_picture(data: bytes | None) -> bool:
    """Whether bytes begin as a picture that can be read.

    Args:
        data: Contents of a file; None for none.

    Example:
        >>> is_picture(b""), is_picture(None)
        (False, False)
    """
    try:
        with Image.open(io.BytesIO(data or b"")):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def is_see_through(image: Image.Image) -> bool:
    """Whether any pixel of a picture is not opaque."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return bool(np.asarray(image.getchannel("A")).min() < 255)
    return image.mode in KEYED and "transparency" in image.info


def opened(data: bytes) -> Image.Image:
    """A picture whose transparent color, where a PNG names one, is in the levels of its pixels.

    PNG names it in the bits of the file; Pillow leaves it so, and stretches greys of one, two and
    four bits to eight and takes the upper eight of colors of sixteen.

    Args:
        data: Contents of a file.

    Raises:
        ValueError: It is no picture, is damaged, or has more than 2²⁷ pixels.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("a texture that is in no known format of pictures") from None
    key = image.info.get("transparency")
    form = image.tile[0][3] if getattr(image, "tile", None) else None
    if isinstance(key, int) and isinstance(form, str):
        image.info["transparency"] = 255 * bool(key) if form == "1" else key * LEVELS.get(form, 1)
    elif isinstance(key, tuple) and form == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in key)
    _decode(image)
    return image


def opacities(image: Image.Image) -> NDArray[np.uint8]:
    """Opacity of every pixel of a picture of :func:`opened`, shape (height, width), uint8."""
    key = image.info.get("transparency")
    if image.mode in ("1", "L", *WIDE) and key is not None:
        there = np.asarray(image.convert("L") if image.mode == "1" else image) != key
        return np.where(there, 255, 0).astype(np.uint8)
    return np.asarray(image.convert("RGBA"), np.uint8)[..., 3]


def eight_bits(image: Image.Image) -> Image.Image:
    """A picture whose greys of 16 bits are shares of 255; any other as it is."""
    if image.mode not in WIDE:
        return image
    grey = np.asarray(image).astype(np.float64) / 257.0
    return Image.fromarray(np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8))


def is_partly_seen(image: Image.Image) -> bool:
    """Whether any pixel of a picture is neither opaque nor invisible."""
    if not is_see_through(image):
        return False
    alpha = opacities(image)
    return bool(((alpha > 0) & (alpha < 255)).any())


def to_linear(srgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Linear light in [0, 1] of sRGB bytes."""
    grey = np.arange(256) / 255.0
    table = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    light: NDArray[np.float64] = table[srgb]
    return light


def to_srgb(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    """sRGB bytes of linear light, clipped to [0, 1]."""
    light = np.clip(linear, 0.0, 1.0)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return np.rint(curve * 255.0).astype(np.uint8)

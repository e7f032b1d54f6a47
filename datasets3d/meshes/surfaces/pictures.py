"""Textures as sRGB bytes: of any depth, at most so large, multiplied by a color in linear light."""

from __future__ import annotations

import hashlib
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEXTURE_PX: Final = 1024  # larger textures are averaged down: images here have 64 to 512 pixels
MOST_PX: Final = 2**27  # a picture of more is refused before it is decoded
WIDE: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def texels(
    image: Image.Image, factor: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.uint8], str]:
    """A picture as a texture, and a key that is equal for equal textures.

    Pictures larger than 1024 pixels are averaged down to that, in linear light; transparency is
    dropped; greys of 16 bits are taken as shares of their range.

    Args:
        image: As Pillow opened it.
        factor: Linear color in [0, 1] that multiplies it, shape (3,); None for white.

    Returns:
        sRGB, shape (height, width, 3), uint8, row 0 on top; 64 hexadecimal digits.

    Raises:
        ValueError: It has more than 2²⁷ pixels, or is damaged.

    Example:
        >>> texels(Image.fromarray(np.full((1, 1), 65535, np.uint16)))[0].tolist()
        [[[255, 255, 255]]]
    """
    if image.width * image.height > MOST_PX:
        raise ValueError(f"a picture of {image.width} x {image.height} pixels; {MOST_PX:,} at most")
    _decode(image)
    if image.mode in WIDE:
        grey = np.asarray(image).astype(np.float64) / 257.0
        image = Image.fromarray(np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8))
    found = np.asarray(image.convert("RGB"), np.uint8).copy()
    if max(image.size) > TEXTURE_PX:
        found = averaged_down(found, TEXTURE_PX / max(image.size))
    if factor is not None and not np.all(factor == 1.0):
        found = to_srgb(to_linear(found) * factor)
    shape = f"{found.shape[0]} {found.shape[1]} ".encode()
    return found, hashlib.sha256(shape + found.tobytes()).hexdigest()


def averaged_down(texture: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A smaller texture, each texel of which has the mean light of the area that it covers.

    Args:
        texture: sRGB, shape (height, width, 3).
        share: Of the sides that is left, in (0, 1].

    Returns:
        sRGB, of at least one texel a side.

    Example:
        >>> averaged_down(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), 0.5).tolist()
        [[[188, 188, 188]]]
    """
    height, width = (max(1, round(side * share)) for side in texture.shape[:2])
    table = to_linear(np.arange(256, dtype=np.uint8)).astype(np.float32)
    channels = [
        Image.fromarray(table[texture[..., k]]).resize((width, height), Image.Resampling.BOX)
        for k in range(3)
    ]
    return to_srgb(np.stack([np.asarray(channel, np.float64) for channel in channels], 2))


def _decode(image: Image.Image) -> None:
    """Decode a picture now, and say of a damaged one that it is the texture, not the mesh."""
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
    return image.mode in ("P", "L", "RGB") and "transparency" in image.info


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

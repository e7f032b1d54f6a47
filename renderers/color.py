"""Color: sRGB as a color picker shows it, the linear light that adds up, and hue."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.scene import Triple

Colors = float | Sequence[float] | NDArray[Any]

ENCODING_STEPS = 16384


def linear_from_srgb(srgb: Colors) -> NDArray[np.float64]:
    """Decode sRGB to linear light: c / 12.92 below 0.04045, else ((c + 0.055) / 1.055)^2.4.

    Args:
        srgb: Any shape, in [0, 1].

    Returns:
        The same shape, in [0, 1].

    Example:
        >>> round(float(linear_from_srgb(0.5)), 4)
        0.214

    Source: IEC 61966-2-1.
    """
    color = np.asarray(srgb, dtype=np.float64)
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Colors) -> NDArray[np.float64]:
    """Encode linear light as sRGB, the inverse of :func:`linear_from_srgb`; clips to [0, 1].

    Args:
        linear: Any shape; what lies outside [0, 1] is clipped.

    Returns:
        The same shape, in [0, 1].

    Example:
        >>> round(float(srgb_from_linear(linear_from_srgb(0.3))), 6)
        0.3

    Source: IEC 61966-2-1.
    """
    light = np.clip(np.asarray(linear, dtype=np.float64), 0.0, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def rgb_from_hsv(hue: float, saturation: float, value: float) -> Triple:
    """Turn hue, saturation and value into red, green and blue.

    Args:
        hue: In turns; taken modulo 1.
        saturation: In [0, 1].
        value: In [0, 1].

    Returns:
        Red, green and blue in [0, 1], in the same encoding as ``value`` (for us sRGB).

    Example:
        >>> rgb_from_hsv(0.0, 1.0, 0.8)
        (0.8, 0.0, 0.0)
    """
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def decoding_table() -> NDArray[np.float32]:
    """Linear light of each of the 256 sRGB levels."""
    return linear_from_srgb(np.arange(256) / 255.0).astype(np.float32)


def encoding_table() -> NDArray[np.uint8]:
    """sRGB level of the linear lights k / ENCODING_STEPS, k = 0 ... ENCODING_STEPS."""
    light = np.arange(ENCODING_STEPS + 1) / ENCODING_STEPS
    levels: NDArray[np.uint8] = np.rint(srgb_from_linear(light) * 255.0).astype(np.uint8)
    return levels

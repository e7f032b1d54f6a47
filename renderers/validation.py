"""Checks of what enters by the public door; each raises an error that names the field."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.errors import RendererError


def check_size(size_px: int) -> None:
    """Refuse the size of an image that has no pixel.

    Args:
        size_px: Side of the image.

    Raises:
        RendererError: The size is below 1.
    """
    expect(size_px >= 1, "size_px", "at least 1", str(size_px))


_ADVICE = "See the docstring of the class for the ranges of its fields."


def expect(holds: bool | np.bool_, argument: str, expected: str, got: str) -> None:
    if not holds:
        raise RendererError(expected=expected, got=got, argument=argument, advice=_ADVICE)


def expect_array(
    argument: str, array: NDArray[Any] | None, shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    if array is not None:
        expected = f"{np.dtype(dtype)} of shape {shape}"
        expect(array.shape == shape and array.dtype == dtype, argument, expected, describe(array))


def expect_finite(argument: str, vector: tuple[float, float, float]) -> None:
    expect(all(map(math.isfinite, vector)), argument, "finite numbers", str(vector))


def expect_color(color: tuple[float, float, float]) -> None:
    expect(all(0.0 <= part <= 1.0 for part in color), "color", "sRGB in [0, 1]", str(color))


def describe(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"

"""A tiny set of digits, in arrays: strokes, dots and blank pictures with a smooth border."""

from __future__ import annotations

import numpy as np
import pytest

from datasets3d.digits import Digits


@pytest.fixture(scope="session")
def drawn():
    """Twenty pictures of 28 x 28 with ink at different places, and their labels."""
    draw = np.random.default_rng(0)
    images = np.zeros((20, 28, 28), np.uint8)
    for image in images:
        top, left = draw.integers(4, 10, 2)
        height, width = draw.integers(5, 14, 2)
        image[top : top + height, left : left + width] = draw.integers(1, 256, (height, width))
        image[top, left : left + width // 2] = 0
    return images, draw.integers(0, 10, 20)


@pytest.fixture(scope="session")
def digits(drawn):
    return Digits.of(*drawn)

"""Handwritten digits, centred in a frame with room to move."""

from __future__ import annotations

import hashlib
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.digits.idx import DigitSplit, read_mnist
from datasets3d.digits.placement import ink_corners
from datasets3d.pairs.streams import counter
from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Images


class Digits:
    """One split of MNIST, each picture centred in a larger frame: 28 + 6 pixels on every side.

    Args:
        folder: Where MNIST's four files are; see :func:`read_mnist`.
        split: "train" (50,000), "val" (the last 10,000 of the training file) or "test".
        size_px: Side of the frame, at least that of the pictures and of the same parity.
        count: Use so many of them, drawn without replacement; fewer are among those of a larger
            count. None uses all.
        seed: Of that draw, at least 0.
        held_out: Size of "val".

    Attributes:
        images: Shape (N, size_px, size_px), uint8, rows from the top; 0 is background.
        labels: Shape (N,), int64.

    Raises:
        DataFormatError: A file is missing or damaged. Names it.
        ConventionError: An argument is out of its range.

    Example:
        >>> digits = Digits.of(np.full((3, 28, 28), 255, np.uint8), np.arange(3))
        >>> digits.images.shape, digits.pictures().shape, len(digits)
        ((3, 40, 40), torch.Size([3, 1, 40, 40]), 3)
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    size_px: int

    def __init__(
        self,
        folder: str | Path,
        *,
        split: DigitSplit = "train",
        size_px: int = 40,
        count: int | None = None,
        seed: int = 0,
        held_out: int = 10_000,
    ) -> None:
        images, labels = read_mnist(folder, split, held_out=held_out)
        if count is not None:
            rows = _chosen(len(images), count, seed)
            images, labels = images[rows], labels[rows]
        self._keep(images, labels, size_px)

    @classmethod
    def of(
        cls, images: NDArray[np.uint8], labels: NDArray[np.int64], *, size_px: int = 40
    ) -> Digits:
        """Digits, or other pictures of one channel, from arrays.

        Args:
            images: Shape (N, side, side), uint8, rows from the top, background 0.
            labels: Shape (N,), int64.
            size_px: Side of the frame.

        Raises:
            ShapeError: The arrays do not fit one another, or pictures are not square.
            ConventionError: Pictures are not bytes or labels not whole numbers; the frame is
                smaller, or of another parity.
        """
        digits = cls.__new__(cls)
        digits._keep(images, labels, size_px)
        return digits

    def __len__(self) -> int:
        return len(self.images)

    def pictures(self, index: NDArray[np.int64] | None = None) -> Images:
        """Pictures as networks take them.

        Args:
            index: Which, shape (M,); None for all.

        Returns:
            Shape (M, 1, size_px, size_px), float32 in [0, 1].
        """
        chosen = self.images if index is None else self.images[index]
        return torch.from_numpy(chosen).unsqueeze(1).float().div_(255.0)

    def corners(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """What must stay inside the frame when pictures move: :func:`ink_corners` of them."""
        return ink_corners(self.images[index])

    def digest(self) -> str:
        """Checksum of pictures and labels, 32 hexadecimal digits."""
        state = hashlib.blake2b(f"{self.images.shape}".encode(), digest_size=16)
        state.update(np.ascontiguousarray(self.images).tobytes())
        state.update(self.labels.astype("<i8").tobytes())
        return state.hexdigest()

    @property
    def targets(self) -> Tensor:
        """Labels as a tensor, shape (N,), int64."""
        return torch.from_numpy(self.labels)

    def _keep(self, images: NDArray[np.uint8], labels: NDArray[np.int64], size_px: int) -> None:
        for name, array in (("images", images), ("labels", labels)):
            given: Any = array
            whole = isinstance(given, np.ndarray) and np.issubdtype(given.dtype, np.integer)
            if not whole or (name == "images" and given.dtype != np.uint8):
                kind = "bytes, uint8" if name == "images" else "whole numbers"
                raise ConventionError(
                    expected=f"a NumPy array of {kind}",
                    got=str(getattr(given, "dtype", type(given).__name__)), argument=name,
                    advice="Pictures in [0, 1] become bytes by (255 * x).round().astype(np.uint8).",
                )  # fmt: skip
        if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.shape[1]:
            raise ShapeError(
                expected="square pictures, shape (N, side, side)", got=f"shape {images.shape}",
                argument="images", advice="Give them without channels.",
            )  # fmt: skip
        if labels.shape != images.shape[:1]:
            raise ShapeError(
                expected=f"one label per picture, shape {images.shape[:1]}",
                got=f"shape {labels.shape}", argument="labels", advice="One row per picture.",
            )  # fmt: skip
        border, odd = divmod(size_px - images.shape[1], 2)
        size: Any = size_px
        if not isinstance(size, Integral) or border < 0 or odd:
            raise ConventionError(
                expected=f"a side of {images.shape[1]} pixels and an even number more",
                got=str(size_px), argument="size_px",
                advice="Only then can a picture stand in the middle of the frame.",
            )  # fmt: skip
        self.images = np.pad(images, ((0, 0), (border, border), (border, border)))
        self.labels, self.size_px = labels.astype(np.int64), size_px


def _chosen(total: int, count: int, seed: int) -> NDArray[np.int64]:
    """The first ``count`` places of a random order, sorted: larger counts hold smaller ones."""
    given: Any = count
    if not (isinstance(given, Integral) and 1 <= count <= total and seed >= 0):
        raise ConventionError(
            expected=f"1 to {total} digits and a seed of at least 0",
            got=f"count {count}, seed {seed}", argument="count",
            advice="Leave it out to use all.",
        )  # fmt: skip
    keys = counter(seed, 0, np.arange(total, dtype=np.int64), 0)
    return np.sort(np.argsort(keys, kind="stable")[:count]).astype(np.int64)

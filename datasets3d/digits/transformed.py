"""Fixed sets of transformed digits, the same bytes whenever they are made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datasets3d.digits.digits import Digits
from datasets3d.digits.laws import PlaneLaw
from datasets3d.digits.warping import move_pictures
from equivariant.errors import ConventionError
from equivariant.files import read_file
from equivariant.runs import write_atomically

VERSION = 1  # raise it whenever a picture or a matrix would change
_CHUNK = 1024
_EPOCH = 2**63  # which no stream reaches, so that its draws are others


class TransformedDigits(NamedTuple):
    """Pictures and the motions that made them; row k is draw k % per_digit of digit k // per_digit.

    Attributes:
        images: Shape (N · per_digit, size_px, size_px), uint8.
        labels: Shape (N · per_digit,), int64.
        matrices: g with picture = g · digit, shape (N · per_digit, 3, 3), float64.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    matrices: NDArray[np.float64]


def transformed_digits(
    source: Digits,
    law: PlaneLaw,
    *,
    per_digit: int = 1,
    seed: int = 0,
    cache: str | Path | None = None,
) -> TransformedDigits:
    """Transform every digit of a set, each by matrices of its own: a fixed test set.

        image[k] = round(255 · (g_k · x)),   g_k drawn by the law from (seed, digit, draw) alone

    so more draws per digit, or another order of work, change none of the others, and two calls
    give the same bytes.

    Args:
        source: The digits x.
        law: Of the matrices g_k.
        per_digit: Draws of each digit, at least 1; 32 in affNIST.
        seed: At least 0. Streams of the same seed draw others.
        cache: Folder of finished sets, shared by any number of processes; None keeps none. A set
            is found by digits, law and settings, and one that cannot be read is made anew.

    Returns:
        Pictures, labels and matrices.

    Raises:
        ConventionError: per_digit or seed is out of its range.
        StorageError: The disk is full.

    Example:
        >>> from datasets3d.digits.laws import RotationLaw
        >>> digits = Digits.of(np.full((3, 28, 28), 255, np.uint8), np.arange(3))
        >>> images, labels, matrices = transformed_digits(digits, RotationLaw(), per_digit=2)
        >>> images.shape, labels.tolist(), matrices.shape
        ((6, 40, 40), [0, 0, 1, 1, 2, 2], (6, 3, 3))
    """
    for name, value, least in (("per_digit", per_digit, 1), ("seed", seed, 0)):
        if value < least:
            raise ConventionError(
                expected=f"at least {least}", got=str(value), argument=name,
                advice="See the documentation of transformed_digits.",
            )  # fmt: skip
    if cache is None:
        return _made(source, law, per_digit, seed)
    settings = json.dumps([VERSION, source.digest(), repr(law), per_digit, seed])
    name = hashlib.blake2b(settings.encode(), digest_size=16).hexdigest()
    path = Path(cache) / f"digits-{name}.safetensors"
    kept = _read(path)
    if kept is None:
        kept = _made(source, law, per_digit, seed)
        write_atomically(path, save(kept._asdict(), metadata={"settings": settings}))
    return kept


def _read(path: Path) -> TransformedDigits | None:
    try:
        return TransformedDigits(**load(read_file(path)))
    except (OSError, SafetensorError, TypeError):
        return None


def _made(source: Digits, law: PlaneLaw, per_digit: int, seed: int) -> TransformedDigits:
    number, side = len(source) * per_digit, source.size_px
    images = np.empty((number, side, side), np.uint8)
    matrices = np.empty((number, 3, 3))
    for first in range(0, number, _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, number), dtype=np.int64)
        digit, draw = np.divmod(rows, per_digit)
        corners = source.corners(digit)
        for k in range(per_digit):
            here = draw == k
            matrices[rows[here]] = law.sample(
                seed, digit[here], epoch=_EPOCH, draw=k, corners=corners[here]
            )
        pictures = torch.from_numpy(source.images[digit]).unsqueeze(1).float()
        moved = move_pictures(pictures, torch.from_numpy(matrices[rows]))
        images[rows] = moved.squeeze(1).round_().to(torch.uint8).numpy()
    return TransformedDigits(images, np.repeat(source.labels, per_digit), matrices)

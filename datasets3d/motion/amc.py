"""Motions in Acclaim's format (AMC): the numbers of every bone in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datasets3d.motion.numbered_lines import NumberedLines
from datasets3d.motion.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class AcclaimFrames:
    """Numbers of a file of motion, as they stand there.

    Attributes:
        channels: Shape (frames, joints, 6), float64: tx, ty, tz, rx, ry, rz of each bone, zero
            where it has no such channel.
        first_frame: Number of the first frame.
        degrees: Whether the file says that its angles are in degrees; None if it does not say.
    """

    channels: Tensor
    first_frame: int
    degrees: bool | None


_PLACES = {name: k for k, name in enumerate(("tx", "ty", "tz", "rx", "ry", "rz"))}


def read_frames(path: str | Path, skeleton: Skeleton) -> AcclaimFrames:
    """Read the numbers of a motion of a skeleton.

    Args:
        path: The .amc file.
        skeleton: Whose bones it moves.

    Returns:
        All frames, in their order.

    Raises:
        DataFormatError: The file is missing, cut off or malformed: a bone that the skeleton
            lacks, a frame that lacks a bone, the wrong number of numbers, numbers of frames that
            do not follow one another. The message has the line and what was expected there.
    """
    lines = NumberedLines(path)
    degrees = _read_header(lines)
    width = {name: len(own) for name, own in zip(skeleton.names, skeleton.channels, strict=True)}
    rows: list[list[float]] = []
    moving = [name for name in skeleton.names if width[name]]
    first = number = 0
    while lines.peek() is not None:
        got = _frame_number(lines)
        if rows and got != number + 1:
            lines.refuse(f"frame {number + 1}", f"frame {got}", "Frames follow one another.")
        first, number = (first, got) if rows else (got, got)
        rows.append(_read_frame(lines, width, moving, number))
    if not rows:
        lines.next("the number of a frame")
    return AcclaimFrames(_spread(rows, moving, skeleton), first, degrees)


def _read_header(lines: NumberedLines) -> bool | None:
    """Lines that begin with a colon, before the first frame."""
    degrees = None
    while (words := lines.peek()) is not None and words[0].startswith(":"):
        name = lines.next("a line of the header")[0].lower()
        if name not in (":fully-specified", ":degrees", ":radians"):
            lines.refuse(":FULLY-SPECIFIED, :DEGREES or :RADIANS", repr(words[0][:40]))
        if name != ":fully-specified":
            degrees = name == ":degrees"
    return degrees


def _frame_number(lines: NumberedLines) -> int:
    words = lines.next("the number of a frame")
    if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
        lines.refuse("the number of a frame", repr(" ".join(words)[:40]))
    return int(words[0])


def _read_frame(
    lines: NumberedLines, width: dict[str, int], moving: list[str], number: int
) -> list[float]:
    """All numbers of a frame, in the order of the bones of the skeleton."""
    found: dict[str, list[float]] = {}
    while (words := lines.peek()) is not None and not (len(words) == 1 and words[0].isdigit()):
        name, *rest = lines.next("a bone of the frame")
        if not width.get(name):
            lines.refuse(f"a bone with channels, as {', '.join(moving[:4])}", repr(name[:40]),
                         "Read the motion with the skeleton it was made for.")  # fmt: skip
        if name in found:
            lines.refuse(f"every bone once in frame {number}", f"{name} a second time")
        found[name] = lines.floats(rest, width[name], f"the channels of {name}")
    lacking = [name for name in moving if name not in found]
    if lacking:
        lines.refuse(f"all bones of frame {number}", f"none for {', '.join(lacking)[:80]}")
    return [value for name in moving for value in found[name]]


def _spread(rows: list[list[float]], moving: list[str], skeleton: Skeleton) -> Tensor:
    """Numbers at the places of their channels, shape (frames, joints, 6)."""
    numbers = torch.tensor(rows, dtype=torch.float64)
    channels = torch.zeros(len(rows), len(skeleton), 6, dtype=torch.float64)
    column = 0
    for name in moving:
        k = skeleton.index(name)
        for channel in skeleton.channels[k]:
            channels[:, k, _PLACES[channel]] = numbers[:, column]
            column += 1
    return channels
